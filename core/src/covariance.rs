//! Covariance kernels of Gaussian processes: what a registered component of kind `kernel` builds.
//!
//! (The transition kernel of a noising process is [`Kernel`](crate::Kernel), another thing.)
//!
//! Points are `[.., N, p]`. A covariance over all components of all points is *point-major*: row
//! `n d + c` belongs to component `c` of point `n`.

use crate::{Result, Scale};
use tch::Tensor;

/// Covariances between the values at two lists of points.
#[derive(Debug)]
pub enum Gram {
    /// `[.., N, M]`: every component has this covariance, and components are independent.
    Scalar(Tensor),
    /// `[.., N d, M d]`, point-major, with `d` components a point.
    Matrix {
        /// The covariances.
        matrix: Tensor,
        /// Components `d` of a point.
        outputs: i64,
    },
}

impl Clone for Gram {
    /// Shallow: the tensor is shared.
    fn clone(&self) -> Self {
        self.map(Tensor::shallow_clone)
    }
}

impl Gram {
    /// The stored tensor: `[.., N, M]` or `[.., N d, M d]`.
    pub fn tensor(&self) -> &Tensor {
        match self {
            Self::Scalar(matrix) | Self::Matrix { matrix, .. } => matrix,
        }
    }

    /// Components of a point that the matrix tells apart: `None` for a scalar covariance.
    pub fn outputs(&self) -> Option<i64> {
        match self {
            Self::Scalar(_) => None,
            Self::Matrix { outputs, .. } => Some(*outputs),
        }
    }

    /// The same form around another tensor.
    #[must_use]
    pub fn map(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        match self {
            Self::Scalar(matrix) => Self::Scalar(f(matrix)),
            Self::Matrix { matrix, outputs } => {
                Self::Matrix { matrix: f(matrix), outputs: *outputs }
            }
        }
    }

    /// `[.., N d, M d]`, point-major: a scalar covariance times the identity of `d` components.
    pub fn full(&self, d: i64) -> Tensor {
        match self {
            Self::Matrix { matrix, .. } => matrix.shallow_clone(),
            Self::Scalar(matrix) if d == 1 => matrix.shallow_clone(),
            Self::Scalar(matrix) => blocks(matrix, d, |block| {
                block * Tensor::eye(d, (matrix.kind(), matrix.device())).view([1, d, 1, d])
            }),
        }
    }

    /// `self + other`; the sum is scalar when both are.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        match (self.outputs(), other.outputs()) {
            (None, None) => Self::Scalar(self.tensor() + other.tensor()),
            (Some(outputs), _) | (_, Some(outputs)) => {
                Self::Matrix { matrix: self.full(outputs) + other.full(outputs), outputs }
            }
        }
    }

    /// The product of the two covariance functions: of numbers, or of a number and a matrix. (Of two
    /// matrices the product taken entry by entry, which is a covariance but moves with no rotation.)
    #[must_use]
    pub fn multiply(&self, other: &Self) -> Self {
        let spread = |gram: &Self, d: i64| match gram {
            Self::Matrix { matrix, .. } => matrix.shallow_clone(),
            Self::Scalar(matrix) => blocks(matrix, d, |block| {
                block.expand([-1, d, -1, d].as_slice(), false).shallow_clone()
            }),
        };
        match (self.outputs(), other.outputs()) {
            (None, None) => Self::Scalar(self.tensor() * other.tensor()),
            (Some(outputs), _) | (_, Some(outputs)) => {
                Self::Matrix { matrix: spread(self, outputs) * spread(other, outputs), outputs }
            }
        }
    }

    /// `factor * self`.
    #[must_use]
    pub fn scale(&self, factor: &Scale) -> Self {
        self.map(|matrix| factor.times(matrix))
    }
}

/// `[.., N, M]` to `[.., N d, M d]`: `f` makes `[-1, d, M, d]` of blocks from `[-1, 1, M, 1]`.
fn blocks(matrix: &Tensor, d: i64, f: impl Fn(&Tensor) -> Tensor) -> Tensor {
    let size = matrix.size();
    let (lead, ends) = size.split_at(size.len() - 2);
    let rows: i64 = lead.iter().product::<i64>() * ends[0];
    let block = f(&matrix.reshape([rows, 1, ends[1], 1]));
    block.reshape([lead, &[ends[0] * d, ends[1] * d]].concat())
}

/// The largest group of motions of the index points under which a kernel is declared to be
/// equivariant: `k(g x, g x') = rho(h) k(x, x') rho(h)^T` with `h` the linear part of `g` and
/// `rho(h) = 1` for scalars, `rho(h) = h` for vectors (geomndp.md 1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariance {
    /// None is declared.
    Nothing,
    /// `x + u`: stationary kernels.
    Translations,
    /// `R x + u` with `R` orthogonal: stationary and isotropic.
    Isometries,
}

