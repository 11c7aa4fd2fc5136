//! From the configuration to running objects, without data: everything that an experiment names is
//! built and checked against everything else.

use crate::experiment::{Experiment, NoiseOf, Start};
use crate::guard::guard;
use crate::labelled::Labelled;
use crate::{memory, needs};
use isotropy_core::{
    Drive, Error, Metric, ModelContext, NoisingProcess, Objective, Plot, Representation, Result,
    Sampler, ScoreModel, StateSpec, Streams,
};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use tch::nn::VarStore;
use tch::{Device, Kind};

/// Everything an experiment names, built.
pub struct Built {
    /// Shapes of the data.
    pub spec: StateSpec,
    /// The process with its drive.
    pub process: Option<Box<dyn NoisingProcess>>,
    /// The claimed symmetry.
    pub symmetry: Option<Arc<dyn Representation>>,
    /// The variables of the model.
    pub store: VarStore,
    /// The model.
    pub model: Box<dyn ScoreModel>,
    /// The objective.
    pub objective: Option<Box<dyn Objective>>,
    /// The sampler.
    pub sampler: Option<Box<dyn Sampler>>,
    /// Metrics, in the order of the configuration.
    pub metrics: Vec<Labelled<Box<dyn Metric>>>,
    /// Plots, in the order of the configuration.
    pub plots: Vec<Labelled<Box<dyn Plot>>>,
}

impl Built {
    /// The fields of the drive, if there is a process.
    pub fn fields(&self) -> Option<&dyn Drive> {
        self.process.as_deref().map(NoisingProcess::fields)
    }
}

/// Builds an experiment on a device.
///
/// # Errors
/// A configuration error whose pointer says which component cannot work, and why.
pub fn build(experiment: &Experiment, kind: Kind, device: Device) -> Result<Built> {
    let streams = Streams::new(experiment.seed);
    let spec = guard("dataset", || experiment.dataset.spec()).map_err(|e| e.under("/dataset"))?;
    let points = |split| experiment.dataset.split_size(split);
    needs::of_each_other(experiment)?;
    needs::of_data(experiment, points)?;
    needs::of_memory(experiment, &spec, points)?;
    let drive = build_drive(experiment, &spec)?;
    let process = match (&experiment.process, drive) {
        (None, _) => None,
        (Some(_), None) => {
            return Err(Error::config("/process", "a process needs a `drive`, and there is none")
                .with_help("add \"drive\": {\"type\": ...}; see `runner list representation`"));
        }
        (Some(config), Some(drive)) => Some(
            guard("process", || config.build(drive)).map_err(|error| error.under("/process"))?,
        ),
    };
    if let Some(process) = &process {
        process.accepts(&spec).map_err(|error| error.under("/process"))?;
    }
    let symmetry = build_symmetry(experiment, &spec, process.as_deref())?;

    let mut store = VarStore::new(device);
    let model = {
        let context =
            ModelContext { spec: &spec, process: process.as_deref(), symmetry: symmetry.as_ref() };
        let root = store.root();
        let build = || streams.scope("init", 0, || experiment.model.build(&root, &context));
        memory::within_limits(|| guard("model", build))
            .map_err(|error| refusal(error).under("/model"))?
    };
    check_training_memory(experiment, &store)?;
    if kind == Kind::Double {
        store.double();
    }

    let objective = build_objective(experiment, process.as_deref(), model.as_ref())?;
    let sampler = build_sampler(experiment, process.as_deref(), model.as_ref())?;
    let metrics = build_all(&experiment.evaluate.metrics, "/evaluate/metrics", |c| c.build())?;
    check_metric_names(experiment, &metrics)?;
    check_samples(experiment, &metrics)?;
    for (k, metric) in metrics.iter().enumerate() {
        let pointer = format!("/evaluate/metrics/{k}");
        guard("metric", || metric.inner.accepts(process.as_deref(), model.as_ref()))
            .map_err(|error| error.under(&pointer))?;
    }
    let plots = build_all(&experiment.evaluate.plots, "/evaluate/plots", |c| c.build())?;
    check_plot_names(&plots)?;
    check_noise(experiment, symmetry.as_deref())?;
    check_weights(experiment, objective.as_deref())?;
    crate::sampling::repeats(&experiment.sampling)?;
    Ok(Built { spec, process, symmetry, store, model, objective, sampler, metrics, plots })
}

/// What libtorch refuses while a model is built is a mistake in its sizes.
fn refusal(error: Error) -> Error {
    match error {
        Error::Tensor { message, .. } if message.contains("allocate memory") => {
            Error::config("", format!("the model does not fit into memory: {message}"))
                .with_help("choose smaller sizes")
        }
        Error::Tensor { message, .. } => {
            Error::config("", format!("the model cannot be built: libtorch: {message}"))
                .with_help("choose other sizes")
        }
        other => other,
    }
}

