//! SO(n)xR+ on R^n: hyperspherical coordinates (sism.md 2.3).
//!
//! `x_1 = r c_1, x_2 = r s_1 c_2, .., x_n = r s_1 .. s_(n-1)`, `tau = (log r, phi_1, .., phi_(n-1))`.
//! With `P_k = r s_1 .. s_k`, whose modulus is `R_k = |(x_(k+1), .., x_n)|`:
//! `Pi_phi_k = (0, .., -P_k at k, x_k x_j / P_k for j > k)`, and `(.., -x_n, x_(n-1))` for the last
//! angle. On the principal branch `P_k = R_k` for all but the last. Divergences `n`,
//! `(n-1-k) x_k / P_k`, 0; `Omega_j = (1 - min(j, n-1)) x_j`;
//! `log |det Pi| = 2 log r + sum_(k <= n-2) log R_k`. Singular where `R_(n-2) = 0`. Group elements
//! are `(rotation matrix, log factor)`.

use super::charted::{Chart, Charted, spherical_branches};
use super::spherical::{TINY, sign_of};
use crate::group::{Dilations, Product, SoN};
use isotropy_core::{
    Element, Error, Group, Representation, RepresentationConfig, Result, component, config,
};
use std::sync::Arc;
use tch::Tensor;

/// Hyperspherical coordinates `(log r, phi_1, .., phi_(n-1))`.
#[derive(Debug, Clone, Copy)]
pub struct HypersphericalChart {
    n: i64,
}

impl HypersphericalChart {
    /// Coordinates on R^n.
    ///
    /// # Errors
    /// When `n` is below 3 (the plane has [`Polar`](super::Polar)).
    pub fn new(n: i64) -> Result<Self> {
        if n < 3 {
            return Err(Error::config("/dimension", "hyperspherical coordinates need n >= 3"));
        }
        Ok(Self { n })
    }

    /// `R_k` for `k = 0 ..= n - 2`, on the last axis.
    fn radii(&self, x: &Tensor) -> Tensor {
        let squares = x.square().flip([-1]).cumsum(-1, None).flip([-1]);
        squares.narrow(-1, 0, self.n - 1).sqrt()
    }

    /// The signs of `P_k / R_k` for `k = 1 ..= n - 2` at unwrapped coordinates.
    fn signs(&self, tau: &Tensor) -> Tensor {
        sign_of(&tau.narrow(-1, 1, self.n - 2).sin()).cumprod(-1, None)
    }

    /// `P_k` for `k = 1 ..= n - 2`.
    fn products(&self, x: &Tensor, tau: Option<&Tensor>) -> Tensor {
        let radii = self.radii(x).narrow(-1, 1, self.n - 2);
        match tau {
            Some(tau) => radii * self.signs(tau),
            None => radii,
        }
    }
}

/// SO(n)xR+ on vectors of R^n, driving points in hyperspherical coordinates.
pub type Hyperspherical = Charted<HypersphericalChart>;

impl Chart for HypersphericalChart {
    fn name(&self) -> String {
        format!("hyperspherical({})", self.n)
    }

    fn dimension(&self) -> i64 {
        self.n
    }

    fn coordinate_names(&self) -> Vec<String> {
        let angles = (1..self.n).map(|k| format!("phi_{k}"));
        std::iter::once("log r".to_string()).chain(angles).collect()
    }

    fn group(&self) -> Arc<dyn Group> {
        let rotations = Arc::new(SoN { dimension: self.n });
        Arc::new(Product::new(vec![rotations, Arc::new(Dilations)]).expect("there are two factors"))
    }

    fn matrix(&self, g: &Element) -> (Tensor, Tensor) {
        (g.0[0].shallow_clone(), g.0[1].shallow_clone())
    }

    fn tau(&self, x: &Tensor) -> Tensor {
        let n = self.n;
        let radii = self.radii(x);
        let polar = radii.narrow(-1, 1, n - 2).atan2(&x.narrow(-1, 0, n - 2));
        let last = x.narrow(-1, n - 1, 1).atan2(&x.narrow(-1, n - 2, 1));
        Tensor::cat(&[radii.narrow(-1, 0, 1).log(), polar, last], -1)
    }

    fn point(&self, tau: &Tensor) -> Tensor {
        // Sine and cosine of all columns: one contiguous pass is cheaper than a strided one.
        let (cos, sin) = (tau.cos(), tau.sin());
        let angles = |a: &Tensor| a.narrow(-1, 1, self.n - 1);
        let r = tau.narrow(-1, 0, 1).exp();
        let sines = Tensor::cat(&[r.shallow_clone(), angles(&sin)], -1).cumprod(-1, None);
        sines * Tensor::cat(&[angles(&cos), r.ones_like()], -1)
    }

