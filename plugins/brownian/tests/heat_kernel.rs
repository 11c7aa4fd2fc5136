//! Heat kernels: closed forms against series, each other and themselves, and the table against them.

#![allow(clippy::unwrap_used)]

use isotropy_brownian::heat_kernel::HeatKernel;
use isotropy_core::{Space, Streams};
use std::f64::consts::PI;
use tch::{Device, Kind, Tensor};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);
const SPACES: [Space; 4] = [Space::Circle, Space::Rotations, Space::Sphere(2), Space::Sphere(3)];

fn kernels() -> Vec<HeatKernel> {
    tch::set_num_threads(1);
    SPACES.iter().map(|space| HeatKernel::new(*space).unwrap()).collect()
}

fn scalar(x: f64) -> Tensor {
    Tensor::from(x).view([1])
}

fn numbers(t: &Tensor) -> Vec<f64> {
    Vec::try_from(t.to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

fn largest(t: &Tensor) -> f64 {
    t.abs().max().double_value(&[])
}

/// Eigenvalue series on the host, for scales at which it converges without cancellation.
fn series(space: Space, angle: f64, eps: f64) -> f64 {
    let v = eps * eps;
    let (mut p0, mut p1) = (1.0, angle.cos());
    let mut sum = 1.0;
    for n in 1..200 {
        let l = f64::from(n);
        sum += match space {
            Space::Rotations => {
                (2.0 * l + 1.0) * (-0.5 * l * (l + 1.0) * v).exp() * ((l + 0.5) * angle).sin()
                    / (0.5 * angle).sin()
            }
            Space::Sphere(2) => {
                let term = (2.0 * l + 1.0) * (-0.5 * l * (l + 1.0) * v).exp() * p1;
                (p0, p1) = (p1, ((2.0 * l + 1.0) * angle.cos() * p1 - l * p0) / (l + 1.0));
                term
            }
            Space::Sphere(3) => {
                (l + 1.0) * (-0.5 * l * (l + 2.0) * v).exp() * ((l + 1.0) * angle).sin()
                    / angle.sin()
            }
            _ => 2.0 * (-0.5 * l * l * v).exp() * (l * angle).cos(),
        };
    }
    sum
}

#[test]
fn closed_forms_agree_with_the_eigenvalue_series() {
    for kernel in kernels() {
        for eps in [0.3, 0.7, 1.2, 1.58, 1.59, 2.5, 3.2, 5.0] {
            for angle in
                [1e-4, 0.01, 0.2, 0.9, 0.5 * PI - 1e-4, 0.5 * PI + 1e-4, 2.5, 3.0, PI - 2e-3]
            {
                let expected = series(kernel.space(), angle, eps);
                let found = kernel.density(&scalar(angle), &scalar(eps)).double_value(&[0]);
                // The series has an absolute error of rounding times its largest value.
                let allowed = 1e-11 * expected.abs() + 1e-13 * series(kernel.space(), 1e-4, eps);
                let error = (found - expected).abs();
                assert!(
                    error <= allowed,
                    "{:?} eps {eps} angle {angle}: {found} {expected}",
                    kernel.space()
                );
            }
        }
    }
}

#[test]
fn densities_integrate_to_one_at_every_scale() {
    for kernel in kernels() {
        for eps in [1e-3, 0.01, 0.05, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 6.0] {
            let end = PI.min(12.0 * eps);
            let n = 4000;
            let angle = Tensor::arange(n + 1, F64) * (end / n as f64);
            let weight = Tensor::ones([n + 1], F64) * 2.0;
            let _ = weight.slice(0, 1, n, 2).fill_(4.0);
            let _ = weight.slice(0, 0, n + 1, n).fill_(1.0);
            let density = kernel.density(&angle, &scalar(eps)) * kernel.measure(&angle);
            let total =
                (density * weight).sum(Kind::Double).double_value(&[]) * end / n as f64 / 3.0;
            assert!((total - 1.0).abs() < 1e-9, "{:?} eps {eps}: {total}", kernel.space());
        }
    }
}

#[test]
fn scores_are_the_slopes_of_the_log_densities() {
    let mut worst: f64 = 0.0;
    for kernel in kernels() {
        for eps in [0.02, 0.1, 0.3, 0.6, 1.0, 1.5, 1.7, 3.0, 4.5] {
            let angle = Tensor::linspace(1e-3, PI - 1e-3, 301, F64);
            let h = 1e-5;
            let at = |e: f64| kernel.log_density(&(&angle + e), &scalar(eps));
            let difference = (at(h) - at(-h)) / (2.0 * h);
            let score = kernel.score(&angle, &scalar(eps));
            // The difference itself is only good to rounding of log f over h.
            let allowed = at(0.0).abs() * 1e-10 + score.abs() * 1e-7 + 3e-8 + 1e-9 / eps.powi(6);
            let ratio = largest(&((&score - &difference) / allowed));
            worst = worst.max(ratio);
            assert!(ratio <= 1.0, "{:?} eps {eps}: {ratio}", kernel.space());
        }
    }
    println!("largest error of a slope, in units of what differences resolve: {worst:.2}");
}

/// Far from the start the density is tiny, and its logarithm still has all its digits: the
/// leading term and its correction are known there.
#[test]
fn small_scales_keep_their_tails() {
    for kernel in kernels() {
        let d = kernel.dimension() as f64;
        for eps in [0.01, 0.03] {
            let angle = Tensor::from_slice(&[0.1, 0.5, 1.5, 2.5]);
            let score = kernel.score(&angle, &scalar(eps));
            let flat = &angle / (eps * eps);
            // -a/v + (d-1)/2 (1/a - cot a), with half angles for SO(3).
            let (scale, weight) = match kernel.space() {
                Space::Rotations => (0.5, 1.0),
                _ => (1.0, 0.5 * (d - 1.0)),
            };
            let inner = &angle * scale;
            let bend = (inner.reciprocal() - inner.tan().reciprocal()) * (weight * scale);
            let error = largest(&(score + flat - bend));
            assert!(error < 0.5 * eps * eps, "{:?} eps {eps}: {error}", kernel.space());
        }
    }
}

#[test]
fn everything_is_finite_at_the_ends_and_the_score_vanishes_there() {
    for kernel in kernels() {
        for eps in [1e-4, 0.01, 0.5, 1.5, 3.0, 50.0] {
            let angle = Tensor::from_slice(&[0.0, 1e-12, 1e-8, PI - 1e-8, PI]);
            let (log, score) = kernel.evaluate(&angle, &scalar(eps));
            assert!(numbers(&log).iter().chain(&numbers(&score)).all(|x| x.is_finite()));
            assert!(score.double_value(&[0]).abs() < 1e-9, "{:?} {eps}: {score}", kernel.space());
            // At the antipode the law of SO(3) and of spheres is smooth, too.
            if eps > 0.3 {
                assert!(
                    score.double_value(&[4]).abs() < 1e-4,
                    "{:?} {eps}: {score}",
                    kernel.space()
                );
            }
        }
    }
}

/// Distribution function of the angle by Simpson's rule on the host.
fn cdf(kernel: &HeatKernel, eps: f64, angles: &Tensor) -> Tensor {
    let n = 64;
    let u = Tensor::arange(n + 1, F64) / n as f64;
    let weight = Tensor::ones([n + 1], F64) * 2.0;
    let _ = weight.slice(0, 1, n, 2).fill_(4.0);
    let _ = weight.slice(0, 0, n + 1, n).fill_(1.0);
    let nodes = angles.unsqueeze(-1) * u;
    let density = kernel.density(&nodes, &scalar(eps)) * kernel.measure(&nodes);
    (density * weight).sum_dim_intlist([-1].as_slice(), false, None) * angles / (3.0 * n as f64)
}

fn chi_cdf(d: i64, rho: &Tensor) -> Tensor {
    let erf = (rho / 2f64.sqrt()).erf();
    let density = (rho.square() * -0.5).exp();
    match d {
        1 => erf,
        2 => 1.0 - density,
        _ => erf - density * rho * (2.0 / PI).sqrt(),
    }
}

/// The stated errors of the table (docs/src/plugins/brownian.md). The largest errors of the score
/// belong to points near the antipode at scales near 1, which one draw of a thousand reaches.
#[test]
fn the_table_is_within_its_stated_error() {
    for kernel in kernels() {
        let (mut level_error, mut score_error) = (0.0_f64, 0.0_f64);
        let mut stream = Streams::new(5).stream("table", 0);
        for eps in [0.003, 0.00777, 0.0331, 0.123, 0.4321, 0.777, 1.234, 1.5, 2.03, 3.1, 4.5, 5.9] {
            let z = stream.normal(&[1500, kernel.dimension()], F64);
            let (xi, noise) = kernel.noise(&z, &scalar(eps).view([1, 1]));
            let length = |a: &Tensor| a.norm_scalaropt_dim(2, [-1], false);
            let (rho, angle, noise) = (length(&z), length(&xi), length(&noise));
            assert!(angle.max().double_value(&[]) <= PI + 1e-3);
            let levels = cdf(&kernel, eps, &angle) - chi_cdf(kernel.dimension(), &rho);
            level_error = level_error.max(largest(&levels));
            let exact = kernel.score(&angle.clamp_max(PI), &scalar(eps)) * -eps;
            score_error = score_error.max(largest(&(noise - exact)));
        }
        println!(
            "{:?}: distribution function within {level_error:.1e}, eps * score within {score_error:.1e}",
            kernel.space()
        );
        assert!(level_error < 5e-6 && score_error < 3e-3, "{level_error} {score_error}");
    }
}

#[test]
fn single_precision_and_other_shapes_give_the_same() {
    for kernel in kernels() {
        let mut stream = Streams::new(6).stream("kinds", 0);
        let z = stream.normal(&[50, 4, kernel.dimension()], F64);
        let eps = (stream.uniform(&[50, 1, 1], F64) * 7.0 - 5.3).exp();
        let (xi, noise) = kernel.noise(&z, &eps);
        let (xi32, noise32) = kernel.noise(&z.to_kind(Kind::Float), &eps.to_kind(Kind::Float));
        assert_eq!((xi.size(), xi32.kind()), (z.size(), Kind::Float));
        assert!(largest(&(xi - xi32.to_kind(Kind::Double))) < 2e-5);
        assert!(largest(&(noise - noise32.to_kind(Kind::Double))) < 1e-4);
        let (one, _) = kernel.noise(&z.narrow(0, 3, 1), &eps.narrow(0, 3, 1));
        let (all, _) = kernel.noise(&z, &eps);
        assert!(largest(&(one - all.narrow(0, 3, 1))) < 1e-14);
    }
}
