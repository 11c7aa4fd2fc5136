//! `runner sample` and `runner evaluate`: from the weights of a run, which they only read.

use crate::checkpoint;
use crate::cli::DataFlags;
use crate::evaluation::verdict;
use crate::execute::{Reopened, measure, reopen, save_samples};
use crate::experiment::Sampling;
use crate::needs;
use crate::output::say;
use crate::run::folder::{read_config, read_json};
use crate::run::{RunFolder, manifest, place};
use crate::sampling;
use crate::signals::StopFlag;
use crate::train::trainer;
use isotropy_core::{Error, Result, Streams};
use isotropy_data::write::write_whole;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Draws more samples of a run.
#[derive(Debug)]
pub struct Draw {
    /// The run folder.
    pub run: PathBuf,
    /// How many samples.
    pub count: i64,
    /// The file they go to; none for one in the run folder, named by count and seed.
    pub out: Option<PathBuf>,
    /// Whether a file that is there is replaced.
    pub replace: bool,
    /// Their seed; none for that of the run plus one.
    pub seed: Option<u64>,
}

impl Draw {
    /// Draws and writes. The place is tried before.
    ///
    /// # Errors
    /// When the run has no weights, nothing can be sampled, or the file cannot be written.
    pub fn draw(&self, data: &DataFlags) -> Result<()> {
        let count = self.count;
        if count < 1 {
            return Err(Error::config("", format!("--count {count}: at least 1 sample")));
        }
        let stop = StopFlag::listen()?;
        let seed = read_config(&self.run)?["seed"].as_u64().unwrap_or(0);
        let seed = self.seed.unwrap_or(seed.wrapping_add(1));
        let path = self.place(seed)?;
        let Reopened { experiment, prepared, surroundings, change, .. } =
            reopen(&self.run, data, stop)?;
        let options = Sampling { count, ..experiment.sampling.clone() };
        needs::samples(&experiment, &prepared.built.spec, count)?;
        trainer::load_sampling_weights(&experiment, &prepared, &self.run)?;
        let samples = sampling::sample(
            &prepared.built,
            prepared.dataset.as_ref(),
            &options,
            &Streams::new(seed),
            &surroundings.stop,
        )?;
        save_samples(&samples, &path)?;
        if let Some(change) = change {
            let threads = experiment.threads.unwrap_or(1);
            let mut value = manifest::manifest(
                seed,
                prepared.load.device,
                threads,
                prepared.dataset.as_ref(),
                prepared.built.process.as_deref(),
                &surroundings.config_folder,
            );
            change.note(&mut value, "sample");
            let beside = path.with_extension("manifest.json");
            write_whole(&beside, format!("{value:#}\n"))?;
        }
        let bad = sampling::non_finite(&samples.state);
        say!("{count} samples in {} ({bad} not finite)", path.display());
        verdict(&json!({"samples": {"count": count, "non_finite": bad}}))
    }

    fn place(&self, seed: u64) -> Result<PathBuf> {
        let path = match &self.out {
            Some(path) => path.clone(),
            None => {
                let folder = self.run.join("samples");
                std::fs::create_dir_all(&folder).map_err(|e| place::unwritable(&folder, e))?;
                folder.join(format!("samples-{}-seed-{seed}.npz", self.count))
            }
        };
        place::try_file(&path, self.replace)?;
        Ok(path)
    }
}

/// Measures and draws again: from the last checkpoint in the run's own folder, or from the one of a
/// `step` or into `out` in a folder beside it.
///
/// # Errors
/// When the run has no weights or no such checkpoint, or a metric fails.
pub fn evaluate(
    run: &Path,
    step: Option<u64>,
    out: Option<PathBuf>,
    data: &DataFlags,
) -> Result<()> {
    let started = Instant::now();
    let stop = StopFlag::listen()?;
    let in_place = step.is_none() && out.is_none();
    // Held from the beginning: nobody trains on while the run is measured.
    let own = in_place.then(|| RunFolder::existing(run)).transpose()?;
    let Reopened { experiment, prepared, surroundings, change, .. } = reopen(run, data, stop)?;
    let folder = match own {
        Some(folder) => folder,
        None => aside(run, step, out)?,
    };
    let trained = trainer::restore(&experiment, &prepared, folder.path())?;
    if let Some(change) = change {
        change.note_in(&folder, "evaluate", false)?;
    }
    let (report, metrics) =
        measure(&experiment, &prepared, &trained, &folder, &surroundings, started)?;
    folder.write_json("metrics.json", &metrics)?;
    say!("{}", report.table().trim_end());
    crate::commands::run::print_files(&folder)?;
    verdict(&metrics)
}

/// A run folder as the run was at a checkpoint: the last one, or that of a step that is still kept.
fn aside(run: &Path, step: Option<u64>, out: Option<PathBuf>) -> Result<RunFolder> {
    let config = read_config(run)?;
    let checkpoints = run.join("checkpoints");
    let checkpoint = match step {
        None => checkpoint::latest_valid(&checkpoints)?.checkpoint.map(|found| found.folder),
        Some(step) => Some(checkpoint::folder_of(&checkpoints, step).ok_or_else(|| {
            let message = format!("{} keeps no checkpoint of step {step}", run.display());
            let help = "`train.checkpoint` says how often they are written and how many stay";
            Error::data(message, help)
        })?),
    };
    let out =
        out.unwrap_or_else(|| run.join(format!("evaluations/step-{}", step.unwrap_or_default())));
    let source = run.canonicalize().map_err(|e| Error::io(run, e))?;
    let evaluates = json!({"run": source.display().to_string(), "step": step});
    let earlier = read_json(&out.join("manifest.json")).unwrap_or(Value::Null);
    let copy = RunFolder::open(&out, &config, earlier["evaluates"] == evaluates)?;
    let mut manifest = read_json(&run.join("manifest.json"))?;
    manifest["evaluates"] = evaluates;
    copy.write_json("manifest.json", &manifest)?;
    match &checkpoint {
        Some(checkpoint) => {
            let name = checkpoint.file_name().unwrap_or_default();
            copy_files(checkpoint, &copy.subfolder("checkpoints")?.join(name))?;
        }
        // Without training there is none; the weights are those that samples are drawn with.
        None if run.join("weights.safetensors").exists() => {
            copy_file(&run.join("weights.safetensors"), &copy.join("weights.safetensors"))?;
        }
        None => {}
    }
    copy_files(&run.join("tensorboard"), &copy.join("tensorboard"))?;
    Ok(copy)
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).map_err(|e| Error::io(to, e))?;
    for entry in std::fs::read_dir(from).map_err(|e| Error::io(from, e))? {
        let entry = entry.map_err(|e| Error::io(from, e))?;
        copy_file(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Copies the content, not the permissions: what is read from an archive may be written here.
fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let bytes = std::fs::read(from).map_err(|e| Error::io(from, e))?;
    write_whole(to, &bytes)
}
