//! Checkpoints that survive being killed at any moment.
//!
//! A checkpoint is a folder `step-000001000` with
//!
//! * `model.safetensors`: parameters and buffers by name,
//! * `state.safetensors`: what else training needs (moments, averages),
//! * `manifest.json`: step, metric, byte offset of the event file, free-form values, and the size and SHA-256 of the
//!   other two; it carries a digest of itself and is written last.
//!
//! Everything is written to a folder with a temporary name, brought to the disk (fsync), and renamed. So a folder with a
//! final name is complete, unless the disk or a person damaged it, which the digests show.
//!
//! One process writes to a folder of checkpoints at a time; any number may read.

mod files;
mod manifest;
mod tensors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use isotropy_core::{Error, Result};
use tch::Tensor;

use files::{Layout, PARTIAL, REMOVED, REPLACED};
use manifest::Manifest;
pub use tensors::{read_safetensors, write_safetensors};

const MODEL: &str = "model.safetensors";
const STATE: &str = "state.safetensors";

/// What a checkpoint keeps.
#[derive(Debug)]
pub struct Snapshot {
    /// Finished optimizer steps.
    pub step: u64,
    /// Parameters and buffers by name.
    pub model: Vec<(String, Tensor)>,
    /// Everything else in tensors, by name.
    pub state: Vec<(String, Tensor)>,
    /// Bytes of the event file that belong to this step.
    pub events_offset: u64,
    /// Lower is better; decides which checkpoint is kept as the best. None or NaN is never the best.
    pub metric: Option<f64>,
    /// Anything in JSON. Finite numbers come back in the same bits.
    pub extra: serde_json::Value,
}

/// A checkpoint whose digests were right. Tensors are on the CPU.
#[derive(Debug)]
pub struct Loaded {
    /// Finished optimizer steps.
    pub step: u64,
    /// The folder it came from.
    pub folder: PathBuf,
    /// Parameters and buffers by name.
    pub model: BTreeMap<String, Tensor>,
    /// Everything else in tensors, by name.
    pub state: BTreeMap<String, Tensor>,
    /// Bytes of the event file that belong to this step.
    pub events_offset: u64,
    /// The metric it was saved with.
    pub metric: Option<f64>,
    /// As saved.
    pub extra: serde_json::Value,
}

/// The outcome of looking for the newest checkpoint.
#[derive(Debug, Default)]
pub struct Found {
    /// The newest undamaged one, if any was ever written.
    pub checkpoint: Option<Loaded>,
    /// A line for each newer one that is damaged, with its folder and what is wrong.
    pub warnings: Vec<String>,
}

impl Found {
    /// The step of the checkpoint that was found.
    pub fn step(&self) -> Option<u64> {
        self.checkpoint.as_ref().map(|c| c.step)
    }
}

/// Writes a checkpoint to `folder` and then removes old ones: the last `keep` stay, and the best by metric. Also removes
/// what an interrupted write left behind, and checkpoints of later steps: they belong to a history that was given up
/// when training went on from an earlier one.
///
/// # Errors
/// When a file cannot be written; a full disk is named with the bytes that were needed. Earlier checkpoints are
/// untouched then, and nothing half-written stays.
pub fn save(folder: &Path, snapshot: &Snapshot, keep: usize) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let before = Layout::read(folder)?;
    before.clean(folder)?;

    let model = tensors::serialize(&snapshot.model)?;
    let state = tensors::serialize(&snapshot.state)?;
    let manifest = Manifest::new(snapshot, &[(MODEL, &model), (STATE, &state)]).to_json()?;

    let name = files::name(snapshot.step);
    let partial = folder.join(format!("{PARTIAL}{name}"));
    let contents =
        [(MODEL, &model[..]), (STATE, &state[..]), (manifest::NAME, manifest.as_bytes())];
    if let Err(error) = files::write_folder(&partial, &contents) {
        // Best effort: the reason for the failure is worth more than the reason why cleaning failed too.
        let _ = std::fs::remove_dir_all(&partial);
        return Err(error);
    }
    let target = folder.join(&name);
    if target.exists() {
        // Folders cannot be replaced in one step; `latest_valid` also reads this name if we are killed in between.
        let replaced = folder.join(format!("{REPLACED}{name}"));
        files::rename(&target, &replaced)?;
        files::rename(&partial, &target)?;
        files::sync_folder(folder)?;
        files::remove(&replaced)?;
    } else {
        files::rename(&partial, &target)?;
        files::sync_folder(folder)?;
    }
    retain(folder, snapshot.step, keep)
}

