//! Spherical harmonics, Wigner matrices, Clebsch-Gordan tensors and features against tables of
//! textbooks and the identities that define them.

#![allow(clippy::unwrap_used)]

use isotropy_core::{Group, Stream, Streams};
use isotropy_groups::group::So3;
use isotropy_groups::irreps::{
    Irrep, Irreps, Normalisation, Parity, TensorProduct, Wigner, clebsch_gordan,
    clebsch_gordan_complex, solid_harmonics, spherical_harmonics,
};
use std::f64::consts::PI;
use tch::{Device, Kind, Tensor};

const DOUBLE: (Kind, Device) = (Kind::Double, Device::Cpu);

fn stream() -> Stream {
    Streams::new(11).stream("irreps", 0)
}

fn worst(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}

fn rotations(batch: i64) -> Tensor {
    So3.sample(&[vec![batch, 3]], DOUBLE, &mut stream()).0.remove(0)
}

fn directions(count: i64) -> Tensor {
    let v = stream().normal(&[count, 3], DOUBLE);
    &v / v.norm_scalaropt_dim(2, [-1], true)
}

/// Legendre polynomials by their own recurrence.
fn legendre(l: i64, x: &Tensor) -> Tensor {
    let (mut before, mut here) = (x.ones_like(), x.shallow_clone());
    if l == 0 {
        return before;
    }
    for k in 1..l {
        let next = (x * &here * (2 * k + 1) as f64 - &before * k as f64) / (k + 1) as f64;
        before = std::mem::replace(&mut here, next);
    }
    here
}

/// The Cartesian table of Goerller-Walrand and Binnemans (1996), which Wikipedia reproduces as
/// "Table of spherical harmonics, real spherical harmonics".
#[test]
fn harmonics_agree_with_the_cartesian_table() {
    let v = directions(20);
    let (x, y, z) = (v.select(1, 0), v.select(1, 1), v.select(1, 2));
    let (x2, y2, z2) = (&x * &x, &y * &y, &z * &z);
    let p = |c: f64| (c / PI).sqrt();
    let table = [
        x.ones_like() * 0.5 * p(1.0),
        &y * p(0.75),
        &z * p(0.75),
        &x * p(0.75),
        &x * &y * (0.5 * p(15.0)),
        &y * &z * (0.5 * p(15.0)),
        (&z2 * 3.0 - 1.0) * (0.25 * p(5.0)),
        &x * &z * (0.5 * p(15.0)),
        (&x2 - &y2) * (0.25 * p(15.0)),
        &y * (&x2 * 3.0 - &y2) * (0.25 * p(17.5)),
        &x * &y * &z * (0.5 * p(105.0)),
        &y * (&z2 * 5.0 - 1.0) * (0.25 * p(10.5)),
        (&z2 * 5.0 - 3.0) * &z * (0.25 * p(7.0)),
        &x * (&z2 * 5.0 - 1.0) * (0.25 * p(10.5)),
        (&x2 - &y2) * &z * (0.25 * p(105.0)),
        &x * (&x2 - &y2 * 3.0) * (0.25 * p(17.5)),
        &x * &y * (&x2 - &y2) * (0.75 * p(35.0)),
        &y * (&x2 * 3.0 - &y2) * &z * (0.75 * p(17.5)),
        &x * &y * (&z2 * 7.0 - 1.0) * (0.75 * p(5.0)),
        &y * (&z2 * 7.0 - 3.0) * &z * (0.75 * p(2.5)),
        (&z2 * &z2 * 35.0 - &z2 * 30.0 + 3.0) * (3.0 / 16.0 * p(1.0)),
        &x * (&z2 * 7.0 - 3.0) * &z * (0.75 * p(2.5)),
        (&x2 - &y2) * (&z2 * 7.0 - 1.0) * (3.0 / 8.0 * p(5.0)),
        &x * (&x2 - &y2 * 3.0) * &z * (0.75 * p(17.5)),
        (&x2 * (&x2 - &y2 * 3.0) - &y2 * (&x2 * 3.0 - &y2)) * (3.0 / 16.0 * p(35.0)),
    ];
    let expected = Tensor::stack(&table, 1);
    let harmonics = spherical_harmonics(4, &(&v * 2.5), Normalisation::Integral);
    assert!(worst(&harmonics, &expected) < 1e-14, "{}", worst(&harmonics, &expected));
    // r^l in front of the solid ones, in either kind.
    let solid = solid_harmonics(4, &(&v * 2.0).to_kind(Kind::Float), Normalisation::Integral);
    assert_eq!(solid.kind(), Kind::Float);
    for l in 0..=4i64 {
        let scaled =
            solid.narrow(1, l * l, 2 * l + 1).to_kind(Kind::Double) * 0.5f64.powi(l as i32);
        assert!(worst(&scaled, &expected.narrow(1, l * l, 2 * l + 1)) < 1e-6);
    }
}

