//! The Ornstein-Uhlenbeck process on functions whose limit is a Gaussian process (geomndp.md 1.1).
//!
//! `dY = -beta/2 (Y - m) dt + sqrt(beta) K^(1/2) dW` on the values `Y` `[B, N, d]` of a field, with `K = k(x, x)` the Gram
//! matrix of the limiting kernel at the index points: `Y_t | Y_0 ~ N(a Y_0 + (1 - a) m, v K)` with `a = exp(-B/2)`,
//! `v = 1 - exp(-B)`, `B(t) = integral of beta from t0 to t`. Noise is coloured wherever it occurs: in marginals, in the
//! prior and in every step.
//!
//! *Time.* `B(t0) = 0`: the law at `t0` is that of the data, and the kernel has no width there. Times `[t0, t1]` are
//! trained; where the standard deviation would fall below `std_floor` (times up to about `t0 + 4.5e-4` for the default
//! numbers) the kernel keeps that floor, in training and in every conversion of predictions alike, so that a prediction
//! divided by it stays finite and consistent.
//!
//! *Values on a manifold.* This process adds noise to values, so they must form a vector space. A field with values on a
//! manifold is the same state (the same index points, mask and known values) with another drive: values on spheres take
//! the drive `generators`, one rotation for each index point, and the process `brownian`, whose noise is white over the
//! index set. Kernels, models and datasets of this crate look at the index points and never add values.

mod beta;
mod cache;
mod field;

pub use beta::Beta;
pub use field::FieldProcess;

use crate::linear_algebra::JITTER;
use crate::posterior::GaussianProcess;
use isotropy_core::schedule::Family;
use isotropy_core::{
    CovarianceKernelConfig, Error, NoisingProcess, ProcessConfig, Representation, Result,
    ScheduleConfig, component, config,
};
use std::sync::Arc;

/// `dY = -beta/2 (Y - m) dt + sqrt(beta) k(x, x)^(1/2) dW` on the values of a field; its limit is the Gaussian process
/// with mean `m` and kernel `k`.
#[config]
pub struct FieldProcessConfig {
    /// The limiting kernel `k`; `white` with the variance of the data is the published default. Scalar kernels give each
    /// component this covariance.
    pub kernel: Box<dyn CovarianceKernelConfig>,
    /// The limiting mean `m`: one number for each component, or one for all; empty for 0.
    #[serde(default)]
    pub mean: Vec<f64>,
    /// `beta` at `start`, per unit of time; not negative.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub beta_min: f64,
    /// `beta` at `end`, per unit of time; above `beta_min`. Between them it is linear.
    #[serde(default = "beta_max")]
    #[schemars(range(min = 1e-9, max = 1000.0))]
    pub beta_max: f64,
    /// A variance-preserving schedule in place of the linear rate (`beta_min` and `beta_max` are unused then); its
    /// relative time 0 is `start`, 1 is `end`.
    #[serde(default)]
    pub schedule: Option<Box<dyn ScheduleConfig>>,
    /// The time `t0` of the data, not negative.
    #[serde(default = "start")]
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub start: f64,
    /// The time `t1` of the prior; above `start`.
    #[serde(default = "end")]
    #[schemars(range(min = 1e-9, max = 1000.0))]
    pub end: f64,
    /// Smallest standard deviation of the kernel, in units of the limit; positive.
    #[serde(default = "std_floor")]
    #[schemars(range(min = 1e-12, max = 0.1))]
    pub std_floor: f64,
    /// What is added to the diagonal of the Gram matrix before it is factorised, in units of its mean; not negative.
    /// White kernels are not factorised.
    #[serde(default = "jitter")]
    #[schemars(range(min = 0.0, max = 0.1))]
    pub jitter: f64,
}

fn beta_max() -> f64 {
    10.0
}

fn start() -> f64 {
    5e-4
}

fn end() -> f64 {
    1.0
}

fn std_floor() -> f64 {
    1e-3
}

fn jitter() -> f64 {
    JITTER
}

impl FieldProcessConfig {
    /// The process itself.
    ///
    /// # Errors
    /// When a number is out of its range, the kernel cannot be built, or the drive is not plain translations.
    pub fn process(&self, drive: Arc<dyn Representation>) -> Result<FieldProcess> {
        let within = |key: &str, value: f64, good: bool, rule: &str| {
            if good && value.is_finite() {
                return Ok(value);
            }
            Err(Error::config(format!("/{key}"), format!("{key} = {value} must be {rule}")))
        };
        let kernel = self.kernel.build().map_err(|e| e.under("/kernel"))?;
        let start = within("start", self.start, self.start >= 0.0, "0 or above")?;
        let end = within("end", self.end, self.end > start, "above `start`")?;
        let floor = within("std_floor", self.std_floor, self.std_floor > 0.0, "positive")?;
        let jitter = within("jitter", self.jitter, self.jitter >= 0.0, "0 or above")?;
        if let Some(k) = self.mean.iter().position(|m| !m.is_finite()) {
            return Err(Error::config(format!("/mean/{k}"), "a mean must be finite"));
        }
        let axis = (start, end);
        let beta = match &self.schedule {
            Some(schedule) => {
                let schedule = schedule.build().map_err(|e| e.under("/schedule"))?;
                if schedule.family() != Family::VariancePreserving {
                    return Err(Error::config(
                        "/schedule",
                        "an Ornstein-Uhlenbeck process needs a variance-preserving schedule",
                    )
                    .with_help("`linear-beta` and `cosine` are some"));
                }
                Beta::of_schedule(axis, schedule)
            }
            None => {
                let low = within("beta_min", self.beta_min, self.beta_min >= 0.0, "0 or above")?;
                let high = self.beta_max;
                Beta::linear(axis, low, within("beta_max", high, high > low, "above `beta_min`")?)
            }
        };
        let limit = GaussianProcess::new(kernel).with_mean(self.mean.clone()).with_jitter(jitter);
        FieldProcess::new(drive, limit, beta, floor)
    }
}

#[component(
    "gaussian-process",
    "Ornstein-Uhlenbeck noise on the values of a field, whose limit is a Gaussian process",
    r#"{"type": "gaussian-process", "kernel": {"type": "noisy", "kernel": {"type": "rbf", "lengthscale": 1.0}}}"#
)]
impl ProcessConfig for FieldProcessConfig {
    fn build(&self, drive: Arc<dyn Representation>) -> Result<Box<dyn NoisingProcess>> {
        Ok(Box::new(self.process(drive)?))
    }
}
