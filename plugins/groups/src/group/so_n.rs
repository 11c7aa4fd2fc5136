//! SO(n): rotations of n-dimensional space, as matrices.
//!
//! Coefficients are angles in planes: with axes counted from 0, the pairs `i < j` in reverse
//! lexicographic order, `(n-2, n-1), (n-3, n-1), (n-3, n-2), .., (0, 1)`. The generator of the pair
//! turns axis `i` towards axis `j`, times `(-1)^(i + j + 1)`; so for n = 2 the coefficient is the
//! angle, and for n = 3 the three are the rotation vector. [`SoN::hat`] writes the matrix down.
//!
//! exp and log are the formulas of [`So2`](super::So2) and [`So3`](super::So3) for n = 2 and 3. From
//! n = 4 on, exp is libtorch's (scaling and squaring), and log takes two square roots, each as an
//! orthogonal polar factor, and a power series (`matrix_log.rs`); it is offered for rotations whose
//! plane angles are all at most pi - 1e-3, and is an error beyond.

use super::so2::So2;
use super::{matrix_log, rotation_math as math};
use isotropy_core::{
    Element, Error, Group, GroupConfig, LieGroup, Result, Stream, Xi, component, config,
};
use std::f64::consts::PI;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The group SO(n). Elements are rotation matrices `[.., n, n]`, coefficients the `n (n - 1) / 2`
/// plane angles in radians.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoN {
    /// The dimension `n` of the space, at least 2.
    pub dimension: i64,
}

impl SoN {
    /// The pairs `(i, j)`, `i < j`, in the order of the coefficients, each with the sign of its
    /// generator: the generator has `sign` at `(j, i)` and `-sign` at `(i, j)`.
    pub fn planes(&self) -> Vec<(i64, i64, f64)> {
        let n = self.dimension;
        let pairs = (0..n).rev().flat_map(|i| (i + 1..n).rev().map(move |j| (i, j)));
        pairs.map(|(i, j)| (i, j, if (i + j) % 2 == 1 { 1.0 } else { -1.0 })).collect()
    }

    /// The skew matrices `[.., n, n]` of coefficients `[.., n (n - 1) / 2]`.
    pub fn hat(&self, xi: &Tensor) -> Tensor {
        let n = self.dimension;
        let count = (n * n) as usize;
        let (mut source, mut sign) = (vec![0_i64; count], vec![0.0_f64; count]);
        for (k, (i, j, s)) in self.planes().into_iter().enumerate() {
            for (slot, s) in [(j * n + i, s), (i * n + j, -s)] {
                source[slot as usize] = k as i64;
                sign[slot as usize] = s;
            }
        }
        let source = Tensor::from_slice(&source).to_device(xi.device());
        let sign = Tensor::from_slice(&sign).to_device(xi.device()).to_kind(xi.kind());
        (xi.index_select(-1, &source) * sign).unflatten(-1, [n, n])
    }

    /// The coefficients of the skew part of matrices `[.., n, n]`: undoes [`SoN::hat`].
    pub fn vee(&self, a: &Tensor) -> Tensor {
        let n = self.dimension;
        let planes = self.planes();
        let slots: Vec<i64> = planes.iter().map(|(i, j, _)| j * n + i).collect();
        let signs: Vec<f64> = planes.iter().map(|(_, _, sign)| 0.5 * sign).collect();
        let slots = Tensor::from_slice(&slots).to_device(a.device());
        let signs = Tensor::from_slice(&signs).to_device(a.device()).to_kind(a.kind());
        let skew = a - a.transpose(-1, -2);
        skew.flatten(-2, -1).index_select(-1, &slots) * signs
    }

    fn shape(&self, xi_shape: &[Vec<i64>]) -> Vec<i64> {
        [super::lead(xi_shape), &[self.dimension, self.dimension]].concat()
    }
}

