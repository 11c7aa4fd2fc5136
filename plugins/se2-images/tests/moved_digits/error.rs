//! What `motion-error` says of motions that are known.

use crate::{F64, same_motion};
use isotropy_core::{
    Error, Evaluation, Field, LoadContext, Measured, MetricConfig, Moves, Prediction,
    PredictionKind, Result, ScoreModel, Services, State, Streams,
};
use isotropy_images::action::image_motion::ImageMotion;
use isotropy_se2_images::dataset::moved_digits::{MOVED, TRUE_SHIFT};
use isotropy_se2_images::dataset::rotated_digits::{TRUE_ANGLE, UPRIGHT};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};

struct Nothing;

impl ScoreModel for Nothing {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Noise
    }

    fn predict(&self, _state: &State, _t: &Tensor, _train: bool) -> Result<Prediction> {
        Err(Error::Unsupported("no prediction is needed".into()))
    }
}

impl Services for Nothing {
    fn trained_model(&self, _config: &str) -> Result<Box<dyn ScoreModel>> {
        Ok(Box::new(Self))
    }
}

/// Three smooth spots on a canvas that they cannot leave, `[1, 1, 40, 40]`: no turn leaves them as they are.
fn upright() -> Tensor {
    let axis = Tensor::arange(40, F64) - 19.5;
    let (x, y) = (axis.unsqueeze(0), axis.neg().unsqueeze(1));
    let spot = |right: f64, up: f64| {
        (((&x - right).square() + (&y - up).square()) / -8.0).exp().reshape([1, 1, 40, 40])
    };
    spot(-5.0, 7.0) + spot(-5.0, -6.0) * 0.8 + spot(6.0, -6.0) * 0.6
}

fn measured(by: &str, samples: &State) -> Vec<Measured> {
    let config: Box<dyn MetricConfig> =
        serde_json::from_value(json!({"type": "motion-error", "by": by})).unwrap();
    let load = LoadContext {
        data_dir: PathBuf::new(),
        kind: Kind::Double,
        device: Device::Cpu,
        streams: Streams::new(0),
    };
    let evaluation = Evaluation {
        samples,
        start: samples,
        trajectory: &[],
        reference: samples,
        process: None,
        model: &Nothing,
        streams: &Streams::new(0),
        load: &load,
        services: &Nothing,
    };
    config.build().unwrap().measure(&evaluation).unwrap()
}

#[test]
fn the_motion_that_is_left_is_said_by_the_sampler_and_seen_by_looking() {
    let (truth, left) = (same_motion(1, 2.0, [3.0, -1.0]), same_motion(1, 0.35, [-2.0, 1.0]));
    let picture = |tensor: Tensor| Field::new(tensor, Moves::Fixed);
    let moved = truth.render(&upright());
    let given = State::new(Field::new(moved.shallow_clone(), Moves::Image));
    let samples = ImageMotion::at(&given, left.after(&truth.inverse()))
        .with_context(UPRIGHT, picture(upright()))
        .with_context(MOVED, picture(moved))
        .with_context(TRUE_ANGLE, picture(truth.angle.shallow_clone()))
        .with_context(TRUE_SHIFT, picture(truth.shift.shallow_clone()));
    let both = measured("both", &samples);
    let found: BTreeMap<&str, f64> = both.iter().map(|m| (m.name.as_str(), m.value)).collect();
    assert_eq!(found.len(), both.len(), "every number has a name of its own");
    let near = |name: &str, expected: f64, within: f64| {
        let value = found[name];
        assert!((value - expected).abs() <= within, "{name}: {value}, not {expected}");
    };
    near("angle_error_mean_degrees", 0.35_f64.to_degrees(), 1e-9);
    near("shift_error_median_pixels", 5.0_f64.sqrt(), 1e-9);
    near("angle_error_half_turns_fraction", 0.0, 0.0);
    // Registration looks in whole degrees and pixels, at a picture that was interpolated twice.
    near("angle_error_registered_mean_degrees", 0.35_f64.to_degrees(), 1.0);
    near("shift_error_registered_mean_pixels", 5.0_f64.sqrt(), 1e-9);
    near("angle_error_registered_brought_back_mean_degrees", 0.0, 1.0);
    near("shift_error_registered_brought_back_mean_pixels", 0.0, 1e-9);
    near("angle_error_input_mean_degrees", 2.0_f64.to_degrees(), 1e-9);
    near("shift_error_input_mean_pixels", 10.0_f64.sqrt(), 1e-9);
    // Either way alone says the same.
    for by in ["motion", "registration"] {
        for m in measured(by, &samples) {
            near(&m.name, m.value, 0.0);
        }
    }
}