/// A positive number of a kernel that can be tuned.
#[derive(Debug, Clone, PartialEq)]
pub struct Hyperparameter {
    /// Its place in the kernel's JSON, as a pointer: `/kernels/0/lengthscale`.
    pub pointer: String,
    /// Its value; positive.
    pub value: f64,
}

impl Hyperparameter {
    /// A number of this component itself: `Hyperparameter::new("variance", 1.0)`.
    pub fn new(key: &str, value: f64) -> Self {
        Self { pointer: format!("/{key}"), value }
    }

    /// The same number of a component that stands at `place` in another one: `/kernels/0`.
    #[must_use]
    pub fn under(self, place: &str) -> Self {
        Self { pointer: format!("{place}{}", self.pointer), value: self.value }
    }
}

/// A covariance function `k(x, x')`.
///
/// Everything is computed in the kind and on the device of the points. A kernel holds numbers, no
/// tensors; its hyperparameters can be given as tensors ([`CovarianceKernel::cross_at`]), so that
/// gradients flow to them.
pub trait CovarianceKernel: Send + Sync + std::fmt::Debug {
    /// Short name for messages, with the numbers: `rbf(l = 0.25, v = 1)`.
    fn name(&self) -> String;

    /// Whether points of `p` coordinates can be correlated.
    ///
    /// # Errors
    /// `Unsupported` with the reason.
    fn accepts(&self, _p: i64) -> Result<()> {
        Ok(())
    }

    /// Components of the value for points of `p` coordinates: `None` for scalar kernels, which give
    /// any number of components this covariance each, independently.
    fn outputs(&self, _p: i64) -> Option<i64> {
        None
    }

    /// The declared symmetry.
    fn invariance(&self) -> Invariance;

    /// The numbers that can be tuned, in the order in which [`CovarianceKernel::cross_at`] takes them.
    fn hyperparameters(&self) -> Vec<Hyperparameter>;

    /// `k(a_n, b_m)` for points `[.., N, p]` and `[.., M, p]` (leading axes broadcast), with other
    /// values of the hyperparameters: numbers, or tensors without axes.
    fn cross_at(&self, values: &[Scale], a: &Tensor, b: &Tensor) -> Gram;

    /// `k(a_n, a_m)`. Differs from `cross_at(values, a, a)` by noise that every entry of a list has for
    /// itself, even if two entries lie at one place: it adds to the diagonal.
    fn gram_at(&self, values: &[Scale], a: &Tensor) -> Gram {
        self.cross_at(values, a, a)
    }

    /// `v` where [`CovarianceKernel::gram_at`] is `v` times the identity for any points: there is
    /// nothing to factorise then. `None` for all other kernels.
    fn white_at(&self, _values: &[Scale]) -> Option<Scale> {
        None
    }

    /// The hyperparameters as [`CovarianceKernel::cross_at`] takes them.
    fn values(&self) -> Vec<Scale> {
        self.hyperparameters().into_iter().map(|h| Scale::Same(h.value)).collect()
    }

    /// Covariances between points `[.., N, p]` and `[.., M, p]`.
    fn cross(&self, a: &Tensor, b: &Tensor) -> Gram {
        self.cross_at(&self.values(), a, b)
    }

    /// Covariances of points `[.., N, p]` among themselves, noise included. For points in two lists use
    /// this on both together, not [`CovarianceKernel::cross`] on each pair.
    fn gram(&self, a: &Tensor) -> Gram {
        self.gram_at(&self.values(), a)
    }

    /// The variance `v` where every Gram matrix is `v` times the identity.
    fn white(&self) -> Option<f64> {
        match self.white_at(&self.values())? {
            Scale::Same(v) => Some(v),
            Scale::Each(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn scalar() -> Gram {
        Gram::Scalar(Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).view([2, 3]))
    }

    fn matrix() -> Gram {
        let matrix = Tensor::arange(24, (Kind::Double, Device::Cpu)).view([4, 6]);
        Gram::Matrix { matrix, outputs: 2 }
    }

    fn same(a: &Tensor, b: &Tensor) {
        assert_eq!(a.size(), b.size());
        assert_eq!((a - b).abs().max().double_value(&[]), 0.0);
    }

    #[test]
    fn a_scalar_covariance_is_a_kronecker_product_point_major() {
        let k = scalar();
        same(&k.full(2), &k.tensor().kron(&Tensor::eye(2, (Kind::Double, Device::Cpu))));
        let both = k.map(|k| Tensor::stack(&[k, &(k * 2.0)], 0));
        same(&both.full(3).get(1), &(k.full(3) * 2.0));
    }

    #[test]
    fn sums_and_products_mix_numbers_and_matrices() {
        let (k, m) = (scalar(), matrix());
        same(k.add(&k).tensor(), &(k.tensor() * 2.0));
        same(m.add(&k).tensor(), &(m.tensor() + k.full(2)));
        let ones = Tensor::ones([2, 2], (Kind::Double, Device::Cpu));
        same(k.multiply(&m).tensor(), &(m.tensor() * k.tensor().kron(&ones)));
        assert_eq!(k.multiply(&m).outputs(), Some(2));
    }
}
