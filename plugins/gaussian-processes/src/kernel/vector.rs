//! Vector fields without curl or without divergence, in any dimension.
//!
//! With `phi(x) = exp(-|x|^2 / (2 l^2))` these are `-l^2 grad grad^T phi` and `l^2 (grad grad^T - 1 laplace) phi`, so
//! that `u = (x - x') / l` gives the formulas below, without a factor `1 / l^2` (geomndp.md 1.5).

use super::{differences, one, positive, squares};
use isotropy_core::{
    CovarianceKernel, CovarianceKernelConfig, Error, Gram, Hyperparameter, Invariance, Result,
    Scale, component, config,
};
use std::sync::Arc;
use tch::Tensor;

/// Which fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helmholtz {
    /// Gradients of a scalar field: `v (1 - u u^T) exp(-|u|^2 / 2)`; `v 1` at zero lag.
    CurlFree,
    /// Fields without divergence: `v (u u^T + (D - 1 - |u|^2) 1) exp(-|u|^2 / 2)`; `(D - 1) v 1` at zero lag.
    DivergenceFree,
}

/// A kernel with matrix values: as many components as the points have coordinates.
#[derive(Debug, Clone)]
pub struct VectorField {
    family: Helmholtz,
    lengthscale: f64,
    variance: f64,
}

impl VectorField {
    /// The kernel with lengthscale `l` (unit of the points) and variance `v` (squared unit of the values).
    ///
    /// # Errors
    /// When one of them is not positive.
    pub fn new(family: Helmholtz, lengthscale: f64, variance: f64) -> Result<Self> {
        let lengthscale = positive("lengthscale", lengthscale)?;
        Ok(Self { family, lengthscale, variance: positive("variance", variance)? })
    }
}

impl CovarianceKernel for VectorField {
    fn name(&self) -> String {
        let name = match self.family {
            Helmholtz::CurlFree => "curl-free",
            Helmholtz::DivergenceFree => "divergence-free",
        };
        format!("{name} (lengthscale {}, variance {})", self.lengthscale, self.variance)
    }

    fn accepts(&self, p: i64) -> Result<()> {
        if self.family == Helmholtz::DivergenceFree && p < 2 {
            let message = "fields without divergence need points of at least 2 coordinates";
            return Err(Error::Unsupported(message.into()));
        }
        Ok(())
    }

    fn outputs(&self, p: i64) -> Option<i64> {
        Some(p)
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
        let u: Vec<Tensor> = differences(a, b).iter().map(|d| values[0].divide(d)).collect();
        let square = squares(&u);
        let weight = values[1].times(&(&square * -0.5).exp());
        let p = u.len() as i64;
        // What stands on the diagonal of the block beside u u^T, and the sign of u u^T.
        let (one, sign) = match self.family {
            Helmholtz::CurlFree => (square.ones_like(), -1.0),
            Helmholtz::DivergenceFree => (-square + (p as f64 - 1.0), 1.0),
        };
        let entry = |c: usize, e: usize| {
            let outer = &u[c] * &u[e] * sign;
            (if c == e { outer + &one } else { outer }) * &weight
        };
        let entries: Vec<Tensor> = (0..u.len())
            .flat_map(|c| (0..u.len()).map(move |e| (c, e)))
            .map(|(c, e)| entry(c, e))
            .collect();
        // [.., N, M, p p] to [.., N, p, M, p].
        let size = weight.size();
        let (lead, ends) = size.split_at(size.len() - 2);
        let matrix = Tensor::stack(&entries, -1)
            .reshape([lead, &[ends[0], ends[1], p, p]].concat())
            .transpose(-3, -2)
            .reshape([lead, &[ends[0] * p, ends[1] * p]].concat());
        Gram::Matrix { matrix, outputs: p }
    }
}

/// Vector fields that are gradients: `v (1 - u u^T) exp(-|u|^2 / 2)` with `u = (x - x') / l`.
#[config]
#[derive(Clone)]
pub struct CurlFreeConfig {
    /// Lengthscale `l`, in the unit of the points; positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub lengthscale: f64,
    /// Variance `v` of each component, in the squared unit of the values; positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub variance: f64,
}

#[component(
    "curl-free",
    "vector fields that are gradients of a scalar field",
    r#"{"type": "curl-free", "lengthscale": 2.236, "variance": 1.0}"#
)]
impl CovarianceKernelConfig for CurlFreeConfig {
    fn build(&self) -> Result<Arc<dyn CovarianceKernel>> {
        Ok(Arc::new(VectorField::new(Helmholtz::CurlFree, self.lengthscale, self.variance)?))
    }
}

/// Vector fields without divergence: `v (u u^T + (D - 1 - |u|^2) 1) exp(-|u|^2 / 2)` with `u = (x - x') / l`, for points
/// of `D >= 2` coordinates.
#[config]
#[derive(Clone)]
pub struct DivergenceFreeConfig {
    /// Lengthscale `l`, in the unit of the points; positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub lengthscale: f64,
    /// `v`: each component has the variance `(D - 1) v`, in the squared unit of the values; positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub variance: f64,
}

#[component(
    "divergence-free",
    "vector fields without divergence: incompressible flow",
    r#"{"type": "divergence-free", "lengthscale": 2.236, "variance": 1.0}"#
)]
impl CovarianceKernelConfig for DivergenceFreeConfig {
    fn build(&self) -> Result<Arc<dyn CovarianceKernel>> {
        Ok(Arc::new(VectorField::new(Helmholtz::DivergenceFree, self.lengthscale, self.variance)?))
    }
}
