//! Every registered component passes its conformance checks, by the command that users have.

#![allow(clippy::unwrap_used)]

use isotropy_tests::end_to_end::{Scratch, run};
use serde_json::Value;
use std::collections::BTreeSet;

const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");

#[test]
fn every_component_passes_every_check() {
    let scratch = Scratch::new("check-all");
    let ended = run(RUNNER, &scratch, &["check", "--all", "--json"]);
    let rows: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    let failed: Vec<String> =
        rows.iter().filter(|row| row["status"] == "fail").map(Value::to_string).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    ended.with_code(0);
    let keys: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["kind", "name", "check", "status", "error", "tolerance", "why"]);
    for row in &rows {
        let status = row["status"].as_str().unwrap();
        assert!(["pass", "fail", "skip"].contains(&status), "{row}");
        assert!(
            status == "pass" || row["why"].as_str().is_some_and(|why| !why.is_empty()),
            "{row}"
        );
    }
    // Enrolment: no component is without a row.
    let name = |row: &Value| (row["kind"].to_string(), row["name"].to_string());
    let checked: BTreeSet<_> = rows.iter().map(name).collect();
    let list = run(RUNNER, &scratch, &["list", "--json"]).with_code(0).stdout;
    let all: Vec<Value> = serde_json::from_str(&list).unwrap();
    let missing: Vec<_> = all.iter().map(name).filter(|n| !checked.contains(n)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_quickstart_passes_the_checks_of_its_own_components() {
    let scratch = Scratch::new("check-config");
    let config = isotropy_tests::end_to_end::repository("configs/quickstart.json");
    let ended = run(RUNNER, &scratch, &["check", "--config", &config.to_string_lossy()]);
    let text = ended.with_code(0).stdout;
    assert!(text.contains("process vp") && text.contains("model mlp"), "{text}");
}

#[test]
fn an_unknown_component_is_answered_with_the_known_ones() {
    let scratch = Scratch::new("check-unknown");
    let ended = run(RUNNER, &scratch, &["check", "group", "so9"]).with_code(2);
    assert!(ended.stderr.contains("so2"), "{}", ended.stderr);
}
