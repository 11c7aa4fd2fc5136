//! A cell: one run of a sweep, self-contained in a folder that is named by what it computes.
//!
//! ```text
//! CELLS/KEY/
//!   cell.json     the resolved configuration
//!   origin.json   the folder that its relative paths start from, and the versions it was planned with
//!   log.txt       what the process printed
//!   failed.json   how the last attempt failed, if it did
//!   lock          held by the process that works on the cell, released by the system when it dies
//!   run/          the run folder
//! ```

use crate::execute::finished;
use crate::experiment::Experiment;
use crate::resolve::to_json;
use crate::run::folder::read_json;
use crate::run::manifest::libtorch_version;
use isotropy_core::{Error, PLUGINS, Result};
use isotropy_data::digest::{file_sha256, sha256};
use isotropy_data::write::write_whole;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How a cell stands, read from its folder.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Measured.
    Finished,
    /// A process works on it.
    Running,
    /// The last attempt ended with an error.
    Failed(Failure),
    /// Begun, and to be gone on with.
    Interrupted,
    /// Nothing has happened yet.
    Waiting,
}

impl State {
    /// One word for tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Running => "running",
            Self::Failed(_) => "failed",
            Self::Interrupted => "interrupted",
            Self::Waiting => "waiting",
        }
    }
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// How the process ended: `exit code 4`, `signal 9`.
    pub ended: String,
    /// Its last words.
    pub error: String,
}

/// The folder of a cell.
#[derive(Debug, Clone)]
pub struct CellFolder(PathBuf);

impl CellFolder {
    /// The folder of the cell `key` among `cells`.
    pub fn new(cells: &Path, key: &str) -> Self {
        Self(cells.join(key))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The resolved configuration.
    pub fn config(&self) -> PathBuf {
        self.0.join("cell.json")
    }

    /// The run folder.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// What the process printed.
    pub fn log(&self) -> PathBuf {
        self.0.join("log.txt")
    }

    fn failure(&self) -> PathBuf {
        self.0.join("failed.json")
    }

    /// Writes configuration and origin where they are not there yet.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn prepare(&self, config: &Value, origin: &Value) -> Result<()> {
        std::fs::create_dir_all(&self.0).map_err(|e| Error::io(&self.0, e))?;
        for (name, value) in [("origin.json", origin), ("cell.json", config)] {
            let path = self.0.join(name);
            let mut text = serde_json::to_string_pretty(value)
                .map_err(|e| Error::Other(format!("{name}: {e}")))?;
            text.push('\n');
            if std::fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
                continue;
            }
            write_whole(&path, text)?;
        }
        Ok(())
    }

    /// Takes the cell for this process; `None` when another process works on it. The lock lives as
    /// long as the file, in whatever process holds a copy of it.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub fn claim(&self) -> Result<Option<File>> {
        let path = self.0.join("lock");
        let file = File::options().create(true).write(true).truncate(false).open(&path);
        let file = file.map_err(|e| Error::io(&path, e))?;
        match file.try_lock() {
            Ok(()) => Ok((!held(&self.run().join("lock"))).then_some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::io(&path, error)),
        }
    }

    /// How the cell stands.
    pub fn state(&self) -> State {
        if finished(&self.run()) {
            State::Finished
        } else if held(&self.0.join("lock")) || held(&self.run().join("lock")) {
            State::Running
        } else if let Some(failure) = self.last_failure() {
            State::Failed(failure)
        } else if self.run().join("config.json").exists() {
            State::Interrupted
        } else {
            State::Waiting
        }
    }

    /// How the last attempt failed, if it did.
    pub fn last_failure(&self) -> Option<Failure> {
        serde_json::from_value(read_json(&self.failure()).ok()?).ok()
    }

    /// Notes that an attempt failed.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub fn note_failure(&self, failure: &Failure) -> Result<()> {
        let text = serde_json::to_string(failure).map_err(|e| Error::Other(e.to_string()))?;
        write_whole(&self.failure(), text)
    }

    /// Forgets how an earlier attempt failed.
    ///
    /// # Errors
    /// When the note cannot be removed.
    pub fn forget_failure(&self) -> Result<()> {
        match std::fs::remove_file(self.failure()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(self.failure(), error))
            }
            _ => Ok(()),
        }
    }

    /// `metrics.json` of a finished cell.
    pub fn metrics(&self) -> Option<Value> {
        read_json(&self.run().join("metrics.json")).ok()
    }

    /// The last step that was logged, and its loss.
    pub fn progress(&self) -> Option<(u64, Option<f64>)> {
        let tail = tail(&self.run().join("log.jsonl"), 4096)?;
        let entries = tail.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let entries: Vec<Value> = entries.collect();
        let step = entries.iter().rev().find_map(|entry| entry["step"].as_u64())?;
        Some((step, entries.iter().rev().find_map(|entry| entry["loss"].as_f64())))
    }

    /// Bytes in the log so far.
    pub fn log_length(&self) -> u64 {
        std::fs::metadata(self.log()).map_or(0, |metadata| metadata.len())
    }

    /// The error that was printed last after the first `from` bytes of the log, on one line.
    pub fn last_words(&self, from: u64) -> String {
        let new = self.log_length().saturating_sub(from);
        let tail = tail(&self.log(), new.min(16_384)).unwrap_or_default();
        let lines: Vec<&str> = tail.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
        let words = match lines.iter().rposition(|line| is_error(line)) {
            // Without the lines of the file that a diagnostic shows.
            Some(at) => {
                let told = lines[at..].iter().filter(|line| !is_excerpt(line)).map(|l| l.trim());
                told.collect::<Vec<_>>().join(" ")
            }
            None => lines.iter().rev().take(3).rev().copied().collect::<Vec<_>>().join(" "),
        };
        crate::config::suggest::shorten(&words, 400)
    }
}

