//! Runs an experiment in its folder: load, train, sample, evaluate.

use crate::build::{Built, build};
use crate::cli::DataFlags;
use crate::evaluation::{self, Report};
use crate::experiment::Experiment;
use crate::guard::guard;
use crate::output::note;
use crate::run::data::Change;
use crate::run::folder::{read_config, read_json};
use crate::run::{RunFolder, manifest};
use crate::sampling::{self, Samples};
use crate::services::TrainedModels;
use crate::signals::StopFlag;
use crate::train::trainer::{self, Trained};
use crate::{device, memory, needs, resolve, services};
use isotropy_core::{Dataset, LoadContext, Result, Streams, download};
use isotropy_data::write::write_whole_with;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tch::Tensor;

/// Where a run finds and puts things beside its own folder.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Data folder.
    pub data_dir: PathBuf,
    /// The folder that relative paths in the configuration start from.
    pub config_folder: PathBuf,
    /// Signals.
    pub stop: StopFlag,
    /// Whether to go on with data that have changed since the run began.
    pub accept_changed_data: bool,
}

/// A run that is set up: built, with its data.
pub struct Prepared {
    /// Everything the configuration names.
    pub built: Built,
    /// The data.
    pub dataset: Box<dyn Dataset>,
    /// Kind, device, streams.
    pub load: LoadContext,
}

/// Fills in what depends on the machine: device and threads. With `stored`, the configuration of a
/// run that goes on, `auto` and null mean what they meant when it began.
///
/// # Errors
/// When the device is not there.
pub fn settle(experiment: &mut Experiment, stored: Option<&Value>) -> Result<tch::Device> {
    if experiment.device == "auto"
        && let Some(name) = stored.and_then(|s| s["device"].as_str())
    {
        experiment.device = name.to_string();
    }
    if experiment.threads.is_none() {
        let stored = stored.and_then(|s| s["threads"].as_u64()).map(|t| t as u32);
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        experiment.threads = Some(stored.unwrap_or(cores));
    }
    let device = device::resolve(&experiment.device)?;
    experiment.device = device::name(device);
    let threads = experiment.threads.expect("threads were set above");
    tch::set_num_threads(threads as i32);
    Ok(device)
}

/// Builds and loads.
///
/// # Errors
/// A configuration error before any data are read; a data error after.
pub fn prepare(
    experiment: &Experiment,
    device: tch::Device,
    surroundings: &Surroundings,
) -> Result<Prepared> {
    let kind = experiment.kind.torch();
    let built = build(experiment, kind, device)?;
    let load = LoadContext {
        data_dir: surroundings.data_dir.clone(),
        kind,
        device,
        streams: Streams::new(experiment.seed),
    };
    let dataset = guard("dataset", || experiment.dataset.load(&load))?;
    needs::of_data(experiment, |split| dataset.len(split))?;
    Ok(Prepared { built, dataset, load })
}

/// Whether the run in a folder has been trained to its end and measured. The metrics of a run that
/// was evaluated halfway do not count.
pub fn finished(path: &Path) -> bool {
    let read = |name: &str| read_json(&path.join(name)).unwrap_or_default();
    let (metrics, config) = (read("metrics.json"), read("config.json"));
    let training = &metrics["training"];
    match (training["steps"].as_u64(), config["train"]["steps"].as_u64()) {
        (Some(done), Some(steps)) => done >= steps || training["stopped_early"] == true,
        _ => false,
    }
}

/// Runs an experiment from wherever its folder stands to `metrics.json`; `started` is when the
/// process began with it.
///
/// # Errors
/// Configuration, data, numbers, interruption: see [`isotropy_core::Error::exit_code`].
pub fn execute(
    experiment: &Experiment,
    prepared: &Prepared,
    folder: &RunFolder,
    surroundings: &Surroundings,
    started: Instant,
) -> Result<Report> {
    let manifest_file = folder.join("manifest.json");
    if manifest_file.exists() {
        if let Some(change) = changed_data(experiment, prepared, folder.path(), surroundings)? {
            change.note_in(folder, "resume", true)?;
        }
    } else {
        let threads = experiment.threads.unwrap_or(1);
        let value = manifest::manifest(
            experiment.seed,
            prepared.load.device,
            threads,
            prepared.dataset.as_ref(),
            prepared.built.process.as_deref(),
            &surroundings.config_folder,
        );
        folder.write_json("manifest.json", &value)?;
    }
    let trained = trainer::train(experiment, prepared, folder, surroundings)?;
    let (report, metrics) = measure(experiment, prepared, &trained, folder, surroundings, started)?;
    trainer::log_metrics(folder, &trained, &report)?;
    folder.write_json("metrics.json", &metrics)?;
    Ok(report)
}

