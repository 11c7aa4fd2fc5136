//! Rays from the origin of the plane (sism.md 3.1): the `line` set of the released code, which has
//! 10,000 equally spaced radii on each of five rays. Here radii are drawn evenly from the same
//! interval, so that validation and test points are independent of the training points.

use isotropy_core::{Error, Result, Stream};
use isotropy_diffusion::{point_law, point_law::PointLaw};
use std::f64::consts::TAU;
use tch::{Device, Kind, Tensor};

point_law! {
    /// Points on rays from the origin, at equal angles, the first along the x axis.
    LineRaysConfig {
        /// Number of rays.
        #[schemars(range(min = 1, max = 10_000))]
        rays: u32 = 5,
        /// Smallest distance from the origin; not negative.
        #[schemars(range(min = 0.0))]
        inner: f64 = 0.1,
        /// Largest distance from the origin.
        #[schemars(range(min = 0.0))]
        outer: f64 = 3.0,
        /// Standard deviation of the angle about its ray, in radians.
        #[schemars(range(min = 0.0))]
        jitter: f64 = 0.05,
    }
    "line-rays", 50_000,
    "five rays from the origin of the plane",
    r#"{"type": "line-rays"}"#
}

impl PointLaw for LineRaysConfig {
    fn dimension(&self) -> i64 {
        2
    }

    fn check(&self) -> Result<()> {
        if self.rays == 0 {
            return Err(Error::config("/rays", "there must be at least one ray"));
        }
        if !(self.inner >= 0.0 && self.outer.is_finite() && self.outer > self.inner) {
            return Err(Error::config("/outer", "`outer` must be larger than `inner`"));
        }
        if !(self.jitter.is_finite() && self.jitter >= 0.0) {
            return Err(Error::config("/jitter", "the jitter must not be negative"));
        }
        Ok(())
    }

    fn draw(&self, count: i64, options: (Kind, Device), stream: &mut Stream) -> Tensor {
        let rays = i64::from(self.rays);
        let ray = stream.integers(rays, &[count], options.1).to_kind(options.0);
        let angle = ray * (TAU / rays as f64) + stream.normal(&[count], options) * self.jitter;
        let r = stream.uniform(&[count], options) * (self.outer - self.inner) + self.inner;
        Tensor::stack(&[&r * angle.cos(), &r * angle.sin()], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotropy_core::Streams;

    #[test]
    fn radii_are_even_and_angles_normal_about_five_rays() {
        let law = LineRaysConfig::default();
        let mut stream = Streams::new(2).stream("test", 0);
        let points = law.draw(200_000, (Kind::Double, Device::Cpu), &mut stream);
        let r = points.norm_scalaropt_dim(2, [1i64], false);
        let mean = |x: Tensor| x.mean(Kind::Double).double_value(&[]);
        assert!((mean(r.shallow_clone()) - 1.55).abs() < 0.01);
        assert!((mean((&r - 1.55).square()) - 2.9f64.powi(2) / 12.0).abs() < 0.01);
        assert!(r.min().double_value(&[]) >= 0.1 && r.max().double_value(&[]) <= 3.0);
        // The angle from the nearest ray, through the fifth power of x + i y.
        let angle = points.select(1, 1).atan2(&points.select(1, 0)) * 5.0;
        let off = angle.sin().atan2(&angle.cos()) / 5.0;
        assert!((mean(off.square()).sqrt() - 0.05).abs() < 0.001);
        // E cos(k angle) vanishes unless k is a multiple of the number of rays.
        let angle = points.select(1, 1).atan2(&points.select(1, 0));
        for k in [1.0, 2.0, 3.0, 4.0] {
            assert!(mean((&angle * k).cos()).abs() < 0.01, "rays are not equally likely");
        }
    }
}
