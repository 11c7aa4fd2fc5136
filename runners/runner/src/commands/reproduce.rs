//! `runner reproduce`: the same configuration once more, and whether it ends the same.

use crate::execute::{Surroundings, execute, finished, prepare, settle};
use crate::output::say;
use crate::resolve::parse;
use crate::run::RunFolder;
use crate::run::folder::read_json;
use crate::signals::StopFlag;
use isotropy_core::{Error, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Runs the resolved configuration of a finished run in `DIR-reproduced` and compares the digest of
/// the weights and every metric.
///
/// # Errors
/// When the run is not finished, or something differs.
pub fn reproduce(run: &Path, data_dir: &Path) -> Result<()> {
    let started = Instant::now();
    let stop = StopFlag::listen()?;
    let (original, config) = RunFolder::existing(run)?;
    if !finished(run) {
        let message = format!("{} is not finished", run.display());
        return Err(Error::data(message, "finish it with --resume"));
    }
    let expected = read_json(&original.join("metrics.json"))?;
    let manifest = read_json(&original.join("manifest.json"))?;
    let mut experiment = parse(config.clone())?;
    let device = settle(&mut experiment, None)?;
    let mut name = run.as_os_str().to_os_string();
    name.push("-reproduced");
    let path = PathBuf::from(name);
    if finished(&path) {
        let message = format!("{} holds an earlier reproduction", path.display());
        return Err(Error::config("", message).with_help("remove it or move it away"));
    }
    let surroundings = Surroundings {
        data_dir: data_dir.to_path_buf(),
        config_folder: PathBuf::from(manifest["config_folder"].as_str().unwrap_or(".")),
        stop,
    };
    let prepared = prepare(&experiment, device, &surroundings)?;
    // An interrupted reproduction goes on.
    let folder = RunFolder::open(&path, &config, true)?;
    execute(&experiment, &prepared, &folder, &surroundings, started)?;
    let found = read_json(&folder.join("metrics.json"))?;
    let mut differences = Vec::new();
    for part in ["metrics", "samples", "training"] {
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
    let digest = |folder: &RunFolder| -> Option<String> {
        let bytes = std::fs::read(folder.join("weights.safetensors")).ok()?;
        Some(Sha256::digest(bytes).iter().take(8).map(|b| format!("{b:02x}")).collect())
    };
    if digest(&original) != digest(&folder) {
        differences.push("weights".into());
    }
    if differences.is_empty() {
        say!("reproduced bit for bit in {}", path.display());
        return Ok(());
    }
    Err(Error::Other(format!("not reproduced: {} differ", differences.join(", "))))
}