/// `sum_m Y_lm(a) Y_lm(b) = (2l+1)/(4 pi) P_l(a.b)`, up to degree 8.
#[test]
fn the_addition_theorem_holds() {
    let v = directions(30);
    let (a, b) = (v.narrow(0, 0, 15), v.narrow(0, 15, 15));
    let cosine = (&a * &b).sum_dim_intlist(1, false, None);
    let of = |v: &Tensor| spherical_harmonics(8, v, Normalisation::Integral);
    let product = of(&a) * of(&b);
    for l in 0..=8i64 {
        let sum = product.narrow(1, l * l, 2 * l + 1).sum_dim_intlist(1, false, None);
        let expected = legendre(l, &cosine) * ((2 * l + 1) as f64 / (4.0 * PI));
        assert!(worst(&sum, &expected) < 1e-13, "degree {l}: {}", worst(&sum, &expected));
    }
}

/// Gauss-Legendre in z with five nodes and nine meridians integrates products of degree 8 exactly.
#[test]
fn harmonics_are_orthonormal() {
    let root = |inner: f64| (5.0 + inner * 2.0 * (10.0f64 / 7.0).sqrt()).sqrt() / 3.0;
    let (inner, outer) = (root(-1.0), root(1.0));
    let weight = |sign: f64| (322.0 + sign * 13.0 * 70f64.sqrt()) / 900.0;
    let nodes = [
        (0.0, 128.0 / 225.0),
        (inner, weight(1.0)),
        (-inner, weight(1.0)),
        (outer, weight(-1.0)),
        (-outer, weight(-1.0)),
    ];
    let (mut points, mut weights) = (Vec::new(), Vec::new());
    for (z, w) in nodes {
        for k in 0..9 {
            let phi = 2.0 * PI * f64::from(k) / 9.0;
            let rho = (1.0 - z * z).sqrt();
            points.extend([rho * phi.cos(), rho * phi.sin(), z]);
            weights.push(w * 2.0 * PI / 9.0);
        }
    }
    let points = Tensor::from_slice(&points).reshape([-1, 3]);
    let weights = Tensor::from_slice(&weights).unsqueeze(1);
    let y = spherical_harmonics(4, &points, Normalisation::Integral);
    let gram = y.transpose(0, 1).matmul(&(&y * weights));
    assert!(worst(&gram, &Tensor::eye(25, DOUBLE)) < 1e-14);
}

#[test]
fn the_three_normalisations_add_up_as_they_say() {
    let v = directions(5);
    let cases = [
        (Normalisation::Integral, [1.0, 3.0, 5.0].map(|n| n / (4.0 * PI))),
        (Normalisation::Component, [1.0, 3.0, 5.0]),
        (Normalisation::Norm, [1.0; 3]),
    ];
    for (normalisation, sums) in cases {
        let square = spherical_harmonics(2, &v, normalisation).square();
        for (l, sum) in sums.into_iter().enumerate() {
            let l = l as i64;
            let total = square.narrow(1, l * l, 2 * l + 1).sum_dim_intlist(1, false, None);
            assert!(worst(&total, &total.full_like(sum)) < 1e-14);
        }
    }
}

