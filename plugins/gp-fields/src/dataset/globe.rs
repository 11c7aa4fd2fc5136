//! Fields on the globe: points of the unit sphere, winds as tangent vectors, and the plane chart about a point.
//!
//! The x axis goes through latitude and longitude 0, the z axis through the north pole. All tensors are in the kind of
//! the angles.

use tch::Tensor;

/// Mean radius of the Earth in km (IUGG: `(2 a + b) / 3` of the GRS 80 ellipsoid).
pub const EARTH_RADIUS_KM: f64 = 6371.0088;

/// Directions at a point of the sphere: itself, east and north, each `[.., 3]`, orthonormal and right-handed
/// (`point x east = north`).
#[derive(Debug)]
pub struct Frame {
    /// The point, a unit vector.
    pub point: Tensor,
    /// The direction of growing longitude.
    pub east: Tensor,
    /// The direction of growing latitude.
    pub north: Tensor,
}

impl Frame {
    /// At latitudes and longitudes in radians, of one shape.
    pub fn at(latitude: &Tensor, longitude: &Tensor) -> Self {
        let (sin_lat, cos_lat) = (latitude.sin(), latitude.cos());
        let (sin_lon, cos_lon) = (longitude.sin(), longitude.cos());
        let stack = |x: Tensor, y: Tensor, z: Tensor| Tensor::stack(&[x, y, z], -1);
        Self {
            point: stack(&cos_lat * &cos_lon, &cos_lat * &sin_lon, sin_lat.shallow_clone()),
            east: stack(-&sin_lon, cos_lon.shallow_clone(), sin_lon.zeros_like()),
            north: stack(-&sin_lat * &cos_lon, -&sin_lat * &sin_lon, cos_lat),
        }
    }

    /// The tangent vector `u east + v north`, `[.., 3]`, of components `[.., 2]`.
    pub fn tangent(&self, components: &Tensor) -> Tensor {
        &self.east * components.narrow(-1, 0, 1) + &self.north * components.narrow(-1, 1, 1)
    }

    /// The components `[.., 2]` of a vector in the directions east and north of this frame.
    pub fn components(&self, vector: &Tensor) -> Tensor {
        Tensor::stack(&[dot(vector, &self.east), dot(vector, &self.north)], -1)
    }
}

fn dot(a: &Tensor, b: &Tensor) -> Tensor {
    (a * b).sum_dim_intlist(-1, false, a.kind())
}

/// Coordinates `[.., 2]` (east, north) of a point in the azimuthal equidistant chart about a centre: the distance from
/// the centre along the great circle, in radians, in the direction in which that circle leaves it.
///
/// With `theta` the angle between them, it is `theta / sin(theta)` times the part of the point that is tangent at the
/// centre. `theta` is `atan2(sin, cos)`, which keeps all digits near 0. Undefined at the antipode of the centre.
pub fn chart(centre: &Frame, point: &Tensor) -> Tensor {
    let cos = dot(point, &centre.point);
    let tangent = centre.components(point);
    let sin = dot(&tangent, &tangent).sqrt();
    let tiny = sin.lt(1e-12);
    let stretch = sin.atan2(&cos) / sin.where_self(&tiny.logical_not(), &sin.ones_like());
    let stretch = stretch.where_self(&tiny.logical_not(), &sin.ones_like());
    tangent * stretch.unsqueeze(-1)
}

