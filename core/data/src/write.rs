//! Files that are written whole or not at all.

use isotropy_core::{Error, Result};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const PARTIAL: &str = ".partial-";

/// The name beside the target under which a file is written first: no other write has it, and it
/// does not hold the target's name, by which a reader of the folder would choose it (TensorBoard
/// takes everything that is called `tfevents`).
pub fn partial(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!("{PARTIAL}{}-{number}", std::process::id()))
}

/// Whether a file of this name is what a killed process left of a write.
pub fn is_partial(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with(PARTIAL)
}

/// Writes a file whole or not at all: to a hidden name beside the target, synced, renamed, and the
/// folder synced, so that neither a kill nor a power cut leaves half a file under its name.
///
/// # Errors
/// `Io` with the name of the file; what stood there before stands there still.
pub fn write_whole(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    write_whole_with(path, |partial| File::create(partial)?.write_all(bytes.as_ref()))
}

/// As [`write_whole`], for what writes a file by itself: it is given the name to write to.
///
/// # Errors
/// As [`write_whole`], and the writer's own.
pub fn write_whole_with(
    path: &Path,
    write: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<()> {
    let partial = partial(path);
    let whole = || -> std::io::Result<()> {
        write(&partial)?;
        File::open(&partial)?.sync_all()?;
        std::fs::rename(&partial, path)?;
        sync_folder(path.parent().filter(|folder| !folder.as_os_str().is_empty()))
    };
    whole().map_err(|source| {
        // The first reason is the one to report; the leftover may not even exist.
        let _ = std::fs::remove_file(&partial);
        Error::io(path, source)
    })
}

/// Syncs the entries of a folder, so that a rename in it survives a power cut; `None` is the current
/// folder.
///
/// # Errors
/// When the folder cannot be opened or synced.
pub fn sync_folder(folder: Option<&Path>) -> std::io::Result<()> {
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.json");
        write_whole(&path, "one").unwrap();
        write_whole(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        let failed = write_whole_with(&path, |partial| {
            std::fs::write(partial, "half")?;
            Err(std::io::Error::other("the disk is full"))
        });
        assert!(failed.unwrap_err().to_string().contains("file.json"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