#[test]
fn gradients_are_finite_on_the_axis_and_at_zero() {
    for kind in [Kind::Double, Kind::Float] {
        let points = [0.0, 0.0, 1.0, 0.0, 0.0, -2.0, 0.0, 0.0, 0.0, 1e-30, 0.0, 0.0];
        let v = Tensor::from_slice(&points).reshape([4, 3]).to_kind(kind).set_requires_grad(true);
        let y = spherical_harmonics(4, &v, Normalisation::Component);
        let weights = stream().normal(&y.size(), (kind, Device::Cpu));
        let gradient = Tensor::run_backward(&[(&y * weights).sum(kind)], &[&v], false, false);
        assert_eq!(gradient[0].isfinite().all().int64_value(&[]), 1);
        assert_eq!(gradient[0].get(2).abs().max().double_value(&[]), 0.0);
        // No direction, no harmonics; a tiny vector has a direction (x, the third of degree 1).
        assert_eq!(y.get(2).narrow(0, 1, 24).abs().max().double_value(&[]), 0.0);
        assert!((y.double_value(&[3, 3]) - 3f64.sqrt()).abs() < 1e-6);
    }
}

/// Against central differences, in a general place.
#[test]
fn gradients_agree_with_differences() {
    let v = directions(3).set_requires_grad(true);
    let weights = stream().normal(&[3, 25], DOUBLE);
    let value = |v: &Tensor| {
        (spherical_harmonics(4, v, Normalisation::Component) * &weights).sum(Kind::Double)
    };
    let gradient = Tensor::run_backward(&[value(&v)], &[&v], false, false).remove(0);
    for i in 0..3 {
        let step = Tensor::from_slice(&[i]).one_hot(3).to_kind(Kind::Double) * 1e-6;
        let here = v.detach();
        let difference = (value(&(&here + &step)) - value(&(&here - &step))) / 2e-6;
        let along = gradient.select(1, i).sum(Kind::Double);
        assert!((difference - along).abs().double_value(&[]) < 1e-7);
    }
}

#[test]
fn wigner_matrices_are_a_homomorphism_to_rounding() {
    let (a, b) = (rotations(16), rotations(32).narrow(0, 16, 16));
    let wigner = Wigner::new(8);
    let (da, db) = (wigner.matrices(&a), wigner.matrices(&b));
    let dab = wigner.matrices(&a.matmul(&b));
    for l in 0..=8 {
        let (da, db, dab) = (&da[l], &db[l], &dab[l]);
        assert!(worst(&da.matmul(db), dab) < 1e-12, "degree {l}: {}", worst(&da.matmul(db), dab));
        let gram = da.matmul(&da.transpose(1, 2));
        assert!(worst(&gram, &Tensor::eye(2 * l as i64 + 1, DOUBLE).expand_as(&gram)) < 1e-12);
        assert_eq!(wigner.matrix(l as i64, &a), *da);
    }
}

#[test]
fn wigner_matrices_turn_the_harmonics() {
    let (r, v) = (rotations(16), directions(16));
    let turned = r.matmul(&v.unsqueeze(-1)).squeeze_dim(-1);
    let y = spherical_harmonics(4, &v, Normalisation::Component);
    let expected = spherical_harmonics(4, &turned, Normalisation::Component);
    let irreps = Irreps::spherical_harmonics(4);
    assert!(worst(&irreps.rotate(&Wigner::new(4), &r, &y), &expected) < 1e-13);
    // Two leading axes, and the whole matrix.
    let matrix = irreps.matrix(&Wigner::new(4), &r.reshape([4, 4, 3, 3]));
    let by_matrix = matrix.matmul(&y.reshape([4, 4, 25, 1])).reshape([16, 25]);
    assert!(worst(&by_matrix, &expected) < 1e-13);
    // Inversion.
    let inverted = spherical_harmonics(4, &v.neg(), Normalisation::Component);
    assert!(worst(&irreps.invert(&y), &inverted) < 1e-14);
    // Single precision.
    let single = irreps.rotate(&Wigner::new(4), &r.to_kind(Kind::Float), &y.to_kind(Kind::Float));
    assert!(worst(&single.to_kind(Kind::Double), &expected) < 1e-5);
}

