//! Closed forms of the heat kernels, elementwise in double precision, accurate at every variance and
//! at every distance.
//!
//! Brownian motion has the generator `Laplacian / 2`, so `v` is the variance of each horizontal
//! coefficient. Densities refer to the uniform probability, so they tend to 1 as `v` grows. All
//! functions return `(log f, d log f / d angle)`.
//!
//! * circle: `1 + 2 sum cos(n a) exp(-n^2 v / 2)`, or by Poisson summation a sum over images;
//! * three-sphere: `f = -exp(v / 2) / (2 sin a) d/da` of the circle's kernel, hence a series and a sum
//!   over images too. Terms are paired so that nothing cancels: around `a = 0` images `k` and `-k`,
//!   around `a = pi` images `-j` and `j + 1`;
//! * SO(3) is the three-sphere with antipodes identified, at half the angle and a quarter of the
//!   variance: the mean over both preimages (sism.md 2.6; `v = eps^2`);
//! * the two-sphere is SO(3) modulo turns about the point: the mean of the kernel of SO(3) over the
//!   twist `2 psi`, where the angle `w` of a rotation with tilt `a` and twist `2 psi` has
//!   `cos(w/2) = cos(a/2) cos(psi)`. The integrand is smooth, periodic and positive, so the trapezoid
//!   rule converges faster than any power, and no far value is lost to cancellation as it is in
//!   Legendre's series.

use std::f64::consts::{LN_2, PI, TAU};
use tch::{Kind, Tensor};

/// Series above this variance, images below: both are then exact to rounding.
const SERIES: f64 = 2.5;

/// Angles below this are not resolved by the slopes: there the slope is proportional to the angle,
/// with relative error of its square.
const SMALL: f64 = 1e-5;

/// As [`SMALL`], for the two-sphere.
const TINY: f64 = 1e-8;

fn sum_last(a: &Tensor) -> Tensor {
    a.sum_dim_intlist([-1].as_slice(), false, None)
}

/// `value` where `v` is large, `other` elsewhere.
fn choose(large: &Tensor, value: (Tensor, Tensor), other: (Tensor, Tensor)) -> (Tensor, Tensor) {
    (value.0.where_self(large, &other.0), value.1.where_self(large, &other.1))
}

/// Evaluates only the forms that are needed where all variances are on one side.
fn by_variance(
    angle: &Tensor,
    v: &Tensor,
    images: impl Fn(&Tensor, &Tensor) -> (Tensor, Tensor),
    series: impl Fn(&Tensor, &Tensor) -> (Tensor, Tensor),
) -> (Tensor, Tensor) {
    let large = v.gt(SERIES);
    match on_one_side(&large) {
        Some(true) => series(angle, v),
        Some(false) => images(angle, v),
        None => {
            choose(&large, series(angle, &v.clamp_min(SERIES)), images(angle, &v.clamp_max(SERIES)))
        }
    }
}

/// Whether all are true, or all false: then one of two forms need not be evaluated.
fn on_one_side(flags: &Tensor) -> Option<bool> {
    if flags.numel() == 0 {
        return Some(false);
    }
    let (all, any) = (flags.all().int64_value(&[]) == 1, flags.any().int64_value(&[]) == 1);
    if all || !any { Some(all) } else { None }
}

/// The circle, for angles in `[-pi, pi]`.
pub fn circle(angle: &Tensor, v: &Tensor) -> (Tensor, Tensor) {
    let (angle, v) = broadcast(angle, v);
    by_variance(&angle, &v, circle_images, circle_series)
}

fn circle_images(angle: &Tensor, v: &Tensor) -> (Tensor, Tensor) {
    let shift = Tensor::arange_start(-2, 3, (Kind::Double, angle.device())) * TAU;
    let (away, v) = (angle.unsqueeze(-1) - shift, v.unsqueeze(-1));
    let exponent = away.square() / &v * -0.5;
    let weight = exponent.softmax(-1, Kind::Double);
    let v = v.squeeze_dim(-1);
    let log = exponent.logsumexp([-1].as_slice(), false) + (TAU / &v).log() * 0.5;
    (log, sum_last(&(weight * away)).neg() / v)
}

fn circle_series(angle: &Tensor, v: &Tensor) -> (Tensor, Tensor) {
    let n = Tensor::arange_start(1, 9, (Kind::Double, angle.device()));
    let weight = (v.unsqueeze(-1) * n.square() * -0.5).exp() * 2.0;
    let phase = angle.unsqueeze(-1) * &n;
    let f = sum_last(&(&weight * phase.cos())) + 1.0;
    let slope = sum_last(&(weight * n * phase.sin())).neg() / &f;
    (f.log(), slope)
}