    /// By multiplication, without logarithm and arc tangents: each polar angle turns `(x_k, R_(k+1))`,
    /// the last angle the last two components.
    fn flow(&self, x: &Tensor, xi: &Tensor) -> Tensor {
        let n = self.n;
        let radii = self.radii(x).clamp_min(TINY);
        let (here, next) = (radii.narrow(-1, 0, n - 2), radii.narrow(-1, 1, n - 2));
        let (cos, sin) = (xi.cos(), xi.sin());
        let polar = |a: &Tensor| a.narrow(-1, 1, n - 2);
        let first = x.narrow(-1, 0, n - 2);
        let cosines = (&first * polar(&cos) - &next * polar(&sin)) / &here;
        let sines = (&next * polar(&cos) + &first * polar(&sin)) / here;
        let scale = radii.narrow(-1, 0, 1) * xi.narrow(-1, 0, 1).exp();
        let products = Tensor::cat(&[scale, sines], -1).cumprod(-1, None);
        let column = |a: &Tensor, k: i64| a.narrow(-1, k, 1);
        let (p, q, c, s) =
            (column(x, n - 2), column(x, n - 1), column(&cos, n - 1), column(&sin, n - 1));
        let last = column(&products, n - 2) / column(&radii, n - 2);
        let pair = [(&p * &c - &q * &s) * &last, (p * s + q * c) * last];
        let [before, end] = &pair;
        Tensor::cat(&[&(products.narrow(-1, 0, n - 2) * cosines), before, end], -1)
    }

    fn push(&self, x: &Tensor, tau: Option<&Tensor>, xi: &Tensor) -> Tensor {
        let n = self.n;
        let p = self.products(x, tau);
        let inner = xi.narrow(-1, 1, n - 2);
        let weights = &inner * x.narrow(-1, 0, n - 2) / &p;
        // The factor of x_j: xi_r + sum of the weights of the angles before it.
        let factors = Tensor::cat(&[&xi.narrow(-1, 0, 1), &weights], -1).cumsum(-1, None);
        let factors = Tensor::cat(&[&factors, &factors.narrow(-1, n - 2, 1)], -1);
        let last = xi.narrow(-1, n - 1, 1);
        let (before, end) = (x.narrow(-1, n - 2, 1), x.narrow(-1, n - 1, 1));
        x * factors - Tensor::cat(&[inner * p, &last * end, last.neg() * before], -1)
    }

    fn pull(&self, x: &Tensor, tau: Option<&Tensor>, c: &Tensor) -> Tensor {
        let n = self.n;
        let p = self.products(x, tau);
        // sum_(j >= k) x_j c_j; entry k + 1 belongs to angle k.
        let tails = (x * c).flip([-1]).cumsum(-1, None).flip([-1]);
        let inner =
            x.narrow(-1, 0, n - 2) / &p * tails.narrow(-1, 1, n - 2) - p * c.narrow(-1, 0, n - 2);
        let last = x.narrow(-1, n - 2, 1) * c.narrow(-1, n - 1, 1)
            - x.narrow(-1, n - 1, 1) * c.narrow(-1, n - 2, 1);
        Tensor::cat(&[tails.narrow(-1, 0, 1), inner, last], -1)
    }

    fn divergences(&self, x: &Tensor, tau: Option<&Tensor>) -> Tensor {
        let n = self.n;
        let counts = Tensor::arange_start_step(n - 2, 0, -1, (x.kind(), x.device()));
        let inner = counts * x.narrow(-1, 0, n - 2) / self.products(x, tau);
        let end = x.narrow(-1, 0, 1);
        Tensor::cat(&[end.full_like(n), inner, end.zeros_like()], -1)
    }

    fn omega(&self, x: &Tensor) -> Tensor {
        let counts = Tensor::arange(self.n, (x.kind(), x.device())).clamp_max(self.n - 2);
        x * counts.neg()
    }

    fn orientation(&self, tau: &Tensor) -> Option<Tensor> {
        let eps = tau.ones_like();
        eps.narrow(-1, 1, self.n - 2).copy_(&self.signs(tau));
        Some(eps)
    }

    fn branches(&self, tau: &Tensor, turns: i64) -> Vec<Tensor> {
        spherical_branches(tau, turns)
    }

    fn log_abs_det(&self, x: &Tensor) -> Tensor {
        let logs = self.radii(x).log();
        // R_0 = r counts twice.
        logs.sum_dim_intlist([-1].as_slice(), false, None) + logs.select(-1, 0)
    }

    fn regularity(&self, x: &Tensor) -> Tensor {
        x.select(-1, self.n - 2).hypot(&x.select(-1, self.n - 1))
    }

    /// Rotations move the axes that the angles are counted from; the coordinates have no symmetry.
    fn is_shift(&self, _symmetry: &dyn Representation) -> bool {
        false
    }
}

/// Rotations and dilations of R^n; drives points in `(log r, phi_1, .., phi_(n-1))`.
#[config]
#[derive(Clone)]
pub struct HypersphericalConfig {
    /// Dimension n of the space, at least 3 (for the plane take `polar`).
    #[schemars(range(min = 3))]
    pub dimension: i64,
    /// Whether points carry their unwrapped coordinates from the noise on: a model with the inputs `tau`
    /// or `fourier-tau` then sees the coordinates that the process has reached instead of those on
    /// the principal branch, and predictions of the noise are exact where angles alias. The law of
    /// the data stays that of their principal coordinates.
    #[serde(default)]
    pub unwrapped: bool,
}

#[component(
    "hyperspherical",
    "SO(n)xR+ on R^n, with hyperspherical flow coordinates",
    r#"{"type": "hyperspherical", "dimension": 4}"#
)]
impl RepresentationConfig for HypersphericalConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        let chart = HypersphericalChart::new(self.dimension)?;
        Ok(Arc::new(Hyperspherical::new(chart).unwrapped(self.unwrapped)))
    }
}