/// About the z axis, orders m and -m turn by m phi.
#[test]
fn about_the_axis_orders_turn_by_their_multiple() {
    let phi = 0.7f64;
    let r = Tensor::from_slice(&[phi.cos(), -phi.sin(), 0., phi.sin(), phi.cos(), 0., 0., 0., 1.]);
    let d = Wigner::new(3).matrix(3, &r.reshape([1, 3, 3])).get(0);
    for m in 1..=3i64 {
        let (cos, sin) = ((m as f64 * phi).cos(), (m as f64 * phi).sin());
        let entries = [(3 + m, 3 + m, cos), (3 + m, 3 - m, -sin), (3 - m, 3 + m, sin)];
        for (row, column, expected) in entries {
            assert!(
                (d.double_value(&[row, column]) - expected).abs() < 1e-14,
                "{m} {row} {column}"
            );
        }
    }
}

#[test]
fn wigner_gradients_are_finite_at_the_identity() {
    let xi = Tensor::zeros([1, 3], DOUBLE).set_requires_grad(true);
    let r = isotropy_core::LieGroup::exp(&So3, &xi.shallow_clone().into()).0.remove(0);
    let d = Wigner::new(4).matrices(&r).pop().unwrap();
    let weights = stream().normal(&d.size(), DOUBLE);
    let gradient = Tensor::run_backward(&[(d * weights).sum(Kind::Double)], &[&xi], false, false);
    assert_eq!(gradient[0].isfinite().all().int64_value(&[]), 1);
    assert!(gradient[0].abs().max().double_value(&[]) > 0.1);
}

/// Tables of Varshalovich et al. (8.5) and of the Particle Data Group.
#[test]
fn complex_coefficients_agree_with_the_tables() {
    let table = [
        ([1, 1, 1, -1, 0, 0], (1.0f64 / 3.0).sqrt()),
        ([1, 0, 1, 0, 0, 0], -(1.0f64 / 3.0).sqrt()),
        ([1, 1, 1, 0, 1, 1], 0.5f64.sqrt()),
        ([1, 0, 1, 1, 1, 1], -(0.5f64.sqrt())),
        ([1, 1, 1, -1, 1, 0], 0.5f64.sqrt()),
        ([1, 0, 1, 0, 1, 0], 0.0),
        ([1, 1, 1, 1, 2, 2], 1.0),
        ([1, 1, 1, -1, 2, 0], (1.0f64 / 6.0).sqrt()),
        ([1, 0, 1, 0, 2, 0], (2.0f64 / 3.0).sqrt()),
        ([2, 2, 1, -1, 1, 1], 0.6f64.sqrt()),
        ([2, 1, 1, 0, 1, 1], -(0.3f64.sqrt())),
        ([2, 0, 1, 1, 1, 1], 0.1f64.sqrt()),
        ([2, 2, 1, -1, 2, 1], (1.0f64 / 3.0).sqrt()),
        ([2, 1, 1, 0, 2, 1], (1.0f64 / 6.0).sqrt()),
        ([2, 0, 1, 1, 2, 1], -(0.5f64.sqrt())),
        ([2, 2, 1, -1, 3, 1], (1.0f64 / 15.0).sqrt()),
        ([2, 1, 1, 0, 3, 1], (8.0f64 / 15.0).sqrt()),
        ([2, 0, 1, 1, 3, 1], 0.4f64.sqrt()),
        ([2, 2, 2, -2, 0, 0], 0.2f64.sqrt()),
        ([2, 0, 2, 0, 2, 0], -(2.0f64 / 7.0).sqrt()),
        ([2, 0, 2, 0, 4, 0], (18.0f64 / 35.0).sqrt()),
        ([2, 2, 2, -2, 4, 0], (1.0f64 / 70.0).sqrt()),
        // Forbidden by the orders, by the triangle.
        ([1, 1, 1, 1, 1, 1], 0.0),
        ([1, 0, 1, 0, 3, 0], 0.0),
    ];
    for ([l1, m1, l2, m2, l3, m3], expected) in table {
        let found = clebsch_gordan_complex(l1, m1, l2, m2, l3, m3);
        assert!((found - expected).abs() < 1e-14, "{l1} {m1} {l2} {m2} {l3} {m3}: {found}");
    }
}

