//! Periodic and weakly periodic functions.

use super::{differences, divide_twice, one, positive, squares, sum};
use isotropy_core::{
    CovarianceKernel, CovarianceKernelConfig, Gram, Hyperparameter, Invariance, Result, Scale,
    component, config,
};
use std::f64::consts::PI;
use std::sync::Arc;
use tch::Tensor;

/// `v exp(-1/2 sum_k (sin(pi (x_k - x'_k) / p) / l)^2)`: periodic in every coordinate. (The factor is 1/2, where other
/// texts have 2: their lengthscale is twice this one.)
#[derive(Debug, Clone)]
pub struct Periodic {
    lengthscale: f64,
    period: f64,
    variance: f64,
}

impl Periodic {
    /// The kernel with lengthscale `l` (no unit), period `p` (unit of the points) and variance `v`.
    ///
    /// # Errors
    /// When one of them is not positive.
    pub fn new(lengthscale: f64, period: f64, variance: f64) -> Result<Self> {
        Ok(Self {
            lengthscale: positive("lengthscale", lengthscale)?,
            period: positive("period", period)?,
            variance: positive("variance", variance)?,
        })
    }
}

/// `sum_k sin(pi d_k / p)^2`.
fn sines(period: &Scale, differences: &[Tensor]) -> Tensor {
    sum(differences.iter().map(|d| period.divide(&(d * PI)).sin().square()))
}

impl CovarianceKernel for Periodic {
    fn name(&self) -> String {
        let (l, p, v) = (self.lengthscale, self.period, self.variance);
        format!("periodic (lengthscale {l}, period {p}, variance {v})")
    }

    fn invariance(&self) -> Invariance {
        Invariance::Translations
    }

    fn hyperparameters(&self) -> Vec<Hyperparameter> {
        vec![
            Hyperparameter::new("lengthscale", self.lengthscale),
            Hyperparameter::new("period", self.period),
            Hyperparameter::new("variance", self.variance),
        ]
    }

    fn cross_at(&self, values: &[Scale], a: &Tensor, b: &Tensor) -> Gram {
        let wave = sines(&values[1], &differences(a, b));
        let exponent = divide_twice(&values[0], &wave) * -0.5;
        Gram::Scalar(values[2].times(&exponent.exp()))
    }
}

/// Periodic functions: `v exp(-1/2 sum_k (sin(pi (x_k - x'_k) / p) / l)^2)`.
#[config]
#[derive(Clone)]
pub struct PeriodicConfig {
    /// Lengthscale `l` in units of the sine; positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub lengthscale: f64,
    /// Period `p`, in the unit of the points; positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub period: f64,
    /// Variance `v`, in the squared unit of the values; positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub variance: f64,
}

#[component(
    "periodic",
    "functions that repeat with a period",
    r#"{"type": "periodic", "lengthscale": 0.5, "period": 1.0, "variance": 1.0}"#
)]
impl CovarianceKernelConfig for PeriodicConfig {
    fn build(&self) -> Result<Arc<dyn CovarianceKernel>> {
        Ok(Arc::new(Periodic::new(self.lengthscale, self.period, self.variance)?))
    }
}

/// Functions that are nearly periodic over a few periods: `v rbf(x, x') periodic(x, x')`.
#[config]
#[derive(Clone)]
pub struct WeaklyPeriodicConfig {
    /// Lengthscale of the RBF factor, in the unit of the points; positive.
    #[serde(default = "half")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub rbf_lengthscale: f64,
    /// Lengthscale of the periodic factor, in units of its sine; positive.
    #[serde(default = "quarter")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub periodic_lengthscale: f64,
    /// Period, in the unit of the points; positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub period: f64,
    /// Variance `v`, in the squared unit of the values; positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub variance: f64,
}

fn half() -> f64 {
    0.5
}

fn quarter() -> f64 {
    0.25
}

/// The product of an RBF and a periodic kernel.
#[derive(Debug, Clone)]
pub struct WeaklyPeriodic {
    rbf_lengthscale: f64,
    periodic_lengthscale: f64,
    period: f64,
    variance: f64,
}

impl CovarianceKernel for WeaklyPeriodic {
    fn name(&self) -> String {
        let (rbf, periodic) = (self.rbf_lengthscale, self.periodic_lengthscale);
        let (p, v) = (self.period, self.variance);
        format!("weakly periodic (lengthscales {rbf} and {periodic}, period {p}, variance {v})")
    }

    fn invariance(&self) -> Invariance {
        Invariance::Translations
    }

    fn hyperparameters(&self) -> Vec<Hyperparameter> {
        vec![
            Hyperparameter::new("rbf_lengthscale", self.rbf_lengthscale),
            Hyperparameter::new("periodic_lengthscale", self.periodic_lengthscale),
            Hyperparameter::new("period", self.period),
            Hyperparameter::new("variance", self.variance),
        ]
    }

    fn cross_at(&self, values: &[Scale], a: &Tensor, b: &Tensor) -> Gram {
        let differences = differences(a, b);
        let near = divide_twice(&values[0], &squares(&differences));
        let wave = divide_twice(&values[1], &sines(&values[2], &differences));
        Gram::Scalar(values[3].times(&((near + wave) * -0.5).exp()))
    }
}

#[component(
    "weakly-periodic",
    "functions that repeat for a while",
    r#"{"type": "weakly-periodic", "rbf_lengthscale": 0.5, "periodic_lengthscale": 0.25, "period": 1.0, "variance": 1.0}"#
)]
impl CovarianceKernelConfig for WeaklyPeriodicConfig {
    fn build(&self) -> Result<Arc<dyn CovarianceKernel>> {
        Ok(Arc::new(WeaklyPeriodic {
            rbf_lengthscale: positive("rbf_lengthscale", self.rbf_lengthscale)?,
            periodic_lengthscale: positive("periodic_lengthscale", self.periodic_lengthscale)?,
            period: positive("period", self.period)?,
            variance: positive("variance", self.variance)?,
        }))
    }
}
