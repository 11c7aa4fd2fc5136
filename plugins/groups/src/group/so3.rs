//! SO(3): rotations of space, as matrices.
//!
//! exp is Rodrigues' formula with series near 0. log goes through the quaternion, which loses no
//! digits near pi; at angle pi (within rounding) it returns the rotation vector whose component of
//! largest modulus is positive. Both have finite derivatives at the identity.

use super::{lead, require_member, rotation_math as math, with_axis};
use isotropy_core::{
    Element, Group, GroupConfig, LieGroup, Result, Stream, Xi,
    schemars::{self, JsonSchema},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The group SO(3). Elements are rotation matrices `[.., 3, 3]`, coefficients rotation vectors
/// `[.., 3]` in radians.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct So3;

impl So3 {
    /// Unit quaternions `(w, x, y, z)`, `[.., 4]`, of rotation matrices; the sign is arbitrary.
    pub fn quaternion(r: &Tensor) -> Tensor {
        math::quaternion(r)
    }

    /// Rotation matrices of unit quaternions `(w, x, y, z)`, `[.., 4]`.
    pub fn from_quaternion(q: &Tensor) -> Tensor {
        math::matrix(q)
    }
}

impl Group for So3 {
    fn name(&self) -> String {
        "SO(3)".into()
    }

    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        Some(with_axis(lead, 3))
    }

    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        let shape = [lead(xi_shape), &[3, 3]].concat();
        Tensor::eye(3, options).expand(&shape, false).contiguous().into()
    }

    fn compose(&self, a: &Element, b: &Element) -> Element {
        a.single().matmul(b.single()).into()
    }

    fn inverse(&self, a: &Element) -> Element {
        a.single().transpose(-1, -2).into()
    }

    /// Normalised normal quaternions are uniform on the sphere, hence Haar on SO(3).
    fn sample(
        &self,
        xi_shape: &[Vec<i64>],
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Element {
        let q = stream.normal(&[lead(xi_shape), &[4]].concat(), options);
        math::matrix(&(&q / math::square_norm(&q).sqrt())).into()
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
}

impl LieGroup for So3 {
    fn exp(&self, xi: &Xi) -> Element {
        math::exp_so3(xi.single()).into()
    }

    /// # Errors
    /// `Numbers` for a matrix that is not a rotation.
    fn log(&self, g: &Element) -> Result<Xi> {
        require_member("SO(3)", &self.violation(g))?;
        Ok(math::log_so3(g.single()).into())
    }

    fn injectivity_radius(&self) -> f64 {
        std::f64::consts::PI
    }

    fn bracket(&self, a: &Xi, b: &Xi) -> Xi {
        a.single().linalg_cross(b.single(), -1).into()
    }

    fn adjoint(&self, g: &Element, xi: &Xi) -> Xi {
        math::apply(g.single(), xi.single()).into()
    }
}

/// Rotations of space; an element is a 3x3 matrix.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct So3Config {}

#[typetag::serde(name = "so3")]
impl GroupConfig for So3Config {
    fn build(&self) -> Result<Arc<dyn Group>> {
        Ok(Arc::new(So3))
    }
}

isotropy_core::register!("group", "so3", So3Config, "rotations of space", r#"{"type": "so3"}"#);
