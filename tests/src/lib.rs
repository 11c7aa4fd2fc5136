//! Cross-crate tests, and what they share.

pub mod end_to_end;