/// Weights, gradients, the optimiser's moments and the averages.
fn check_training_memory(experiment: &Experiment, store: &VarStore) -> Result<()> {
    let train = &experiment.train;
    let numbers: f64 = store.trainable_variables().iter().map(|tensor| tensor.numel() as f64).sum();
    // Weights, gradient, two moments and the room of a step.
    let copies = if train.steps > 0 { 5 } else { 1 };
    let copies = (copies + train.ema.len()) as f64;
    let bytes = numbers * copies * experiment.kind.torch().elt_size_in_bytes() as f64;
    let what = format!("{copies} numbers for each of {numbers} weights (gradients, averages)");
    memory::fits(bytes, &what).map_err(|error| error.under("/model"))
}

fn build_drive(
    experiment: &Experiment,
    spec: &StateSpec,
) -> Result<Option<Arc<dyn Representation>>> {
    let Some(config) = &experiment.drive else { return Ok(None) };
    let drive = guard("drive", || config.build()).map_err(|error| error.under("/drive"))?;
    if drive.drive().is_none() {
        let message = format!("'{}' moves points, but has no fields to drive them", drive.name());
        return Err(Error::config("/drive", message)
            .with_help("`runner list representation` shows those that can drive"));
    }
    drive.accepts(spec).map_err(|error| error.under("/drive"))?;
    Ok(Some(drive))
}

fn build_symmetry(
    experiment: &Experiment,
    spec: &StateSpec,
    process: Option<&dyn NoisingProcess>,
) -> Result<Option<Arc<dyn Representation>>> {
    let Some(config) = &experiment.symmetry else { return Ok(None) };
    let symmetry = guard("symmetry", || config.build()).map_err(|e| e.under("/symmetry"))?;
    symmetry.accepts(spec).map_err(|error| error.under("/symmetry"))?;
    if let Some(process) = process {
        process.symmetric_under(symmetry.as_ref(), spec).map_err(|error| {
            Error::config(
                "/symmetry",
                format!("the process is not symmetric under {}: {error}", symmetry.name()),
            )
            .with_help("drop `symmetry`, or choose a drive and a process that have it")
        })?;
    }
    Ok(Some(symmetry))
}

fn build_objective(
    experiment: &Experiment,
    process: Option<&dyn NoisingProcess>,
    model: &dyn ScoreModel,
) -> Result<Option<Box<dyn Objective>>> {
    let Some(config) = &experiment.objective else {
        if experiment.train.steps > 0 {
            return Err(Error::config("", "there are training steps, but no `objective`")
                .with_help(
                    "add \"objective\": {\"type\": \"denoising\"}, or set train.steps to 0",
                ));
        }
        return Ok(None);
    };
    let objective = guard("objective", || config.build()).map_err(|e| e.under("/objective"))?;
    objective.accepts(process, model).map_err(|error| error.under("/objective"))?;
    Ok(Some(objective))
}

fn build_sampler(
    experiment: &Experiment,
    process: Option<&dyn NoisingProcess>,
    model: &dyn ScoreModel,
) -> Result<Option<Box<dyn Sampler>>> {
    let Some(config) = &experiment.sampler else { return Ok(None) };
    let sampler = guard("sampler", || config.build()).map_err(|error| error.under("/sampler"))?;
    let process = process.ok_or_else(|| {
        Error::config("/sampler", "a sampler needs a `process`, and there is none")
    })?;
    process.accepts_prediction(model.predicts()).map_err(|why| {
        Error::config("/model", why.to_string())
            .with_help("choose another `predicts` in the model, or another process")
    })?;
    guard("sampler", || sampler.accepts(process, model))
        .map_err(|error| error.under("/sampler"))?;
    Ok(Some(sampler))
}

fn build_all<C, T>(
    configs: &[Labelled<C>],
    pointer: &str,
    build: impl Fn(&C) -> Result<T>,
) -> Result<Vec<Labelled<T>>> {
    let built = configs.iter().enumerate().map(|(k, config)| {
        guard(pointer, || build(&config.inner))
            .map(|inner| Labelled { label: config.label.clone(), inner })
            .map_err(|error| error.under(&format!("{pointer}/{k}")))
    });
    built.collect()
}

