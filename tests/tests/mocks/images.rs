//! Symmetric images: T(CHW) under quarter turns; VP and VE.

use crate::groups::{Cyclic, QuarterTurns};
use crate::harness::{F64, Oracle, Row, assert_close, normal, stream};
use crate::ou::{Noise, Ou};
use crate::translations::Translations;
use isotropy_core::{Field, Group, Moves, NoisingProcess, PredictionKind, Representation, State};
use std::sync::Arc;
use tch::{Kind, Tensor};

fn row(noise: Noise) -> Row {
    // Data: independent pixels around a bump in the middle, an invariant law.
    let bump = Tensor::from_slice(&[0.0, 1.0, 1.0, 0.0]);
    let bump = bump.outer(&bump).expand([8, 2, 4, 4], false);
    let clean = State::new(Field::new(normal("images", &[8, 2, 4, 4]) * 0.1 + &bump, Moves::Image));
    let model = Oracle(
        PredictionKind::Clean,
        Box::new(move |state, t| {
            let (mean, std) = noise.at(t);
            let gain = 0.01 * mean / (0.01 * mean * mean + std * std);
            let bump = Tensor::from_slice(&[0.0, 1.0, 1.0, 0.0]);
            let bump = bump.outer(&bump);
            Ok((&bump + (state.x() - &bump * mean) * gain).into())
        }),
    );
    Row {
        process: Box::new(Ou::new(Translations { remove_mean: false }, &[noise])),
        model,
        clean,
        symmetry: Some(Arc::new(QuarterTurns)),
        push_tolerance: 1e-7,
        refused: vec![],
    }
}

#[test]
fn images_have_quarter_turns() {
    for noise in [Noise::Vp(8.0), Noise::Ve(3.0)] {
        let samples = row(noise).check(200);
        let middle = samples.x().narrow(2, 1, 2).narrow(3, 1, 2).mean(Kind::Double);
        assert!((middle.double_value(&[]) - 1.0).abs() < 0.1);
    }
}

#[test]
fn an_element_of_a_finite_group_is_an_index() {
    let images = State::new(Field::new(normal("one", &[4, 1, 4, 4]), Moves::Image));
    let elements = Cyclic(4).finite().unwrap().elements(images.x().device());
    let turned = QuarterTurns.act(&elements, &images).unwrap();
    let back = QuarterTurns.act(&Cyclic(4).inverse(&elements), &turned).unwrap();
    assert_close("inverse", back.x(), images.x(), 0.0);
    assert_eq!(QuarterTurns.element_shape(&images).unwrap(), [[4]]);
    assert_close("clockwise", &turned.x().get(1), &images.x().get(1).rot90(1, [-1, -2]), 0.0);
}

#[test]
fn preconditioners_keep_the_kernel_and_grids_find_their_times() {
    let process = Ou::new(Translations { remove_mean: false }, &[Noise::Ve(3.0)]);
    let kernel = process.kernel_of_time().unwrap();
    let t = stream("t").uniform(&[8, 1, 1, 1], F64);
    let isotropy_core::Scale::Each(std) = &kernel(&t).std[0] else { panic!("one for each point") };
    assert_close("sigma", std, &(&t * 3.0), 1e-12);
    let t = process.time_of_noise(1.5).unwrap();
    assert!((t - 0.5).abs() < 1e-12);
}
