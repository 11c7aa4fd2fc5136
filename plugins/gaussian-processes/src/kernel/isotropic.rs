//! Kernels that depend on the distance alone: RBF (squared exponential) and Matern.

use super::{divide_twice, one, positive, square_distance};
use isotropy_core::{
    CovarianceKernel, CovarianceKernelConfig, Gram, Hyperparameter, Invariance, Result, Scale,
    component, config,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tch::Tensor;

/// How a kernel falls with the distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `exp(-r^2 / 2)`.
    Rbf,
    /// Half-integer Matern.
    Matern(Smoothness),
}

/// Smoothness `nu` of a Matern kernel: its functions have `nu - 1/2` derivatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Smoothness {
    /// `exp(-r)`: the Ornstein-Uhlenbeck process.
    #[serde(rename = "1/2")]
    Half,
    /// `(1 + sqrt(3) r) exp(-sqrt(3) r)`.
    #[serde(rename = "3/2")]
    ThreeHalves,
    /// `(1 + sqrt(5) r + 5 r^2 / 3) exp(-sqrt(5) r)`.
    #[serde(rename = "5/2")]
    FiveHalves,
}

impl Shape {
    /// The kernel with variance 1 at `r^2`. The root is taken of `max(r^2, 1e-36)`.
    fn at(self, square: Tensor) -> Tensor {
        let distance = |square: Tensor, factor: f64| square.clamp_min(1e-36).sqrt() * factor;
        match self {
            Self::Rbf => (square * -0.5).exp(),
            Self::Matern(Smoothness::Half) => (-distance(square, 1.0)).exp(),
            Self::Matern(Smoothness::ThreeHalves) => {
                let r = distance(square, 3f64.sqrt());
                (&r + 1.0) * (-r).exp()
            }
            Self::Matern(Smoothness::FiveHalves) => {
                let r = distance(square, 5f64.sqrt());
                (r.square() / 3.0 + &r + 1.0) * (-r).exp()
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rbf => "rbf",
            Self::Matern(Smoothness::Half) => "matern-1/2",
            Self::Matern(Smoothness::ThreeHalves) => "matern-3/2",
            Self::Matern(Smoothness::FiveHalves) => "matern-5/2",
        }
    }
}

/// `v k(|x - x'| / l)`.
#[derive(Debug, Clone)]
pub struct Isotropic {
    shape: Shape,
    lengthscale: f64,
    variance: f64,
}

impl Isotropic {
    /// The kernel with lengthscale `l` (unit of the points) and variance `v` (squared unit of the values).
    ///
    /// # Errors
    /// When one of them is not positive.
    pub fn new(shape: Shape, lengthscale: f64, variance: f64) -> Result<Self> {
        let lengthscale = positive("lengthscale", lengthscale)?;
        Ok(Self { shape, lengthscale, variance: positive("variance", variance)? })
    }
}

impl CovarianceKernel for Isotropic {
    fn name(&self) -> String {
        let (name, l, v) = (self.shape.name(), self.lengthscale, self.variance);
        format!("{name} (lengthscale {l}, variance {v})")
    }

    fn invariance(&self) -> Invariance {
        Invariance::Isometries
    }

    fn hyperparameters(&self) -> Vec<Hyperparameter> {
        vec![
            Hyperparameter::new("lengthscale", self.lengthscale),
            Hyperparameter::new("variance", self.variance),
        ]
    }

    fn cross_at(&self, values: &[Scale], a: &Tensor, b: &Tensor) -> Gram {
        let square = divide_twice(&values[0], &square_distance(a, b));
        Gram::Scalar(values[1].times(&self.shape.at(square)))
    }
}

/// `v exp(-|x - x'|^2 / (2 l^2))`.
#[config]
#[derive(Clone)]
pub struct RbfConfig {
    /// Lengthscale `l`, in the unit of the points; positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub lengthscale: f64,
    /// Variance `v`, in the squared unit of the values; positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub variance: f64,
}

#[component(
    "rbf",
    "squared exponential: infinitely smooth functions",
    r#"{"type": "rbf", "lengthscale": 0.25, "variance": 1.0}"#
)]
impl CovarianceKernelConfig for RbfConfig {
    fn build(&self) -> Result<Arc<dyn CovarianceKernel>> {
        Ok(Arc::new(Isotropic::new(Shape::Rbf, self.lengthscale, self.variance)?))
    }
}

/// `v m(sqrt(2 nu) |x - x'| / l)`, the Matern kernel with `nu` 1/2, 3/2 or 5/2.
#[config]
#[derive(Clone)]
pub struct MaternConfig {
    /// Smoothness `nu`: `"1/2"`, `"3/2"` or `"5/2"`.
    #[serde(default = "five_halves")]
    pub smoothness: Smoothness,
    /// Lengthscale `l`, in the unit of the points; positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub lengthscale: f64,
    /// Variance `v`, in the squared unit of the values; positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub variance: f64,
}

fn five_halves() -> Smoothness {
    Smoothness::FiveHalves
}

#[component(
    "matern",
    "Matern 1/2, 3/2 or 5/2: functions with 0, 1 or 2 derivatives",
    r#"{"type": "matern", "smoothness": "5/2", "lengthscale": 0.25, "variance": 1.0}"#
)]
impl CovarianceKernelConfig for MaternConfig {
    fn build(&self) -> Result<Arc<dyn CovarianceKernel>> {
        let shape = Shape::Matern(self.smoothness);
        Ok(Arc::new(Isotropic::new(shape, self.lengthscale, self.variance)?))
    }
}
