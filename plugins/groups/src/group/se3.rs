//! SE(3): rigid motions of space.
//!
//! Elements are homogeneous matrices, coefficients `(omega, v)` with the angular velocity first. exp
//! is injective for `|omega| < pi`; at angle pi log follows [`So3`](super::So3).

use super::{lead, rotation_math as math, with_axis};
use isotropy_core::{Element, Group, GroupConfig, LieGroup, Result, Stream, Xi, component, config};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The group SE(3). Elements are homogeneous matrices `[.., 4, 4]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Se3;

fn parts(xi: &Tensor) -> (Tensor, Tensor) {
    (xi.narrow(-1, 0, 3), xi.narrow(-1, 3, 3))
}

impl Group for Se3 {
    fn name(&self) -> String {
        "SE(3)".into()
    }

    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        Some(with_axis(lead, 6))
    }

    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        let shape = [lead(xi_shape), &[4, 4]].concat();
        Tensor::eye(4, options).expand(&shape, false).contiguous().into()
    }

    fn compose(&self, a: &Element, b: &Element) -> Element {
        a.single().matmul(b.single()).into()
    }

    fn inverse(&self, a: &Element) -> Element {
        let (r, t) = math::split_homogeneous(a.single());
        let back = r.transpose(-1, -2);
        let t = math::apply(&back, &t).neg();
        math::homogeneous(&back, &t).into()
    }

    fn sample(
        &self,
        xi_shape: &[Vec<i64>],
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Element {
        let q = stream.normal(&[lead(xi_shape), &[4]].concat(), options);
        let r = math::matrix(&(&q / math::square_norm(&q).sqrt()));
        let t = stream.normal(&[lead(xi_shape), &[3]].concat(), options);
        math::homogeneous(&r, &t).into()
    }

    fn law(&self) -> &'static str {
        "Haar for the rotation, standard normal for the translation"
    }

    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        math::frobenius(a.single(), b.single())
    }

    fn violation(&self, a: &Element) -> Tensor {
        math::rigid_violation(a.single())
    }

    fn lie(&self) -> Option<&dyn LieGroup> {
        Some(self)
    }

    /// Rotation and translation of points.
    fn affine(&self, g: &Element, kind: Kind) -> Option<(Tensor, Option<Tensor>)> {
        let (rotation, shift) = math::split_homogeneous(&g.single().to_kind(kind));
        Some((rotation, Some(shift)))
    }
}

impl LieGroup for Se3 {
    /// `t = (1 + (1 - cos)/a^2 hat + (a - sin)/a^3 hat^2) v`.
    fn exp(&self, xi: &Xi) -> Element {
        let (omega, v) = parts(xi.single());
        let s = math::square_norm(&omega);
        let once = omega.linalg_cross(&v, -1);
        let twice = omega.linalg_cross(&once, -1);
        let t = v + math::one_minus_cos(&s) * once + math::minus_sin(&s) * twice;
        math::homogeneous(&math::exp_so3(&omega), &t).into()
    }

    /// `v = (1 - hat/2 + (1 - (a/2) cot(a/2))/a^2 hat^2) t`.
    ///
    /// # Errors
    /// `Numbers` for a matrix that is not a rigid motion.
    fn log(&self, g: &Element) -> Result<Xi> {
        self.check(g)?;
        let (r, t) = math::split_homogeneous(g.single());
        let omega = math::log_so3(&r);
        let s = math::square_norm(&omega);
        let once = omega.linalg_cross(&t, -1);
        let twice = omega.linalg_cross(&once, -1);
        let v = t - once * 0.5 + math::one_minus_cot(&s) * twice;
        Ok(Tensor::cat(&[omega, v], -1).into())
    }

    fn injectivity_radius(&self) -> f64 {
        std::f64::consts::PI
    }

    fn bracket(&self, a: &Xi, b: &Xi) -> Xi {
        let ((wa, va), (wb, vb)) = (parts(a.single()), parts(b.single()));
        let v = wa.linalg_cross(&vb, -1) + va.linalg_cross(&wb, -1);
        Tensor::cat(&[wa.linalg_cross(&wb, -1), v], -1).into()
    }

    fn adjoint(&self, g: &Element, xi: &Xi) -> Xi {
        let (r, t) = math::split_homogeneous(g.single());
        let (omega, v) = parts(xi.single());
        let omega = math::apply(&r, &omega);
        let v = math::apply(&r, &v) + t.linalg_cross(&omega, -1);
        Tensor::cat(&[omega, v], -1).into()
    }
}

/// Rigid motions of space; an element is a homogeneous 4x4 matrix.
#[config]
#[derive(Clone)]
pub struct Se3Config {}

#[component("se3", "rigid motions of space", r#"{"type": "se3"}"#)]
impl GroupConfig for Se3Config {
    fn build(&self) -> Result<Arc<dyn Group>> {
        Ok(Arc::new(Se3))
    }
}
