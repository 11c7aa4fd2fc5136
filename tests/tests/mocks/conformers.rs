//! Conformers. Published drive: (SO(3)xR+)^N, flow coordinates on each atom, no
//! symmetry. Symmetric drive: T(3)^N without the mean, under E(3). Both with a mask.

use crate::groups::{ByTags, Euclid};
use crate::harness::{F64, Oracle, Row, assert_close, normal};
use crate::ou::{Noise, Ou};
use crate::spherical::Spherical;
use crate::translations::Translations;
use isotropy_core::{Field, FlowCoordinates, Moves, PredictionKind, Representation, State};
use std::sync::Arc;
use tch::{Kind, Tensor};

/// Molecules of 5 and 4 atoms in turn; the fifth atom is padding in every second one. The native
/// conformer is in the context for the oracle and moves with everything else.
fn molecules() -> State {
    let mask = Tensor::ones([6, 5], F64);
    let _ = mask.select(1, 4).slice(0, 1, 6, 2).fill_(0.0);
    let x = normal("molecules", &[6, 5, 3]) * mask.unsqueeze(-1);
    let point = |x: &Tensor| Field::new(x.shallow_clone(), Moves::Point).indexed(1);
    State::new(point(&x))
        .with_context("native", point(&x))
        .with_context(State::MASK, Field::new(mask, Moves::Fixed).indexed(1))
}

fn e3() -> Arc<dyn Representation> {
    Arc::new(ByTags(Euclid { n: 3, translate: true, reflect: true }))
}

fn native(state: &State) -> State {
    let mut native = state.with_value(state.given("native").unwrap().tensor.shallow_clone());
    native.lift.clear();
    native
}

fn assert_samples_are_native(row: &Row, samples: &State, centred: bool, tolerance: f64) {
    let mask = samples.mask().unwrap().unsqueeze(-1);
    let centre = |x: &Tensor| {
        let mean = (x * &mask).sum_dim_intlist(1, true, Kind::Double)
            / mask.sum_dim_intlist(1, true, Kind::Double);
        if centred { (x - mean) * &mask } else { x * &mask }
    };
    assert_close("samples", &centre(samples.x()), &centre(row.clean.x()), tolerance);
}

#[test]
fn conformers_published_drive_moves_each_atom_and_leaves_padding() {
    let model = Oracle(
        PredictionKind::Clean,
        Box::new(|state, _| Ok(Spherical::new(3).tau(&native(state)))),
    );
    let row = Row {
        process: Box::new(Ou::new(Spherical::new(3), &[Noise::Vp(8.0)])),
        model,
        clean: molecules(),
        symmetry: None,
        push_tolerance: 1e-7,
        refused: vec![(e3(), "axis")],
    };
    let samples = row.check(400);
    assert_samples_are_native(&row, &samples, false, 0.6);
    let padding = samples.x() * (samples.mask().unwrap().unsqueeze(-1) * -1.0 + 1.0);
    assert_eq!(padding.abs().max().double_value(&[]), 0.0);
    // The prior's density exists and counts every atom that is there.
    let density = row.process.prior_log_prob(&samples).unwrap().unwrap();
    assert_eq!(density.size(), [6]);
}

#[test]
fn conformers_symmetric_drive_has_e3() {
    let model = Oracle(
        PredictionKind::Clean,
        Box::new(|state, _| Ok(Translations { remove_mean: true }.tau(&native(state)))),
    );
    let row = Row {
        process: Box::new(Ou::new(Translations { remove_mean: true }, &[Noise::Vp(8.0)])),
        model,
        clean: molecules(),
        symmetry: Some(e3()),
        push_tolerance: 1e-7,
        refused: vec![],
    };
    let samples = row.check(400);
    assert_samples_are_native(&row, &samples, true, 0.6);
}

#[test]
fn with_the_mean_the_same_process_refuses_translations() {
    let process = Ou::new(Translations { remove_mean: false }, &[Noise::Vp(8.0)]);
    let refusal = isotropy_core::NoisingProcess::symmetric_under(
        &process,
        e3().as_ref(),
        &molecules().spec(),
    );
    assert!(refusal.unwrap_err().to_string().contains("drift"));
}

#[test]
fn the_kernel_in_the_mean_free_space_has_its_variance() {
    let process = Ou::new(Translations { remove_mean: true }, &[Noise::Vp(8.0)]);
    let x = Tensor::zeros([20_000, 4, 3], F64);
    let clean = State::new(Field::new(x, Moves::Point).indexed(1));
    let t = Tensor::full([20_000], 0.1, F64);
    let mut stream = crate::harness::stream("kernel");
    let noisy = isotropy_core::NoisingProcess::perturb(&process, &clean, &t, &mut stream).unwrap();
    let variance = noisy.noisy.x().square().mean(Kind::Double).double_value(&[]);
    // Removing the mean of four atoms leaves three quarters of the variance.
    let expected = 0.75 * -(-0.8f64).exp_m1();
    assert!((variance - expected).abs() < 0.01 * expected, "{variance} for {expected}");
}
