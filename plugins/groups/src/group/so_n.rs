//! SO(n): rotations of n-dimensional space, as matrices. For the plane and for space use
//! [`So2`](super::So2) and [`So3`](super::So3), which have an exponential map; this group has none
//! yet.

use super::rotation_math as math;
use isotropy_core::{
    Element, Error, Group, GroupConfig, Result, Stream,
    schemars::{self, JsonSchema},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The group SO(n). Elements are rotation matrices `[.., n, n]`; coefficients would be the
/// `n (n - 1) / 2` plane angles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoN {
    /// The dimension `n` of the space, at least 2.
    pub dimension: i64,
}

impl SoN {
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
        let (q, r) = Tensor::linalg_qr(&stream.normal(&self.shape(xi_shape), options), "reduced");
        let signs = r.diagonal(0, -2, -1).sign();
        let q = q * signs.unsqueeze(-2);
        let det = Tensor::linalg_det(&q).sign().unsqueeze(-1).unsqueeze(-1);
        let first = q.narrow(-1, 0, 1) * det;
        Tensor::cat(&[first, q.narrow(-1, 1, self.dimension - 1)], -1).into()
    }

    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        math::frobenius(a.single(), b.single())
    }

    /// The largest entry of `|R^T R - 1|` plus `|det R - 1|`.
    fn violation(&self, a: &Element) -> Tensor {
        math::rotation_violation(a.single())
    }
}

/// Rotations of n-dimensional space; an element is an n x n matrix.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SoNConfig {
    /// Dimension of the space, at least 2.
    #[schemars(range(min = 2))]
    pub dimension: i64,
}

#[typetag::serde(name = "so-n")]
impl GroupConfig for SoNConfig {
    fn build(&self) -> Result<Arc<dyn Group>> {
        if self.dimension < 2 {
            return Err(Error::config("/dimension", "rotations need at least two dimensions"));
        }
        Ok(Arc::new(SoN { dimension: self.dimension }))
    }
}

isotropy_core::register!(
    "group",
    "so-n",
    SoNConfig,
    "rotations of n-dimensional space (no exponential map yet)",
    r#"{"type": "so-n", "dimension": 4}"#
);
