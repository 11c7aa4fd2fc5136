//! Files whose content is known beforehand: what a data source brings.

use crate::digest::sha256;
use crate::write::write_whole;
use isotropy_core::{Error, Result};
use std::path::Path;

/// A file with its size and SHA-256 (unpacked).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownFile {
    /// Name in the data folder.
    pub name: &'static str,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: &'static str,
}

impl KnownFile {
    /// Whether bytes that were read from `path` are this file's.
    ///
    /// # Errors
    /// A data error that names both sizes and digests.
    pub fn check(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let digest = sha256(bytes);
        if bytes.len() as u64 == self.bytes && digest == self.sha256 {
            return Ok(());
        }
        let message = format!(
            "{}: {} bytes (unpacked) with SHA-256 {digest}, not {} with {}",
            path.display(),
            bytes.len(),
            self.bytes,
            self.sha256
        );
        Err(Error::data(message, format!("it is not the expected {}; bring it anew", self.name)))
    }
}

/// Whether a folder holds all files, by name and size.
pub fn complete(folder: &Path, files: &[KnownFile]) -> bool {
    files.iter().all(|file| {
        std::fs::metadata(folder.join(file.name)).is_ok_and(|found| found.len() == file.bytes)
    })
}

/// Writes checked files into a folder.
///
/// # Errors
/// `Io` with the name of the file.
pub fn write_all(folder: &Path, files: &[KnownFile], bytes: &[Vec<u8>]) -> Result<()> {
    files
        .iter()
        .zip(bytes)
        .try_for_each(|(file, bytes)| write_whole(&folder.join(file.name), bytes))
}
