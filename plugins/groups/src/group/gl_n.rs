//! GL(n)+: real matrices of positive determinant.
//!
//! exp is not onto: a real matrix has a real logarithm only if the Jordan blocks of its negative
//! eigenvalues come in equal pairs (Culver 1966), so diag(-1, -2) has none. log is the principal
//! logarithm, for matrices without eigenvalues on the negative real axis or closer to it than
//! 1e-3 radians; everything else is an error. That refuses the image's own boundary too (-1 in two
//! dimensions, where exp reaches it from every rotation plane and sense, has no logarithm to
//! prefer).
//!
//! The Haar measure is infinite. Elements are drawn as `R exp(S)`, by the polar decomposition: `R`
//! Haar on SO(n), `S` symmetric with normal entries of variance `1/(2n)` off the diagonal and `1/n`
//! on it. Every element has positive density.

use super::so_n::sample_rotations;
use super::{lead, matrix_log, with_axis};
use isotropy_core::{
    Element, Error, Group, GroupConfig, LieGroup, Result, Stream, Xi, component, config,
};
use std::f64::consts::PI;
use std::sync::Arc;
use tch::{Device, Kind, Tensor, no_grad};

/// The group GL(n)+. Elements are matrices `[.., n, n]`, coefficients the entries of matrices row by
/// row, `[.., n^2]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlN {
    /// The size `n` of the matrices, at least 1.
    pub dimension: i64,
}

impl GlN {
    fn shape(&self, xi_shape: &[Vec<i64>]) -> Vec<i64> {
        [lead(xi_shape), &[self.dimension, self.dimension]].concat()
    }

    /// Matrices of coefficients.
    fn matrix(&self, xi: &Xi) -> Tensor {
        xi.single().unflatten(-1, [self.dimension, self.dimension])
    }
}

fn frobenius(a: &Tensor) -> Tensor {
    a.square().sum_dim_intlist([-2, -1].as_slice(), false, None).sqrt()
}

impl Group for GlN {
    fn name(&self) -> String {
        format!("GL({})+", self.dimension)
    }

    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        Some(with_axis(lead, self.dimension * self.dimension))
    }

    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        Tensor::eye(self.dimension, options).expand(self.shape(xi_shape), false).contiguous().into()
    }

    fn compose(&self, a: &Element, b: &Element) -> Element {
        a.single().matmul(b.single()).into()
    }

    fn inverse(&self, a: &Element) -> Element {
        Tensor::linalg_inv(a.single()).into()
    }

    fn sample(
        &self,
        xi_shape: &[Vec<i64>],
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Element {
        let shape = self.shape(xi_shape);
        let normal = stream.normal(&shape, options);
        let scale = 0.5 / (self.dimension as f64).sqrt();
        let symmetric = (&normal + normal.transpose(-1, -2)) * scale;
        let rotation = sample_rotations(&shape, options, stream);
        let stretch = if symmetric.numel() == 0 { symmetric } else { symmetric.matrix_exp() };
        rotation.matmul(&stretch).into()
    }

    fn law(&self) -> &'static str {
        "a Haar rotation times exp of a normal symmetric matrix (the Haar measure is infinite)"
    }

    /// Frobenius distance relative to the size of the matrices.
    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        let (a, b) = (a.single(), b.single());
        frobenius(&(a - b)) / (frobenius(a) + frobenius(b) + 1.0)
    }

    /// 0 where the determinant is positive, 1 where it is zero, 2 where it is negative.
    fn violation(&self, a: &Element) -> Tensor {
        let (sign, _) = Tensor::linalg_slogdet(a.single());
        // The factorisation may call a matrix of NaN singular.
        let non_finite = super::non_finite(&a.single().flatten(-2, -1));
        let off: Tensor = 1.0 - sign + non_finite;
        off.nan_to_num(f64::INFINITY, None, None)
    }

    /// # Errors
    /// `Numbers` with the least determinant.
    fn check(&self, g: &Element) -> Result<()> {
        let n = self.dimension;
        let [a] = g.0.as_slice() else {
            return Err(Error::Numbers(format!(
                "{} has one factor, not {}",
                self.name(),
                g.0.len()
            )));
        };
        if !a.size().ends_with(&[n, n]) {
            let size = a.size();
            return Err(Error::Numbers(format!("a tensor {size:?} holds no {n}x{n} matrices")));
        }
        if a.numel() == 0 || no_grad(|| self.violation(g).max().double_value(&[])) == 0.0 {
            return Ok(());
        }
        let least = no_grad(|| Tensor::linalg_det(a).min().double_value(&[]));
        Err(Error::Numbers(format!(
            "not an element of {}: the determinant is {least:.3e}, and has to be positive",
            self.name()
        )))
    }

    fn lie(&self) -> Option<&dyn LieGroup> {
        Some(self)
    }

    /// The matrix itself.
    fn affine(&self, g: &Element, kind: Kind) -> Option<(Tensor, Option<Tensor>)> {
        Some((g.single().to_kind(kind), None))
    }
}

impl LieGroup for GlN {
    fn exp(&self, xi: &Xi) -> Element {
        let matrix = self.matrix(xi);
        if matrix.numel() == 0 { matrix.into() } else { matrix.matrix_exp().into() }
    }

    /// # Errors
    /// `Numbers` for a determinant that is not positive, or a matrix too ill-conditioned;
    /// `Unsupported` for eigenvalues on or near the negative real axis.
    fn log(&self, g: &Element) -> Result<Xi> {
        self.check(g)?;
        Ok(matrix_log::log_general(&self.name(), g.single())?.flatten(-2, -1).into())
    }

    /// A matrix whose Frobenius norm is below this has eigenvalues of smaller imaginary part.
    fn injectivity_radius(&self) -> f64 {
        PI - matrix_log::MARGIN
    }

    /// The diagonal holds 1 plus the coefficient.
    fn storage_error(&self, kind: Kind) -> f64 {
        let unit = if kind == Kind::Double { f64::EPSILON } else { f64::from(f32::EPSILON) };
        4.0 * unit
    }

    fn bracket(&self, a: &Xi, b: &Xi) -> Xi {
        let (a, b) = (self.matrix(a), self.matrix(b));
        (a.matmul(&b) - b.matmul(&a)).flatten(-2, -1).into()
    }

    fn adjoint(&self, g: &Element, xi: &Xi) -> Xi {
        let moved = g.single().matmul(&self.matrix(xi));
        // x g^-1 by a solve from the right.
        Tensor::linalg_solve(g.single(), &moved, false).flatten(-2, -1).into()
    }
}

/// Matrices of positive determinant.
#[config]
#[derive(Clone)]
pub struct GlNConfig {
    /// Size of the matrices, from 1 to 8.
    #[schemars(range(min = 1, max = 8))]
    pub dimension: i64,
}

#[component(
    "gl-n",
    "matrices of positive determinant, GL(n)+",
    r#"{"type": "gl-n", "dimension": 2}"#
)]
impl GroupConfig for GlNConfig {
    fn build(&self) -> Result<Arc<dyn Group>> {
        if !(1..=8).contains(&self.dimension) {
            return Err(Error::config("/dimension", "GL(n)+ is offered for n from 1 to 8"));
        }
        Ok(Arc::new(GlN { dimension: self.dimension }))
    }
}