/// Removes what is neither among the last `keep` up to `step` nor the best.
fn retain(folder: &Path, step: u64, keep: usize) -> Result<()> {
    let steps = Layout::read(folder)?.steps;
    let current: Vec<u64> = steps.iter().copied().filter(|s| *s <= step).collect();
    let metric =
        |s: u64| Manifest::read(&folder.join(files::name(s))).ok()?.metric.filter(|m| !m.is_nan());
    let best =
        current.iter().filter_map(|&s| Some((s, metric(s)?))).min_by(|a, b| a.1.total_cmp(&b.1));
    let last = &current[current.len().saturating_sub(keep.max(1))..];
    for s in steps.iter().filter(|&s| !last.contains(s) && best.is_none_or(|(b, _)| b != *s)) {
        let name = files::name(*s);
        let removed = folder.join(format!("{REMOVED}{name}"));
        // Renamed first: a kill in the middle of the removal must not leave half a checkpoint under its own name.
        files::rename(&folder.join(name), &removed)?;
        files::remove(&removed)?;
    }
    Ok(())
}

/// Finds the newest checkpoint whose digests are right. Damaged ones are named in the warnings. Changes nothing.
/// A folder that does not exist holds no checkpoint.
///
/// # Errors
/// When the folder cannot be read, or there are checkpoints and all are damaged: starting over silently would lose a run.
pub fn latest_valid(folder: &Path) -> Result<Found> {
    if !folder.exists() {
        return Ok(Found::default());
    }
    let layout = Layout::read(folder)?;
    let mut names: Vec<(u64, String)> = layout.steps.iter().map(|&s| (s, files::name(s))).collect();
    let replaced = layout.replaced.iter().filter(|s| !layout.steps.contains(s));
    names.extend(replaced.map(|&s| (s, format!("{REPLACED}{}", files::name(s)))));
    names.sort_by(|a, b| b.cmp(a));
    let mut warnings = Vec::new();
    for (_, name) in names {
        match load(&folder.join(name)) {
            Ok(loaded) => return Ok(Found { checkpoint: Some(loaded), warnings }),
            Err(error) => warnings.push(format!("{error}; trying the checkpoint before it")),
        }
    }
    if warnings.is_empty() {
        return Ok(Found::default());
    }
    let message =
        format!("every checkpoint in {} is damaged: {}", folder.display(), warnings.join("; "));
    Err(Error::data(message, "restore the folder from a copy, or start over in another run folder"))
}

/// The folder of the checkpoint of a step, where there is one.
pub fn folder_of(folder: &Path, step: u64) -> Option<PathBuf> {
    let path = folder.join(files::name(step));
    path.is_dir().then_some(path)
}

/// Loads one checkpoint folder and checks every digest.
///
/// # Errors
/// `Data` with the folder's name and what is missing, too short or changed.
pub fn load(folder: &Path) -> Result<Loaded> {
    let manifest = Manifest::read(folder)?;
    let model = tensors::deserialize(&manifest.verified(folder, MODEL)?, &folder.join(MODEL))?;
    let state = tensors::deserialize(&manifest.verified(folder, STATE)?, &folder.join(STATE))?;
    Ok(Loaded {
        step: manifest.step,
        folder: folder.to_path_buf(),
        model,
        state,
        events_offset: manifest.events_offset,
        metric: manifest.metric,
        extra: manifest.extra,
    })
}
