//! What an experiment file says: the top level of the configuration.

use crate::device;
use crate::labelled::Labelled;
use crate::train::learning_rate::LearningRateConfig;
use crate::train::optimizer::OptimizerConfig;
use isotropy_core::{
    DatasetConfig, MetricConfig, ModelConfig, ObjectiveConfig, PlotConfig, ProcessConfig,
    RepresentationConfig, SamplerConfig,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One name of a folder or a file: it never leads elsewhere.
pub const PLAIN_NAME: &str = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$";

/// An experiment: what is diffused, along which fields, with which network, and how the result is
/// judged.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Version of the configuration format; this runner reads 1.
    #[schemars(range(min = 1, max = 1))]
    pub schema: u32,
    /// Short name of letters, digits and `._+-` that begins with a letter or a digit; the run
    /// folder is `runs/NAME` unless `--out` says otherwise.
    #[schemars(regex(pattern = PLAIN_NAME), length(max = 200))]
    pub name: String,
    /// What the experiment shows, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Seed of every random number of the run.
    #[serde(default)]
    pub seed: u64,
    /// Where tensors live: `auto` (CUDA where there is some), `cpu`, `cuda` or `cuda:N`.
    #[serde(default = "auto")]
    #[schemars(regex(pattern = device::PATTERN))]
    pub device: String,
    /// Kind of floating-point numbers.
    #[serde(default)]
    pub kind: FloatKind,
    /// Threads of libtorch on the CPU; null takes all cores. Part of the resolved configuration,
    /// since sums change with it in the last bits.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<u32>,
    /// The data.
    pub dataset: Box<dyn DatasetConfig>,
    /// The representation whose fields move the points; needed by every process.
    #[serde(default)]
    pub drive: Option<Box<dyn RepresentationConfig>>,
    /// The representation under which the law is symmetric; model and sampler are checked against
    /// it.
    #[serde(default)]
    pub symmetry: Option<Box<dyn RepresentationConfig>>,
    /// How noise enters; absent for models that are not denoisers (a classifier).
    #[serde(default)]
    pub process: Option<Box<dyn ProcessConfig>>,
    /// The network, or an oracle.
    pub model: Box<dyn ModelConfig>,
    /// What training makes small; may be absent when `train.steps` is 0.
    #[serde(default)]
    pub objective: Option<Box<dyn ObjectiveConfig>>,
    /// How noise is taken out again; absent where nothing is sampled.
    #[serde(default)]
    pub sampler: Option<Box<dyn SamplerConfig>>,
    /// Training.
    #[serde(default)]
    pub train: Train,
    /// Sampling.
    #[serde(default)]
    pub sampling: Sampling,
    /// Metrics and plots.
    #[serde(default)]
    pub evaluate: Evaluate,
}

/// Kinds of floating-point numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FloatKind {
    /// 32 bits.
    #[default]
    F32,
    /// 64 bits.
    F64,
}

impl FloatKind {
    /// libtorch's name for it.
    pub fn torch(self) -> tch::Kind {
        match self {
            Self::F32 => tch::Kind::Float,
            Self::F64 => tch::Kind::Double,
        }
    }
}

/// How the model is trained.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// Optimiser steps; 0 trains nothing (an oracle).
    pub steps: u64,
    /// Points in a batch.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub batch: i64,
    /// Batches whose points and noise are drawn at once, where the model is a plain function of
    /// columns (a perceptron) and the objective a regression; 1 draws each batch for itself. Larger is
    /// faster for small networks and takes memory. Part of the result: random numbers depend on it.
    #[schemars(range(min = 1, max = 4096))]
    pub batches_at_once: u64,
    /// Batches whose gradients are averaged before a step.
    #[schemars(range(min = 1, max = 4096))]
    pub accumulate: u64,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// How the learning rate changes with the step.
    pub learning_rate: LearningRateConfig,
    /// Gradients with a larger Euclidean norm are scaled down to it; null does not clip.
    #[schemars(range(min = 1e-12))]
    pub clip_norm: Option<f64>,
    /// Rates of exponential moving averages of the weights (`ema <- rate ema + (1 - rate) w`).
    #[schemars(inner(range(min = 0.0, max = 0.999_999_9)))]
    pub ema: Vec<f64>,
    /// Steps between two log entries; scalars are read from the device only then.
    #[schemars(range(min = 1))]
    pub log_every: u64,
    /// Steps between two validations; 0 validates only at the end.
    pub validate_every: u64,
    /// Batches of the validation split that the loss is averaged over.
    #[schemars(range(min = 1))]
    pub validation_batches: u64,
    /// Steps between two histograms of weights and gradients in TensorBoard; 0 for none.
    pub histogram_every: u64,
    /// Checkpoints.
    pub checkpoint: Checkpoints,
    /// Stop when the validation loss has not improved; null never stops early.
    pub early_stop: Option<EarlyStop>,
    /// Start from the weights in this file (safetensors; relative to the configuration's folder).
    #[schemars(extend("x-isotropy-path" = true))]
    pub init_from: Option<String>,
}

