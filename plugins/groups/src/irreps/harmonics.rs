//! Real spherical harmonics as polynomials in the components of the vector.
//!
//! With `A_m + i B_m = (x + i y)^m` and `r^2 = |v|^2`, the solid harmonics of order 0 and above are
//! `q_l^m(z, r^2) A_m`, those of order `-m` are `q_l^m B_m`. The `q` follow the three-term recurrence
//! of the normalised associated Legendre functions,
//! `q_l^m = a_lm (z q_(l-1)^m - b_lm r^2 q_(l-2)^m)` with `a_lm^2 = (4l^2-1)/(l^2-m^2)` and
//! `b_lm^2 = ((l-1)^2-m^2)/(4(l-1)^2-1)` (Abramowitz and Stegun 8.5.3 in that normalisation; stable
//! upwards in `l`). No angle occurs, hence derivatives are finite everywhere, on the z axis too.

use std::f64::consts::PI;
use tch::Tensor;

/// What the squares of the components of one degree add up to on the unit sphere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Normalisation {
    /// `(2l+1)/(4 pi)`: orthonormal in the integral over the sphere, the physicists' choice.
    Integral,
    /// `2l+1`: every component is of order 1; networks use this one.
    #[default]
    Component,
    /// 1: the components are a unit vector.
    Norm,
}

impl Normalisation {
    /// The factor against [`Normalisation::Integral`].
    fn factor(self, l: i64) -> f64 {
        match self {
            Self::Integral => 1.0,
            Self::Component => (4.0 * PI).sqrt(),
            Self::Norm => (4.0 * PI / (2 * l + 1) as f64).sqrt(),
        }
    }
}

/// `|v|^l Y_l^m(v)` for all degrees up to `l_max`: vectors `[.., 3]` to `[.., (l_max + 1)^2]`, degree
/// by degree, `m = -l .. l` in each; degree `l` starts at `l^2`. Homogeneous polynomials of degree
/// `l`: smooth everywhere, zero included.
pub fn solid_harmonics(l_max: i64, v: &Tensor, normalisation: Normalisation) -> Tensor {
    let (x, y, z) = (v.select(-1, 0), v.select(-1, 1), v.select(-1, 2));
    let r2 = &x * &x + &y * &y + &z * &z;
    let one = z.ones_like();
    // (x + i y)^m.
    let mut powers = vec![(one.shallow_clone(), z.zeros_like())];
    for m in 1..=l_max as usize {
        let (a, b) = &powers[m - 1];
        let next = (&x * a - &y * b, &x * b + &y * a);
        powers.push(next);
    }
    let count = (l_max + 1) * (l_max + 1);
    let mut components: Vec<Option<Tensor>> = (0..count).map(|_| None).collect();
    // The value of q_m^m, a number.
    let mut diagonal = (0.25 / PI).sqrt();
    for m in 0..=l_max {
        if m > 0 {
            diagonal *= ((2 * m + 1) as f64 / (2 * m) as f64).sqrt();
        }
        let (a, b) = &powers[m as usize];
        let mut before = None;
        let mut q = &one * diagonal;
        for l in m..=l_max {
            if l > m {
                let next = step(l, m, &z, &r2, &q, before.as_ref());
                before = Some(std::mem::replace(&mut q, next));
            }
            let factor = normalisation.factor(l);
            let place = |order: i64| (l * l + l + order) as usize;
            if m == 0 {
                components[place(0)] = Some(&q * factor);
            } else {
                components[place(m)] = Some(&q * a * (factor * 2f64.sqrt()));
                components[place(-m)] = Some(&q * b * (factor * 2f64.sqrt()));
            }
        }
    }
    let components: Vec<Tensor> =
        components.into_iter().map(|c| c.expect("every degree and order was visited")).collect();
    Tensor::stack(&components, -1)
}

/// `q_l^m` from the two degrees below.
fn step(l: i64, m: i64, z: &Tensor, r2: &Tensor, q: &Tensor, before: Option<&Tensor>) -> Tensor {
    let square = |n: i64| (n * n) as f64;
    let a = ((4.0 * square(l) - 1.0) / (square(l) - square(m))).sqrt();
    match before {
        None => z * q * a,
        Some(before) => {
            let b = ((square(l - 1) - square(m)) / (4.0 * square(l - 1) - 1.0)).sqrt();
            (z * q - r2 * before * b) * a
        }
    }
}

/// `Y_l^m` of the directions of vectors `[.., 3]`, laid out as by [`solid_harmonics`].
///
/// The zero vector has no direction: there, every degree but 0 is 0, with a zero derivative. That is
/// what a sum over neighbours wants of a point and itself.
pub fn spherical_harmonics(l_max: i64, v: &Tensor, normalisation: Normalisation) -> Tensor {
    // Division by the largest component first: squares of tiny or huge numbers would be lost.
    let size = v.detach().abs().amax(-1, true);
    let lost = size.le(0.0);
    let scaled = v / size.ones_like().where_self(&lost, &size);
    let square = (&scaled * &scaled).sum_dim_intlist(-1, true, None);
    let norm = square.ones_like().where_self(&lost, &square).sqrt();
    let unit = (scaled / norm).masked_fill(&lost, 0.0);
    solid_harmonics(l_max, &unit, normalisation)
}
