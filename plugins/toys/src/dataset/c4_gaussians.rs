//! Equal Gaussians on a circle (the `c4` set of the released notebooks, sism.md 3.1).

use isotropy_core::{Error, Result, Stream};
use isotropy_diffusion::{point_law, point_law::PointLaw};
use std::f64::consts::TAU;
use tch::{Device, Kind, Tensor};

point_law! {
    /// Equal round Gaussians at equal angles on a circle about the origin of the plane, the first on
    /// the x axis. The density is invariant under rotations by 360 degrees / `modes`.
    C4GaussiansConfig {
        /// Number of Gaussians.
        #[schemars(range(min = 1, max = 10_000))]
        modes: u32 = 4,
        /// Radius of the circle of means.
        #[schemars(range(min = 0.0))]
        radius: f64 = 3.0,
        /// Standard deviation along each axis.
        #[schemars(range(min = 0.0))]
        std: f64 = 0.2,
    }
    "c4-gaussians", 10_000,
    "four equal Gaussians on a circle in the plane",
    r#"{"type": "c4-gaussians"}"#
}

impl PointLaw for C4GaussiansConfig {
    fn dimension(&self) -> i64 {
        2
    }

    fn check(&self) -> Result<()> {
        if self.modes == 0 {
            return Err(Error::config("/modes", "there must be at least one Gaussian"));
        }
        if !(self.radius.is_finite() && self.radius >= 0.0) {
            return Err(Error::config("/radius", "the radius must not be negative"));
        }
        if !(self.std.is_finite() && self.std > 0.0) {
            return Err(Error::config("/std", "the standard deviation must be positive"));
        }
        Ok(())
    }

    fn draw(&self, count: i64, options: (Kind, Device), stream: &mut Stream) -> Tensor {
        let modes = i64::from(self.modes);
        let mode = stream.integers(modes, &[count], options.1).to_kind(options.0);
        let angle = mode * (TAU / modes as f64);
        let mean = Tensor::stack(&[angle.cos(), angle.sin()], 1) * self.radius;
        mean + stream.normal(&[count, 2], options) * self.std
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotropy_core::Streams;

    #[test]
    fn each_mode_has_its_place_share_and_width() {
        let mut stream = Streams::new(2).stream("test", 0);
        let law = C4GaussiansConfig::default();
        let points = law.draw(100_000, (Kind::Double, Device::Cpu), &mut stream);
        for mean in [[3.0, 0.0], [0.0, 3.0], [-3.0, 0.0], [0.0, -3.0]] {
            let off = &points - Tensor::from_slice(&mean);
            let square = off.square().sum_dim_intlist(1, false, None);
            let near = square.lt(1.5f64.powi(2));
            let share = near.to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
            assert!((share - 0.25).abs() < 0.01, "share {share}");
            let square = square.masked_select(&near).mean(Kind::Double).double_value(&[]);
            assert!((square - 2.0 * 0.04).abs() < 0.002, "squared width {square}");
        }
    }
}
