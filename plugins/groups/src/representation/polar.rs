//! SO(2)xR+ on the plane: polar coordinates (sism.md 2.1).
//!
//! `tau = (log r, theta)`, `Pi_r = (x, y)`, `Pi_theta = (-y, x)`; divergences `(2, 0)`, `Omega = 0`,
//! `|det Pi| = r^2`; singular at the origin. Group elements are `(log factor, angle)`, in the order
//! of the coordinates; they shift `tau`.

use super::charted::{Chart, Charted, spherical_branches};
use super::{Rotation, linear};
use crate::group::{Dilations, Product, So2};
use isotropy_core::representation::as_type;
use isotropy_core::{
    Element, Group, Representation, RepresentationConfig, Result, component, config,
};
use std::sync::Arc;
use tch::Tensor;

/// Polar coordinates `(log r, theta)`.
#[derive(Debug, Clone, Copy)]
pub struct PolarChart;

/// SO(2)xR+ on vectors of the plane, driving points in `(log r, theta)`.
pub type Polar = Charted<PolarChart>;

fn split(a: &Tensor) -> (Tensor, Tensor) {
    (a.narrow(-1, 0, 1), a.narrow(-1, 1, 1))
}

impl Chart for PolarChart {
    fn name(&self) -> String {
        "polar".into()
    }

    fn dimension(&self) -> i64 {
        2
    }

    fn coordinate_names(&self) -> Vec<String> {
        vec!["log r".into(), "theta".into()]
    }

    fn group(&self) -> Arc<dyn Group> {
        Arc::new(
            Product::new(vec![Arc::new(Dilations), Arc::new(So2)]).expect("there are two factors"),
        )
    }

    fn matrix(&self, g: &Element) -> (Tensor, Tensor) {
        (So2::matrix(&g.0[1]), g.0[0].shallow_clone())
    }

    fn tau(&self, x: &Tensor) -> Tensor {
        let (x, y) = split(x);
        Tensor::cat(&[x.hypot(&y).log(), y.atan2(&x)], -1)
    }

    fn point(&self, tau: &Tensor) -> Tensor {
        let (log_r, _) = split(tau);
        // Sine and cosine of both columns: one contiguous pass is cheaper than a strided one.
        let (cos, sin) = (tau.cos(), tau.sin());
        Tensor::cat(&[cos.narrow(-1, 1, 1), sin.narrow(-1, 1, 1)], -1) * log_r.exp()
    }

    /// By multiplication, `e^xi_r R(xi_theta) x`: no logarithm, no atan2.
    fn flow(&self, x: &Tensor, xi: &Tensor) -> Tensor {
        let (a, b) = split(&self.point(xi));
        let (x, y) = split(x);
        Tensor::cat(&[&a * &x - &b * &y, a * y + b * x], -1)
    }

    fn push(&self, x: &Tensor, _tau: Option<&Tensor>, xi: &Tensor) -> Tensor {
        let (a, b) = split(xi);
        let (x, y) = split(x);
        Tensor::cat(&[&a * &x - &b * &y, a * y + b * x], -1)
    }

    fn pull(&self, x: &Tensor, _tau: Option<&Tensor>, c: &Tensor) -> Tensor {
        let (a, b) = split(c);
        let (x, y) = split(x);
        Tensor::cat(&[&a * &x + &b * &y, b * x - a * y], -1)
    }

    fn divergences(&self, x: &Tensor, _tau: Option<&Tensor>) -> Tensor {
        let zero = x.narrow(-1, 0, 1).zeros_like();
        Tensor::cat(&[zero.full_like(2.0), zero], -1)
    }

    /// `x - x`: the second derivatives cancel.
    fn omega(&self, x: &Tensor) -> Tensor {
        x.zeros_like()
    }

    fn orientation(&self, _tau: &Tensor) -> Option<Tensor> {
        None
    }

    fn branches(&self, tau: &Tensor, turns: i64) -> Vec<Tensor> {
        spherical_branches(tau, turns)
    }

    fn log_abs_det(&self, x: &Tensor) -> Tensor {
        self.regularity(x).log() * 2.0
    }

    fn regularity(&self, x: &Tensor) -> Tensor {
        x.select(-1, 0).hypot(&x.select(-1, 1))
    }

    fn act_on_tau(&self, g: &Element, tau: &Tensor, _moved: &Tensor) -> Tensor {
        tau + linear::spread(&Tensor::cat(&g.0, -1), tau)
    }

    fn is_shift(&self, symmetry: &dyn Representation) -> bool {
        as_type::<Polar>(symmetry).is_some()
            || as_type::<Rotation>(symmetry).is_some_and(|r| r.dimension() == 2)
    }
}

/// Rotations and dilations of the plane; drives points in `(log r, theta)`.
#[config]
#[derive(Clone)]
pub struct PolarConfig {
    /// Whether points carry their unwrapped coordinates from the noise on: a model with the inputs `tau`
    /// or `fourier-tau` then sees the coordinates that the process has reached instead of those on
    /// the principal branch, and predictions of the noise are exact where angles alias. The law of
    /// the data stays that of their principal coordinates.
    #[serde(default)]
    pub unwrapped: bool,
}

#[component(
    "polar",
    "SO(2)xR+ on the plane, with flow coordinates (log r, theta)",
    r#"{"type": "polar"}"#
)]
impl RepresentationConfig for PolarConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        Ok(Arc::new(Polar::new(PolarChart).unwrapped(self.unwrapped)))
    }
}
