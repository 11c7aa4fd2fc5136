//! SU(2): unit quaternions, the double cover of SO(3).
//!
//! Coefficients are rotation vectors of the covered rotation, so that
//! `exp(xi) = (cos(|xi|/2), sin(|xi|/2) xi/|xi|)`, the bracket is the cross product, and exp is
//! injective up to `2 pi`. At the cut locus, the quaternion -1, every direction is right; log
//! returns `2 pi e_z`.

use super::{lead, rotation_math as math, with_axis};
use isotropy_core::{Element, Group, GroupConfig, LieGroup, Result, Stream, Xi, component, config};
use std::f64::consts::TAU;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The group SU(2). Elements are unit quaternions `(w, x, y, z)`, `[.., 4]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Su2;

fn parts(q: &Tensor) -> (Tensor, Tensor) {
    (q.narrow(-1, 0, 1), q.narrow(-1, 1, 3))
}

impl Group for Su2 {
    fn name(&self) -> String {
        "SU(2)".into()
    }

    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        Some(with_axis(lead, 3))
    }

    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        let vector = Tensor::zeros(&xi_shape[0], options);
        let real = Tensor::ones([lead(xi_shape), &[1]].concat(), options);
        Tensor::cat(&[real, vector], -1).into()
    }

    /// Hamilton's product.
    fn compose(&self, a: &Element, b: &Element) -> Element {
        let ((wa, va), (wb, vb)) = (parts(a.single()), parts(b.single()));
        let w = &wa * &wb - (&va * &vb).sum_dim_intlist(-1, true, None);
        let v = &wa * &vb + &wb * &va + va.linalg_cross(&vb, -1);
        Tensor::cat(&[w, v], -1).into()
    }

    fn inverse(&self, a: &Element) -> Element {
        let (w, v) = parts(a.single());
        Tensor::cat(&[w, v.neg()], -1).into()
    }

    fn sample(
        &self,
        xi_shape: &[Vec<i64>],
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Element {
        let q = stream.normal(&[lead(xi_shape), &[4]].concat(), options);
        (&q / math::square_norm(&q).sqrt()).into()
    }

    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        (a.single() - b.single()).norm_scalaropt_dim(2, [-1], false)
    }

    /// `| |q|^2 - 1 |`.
    fn violation(&self, a: &Element) -> Tensor {
        let violation = (math::square_norm(a.single()) - 1.0).abs().squeeze_dim(-1);
        violation.nan_to_num(f64::INFINITY, None, None)
    }

    fn lie(&self) -> Option<&dyn LieGroup> {
        Some(self)
    }

    /// Hamilton's product from the left, on quaternions `(w, x, y, z)` of R^4.
    fn affine(&self, g: &Element, kind: Kind) -> Option<(Tensor, Option<Tensor>)> {
        let q = g.single().to_kind(kind);
        let part = |i: i64, sign: f64| q.select(-1, i) * sign;
        let row = |entries: [(i64, f64); 4]| Tensor::stack(&entries.map(|(i, s)| part(i, s)), -1);
        let rows = [
            row([(0, 1.0), (1, -1.0), (2, -1.0), (3, -1.0)]),
            row([(1, 1.0), (0, 1.0), (3, -1.0), (2, 1.0)]),
            row([(2, 1.0), (3, 1.0), (0, 1.0), (1, -1.0)]),
            row([(3, 1.0), (2, -1.0), (1, 1.0), (0, 1.0)]),
        ];
        Some((Tensor::stack(&rows, -2), None))
    }
}

impl LieGroup for Su2 {
    fn exp(&self, xi: &Xi) -> Element {
        let xi = xi.single();
        let half = xi * 0.5;
        let s = math::square_norm(&half);
        // cos a = 1 - a^2 (1 - cos a)/a^2 has a finite derivative at 0, cos(sqrt(s)) has not.
        let w = 1.0 - &s * math::one_minus_cos(&s);
        Tensor::cat(&[w, math::sinc(&s) * half], -1).into()
    }

    /// # Errors
    /// `Numbers` for a quaternion that is not a unit.
    fn log(&self, g: &Element) -> Result<Xi> {
        self.check(g)?;
        let q = g.single();
        let (w, v) = parts(q);
        let xi = math::log_factor(q) * &v;
        let cut = math::square_norm(&v).le(0.0).logical_and(&w.lt(0.0));
        let axis = Tensor::cat(&[v.narrow(-1, 0, 2) * 0.0, v.narrow(-1, 2, 1) * 0.0 + TAU], -1);
        Ok(axis.where_self(&cut, &xi).into())
    }

    fn injectivity_radius(&self) -> f64 {
        TAU
    }

    fn bracket(&self, a: &Xi, b: &Xi) -> Xi {
        a.single().linalg_cross(b.single(), -1).into()
    }

    fn adjoint(&self, g: &Element, xi: &Xi) -> Xi {
        math::apply(&math::matrix(g.single()), xi.single()).into()
    }
}

/// Unit quaternions.
#[config]
#[derive(Clone)]
pub struct Su2Config {}

#[component("su2", "unit quaternions, the double cover of SO(3)", r#"{"type": "su2"}"#)]
impl GroupConfig for Su2Config {
    fn build(&self) -> Result<Arc<dyn Group>> {
        Ok(Arc::new(Su2))
    }
}
