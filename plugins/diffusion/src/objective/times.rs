//! How the times of a batch are drawn.

use isotropy_core::{Constant, Error, NoisingProcess, Result, Stream, config};
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

/// How the times of a batch are drawn.
#[config]
#[derive(Clone, Copy, Default, PartialEq)]
pub enum Times {
    /// One in each of as many equal slices of the time axis as there are points: the loss varies
    /// less from batch to batch.
    #[default]
    Stratified,
    /// Each for itself.
    Independent,
    /// Noise levels `sigma` (standard deviation of the kernel over its mean factor) with
    /// `log sigma ~ N(mean, std^2)`, clamped to the time axis: Karras et al. (2022) take -1.2 and 1.2.
    /// One in each of as many slices of equal probability as there are points.
    LogNormal(LogNormal),
}

/// Parameters of the times `log-normal`.
#[config]
#[derive(Clone, Copy, PartialEq)]
pub struct LogNormal {
    /// Mean of `log sigma`, with sigma in the unit of the coordinates.
    pub mean: f64,
    /// Standard deviation of `log sigma`, no unit; positive.
    #[schemars(range(min = 1e-9, max = 100.0))]
    pub std: f64,
}

/// Nodes of the table from `log sigma` to time. Between them time is linear, which shifts the law of
/// the times by less than a batch can show.
const NODES: usize = 512;

/// `log sigma` from `low` to `high` in equal steps, and the times that have it.
#[derive(Debug)]
struct Levels {
    low: f64,
    high: f64,
    times: Constant,
}

impl Levels {
    fn of(process: &dyn NoisingProcess) -> Option<Self> {
        let time = process.time();
        let log = |t: f64| Some(process.level(t)?.ln());
        let (low, high) = (log(time.start)?, log(time.end)?);
        let node = |k: usize| low + (high - low) * k as f64 / (NODES - 1) as f64;
        let times = (0..NODES).map(|k| process.time_of_level(node(k).exp()));
        Some(Self { low, high, times: Constant::row(times.collect::<Option<_>>()?) })
    }
}

/// Draws times by a rule.
#[derive(Debug)]
pub(super) struct Draws {
    rule: Times,
    /// Made when the process is first seen: an objective trains one.
    levels: OnceLock<Option<Levels>>,
}

impl Draws {
    pub(super) fn new(rule: Times) -> Self {
        Self { rule, levels: OnceLock::new() }
    }

    /// Refuses processes without noise levels, if these are drawn.
    pub(super) fn accepts(&self, process: &dyn NoisingProcess) -> Result<()> {
        match self.rule {
            Times::LogNormal(_) if process.level(process.time().end).is_none() => {
                let message =
                    format!("{} has no noise levels for log-normal times", process.name());
                Err(Error::config("/times", message))
            }
            _ => Ok(()),
        }
    }

    /// Times for `batches` batches of `batch` points, one batch after the other.
    pub(super) fn draw(
        &self,
        process: &dyn NoisingProcess,
        (batches, batch): (i64, i64),
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Result<Tensor> {
        let time = process.time();
        let law = match self.rule {
            Times::LogNormal(law) => law,
            rule => {
                let stratified = rule == Times::Stratified;
                return Ok(time.sample_batches(batches, batch, stratified, options, stream));
            }
        };
        let Some(levels) = self.levels.get_or_init(|| Levels::of(process)) else {
            return Err(Error::Other(format!("{} has no noise levels", process.name())));
        };
        let u = stream.uniform(&[batches, batch], options);
        let u = (u + Tensor::arange(batch, options)) / batch as f64;
        // A float may round to 0 or 1, where the quantile is infinite.
        let z = (u.view([-1]).clamp(1e-6, 1.0 - 1e-6) * 2.0 - 1.0).erfinv() * 2.0_f64.sqrt();
        let place = (z * law.std + (law.mean - levels.low)) / (levels.high - levels.low);
        let place = (place * (NODES - 1) as f64).clamp(0.0, (NODES - 1) as f64);
        let below = place.floor().clamp_max((NODES - 2) as f64);
        let part = place - &below;
        let below = below.to_kind(Kind::Int64);
        let times = levels.times.tensor(options);
        let (low, high) = (times.index_select(0, &below), times.index_select(0, &(below + 1)));
        let t = &low + (high - &low) * part;
        Ok(if time.discrete { t.round().clamp(time.start, time.end) } else { t })
    }
}
