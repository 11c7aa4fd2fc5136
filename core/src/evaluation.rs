//! Metrics and plots: what is computed and drawn from samples.

use crate::{LoadContext, NoisingProcess, Result, ScoreModel, State, Streams};
use std::path::Path;

/// Everything a metric or a plot may look at.
pub struct Evaluation<'a> {
    /// The samples; for experiments without a sampler the test points themselves.
    pub samples: &'a State,
    /// Where each sample started: a draw from the prior, or the noisy input.
    pub start: &'a State,
    /// States along the way (a few, in order), if they were asked for.
    pub trajectory: &'a [State],
    /// Points of the test split, as many as there are (up to the configured number).
    pub reference: &'a State,
    /// The process, if there is one.
    pub process: Option<&'a dyn NoisingProcess>,
    /// The model, with the weights chosen for sampling.
    pub model: &'a dyn ScoreModel,
    /// The run's random numbers.
    pub streams: &'a Streams,
    /// Kind, device and data folder.
    pub load: &'a LoadContext,
    /// Other experiments' models.
    pub services: &'a dyn Services,
}

/// What the runner does for components that need more than they are handed.
pub trait Services {
    /// The model of another experiment, trained by this runner on first use and kept in its cache;
    /// `config` is a path relative to the configuration that names it.
    ///
    /// # Errors
    /// When the configuration is wrong or training fails.
    fn trained_model(&self, config: &str) -> Result<Box<dyn ScoreModel>>;
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Smaller is better.
    Lower,
    /// Larger is better.
    Higher,
    /// Neither: a count or a description.
    Neither,
}

/// One number of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Name, with its unit where it has one: `w1`, `angle_error_degrees`.
    pub name: String,
    /// The value; NaN when it is not defined for these samples.
    pub value: f64,
    /// Which way is better.
    pub better: Better,
}

impl Measured {
    /// A number of which smaller is better.
    pub fn lower(name: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), value, better: Better::Lower }
    }

    /// A number of which larger is better.
    pub fn higher(name: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), value, better: Better::Higher }
    }

    /// A number that only describes.
    pub fn neutral(name: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), value, better: Better::Neither }
    }
}

/// A metric.
pub trait Metric: Send + std::fmt::Debug {
    /// Whether it can measure this experiment, before the first step: a metric that draws samples
    /// of its own asks its sampler ([`Sampler::accepts`](crate::Sampler::accepts)).
    ///
    /// # Errors
    /// The reason, with a pointer into the metric's configuration.
    fn accepts(
        &self,
        _process: Option<&dyn NoisingProcess>,
        _model: &dyn ScoreModel,
    ) -> Result<()> {
        Ok(())
    }

    /// Whether it looks at the samples; false for what it finds out about the model and the test
    /// points alone, which can be measured where no samples are drawn.
    fn of_samples(&self) -> bool {
        true
    }

    /// The names of the numbers that it may report, so that a name that nothing reports is refused
    /// before anything is trained. `*` stands for any text, for what depends on data or model; the
    /// default stands for any name.
    fn reports(&self) -> Vec<String> {
        vec!["*".into()]
    }

    /// Its numbers. Points that are not finite are counted, never dropped in silence.
    ///
    /// # Errors
    /// When it does not apply to these states.
    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>>;
}

/// A picture.
pub trait Plot: Send + std::fmt::Debug {
    /// File name without extension.
    fn file_stem(&self) -> String;

    /// Draws a PNG at `path`.
    ///
    /// # Errors
    /// When it does not apply to these states, or the file cannot be written.
    fn draw(&self, evaluation: &Evaluation, path: &Path) -> Result<()>;
}
