//! The run folder and what is written to it.

pub mod data;
pub mod folder;
pub mod log;
pub mod manifest;
pub mod place;

pub use folder::RunFolder;
pub use log::JsonLog;
