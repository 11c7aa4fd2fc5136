//! The run folder: what is in it, who may write to it, and whether a run may go on in it.
//!
//! ```text
//! config.json      the resolved configuration, all defaults filled in
//! manifest.json    versions, seeds, device, digests of the data
//! checkpoints/     the last few and the best
//! tensorboard/     one event file
//! log.jsonl        one line for every log entry
//! samples/         samples.npz of the run, samples-N-seed-S.npz of `runner sample`
//! weights.safetensors  the weights that samples were drawn with
//! plots/           PNG
//! metrics.json     written last
//! lock             held while a process writes here; empty, and of no use afterwards
//! ```

use super::place;
use isotropy_core::{Error, Result};
use isotropy_data::write::{is_partial, write_whole};
use serde_json::Value;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// A run folder that this process may write to; the lock is released when it is dropped, and by the
/// system when the process dies.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Whether [`RunFolder::open`] may create or open the folder; changes nothing.
    ///
    /// # Errors
    /// When the folder exists and `resume` is not set, or when it holds something else.
    pub fn check(path: &Path, config: &Value, resume: bool) -> Result<()> {
        place::check_folder(path)?;
        let config_file = path.join("config.json");
        let exists = path.exists()
            && std::fs::read_dir(path).map_err(|e| Error::io(path, e))?.next().is_some();
        if exists && !resume {
            return Err(Error::config("", format!("{} already exists", path.display())).with_help(
                "go on with --resume, choose another folder with --out, or remove it yourself",
            ));
        }
        if exists && config_file.exists() {
            let stored = read_json(&config_file)?;
            if let Some(difference) = first_difference(&stored, config, "") {
                return Err(Error::config(
                    "",
                    format!("{} holds another configuration: {difference}", path.display()),
                )
                .with_help(
                    "resume with the configuration it was started with, or choose another --out",
                ));
            }
        } else if exists && !only_leftovers(path)? {
            return Err(Error::config("", format!("{} is not a run folder", path.display()))
                .with_help("choose another --out"));
        }
        Ok(())
    }

    /// Creates a folder for a new run, or opens an existing one to go on. The resolved
    /// configuration is written first.
    ///
    /// # Errors
    /// When the folder exists and `resume` is not set, when it holds another configuration, or when
    /// another process writes to it.
    pub fn open(path: &Path, config: &Value, resume: bool) -> Result<Self> {
        Self::check(path, config, resume)?;
        std::fs::create_dir_all(path).map_err(|e| place::unwritable(path, e))?;
        let lock = lock(path)?;
        let folder = Self { path: path.to_path_buf(), _lock: lock };
        // What may differ on resume is written down as it is now.
        if read_json(&folder.join("config.json")).ok().as_ref() != Some(config) {
            folder.write_json("config.json", config)?;
        }
        Ok(folder)
    }

    /// Opens the folder of a finished or interrupted run to write to it.
    ///
    /// # Errors
    /// When it is not a run folder, or another process writes to it.
    pub fn existing(path: &Path) -> Result<Self> {
        read_config(path)?;
        Ok(Self { path: path.to_path_buf(), _lock: lock(path)? })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A subfolder, created if need be.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn subfolder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).map_err(|e| Error::io(&path, e))?;
        Ok(path)
    }

    /// Writes a JSON file whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_json(&self, name: &str, value: &Value) -> Result<()> {
        let mut text = serde_json::to_string_pretty(value)
            .map_err(|e| Error::Other(format!("{name}: {e}")))?;
        text.push('\n');
        write_whole(&self.path.join(name), text)
    }
}

/// The resolved configuration of a run, for those who only read: no lock is taken, nothing is
/// written.
///
/// # Errors
/// When it is not a run folder.
pub fn read_config(path: &Path) -> Result<Value> {
    read_json(&path.join("config.json")).map_err(|error| {
        Error::config("", format!("{} is not a run folder: {error}", path.display()))
            .with_help("name a folder that `runner --config FILE --out DIR` has made")
    })
}

/// Reads a JSON file.
///
/// # Errors
/// When it cannot be read or is not JSON.
pub fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    serde_json::from_str(&text)
        .map_err(|e| Error::data(format!("{}: {e}", path.display()), "the file is damaged"))
}

fn lock(path: &Path) -> Result<File> {
    let file_path = path.join("lock");
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&file_path)
        .map_err(|e| place::unwritable(&file_path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Other(format!(
            "another process is writing to {}; wait for it, or stop it",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(Error::io(&file_path, error)),
    }
}

/// Whether a folder holds only what an attempt leaves that died before its configuration was
/// written.
fn only_leftovers(path: &Path) -> Result<bool> {
    for entry in std::fs::read_dir(path).map_err(|e| Error::io(path, e))? {
        let name = entry.map_err(|e| Error::io(path, e))?.file_name();
        if name != "lock" && !is_partial(&name) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a run may differ in when it goes on: fields that change none of its numbers.
const FREE: &[&str] = &[
    "/name",
    "/description",
    "/train/log_every",
    "/train/histogram_every",
    "/train/checkpoint/every",
    "/train/checkpoint/keep",
];

/// Where two configurations differ first, in words.
fn first_difference(stored: &Value, given: &Value, pointer: &str) -> Option<String> {
    if FREE.contains(&pointer) {
        return None;
    }
    match (stored, given) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            keys.into_iter().find_map(|key| {
                let pointer = format!("{pointer}/{key}");
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => first_difference(a, b, &pointer),
                    _ if FREE.contains(&pointer.as_str()) => None,
                    (a, b) => Some(differ(&pointer, a, b)),
                }
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(k, (a, b))| first_difference(a, b, &format!("{pointer}/{k}"))),
        (a, b) if a == b => None,
        (a, b) => Some(differ(pointer, Some(a), Some(b))),
    }
}

fn differ(pointer: &str, stored: Option<&Value>, given: Option<&Value>) -> String {
    let show = |value: Option<&Value>| {
        let text = value.map_or_else(|| "nothing".to_string(), Value::to_string);
        if text.chars().count() > 60 {
            text.chars().take(57).chain("...".chars()).collect()
        } else {
            text
        }
    };
    format!("{pointer} is {} there and {} here", show(stored), show(given))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_folder_in_which_a_run_died_before_its_configuration_was_written_can_be_begun_anew() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path();
        std::fs::write(folder.join("lock"), "").unwrap();
        let partial = isotropy_data::write::partial(&folder.join("config.json"));
        std::fs::write(partial, "{").unwrap();
        drop(RunFolder::open(folder, &json!({"name": "a"}), true).unwrap());
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("notes.txt"), "mine").unwrap();
        assert!(RunFolder::open(scratch.path(), &json!({"name": "a"}), true).is_err());
    }

    #[test]
    fn an_existing_folder_is_never_overwritten() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("run");
        let config = json!({"name": "a", "train": {"steps": 3}});
        drop(RunFolder::open(&folder, &config, false).unwrap());
        assert!(RunFolder::open(&folder, &config, false).is_err());
        let held = RunFolder::open(&folder, &config, true).unwrap();
        let second = RunFolder::open(&folder, &config, true).unwrap_err().to_string();
        assert!(second.contains("another process"), "{second}");
        drop(held);
        let other = json!({"name": "a", "train": {"steps": 4}});
        let text = RunFolder::open(&folder, &other, true).unwrap_err().to_string();
        assert!(text.contains("/train/steps is 3 there and 4 here"), "{text}");
    }
}
