//! Clebsch-Gordan coefficients in the complex and in the real basis.

/// `n!`, exact in f64 up to 22!, correctly rounded products beyond.
fn factorial(n: i64) -> f64 {
    (1..=n).map(|k| k as f64).product()
}

/// `<l1 m1 l2 m2 | l3 m3>` with the Condon-Shortley phase, by Racah's formula (Varshalovich,
/// Moskalev, Khersonskii, Quantum Theory of Angular Momentum, 8.2.1). Accurate to about 1e-14 for
/// degrees up to 10; the alternating sum loses digits beyond.
pub fn clebsch_gordan_complex(l1: i64, m1: i64, l2: i64, m2: i64, l3: i64, m3: i64) -> f64 {
    let outside = m1.abs() > l1 || m2.abs() > l2 || m3.abs() > l3;
    if outside || m1 + m2 != m3 || l3 < (l1 - l2).abs() || l3 > l1 + l2 {
        return 0.0;
    }
    let f = factorial;
    let triangle = f(l1 + l2 - l3) * f(l1 - l2 + l3) * f(l2 + l3 - l1) / f(l1 + l2 + l3 + 1);
    let orders = f(l1 + m1) * f(l1 - m1) * f(l2 + m2) * f(l2 - m2) * f(l3 + m3) * f(l3 - m3);
    let first = 0.max(l2 - l3 - m1).max(l1 - l3 + m2);
    let last = (l1 + l2 - l3).min(l1 - m1).min(l2 + m2);
    let sum: f64 = (first..=last)
        .map(|k| {
            let denominator = f(k)
                * f(l1 + l2 - l3 - k)
                * f(l1 - m1 - k)
                * f(l2 + m2 - k)
                * f(l3 - l2 + m1 + k)
                * f(l3 - l1 - m2 + k);
            if k % 2 == 0 { 1.0 / denominator } else { -1.0 / denominator }
        })
        .sum();
    ((2 * l3 + 1) as f64 * triangle).sqrt() * orders.sqrt() * sum
}

/// Row `m` of the unitary change from the complex to the real basis: pairs of an order `m'` and a
/// complex number, `Y_real^m = sum_m' U[m, m'] Y^m'`.
fn real_basis(m: i64) -> Vec<(i64, (f64, f64))> {
    let half = 0.5f64.sqrt();
    let sign = if m % 2 == 0 { 1.0 } else { -1.0 };
    match m {
        0 => vec![(0, (1.0, 0.0))],
        // ((-1)^m Y^m + Y^-m) / sqrt2.
        1.. => vec![(m, (sign * half, 0.0)), (-m, (half, 0.0))],
        // i (Y^-|m| - (-1)^m Y^|m|) / sqrt2.
        _ => vec![(m, (0.0, half)), (-m, (0.0, -sign * half))],
    }
}

fn times(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

/// The real tensor `C[a, b, c]`, `[2 l1 + 1, 2 l2 + 1, 2 l3 + 1]` row by row, that couples irreps of
/// degrees `l1`, `l2` to `l3`: `z_c = sum_ab C[a,b,c] x_a y_b` transforms as degree `l3` when `x`,
/// `y` transform as `l1`, `l2`. `None` unless `|l1 - l2| <= l3 <= l1 + l2`.
///
/// Isometric: `sum_ab C[a,b,c] C[a,b,c'] = delta_cc'`. (e3nn's `wigner_3j` is this over
/// `sqrt(2 l3 + 1)`, up to the sign.) In the real basis the coefficients of
/// [`clebsch_gordan_complex`] are real or imaginary; the factor `i^(l3 - l1 - l2)` makes them real,
/// and fixes the sign: for an even sum of the degrees, `C` is a *positive* multiple of the integral
/// of three harmonics (the product of functions on the sphere); `1 x 1 -> 1` is the cross product
/// over `sqrt2`.
pub fn clebsch_gordan(l1: i64, l2: i64, l3: i64) -> Option<Vec<f64>> {
    if l1 < 0 || l2 < 0 || l3 < (l1 - l2).abs() || l3 > l1 + l2 {
        return None;
    }
    let phase = match (l3 - l1 - l2).rem_euclid(4) {
        0 => (1.0, 0.0),
        1 => (0.0, 1.0),
        2 => (-1.0, 0.0),
        _ => (0.0, -1.0),
    };
    let mut tensor = Vec::with_capacity(((2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1)) as usize);
    for a in -l1..=l1 {
        for b in -l2..=l2 {
            for c in -l3..=l3 {
                let mut sum = (0.0, 0.0);
                for &(m1, u1) in &real_basis(a) {
                    for &(m2, u2) in &real_basis(b) {
                        for &(m3, u3) in &real_basis(c) {
                            let coefficient = clebsch_gordan_complex(l1, m1, l2, m2, l3, m3);
                            let u = times(times((u1.0, -u1.1), (u2.0, -u2.1)), u3);
                            sum.0 += coefficient * u.0;
                            sum.1 += coefficient * u.1;
                        }
                    }
                }
                let (real, imaginary) = times(phase, sum);
                debug_assert!(imaginary.abs() < 1e-9, "the phase makes the tensor real");
                tensor.push(real);
            }
        }
    }
    Some(tensor)
}
