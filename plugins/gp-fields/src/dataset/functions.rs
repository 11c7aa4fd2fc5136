//! The dataset `functions-1d`: the one-dimensional functions of geomndp.md 2.1.

use super::counts::{CountPer, CountsConfig, Range};
use super::law::{GaussianLaw, Law, Mixture};
use super::points::{IndexSet, PointsConfig};
use super::sawtooth::{self, Sawtooth};
use super::synthetic::{Protocol, Synthetic};
use super::task::{Region, TaskConfig};
use isotropy_core::{
    CovarianceKernelConfig, Dataset, DatasetConfig, Error, LoadContext, Moves, Result, Split,
    StateSpec, component, config,
};

/// The training interval is `(-HALF, HALF)`.
const HALF: f64 = 2.0;

/// Functions of one coordinate, seen with noise at uniform points of (-2, 2): new ones for every batch, as many points
/// as are drawn. The test functions are known at a few points and asked for at others.
#[config]
#[derive(Clone)]
pub struct FunctionsConfig {
    /// Which functions.
    pub family: FunctionFamily,
    /// Variance of the observation noise of Gaussian functions; sawtooths have none.
    #[serde(default = "published_noise")]
    #[schemars(range(min = 0.0, max = 1e6))]
    pub noise_variance: f64,
    /// Points of a training function; null for the published 1 to 60, for sawtooth and mixture 1 to 110.
    #[serde(default)]
    pub counts: Option<CountsConfig>,
    /// Whether the batch or each function has such a number.
    #[serde(default)]
    pub count_per: CountPer,
    /// Known points beside them, for conditional training; null for training on the joint law alone.
    #[serde(default)]
    pub training_context: Option<Range>,
    /// Training functions in a fixed set; null draws new ones for every batch.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub functions: Option<i64>,
    /// What is asked of the test functions.
    #[serde(default)]
    pub task: FunctionTask,
    /// How many points a test function is known at, drawn for each function.
    #[serde(default = "published_context")]
    pub context: Range,
    /// At how many other points it is asked for; null for the published 50, for sawtooth and mixture 100.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100_000))]
    pub targets: Option<i64>,
    /// Functions for the validation loss.
    #[serde(default = "default_validation")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub validation: i64,
    /// Test functions.
    #[serde(default = "published_test")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub test: i64,
    /// Seed of the test and validation functions and of a fixed training set. The seed of the run does not change them.
    #[serde(default = "default_seed")]
    pub seed: u64,
}

/// Sets of functions (geomndp.md 2.1).
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FunctionFamily {
    /// Gaussian with the squared exponential kernel, length scale 0.25.
    Se,
    /// Gaussian with the Matern kernel of smoothness 5/2, length scale 0.25.
    Matern52,
    /// Gaussian, `RBF(l = 0.5) x periodic(l = 0.25, period 1)`.
    WeaklyPeriodic,
    /// Gaussian, periodic with length scale 0.5 and period 1.
    Periodic,
    /// Truncated Fourier series of sawtooths, unscaled: variance 0.0797.
    Sawtooth,
    /// One of `se`, `matern52`, `weakly-periodic` and the sawtooth scaled to variance 1, all equally likely.
    Mixture,
}

/// What is asked of the test functions.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum FunctionTask {
    /// Known and asked points in (-2, 2).
    #[default]
    Interpolation,
    /// Known and asked points in (2, 6).
    Generalisation,
    /// Known points in (-2, 2), asked points in (-4, -2) and (2, 4).
    Extrapolation,
    /// Nothing is known: functions as training sees them, at the largest number of points.
    None,
}

fn published_noise() -> f64 {
    0.0025
}

fn published_context() -> Range {
    Range { min: 1, max: 10 }
}

pub(super) fn default_validation() -> i64 {
    256
}

fn published_test() -> i64 {
    4096
}

pub(super) fn default_seed() -> u64 {
    42
}

impl FunctionFamily {
    fn longer(self) -> bool {
        matches!(self, Self::Sawtooth | Self::Mixture)
    }

