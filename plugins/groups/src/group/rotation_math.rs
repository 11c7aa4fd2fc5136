//! Formulas for rotations that stay accurate, and have finite derivatives, at angle 0 and at pi.
//!
//! `s` is the squared angle. The functions of `s` below are analytic; near 0 their Taylor series is
//! used, and the closed form sees a harmless argument there, so that autodiff never meets `0/0`. Where
//! nothing is differentiated, closed forms that lose no digits near 0 are taken everywhere: a tenth of
//! the operations.

use std::f64::consts::PI;
use tch::{Kind, Tensor};

/// `series` (coefficients of powers of `s`) below `threshold`, `closed(sqrt(s))` above it.
fn analytic(
    s: &Tensor,
    threshold: f64,
    series: &[f64],
    closed: impl FnOnce(&Tensor) -> Tensor,
) -> Tensor {
    let small = s.lt(threshold);
    let near = s.where_self(&small, &s.zeros_like());
    let far = s.ones_like().where_self(&small, s).sqrt();
    let (last, rest) = series.split_last().expect("a series has coefficients");
    let mut sum = near.ones_like() * *last;
    for coefficient in rest.iter().rev() {
        sum = sum * &near + *coefficient;
    }
    sum.where_self(&small, &closed(&far))
}

/// `(-1)^k / (2k + offset)!` for `k < terms`.
fn factorial_series(offset: u64, terms: u64) -> Vec<f64> {
    (0..terms)
        .map(|k| {
            let factorial: f64 = (1..=2 * k + offset).map(|n| n as f64).product();
            if k % 2 == 0 { 1.0 / factorial } else { -1.0 / factorial }
        })
        .collect()
}

/// The angle of a squared angle that is not differentiated, with the least normal number in place of
/// zero.
fn angle(s: &Tensor) -> Tensor {
    s.sqrt().clamp_min(if s.kind() == Kind::Double { f64::MIN_POSITIVE } else { 1.2e-38 })
}

/// `sin(a) / a`.
pub fn sinc(s: &Tensor) -> Tensor {
    let closed = |a: &Tensor| a.sin() / a;
    if s.requires_grad() {
        analytic(s, 0.05, &factorial_series(1, 6), closed)
    } else {
        closed(&angle(s))
    }
}

/// `(1 - cos(a)) / a^2`.
pub fn one_minus_cos(s: &Tensor) -> Tensor {
    let closed = |a: &Tensor| {
        let half_sine = (a * 0.5).sin() / a;
        half_sine.square() * 2.0
    };
    if s.requires_grad() {
        analytic(s, 0.05, &factorial_series(2, 6), closed)
    } else {
        closed(&angle(s))
    }
}

/// `(a - sin(a)) / a^3`.
pub fn minus_sin(s: &Tensor) -> Tensor {
    analytic(s, 1.0, &factorial_series(3, 9), |a| (a - a.sin()) / a.pow_tensor_scalar(3))
}

/// `(1 - (a/2) cot(a/2)) / a^2`, for angles up to pi.
pub fn one_minus_cot(s: &Tensor) -> Tensor {
    // |B_2k| / (2k)! = 2 zeta(2k) / (2 pi)^2k.
    const ZETA: [f64; 10] = [
        1.644_934_066_848_226_4,
        1.082_323_233_711_138_2,
        1.017_343_061_984_449,
        1.004_077_356_197_944_3,
        1.000_994_575_127_818_1,
        1.000_246_086_553_308,
        1.000_061_248_135_058_7,
        1.000_015_282_259_408_7,
        1.000_003_817_293_265,
        1.000_000_953_962_033_9,
    ];
    let series: Vec<f64> = ZETA
        .iter()
        .enumerate()
        .map(|(k, zeta)| 2.0 * zeta / (2.0 * PI).powi(2 * (k as i32 + 1)))
        .collect();
    analytic(s, 1.0, &series, |a| {
        let half = a * 0.5;
        (1.0 - &half * half.cos() / half.sin()) / a.square()
    })
}

/// The squared norm over the last axis, which is kept.
pub fn square_norm(a: &Tensor) -> Tensor {
    a.square().sum_dim_intlist(-1, true, None)
}

