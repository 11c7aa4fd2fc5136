//! The file that makes a folder a checkpoint: what it holds, with digests.

use std::path::Path;

use isotropy_core::{Error, Result};
use isotropy_data::digest::sha256;
use serde::{Deserialize, Serialize};

use super::Snapshot;

pub(super) const NAME: &str = "manifest.json";
const FORMAT: u32 = 1;
const DIGEST_KEY: &str = "sha256";

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    pub(super) step: u64,
    pub(super) metric: Option<f64>,
    pub(super) events_offset: u64,
    files: Vec<FileEntry>,
    pub(super) extra: serde_json::Value,
}

#[derive(Debug, Serialize, Deserialize)]
struct FileEntry {
    name: String,
    bytes: u64,
    sha256: String,
}

impl Manifest {
    pub(super) fn new(snapshot: &Snapshot, files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(name, bytes)| FileEntry {
            name: (*name).to_owned(),
            bytes: bytes.len() as u64,
            sha256: sha256(bytes),
        });
        Self {
            format: FORMAT,
            step: snapshot.step,
            // JSON has no infinity; a run that diverged has no metric to compare.
            metric: snapshot.metric.filter(|m| m.is_finite()),
            events_offset: snapshot.events_offset,
            files: files.collect(),
            extra: snapshot.extra.clone(),
        }
    }

    /// The text of the file. Its last key is the digest of the compact JSON of all other keys.
    pub(super) fn to_json(&self) -> Result<String> {
        let wrong = |e: serde_json::Error| Error::Other(format!("{NAME}: {e}"));
        let mut value = serde_json::to_value(self).map_err(wrong)?;
        value[DIGEST_KEY] = sha256(value.to_string()).into();
        serde_json::to_string_pretty(&value).map_err(wrong)
    }

    /// Reads the manifest of a checkpoint folder and checks its own digest.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(folder.join(NAME));
        let text = text.map_err(|e| damaged(folder, &format!("{NAME}: {e}")))?;
        let not_json = |e: serde_json::Error| damaged(folder, &format!("{NAME}: {e}"));
        let mut value: serde_json::Value = serde_json::from_str(&text).map_err(not_json)?;
        let stated = value.as_object_mut().and_then(|map| map.shift_remove(DIGEST_KEY));
        let actual = sha256(value.to_string());
        if stated.as_ref().and_then(|s| s.as_str()) != Some(&actual) {
            return Err(damaged(folder, &format!("{NAME} was changed")));
        }
        let manifest: Self = serde_json::from_value(value).map_err(not_json)?;
        if manifest.format != FORMAT {
            let problem = format!("format {}, this program reads format {FORMAT}", manifest.format);
            return Err(damaged(folder, &problem));
        }
        Ok(manifest)
    }

    /// The bytes of one of the files, after comparing size and digest.
    pub(super) fn verified(&self, folder: &Path, name: &str) -> Result<Vec<u8>> {
        let entry = self.files.iter().find(|f| f.name == name);
        let entry =
            entry.ok_or_else(|| damaged(folder, &format!("{NAME} does not list {name}")))?;
        let bytes = std::fs::read(folder.join(name));
        let bytes = bytes.map_err(|e| damaged(folder, &format!("{name}: {e}")))?;
        if bytes.len() as u64 != entry.bytes {
            let problem = format!("{name} has {} bytes instead of {}", bytes.len(), entry.bytes);
            return Err(damaged(folder, &problem));
        }
        if sha256(&bytes) != entry.sha256 {
            return Err(damaged(folder, &format!("{name} was changed (SHA-256 differs)")));
        }
        Ok(bytes)
    }
}

fn damaged(folder: &Path, problem: &str) -> Error {
    Error::data(format!("checkpoint {} is damaged: {problem}", folder.display()), "")
}
