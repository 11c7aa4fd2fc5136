//! Motions of the plane, and pictures moved by them.

use isotropy_core::Element;
use isotropy_groups::group::rotation_math as math;
use tch::{Device, Kind, Tensor};

/// A motion of the plane: angles `[B, 1]` (radians, unwrapped) and shifts `[B, 2]` (pixels).
#[derive(Debug)]
pub struct Motion {
    /// The angle.
    pub angle: Tensor,
    /// The shift.
    pub shift: Tensor,
}

impl Clone for Motion {
    /// Shallow: the tensors are shared.
    fn clone(&self) -> Self {
        Self { angle: self.angle.shallow_clone(), shift: self.shift.shallow_clone() }
    }
}

/// Vectors `[B, 2]` turned by angles `[B, 1]`.
pub fn turn(angle: &Tensor, v: &Tensor) -> Tensor {
    let (x, y) = (v.narrow(1, 0, 1), v.narrow(1, 1, 1));
    let (cos, sin) = (angle.cos(), angle.sin());
    Tensor::cat(&[&cos * &x - &sin * &y, sin * x + cos * y], 1)
}

/// Vectors `[B, 2]` turned by a quarter, counter-clockwise.
pub fn quarter(v: &Tensor) -> Tensor {
    Tensor::cat(&[v.narrow(1, 1, 1).neg(), v.narrow(1, 0, 1)], 1)
}

impl Motion {
    /// No motion, of so many points.
    pub fn identity(batch: i64, options: (Kind, Device)) -> Self {
        Self {
            angle: Tensor::zeros([batch, 1], options),
            shift: Tensor::zeros([batch, 2], options),
        }
    }

    /// `self first`: the other one first.
    #[must_use]
    pub fn after(&self, first: &Self) -> Self {
        Self {
            angle: &self.angle + &first.angle,
            shift: turn(&self.angle, &first.shift) + &self.shift,
        }
    }

    /// The inverse.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let back = self.angle.neg();
        Self { shift: turn(&back, &self.shift).neg(), angle: back }
    }

    /// `exp(omega, v)`: that of [`Se2`](isotropy_groups::group::Se2), with the angle kept unwrapped.
    pub fn exp(omega: &Tensor, v: &Tensor) -> Self {
        let s = omega.square();
        let shift = math::sinc(&s) * v + omega * math::one_minus_cos(&s) * quarter(v);
        Self { angle: omega.shallow_clone(), shift }
    }

    /// The motion of a group element; its angle in `[-pi, pi]`.
    pub fn of(g: &Element) -> Self {
        let (rotation, shift) = math::split_homogeneous(g.single());
        let column = rotation.select(-1, 0);
        Self { angle: column.narrow(-1, 1, 1).atan2(&column.narrow(-1, 0, 1)), shift }
    }

    /// Images `[B, .., H, W]`, moved: interpolated once, zero where nothing was. Differentiable in
    /// image and motion.
    pub fn render(&self, images: &Tensor) -> Tensor {
        let shape = images.size();
        let (batch, rank) = (shape[0], shape.len());
        let (height, width) = (shape[rank - 2], shape[rank - 1]);
        if batch == 0 {
            return images.shallow_clone();
        }
        // Rows of the map x -> R(-theta) (x - p) from output to input positions, in coordinates that
        // run from -1 to 1 to the right and downwards; their unit is half a width or half a height.
        let (cos, sin) = (self.angle.cos(), self.angle.sin());
        let (px, py) = (self.shift.narrow(1, 0, 1), self.shift.narrow(1, 1, 1));
        let (half_width, half_height) = (0.5 * width as f64, 0.5 * height as f64);
        let aspect = half_height / half_width;
        let across = (&cos * &px + &sin * &py) / -half_width;
        let down = (&cos * py - &sin * px) / half_height;
        let rows = [&cos, &(&sin * -aspect), &across, &(&sin / aspect), &cos, &down];
        let matrix = Tensor::cat(&rows, 1).reshape([batch, 2, 3]);
        let flat = images.reshape([batch, -1, height, width]);
        let grid = Tensor::affine_grid_generator(&matrix, flat.size(), false);
        // Mode 0 is bilinear, padding 0 is zeros.
        flat.grid_sampler(&grid, 0, 0, false).reshape(shape)
    }

    /// In double precision.
    pub(super) fn double(&self) -> Self {
        Self { angle: self.angle.to_kind(Kind::Double), shift: self.shift.to_kind(Kind::Double) }
    }
}

/// What tests of motions start from.
#[cfg(test)]
pub(super) mod examples {
    use crate::action::motion::Motion;
    use tch::{Device, Kind, Tensor};

    pub const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

    pub fn worst(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    /// One motion.
    pub fn motion(angle: f64, shift: [f64; 2]) -> Motion {
        Motion {
            angle: Tensor::from_slice(&[angle]).reshape([1, 1]),
            shift: Tensor::from_slice(&shift).reshape([1, 2]),
        }
    }

    /// A black image with one white pixel.
    pub fn dot(height: i64, width: i64, row: i64, column: i64) -> Tensor {
        let image = Tensor::zeros([1, 1, height, width], F64);
        let _ = image.get(0).get(0).get(row).get(column).fill_(1.0);
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::image_rotation::rotate;
    use crate::action::motion::examples::{F64, dot, motion, worst};
    use isotropy_core::{Group, LieGroup, Stream, Streams, Xi};
    use isotropy_groups::group::Se2;
    use std::f64::consts::PI;

    #[test]
    fn shifts_are_in_pixels_to_the_right_and_upwards() {
        for (height, width) in [(9, 9), (7, 11)] {
            let moved = motion(0.0, [2.0, 1.0]).render(&dot(height, width, 3, 4));
            assert!(worst(&moved, &dot(height, width, 2, 6)) < 1e-12);
        }
    }

    #[test]
    fn a_motion_turns_first_and_shifts_then() {
        // Two to the right of the centre; a quarter turn takes it two up, then one right, one down.
        let moved = motion(PI / 2.0, [1.0, -1.0]).render(&dot(9, 9, 4, 6));
        assert!(worst(&moved, &dot(9, 9, 3, 5)) < 1e-12);
        let image = Streams::new(1).stream("image", 0).uniform(&[1, 2, 9, 7], F64);
        let angle = Tensor::from_slice(&[0.7]);
        assert!(worst(&motion(0.7, [0.0, 0.0]).render(&image), &rotate(&image, &angle)) < 1e-12);
    }

    #[test]
    fn motions_are_the_group_with_an_unwrapped_angle() {
        let mut stream = Streams::new(2).stream("motions", 0);
        let xi = |stream: &mut Stream| Xi::from(stream.normal(&[5, 3], F64));
        let (a, b) = (xi(&mut stream), xi(&mut stream));
        let of = |xi: &Xi| Motion::exp(&xi.single().narrow(1, 0, 1), &xi.single().narrow(1, 1, 2));
        let (g, h) = (Se2.exp(&a), Se2.exp(&b));
        let product = Motion::of(&Se2.compose(&g, &h));
        let same = |a: &Motion, b: &Motion| {
            let angle = isotropy_groups::group::wrap(&(&a.angle - &b.angle));
            assert!(angle.abs().max().double_value(&[]) < 1e-12);
            assert!(worst(&a.shift, &b.shift) < 1e-12);
        };
        same(&of(&a).after(&of(&b)), &product);
        same(&of(&a).inverse(), &Motion::of(&Se2.inverse(&g)));
    }
}
