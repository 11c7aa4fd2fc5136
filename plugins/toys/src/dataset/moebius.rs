//! The Moebius strip of the toy experiments (sism.md 3.1).

use isotropy_core::{Error, Result, Stream};
use isotropy_diffusion::{point_law, point_law::PointLaw};
use std::f64::consts::TAU;
use tch::{Device, Kind, Tensor};

point_law! {
    /// A Moebius strip about the z axis with middle radius 1, even in its parameters (angle and
    /// position across the strip), not in area.
    MoebiusConfig {
        /// The position across the strip runs from minus to plus this; the strip is this wide.
        #[schemars(range(min = 0.0))]
        width: f64 = 1.0,
    }
    "moebius", 10_000,
    "a Moebius strip in space",
    r#"{"type": "moebius"}"#
}

impl PointLaw for MoebiusConfig {
    fn dimension(&self) -> i64 {
        3
    }

    fn check(&self) -> Result<()> {
        if !(self.width.is_finite() && self.width > 0.0) {
            return Err(Error::config("/width", "the width must be positive"));
        }
        Ok(())
    }

    fn draw(&self, count: i64, options: (Kind, Device), stream: &mut Stream) -> Tensor {
        let u = stream.uniform(&[count], options) * TAU;
        let half_v = stream.uniform(&[count], options) * self.width - 0.5 * self.width;
        let half_u = &u * 0.5;
        let from_axis = half_u.cos() * &half_v + 1.0;
        Tensor::stack(&[&from_axis * u.cos(), &from_axis * u.sin(), half_v * half_u.sin()], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotropy_core::Streams;

    #[test]
    fn points_lie_on_the_strip_evenly_in_its_parameters() {
        let mut stream = Streams::new(2).stream("test", 0);
        let points =
            MoebiusConfig::default().draw(200_000, (Kind::Double, Device::Cpu), &mut stream);
        let (x, y, z) = (points.select(1, 0), points.select(1, 1), points.select(1, 2));
        let across = (x.square() + y.square()).sqrt() - 1.0;
        let half_u = y.atan2(&x) * 0.5;
        // (rho - 1, z) is v/2 (cos u/2, sin u/2), whichever branch u is taken from.
        let off = &across * half_u.sin() - &z * half_u.cos();
        assert!(off.abs().max().double_value(&[]) < 1e-12);
        let half_v = (across.square() + z.square()).sqrt();
        assert!(half_v.max().double_value(&[]) <= 0.5);
        let mean = |x: Tensor| x.mean(Kind::Double).double_value(&[]);
        // v/2 is even on (-1/2, 1/2): E (v/2)^2 = 1/12, and sin^2 halves it for z.
        assert!((mean(half_v.square()) - 1.0 / 12.0).abs() < 0.001);
        assert!((mean(z.square()) - 1.0 / 24.0).abs() < 0.001);
    }
}
