//! The largest error of log(exp(xi)) of each group at the hard places, as a table:
//! `cargo test --release -p isotropy-groups --test accuracy -- --nocapture`.

#![allow(clippy::unwrap_used)]

use isotropy_conformance::strategies::{GroupSamples, large_norms, small_norms};
use isotropy_core::{Group, GroupConfig, LieGroup, Streams, Xi};
use isotropy_groups as _;
use tch::{Kind, Tensor};

fn largest(xi: &Xi) -> f64 {
    let of = |t: &Tensor| t.to_kind(Kind::Double).abs().max().double_value(&[]);
    xi.0.iter().map(of).fold(0.0, f64::max)
}

/// Errors of `log(exp(xi))` relative to `|xi| <= 1e-3`, relative near the injectivity radius, and of
/// its gradient anywhere.
fn errors(group: &dyn Group, kind: Kind) -> [f64; 3] {
    let streams = Streams::new(0);
    let lie = group.lie().unwrap();
    let samples = GroupSamples::new(group, &[32], kind, &streams).unwrap();
    let mut worst = [0.0_f64; 3];
    let both = |norm| [samples.tangents_of_norm("xi", norm), samples.tangents_along_axes(norm)];
    let back = |xi: &Xi| lie.log(&lie.exp(xi)).unwrap();
    for (slot, norms) in
        [small_norms(), large_norms(lie.injectivity_radius(), kind)].iter().enumerate()
    {
        for norm in norms {
            for xi in both(*norm) {
                worst[slot] = worst[slot].max(largest(&back(&xi).sub(&xi)) / norm);
            }
        }
    }
    let places: Vec<Tensor> =
        samples.hard_tangents("xi").iter().map(|(_, xi)| xi.single().shallow_clone()).collect();
    let weights = samples.tangents("weights").single().repeat([places.len() as i64, 1]);
    let leaf = Tensor::cat(&places, 0).set_requires_grad(true);
    let sum = (back(&leaf.shallow_clone().into()).single() * &weights).sum(kind);
    let gradient = Tensor::run_backward(&[sum], &[leaf], false, false);
    worst[2] = largest(&(&gradient[0] - &weights).into()) / largest(&weights.into());
    worst
}