impl Default for Train {
    fn default() -> Self {
        Self {
            steps: 0,
            batch: 128,
            batches_at_once: 32,
            accumulate: 1,
            optimizer: OptimizerConfig::default(),
            learning_rate: LearningRateConfig::default(),
            clip_norm: Some(10.0),
            ema: Vec::new(),
            log_every: 100,
            validate_every: 1000,
            validation_batches: 4,
            histogram_every: 0,
            checkpoint: Checkpoints::default(),
            early_stop: None,
            init_from: None,
        }
    }
}

/// When checkpoints are written and which are kept.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpoints {
    /// Steps between two checkpoints: what `kill -9` loses at most.
    #[schemars(range(min = 1))]
    pub every: u64,
    /// How many of the latest are kept; the best by validation loss is kept besides.
    #[schemars(range(min = 1, max = 1000))]
    pub keep: usize,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self { every: 1000, keep: 3 }
    }
}

/// Early stopping by the validation loss.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlyStop {
    /// Validations without improvement after which training stops.
    #[schemars(range(min = 1))]
    pub patience: u64,
    /// Relative improvement that counts.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_improvement: f64,
}

/// How samples are drawn.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// Number of samples; with `start: input` at most the size of the test split.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub count: i64,
    /// Samples that run together; results do not depend on what else runs, but on this number.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub batch: i64,
    /// Samples of each test point that gives its shapes and context, one after the other; `count` and
    /// `batch` are multiples of it.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub repeats: i64,
    /// Where samples start.
    pub start: Start,
    /// Whether the noise moves with the input.
    pub noise: NoiseOf,
    /// Which weights: null for the raw ones, or one of the rates in `train.ema`.
    pub ema: Option<f64>,
    /// States kept along the way of the first batch, for plots; 0 keeps none.
    #[schemars(range(min = 0, max = 1000))]
    pub trajectory: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            count: 1000,
            batch: 10_000,
            repeats: 1,
            start: Start::Prior,
            noise: NoiseOf::Fresh,
            ema: None,
            trajectory: 0,
        }
    }
}

/// Where the noise of a sampler comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseOf {
    /// Independent of the input: the law of the samples is equivariant.
    Fresh,
    /// Drawn at the canonical form of the input under the experiment's `symmetry` (a finite group) and
    /// moved with it: every run is equivariant, with the same law. The input is the context that moves
    /// (the other end of a bridge), or else the start itself. Inputs that are symmetric themselves
    /// have no one canonical form; for them the law alone is equivariant.
    Coupled,
}

/// Where samples start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// A draw from the prior of the process.
    Prior,
    /// The points of the test split themselves, taken as noisy (a rotated digit).
    Input,
}

/// What is measured and drawn in the end.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluate {
    /// Points of the test split to compare with; null for all (at most 10,000 of an endless split).
    #[schemars(range(min = 1))]
    pub reference: Option<i64>,
    /// Metrics.
    pub metrics: Vec<Labelled<Box<dyn MetricConfig>>>,
    /// Pictures.
    pub plots: Vec<Labelled<Box<dyn PlotConfig>>>,
}

fn auto() -> String {
    "auto".to_string()
}
