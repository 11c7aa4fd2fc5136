//! The conformance suite on what image experiments take.

use isotropy_conformance::{CheckResult, Status, model::check_model, sampler::check_sampler};
use isotropy_core::{
    FieldSpec, ModelConfig, ModelContext, Moves, SamplerConfig, ScheduleConfig, StateSpec, Streams,
};
use isotropy_diffusion::schedule::conformance::check_schedule;
use serde_json::json;

#[track_caller]
fn assert_passes(what: &str, results: &[CheckResult], at_least: usize) {
    let failed: Vec<_> = results.iter().filter(|r| r.status == Status::Fail).collect();
    assert!(failed.is_empty(), "{what}: {failed:?}");
    let passed = results.iter().filter(|r| r.status == Status::Pass).count();
    assert!(passed >= at_least, "{what}: only {passed} checks ran");
}

#[test]
fn the_schedule_conforms() {
    for json in [json!({"type": "ddim-cosine"}), json!({"type": "ddim-cosine", "shift": 0.0})] {
        let config: Box<dyn ScheduleConfig> = serde_json::from_value(json).unwrap();
        assert_passes("ddim-cosine", &check_schedule(&config.build().unwrap()), 8);
    }
    let wrong = json!({"type": "ddim-cosine", "shift": 0.1});
    let config: Box<dyn ScheduleConfig> = serde_json::from_value(wrong).unwrap();
    assert!(config.build().unwrap_err().to_string().contains("stretch"));
}

#[test]
fn samplers_conform() {
    tch::set_num_threads(1);
    for json in [
        json!({"type": "image-ddim", "steps": 200}),
        json!({"type": "self-conditioned", "inner": {"type": "ddim", "steps": 50}}),
        json!({"type": "self-conditioned", "inner": {"type": "ancestral", "steps": 100}}),
    ] {
        let config: Box<dyn SamplerConfig> = serde_json::from_value(json.clone()).unwrap();
        let results = check_sampler(config.build().unwrap().as_ref(), &Streams::new(1));
        assert_passes(&json.to_string(), &results, 5);
    }
}

/// Overlapping steps shrink the noise once more at every step, whatever their number.
#[test]
fn the_published_steps_fail_the_check_of_the_law() {
    let json = json!({"type": "image-ddim", "steps": 200, "times": "published-overlapping"});
    let config: Box<dyn SamplerConfig> = serde_json::from_value(json).unwrap();
    let results = check_sampler(config.build().unwrap().as_ref(), &Streams::new(1));
    let failed = results.iter().filter(|r| r.status == Status::Fail);
    let failed: Vec<&str> = failed.map(|r| r.check.as_str()).collect();
    assert_eq!(failed, ["Gaussian data through the exact score"]);
}

#[test]
fn a_clamped_model_conforms() {
    let spec = StateSpec::new(FieldSpec::new(&[3], Moves::Point));
    let process = super::process(
        r#"{"type": "vp", "schedule": {"type": "cosine"}, "steps": null}"#,
        r#"{"type": "translations"}"#,
    );
    let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
    for predicts in ["clean", "noise", "score"] {
        let inner =
            json!({"type": "mlp", "hidden": [8], "inputs": ["x", "time"], "predicts": predicts});
        let config: Box<dyn ModelConfig> =
            serde_json::from_value(json!({"type": "clamped", "inner": inner})).unwrap();
        let results = check_model(config.as_ref(), &context, &Streams::new(1));
        assert_passes(predicts, &results, 5);
    }
}
