//! Data that a command can bring, digests of files, and files that are written whole or not at all.

pub mod digest;
pub mod files;
pub mod known_file;
pub mod source;
pub mod write;
