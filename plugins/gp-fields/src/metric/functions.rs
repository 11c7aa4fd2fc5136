//! The functions that metrics look at, and the Gaussian process that they may come from.

use crate::linear_algebra::JITTER;
use crate::posterior::GaussianProcess;
use isotropy_core::{
    CovarianceKernelConfig, DatasetConfig, Error, Evaluation, Result, Split, State, dataset,
    schemars::{self, JsonSchema},
};
use serde::{Deserialize, Serialize};

/// A Gaussian process with a constant mean.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GaussianProcessConfig {
    /// The covariance of the values, observation noise included.
    pub kernel: Box<dyn CovarianceKernelConfig>,
    /// The mean: one number for each component, one for all of them, or nothing for zero.
    #[serde(default)]
    pub mean: Vec<f64>,
    /// What is added to the diagonal of a Gram matrix, in units of its mean variance; non-negative. Noise in the kernel
    /// makes it unnecessary.
    #[serde(default = "jitter")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub jitter: f64,
}

fn jitter() -> f64 {
    JITTER
}

impl GaussianProcessConfig {
    /// Builds the process.
    ///
    /// # Errors
    /// When the kernel cannot be built, or the jitter is negative.
    pub fn build(&self) -> Result<GaussianProcess> {
        if !(self.jitter >= 0.0 && self.jitter.is_finite()) {
            return Err(Error::config("/jitter", "the jitter must not be negative"));
        }
        let kernel = self.kernel.build().map_err(|error| error.under("/kernel"))?;
        Ok(GaussianProcess::new(kernel).with_mean(self.mean.clone()).with_jitter(self.jitter))
    }
}

/// Test functions: those of the experiment, or of another dataset; `count` at most.
///
/// # Errors
/// When there are none, or the dataset cannot be read.
pub(super) fn test_functions(
    evaluation: &Evaluation,
    other: Option<&dyn DatasetConfig>,
    count: u32,
) -> Result<State> {
    let count = i64::from(count);
    let functions = match other {
        Some(other) => {
            let loaded = other.load(evaluation.load).map_err(|error| error.under("/dataset"))?;
            dataset::first(loaded.as_ref(), Split::Test, count, evaluation.streams)?
        }
        None => evaluation.reference.narrow(0, evaluation.reference.batch_size().min(count)),
    };
    if functions.batch_size() == 0 {
        return Err(Error::data("there are no test functions", "this metric is about data"));
    }
    Ok(functions)
}
