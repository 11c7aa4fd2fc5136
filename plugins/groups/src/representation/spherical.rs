//! SO(3)xR+ on space: spherical coordinates (sism.md 2.2).
//!
//! `tau = (log r, theta, phi)` with `theta` from the z axis. With `rho = hypot(x, y)`:
//! `Pi_r = x`, `Pi_theta = (z x/rho, z y/rho, -rho)`, `Pi_phi = (-y, x, 0)`; divergences
//! `(3, z/rho, 0)`, `Omega = -(x, y, 0)`, `|det Pi| = r^2 rho`; singular on the z axis. Where an
//! unwrapped `theta` has `sin theta < 0`, `rho` changes its sign and with it `Pi_theta`. Group
//! elements are `(rotation matrix, log factor)`.

use super::charted::{Chart, Charted, spherical_branches};
use crate::group::{Dilations, Product, So3};
use isotropy_core::{
    Element, Group, Representation, RepresentationConfig, Result, component, config,
};
use std::sync::Arc;
use tch::Tensor;

/// Distances from the axis below this are treated as this, so that no quotient is 0/0.
pub(super) const TINY: f64 = 1e-30;

/// Spherical coordinates `(log r, theta, phi)`.
#[derive(Debug, Clone, Copy)]
pub struct SphericalChart;

/// SO(3)xR+ on vectors of space, driving points in `(log r, theta, phi)`.
pub type Spherical = Charted<SphericalChart>;

fn split(a: &Tensor) -> (Tensor, Tensor, Tensor) {
    (a.narrow(-1, 0, 1), a.narrow(-1, 1, 1), a.narrow(-1, 2, 1))
}

/// -1 where a number has a minus sign, else 1.
pub(super) fn sign_of(a: &Tensor) -> Tensor {
    a.ones_like().copysign_(a)
}

/// `rho` with the sign of `sin theta`.
fn signed_rho(x: &Tensor, y: &Tensor, tau: Option<&Tensor>) -> Tensor {
    let rho = x.hypot(y);
    tau.map_or_else(|| rho.shallow_clone(), |tau| sign_of(&tau.narrow(-1, 1, 1).sin()) * &rho)
}

impl Chart for SphericalChart {
    fn name(&self) -> String {
        "spherical".into()
    }

    fn dimension(&self) -> i64 {
        3
    }

    fn coordinate_names(&self) -> Vec<String> {
        ["log r", "theta", "phi"].map(String::from).to_vec()
    }

    fn group(&self) -> Arc<dyn Group> {
        Arc::new(
            Product::new(vec![Arc::new(So3), Arc::new(Dilations)]).expect("there are two factors"),
        )
    }

    fn matrix(&self, g: &Element) -> (Tensor, Tensor) {
        (g.0[0].shallow_clone(), g.0[1].shallow_clone())
    }

    fn tau(&self, x: &Tensor) -> Tensor {
        let (x, y, z) = split(x);
        let rho = x.hypot(&y);
        Tensor::cat(&[rho.hypot(&z).log(), rho.atan2(&z), y.atan2(&x)], -1)
    }

    fn point(&self, tau: &Tensor) -> Tensor {
        // Sine and cosine of all columns: one contiguous pass is cheaper than a strided one.
        let (cos, sin) = (tau.cos(), tau.sin());
        let r = tau.narrow(-1, 0, 1).exp();
        let rho = &r * sin.narrow(-1, 1, 1);
        let x = &rho * cos.narrow(-1, 2, 1);
        let y = rho * sin.narrow(-1, 2, 1);
        Tensor::cat(&[x, y, r * cos.narrow(-1, 1, 1)], -1)
    }