/// The skew matrices `[.., 3, 3]` with `hat(a) b = a x b`, for `a` `[.., 3]`.
pub fn hat(a: &Tensor) -> Tensor {
    let (x, y, z) = (a.select(-1, 0), a.select(-1, 1), a.select(-1, 2));
    let zero = x.zeros_like();
    let rows = [
        Tensor::stack(&[&zero, &z.neg(), &y], -1),
        Tensor::stack(&[&z, &zero, &x.neg()], -1),
        Tensor::stack(&[&y.neg(), &x, &zero], -1),
    ];
    Tensor::stack(&rows, -2)
}

/// `1 + hat(axial) + u v^T - (u . v)`, entry by entry (products of small matrices cost more), for
/// `u` a multiple of `v`; all `[.., 3]`.
fn rotation(axial: &Tensor, u: &Tensor, v: &Tensor) -> Tensor {
    let [ax, ay, az] = [0, 1, 2].map(|k| axial.select(-1, k));
    let [ux, uy, uz] = [0, 1, 2].map(|k| u.select(-1, k));
    let [x, y, z] = [0, 1, 2].map(|k| v.select(-1, k));
    let (xx, yy, zz) = (&ux * &x, &uy * &y, &uz * &z);
    let (xy, xz, yz) = (&ux * &y, &ux * &z, &uy * &z);
    let entries: [Tensor; 9] = [
        1.0 - (&yy + &zz),
        &xy - &az,
        &xz + &ay,
        &xy + &az,
        1.0 - (&xx + &zz),
        &yz - &ax,
        &xz - &ay,
        &yz + &ax,
        1.0 - (&xx + &yy),
    ];
    Tensor::stack(&entries, -1).unflatten(-1, [3, 3])
}

/// Rotation matrices of rotation vectors (Rodrigues): `1 + sinc hat + (1 - cos)/a^2 hat^2`.
pub fn exp_so3(xi: &Tensor) -> Tensor {
    let s = square_norm(xi);
    rotation(&(sinc(&s) * xi), &(one_minus_cos(&s) * xi), xi)
}

/// `exp(w) x` along an axis of length 3 (Rodrigues), for rotation vectors `w` that broadcast against
/// `x`: without the matrix, whose nine entries cost more than two vector products.
pub fn rotate(w: &Tensor, x: &Tensor, axis: i64) -> Tensor {
    let s = w.square().sum_dim_intlist(axis, true, None);
    let first = w.linalg_cross(x, axis);
    let second = w.linalg_cross(&first, axis);
    x + first * sinc(&s) + second * one_minus_cos(&s)
}

/// Unit quaternions `(w, x, y, z)`, `[.., 4]`, of rotation matrices. Of the four rows of
/// `4 q q^T`, which the matrix gives without a root, the one with the largest diagonal entry is
/// normalised (Shepperd 1978 picks by the same rule), so that no digits are lost at any angle.
pub fn quaternion(r: &Tensor) -> Tensor {
    let at = |i: i64, j: i64| r.select(-2, i).select(-1, j);
    let (xx, yy, zz) = (at(0, 0), at(1, 1), at(2, 2));
    let (wx, wy, wz) = (at(2, 1) - at(1, 2), at(0, 2) - at(2, 0), at(1, 0) - at(0, 1));
    let (xy, xz, yz) = (at(0, 1) + at(1, 0), at(0, 2) + at(2, 0), at(1, 2) + at(2, 1));
    let diagonal = [
        &xx + &yy + &zz + 1.0,
        &xx - &yy - &zz + 1.0,
        &yy - &xx - &zz + 1.0,
        &zz - &xx - &yy + 1.0,
    ];
    let rows = [
        Tensor::stack(&[&diagonal[0], &wx, &wy, &wz], -1),
        Tensor::stack(&[&wx, &diagonal[1], &xy, &xz], -1),
        Tensor::stack(&[&wy, &xy, &diagonal[2], &yz], -1),
        Tensor::stack(&[&wz, &xz, &yz, &diagonal[3]], -1),
    ];
    let rows = Tensor::stack(&rows, -2);
    let best = Tensor::stack(&diagonal, -1).argmax(-1, true).unsqueeze(-1);
    let mut size = rows.size();
    let rank = size.len();
    size[rank - 2] = 1;
    let row = rows.gather(-2, &best.expand(&size, false), false).squeeze_dim(-2);
    &row / square_norm(&row).sqrt()
}

