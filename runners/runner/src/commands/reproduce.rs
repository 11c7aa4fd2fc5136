//! `runner reproduce`: the same configuration once more, and whether it ends the same.

use crate::cli::DataFlags;
use crate::evaluation::verdict;
use crate::execute::{Reopened, execute, finished, reopen};
use crate::output::say;
use crate::run::RunFolder;
use crate::run::folder::{read_config, read_json};
use crate::signals::StopFlag;
use isotropy_core::{Error, Result};
use isotropy_data::digest::file_sha256;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

/// Runs the resolved configuration of a finished run in another folder (`DIR-reproduced` unless
/// `out` names one) and compares the digest of the weights and every metric. The run is only read.
///
/// # Errors
/// When the run is not finished, or something differs.
pub fn reproduce(run: &Path, out: Option<PathBuf>, data: &DataFlags) -> Result<()> {
    let started = Instant::now();
    let stop = StopFlag::listen()?;
    read_config(run)?;
    if !finished(run) {
        let message = format!("{} is not finished", run.display());
        return Err(Error::data(message, "finish it with --resume"));
    }
    let expected = read_json(&run.join("metrics.json"))?;
    let path = match out {
        Some(out) => out,
        None => beside(run)?,
    };
    if finished(&path) {
        let message =
            format!("{} holds a finished run, perhaps an earlier reproduction", path.display());
        return Err(Error::config("", message)
            .with_help("remove it or move it away, or choose another folder with --out"));
    }
    let Reopened { config, experiment, prepared, surroundings, change } = reopen(run, data, stop)?;
    // An interrupted reproduction goes on.
    let folder = RunFolder::open(&path, &config, true)?;
    execute(&experiment, &prepared, &folder, &surroundings, started)?;
    if let Some(change) = change {
        change.note_in(&folder, "reproduce", false)?;
    }
    let found = read_json(&folder.join("metrics.json"))?;
    let mut differences = Vec::new();
    for part in ["metrics", "not_finite", "samples", "training"] {
        let keys = expected[part].as_object().into_iter().flatten().map(|(key, _)| key);
        for key in keys {
            let (old, new) = (&expected[part][key], &found[part][key]);
            let same = if old == new { "same" } else { "DIFFERENT" };
            say!("  {key:32} {old} {new} {same}");
            if old != new {
                differences.push(key.clone());
            }
        }
    }
    let digest = |folder: &Path| file_sha256(&folder.join("weights.safetensors")).ok();
    if digest(run) != digest(folder.path()) {
        differences.push("weights".into());
    }
    if differences.is_empty() {
        say!("reproduced bit for bit in {}", path.display());
        return verdict(&found);
    }
    Err(Error::Other(format!("not reproduced: {} differ", differences.join(", "))))
}

/// `DIR-reproduced`, also where `DIR` ends in a slash or is a point.
fn beside(run: &Path) -> Result<PathBuf> {
    let named = match run.components().next_back() {
        Some(Component::Normal(_)) => run.to_path_buf(),
        _ => run.canonicalize().map_err(|e| Error::io(run, e))?,
    };
    let name = named.file_name().unwrap_or_default().to_string_lossy();
    Ok(named.with_file_name(format!("{name}-reproduced")))
}