impl Group for SoN {
    fn name(&self) -> String {
        format!("SO({})", self.dimension)
    }

    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        Some(super::with_axis(lead, self.dimension * (self.dimension - 1) / 2))
    }

    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        Tensor::eye(self.dimension, options).expand(self.shape(xi_shape), false).contiguous().into()
    }

    fn compose(&self, a: &Element, b: &Element) -> Element {
        a.single().matmul(b.single()).into()
    }

    fn inverse(&self, a: &Element) -> Element {
        a.single().transpose(-1, -2).into()
    }

    /// The orthogonal factor of a normal matrix whose triangular factor has a positive diagonal is
    /// Haar on O(n) (Mezzadri 2007); a reflection of the first axis brings det = -1 into SO(n).
    fn sample(
        &self,
        xi_shape: &[Vec<i64>],
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Element {
        sample_rotations(&self.shape(xi_shape), options, stream).into()
    }

    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        math::frobenius(a.single(), b.single())
    }

    /// The largest entry of `|R^T R - 1|` plus `|det R - 1|`.
    fn violation(&self, a: &Element) -> Tensor {
        math::rotation_violation(a.single())
    }

    fn lie(&self) -> Option<&dyn LieGroup> {
        Some(self)
    }

    /// The matrix itself.
    fn affine(&self, g: &Element, kind: Kind) -> Option<(Tensor, Option<Tensor>)> {
        Some((g.single().to_kind(kind), None))
    }
}

/// Haar rotations of the given shape `[.., n, n]`.
pub(super) fn sample_rotations(
    shape: &[i64],
    options: (Kind, Device),
    stream: &mut Stream,
) -> Tensor {
    let n = shape[shape.len() - 1];
    let (q, r) = Tensor::linalg_qr(&stream.normal(shape, options), "reduced");
    let signs = r.diagonal(0, -2, -1).sign();
    let q = q * signs.unsqueeze(-2);
    let det = Tensor::linalg_det(&q).sign().unsqueeze(-1).unsqueeze(-1);
    let first = q.narrow(-1, 0, 1) * det;
    Tensor::cat(&[first, q.narrow(-1, 1, n - 1)], -1)
}

impl LieGroup for SoN {
    fn exp(&self, xi: &Xi) -> Element {
        let xi = xi.single();
        match self.dimension {
            2 => So2::matrix(xi).into(),
            3 => math::exp_so3(xi).into(),
            _ if xi.numel() == 0 => self.identity(&[xi.size()], (xi.kind(), xi.device())),
            _ => matrix_log::orthogonalised(&self.hat(xi).matrix_exp()).into(),
        }
    }

    /// # Errors
    /// `Numbers` for a matrix that is not a rotation; from n = 4 on `Unsupported` where a plane
    /// angle exceeds pi - 1e-3, with the angle.
    fn log(&self, g: &Element) -> Result<Xi> {
        self.check(g)?;
        let r = g.single();
        match self.dimension {
            2 => {
                Ok(r.narrow(-1, 0, 1).select(-2, 1).atan2(&r.narrow(-1, 0, 1).select(-2, 0)).into())
            }
            3 => Ok(math::log_so3(r).into()),
            _ => Ok(self.vee(&matrix_log::log_rotation(&self.name(), r)?).into()),
        }
    }

    /// pi for n = 2 and 3; pi - 1e-3, where log ends, from n = 4 on.
    fn injectivity_radius(&self) -> f64 {
        if self.dimension < 4 { PI } else { PI - matrix_log::MARGIN }
    }

    fn bracket(&self, a: &Xi, b: &Xi) -> Xi {
        let (a, b) = (self.hat(a.single()), self.hat(b.single()));
        // vee takes the skew part of 2 a b, which is a b - b a.
        self.vee(&(a.matmul(&b) * 2.0)).into()
    }

    fn adjoint(&self, g: &Element, xi: &Xi) -> Xi {
        let r = g.single();
        self.vee(&r.matmul(&self.hat(xi.single())).matmul(&r.transpose(-1, -2))).into()
    }
}

/// Rotations of n-dimensional space; an element is an n x n matrix.
#[config]
#[derive(Clone)]
pub struct SoNConfig {
    /// Dimension of the space, from 2 to 8 (the range that exp and log were measured on).
    #[schemars(range(min = 2, max = 8))]
    pub dimension: i64,
}

#[component("so-n", "rotations of n-dimensional space", r#"{"type": "so-n", "dimension": 4}"#)]
impl GroupConfig for SoNConfig {
    fn build(&self) -> Result<Arc<dyn Group>> {
        if !(2..=8).contains(&self.dimension) {
            return Err(Error::config("/dimension", "rotations are offered in 2 to 8 dimensions"));
        }
        Ok(Arc::new(SoN { dimension: self.dimension }))
    }
}
