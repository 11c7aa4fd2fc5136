//! SO(3): rotations of space, as matrices.
//!
//! exp is Rodrigues' formula with series near 0. log goes through the quaternion, which loses no
//! digits near pi; at angle pi (within rounding) it returns the rotation vector whose component of
//! largest modulus is positive. Both have finite derivatives at the identity.

use super::{lead, rotation_math as math, with_axis};
use isotropy_core::{Element, Group, GroupConfig, LieGroup, Result, Stream, Xi, component, config};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The group SO(3). Elements are rotation matrices `[.., 3, 3]`, coefficients rotation vectors
/// `[.., 3]` in radians.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct So3;

impl So3 {
    /// Unit quaternions `(w, x, y, z)`, `[.., 4]`, of rotation matrices, of the two the one with
    /// `w >= 0`. For half turns (`w` zero within rounding, so that `w` may come out as a negative
    /// rounding error) it is the one whose entry of largest modulus is positive, as in log. No
    /// digits are lost at any rotation, trace -1 included.
    pub fn quaternion(r: &Tensor) -> Tensor {
        math::signed_quaternion(r)
    }

    /// Rotation matrices of unit quaternions `(w, x, y, z)`, `[.., 4]`; `q` and `-q` give the same.
    /// Not checked: [`Su2`](super::Su2) tells how far a quaternion is from a unit.
    pub fn from_quaternion(q: &Tensor) -> Tensor {
        math::matrix(q)
    }

    /// Rotation matrices `Rz(phi1) Ry(theta) Rz(phi2)` of ZYZ Euler angles `(phi1, theta, phi2)` in
    /// radians, `[.., 3]`; any real numbers (sism.md 2.5).
    pub fn from_euler_zyz(angles: &Tensor) -> Tensor {
        math::from_euler_zyz(angles)
    }

    /// ZYZ Euler angles `(phi1, theta, phi2)`, `[.., 3]`, of rotation matrices, with `theta` in
    /// `[0, pi]` and the others in `[-pi, pi]`. In gimbal lock (`sin theta` zero within rounding)
    /// only `phi1 + phi2` (`theta = 0`) or `phi2 - phi1` (`theta = pi`) is determined; `phi1 = 0` is
    /// returned, and the derivatives of `phi1` and `theta` are zero there.
    pub fn euler_zyz(r: &Tensor) -> Tensor {
        math::euler_zyz(r)
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

    /// The matrix itself.
    fn affine(&self, g: &Element, kind: Kind) -> Option<(Tensor, Option<Tensor>)> {
        Some((g.single().to_kind(kind), None))
    }
}

impl LieGroup for So3 {
    fn exp(&self, xi: &Xi) -> Element {
        math::exp_so3(xi.single()).into()
    }

    /// # Errors
    /// `Numbers` for a matrix that is not a rotation.
    fn log(&self, g: &Element) -> Result<Xi> {
        self.check(g)?;
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
#[config]
#[derive(Clone)]
pub struct So3Config {}

#[component("so3", "rotations of space", r#"{"type": "so3"}"#)]
impl GroupConfig for So3Config {
    fn build(&self) -> Result<Arc<dyn Group>> {
        Ok(Arc::new(So3))
    }
}
