//! Readers: files of pictures in folders, and containers of arrays.

pub mod idx;
pub mod pictures;
