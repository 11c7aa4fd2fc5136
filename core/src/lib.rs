//! Isotropy's core: what a component is, and how components find one another.
//!
//! One idea holds it together: a point only ever moves because a group acts on it. A sampler step
//! flows the point along the fields of an action, `x <- flow(x, xi)`, with coefficients `xi` in a
//! frame of fields. Ordinary diffusion is the case of the translation group.
//!
//! The six traits are [`Group`], [`Representation`] (with [`Drive`] for those whose fields move
//! points), [`NoisingProcess`], [`ScoreModel`], [`Sampler`] and [`Dataset`]. Beside them stand
//! [`Objective`], [`Metric`], [`Plot`], [`Schedule`] and [`CovarianceKernel`]. Everything is batched: axis 0 is the batch.

mod bisection;
pub mod covariance;
pub mod dataset;
mod device;
mod error;
pub mod evaluation;
pub mod group;
mod kernel_law;
mod late;
pub mod model;
pub mod objective;
pub mod prediction;
pub mod process;
pub mod registry;
pub mod representation;
mod root;
pub mod sampler;
pub mod schedule;
pub mod state;
pub mod streams;
mod xi;

pub use bisection::bisect;
pub use covariance::{CovarianceKernel, Gram, Hyperparameter, Invariance};
pub use dataset::{Dataset, LoadContext, Split};
pub use device::{Constant, download, upload};
pub use error::{Error, Result};
pub use evaluation::{Better, Evaluation, Measured, Metric, Plot, Services};
pub use group::{FiniteGroup, Group, LieGroup};
pub use kernel_law::{KernelLaw, TerminalMismatch};
pub use late::{late_errors, refuse_if};
pub use model::{Linearised, ModelContext, PullBack, Regression, ScoreModel};
pub use objective::{Averages, Columns, Loss, LossContext, Objective};
pub use prediction::{Kernel, Perturbed, Prediction, PredictionKind, Purpose, Scale};
pub use process::{
    ClosedForm, ClosedForms, NoiseOperator, NoisingProcess, Step, Terms, TimeDomain, has_score,
    probe_symmetry,
};
pub use registry::{
    Component, CovarianceKernelConfig, DatasetConfig, GroupConfig, MetricConfig, ModelConfig,
    ObjectiveConfig, PLUGINS, PlotConfig, Plugin, ProcessConfig, RepresentationConfig,
    SamplerConfig, ScheduleConfig,
};
pub use representation::{Aliasing, Drive, FlowCoordinates, Homogeneous, Representation, Space};
pub use root::Root;
pub use sampler::{FreshNoise, Noise, Observer, RecordingNoise, Sampled, Sampler};
pub use schedule::Schedule;
pub use state::{Field, FieldSpec, Fields, Moves, State, StateSpec};
pub use streams::{Stream, Streams};
pub use xi::{Element, Xi, broadcast, broadcast_mask};

// The macros of this crate expand to paths through it, so that a plugin needs no further line.
pub use isotropy_derive::{component, config};
pub use {inventory, linkme, schemars, serde, typetag};
