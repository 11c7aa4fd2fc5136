//! Every registered group and representation passes the conformance suite.

#![allow(clippy::unwrap_used)]

use isotropy_conformance::group::check_group;
use isotropy_conformance::representation::check_representation;
use isotropy_conformance::{CheckResult, Status};
use isotropy_core::{GroupConfig, RepresentationConfig, Streams, registry};
use isotropy_groups as _;
use isotropy_images as _;

fn failures(results: &[CheckResult]) -> Vec<String> {
    results
        .iter()
        .filter(|r| r.status == Status::Fail)
        .map(|r| format!("{}: {} ({:?})", r.check, r.why, r.error))
        .collect()
}

#[test]
fn every_group_satisfies_the_suite() {
    tch::set_num_threads(1);
    for component in registry::catalogue().unwrap().iter().filter(|c| c.kind == "group") {
        let config: Box<dyn GroupConfig> = serde_json::from_str(component.example).unwrap();
        let group = config.build().unwrap();
        for seed in 0..3 {
            let results = check_group(group.as_ref(), &Streams::new(seed));
            assert!(results.len() > 5);
            assert!(failures(&results).is_empty(), "{}: {:#?}", group.name(), failures(&results));
        }
    }
}

#[test]
fn every_representation_satisfies_the_suite() {
    for component in registry::catalogue().unwrap().iter().filter(|c| c.kind == "representation") {
        let config: Box<dyn RepresentationConfig> =
            serde_json::from_str(component.example).unwrap();
        check_all(config.as_ref());
    }
    let further = [
        r#"{"type": "translations", "remove_mean": true}"#,
        r#"{"type": "rotation", "dimension": 2}"#,
        r#"{"type": "image-motion", "frame": "body"}"#,
        r#"{"type": "image-permutation", "group": "flips"}"#,
        r#"{"type": "image-permutation", "group": "quarter-turns"}"#,
        r#"{"type": "image-permutation", "group": "horizontal-flip"}"#,
        r#"{"type": "image-permutation", "group": "vertical-flip"}"#,
    ];
    for json in further {
        check_all(serde_json::from_str::<Box<dyn RepresentationConfig>>(json).unwrap().as_ref());
    }
}

fn check_all(config: &dyn RepresentationConfig) {
    let representation = config.build().unwrap();
    for seed in 0..3 {
        let results = check_representation(representation.as_ref(), &Streams::new(seed));
        assert!(results.len() > 5);
        let failures = failures(&results);
        assert!(failures.is_empty(), "{}: {failures:#?}", representation.name());
        if seed == 0 {
            for skipped in results.iter().filter(|r| r.status == Status::Skip) {
                println!("{}: {} skipped: {}", representation.name(), skipped.check, skipped.why);
            }
        }
    }
}
