//! SE(2): rigid motions of the plane.
//!
//! Elements are homogeneous matrices, coefficients `(omega, v_x, v_y)` with the angular velocity
//! first. exp is injective for `|omega| < pi`; at a half turn log returns the angle that atan2 gives.

use super::{lead, rotation_math as math, so2::So2, with_axis};
use isotropy_core::{Element, Group, GroupConfig, LieGroup, Result, Stream, Xi, component, config};
use std::f64::consts::{PI, TAU};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The group SE(2). Elements are homogeneous matrices `[.., 3, 3]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Se2;

/// Vectors `[.., 2]` turned by a quarter.
fn quarter_turn(v: &Tensor) -> Tensor {
    Tensor::cat(&[v.narrow(-1, 1, 1).neg(), v.narrow(-1, 0, 1)], -1)
}

fn parts(xi: &Tensor) -> (Tensor, Tensor) {
    (xi.narrow(-1, 0, 1), xi.narrow(-1, 1, 2))
}

impl Group for Se2 {
    fn name(&self) -> String {
        "SE(2)".into()
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
        let angle = (stream.uniform(&[lead(xi_shape), &[1]].concat(), options) - 0.5) * TAU;
        let t = stream.normal(&[lead(xi_shape), &[2]].concat(), options);
        math::homogeneous(&So2::matrix(&angle), &t).into()
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

impl LieGroup for Se2 {
    fn exp(&self, xi: &Xi) -> Element {
        let (omega, v) = parts(xi.single());
        let s = omega.square();
        let t = math::sinc(&s) * &v + &omega * math::one_minus_cos(&s) * quarter_turn(&v);
        math::homogeneous(&So2::matrix(&omega), &t).into()
    }

    /// # Errors
    /// `Numbers` for a matrix that is not a rigid motion.
    fn log(&self, g: &Element) -> Result<Xi> {
        self.check(g)?;
        let (r, t) = math::split_homogeneous(g.single());
        let column = r.select(-1, 0);
        let omega = column.narrow(-1, 1, 1).atan2(&column.narrow(-1, 0, 1));
        let s = omega.square();
        let v = (1.0 - &s * math::one_minus_cot(&s)) * &t - &omega * 0.5 * quarter_turn(&t);
        Ok(Tensor::cat(&[omega, v], -1).into())
    }

    fn injectivity_radius(&self) -> f64 {
        PI
    }

    fn bracket(&self, a: &Xi, b: &Xi) -> Xi {
        let ((wa, va), (wb, vb)) = (parts(a.single()), parts(b.single()));
        let v = &wa * quarter_turn(&vb) - &wb * quarter_turn(&va);
        Tensor::cat(&[wa.zeros_like(), v], -1).into()
    }

    fn adjoint(&self, g: &Element, xi: &Xi) -> Xi {
        let (r, t) = math::split_homogeneous(g.single());
        let (omega, v) = parts(xi.single());
        let v = math::apply(&r, &v) - &omega * quarter_turn(&t);
        Tensor::cat(&[omega, v], -1).into()
    }
}

/// Rigid motions of the plane; an element is a homogeneous 3x3 matrix.
#[config]
#[derive(Clone)]
pub struct Se2Config {}

#[component("se2", "rigid motions of the plane", r#"{"type": "se2"}"#)]
impl GroupConfig for Se2Config {
    fn build(&self) -> Result<Arc<dyn Group>> {
        Ok(Arc::new(Se2))
    }
}