fn tensor(l1: i64, l2: i64, l3: i64) -> Tensor {
    let values = clebsch_gordan(l1, l2, l3).unwrap();
    Tensor::from_slice(&values).reshape([2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1])
}

/// `sum_ab C[a, b, c] x_a y_b` for vectors `[n]`.
fn couple(c: &Tensor, x: &Tensor, y: &Tensor) -> Tensor {
    let size = c.size();
    let left = x.unsqueeze(0).matmul(&c.reshape([size[0], -1])).reshape([size[1], size[2]]);
    y.unsqueeze(0).matmul(&left).squeeze_dim(0)
}

#[test]
fn two_vectors_couple_to_scalar_cross_product_and_quadrupole() {
    let v = directions(2);
    let (a, b) = (v.get(0), v.get(1));
    // Components of degree 1 are (y, z, x).
    let (x, y) = (a.roll([-1], [0]), b.roll([-1], [0]));
    let scalar = couple(&tensor(1, 1, 0), &x, &y);
    let dot = (&a * &b).sum(Kind::Double) / 3f64.sqrt();
    assert!(worst(&scalar, &dot.unsqueeze(0)) < 1e-14);
    let cross = couple(&tensor(1, 1, 1), &x, &y).roll([1], [0]);
    assert!(worst(&cross, &(a.linalg_cross(&b, -1) / 2f64.sqrt())) < 1e-14);
    let at = |t: &Tensor, i: i64| t.double_value(&[i]);
    let (p, q) = (|i| at(&a, i), |i| at(&b, i));
    let half = 0.5f64.sqrt();
    let quadrupole = [
        (p(0) * q(1) + p(1) * q(0)) * half,
        (p(1) * q(2) + p(2) * q(1)) * half,
        (2.0 * p(2) * q(2) - p(0) * q(0) - p(1) * q(1)) / 6f64.sqrt(),
        (p(0) * q(2) + p(2) * q(0)) * half,
        (p(0) * q(0) - p(1) * q(1)) * half,
    ];
    let found = couple(&tensor(1, 1, 2), &x, &y);
    assert!(worst(&found, &Tensor::from_slice(&quadrupole)) < 1e-14);
    assert!(clebsch_gordan(1, 1, 3).is_none());
}

/// All couplings of two irreps together are an orthogonal change of basis.
#[test]
fn couplings_are_orthogonal_and_complete() {
    for l1 in 0..=4i64 {
        for l2 in 0..=4i64 {
            let columns: Vec<Tensor> = ((l1 - l2).abs()..=l1 + l2)
                .map(|l3| tensor(l1, l2, l3).reshape([-1, 2 * l3 + 1]))
                .collect();
            let all = Tensor::cat(&columns, 1);
            let n = (2 * l1 + 1) * (2 * l2 + 1);
            assert_eq!(all.size(), [n, n]);
            let gram = all.transpose(0, 1).matmul(&all);
            assert!(worst(&gram, &Tensor::eye(n, DOUBLE)) < 1e-13, "{l1} {l2}");
        }
    }
}