/// How the data differ from those that the run in a folder was made with, where that is accepted.
///
/// # Errors
/// A data error where it is not.
pub fn changed_data(
    experiment: &Experiment,
    prepared: &Prepared,
    run: &Path,
    surroundings: &Surroundings,
) -> Result<Option<Change>> {
    let manifest = read_json(&run.join("manifest.json"))?;
    let name = experiment.dataset.typetag_name();
    let change = Change::find(&manifest, prepared.dataset.as_ref(), name);
    let change = change.map(|c| c.unless(surroundings.accept_changed_data, run)).transpose()?;
    if let Some(change) = &change {
        note!("warning: {change}; it is written down in the manifest");
    }
    Ok(change)
}

/// Samples and evaluates a trained model, writes weights, samples and plots, and returns what
/// belongs into `metrics.json`.
///
/// # Errors
/// As for [`execute`].
pub fn measure(
    experiment: &Experiment,
    prepared: &Prepared,
    trained: &Trained,
    folder: &RunFolder,
    surroundings: &Surroundings,
    started: Instant,
) -> Result<(Report, Value)> {
    let services = TrainedModels::new(surroundings, &prepared.load);
    trained.with_sampling_weights(experiment, || {
        save_weights(prepared, &folder.join("weights.safetensors"))?;
        let samples = draw(prepared, &experiment.sampling, &surroundings.stop)?;
        if let Some(samples) = &samples {
            save_samples(samples, &folder.subfolder("samples")?.join("samples.npz"))?;
        }
        let report = evaluation::evaluate(
            experiment,
            &prepared.built,
            prepared.dataset.as_ref(),
            samples.as_ref(),
            &prepared.load,
            &services,
            folder,
        )?;
        let mut metrics = report.to_json();
        metrics["training"] = trained.to_json();
        metrics["judges"] = services.judges();
        metrics["resources"] = json!({
            "peak_memory_bytes": memory::peak_memory_bytes(),
            "seconds": started.elapsed().as_secs_f64(),
        });
        Ok((report, metrics))
    })
}

fn draw(
    prepared: &Prepared,
    sampling: &crate::experiment::Sampling,
    stop: &StopFlag,
) -> Result<Option<Samples>> {
    if prepared.built.sampler.is_none() || sampling.count == 0 {
        return Ok(None);
    }
    let streams = &prepared.load.streams;
    sampling::sample(&prepared.built, prepared.dataset.as_ref(), sampling, streams, stop).map(Some)
}

/// Writes samples, starting points and their lift and context as named arrays.
///
/// # Errors
/// When the file cannot be written.
pub fn save_samples(samples: &Samples, path: &Path) -> Result<()> {
    let mut names = vec!["value".to_string(), "start".to_string()];
    let mut tensors = vec![samples.state.x(), samples.start.x()];
    let fields = samples.state.lift.iter().map(|f| ("lift", f));
    for (part, (name, field)) in fields.chain(samples.state.context.iter().map(|f| ("context", f)))
    {
        names.push(format!("{part}_{name}"));
        tensors.push(&field.tensor);
    }
    let named: Vec<(String, Tensor)> = names.into_iter().zip(download(tensors)?).collect();
    write_whole_with(path, |partial| {
        Tensor::write_npz(&named, partial).map_err(std::io::Error::other)
    })
}

/// Writes the weights that samples are drawn with, by name.
fn save_weights(prepared: &Prepared, path: &Path) -> Result<()> {
    let variables = prepared.built.store.variables();
    if variables.is_empty() {
        return Ok(());
    }
    let mut named: Vec<(String, Tensor)> = variables.into_iter().collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    crate::checkpoint::write_safetensors(path, &named)
}

/// A run that is read: built, with its data, without weights yet.
pub struct Reopened {
    /// The resolved configuration as it lies there.
    pub config: Value,
    /// The experiment.
    pub experiment: Experiment,
    /// Built, with its data.
    pub prepared: Prepared,
    /// Where it finds things.
    pub surroundings: Surroundings,
    /// How the data differ from those of the run, where that was accepted.
    pub change: Option<Change>,
}

/// Reads a run: nothing is written and no lock is taken, so it may lie where one cannot write.
///
/// # Errors
/// When it is not a run folder, or the data are others and that is not accepted.
pub fn reopen(path: &Path, data: &DataFlags, stop: StopFlag) -> Result<Reopened> {
    let config = read_config(path)?;
    let mut experiment = resolve::parse(config.clone())?;
    let device = settle(&mut experiment, None)?;
    let manifest = read_json(&path.join("manifest.json"))?;
    let config_folder = manifest["config_folder"].as_str().unwrap_or(".");
    let surroundings = Surroundings {
        data_dir: services::data_folder_or_none(data.data_dir.clone()),
        config_folder: PathBuf::from(config_folder),
        stop,
        accept_changed_data: data.accept_changed_data,
    };
    let prepared = prepare(&experiment, device, &surroundings)?;
    let change = changed_data(&experiment, &prepared, path, &surroundings)?;
    Ok(Reopened { config, experiment, prepared, surroundings, change })
}
