//! Figures of the documentation: each stands on its page as `docs/claims.json` has it, and (slow)
//! comes out of its command within the tolerance.

#![allow(clippy::unwrap_used)]

use isotropy_tests::end_to_end::{Scratch, read_json, repository, run};
use serde::Deserialize;
use serde_json::Value;

const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");

/// A figure of a page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    /// The page.
    page: String,
    /// The words there, up to line breaks.
    text: String,
    /// The experiment that gives it, or
    config: Option<String>,
    /// what is set in it, or
    #[serde(default)]
    set: Vec<String>,
    /// the sweep,
    sweep: Option<String>,
    /// and its cell.
    cell: Option<String>,
    /// Where the number stands in `metrics.json`.
    path: String,
    value: f64,
    /// How far the number may be from the value.
    tolerance: f64,
}

fn claims() -> Vec<Claim> {
    let text = std::fs::read_to_string(repository("docs/claims.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_claim_stands_on_its_page() {
    for claim in claims() {
        let page = std::fs::read_to_string(repository(&claim.page)).unwrap();
        assert!(words(&page).contains(&words(&claim.text)), "{}: no '{}'", claim.page, claim.text);
        let config = claim.config.as_ref().or(claim.sweep.as_ref()).expect("a file to run");
        assert!(repository(config).exists(), "{config}");
        assert_eq!(claim.sweep.is_some(), claim.cell.is_some(), "{}", claim.text);
        assert!(claim.tolerance >= 0.0);
    }
}

/// `metrics.json` of the run that a claim names.
fn measured(claim: &Claim, scratch: &Scratch) -> Value {
    if let (Some(sweep), Some(cell)) = (&claim.sweep, &claim.cell) {
        let sweep = repository(sweep);
        let only = ["--only", cell, "--out", "sweep", "--jobs", "1"];
        let arguments = [&["sweep", sweep.to_str().unwrap()], &only[..]].concat();
        run(RUNNER, scratch, &arguments).with_code(0);
        let plan = read_json(&scratch.join("sweep/plan.json"));
        let cells = plan["cells"].as_array().unwrap();
        let key = &cells.iter().find(|c| c["name"] == cell.as_str()).unwrap()["key"];
        let cells = scratch.join("sweep").join(plan["cells_folder"].as_str().unwrap());
        return read_json(&cells.join(key.as_str().unwrap()).join("run/metrics.json"));
    }
    let config = repository(claim.config.as_ref().unwrap());
    let mut arguments = vec!["--config", config.to_str().unwrap(), "--out", "run"];
    arguments.extend(claim.set.iter().flat_map(|set| ["--set", set.as_str()]));
    run(RUNNER, scratch, &arguments).with_code(0);
    read_json(&scratch.join("run/metrics.json"))
}

#[test]
#[ignore = "trains what the pages report: some minutes"]
fn every_claim_comes_out_of_its_command() {
    let mut wrong = Vec::new();
    for (k, claim) in claims().iter().enumerate() {
        let scratch = Scratch::new(&format!("claim-{k}"));
        let metrics = measured(claim, &scratch);
        let found = claim.path.split('.').fold(&metrics, |value, step| &value[step]);
        let found = found.as_f64().unwrap_or(f64::NAN);
        println!("{}: {} is {found}, claimed {}", claim.page, claim.path, claim.value);
        let off = (found - claim.value).abs();
        if off.is_nan() || off > claim.tolerance {
            let (page, path) = (&claim.page, &claim.path);
            wrong.push(format!("{page}: '{}': {path} is {found}", claim.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