/// The three-sphere, for angles in `[0, pi]`.
pub fn three_sphere(angle: &Tensor, v: &Tensor) -> (Tensor, Tensor) {
    let (angle, v) = broadcast(angle, v);
    // At both ends the slope vanishes linearly.
    let near = angle.clamp(SMALL, PI - SMALL);
    let (log, slope) = by_variance(&near, &v, three_sphere_images, three_sphere_series);
    // From there to the end the logarithm is a parabola.
    let end = angle.minimum(&(PI - &angle)).clamp(0.0, SMALL);
    let outwards = angle.le(0.5 * PI).to_kind(Kind::Double) * 2.0 - 1.0;
    let log = log - &slope * outwards * (SMALL * SMALL - end.square()) * (0.5 / SMALL);
    (log, slope * end / SMALL)
}

fn three_sphere_images(angle: &Tensor, v: &Tensor) -> (Tensor, Tensor) {
    let far = angle.gt(0.5 * PI);
    let about_zero = || images_about_zero(&angle.clamp_max(0.5 * PI), v);
    let about_pi = || {
        let (log, slope) = images_about_pi(&(PI - angle).clamp_max(0.5 * PI), v);
        (log, slope.neg())
    };
    let (log, slope) = match on_one_side(&far) {
        Some(true) => about_pi(),
        Some(false) => about_zero(),
        None => choose(&far, about_pi(), about_zero()),
    };
    // exp(v/2) sqrt(pi/2) v^(-3/2)
    let constant = v * 0.5 + 0.5 * (0.5 * PI).ln() - v.log() * 1.5;
    (log + constant, slope)
}

/// `sum_k (a - 2 pi k) exp(-(a - 2 pi k)^2 / 2v) / sin a` with images `k`, `-k` in pairs:
/// `a exp(-a^2/2v) / sin a` times `1 + sum_k [e+ + e- - 2 pi k (e+ - e-) / a]`.
fn images_about_zero(a: &Tensor, v: &Tensor) -> (Tensor, Tensor) {
    let (mut bracket, mut slope) = (a.ones_like(), a.zeros_like());
    for k in 1..=2 {
        let m = TAU * f64::from(k);
        // Exponents -m^2/2v +- m a/v.
        let rate = m / v;
        let plus = (&rate * (a - 0.5 * m)).exp();
        // e+ - e- = -e+ expm1(-2 m a/v), without cancellation.
        let difference = &plus * (&rate * a * -2.0).expm1().neg();
        let minus = &plus - &difference;
        let sum = plus + minus;
        bracket += &sum - &difference / a * m;
        // d/da: the sum becomes the difference times m/v, and the other way round.
        slope += &rate * &difference - (&rate * sum / a - &difference / a.square()) * m;
    }
    let log = a.square() / v * -0.5 + (a / a.sin()).log() + bracket.log();
    (log, slope / bracket - a / v + a.reciprocal() - a.tan().reciprocal())
}

/// The same around `a = pi - b`, with images `-j` and `j + 1` in pairs, `m = (2j + 1) pi`:
/// `sum_j exp(-(m - b)^2/2v) [m (1 - E) - b (1 + E)] / sin b`, `E = exp(-2 m b / v)`.
fn images_about_pi(b: &Tensor, v: &Tensor) -> (Tensor, Tensor) {
    let (mut total, mut slope) = (b.zeros_like(), b.zeros_like());
    for j in 0..=1 {
        let m = PI * f64::from(2 * j + 1);
        // Relative to the first pair: (m - b)^2 - (pi - b)^2 = (m - pi)(m + pi - 2b).
        let weight = ((PI + m - b * 2.0) * (PI - m) * 0.5 / v).exp();
        let weight_slope = (m - PI) / v;
        let rate = 2.0 * m / v;
        let less = (&rate * b).neg().expm1().neg();
        let e = 1.0 - &less;
        let part = &less / b * m - &e - 1.0;
        let part_slope = &rate * &e / b * m - less / b.square() * m + rate * &e;
        total += &weight * &part;
        slope += weight * (part_slope + weight_slope * part);
    }
    let log = (PI - b).square() / v * -0.5 + (b / b.sin()).log() + total.log();
    let slope = slope / total + (PI - b) / v + b.reciprocal() - b.tan().reciprocal();
    (log, slope)
}

