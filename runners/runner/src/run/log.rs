//! `log.jsonl`: one line of JSON for every log entry, cut back to the checkpoint on resume.

use isotropy_core::{Error, Result};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// Appends to `log.jsonl`.
#[derive(Debug)]
pub struct JsonLog {
    path: PathBuf,
    file: File,
}

impl JsonLog {
    /// Opens the log and drops entries after `step`, and a last line that was cut off.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &Path, step: u64) -> Result<Self> {
        let fail = |e| Error::io(path, e);
        if path.exists() {
            let mut kept = Vec::new();
            for line in BufReader::new(File::open(path).map_err(fail)?).lines() {
                let Ok(line) = line else { break };
                let Ok(entry) = serde_json::from_str::<Value>(&line) else { break };
                if entry["step"].as_u64().is_some_and(|s| s <= step) {
                    kept.extend_from_slice(line.as_bytes());
                    kept.push(b'\n');
                }
            }
            isotropy_data::write::write_whole(path, &kept)?;
        }
        let file = File::options().create(true).append(true).open(path).map_err(fail)?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Writes an entry; it must have a `step`.
    ///
    /// # Errors
    /// When the file cannot be written (a full disk).
    pub fn write(&mut self, entry: &Value) -> Result<()> {
        let mut line = entry.to_string();
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(|e| Error::io(&self.path, e))
    }
}
