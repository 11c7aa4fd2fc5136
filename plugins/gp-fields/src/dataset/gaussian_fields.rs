//! The dataset `gaussian-fields`: scalar or vector fields in any dimension, drawn from a Gaussian process
//! (geomndp.md 2.2).

use super::counts::{CountPer, CountsConfig, Range};
use super::functions::{default_seed, default_validation};
use super::law::GaussianLaw;
use super::points::PointsConfig;
use super::synthetic::{Protocol, Synthetic};
use super::task::{Region, TaskConfig};
use isotropy_core::{
    CovarianceKernelConfig, Dataset, DatasetConfig, Error, LoadContext, Moves, Result, Split,
    StateSpec, component, config,
};

/// Fields from a Gaussian process of mean 0, seen with independent noise. The defaults are those of geomndp.md 2.2:
/// plane vector fields at 25 or all 648 points of a disk, tested with 25 known points (there with 623 asked ones, here
/// with 100, which cost a tenth).
#[config]
pub struct GaussianFieldsConfig {
    /// The covariance: a scalar kernel (components are then independent), or one with a matrix for each pair of points.
    pub kernel: Box<dyn CovarianceKernelConfig>,
    /// Coordinates of a point.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 16))]
    pub dimension: i64,
    /// What the values are.
    #[serde(default)]
    pub values: Values,
    /// Number of scalars at a point; vectors have as many components as points have coordinates.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub components: i64,
    /// Variance of the observation noise of each component.
    #[serde(default = "published_noise")]
    #[schemars(range(min = 0.0, max = 1e6))]
    pub noise_variance: f64,
    /// Where the fields can be seen.
    #[serde(default = "published_points")]
    pub points: PointsConfig,
    /// At how many points a training field is seen.
    #[serde(default = "published_counts")]
    pub counts: CountsConfig,
    /// Whether the batch or each field has such a number.
    #[serde(default)]
    pub count_per: CountPer,
    /// Known points beside them, for conditional training; null for training on the joint law alone.
    #[serde(default)]
    pub training_context: Option<Range>,
    /// Training fields in a fixed set (80,000 in geomndp.md 2.2), kept on all points: 5 kB a field on 648 points. A
    /// smaller set is the beginning of a larger one. Null draws new ones for every batch.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub fields: Option<i64>,
    /// What is asked of the test fields; null for fields of which nothing is known.
    #[serde(default = "published_task")]
    pub task: Option<TaskConfig>,
    /// Fields for the validation loss.
    #[serde(default = "default_validation")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub validation: i64,
    /// Test fields.
    #[serde(default = "published_test")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub test: i64,
    /// Seed of the test and validation fields and of a fixed training set. The seed of the run does not change them.
    #[serde(default = "default_seed")]
    pub seed: u64,
}

/// What the values of a field are.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Values {
    /// Vectors, which turn with the space.
    #[default]
    Vectors,
    /// Numbers, which do not.
    Scalars,
}

fn one() -> i64 {
    1
}

fn two() -> i64 {
    2
}

fn published_noise() -> f64 {
    0.02
}

fn published_points() -> PointsConfig {
    PointsConfig::DiskGrid { side: 30, radius: 10.0 }
}

fn published_counts() -> CountsConfig {
    CountsConfig::Choices { of: vec![25, 648] }
}

fn published_task() -> Option<TaskConfig> {
    let context = Range { min: 25, max: 25 };
    Some(TaskConfig { region: Region::Interpolation, context, targets: 100 })
}

fn published_test() -> i64 {
    10_000
}

impl GaussianFieldsConfig {
    fn outputs(&self) -> i64 {
        match self.values {
            Values::Vectors => self.dimension,
            Values::Scalars => self.components,
        }
    }

    fn protocol(&self) -> Protocol {
        Protocol {
            counts: self.counts.clone(),
            count_per: self.count_per,
            training_context: self.training_context,
            functions: self.fields,
            validation: self.validation,
            test: self.test,
            task: self.task.clone(),
            moves: match self.values {
                Values::Vectors => Moves::Vector,
                Values::Scalars => Moves::Scalar,
            },
            seed: self.seed,
        }
    }

    /// Checks everything, with pointers into this configuration.
    fn checked(&self) -> Result<(GaussianLaw, Protocol)> {
        if self.values == Values::Vectors && self.components != 1 {
            let message = "vectors have as many components as points have coordinates";
            return Err(Error::config("/components", message).with_help("leave `components` out"));
        }
        let kernel = self.kernel.build().map_err(|error| error.under("/kernel"))?;
        let law = GaussianLaw::new(kernel, self.dimension, self.outputs(), self.noise_variance)?;
        let protocol = self.protocol();
        protocol.check(&self.points.build(self.dimension, "/points")?).map_err(
            |error| match error {
                Error::Config { message, pointer, help } if pointer.starts_with("/functions") => {
                    Error::Config {
                        message,
                        pointer: pointer.replacen("/functions", "/fields", 1),
                        help,
                    }
                }
                other => other,
            },
        )?;
        Ok((law, protocol))
    }
}

#[component(
    "gaussian-fields",
    "scalar or vector fields in any dimension, drawn from a Gaussian process",
    r#"{"type": "gaussian-fields", "kernel": {"type": "rbf", "lengthscale": 2.23606797749979}}"#
)]
impl DatasetConfig for GaussianFieldsConfig {
    fn spec(&self) -> Result<StateSpec> {
        Ok(self.checked()?.1.spec(self.dimension, self.outputs()))
    }

    fn split_size(&self, split: Split) -> Option<u64> {
        let size = match split {
            Split::Train => self.fields?,
            Split::Validation => self.validation,
            Split::Test => self.test,
        };
        u64::try_from(size).ok()
    }

    fn load(&self, context: &LoadContext) -> Result<Box<dyn Dataset>> {
        let (law, protocol) = self.checked()?;
        let points = || self.points.build(self.dimension, "/points");
        Ok(Box::new(Synthetic::new(Box::new(law), points, protocol, context)?))
    }
}
