//! The map from the length of a normal vector to the angle of a draw of the heat kernel, tabulated on
//! the host: inversion of the distribution function of the angle.

use super::{dimension, evaluate, measure};
use isotropy_core::Space;
use std::f64::consts::PI;
use tch::{Device, Kind, Tensor};

/// Scales of the table, equally spaced in the logarithm.
pub(super) const SCALES: usize = 288;
/// Lengths of the table, equally spaced from 0.
pub(super) const LENGTHS: usize = 192;
/// Smallest scale; below it the map is that of flat space within `SMALLEST^2 / 10`.
pub(super) const SMALLEST: f64 = 5e-3;
/// Largest scale; there the law is uniform within 1e-7 on every space.
pub(super) const LARGEST: f64 = 6.0;
/// Largest length; a longer normal vector of three components has probability 3e-9.
pub(super) const LONGEST: f64 = 6.5;

/// Cells of the numerical integration, each by Simpson's rule.
const CELLS: usize = 240;

/// `SCALES x LENGTHS x 2` numbers: `angle / (eps rho)` and `-eps score / rho`.
pub(super) fn tabulate(space: Space) -> Vec<f64> {
    let lengths: Vec<f64> = (0..LENGTHS)
        // The quotients at length 0 are limits; this close they are reached.
        .map(|i| (LONGEST * i as f64 / (LENGTHS - 1) as f64).max(1e-3))
        .collect();
    let levels = chi(dimension(space), &lengths);
    let mut numbers = Vec::with_capacity(SCALES * LENGTHS * 2);
    let step = (LARGEST / SMALLEST).ln() / (SCALES - 1) as f64;
    for row in 0..SCALES {
        let eps = SMALLEST * (step * row as f64).exp();
        let angles = invert(space, eps, &levels);
        let v = Tensor::from(eps * eps).view([1]);
        let slope = evaluate(space, &Tensor::from_slice(&angles), &v).1;
        for (i, (rho, angle)) in lengths.iter().zip(&angles).enumerate() {
            numbers.push(angle / (eps * rho));
            numbers.push(-eps * slope.double_value(&[i as i64]) / rho);
        }
    }
    numbers
}

/// A level of a distribution function, by whichever tail is the smaller.
#[derive(Debug, Clone, Copy)]
struct Level {
    below: f64,
    above: f64,
}

/// Levels of the length of a standard normal vector of `d` components.
fn chi(d: i64, lengths: &[f64]) -> Vec<Level> {
    let x = Tensor::from_slice(lengths);
    let half = x.square() * 0.5;
    let density = (&half * -1.0).exp() * (2.0 / PI).sqrt() * &x;
    let scaled: Tensor = &x / 2f64.sqrt();
    let (below, above) = match d {
        1 => (scaled.erf(), scaled.erfc()),
        2 => (half.neg().expm1().neg(), half.neg().exp()),
        _ => {
            // erf(x/sqrt 2) - sqrt(2/pi) x exp(-x^2/2) loses its digits for short vectors.
            let series: Tensor = x.pow_tensor_scalar(3)
                * (2.0 / PI).sqrt()
                * (1.0 / 3.0 - x.square() / 10.0 + x.square().square() / 56.0);
            let below = series.where_self(&x.lt(0.03), &(scaled.erf() - &density));
            (below, scaled.erfc() + density)
        }
    };
    let at = |t: &Tensor, i: usize| t.double_value(&[i as i64]);
    (0..lengths.len()).map(|i| Level { below: at(&below, i), above: at(&above, i) }).collect()
}

/// The angles at which the distribution function of the kernel takes the levels.
fn invert(space: Space, eps: f64, levels: &[Level]) -> Vec<f64> {
    // Beyond this the mass is below that of the longest vector.
    let end = PI.min(9.0 * eps);
    let nodes = Tensor::arange(2 * CELLS as i64 + 1, (Kind::Double, Device::Cpu))
        * (end / (2 * CELLS) as f64);
    let v = Tensor::from(eps * eps).view([1]);
    let density: Tensor = evaluate(space, &nodes, &v).0.exp() * measure(space, &nodes);
    let density: Vec<f64> = (0..=2 * CELLS).map(|i| density.double_value(&[i as i64])).collect();
    let width = end / CELLS as f64;
    let mass =
        |c: usize| (density[2 * c] + 4.0 * density[2 * c + 1] + density[2 * c + 2]) * (width / 6.0);
    let (mut below, mut above) = (vec![0.0; CELLS + 1], vec![0.0; CELLS + 1]);
    for c in 0..CELLS {
        below[c + 1] = below[c] + mass(c);
    }
    for c in (0..CELLS).rev() {
        above[c] = above[c + 1] + mass(c);
    }
    // Both tails in the same unit, in which the whole is 1.
    let total = below[CELLS];
    levels
        .iter()
        .map(|level| {
            let lower = level.below < level.above;
            let c = if lower {
                below.partition_point(|b| b / total <= level.below).clamp(1, CELLS) - 1
            } else {
                above.partition_point(|a| a / total > level.above).clamp(1, CELLS) - 1
            };
            let wanted =
                if lower { level.below * total - below[c] } else { above[c] - level.above * total };
            let parts = [density[2 * c], density[2 * c + 1], density[2 * c + 2]];
            width * (c as f64 + within(parts, wanted / width))
        })
        .collect()
}

/// Where in a cell of unit width the integral of the parabola through three values reaches `wanted`.
fn within([a, b, c]: [f64; 3], wanted: f64) -> f64 {
    let (linear, square) = (-3.0 * a + 4.0 * b - c, 2.0 * a - 4.0 * b + 2.0 * c);
    let integral = |x: f64| x * (a + x * (linear / 2.0 + x * square / 3.0));
    let (low, high) = isotropy_core::bisect(0.0, 1.0, |x| integral(x) < wanted);
    0.5 * (low + high)
}
