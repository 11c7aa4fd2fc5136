//! Turn and shift as the drive: the law of the noise in both frames, the score, the samplers.

#![allow(clippy::unwrap_used)]

mod error;
mod law;
mod oracle;
mod samplers;

use isotropy_conformance::process::{check_process, check_process_symmetry};
use isotropy_conformance::representation::check_representation;
use isotropy_conformance::{CheckResult, Status};
use isotropy_core::{
    Error, Field, Moves, NoisingProcess, ProcessConfig, Representation, RepresentationConfig,
    State, Streams,
};
use isotropy_diffusion as _;
use isotropy_images::action::image_motion::{ImageMotion, MotionFrame};
use isotropy_images::action::motion::Motion;
use isotropy_se2_images as _;
use serde_json::{Value, json};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);
const FRAMES: [MotionFrame; 2] = [MotionFrame::Body, MotionFrame::Space];

fn config(json: Value) -> Box<dyn ProcessConfig> {
    serde_json::from_value(json).unwrap()
}

/// Continuous time, so that every rule can be tried.
fn process(frame: MotionFrame) -> Box<dyn NoisingProcess> {
    tch::set_num_threads(1);
    let json = json!({
        "type": "motion-ve",
        "angle": {"type": "ve-geometric", "sigma_min": 0.05, "sigma_max": 1.0},
        "shift": {"type": "ve-geometric", "sigma_min": 0.1, "sigma_max": 2.0},
        "steps": null
    });
    config(json).build(Arc::new(ImageMotion::new(frame))).unwrap()
}

/// States with these motions; the picture is blank and as small as it can be.
fn at(motion: Motion) -> State {
    let blank = Tensor::zeros([motion.angle.size()[0], 1, 2, 2], F64);
    ImageMotion::at(&State::new(Field::new(blank, Moves::Image)), motion)
}

fn same_motion(batch: i64, angle: f64, shift: [f64; 2]) -> Motion {
    Motion {
        angle: Tensor::full([batch, 1], angle, F64),
        shift: Tensor::from_slice(&shift).expand([batch, 2], false).contiguous(),
    }
}

/// `(theta, p)`, `[B, 3]`.
fn columns(motion: &Motion) -> Tensor {
    Tensor::cat(&[&motion.angle, &motion.shift], 1)
}

fn worst(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

fn failures(results: &[CheckResult]) -> Vec<String> {
    let failed = results.iter().filter(|r| r.status == Status::Fail);
    failed.map(|r| format!("{}: {} ({:?})", r.check, r.why, r.error)).collect()
}

#[test]
fn both_frames_satisfy_the_suite() {
    tch::set_num_threads(1);
    for frame in FRAMES {
        for seed in 0..3 {
            let drive = ImageMotion::new(frame);
            let results = check_representation(&drive, &Streams::new(seed));
            assert!(failures(&results).is_empty(), "{frame:?}: {:#?}", failures(&results));
            let transport = results.iter().find(|r| r.check == "transport of the flow").unwrap();
            assert_eq!(transport.status, Status::Pass);
        }
        for json in [json!({"type": "motion-ve"}), json!({"type": "motion-ve", "steps": null})] {
            let process = config(json).build(Arc::new(ImageMotion::new(frame))).unwrap();
            let results = check_process(process.as_ref(), &Streams::new(0));
            assert!(failures(&results).is_empty(), "{frame:?}: {:#?}", failures(&results));
            assert!(results.iter().filter(|r| r.status == Status::Pass).count() > 3);
        }
    }
}

#[test]
fn the_body_frame_is_symmetric_under_motions_of_the_canvas_and_the_space_frame_is_not() {
    let symmetry = ImageMotion::new(MotionFrame::Body);
    let spec = || {
        let mut stream = Streams::new(0).stream("spec", 0);
        symmetry.sample_state(2, F64, &mut stream).unwrap().spec()
    };
    let body = process(MotionFrame::Body);
    assert!(body.symmetric_under(&symmetry, &spec()).is_ok());
    let results = check_process_symmetry(body.as_ref(), &symmetry, &Streams::new(0));
    assert_eq!(results[0].status, Status::Pass, "{results:?}");
    let refused = process(MotionFrame::Space).symmetric_under(&symmetry, &spec()).unwrap_err();
    assert!(refused.to_string().contains("isometries"), "{refused}");
}

#[test]
fn other_drives_and_schedules_are_refused_with_a_place() {
    let rotation: Box<dyn RepresentationConfig> =
        serde_json::from_value(json!({"type": "image-rotation"})).unwrap();
    let error = config(json!({"type": "motion-ve"})).build(rotation.build().unwrap()).unwrap_err();
    assert!(error.help().unwrap_or_default().contains("image-motion"), "{error}");
    for (json, pointer) in [
        (json!({"type": "motion-ve", "angle": {"type": "cosine"}}), "/angle"),
        (json!({"type": "motion-ve", "shift": {"type": "cosine"}}), "/shift"),
        (
            json!({"type": "motion-ve", "shift": {"type": "ve-linear", "sigma_max": -1.0}}),
            "/shift/sigma_max",
        ),
        (json!({"type": "motion-ve", "steps": 0}), "/steps"),
        (json!({"type": "motion-ve", "steps": null, "start": 0.0}), "/start"),
    ] {
        let error = config(json).build(Arc::new(ImageMotion::new(MotionFrame::Body))).unwrap_err();
        assert!(matches!(&error, Error::Config { pointer: p, .. } if p == pointer), "{error:?}");
    }
    let body = process(MotionFrame::Body);
    assert!(body.accepts_prediction(isotropy_core::PredictionKind::Clean).is_err());
}