/// `C (D_1 x) (D_2 y) = D_3 C x y` (Wigner and Eckart), as tensors.
#[test]
fn couplings_are_equivariant() {
    let r = rotations(1);
    let d: Vec<Tensor> = Wigner::new(8).matrices(&r).iter().map(|d| d.get(0)).collect();
    for l1 in 0..=4i64 {
        for l2 in 0..=4i64 {
            for l3 in (l1 - l2).abs()..=l1 + l2 {
                let c = tensor(l1, l2, l3);
                let (d1, d2, d3) = (&d[l1 as usize], &d[l2 as usize], &d[l3 as usize]);
                // D_1^T on the first axis, D_2^T on the second, D_3^T on the third.
                let turned = d1.transpose(0, 1).matmul(&c.reshape([2 * l1 + 1, -1]));
                let turned = turned.reshape([2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1]).transpose(0, 1);
                let turned = d2.transpose(0, 1).matmul(&turned.reshape([2 * l2 + 1, -1]));
                let turned = turned.reshape([2 * l2 + 1, 2 * l1 + 1, 2 * l3 + 1]).transpose(0, 1);
                let turned = turned.matmul(d3);
                assert!(worst(&turned, &c) < 1e-12, "{l1} {l2} {l3}");
            }
        }
    }
}

/// For an even sum of degrees, harmonics of one direction couple to a positive multiple of the
/// harmonics of that direction; for an odd sum, to zero.
#[test]
fn signs_are_those_of_the_product_of_functions() {
    let y = spherical_harmonics(4, &directions(1), Normalisation::Norm).get(0);
    let of = |l: i64| y.narrow(0, l * l, 2 * l + 1);
    for (l1, l2, l3) in [(1, 1, 0), (1, 1, 2), (2, 2, 2), (2, 3, 3), (3, 4, 1), (4, 4, 4)] {
        let coupled = couple(&tensor(l1, l2, l3), &of(l1), &of(l2));
        let factor = (&coupled * of(l3)).sum(Kind::Double).double_value(&[]);
        assert!(factor > 0.1, "{l1} {l2} {l3}: {factor}");
        let known = clebsch_gordan_complex(l1, 0, l2, 0, l3, 0).abs();
        assert!((factor - known).abs() < 1e-13);
        assert!(worst(&coupled, &(of(l3) * factor)) < 1e-13);
    }
    for (l1, l2, l3) in [(1, 1, 1), (2, 2, 3), (1, 4, 4)] {
        let coupled = couple(&tensor(l1, l2, l3), &of(l1), &of(l2));
        assert!(coupled.abs().max().double_value(&[]) < 1e-14);
    }
}

#[test]
fn features_are_read_from_text() {
    let irreps: Irreps = "16x0 + 8x1o+4x2e + 1e".parse().unwrap();
    assert_eq!(irreps.to_string(), "16x0e + 8x1o + 4x2e + 1x1e");
    assert_eq!(irreps.to_string().parse::<Irreps>().unwrap(), irreps);
    assert_eq!((irreps.width(), irreps.count(), irreps.l_max()), (16 + 24 + 20 + 3, 29, 2));
    assert_eq!(irreps.blocks()[2].start, 40);
    assert_eq!(irreps.multiplicity(Irrep { l: 1, parity: Parity::Even }), 1);
    let messy: Irreps = "2x1 + 3x0o + 1o + 0x4 + 5x0".parse().unwrap();
    assert_eq!(messy.simplified().to_string(), "5x0e + 3x0o + 3x1o");
    for wrong in ["", "x1", "3y1", "1x", "-2x1", "1x-1", "2x99", "1x1p", "0x1"] {
        assert!(wrong.parse::<Irreps>().is_err(), "'{wrong}'");
    }
    let message = "4x1 + 3zx2".parse::<Irreps>().unwrap_err().to_string();
    assert!(message.contains("3z"), "{message}");
}

