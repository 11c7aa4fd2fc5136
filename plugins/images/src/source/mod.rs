//! Where the data sets of images come from: what `runner data fetch` brings.

pub mod fashion_mnist;
pub mod histology;
pub mod mnist;

use std::path::{Path, PathBuf};

/// The first file of a folder with an ending.
fn with_extension(folder: &Path, extension: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| path.extension().is_some_and(|e| e == extension))
}
