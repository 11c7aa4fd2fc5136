//! Heat kernels of circles, SO(3) and spheres as functions of angle and scale.
//!
//! `eps` is the standard deviation of each horizontal coefficient, `eps^2` the clock of Brownian
//! motion with generator `Laplacian / 2`. Densities refer to the uniform probability (Haar measure of
//! total mass 1), so they tend to 1 as `eps` grows. For SO(3) this is IGSO(3) in the convention of
//! sism.md 2.6: `sum (2l+1) exp(-l(l+1) eps^2/2) sin((l+1/2)w) / sin(w/2)`.
//!
//! [`HeatKernel::log_density`] and [`HeatKernel::score`] evaluate the closed forms of [`exact`].
//! What training needs in every step, a draw and its score, comes from a table ([`HeatKernel::noise`]).

pub mod exact;
mod table;
mod transport;

pub use table::RadialTable;

use isotropy_core::{Error, Result, Space};
use std::f64::consts::{LN_2, PI};
use tch::{Kind, Tensor};

/// The heat kernel of a compact space.
#[derive(Debug)]
pub struct HeatKernel {
    space: Space,
    table: RadialTable,
}

impl HeatKernel {
    /// The kernel of a circle, of SO(3), or of a sphere of one, two or three dimensions.
    ///
    /// # Errors
    /// `Unsupported` for other spaces.
    pub fn new(space: Space) -> Result<Self> {
        let space = match space {
            Space::Sphere(1) => Space::Circle,
            Space::Circle | Space::Rotations | Space::Sphere(2 | 3) => space,
            other => {
                let message = format!("the heat kernel of {other:?} is not known here");
                return Err(Error::Unsupported(message));
            }
        };
        Ok(Self { space, table: RadialTable::new(space) })
    }

    /// The space.
    pub fn space(&self) -> Space {
        self.space
    }

    /// Its dimension.
    pub fn dimension(&self) -> i64 {
        dimension(self.space)
    }

    /// `(log f, d log f / d angle)` at angles in `[0, pi]` and scales that broadcast against them, in
    /// the kind of the angles (evaluated in double precision).
    pub fn evaluate(&self, angle: &Tensor, eps: &Tensor) -> (Tensor, Tensor) {
        let v = eps.to_kind(Kind::Double).square();
        let (log, slope) = evaluate(self.space, angle, &v);
        (log.to_kind(angle.kind()), slope.to_kind(angle.kind()))
    }

    /// `f`, with respect to the uniform probability.
    pub fn density(&self, angle: &Tensor, eps: &Tensor) -> Tensor {
        self.log_density(angle, eps).exp()
    }

    /// `log f`, with respect to the uniform probability.
    pub fn log_density(&self, angle: &Tensor, eps: &Tensor) -> Tensor {
        self.evaluate(angle, eps).0
    }

    /// `d log f / d angle`.
    pub fn score(&self, angle: &Tensor, eps: &Tensor) -> Tensor {
        self.evaluate(angle, eps).1
    }

    /// The density of the angle itself on `[0, pi]` under the uniform law: that of the kernel is
    /// [`HeatKernel::density`] times this.
    pub fn measure(&self, angle: &Tensor) -> Tensor {
        measure(self.space, angle)
    }

    /// Turns standard normal coefficients into a draw of the kernel: `z` of `[.., d]` (the last axis
    /// holds the components of a tangent vector; for circles each number stands for itself) and scales
    /// `[.., 1]`. The length of `z` is sent through the distribution function of its own law and the
    /// inverse of that of the angle, so the map is smooth in `z`, keeps its direction, and is
    /// `eps z` for small `eps`. Returns the coefficients of the displacement and `-eps score` at the
    /// point reached, both along `z` and of its shape.
    pub fn noise(&self, z: &Tensor, eps: &Tensor) -> (Tensor, Tensor) {
        let rho = match self.space {
            Space::Circle => z.abs(),
            _ => z.norm_scalaropt_dim(2, [-1], true),
        };
        let (stretch, pull) = self.table.interpolate(&rho, eps);
        (z * stretch * eps, z * pull)
    }

    /// The largest deviation of the density from 1 at a scale: how far a process that ends there is
    /// from its prior. For large scales it is the first mode: `2 exp(-eps^2/2)` on a circle,
    /// `9 exp(-eps^2)` on SO(3), `3 exp(-eps^2)` and `4 exp(-3 eps^2/2)` on spheres of two and three
    /// dimensions.
    pub fn deviation(&self, eps: f64) -> f64 {
        let at = |angle: f64| {
            let (angle, v) = (Tensor::from(angle).view([1]), Tensor::from(eps * eps).view([1]));
            (evaluate(self.space, &angle, &v).0.double_value(&[0])).exp_m1().abs()
        };
        at(0.0).max(at(PI))
    }

    /// Logarithm of the volume of the space in the measure where the horizontal fields have unit
    /// length (that of SO(3) is 8 pi^2).
    pub fn log_volume(&self) -> f64 {
        match self.space {
            Space::Circle => (2.0 * PI).ln(),
            Space::Rotations => (8.0 * PI * PI).ln(),
            Space::Sphere(3) => (2.0 * PI * PI).ln(),
            _ => 2.0 * LN_2 + PI.ln(),
        }
    }
}

fn dimension(space: Space) -> i64 {
    match space {
        Space::Circle => 1,
        Space::Rotations => 3,
        Space::Sphere(d) => d,
        Space::Flat => 0,
    }
}

/// `(log f, d log f / d angle)` at a variance, in double precision.
fn evaluate(space: Space, angle: &Tensor, v: &Tensor) -> (Tensor, Tensor) {
    match space {
        Space::Rotations => exact::rotations(angle, v),
        Space::Sphere(2) => exact::two_sphere(angle, v),
        Space::Sphere(3) => exact::three_sphere(angle, v),
        _ => exact::circle(angle, v),
    }
}

/// The density of the angle on `[0, pi]` under the uniform law.
fn measure(space: Space, angle: &Tensor) -> Tensor {
    match space {
        Space::Rotations => (angle * 0.5).sin().square() * (2.0 / PI),
        Space::Sphere(2) => angle.sin() * 0.5,
        Space::Sphere(3) => angle.sin().square() * (2.0 / PI),
        _ => angle.full_like(PI.recip()),
    }
}
