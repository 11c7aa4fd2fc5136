//! The run folder and what is written to it.

pub mod folder;
pub mod log;
pub mod manifest;

pub use folder::RunFolder;
pub use log::JsonLog;
