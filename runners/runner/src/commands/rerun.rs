//! `runner sample` and `runner evaluate`: from the weights of a run.

use crate::checkpoint;
use crate::execute::{finish, reopen, save_samples};
use crate::output::say;
use crate::run::RunFolder;
use crate::sampling;
use crate::signals::StopFlag;
use crate::train::trainer;
use isotropy_core::{Error, Result, Streams};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Draws `count` more samples.
///
/// # Errors
/// When the run has no weights, or nothing can be sampled.
pub fn sample(
    run: &Path,
    count: i64,
    out: Option<PathBuf>,
    seed: Option<u64>,
    data_dir: &Path,
) -> Result<()> {
    if count < 1 {
        return Err(Error::config("", format!("--count {count}: at least 1 sample")));
    }
    let stop = StopFlag::listen()?;
    let (experiment, folder, prepared, _) = reopen(run, data_dir, &stop)?;
    trainer::load_sampling_weights(&experiment, &prepared, &folder)?;
    let streams = Streams::new(seed.unwrap_or(experiment.seed.wrapping_add(1)));
    let options = crate::experiment::Sampling { count, ..experiment.sampling.clone() };
    let samples =
        sampling::sample(&prepared.built, prepared.dataset.as_ref(), &options, &streams, &stop)?;
    let path = match out {
        Some(path) => path,
        None => folder.subfolder("samples")?.join(format!("samples-{count}.npz")),
    };
    save_samples(&samples, &path)?;
    let bad = sampling::non_finite(&samples.state);
    say!("{count} samples in {} ({bad} not finite)", path.display());
    Ok(())
}

/// Measures and draws again: from the last checkpoint in the run's own folder, from the one of a `step` in a folder
/// beside it.
///
/// # Errors
/// When the run has no weights or no such checkpoint, or a metric fails.
pub fn evaluate(
    run: &Path,
    step: Option<u64>,
    out: Option<PathBuf>,
    data_dir: &Path,
) -> Result<()> {
    let run = match step {
        Some(step) => {
            let out = out.unwrap_or_else(|| run.join(format!("evaluations/step-{step}")));
            aside(run, step, &out)?;
            out
        }
        None => run.to_path_buf(),
    };
    let stop = StopFlag::listen()?;
    let (experiment, folder, prepared, surroundings) = reopen(&run, data_dir, &stop)?;
    let trained = trainer::restore(&experiment, &prepared, &folder)?;
    let report = finish(
        &experiment,
        &prepared,
        &trained,
        &folder,
        &surroundings,
        &experiment.sampling,
        Instant::now(),
    )?;
    say!("{}", report.table().trim_end());
    crate::commands::run::print_files(&folder)
}

/// Makes `out` the run folder as it was at a checkpoint that is still kept.
fn aside(run: &Path, step: u64, out: &Path) -> Result<()> {
    let (folder, config) = RunFolder::existing(run)?;
    let checkpoint = checkpoint::folder_of(&folder.join("checkpoints"), step).ok_or_else(|| {
        let message = format!("{} keeps no checkpoint of step {step}", run.display());
        Error::data(message, "`train.checkpoint` says how often they are written and how many stay")
    })?;
    let copy = RunFolder::open(out, &config, true)?;
    std::fs::copy(folder.join("manifest.json"), copy.join("manifest.json"))
        .map_err(|e| Error::io(copy.join("manifest.json"), e))?;
    let name = checkpoint.file_name().unwrap_or_default();
    copy_files(&checkpoint, &copy.subfolder("checkpoints")?.join(name))?;
    copy_files(&folder.join("tensorboard"), &copy.join("tensorboard"))
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).map_err(|e| Error::io(to, e))?;
    for entry in std::fs::read_dir(from).map_err(|e| Error::io(from, e))? {
        let entry = entry.map_err(|e| Error::io(from, e))?;
        let target = to.join(entry.file_name());
        std::fs::copy(entry.path(), &target).map_err(|e| Error::io(&target, e))?;
    }
    Ok(())
}
