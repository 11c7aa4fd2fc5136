//! SO(n): the order of the generators, exp and log up to pi - 1e-3, and the error beyond.

#![allow(clippy::unwrap_used)]

use isotropy_conformance::strategies::GroupSamples;
use isotropy_conformance::{Status, group::check_group};
use isotropy_core::{Element, Error, GroupConfig, LieGroup, Streams, Xi};
use isotropy_groups::group::{So2, So3, SoN};
use std::f64::consts::PI;
use tch::{Device, Kind, Tensor};

fn largest(a: &Tensor) -> f64 {
    a.to_kind(Kind::Double).abs().max().double_value(&[])
}

/// A rotation by the given angles in planes (0, 1), (2, 3), .. of a random basis, and its logarithm.
fn rotation(n: i64, angles: &[f64], kind: Kind, seed: u64) -> (Tensor, Tensor) {
    let streams = Streams::new(seed);
    let group = SoN { dimension: n };
    let basis = GroupSamples::new(&group, &[], Kind::Double, &streams).unwrap().elements("basis");
    let mut xi = vec![0.0; (n * (n - 1) / 2) as usize];
    for (k, angle) in angles.iter().enumerate() {
        let plane = (2 * k as i64, 2 * k as i64 + 1);
        let slot = group.planes().iter().position(|(i, j, _)| (*i, *j) == plane).unwrap();
        xi[slot] = *angle;
    }
    let xi = group.adjoint(&basis, &Tensor::from_slice(&xi).into());
    let r = group.hat(xi.single()).matrix_exp();
    (r.to_kind(kind), xi.single().shallow_clone())
}

#[test]
fn two_and_three_dimensions_agree_with_the_exact_groups() {
    let streams = Streams::new(1);
    let three = SoN { dimension: 3 };
    let samples = GroupSamples::new(&So3, &[16], Kind::Double, &streams).unwrap();
    let (a, b) = (samples.tangents("a"), samples.tangents("b"));
    assert_eq!(three.exp(&a).single(), So3.exp(&a).single());
    let hat = three.hat(a.single()).matrix_exp();
    assert!(largest(&(hat - So3.exp(&a).single())) < 1e-14);
    let g = samples.elements("g");
    assert!(largest(&(three.adjoint(&g, &a).single() - So3.adjoint(&g, &a).single())) < 1e-14);
    assert!(largest(&(three.bracket(&a, &b).single() - So3.bracket(&a, &b).single())) < 1e-14);
    assert!(largest(&(three.log(&g).unwrap().single() - So3.log(&g).unwrap().single())) < 1e-14);
    let two = SoN { dimension: 2 };
    let angle = Tensor::from_slice(&[0.3, -3.0]).unsqueeze(-1);
    let g = two.exp(&angle.shallow_clone().into());
    assert_eq!(g.single(), &So2::matrix(&angle));
    assert!(largest(&(two.hat(&angle).matrix_exp() - g.single())) < 1e-15);
    assert!(largest(&(two.log(&g).unwrap().single() - angle)) < 1e-15);
}

#[test]
fn generators_stand_in_the_documented_order() {
    let planes: Vec<(i64, i64)> =
        SoN { dimension: 4 }.planes().iter().map(|(i, j, _)| (*i, *j)).collect();
    assert_eq!(planes, [(2, 3), (1, 3), (1, 2), (0, 3), (0, 2), (0, 1)]);
    for n in 2..=8 {
        let group = SoN { dimension: n };
        let d = n * (n - 1) / 2;
        let basis = Tensor::eye(d, (Kind::Double, Device::Cpu));
        let hats = group.hat(&basis);
        for (k, (i, j, sign)) in group.planes().into_iter().enumerate() {
            assert_eq!(hats.double_value(&[k as i64, j, i]), sign);
            assert_eq!(hats.double_value(&[k as i64, i, j]), -sign);
        }
        assert_eq!(largest(&hats.sum(Kind::Double)), 0.0);
        assert_eq!(group.vee(&hats), basis);
    }
}

