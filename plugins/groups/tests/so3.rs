//! SO(3) through quaternions, ZYZ Euler angles and rotation vectors, at the hard places.

#![allow(clippy::unwrap_used)]

use isotropy_conformance::strategies::{GroupSamples, small_norms};
use isotropy_core::{Group, LieGroup, Streams};
use isotropy_groups::group::So3;
use std::f64::consts::PI;
use tch::{Device, Kind, Tensor};

const KINDS: [(Kind, f64); 2] = [(Kind::Double, 1e-14), (Kind::Float, 4e-6)];

fn largest(a: &Tensor) -> f64 {
    a.to_kind(Kind::Double).abs().max().double_value(&[])
}

/// Random rotations, small ones, half turns about every axis and nearly half turns.
fn rotations(kind: Kind) -> Tensor {
    let streams = Streams::new(3);
    let samples = GroupSamples::new(&So3, &[64], kind, &streams).unwrap();
    let mut all: Vec<Tensor> =
        samples.hard_elements("g").into_iter().map(|(_, g)| g.single().shallow_clone()).collect();
    for gap in [0.0, 1e-12, 1e-9, 1e-7, 1e-5, 1e-3] {
        all.push(So3.exp(&samples.tangents_along_axes(PI - gap)).single().shallow_clone());
    }
    Tensor::cat(&all, 0)
}

#[test]
fn a_quaternion_goes_there_and_back_at_every_rotation() {
    for (kind, tolerance) in KINDS {
        let r = rotations(kind);
        let q = So3::quaternion(&r);
        assert!(largest(&(So3::from_quaternion(&q) - &r)) < tolerance, "{kind:?}");
        assert!(largest(&(q.norm_scalaropt_dim(2, [-1], false) - 1.0)) < tolerance);
        // The sign: w >= 0, and for half turns the entry of largest modulus is positive.
        let w = q.select(-1, 0);
        let rounding = if kind == Kind::Double { 1e-15 } else { 5e-7 };
        assert!(w.min().double_value(&[]) >= -rounding);
        let biggest = q.gather(-1, &q.abs().argmax(-1, true), false).squeeze_dim(-1);
        let half_turn = w.abs().le(rounding).logical_and(&biggest.lt(0.0));
        assert_eq!(half_turn.any().int64_value(&[]), 0);
        // -q stands for the same rotation.
        assert_eq!(largest(&(So3::from_quaternion(&q.neg()) - So3::from_quaternion(&q))), 0.0);
    }
}

#[test]
fn zyz_angles_go_there_and_back_at_every_rotation() {
    for (kind, tolerance) in KINDS {
        let angles = |phi1: f64, theta: f64, phi2: f64| {
            Tensor::from_slice(&[phi1, theta, phi2]).to_kind(kind).unsqueeze(0)
        };
        let mut all = vec![rotations(kind)];
        let mut thetas = vec![0.0, 1.0, PI, -0.5, 4.0];
        thetas.extend(small_norms().iter().flat_map(|e| [*e, PI - e]));
        for theta in thetas {
            for (phi1, phi2) in [(0.0, 0.0), (0.4, -1.3), (PI, 0.5 * PI), (-2.0, 3.0)] {
                all.push(So3::from_euler_zyz(&angles(phi1, theta, phi2)));
            }
        }
        let r = Tensor::cat(&all, 0);
        let back = So3::euler_zyz(&r);
        assert!(largest(&(So3::from_euler_zyz(&back) - &r)) < tolerance, "{kind:?}");
        let theta = back.select(-1, 1);
        assert!(theta.min().double_value(&[]) >= 0.0 && largest(&theta) <= PI + 1e-6);
        assert!(largest(&back) <= PI + 1e-6);
        // Angles of the principal branch come back themselves.
        let there = angles(0.4, 1.1, -2.3);
        assert!(largest(&(So3::euler_zyz(&So3::from_euler_zyz(&there)) - there)) < tolerance);
    }
}

/// R = Rz(phi1) Ry(theta) Rz(phi2), by the exponential map.
#[test]
fn zyz_angles_are_turns_about_z_y_and_z() {
    let turn = |axis: usize, angle: f64| {
        let mut xi = [0.0; 3];
        xi[axis] = angle;
        So3.exp(&Tensor::from_slice(&xi).into()).single().shallow_clone()
    };
    let expected = turn(2, 0.4).matmul(&turn(1, 1.1)).matmul(&turn(2, -2.3));
    let r = So3::from_euler_zyz(&Tensor::from_slice(&[0.4, 1.1, -2.3]));
    assert!(largest(&(r - expected)) < 1e-15);
}

#[test]
fn gimbal_lock_gives_the_first_angle_zero_and_no_nan() {
    for (theta, phi2) in [(0.0, 0.7), (PI, -1.9)] {
        let r = So3::from_euler_zyz(&Tensor::from_slice(&[0.3, theta, phi2]));
        let r = r.set_requires_grad(true);
        let back = So3::euler_zyz(&r);
        assert_eq!(back.double_value(&[0]), 0.0);
        let expected = if theta == 0.0 { phi2 + 0.3 } else { phi2 - 0.3 };
        assert!((back.double_value(&[2]) - expected).abs() < 1e-14);
        let gradient = Tensor::run_backward(&[back.sum(Kind::Double)], &[r], false, false);
        assert!(largest(&gradient[0]).is_finite());
    }
}

#[test]
fn maps_have_finite_derivatives_at_the_identity_and_at_half_turns() {
    let half = Tensor::from_slice(&[1.0, -1.0, -1.0]).diag(0);
    for r in [Tensor::eye(3, (Kind::Double, Device::Cpu)), half] {
        for map in [So3::quaternion, So3::euler_zyz] {
            let leaf = r.detach().set_requires_grad(true);
            let sum = map(&leaf).sum(Kind::Double);
            let gradient = Tensor::run_backward(&[sum], &[leaf], false, false);
            assert!(largest(&gradient[0]).is_finite());
        }
        let leaf = r.detach().set_requires_grad(true);
        let xi = So3.log(&leaf.shallow_clone().into()).unwrap();
        let gradient =
            Tensor::run_backward(&[xi.single().sum(Kind::Double)], &[leaf], false, false);
        assert!(largest(&gradient[0]).is_finite());
    }
}

#[test]
fn a_quaternion_that_is_no_unit_makes_a_matrix_that_is_refused() {
    let q = Tensor::from_slice(&[0.8, 0.8, 0.0, 0.0]);
    let error = So3.check(&So3::from_quaternion(&q).into()).unwrap_err().to_string();
    assert!(error.contains("SO(3)") && error.contains("violated by"), "{error}");
}
