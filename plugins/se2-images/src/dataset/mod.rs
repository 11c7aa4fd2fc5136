//! Digits that are turned, or turned and shifted.

pub mod moved_digits;
pub mod rotated_digits;