    /// The law of the functions with this variance of the noise.
    ///
    /// # Errors
    /// As for [`GaussianLaw::new`].
    pub fn law(self, noise_variance: f64) -> Result<Box<dyn Law>> {
        let gaussian = |json: &str| -> Result<Box<dyn Law>> {
            let kernel: Box<dyn CovarianceKernelConfig> =
                serde_json::from_str(json).map_err(|error| Error::Other(error.to_string()))?;
            Ok(Box::new(GaussianLaw::new(kernel.build()?, 1, 1, noise_variance)?))
        };
        match self {
            Self::Se => gaussian(r#"{"type": "rbf", "lengthscale": 0.25}"#),
            Self::Matern52 => {
                gaussian(r#"{"type": "matern", "smoothness": "5/2", "lengthscale": 0.25}"#)
            }
            Self::WeaklyPeriodic => gaussian(r#"{"type": "weakly-periodic"}"#),
            Self::Periodic => {
                gaussian(r#"{"type": "periodic", "lengthscale": 0.5, "period": 1.0}"#)
            }
            Self::Sawtooth => Ok(Box::new(Sawtooth { factor: 1.0 })),
            Self::Mixture => Ok(Box::new(Mixture(vec![
                Self::Se.law(noise_variance)?,
                Self::Matern52.law(noise_variance)?,
                Self::WeaklyPeriodic.law(noise_variance)?,
                Box::new(Sawtooth { factor: sawtooth::variance().sqrt().recip() }),
            ]))),
        }
    }
}

impl FunctionsConfig {
    fn points() -> Result<IndexSet> {
        PointsConfig::Uniform { low: -HALF, high: HALF }.build(1, "")
    }

    fn protocol(&self) -> Protocol {
        let longer = self.family.longer();
        let targets = self.targets.unwrap_or(if longer { 100 } else { 50 });
        let task = |region| Some(TaskConfig { region, context: self.context, targets });
        Protocol {
            counts: self
                .counts
                .clone()
                .unwrap_or(CountsConfig::range(1, if longer { 110 } else { 60 })),
            count_per: self.count_per,
            training_context: self.training_context,
            functions: self.functions,
            validation: self.validation,
            test: self.test,
            task: match self.task {
                FunctionTask::Interpolation => task(Region::Interpolation),
                FunctionTask::Generalisation => task(Region::Generalisation),
                FunctionTask::Extrapolation => task(Region::Extrapolation),
                FunctionTask::None => None,
            },
            moves: Moves::Scalar,
            seed: self.seed,
        }
    }

    /// Checks everything, with pointers into this configuration.
    fn checked(&self) -> Result<(Box<dyn Law>, Protocol)> {
        let protocol = self.protocol();
        // The context and the targets stand here, not in a task of their own.
        self.context.check("/context", 0)?;
        if protocol.task.as_ref().is_some_and(|task| task.targets < 1) {
            return Err(Error::config(
                "/targets",
                "the function must be asked for at one point at least",
            ));
        }
        protocol.check(&Self::points()?)?;
        Ok((self.family.law(self.noise_variance)?, protocol))
    }
}

#[component(
    "functions-1d",
    "functions of one coordinate: squared exponential, Matern, periodic, sawtooth, mixture",
    r#"{"type": "functions-1d", "family": "se"}"#
)]
impl DatasetConfig for FunctionsConfig {
    fn spec(&self) -> Result<StateSpec> {
        Ok(self.checked()?.1.spec(1, 1))
    }

    fn split_size(&self, split: Split) -> Option<u64> {
        let size = match split {
            Split::Train => self.functions?,
            Split::Validation => self.validation,
            Split::Test => self.test,
        };
        u64::try_from(size).ok()
    }

    fn load(&self, context: &LoadContext) -> Result<Box<dyn Dataset>> {
        let (law, protocol) = self.checked()?;
        Ok(Box::new(Synthetic::new(law, Self::points, protocol, context)?))
    }
}