/// Whether a line begins an error: `error: ...`, or a diagnostic's `file:line:column: ...`.
fn is_error(line: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mut parts = line.splitn(4, ':');
    let (file, row, column) = (parts.next(), parts.next(), parts.next());
    let diagnostic = file.is_some_and(|file| !file.is_empty() && !file.starts_with(' '))
        && row.is_some_and(number)
        && column.is_some_and(number)
        && parts.next().is_some_and(|message| message.starts_with(' '));
    diagnostic || line.starts_with("error:")
}

/// Whether a line shows the text of a file: `12 | "steps": 3` or the marks below it.
fn is_excerpt(line: &str) -> bool {
    let rest = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
    rest.starts_with(" |") || rest.starts_with('|')
}

/// Whether another process holds a lock on the file.
fn held(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// The last `bytes` of a file, as text.
fn tail(path: &Path, bytes: u64) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes))).ok()?;
    let mut text = Vec::new();
    file.take(bytes).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The versions that a result depends on.
pub fn versions() -> Value {
    let mut plugins: Vec<_> = PLUGINS.iter().collect();
    plugins.sort_by_key(|plugin| plugin.name);
    let plugins: Map<String, Value> =
        plugins.iter().map(|p| (p.name.to_string(), p.version.into())).collect();
    json!({
        "isotropy": env!("CARGO_PKG_VERSION"),
        "plugins": plugins,
        "libtorch": libtorch_version(),
    })
}

/// The configuration of a cell, and its key: the digest of the configuration without its name and
/// description, of the versions, and of the files that it names. Name and description are replaced,
/// so that sweeps can share the cell.
///
/// # Errors
/// When the configuration cannot be written as JSON.
pub fn identify(
    experiment: &Experiment,
    folder: &Path,
    versions: &Value,
) -> Result<(String, Value)> {
    let mut config = to_json(experiment)?;
    if let Some(fields) = config.as_object_mut() {
        fields.remove("name");
        fields.remove("description");
    }
    let mut files = Map::new();
    named_files(&config, folder, &mut files);
    let mut text = String::new();
    canonical(&json!({"config": config, "versions": versions, "files": files}), &mut text);
    let key = digest(&text);
    if let Some(fields) = config.as_object_mut() {
        fields.insert("name".into(), format!("cell-{key}").into());
    }
    Ok((key, config))
}

