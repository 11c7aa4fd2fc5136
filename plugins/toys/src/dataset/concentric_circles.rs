//! Concentric rings of constant density (sism.md 3.1).
//!
//! The released code draws points of a square and keeps those where
//! `(exp(-(r - 4)^2) + exp(-(r - 8)^2)) / 2 pi > 0.1`. That is a threshold, so the law is uniform on
//! the rings `|r - 4| < h` and `|r - 8| < h` with `h = sqrt(-ln(0.2 pi)) = 0.6817`; the two bumps
//! change each other's edge by less than 1e-4. Here radius and angle are drawn directly.

use isotropy_core::{Error, Result, Stream};
use isotropy_diffusion::{point_law, point_law::PointLaw};
use std::f64::consts::TAU;
use tch::{Device, Kind, Tensor};

point_law! {
    /// Points spread evenly over concentric rings about the origin of the plane.
    ConcentricCirclesConfig {
        /// Middle radius of each ring, increasing; rings must not overlap.
        #[schemars(length(min = 1))]
        radii: Vec<f64> = vec![4.0, 8.0],
        /// Half the width of each ring.
        #[schemars(range(min = 0.0))]
        half_width: f64 = (-(TAU / 10.0).ln()).sqrt(),
    }
    "concentric-circles", 10_000,
    "two rings of constant density in the plane",
    r#"{"type": "concentric-circles"}"#
}

impl PointLaw for ConcentricCirclesConfig {
    fn dimension(&self) -> i64 {
        2
    }

    fn check(&self) -> Result<()> {
        let h = self.half_width;
        if !(h.is_finite() && h > 0.0) {
            return Err(Error::config("/half_width", "the half width must be positive"));
        }
        let mut inside = 0.0;
        for (k, radius) in self.radii.iter().enumerate() {
            if !(radius.is_finite() && radius - h >= inside) {
                let message = format!("this ring reaches below radius {inside}: rings overlap");
                return Err(Error::config(format!("/radii/{k}"), message));
            }
            inside = radius + h;
        }
        if self.radii.is_empty() {
            return Err(Error::config("/radii", "there must be at least one ring"));
        }
        Ok(())
    }

    fn draw(&self, count: i64, options: (Kind, Device), stream: &mut Stream) -> Tensor {
        // The area of a ring, 4 pi R h, is proportional to its radius.
        let h = self.half_width;
        let total: f64 = self.radii.iter().sum();
        let mut sum = 0.0;
        let mut boundaries = Vec::with_capacity(self.radii.len());
        for radius in &self.radii[..self.radii.len() - 1] {
            sum += radius / total;
            boundaries.push(sum);
        }
        let constant =
            |list: &[f64]| Tensor::from_slice(list).to_kind(options.0).to_device(options.1);
        let ring = stream.uniform(&[count], options).bucketize(&constant(&boundaries), false, true);
        let middle = constant(&self.radii).index_select(0, &ring);
        let (inner, outer) = ((&middle - h).square(), (&middle + h).square());
        // r^2 is uniform where the density in the plane is.
        let r = (&inner + (&outer - &inner) * stream.uniform(&[count], options)).sqrt();
        let angle = stream.uniform(&[count], options) * TAU;
        Tensor::stack(&[&r * angle.cos(), &r * angle.sin()], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotropy_core::Streams;

    #[test]
    fn points_spread_evenly_over_the_area_of_the_rings() {
        let law = ConcentricCirclesConfig::default();
        let mut stream = Streams::new(2).stream("test", 0);
        let points = law.draw(200_000, (Kind::Double, Device::Cpu), &mut stream);
        let r = points.norm_scalaropt_dim(2, [1i64], false);
        let share = |mask: Tensor| mask.to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        let distance = (&r - 4.0).abs().minimum(&(&r - 8.0).abs());
        assert!(distance.max().double_value(&[]) <= 0.6818);
        // Areas 4 pi R h: 1/3 and 2/3; inside a ring the outer half has (2R + h) / 4R of it.
        assert!((share(r.lt(6.0)) - 1.0 / 3.0).abs() < 0.005);
        let outer_half = 2.0 / 3.0 * (16.0 + law.half_width) / 32.0;
        assert!((share(r.gt(8.0)) - outer_half).abs() < 0.005);
        let centre = points.mean_dim(0, false, Kind::Double).abs().max().double_value(&[]);
        assert!(centre < 0.06, "the rings are not centred: {centre}");
    }

    #[test]
    fn the_half_width_is_where_the_published_threshold_lies() {
        let r = 4.0 + ConcentricCirclesConfig::default().half_width;
        let bumps = (-(r - 4.0f64).powi(2)).exp() + (-(r - 8.0f64).powi(2)).exp();
        assert!((bumps / TAU - 0.1).abs() < 1e-4);
    }

    #[test]
    fn overlapping_rings_are_refused() {
        let law = ConcentricCirclesConfig { radii: vec![4.0, 5.0], ..Default::default() };
        assert!(law.check().unwrap_err().to_string().contains("overlap"));
    }
}
