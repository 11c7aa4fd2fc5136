//! Covariance kernels as components of kind `kernel` (geomndp.md 1.5).
//!
//! `r = |x - x'| / l` is computed from the differences of the coordinates, never from inner products, so that it is
//! exactly zero where points coincide. There `r` is taken as 1e-18, which changes no value and keeps gradients finite.
//!
//! Scalar kernels serve values with any number of components: each component has the kernel, and components are
//! independent.

mod combined;
mod constant;
mod isotropic;
mod periodic;
mod vector;
mod white;

pub use combined::{
    Noisy, NoisyConfig, Product, ProductConfig, Scaled, ScaledConfig, Sum, SumConfig,
};
pub use constant::{Constant, ConstantConfig};
pub use isotropic::{Isotropic, MaternConfig, RbfConfig, Shape, Smoothness};
pub use periodic::{Periodic, PeriodicConfig, WeaklyPeriodic, WeaklyPeriodicConfig};
pub use vector::{CurlFreeConfig, DivergenceFreeConfig, Helmholtz, VectorField};
pub use white::{Repeats, White, WhiteConfig};

use isotropy_core::{Error, Result, Scale};
use tch::Tensor;

/// `x_k - x'_k` for every coordinate `k`: tensors `[.., N, M]` from points `[.., N, p]` and `[.., M, p]`.
fn differences(a: &Tensor, b: &Tensor) -> Vec<Tensor> {
    let p = a.size()[a.dim() - 1];
    let one = |k| a.select(-1, k).unsqueeze(-1) - b.select(-1, k).unsqueeze(-2);
    (0..p).map(one).collect()
}

fn sum(terms: impl Iterator<Item = Tensor>) -> Tensor {
    terms.reduce(|a, b| a + b).expect("points have at least one coordinate")
}

/// `|x - x'|^2` from the differences of the coordinates.
fn squares(differences: &[Tensor]) -> Tensor {
    sum(differences.iter().map(Tensor::square))
}

/// `|x - x'|^2`, `[.., N, M]`.
fn square_distance(a: &Tensor, b: &Tensor) -> Tensor {
    squares(&differences(a, b))
}

/// `x / scale^2`.
fn divide_twice(scale: &Scale, x: &Tensor) -> Tensor {
    scale.divide(&scale.divide(x))
}

/// The number behind a key, if it is positive.
fn positive(key: &str, value: f64) -> Result<f64> {
    if value > 0.0 && value.is_finite() {
        return Ok(value);
    }
    let error = Error::config(format!("/{key}"), format!("{key} = {value} must be positive"));
    Err(error.with_help("give a positive, finite number"))
}

fn one() -> f64 {
    1.0
}