#[test]
fn the_table_of_accuracies_in_the_book_holds() {
    tch::set_num_threads(1);
    // Bounds in f64, then in f32: small, large, gradient.
    let table = [
        (r#"{"type": "so2"}"#, [1e-15, 1e-15, 1e-15], [1e-6, 1e-6, 1e-6]),
        (r#"{"type": "so3"}"#, [1e-14, 1e-14, 1e-14], [1e-6, 1e-6, 1e-5]),
        (r#"{"type": "su2"}"#, [1e-14, 1e-9, 1e-8], [1e-6, 1e-4, 1e-2]),
        (r#"{"type": "se2"}"#, [1e-14, 1e-13, 1e-12], [1e-5, 1e-5, 1e-4]),
        (r#"{"type": "se3"}"#, [1e-14, 1e-13, 1e-12], [1e-5, 1e-5, 1e-4]),
        (r#"{"type": "so-n", "dimension": 4}"#, [1e-13, 1e-12, 1e-9], [1e-5, 1e-5, 1e-4]),
        (r#"{"type": "so-n", "dimension": 6}"#, [1e-13, 1e-12, 1e-9], [1e-5, 1e-5, 1e-4]),
        (r#"{"type": "so-n", "dimension": 8}"#, [1e-13, 1e-12, 1e-9], [1e-5, 1e-5, 1e-4]),
        (r#"{"type": "tori", "dimension": 3}"#, [1e-15, 1e-15, 1e-15], [1e-6, 1e-6, 1e-6]),
        (r#"{"type": "dilations"}"#, [1e-15, 1e-15, 1e-15], [1e-6, 1e-6, 1e-6]),
        (r#"{"type": "translations", "dimension": 3}"#, [1e-15, 1e-15, 1e-15], [1e-6, 1e-6, 1e-6]),
        (r#"{"type": "heisenberg"}"#, [1e-15, 1e-15, 1e-15], [1e-6, 1e-6, 1e-6]),
        (r#"{"type": "gl-n", "dimension": 2}"#, [1e-3, 1e-12, 1e-11], [1e6, 1e-4, 1e-3]),
        (r#"{"type": "gl-n", "dimension": 4}"#, [1e-3, 1e-12, 1e-11], [1e6, 1e-4, 1e-3]),
    ];
    println!(
        "| group | small, f64 | large, f64 | gradient, f64 | small, f32 | large, f32 | gradient, f32 |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut failures = Vec::new();
    for (json, double, single) in table {
        let config: Box<dyn GroupConfig> = serde_json::from_str(json).unwrap();
        let group = config.build().unwrap();
        let found = [errors(group.as_ref(), Kind::Double), errors(group.as_ref(), Kind::Float)];
        let cells: Vec<String> = found.iter().flatten().map(|e| format!("{e:.0e}")).collect();
        println!("| {} | {} |", group.name(), cells.join(" | "));
        for (found, bounds) in found.iter().zip([double, single]) {
            for (error, bound) in found.iter().zip(bounds) {
                if error.is_nan() || *error > bound {
                    failures.push(format!("{}: {error:e} > {bound:e}", group.name()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Rigid motions whose rotation is a half turn exactly, or nearly: the coefficients that log gives
/// lead back to the motion, and nothing is NaN or zero by accident.
#[test]
fn rigid_motions_by_half_turns_have_logarithms() {
    use isotropy_groups::group::{Se2, Se3};
    use std::f64::consts::PI;
    let groups: [(&dyn LieGroup, i64); 2] = [(&Se2, 1), (&Se3, 3)];
    for (group, angles) in groups {
        for (kind, tolerance) in [(Kind::Double, 1e-14), (Kind::Float, 3e-6)] {
            let streams = Streams::new(4);
            let samples = GroupSamples::new(group, &[64], kind, &streams).unwrap();
            for gap in [0.0, 1e-15, 1e-12, 1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3] {
                let xi = samples.tangents("xi");
                let size = xi.single().size()[1];
                let turn = xi.single().narrow(1, 0, angles).to_kind(Kind::Double);
                let turn = &turn / turn.norm_scalaropt_dim(2, [-1], true) * (PI - gap);
                let rest = xi.single().narrow(1, angles, size - angles);
                let xi = Tensor::cat(&[turn.to_kind(kind), rest.shallow_clone()], 1);
                let g = group.exp(&xi.shallow_clone().into());
                let leaf = g.single().detach().set_requires_grad(true);
                let back = group.log(&leaf.shallow_clone().into()).unwrap();
                let again = group.exp(&back);
                let error = group.distance(&again, &g).max().double_value(&[]);
                assert!(error < tolerance, "{}, pi - {gap:e}, {kind:?}: {error:e}", group.name());
                let angle = back.single().narrow(1, 0, angles).norm_scalaropt_dim(2, [-1], false);
                let off = (angle - (PI - gap)).abs().max().double_value(&[]);
                assert!(off < tolerance, "{}, pi - {gap:e}, {kind:?}: {off:e}", group.name());
                let sum = back.single().sum(kind);
                let gradient = Tensor::run_backward(&[sum], &[leaf], false, false);
                let size = gradient[0].abs().max().double_value(&[]);
                assert!(size.is_finite() && size > 0.0, "{}, pi - {gap:e}", group.name());
            }
        }
    }
}

/// The half turn of a rotation of space has two logarithms; the component of largest modulus is
/// positive, for SE(3) as for SO(3).
#[test]
fn a_half_turn_of_space_has_the_documented_sign() {
    use isotropy_groups::group::Se3;
    for (kind, tolerance) in [(Kind::Double, 1e-14), (Kind::Float, 2e-6)] {
        let axis = Tensor::from_slice(&[0.36, -0.8, 0.48]).to_kind(kind) * std::f64::consts::PI;
        let v = Tensor::from_slice(&[1.0, 2.0, 3.0]).to_kind(kind);
        let g = Se3.exp(&Tensor::cat(&[&axis, &v], 0).into());
        let back = Se3.log(&g).unwrap();
        let off = (back.single().narrow(0, 0, 3) + axis).abs().max().double_value(&[]);
        assert!(off < tolerance, "{back:?}");
    }
}
