//! Averages of a model over a group.

use super::{F64, GROUPS, distance, images, model, pixels, process, refusal, representation};
use crate::conformance::assert_passes;
use isotropy_conformance::{Status, model::check_model};
use isotropy_core::{
    Field, ModelConfig, ModelContext, Moves, Prediction, PredictionKind, Representation, Result,
    ScoreModel, State, Streams,
};
use isotropy_diffusion::model::{average_over, orbit};
use isotropy_equivariant_bridges::process::END;
use serde_json::json;
use tch::{Kind, Tensor};

fn averaged(group: &str) -> serde_json::Value {
    json!({
        "type": "group-averaged",
        "symmetry": {"type": "image-permutation", "group": group},
        "inner": {
            "type": "bridge-preconditioned",
            "inner": {"type": "mlp", "hidden": [16], "inputs": ["x", "end", "time"], "predicts": "clean"}
        }
    })
}

#[test]
fn any_model_becomes_equivariant_and_one_that_is_not_averaged_is_not() {
    let process = process(&json!({"type": "vp-bridge"}));
    let spec = images(1, 4).spec();
    for group in GROUPS {
        let symmetry = pixels(group);
        let context = ModelContext {
            spec: &spec,
            process: Some(process.as_ref()),
            symmetry: Some(&symmetry),
        };
        let config: Box<dyn ModelConfig> = serde_json::from_value(averaged(group)).unwrap();
        let results = check_model(config.as_ref(), &context, &Streams::new(4));
        assert_passes(group, &results);
        let equivariance = results.iter().find(|r| r.check.starts_with("equivariance")).unwrap();
        assert_eq!(equivariance.status, Status::Pass, "{group}");
    }
    // Averaged over another group it claims nothing.
    let symmetry = pixels("square");
    let (_store, other) =
        model(&averaged("flips"), process.as_ref(), Some(&symmetry), &spec, Kind::Double);
    assert!(!other.claims_symmetry());
}

/// `x` times a mask plus the other end times another: nothing that a symmetry would keep.
struct Lopsided;

fn mask(x: &Tensor, slope: f64) -> Tensor {
    let size = x.size();
    let (rows, columns) = (size[2], size[3]);
    (Tensor::arange(rows * columns, F64) * slope).view([1, 1, rows, columns])
}

impl ScoreModel for Lopsided {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Clean
    }

    fn predict(&self, state: &State, _: &Tensor, _: bool) -> Result<Prediction> {
        let (x, end) = (state.x(), &state.given(END)?.tensor);
        Ok(Prediction::one(PredictionKind::Clean, x * mask(x, 0.1) + end * mask(x, -0.03)))
    }
}

fn equivariance_error(state: &State, symmetry: &dyn Representation, moved: &State, k: i64) -> f64 {
    let drive = representation(json!({"type": "translations"}));
    let t = Tensor::ones([state.batch_size()], F64);
    let predict =
        |state: &State| average_over(&Lopsided, symmetry, drive.drive(), state, &t, false).unwrap();
    let here = predict(state).heads[0].single().shallow_clone();
    let h = Tensor::full([state.batch_size()], k, (Kind::Int64, tch::Device::Cpu)).into();
    let expected = symmetry.act_tangent(&h, state, &here).unwrap();
    distance(predict(moved).heads[0].single(), &expected)
}

/// Both ends have to be moved: with an end that stays where it is the average is not equivariant.
#[test]
fn both_ends_are_moved() {
    let symmetry = pixels("square");
    let state = images(3, 4);
    let fixed = |state: &State| {
        let end = &state.given(END).unwrap().tensor;
        state.clone().with_context(END, Field::new(end.shallow_clone(), Moves::Fixed))
    };
    for k in 1..8 {
        let h = Tensor::full([3], k, (Kind::Int64, tch::Device::Cpu)).into();
        let moved = symmetry.act(&h, &state).unwrap();
        assert!(equivariance_error(&state, symmetry.as_ref(), &moved, k) < 1e-12, "{k}");
        let error = equivariance_error(&fixed(&state), symmetry.as_ref(), &fixed(&moved), k);
        assert!(error > 0.01, "{k}: {error}");
    }
}

#[test]
fn an_orbit_has_the_points_under_every_element_in_order() {
    let symmetry = pixels("quarter-turns");
    let state = images(2, 3);
    let (moved, elements) = orbit(symmetry.as_ref(), &state).unwrap();
    assert_eq!(moved.batch_size(), 8);
    let rows: Vec<i64> = Vec::try_from(elements.single()).unwrap();
    assert_eq!(rows, [0, 0, 1, 1, 2, 2, 3, 3]);
    let turned = state.x().rot90(1, [-2, -1]);
    assert_eq!(distance(&moved.x().narrow(0, 2, 2), &turned), 0.0);
    let end = &state.given(END).unwrap().tensor;
    assert_eq!(
        distance(&moved.given(END).unwrap().tensor.narrow(0, 2, 2), &end.rot90(1, [-2, -1])),
        0.0
    );
}

#[test]
fn what_cannot_be_averaged_is_refused() {
    let process = process(&json!({"type": "vp-bridge"}));
    let spec = images(1, 4).spec();
    let build = |json: serde_json::Value, spec: &isotropy_core::StateSpec| {
        let config: Box<dyn ModelConfig> = serde_json::from_value(json).unwrap();
        let store = tch::nn::VarStore::new(tch::Device::Cpu);
        let context = ModelContext { spec, process: Some(process.as_ref()), symmetry: None };
        config.build(&store.root(), &context).map(|_| ())
    };
    let mut infinite = averaged("square");
    infinite["symmetry"] = json!({"type": "rotation", "dimension": 2});
    assert!(refusal(build(infinite, &spec)).contains("infinitely many"));
    let mut none = averaged("square");
    none["symmetry"] = json!(null);
    assert!(refusal(build(none, &spec)).contains("no action"));
    let flat = Field::new(Tensor::zeros([1, 1, 4, 5], F64), Moves::Image);
    let oblong = State::new(flat.clone()).with_context(END, flat).spec();
    assert!(refusal(build(averaged("square"), &oblong)).contains("square"));
}
