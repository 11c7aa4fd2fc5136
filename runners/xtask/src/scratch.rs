//! A folder for one test, removed when the test ends.

use std::fs;
use std::path::{Path, PathBuf};

/// Owns a fresh folder under the system's temporary folder.
pub struct Scratch(PathBuf);

impl Scratch {
    /// `name` must differ between tests: they run in one process.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the temporary folder is writable");
        Self(path)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