/// Rotation matrices of unit quaternions `(w, v)`: `1 + 2 w hat(v) + 2 hat(v)^2`.
pub fn matrix(q: &Tensor) -> Tensor {
    let twice = q.narrow(-1, 1, 3) * 2.0;
    rotation(&(q.narrow(-1, 0, 1) * &twice), &twice, &q.narrow(-1, 1, 3))
}

/// `2 atan2(|v|, w) / |v|` for unit quaternions `(w, v)`, shape `[.., 1]`.
pub fn log_factor(q: &Tensor) -> Tensor {
    let w = q.narrow(-1, 0, 1);
    let n2 = square_norm(&q.narrow(-1, 1, 3));
    // 2 asin(n) / n, which is the same near w = 1.
    let near = n2.lt(1e-3).logical_and(&w.gt(0.0));
    let m = n2.where_self(&near, &n2.zeros_like());
    let series = [2.0, 2.0 / 6.0, 6.0 / 40.0, 10.0 / 112.0, 70.0 / 1152.0, 126.0 / 2816.0];
    let mut sum = m.ones_like() * series[5];
    for coefficient in series[..5].iter().rev() {
        sum = sum * &m + *coefficient;
    }
    // The closed form divides by zero only at q = -1, where the caller replaces the result.
    let n = n2.ones_like().where_self(&near.logical_or(&n2.le(0.0)), &n2).sqrt();
    let closed = n.atan2(&w) * 2.0 / n;
    sum.where_self(&near, &closed)
}

/// What rounding makes of a zero among entries of size 1.
fn rounding(kind: Kind) -> f64 {
    if kind == Kind::Double { 1e-15 } else { 5e-7 }
}

/// The one of the two unit quaternions of each rotation matrix that has `w >= 0`; where `w` is zero
/// within rounding (half turns), the one whose entry of largest modulus is positive.
pub fn signed_quaternion(r: &Tensor) -> Tensor {
    let q = quaternion(r);
    q.neg().where_self(&q.narrow(-1, 0, 1).lt(-rounding(q.kind())), &q)
}

/// Rotation vectors, of norm at most pi, of rotation matrices. At angle pi, within rounding, both
/// signs are right; the one whose component of largest modulus is positive is returned.
pub fn log_so3(r: &Tensor) -> Tensor {
    let q = signed_quaternion(r);
    log_factor(&q) * q.narrow(-1, 1, 3)
}

/// `Rz(phi1) Ry(theta) Rz(phi2)` of angles `(phi1, theta, phi2)`, `[.., 3]`.
pub fn from_euler_zyz(angles: &Tensor) -> Tensor {
    let (c, s) = (angles.cos(), angles.sin());
    let of = |a: &Tensor, k: i64| a.select(-1, k);
    let (c1, ct, c2) = (of(&c, 0), of(&c, 1), of(&c, 2));
    let (s1, st, s2) = (of(&s, 0), of(&s, 1), of(&s, 2));
    let rows = [
        Tensor::stack(
            &[&c1 * &ct * &c2 - &s1 * &s2, -(&c1 * &ct * &s2) - &s1 * &c2, &c1 * &st],
            -1,
        ),
        Tensor::stack(&[&s1 * &ct * &c2 + &c1 * &s2, &c1 * &c2 - &s1 * &ct * &s2, &s1 * &st], -1),
        Tensor::stack(&[-(&st * &c2), &st * &s2, ct], -1),
    ];
    Tensor::stack(&rows, -2)
}

