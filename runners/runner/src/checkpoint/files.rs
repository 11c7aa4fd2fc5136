//! Names of folders, durable writing, and errors that say what a full disk needs.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use isotropy_core::{Error, Result};

/// Prefix of a folder that is being written.
pub(super) const PARTIAL: &str = ".partial-";
/// Prefix of a complete folder that a newer one of the same step is about to replace.
pub(super) const REPLACED: &str = ".replaced-";
/// Prefix of a folder that is being removed.
pub(super) const REMOVED: &str = ".removed-";

/// The folder's name for a step; names sort like steps.
pub(super) fn name(step: u64) -> String {
    format!("step-{step:09}")
}

fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix("step-")?.parse().ok().filter(|&step| self::name(step) == name)
}

/// What lies in a folder of checkpoints.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Steps under their final names, ascending.
    pub(super) steps: Vec<u64>,
    /// Steps whose replacement may have been interrupted.
    pub(super) replaced: Vec<u64>,
    /// Names of what interrupted writes and removals left.
    leftovers: Vec<String>,
}

impl Layout {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut layout = Self::default();
        for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
            let name = entry.map_err(|e| Error::io(folder, e))?.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some(step) = step_of(name) {
                layout.steps.push(step);
            } else if let Some(step) = name.strip_prefix(REPLACED).and_then(step_of) {
                layout.replaced.push(step);
            } else if name.starts_with(PARTIAL) || name.starts_with(REMOVED) {
                layout.leftovers.push(name.to_owned());
            }
        }
        layout.steps.sort_unstable();
        Ok(layout)
    }

    /// Removes leftovers, and finishes or takes back a replacement that was interrupted.
    pub(super) fn clean(&self, folder: &Path) -> Result<()> {
        for leftover in &self.leftovers {
            remove(&folder.join(leftover))?;
        }
        for &step in &self.replaced {
            let replaced = folder.join(format!("{REPLACED}{}", name(step)));
            if self.steps.contains(&step) {
                remove(&replaced)?;
            } else {
                rename(&replaced, &folder.join(name(step)))?;
            }
        }
        Ok(())
    }
}

/// Creates `folder` with `contents` in this order, each file and the folder itself on the disk when this returns.
pub(super) fn write_folder(folder: &Path, contents: &[(&str, &[u8])]) -> Result<()> {
    let needed: usize = contents.iter().map(|(_, bytes)| bytes.len()).sum();
    let explain = |path: &Path, error: io::Error| Error::io(path, describe(error, folder, needed));
    fs::create_dir(folder).map_err(|e| explain(folder, e))?;
    for (name, bytes) in contents {
        let path = folder.join(name);
        let write = || -> io::Result<()> {
            let mut file = File::create_new(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|e| explain(&path, e))?;
    }
    sync_folder(folder)
}

/// Says what a person has to know when there is no room.
fn describe(error: io::Error, folder: &Path, needed: usize) -> io::Error {
    let parent = folder.parent().unwrap_or(folder).display();
    let reason = match error.kind() {
        ErrorKind::StorageFull => "the disk is full",
        ErrorKind::QuotaExceeded => "the disk quota is used up",
        ErrorKind::FileTooLarge => "the file is larger than the limit of this process allows",
        _ => return error,
    };
    let text = format!(
        "{reason}: a checkpoint in {parent} needs {needed} bytes; earlier checkpoints are intact ({error})"
    );
    io::Error::new(error.kind(), text)
}

/// Renames, naming the target in an error.
pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::io(to, e))
}

/// Removes a folder; one that is not there is fine.
pub(super) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(folder, error)),
        _ => Ok(()),
    }
}

/// Brings renames inside `folder` to the disk.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    isotropy_data::write::sync_folder(Some(folder)).map_err(|e| Error::io(folder, e))
}