/// The first 16 hexadecimal digits of the SHA-256 of a text.
pub fn digest(text: &str) -> String {
    sha256(text)[..16].to_string()
}

/// Strings of a configuration that are paths of files in its folder, with the files' digests: the
/// same path in another folder may be another file.
fn named_files(value: &Value, folder: &Path, files: &mut Map<String, Value>) {
    match value {
        Value::String(text) if !text.is_empty() && text.len() < 1000 => {
            let path = folder.join(text);
            if let (true, Ok(digest)) = (path.is_file(), file_sha256(&path)) {
                files.insert(text.clone(), digest.into());
            }
        }
        Value::Array(items) => items.iter().for_each(|item| named_files(item, folder, files)),
        Value::Object(fields) => {
            fields.values().for_each(|field| named_files(field, folder, files));
        }
        _ => {}
    }
}

/// JSON with sorted keys: the same value has the same text.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (key, field) in sorted {
                *out += &Value::String(key.clone()).to_string();
                out.push(':');
                canonical(field, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        scalar => *out += &scalar.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_keys_does_not_change_the_identity() {
        let text = |value: &Value| {
            let mut out = String::new();
            canonical(value, &mut out);
            out
        };
        let (a, b) = (json!({"a": 1, "b": [1, 2.5]}), json!({"b": [1, 2.5], "a": 1}));
        assert_eq!(text(&a), text(&b));
        assert_ne!(text(&a), text(&json!({"a": 1, "b": [2.5, 1]})));
        assert_ne!(text(&json!({"a": "1"})), text(&json!({"a": 1})));
    }

    #[test]
    fn last_words_are_the_error_without_the_excerpt() {
        let folder = tempfile::tempdir().unwrap();
        let cell = CellFolder::new(folder.path(), "key");
        std::fs::create_dir_all(cell.path()).unwrap();
        let words = |text: &str| {
            std::fs::write(cell.log(), text).unwrap();
            cell.last_words(0)
        };
        let diagnostic = "train 3/4\n/a/cell.json:2:3: too many steps\n1 | {\n2 |   \"steps\": 9\n  |   ^\n  help: take fewer\n";
        assert_eq!(words(diagnostic), "/a/cell.json:2:3: too many steps help: take fewer");
        assert_eq!(
            words("a\nerror: NaN at step 3\n help: smaller\n"),
            "error: NaN at step 3 help: smaller"
        );
        assert_eq!(words("one\n\ntwo\n"), "one two");
        std::fs::write(cell.log(), "error: old\nnew\n").unwrap();
        assert_eq!(cell.last_words(11), "new");
    }

    #[test]
    fn a_cell_is_claimed_once_and_free_again_when_its_holder_is_gone() {
        let cells = tempfile::tempdir().unwrap();
        let cell = CellFolder::new(cells.path(), "key");
        cell.prepare(&json!({"schema": 1}), &json!({})).unwrap();
        assert_eq!(cell.state(), State::Waiting);
        let held = cell.claim().unwrap().expect("nobody holds it");
        assert!(cell.claim().unwrap().is_none());
        assert_eq!(cell.state(), State::Running);
        drop(held);
        let failure = Failure { ended: "exit code 4".into(), error: "NaN".into() };
        cell.note_failure(&failure).unwrap();
        assert_eq!(cell.state(), State::Failed(failure));
        cell.forget_failure().unwrap();
        assert!(cell.claim().unwrap().is_some());
    }
}
