//! `runner sample` and `runner evaluate`: from the weights of a run.

use crate::execute::{finish, reopen, save_samples};
use crate::output::say;
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

/// Measures and draws again.
///
/// # Errors
/// When the run has no weights, or a metric fails.
pub fn evaluate(run: &Path, data_dir: &Path) -> Result<()> {
    let stop = StopFlag::listen()?;
    let (experiment, folder, prepared, surroundings) = reopen(run, data_dir, &stop)?;
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
