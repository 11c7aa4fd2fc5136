//! The conformance suite on this plugin's components.

use super::{bridges, representation};
use isotropy_conformance::process::{check_process, check_process_symmetry};
use isotropy_conformance::{CheckResult, Status, model::check_model, sampler::check_sampler};
use isotropy_core::{
    FieldSpec, ModelConfig, ModelContext, Moves, ProcessConfig, SamplerConfig, StateSpec, Streams,
    registry,
};
use serde_json::json;

#[track_caller]
pub fn assert_passes(what: &str, results: &[CheckResult]) {
    let failed: Vec<String> = results
        .iter()
        .filter(|r| r.status == Status::Fail)
        .map(|r| format!("{}: {}", r.check, r.why))
        .collect();
    for r in results {
        println!("{what}: {:?} {} {:?} {:?} {}", r.status, r.check, r.error, r.tolerance, r.why);
    }
    assert!(failed.is_empty(), "{what}:\n{}", failed.join("\n"));
}

#[test]
fn bridges_conform_on_translations() {
    for remove_mean in [false, true] {
        let drive = representation(json!({"type": "translations", "remove_mean": remove_mean}));
        for json in bridges() {
            tch::set_num_threads(1);
            let config: Box<dyn ProcessConfig> = serde_json::from_value(json.clone()).unwrap();
            let process = config.build(drive.clone()).unwrap();
            let results = check_process(process.as_ref(), &Streams::new(1));
            assert_passes(&format!("{json}, mean removed: {remove_mean}"), &results);
            let ran = results.iter().filter(|r| r.status == Status::Pass).count();
            assert!(ran >= 14, "only {ran} checks ran: {json}");
            let rotation = representation(json!({"type": "rotation", "dimension": 2}));
            let results =
                check_process_symmetry(process.as_ref(), rotation.as_ref(), &Streams::new(2));
            assert_passes(&format!("{json} under rotations"), &results);
            assert_eq!(results[0].status, Status::Pass, "{json}: {}", results[0].why);
        }
    }
}

#[test]
fn the_sampler_conforms() {
    tch::set_num_threads(1);
    let catalogue = registry::catalogue().unwrap();
    let component = catalogue.iter().find(|c| c.name == "bridge-heun").unwrap();
    let config: Box<dyn SamplerConfig> = serde_json::from_str(component.example).unwrap();
    let results = check_sampler(config.build().unwrap().as_ref(), &Streams::new(3));
    assert_passes(component.name, &results);
    assert!(results.iter().all(|r| r.status == Status::Pass), "{results:?}");
}

#[test]
fn models_conform() {
    let plane = FieldSpec::new(&[2], Moves::Point);
    let spec = StateSpec::new(plane.clone()).with_context("end", plane);
    for json in bridges() {
        let process = super::process(&json);
        for name in ["gaussian-bridge-oracle", "bridge-preconditioned"] {
            let catalogue = registry::catalogue().unwrap();
            let component = catalogue.iter().find(|c| c.name == name).unwrap();
            let config: Box<dyn ModelConfig> = serde_json::from_str(component.example).unwrap();
            let context =
                ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
            let results = check_model(config.as_ref(), &context, &Streams::new(4));
            assert_passes(&format!("{name} on {json}"), &results);
        }
    }
}
