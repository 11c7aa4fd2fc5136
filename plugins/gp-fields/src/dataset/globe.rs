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