/// `sum_n n U_(n-1)(cos a) exp(-(n^2 - 1) v / 2)` with Chebyshev polynomials of the second kind.
fn three_sphere_series(angle: &Tensor, v: &Tensor) -> (Tensor, Tensor) {
    let x = angle.cos();
    let (mut u0, mut u1) = (x.zeros_like(), x.ones_like());
    let (mut d0, mut d1) = (x.zeros_like(), x.zeros_like());
    let (mut f, mut slope) = (x.ones_like(), x.zeros_like());
    for n in 2..=8 {
        // U_(n-1) = 2 x U_(n-2) - U_(n-3), and its derivative.
        let u2 = &x * &u1 * 2.0 - &u0;
        let d2 = &x * &d1 * 2.0 + &u1 * 2.0 - &d0;
        let n = f64::from(n);
        let weight = (v * (-0.5 * (n * n - 1.0))).exp() * n;
        f += &weight * &u2;
        slope += weight * &d2;
        ((u0, u1), (d0, d1)) = ((u1, u2), (d1, d2));
    }
    (f.log(), slope * angle.sin().neg() / f)
}

/// SO(3), for angles of rotation in `[0, pi]`.
pub fn rotations(angle: &Tensor, v: &Tensor) -> (Tensor, Tensor) {
    let (angle, v) = broadcast(angle, v);
    let (half, v) = (angle * 0.5, v * 0.25);
    let near = three_sphere(&half, &v);
    let far = three_sphere(&(PI - &half), &v);
    let log = near.0.logaddexp(&far.0) - LN_2;
    // The share of each preimage; f64 sigmoid underflows to 0 harmlessly.
    let share = (&near.0 - &far.0).sigmoid();
    let slope = (&share * near.1 - (1.0 - &share) * far.1) * 0.5;
    (log, slope)
}

/// The two-sphere, for angles in `[0, pi]`.
pub fn two_sphere(angle: &Tensor, v: &Tensor) -> (Tensor, Tensor) {
    let (angle, v) = broadcast(angle, v);
    // At angle 0 the slope is 0/0 below, and really 0.
    let ramp = angle.clamp(0.0, TINY) / TINY;
    let angle = angle.clamp(TINY, PI);
    // The narrowest peak over psi has the width sqrt(v) / 2; 0.7 of that as a step leaves an error of
    // exp(-2 pi^2 / 0.7^2) = 1e-17.
    let smallest = if v.numel() == 0 { 1.0 } else { v.min().double_value(&[]).max(1e-8) };
    let step = 0.35 * smallest.sqrt();
    let count = ((0.5 * PI / step).ceil() as i64).max(12);
    let psi = Tensor::arange(count + 1, (Kind::Double, angle.device())) * (0.5 * PI / count as f64);
    // Where all that is asked lies within reach of a narrow peak, the rest of psi adds nothing.
    let reach = 9.0 * 0.55 * smallest.sqrt();
    let narrow = v.numel() > 0
        && angle.max().double_value(&[]) < 1.3
        && v.max().double_value(&[]) <= 1.0001 * smallest;
    let kept =
        if narrow { count.min((reach / (0.5 * PI) * count as f64) as i64 + 1) } else { count };
    let psi = psi.narrow(0, 0, kept + 1);
    // Both ends of [0, pi/2] count half; the factor is the step over pi/2.
    let weight = Tensor::ones([kept + 1], (Kind::Double, angle.device()));
    let _ = weight.narrow(0, 0, 1).fill_(0.5);
    if kept == count {
        let _ = weight.narrow(0, count, 1).fill_(0.5);
    }
    let half = angle.unsqueeze(-1) * 0.5;
    // sin(w/2)^2 = sin(a/2)^2 + cos(a/2)^2 sin(psi)^2, accurate for small angles.
    let cos = half.cos() * psi.cos();
    let sin = (half.sin().square() + (half.cos() * psi.sin()).square()).sqrt();
    let omega = sin.atan2(&cos) * 2.0;
    let (log, slope) = rotations(&omega, &v.unsqueeze(-1));
    // dw/da = sin(a/2) cos(psi) / sin(w/2).
    let slope = slope * half.sin() * psi.cos() / sin;
    let exponent = log + weight.log();
    let share = exponent.softmax(-1, Kind::Double);
    let log = exponent.logsumexp([-1].as_slice(), false) - (count as f64).ln();
    (log, sum_last(&(share * slope)) * ramp)
}

fn broadcast(angle: &Tensor, v: &Tensor) -> (Tensor, Tensor) {
    let angle = angle.to_kind(Kind::Double);
    let v = v.to_kind(Kind::Double).to_device(angle.device());
    let pair = Tensor::broadcast_tensors(&[&angle, &v]);
    (pair[0].shallow_clone(), pair[1].shallow_clone())
}
