//! A plugin outside of the runner's list, in a binary of its own.

#![allow(clippy::unwrap_used)]

use isotropy_tests::end_to_end::{Scratch, metrics, repository, run};
use serde_json::Value;

const BOOSTS: &str = env!("CARGO_BIN_EXE_boosts");
const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");

#[test]
fn an_outside_plugin_runs_from_json() {
    let scratch = Scratch::new("boosts");
    let config = repository("tests/configs/boosts.json");
    let config = config.to_str().unwrap();
    let arguments = ["--config", config, "--out", "run", "--set", "train.steps=300"];
    run(BOOSTS, &scratch, &arguments).with_code(0);
    let metrics = metrics(&scratch.join("run"));
    let numbers = metrics["metrics"].as_object().unwrap();
    assert!(numbers.len() >= 3, "{numbers:?}");
    for (name, value) in numbers {
        assert!(value.as_f64().is_some_and(f64::is_finite), "{name} is {value}");
    }
    assert_eq!(metrics["samples"]["non_finite"], 0);
    // The generic runner does not know the plugin, and says so.
    let ended = run(RUNNER, &scratch, &["validate", config]).with_code(2);
    assert!(ended.stderr.contains("rapidity-ring"), "{}", ended.stderr);
}

#[test]
fn an_outside_plugin_is_listed_with_its_crate() {
    let scratch = Scratch::new("boosts-list");
    let listed = run(BOOSTS, &scratch, &["list", "--json"]).with_code(0).stdout;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let crate_of = |kind: &str, name: &str| {
        let found = listed.iter().find(|c| c["kind"] == kind && c["name"] == name);
        found.map(|c| c["crate"].as_str().unwrap().to_string())
    };
    for (kind, name) in
        [("group", "boosts"), ("representation", "wedge"), ("dataset", "rapidity-ring")]
    {
        assert_eq!(crate_of(kind, name).as_deref(), Some("isotropy-tests"), "{kind} {name}");
    }
    assert_eq!(crate_of("process", "vp").as_deref(), Some("isotropy-diffusion"));
}
