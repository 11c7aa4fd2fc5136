//! What an experiment needs of its data and of the machine, checked before the first step: what
//! contradicts itself, splits that are empty, and numbers that no memory holds.

use crate::experiment::{Experiment, Sampling, Start};
use crate::memory;
use crate::train::learning_rate::LearningRateConfig;
use isotropy_core::{Error, FieldSpec, Result, Split, StateSpec};

/// Whether every split that is needed has points. `points` gives the number of a split, `None`
/// where it has no end or is not known: the description of the data may know before they are read.
///
/// # Errors
/// A configuration error at the data set, or at the number that asks for too much.
pub fn of_data(experiment: &Experiment, points: impl Fn(Split) -> Option<u64>) -> Result<()> {
    let empty = |split| points(split) == Some(0);
    let refuse = |split: &str, why: &str| {
        let message = format!("the {split} split is empty, and {why}");
        Err(Error::config("/dataset", message)
            .with_help(format!("give the data set {split} points, or leave out what needs them")))
    };
    let (train, evaluate) = (&experiment.train, &experiment.evaluate);
    if train.steps > 0 && empty(Split::Train) {
        return refuse("training", "there are training steps");
    }
    if train.steps > 0 && empty(Split::Validation) {
        if train.early_stop.is_some() {
            return refuse("validation", "`train.early_stop` goes by its loss");
        }
        if matches!(train.learning_rate, LearningRateConfig::Plateau { .. }) {
            return refuse("validation", "the learning rate `plateau` goes by its loss");
        }
    }
    let samples = experiment.sampler.is_some() && experiment.sampling.count > 0;
    if empty(Split::Test) {
        if samples {
            return refuse("test", "samples take their shapes from it");
        }
        if !evaluate.metrics.is_empty() || !evaluate.plots.is_empty() {
            return refuse("test", "metrics and plots compare with it");
        }
    }
    if samples {
        inputs(&experiment.sampling, points(Split::Test))?;
    }
    Ok(())
}

/// Whether there are as many inputs as samples that start at one.
///
/// # Errors
/// A configuration error at the count.
pub fn inputs(options: &Sampling, test: Option<u64>) -> Result<()> {
    let wanted = options.count / options.repeats.max(1);
    match test {
        Some(len) if options.start == Start::Input && (len as i64) < wanted => {
            let message = format!("{wanted} inputs were asked for; the test split has {len}");
            Err(Error::config("/sampling/count", message))
        }
        _ => Ok(()),
    }
}

/// Refuses parts of a configuration that contradict each other.
///
/// # Errors
/// A configuration error at one of them.
pub fn of_each_other(experiment: &Experiment) -> Result<()> {
    let train = &experiment.train;
    if train.steps > 0 && train.validate_every == 0 && train.early_stop.is_some() {
        let message = "`early_stop` goes by the validation loss, which is measured at the end only";
        return Err(Error::config("/train/early_stop", message)
            .with_help("set train.validate_every, or leave early_stop out"));
    }
    Ok(())
}

/// Whether the points that are held at once fit into memory.
///
/// # Errors
/// A configuration error with an estimate.
pub fn of_memory(
    experiment: &Experiment,
    spec: &StateSpec,
    points: impl Fn(Split) -> Option<u64>,
) -> Result<()> {
    let (train, sampling) = (&experiment.train, &experiment.sampling);
    for (split, what) in [
        (Split::Train, "training points"),
        (Split::Validation, "validation points"),
        (Split::Test, "test points"),
    ] {
        // Data sets may keep a byte for each number.
        let bytes = points(split).unwrap_or(0) as f64 * numbers(&spec.value);
        fits("/dataset", what, points(split).unwrap_or(0), bytes)?;
    }
    let number = experiment.kind.torch().elt_size_in_bytes() as f64;
    let point = numbers(&spec.value) * number;
    if train.steps > 0 {
        let bytes = train.batch as f64 * point;
        fits("/train/batch", "points in a batch", train.batch as u64, bytes)?;
    }
    if experiment.sampler.is_some() {
        samples(experiment, spec, sampling.count)?;
    }
    let endless = points(Split::Test).is_none();
    if let (Some(count @ 1..), true) = (experiment.evaluate.reference, endless) {
        let bytes = count as f64 * point;
        fits("/evaluate/reference", "reference points", count as u64, bytes)?;
    }
    Ok(())
}

/// Whether so many samples, with where they started, fit into memory.
///
/// # Errors
/// A configuration error with an estimate.
pub fn samples(experiment: &Experiment, spec: &StateSpec, count: i64) -> Result<()> {
    let lifts = spec.lift.iter().map(|(_, field)| numbers(field)).sum::<f64>();
    let number = experiment.kind.torch().elt_size_in_bytes() as f64;
    let bytes = 2.0 * count as f64 * (numbers(&spec.value) + lifts) * number;
    fits("/sampling/count", "samples", count.max(0) as u64, bytes)
}

/// Numbers in a field of one point, at least: a size that varies counts as one.
fn numbers(field: &FieldSpec) -> f64 {
    field.shape.iter().map(|&n| n.max(1) as f64).product()
}

fn fits(pointer: &str, what: &str, count: u64, bytes: f64) -> Result<()> {
    memory::fits(bytes, &format!("{count} {what}")).map_err(|error| error.under(pointer))
}
