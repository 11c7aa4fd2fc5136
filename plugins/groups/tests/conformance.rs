//! Every registered group and representation passes the conformance suite.

use isotropy_core::conformance::group::check_group;
use isotropy_core::conformance::{CheckResult, Status};
use isotropy_core::{GroupConfig, Streams, registry};
use isotropy_groups as _;

fn failures(results: &[CheckResult]) -> Vec<String> {
    results
        .iter()
        .filter(|r| r.status == Status::Fail)
        .map(|r| format!("{}: {} ({:?})", r.check, r.why, r.error))
        .collect()
}

#[test]
fn every_group_satisfies_the_suite() {
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
