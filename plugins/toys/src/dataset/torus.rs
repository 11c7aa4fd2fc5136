//! The surface of a torus, evenly by area (sism.md 3.1).

use isotropy_core::{Error, Result, Stream};
use isotropy_diffusion::{point_law, point_law::PointLaw};
use std::f64::consts::{PI, TAU};
use tch::{Device, Kind, Tensor};

point_law! {
    /// Points spread evenly by area over a torus about the z axis.
    TorusConfig {
        /// Distance of the middle of the tube from the axis.
        #[schemars(range(min = 0.0))]
        major_radius: f64 = 3.0,
        /// Radius of the tube; at most the major radius.
        #[schemars(range(min = 0.0))]
        minor_radius: f64 = 1.0,
    }
    "torus", 10_000,
    "the surface of a torus in space, evenly by area",
    r#"{"type": "torus"}"#
}

impl PointLaw for TorusConfig {
    fn dimension(&self) -> i64 {
        3
    }

    fn check(&self) -> Result<()> {
        let (large, small) = (self.major_radius, self.minor_radius);
        if !(large.is_finite() && large > 0.0) {
            return Err(Error::config("/major_radius", "the major radius must be positive"));
        }
        if !(small > 0.0 && small <= large) {
            let message = "the minor radius must be positive and at most the major radius";
            return Err(Error::config("/minor_radius", message));
        }
        Ok(())
    }

    fn draw(&self, count: i64, options: (Kind, Device), stream: &mut Stream) -> Tensor {
        let (large, small) = (self.major_radius, self.minor_radius);
        let around = stream.uniform(&[count], options) * TAU;
        let tube = stream.uniform(&[count], options) * TAU;
        // The density of the tube angle is 1 + q cos(tube), q = r / R, up to a constant. It and its
        // mirror image under tube -> pi - tube add up to a constant, so an even angle is kept with
        // probability (1 + q cos(tube)) / 2 and mirrored otherwise.
        let keep = stream
            .uniform(&[count], options)
            .lt_tensor(&((tube.cos() * (small / large) + 1.0) * 0.5));
        let tube = tube.where_self(&keep, &(PI - &tube));
        let from_axis = tube.cos() * small + large;
        Tensor::stack(
            &[&from_axis * around.cos(), &from_axis * around.sin(), tube.sin() * small],
            1,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotropy_core::Streams;

    #[test]
    fn points_lie_on_the_torus_evenly_by_area() {
        let law = TorusConfig::default();
        let mut stream = Streams::new(2).stream("test", 0);
        let points = law.draw(200_000, (Kind::Double, Device::Cpu), &mut stream);
        let (x, y, z) = (points.select(1, 0), points.select(1, 1), points.select(1, 2));
        let from_axis = (x.square() + y.square()).sqrt();
        let off = (&from_axis - 3.0).square() + z.square() - 1.0;
        assert!(off.abs().max().double_value(&[]) < 1e-12);
        let mean = |x: Tensor| x.mean(Kind::Double).double_value(&[]);
        // The half outside the middle circle has (pi R + 2 r) / (2 pi R) of the area.
        let outside = mean(from_axis.gt(3.0).to_kind(Kind::Double));
        assert!((outside - (PI * 3.0 + 2.0) / (TAU * 3.0)).abs() < 0.004, "outside: {outside}");
        // E z^2 = r^2 / 2 and E rho = R + r^2 / 2R.
        assert!((mean(z.square()) - 0.5).abs() < 0.004);
        assert!((mean(from_axis) - (3.0 + 1.0 / 6.0)).abs() < 0.006);
        assert!(mean(x).abs() < 0.02 && mean(y).abs() < 0.02);
    }
}
