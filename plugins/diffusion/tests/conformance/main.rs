//! The conformance suite on this plugin's processes, samplers and oracles.

#![allow(clippy::unwrap_used)]

mod images;

use isotropy_conformance::process::{check_process, check_process_symmetry};
use isotropy_conformance::{CheckResult, Status};
use isotropy_conformance::{model::check_model, sampler::check_sampler};
use isotropy_core::{
    ModelConfig, ModelContext, NoisingProcess, ProcessConfig, Representation, RepresentationConfig,
    SamplerConfig, Streams, registry,
};
use isotropy_diffusion as _;
use isotropy_groups as _;
use isotropy_networks as _;
use std::sync::Arc;

fn drive(json: &str) -> Arc<dyn Representation> {
    serde_json::from_str::<Box<dyn RepresentationConfig>>(json).unwrap().build().unwrap()
}

/// One thread: the tests run side by side.
fn process(json: &str, on: &str) -> Box<dyn NoisingProcess> {
    tch::set_num_threads(1);
    serde_json::from_str::<Box<dyn ProcessConfig>>(json).unwrap().build(drive(on)).unwrap()
}

#[track_caller]
fn assert_passes(what: &str, results: &[CheckResult]) {
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

const DRIVES: [&str; 5] = [
    r#"{"type": "translations"}"#,
    r#"{"type": "translations", "remove_mean": true}"#,
    r#"{"type": "polar"}"#,
    r#"{"type": "spherical"}"#,
    r#"{"type": "image-rotation"}"#,
];

const VP: &str = r#"{"type": "vp", "schedule": {"type": "cosine"}, "steps": 100}"#;
const VP_CONTINUOUS: &str = r#"{"type": "vp", "schedule": {"type": "linear-beta"}, "steps": null}"#;
const VE: &str =
    r#"{"type": "ve", "schedule": {"type": "ve-geometric", "sigma_min": 0.01, "sigma_max": 3.0}}"#;
const VE_TEMPLATE: &str = r#"{"type": "ve", "schedule": {"type": "ve-linear", "sigma_max": 1.5}, "steps": 50, "prior": "template"}"#;

#[test]
fn processes_conform_on_every_drive() {
    for on in DRIVES {
        for json in [VP, VP_CONTINUOUS, VE, VE_TEMPLATE] {
            let process = process(json, on);
            let results = check_process(process.as_ref(), &Streams::new(1));
            assert_passes(&format!("{json} on {on}"), &results);
            let ran = results.iter().filter(|r| r.status == Status::Pass).count();
            assert!(ran >= 10, "only {ran} checks ran: {json} on {on}");
        }
    }
}

/// The suite must see a wrong kernel: the published mean factor is the marginal of no process.
#[test]
fn the_published_mean_factor_fails_the_suite() {
    let json = r#"{"type": "vp", "schedule": {"type": "cosine"}, "mean": "alpha-bar"}"#;
    let process = process(json, r#"{"type": "polar"}"#);
    let results = check_process(process.as_ref(), &Streams::new(1));
    let failed: Vec<_> = results.iter().filter(|r| r.status == Status::Fail).collect();
    assert!(failed.iter().any(|r| r.check.contains("simulated")), "{results:?}");
}

#[test]
fn symmetries_are_claimed_where_they_hold() {
    let cases = [
        (VP, DRIVES[0], r#"{"type": "rotation", "dimension": 2}"#, true),
        (VE, DRIVES[0], r#"{"type": "rotation", "dimension": 2}"#, true),
        (VP, DRIVES[2], r#"{"type": "rotation", "dimension": 2}"#, false),
        (VE, DRIVES[2], r#"{"type": "rotation", "dimension": 2}"#, false),
        (VE_TEMPLATE, DRIVES[2], r#"{"type": "rotation", "dimension": 2}"#, true),
        (VP, DRIVES[3], r#"{"type": "rotation", "dimension": 3}"#, false),
        (VE_TEMPLATE, DRIVES[4], r#"{"type": "image-rotation"}"#, true),
    ];
    for (json, on, symmetry, holds) in cases {
        let (process, symmetry) = (process(json, on), drive(symmetry));
        let results = check_process_symmetry(process.as_ref(), symmetry.as_ref(), &Streams::new(2));
        assert_passes(&format!("{json} on {on}"), &results);
        let expected = if holds { Status::Pass } else { Status::Skip };
        assert_eq!(results[0].status, expected, "{json} on {on}: {}", results[0].why);
        if !holds {
            assert!(results[0].why.contains("origin"), "{}", results[0].why);
        }
    }
}

const FIELDS: [&str; 4] = ["conditional-langevin", "rejection", "repaint", "replacement"];

#[test]
fn registered_samplers_conform() {
    let catalogue = registry::catalogue().unwrap();
    let samplers: Vec<_> = catalogue
        .iter()
        .filter(|c| c.kind == "sampler" && c.crate_name == "isotropy-diffusion")
        // Samplers of fields are tried where there are fields: in the catalogue-wide test.
        .filter(|c| !FIELDS.contains(&c.name))
        .collect();
    assert!(samplers.len() >= 11, "{}", samplers.len());
    for component in samplers {
        let config: Box<dyn SamplerConfig> = serde_json::from_str(component.example).unwrap();
        let results = check_sampler(config.build().unwrap().as_ref(), &Streams::new(3));
        assert_passes(component.name, &results);
        assert!(results.iter().all(|r| r.status == Status::Pass), "{results:?}");
    }
}

#[test]
fn oracles_conform() {
    let spec = isotropy_core::StateSpec::new(isotropy_core::FieldSpec::new(
        &[2],
        isotropy_core::Moves::Point,
    ));
    for on in [DRIVES[0], r#"{"type": "polar", "unwrapped": true}"#] {
        for name in ["gaussian-tau-oracle", "mixture-tau-oracle"] {
            let process = process(VP, on);
            let catalogue = registry::catalogue().unwrap();
            let component = catalogue.iter().find(|c| c.name == name).unwrap();
            let config: Box<dyn ModelConfig> = serde_json::from_str(component.example).unwrap();
            let context =
                ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
            assert_passes(name, &check_model(config.as_ref(), &context, &Streams::new(4)));
        }
    }
}