/// Angles `(phi1, theta, phi2)` with `theta` in `[0, pi]` and the others in `[-pi, pi]`; where
/// `sin theta` is zero within rounding, `phi1 = 0`.
pub fn euler_zyz(r: &Tensor) -> Tensor {
    let at = |i: i64, j: i64| r.select(-2, i).select(-1, j);
    let (x, y, z) = (at(0, 2), at(1, 2), at(2, 2));
    let square = x.square() + y.square();
    let locked = square.le(rounding(r.kind()).powi(2));
    // In gimbal lock a harmless place stands in for atan2(0, 0) and the root of 0, whose
    // derivatives are NaN.
    let (zero, one) = (x.zeros_like(), x.ones_like());
    let x = one.where_self(&locked, &x);
    let y = zero.where_self(&locked, &y);
    let sine = zero.where_self(&locked, &one.where_self(&locked, &square).sqrt());
    let theta = sine.atan2(&z);
    let phi1 = y.atan2(&x);
    // The second row of Rz(-phi1) R is (sin phi2, cos phi2, 0), whatever theta is.
    let rho = (x.square() + y.square()).sqrt();
    let (cosine, sine) = (x / &rho, y / &rho);
    let phi2 =
        (&cosine * at(1, 0) - &sine * at(0, 0)).atan2(&(&cosine * at(1, 1) - &sine * at(0, 1)));
    Tensor::stack(&[phi1, theta, phi2], -1)
}

/// By how much matrices `[.., n, n]` fail to be rotations: the largest entry of `|R^T R - 1|` plus
/// `|det R - 1|`, shape `[..]`; infinite where a number is not finite.
pub fn rotation_violation(r: &Tensor) -> Tensor {
    let n = r.size()[r.dim() - 1];
    let eye = Tensor::eye(n, (r.kind(), r.device()));
    let gram = (r.transpose(-1, -2).matmul(r) - eye).abs().amax([-2, -1], false);
    (gram + (determinant(r) - 1.0).abs()).nan_to_num(f64::INFINITY, None, None)
}

/// Determinants, those of 2x2 and 3x3 matrices by their formula (an LU factorisation costs more).
fn determinant(r: &Tensor) -> Tensor {
    let at = |i: i64, j: i64| r.select(-2, i).select(-1, j);
    match r.size()[r.dim() - 1] {
        2 => return at(0, 0) * at(1, 1) - at(0, 1) * at(1, 0),
        3 => {}
        _ => return Tensor::linalg_det(r),
    }
    at(0, 0) * (at(1, 1) * at(2, 2) - at(1, 2) * at(2, 1))
        - at(0, 1) * (at(1, 0) * at(2, 2) - at(1, 2) * at(2, 0))
        + at(0, 2) * (at(1, 0) * at(2, 1) - at(1, 1) * at(2, 0))
}

/// Frobenius distance over sqrt 2: the angle between rotations that are close.
pub fn frobenius(a: &Tensor, b: &Tensor) -> Tensor {
    (a - b).square().sum_dim_intlist([-2, -1].as_slice(), false, None).sqrt() * 0.5f64.sqrt()
}

/// Homogeneous matrices `[.., n + 1, n + 1]` of rotations `[.., n, n]` and vectors `[.., n]`.
pub fn homogeneous(r: &Tensor, t: &Tensor) -> Tensor {
    let top = Tensor::cat(&[r, &t.unsqueeze(-1)], -1);
    let last = top.narrow(-2, 0, 1);
    let n = t.size()[t.dim() - 1];
    let bottom = Tensor::cat(&[last.narrow(-1, 0, n) * 0.0, last.narrow(-1, 0, 1) * 0.0 + 1.0], -1);
    Tensor::cat(&[top, bottom], -2)
}

/// The rotation `[.., n, n]` and the vector `[.., n]` of homogeneous matrices.
pub fn split_homogeneous(g: &Tensor) -> (Tensor, Tensor) {
    let n = g.size()[g.dim() - 1] - 1;
    let top = g.narrow(-2, 0, n);
    (top.narrow(-1, 0, n), top.select(-1, n))
}

/// By how much matrices fail to be homogeneous matrices of rigid motions, shape `[..]`.
pub fn rigid_violation(g: &Tensor) -> Tensor {
    let (r, t) = split_homogeneous(g);
    let expected = homogeneous(&r, &t);
    let bottom = (g - expected).abs().amax([-2, -1], false);
    (rotation_violation(&r) + bottom + super::non_finite(&t)).nan_to_num(f64::INFINITY, None, None)
}

/// A matrix times a vector: `[.., n, n]`, `[.., n]`.
pub fn apply(m: &Tensor, v: &Tensor) -> Tensor {
    m.matmul(&v.unsqueeze(-1)).squeeze_dim(-1)
}
