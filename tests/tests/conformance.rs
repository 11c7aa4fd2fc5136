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
        assert!(["pass", "fail", "skip", "unchecked"].contains(&status), "{row}");
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

/// Each of these was skipped although there was something to check.
#[test]
fn checks_are_skipped_for_what_they_cannot_answer_only() {
    let scratch = Scratch::new("check-skips");
    let rows = |kind: &str, name: &str, check: &str| -> Vec<Value> {
        let ended = run(RUNNER, &scratch, &["check", kind, name, "--json"]).with_code(0);
        let all: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
        let rows = all.into_iter().filter(|row| row["check"].as_str().unwrap().starts_with(check));
        rows.collect()
    };
    for (process, drives) in [("brownian", 3), ("motion-ve", 1)] {
        let found = rows("process", process, "transition composes");
        let passed = found.iter().filter(|row| row["status"] == "pass").count();
        assert_eq!((passed, found.len()), (drives, drives), "{found:?}");
    }
    // Some matrices have no logarithm; the logarithms of the others are still tried.
    for row in rows("group", "gl-n", "exp(log) of samples") {
        assert_eq!(row["status"], "pass", "{row}");
        assert!(row["why"].as_str().unwrap().contains("of 16 left out: "), "{row}");
    }
}

#[test]
fn an_unknown_component_is_answered_with_the_known_ones() {
    let scratch = Scratch::new("check-unknown");
    let ended = run(RUNNER, &scratch, &["check", "group", "so9"]).with_code(2);
    assert!(ended.stderr.contains("so2"), "{}", ended.stderr);
}