#[test]
fn blocks_split_and_join() {
    let irreps: Irreps = "3x0e + 2x2e + 1o".parse().unwrap();
    let features = stream().normal(&[4, 5, irreps.width()], DOUBLE);
    let parts = irreps.split(&features);
    assert_eq!(parts[1].size(), [4, 5, 2, 5]);
    assert_eq!(irreps.join(&parts), features);
    let r = rotations(4);
    let lengths = irreps.lengths(&features);
    assert_eq!(lengths.size(), [4, 5, 6]);
    let turned = irreps.rotate(&Wigner::new(2), &r, &features);
    assert!(worst(&irreps.lengths(&turned), &lengths) < 1e-13);
    assert!(worst(&turned, &features) > 0.1);
}

/// `D (x * y) = (D x) * (D y)` for a product of features with copies, weights and parities.
#[test]
fn tensor_products_are_equivariant() {
    let left: Irreps = "3x0e + 2x1o + 1x1e + 2x2e".parse().unwrap();
    for right in ["0e + 1o + 2e + 3o", "2x0e + 3x1o"] {
        let right: Irreps = right.parse().unwrap();
        let product = TensorProduct::new(&left, &right, 3).unwrap();
        let mut stream = stream();
        let x = stream.normal(&[6, 4, left.width()], DOUBLE);
        let y = stream.normal(&[6, 4, right.width()], DOUBLE);
        let w = stream.normal(&[6, 4, product.weights()], DOUBLE);
        let out = product.irreps_out();
        let z = product.forward(&x, &y, Some(&w));
        assert_eq!(z.size(), [6, 4, out.width()]);
        assert_eq!(out, &out.simplified());
        let (r, wigner) = (rotations(6), Wigner::new(3));
        let (rx, ry) = (left.rotate(&wigner, &r, &x), right.rotate(&wigner, &r, &y));
        let expected = out.rotate(&wigner, &r, &z);
        assert!(worst(&product.forward(&rx, &ry, Some(&w)), &expected) < 1e-12);
        let inverted = product.forward(&left.invert(&x), &right.invert(&y), Some(&w));
        assert!(worst(&inverted, &out.invert(&z)) < 1e-13);
        // Independent factors of unit variance make components of unit variance.
        let square = product.forward(&x, &y, None).square().mean(Kind::Double).double_value(&[]);
        assert!((square - 1.0).abs() < 0.2, "{square}");
        // Single precision.
        let single = |t: &Tensor| t.to_kind(Kind::Float);
        let z32 = product.forward(&single(&x), &single(&y), Some(&single(&w)));
        assert!(worst(&z32.to_kind(Kind::Double), &z) < 1e-4);
    }
}

/// Every copy on the left meets every copy on the right, the right one running fastest.
#[test]
fn copies_are_paired_in_the_stated_order() {
    let (left, right): (Irreps, Irreps) = ("2x1o".parse().unwrap(), "3x1o".parse().unwrap());
    let product = TensorProduct::filtered(&left, &right, |irrep| irrep.l == 0).unwrap();
    assert_eq!(product.irreps_out().to_string(), "6x0e");
    let mut stream = stream();
    let x = stream.normal(&[1, 2, 3], DOUBLE);
    let y = stream.normal(&[1, 3, 3], DOUBLE);
    let z = product.forward(&x.flatten(1, 2), &y.flatten(1, 2), None);
    let dots = x.matmul(&y.transpose(1, 2)).flatten(1, 2) / 3f64.sqrt();
    assert!(worst(&z, &dots) < 1e-14);
    assert!(TensorProduct::filtered(&left, &right, |irrep| irrep.l == 7).is_err());
}