/// Where no samples are drawn, metrics and plots of samples would be of nothing.
fn check_samples(experiment: &Experiment, metrics: &[Labelled<Box<dyn Metric>>]) -> Result<()> {
    if experiment.sampler.is_none() || experiment.sampling.count > 0 {
        return Ok(());
    }
    let of_samples = metrics.iter().any(|metric| metric.inner.of_samples());
    if of_samples || !experiment.evaluate.plots.is_empty() {
        let message = "no samples are drawn, so metrics and plots would be of nothing";
        return Err(Error::config("/sampling/count", message)
            .with_help("draw some, or leave out the metrics and plots (or the sampler)"));
    }
    Ok(())
}

/// Two metrics of one type report the same names unless a label, or a `name` of their own, tells
/// them apart; those of two types, where both know the name before they measure.
fn check_metric_names(
    experiment: &Experiment,
    metrics: &[Labelled<Box<dyn Metric>>],
) -> Result<()> {
    let refuse = |k: usize, message: String| {
        Err(Error::config(format!("/evaluate/metrics/{k}"), message)
            .with_help("give one of them a \"label\""))
    };
    let mut names = BTreeSet::new();
    for (k, metric) in metrics.iter().enumerate() {
        let known = metric.inner.reports().into_iter().filter(|name| !name.contains('*'));
        for name in known.map(|name| metric.named(&name)) {
            if !names.insert(name.clone()) {
                return refuse(k, format!("two metrics would report the number '{name}'"));
            }
        }
    }
    let mut seen = BTreeSet::new();
    for (k, metric) in experiment.evaluate.metrics.iter().enumerate() {
        let fields =
            serde_json::to_value(&metric.inner).map_err(|e| Error::Other(e.to_string()))?;
        let own = fields["name"].as_str().map(str::to_string);
        let kind = metric.inner.typetag_name();
        if !seen.insert((kind, own, metric.label.clone())) {
            return refuse(
                k,
                format!("two metrics '{kind}' would report numbers of the same names"),
            );
        }
    }
    Ok(())
}

fn check_plot_names(plots: &[Labelled<Box<dyn Plot>>]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for (k, plot) in plots.iter().enumerate() {
        let stem = plot.named(&plot.inner.file_stem());
        let refuse = |message: String, help: &str| {
            Err(Error::config(format!("/evaluate/plots/{k}"), message).with_help(help))
        };
        if Path::new(&stem).file_name() != Some(OsStr::new(&stem))
            || stem.chars().any(char::is_control)
            || stem.len() > 200
        {
            let message = format!("'{}' is no plain name for a picture", stem.escape_debug());
            return refuse(message, "name it without folders and control characters");
        }
        if !seen.insert(stem.clone()) {
            let message = format!("two plots would write the file '{stem}.png'");
            return refuse(message, "give one of them a \"label\"");
        }
    }
    Ok(())
}

/// Noise is coupled through the elements of a finite symmetry.
fn check_noise(experiment: &Experiment, symmetry: Option<&dyn Representation>) -> Result<()> {
    if experiment.sampling.noise == NoiseOf::Fresh {
        return Ok(());
    }
    let why = match symmetry {
        None => "noise is coupled to a `symmetry`, and the experiment names none".to_string(),
        Some(symmetry) if symmetry.group().finite().is_some() => return Ok(()),
        Some(symmetry) => format!(
            "noise is coupled to a finite group; {} has infinitely many elements",
            symmetry.group().name()
        ),
    };
    Err(Error::config("/sampling/noise", why).with_help(
        "name a finite symmetry such as \"image-permutation\", or set \"noise\": \"fresh\"",
    ))
}

fn check_weights(experiment: &Experiment, objective: Option<&dyn Objective>) -> Result<()> {
    let rates = &experiment.train.ema;
    if let Some(k) = (1..rates.len()).find(|&k| rates[..k].contains(&rates[k])) {
        let message = format!("the rate {} is named twice", rates[k]);
        return Err(Error::config(format!("/train/ema/{k}"), message));
    }
    let wanted = objective.map(Objective::averages).unwrap_or_default();
    if let Some(rate) = wanted.iter().find(|rate| !rates.contains(rate)) {
        let message = format!("the objective compares with the average of rate {rate}");
        return Err(Error::config("/train/ema", message)
            .with_help(format!("add {rate} to `train.ema`, which names {rates:?}")));
    }
    if let Some(rate) = experiment.sampling.ema
        && !experiment.train.ema.contains(&rate)
    {
        let message = format!("sampling with the average of rate {rate}, which is not trained");
        return Err(Error::config("/sampling/ema", message)
            .with_help(format!("rates in train.ema: {:?}", experiment.train.ema)));
    }
    if experiment.sampler.is_none() && experiment.sampling.start == Start::Input {
        return Err(Error::config("/sampling/start", "`start: input` needs a `sampler`"));
    }
    Ok(())
}
