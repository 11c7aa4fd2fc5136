//! The functions that metrics look at, and the Gaussian process that they may come from.

use isotropy_core::{
    CovarianceKernelConfig, DatasetConfig, Error, Evaluation, Result, Split, State, config, dataset,
};
use isotropy_gaussian_processes::linear_algebra::JITTER;
use isotropy_gaussian_processes::posterior::GaussianProcess;
use isotropy_gaussian_processes::tuning::{FitOptions, fit};

/// A Gaussian process with a constant mean.
#[config]
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
    /// Tunes the numbers of the kernel on training functions first, from where they stand; null to take them as they
    /// are.
    #[serde(default)]
    pub tune: Option<TuneConfig>,
}

/// Tuning by the marginal likelihood of training functions ([`fit`]): a function of this configuration alone.
#[config]
pub struct TuneConfig {
    /// The dataset whose training functions are used: mostly that of the experiment.
    pub dataset: Box<dyn DatasetConfig>,
    /// Training functions, the first ones.
    #[serde(default = "tuning_functions")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub functions: u32,
    /// Steps of Adam.
    #[serde(default = "tuning_steps")]
    #[schemars(range(min = 1, max = 100_000))]
    pub steps: usize,
    /// First step size, in the logarithm of the numbers; it falls to zero along half a cosine.
    #[serde(default = "tuning_rate")]
    #[schemars(range(min = 1e-6, max = 10.0))]
    pub learning_rate: f64,
    /// Numbers of the kernel that stay as they are: JSON pointers such as `/kernels/0/lengthscale`.
    #[serde(default)]
    pub fixed: Vec<String>,
}

fn tuning_functions() -> u32 {
    64
}

fn tuning_steps() -> usize {
    200
}

fn tuning_rate() -> f64 {
    0.1
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
        if let Some(tune) = &self.tune {
            tune.dataset.spec().map_err(|error| error.under("/tune/dataset"))?;
        }
        Ok(GaussianProcess::new(kernel).with_mean(self.mean.clone()).with_jitter(self.jitter))
    }

    /// As [`GaussianProcessConfig::build`], tuned where the configuration asks for it.
    ///
    /// # Errors
    /// As for building; when the data cannot be read or do not suit the kernel.
    pub fn fitted(&self, evaluation: &Evaluation) -> Result<GaussianProcess> {
        let process = self.build()?;
        let Some(tune) = &self.tune else { return Ok(process) };
        let dataset = tune.dataset.load(evaluation.load);
        let dataset = dataset.map_err(|error| error.under("/tune/dataset"))?;
        let count = i64::from(tune.functions);
        let functions = dataset.batch(Split::Train, 0, count, evaluation.streams)?;
        let options = FitOptions {
            steps: tune.steps,
            learning_rate: tune.learning_rate,
            mean: self.mean.clone(),
            jitter: self.jitter,
            fixed: tune.fixed.clone(),
        };
        let found = fit(self.kernel.as_ref(), &functions, &options);
        let kernel = found.map_err(|error| error.under("/tune"))?.kernel.build()?;
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