/// One angle near pi, alone and with others; and two near pi, where the logarithm is ill-conditioned
/// (its derivative is pi / (pi - angle)).
#[test]
fn log_is_accurate_up_to_pi_minus_a_thousandth() {
    for (kind, alone, pair) in [(Kind::Double, 1e-12, 1e-10), (Kind::Float, 3e-6, 3e-3)] {
        for n in 4..=8 {
            for gap in [1.0, 0.1, 1e-2, 1e-3] {
                let group = SoN { dimension: n };
                let error = |angles: &[f64]| {
                    let (r, xi) = rotation(n, angles, kind, n as u64);
                    largest(&(group.log(&r.into()).unwrap().single() - xi))
                };
                let one = error(&[PI - gap]).max(error(&[PI - gap, 0.5]));
                assert!(one < alone, "SO({n}), {kind:?}, pi - {gap:e}: {one:.3e}");
                let two = error(&[PI - gap, PI - gap]);
                assert!(two < pair, "SO({n}), {kind:?}, twice pi - {gap:e}: {two:.3e}");
            }
        }
    }
}

#[test]
fn beyond_pi_minus_a_thousandth_log_is_an_error_that_says_the_angle() {
    for n in 4..=8 {
        for gap in [5e-4, 1e-6, 0.0] {
            let (r, _) = rotation(n, &[0.3, PI - gap], Kind::Double, 5);
            let error = SoN { dimension: n }.log(&r.into()).unwrap_err();
            assert!(matches!(error, Error::Unsupported(_)), "{error}");
            let text = error.to_string();
            let angle = format!("{:.5}", PI - gap);
            assert!(text.contains(&angle[..6]) && text.contains("pi - "), "{text}");
        }
    }
}

#[test]
fn tiny_angles_keep_their_digits() {
    let group = SoN { dimension: 6 };
    let direction = [1.0, -2.0, 0.5, 3.0, 0.0, 0.1, 1.0, 1.0, 2.0, -1.0, 0.3, 4.0, 1.0, -2.0, 0.5];
    for k in 3..=20 {
        let xi = Tensor::from_slice(&direction) * 10f64.powi(-k);
        let back = group.log(&group.exp(&Xi::from(xi.shallow_clone()))).unwrap();
        let error = largest(&((back.single() - &xi) * 10f64.powi(k)));
        assert!(error < 1e-11, "1e-{k}: {error:e}");
    }
}

#[test]
fn what_is_not_a_rotation_is_refused_with_the_size_of_the_violation() {
    let group = SoN { dimension: 5 };
    let stretched = Element::from(Tensor::eye(5, (Kind::Double, Device::Cpu)) * 1.1);
    let text = group.log(&stretched).unwrap_err().to_string();
    // 1.1^2 - 1 + 1.1^5 - 1
    assert!(text.contains("8.205e-1"), "{text}");
    let wrong_shape = Element::from(Tensor::eye(4, (Kind::Double, Device::Cpu)));
    assert!(matches!(group.log(&wrong_shape), Err(Error::Numbers(_))));
}

#[test]
fn every_dimension_satisfies_the_suite() {
    tch::set_num_threads(1);
    for n in 2..=8 {
        let json = format!(r#"{{"type": "so-n", "dimension": {n}}}"#);
        let config: Box<dyn GroupConfig> = serde_json::from_str(&json).unwrap();
        let results = check_group(config.build().unwrap().as_ref(), &Streams::new(0));
        for result in results {
            assert!(result.status != Status::Fail, "SO({n}): {result:?}");
        }
    }
    for n in [1, 9] {
        let json = format!(r#"{{"type": "so-n", "dimension": {n}}}"#);
        assert!(serde_json::from_str::<Box<dyn GroupConfig>>(&json).unwrap().build().is_err());
    }
}