    /// By multiplication, without logarithm and arc tangents: the meridian turns `(rho, z)`, the
    /// parallel `(x, y)`. A `rho` that becomes negative has crossed the axis, as it should.
    fn flow(&self, x: &Tensor, xi: &Tensor) -> Tensor {
        let (x, y, z) = split(x);
        let (_, cos_theta, cos_phi) = split(&xi.cos());
        let (_, sin_theta, sin_phi) = split(&xi.sin());
        let grown = xi.narrow(-1, 0, 1).exp();
        let rho = x.hypot(&y).clamp_min(TINY);
        // The new rho over the old one.
        let across = (&z / &rho * &sin_theta + &cos_theta) * &grown;
        let height = (z * cos_theta - rho * sin_theta) * grown;
        let east = (&x * &cos_phi - &y * &sin_phi) * &across;
        Tensor::cat(&[east, (x * sin_phi + y * cos_phi) * across, height], -1)
    }

    fn push(&self, x: &Tensor, tau: Option<&Tensor>, xi: &Tensor) -> Tensor {
        let (x, y, z) = split(x);
        let (a, b, c) = split(xi);
        let rho = signed_rho(&x, &y, tau);
        let f = &a + &b * &z / &rho;
        Tensor::cat(&[&f * &x - &c * &y, f * y + c * x, a * z - b * rho], -1)
    }

    fn pull(&self, x: &Tensor, tau: Option<&Tensor>, c: &Tensor) -> Tensor {
        let (x, y, z) = split(x);
        let (a, b, c) = split(c);
        let rho = signed_rho(&x, &y, tau);
        let flat = &a * &x + &b * &y;
        let theta = &flat * &z / &rho - &c * &rho;
        Tensor::cat(&[flat + c * z, theta, b * x - a * y], -1)
    }

    fn divergences(&self, x: &Tensor, tau: Option<&Tensor>) -> Tensor {
        let (x, y, z) = split(x);
        let cot = &z / signed_rho(&x, &y, tau);
        Tensor::cat(&[x.full_like(3.0), cot, x.zeros_like()], -1)
    }

    fn omega(&self, x: &Tensor) -> Tensor {
        let (x, y, z) = split(x);
        Tensor::cat(&[x.neg(), y.neg(), z.zeros_like()], -1)
    }

    fn orientation(&self, tau: &Tensor) -> Option<Tensor> {
        // The signs are put into ones: cheaper than joining three columns.
        let eps = tau.ones_like();
        let _ = eps.narrow(-1, 1, 1).copysign_(&tau.narrow(-1, 1, 1).sin());
        Some(eps)
    }

    fn branches(&self, tau: &Tensor, turns: i64) -> Vec<Tensor> {
        spherical_branches(tau, turns)
    }

    fn log_abs_det(&self, x: &Tensor) -> Tensor {
        let rho = self.regularity(x);
        rho.hypot(&x.select(-1, 2)).log() * 2.0 + rho.log()
    }

    fn regularity(&self, x: &Tensor) -> Tensor {
        x.select(-1, 0).hypot(&x.select(-1, 1))
    }

    /// Rotations about other axes than z move the polar axis; the coordinates have no symmetry.
    fn is_shift(&self, _symmetry: &dyn Representation) -> bool {
        false
    }
}

/// Rotations and dilations of space; drives points in `(log r, theta, phi)`.
#[config]
#[derive(Clone)]
pub struct SphericalConfig {
    /// Whether points carry their unwrapped coordinates from the noise on: a model with the inputs `tau`
    /// or `fourier-tau` then sees the coordinates that the process has reached instead of those on
    /// the principal branch, and predictions of the noise are exact where angles alias. The law of
    /// the data stays that of their principal coordinates.
    #[serde(default)]
    pub unwrapped: bool,
}

#[component(
    "spherical",
    "SO(3)xR+ on space, with flow coordinates (log r, theta, phi)",
    r#"{"type": "spherical"}"#
)]
impl RepresentationConfig for SphericalConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        Ok(Arc::new(Spherical::new(SphericalChart).unwrapped(self.unwrapped)))
    }
}