/// A tangent vector at `point`, moved along the great circle to the centre, in components east and north there: parallel
/// transport `v - (q.v) / (1 + p.q) (p + q)` from `p` to `q`. Lengths stay, and so does the angle with the circle.
pub fn transport(centre: &Frame, point: &Tensor, vector: &Tensor) -> Tensor {
    let along = dot(vector, &centre.point) / (dot(point, &centre.point) + 1.0);
    centre.components(&(vector - along.unsqueeze(-1) * (point + &centre.point)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;
    use tch::{Device, Kind};

    const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

    fn frame(latitude: f64, longitude: f64) -> Frame {
        let scalar = |degrees: f64| Tensor::from_slice(&[degrees * PI / 180.0]);
        Frame::at(&scalar(latitude), &scalar(longitude))
    }

    fn close(a: &Tensor, b: &[f64], tolerance: f64) {
        let off = (a.view(-1) - Tensor::from_slice(b)).abs().max().double_value(&[]);
        assert!(off < tolerance, "{a} is not {b:?}");
    }

    #[test]
    fn frames_are_orthonormal_and_right_handed() {
        for (latitude, longitude) in [(0.0, 0.0), (35.0, -91.0), (-62.0, 200.0), (90.0, 10.0)] {
            let f = frame(latitude, longitude);
            close(
                &f.point.cross(&f.east, 1),
                &Vec::<f64>::try_from(f.north.view(-1)).unwrap(),
                1e-14,
            );
            close(&dot(&f.point, &f.point), &[1.0], 1e-14);
            close(&dot(&f.east, &f.east), &[1.0], 1e-14);
            close(&dot(&f.point, &f.east), &[0.0], 1e-14);
        }
        close(&frame(0.0, 0.0).point, &[1.0, 0.0, 0.0], 1e-15);
        close(&frame(0.0, 90.0).point, &[0.0, 1.0, 0.0], 1e-15);
        close(&frame(90.0, 0.0).point, &[0.0, 0.0, 1.0], 1e-15);
        // The directions are the derivatives of the point by the angles.
        let h = 1e-6;
        let step =
            (frame(35.0, -91.0 + h).point - frame(35.0, -91.0 - h).point) * (90.0 / (h * PI));
        let f = frame(35.0, -91.0);
        close(&(step / (35.0 * PI / 180.0).cos() - &f.east), &[0.0; 3], 1e-8);
        let step =
            (frame(35.0 + h, -91.0).point - frame(35.0 - h, -91.0).point) * (90.0 / (h * PI));
        close(&(step - &f.north), &[0.0; 3], 1e-8);
    }

    #[test]
    fn the_chart_keeps_distances_and_directions_from_the_centre() {
        let centre = frame(20.0, 50.0);
        close(&chart(&centre, &frame(27.0, 50.0).point), &[0.0, 7.0 * PI / 180.0], 1e-14);
        close(&chart(&centre, &centre.point), &[0.0, 0.0], 1e-15);
        let near = chart(&centre, &frame(20.0, 50.0 + 1e-7).point);
        close(&(near / (1e-7 * PI / 180.0)), &[(20.0 * PI / 180.0).cos(), 0.0], 1e-6);
        let equator = chart(&frame(0.0, 10.0), &frame(0.0, 130.0).point);
        close(&equator, &[120.0 * PI / 180.0, 0.0], 1e-14);
        // A haversine for the distance of a point that lies anywhere.
        let far = chart(&centre, &frame(-33.0, 91.0).point);
        let haversine = ((53.0_f64 / 2.0).to_radians().sin().powi(2)
            + 20_f64.to_radians().cos()
                * 33_f64.to_radians().cos()
                * (41.0_f64 / 2.0).to_radians().sin().powi(2))
        .sqrt()
        .asin()
            * 2.0;
        close(&dot(&far, &far).sqrt(), &[haversine], 1e-13);
    }

    #[test]
    fn transported_winds_keep_length_and_angle_with_the_great_circle() {
        let (centre, here) = (frame(20.0, 50.0), frame(41.0, 72.0));
        let wind = here.tangent(&Tensor::from_slice(&[3.0, -4.0]).view([1, 2]));
        let moved = transport(&centre, &here.point, &wind);
        close(&dot(&moved, &moved), &[25.0], 1e-12);
        // The great circle's own direction at the point is minus that of the chart as seen from there.
        let (there, back) = (chart(&centre, &here.point), chart(&here, &centre.point));
        let angle = |a: &Tensor, b: &Tensor| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        let before = angle(&Tensor::from_slice(&[3.0, -4.0]).view([1, 2]), &-back);
        close(&(angle(&moved, &there) - before), &[0.0], 1e-13);
        // At the centre nothing changes.
        let same = transport(
            &centre,
            &centre.point,
            &centre.tangent(&Tensor::from_slice(&[1.0, 2.0]).view([1, 2])),
        );
        close(&same, &[1.0, 2.0], 1e-14);
        let _ = F64;
    }
}
