//! Golden vectors: every case of every file in the folder that `ISOTROPY_GOLDEN` names, or of
//! `tests/golden`, within the tolerance that the case itself states. This is the only reader of
//! golden vectors: a case is run by what it says, never by its name or by values that are known
//! here, so a folder of cases that nobody has seen can be judged. A kind of case that is neither
//! covered in `golden_cases` nor listed in [`WAITING`] fails; a kind that a folder lacks does not.

mod golden_cases {
    pub mod bridges;
    pub mod brownian;
    pub mod case;
    pub mod components;
    pub mod field_sampling;
    pub mod fields;
    pub mod images;
    pub mod lie;
    pub mod words;
}

use golden_cases::case::{Case, cases, folder, own_folder};
use golden_cases::{bridges, brownian, components, field_sampling, fields, images, lie};
use isotropy_diffusion as _;
use isotropy_groups as _;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

/// Kinds of case whose code is not there yet, and what they wait for.
const WAITING: &[(&str, &str)] = &[
    // sism.json
    ("dock_flow_coordinates", "docking"),
    ("dock_forward", "docking"),
    ("dock_reverse_rotation", "docking"),
    ("gaussian_rbf", "conformers"),
    // geomndp.json
    ("coordinates", "trajectories on the sphere"),
    ("sphere_geometry", "trajectories on the sphere"),
];

/// Runs a case; `None` for a kind that is not covered.
fn cover(case: &Case) -> Option<()> {
    lie::cover(case)
        .or_else(|| components::cover(case))
        .or_else(|| brownian::cover(case))
        .or_else(|| bridges::cover(case))
        .or_else(|| images::cover(case))
        .or_else(|| fields::cover(case))
        .or_else(|| field_sampling::cover(case))
}

/// What became of a case.
enum Outcome {
    Passed,
    Failed,
    NotCovered,
}

fn outcome(case: &Case) -> Outcome {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cover(case))) {
        Ok(Some(())) => Outcome::Passed,
        Ok(None) => Outcome::NotCovered,
        Err(_) => Outcome::Failed,
    }
}

/// What came of all cases of a folder.
struct Verdict {
    ran: usize,
    waiting: BTreeMap<String, usize>,
    failures: Vec<String>,
}

fn judge(cases: &[(String, Value)]) -> Verdict {
    // One thread: other tests run beside this one, and the tensors are small.
    tch::set_num_threads(1);
    let mut verdict = Verdict { ran: 0, waiting: BTreeMap::new(), failures: Vec::new() };
    for (file, json) in cases {
        let case = Case(json);
        let what = format!("{file}: {} ({})", json["name"], case.kind());
        match outcome(&case) {
            Outcome::Passed => verdict.ran += 1,
            Outcome::Failed => verdict.failures.push(format!("{what}: failed, see above")),
            Outcome::NotCovered if WAITING.iter().any(|(kind, _)| *kind == case.kind()) => {
                *verdict.waiting.entry(case.kind().to_owned()).or_default() += 1;
            }
            Outcome::NotCovered => {
                verdict.failures.push(format!("{what}: no test covers this kind"));
            }
        }
    }
    verdict
}

#[test]
fn golden_cases_pass_and_no_kind_is_unknown() {
    let Verdict { ran, waiting, failures } = judge(&cases(&folder()));
    // Past the harness, which shows what is printed by tests that fail only.
    let mut report = format!("golden vectors in {}: {ran} cases ran", folder().display());
    for (kind, count) in waiting {
        report += &format!("; {count} of the kind {kind} wait");
    }
    writeln!(std::io::stderr(), "{report}").unwrap();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(ran > 0, "no case ran in {}", folder().display());
}

/// Nothing here knows a case: other names, kernels, groups, sizes and hyperparameters of the same
/// kinds pass, and each of them fails when one of its results is another.
#[test]
fn other_cases_of_the_same_kinds_are_judged_by_what_they_say() {
    let folder = own_folder().with_file_name("golden-others");
    let mut all = cases(&folder);
    let verdict = judge(&all);
    assert!(verdict.failures.is_empty(), "\n{}", verdict.failures.join("\n"));
    assert_eq!(verdict.ran, all.len());
    for (_, json) in &mut all {
        spoil(json);
    }
    let nobody = json!({"kind": "unheard-of", "name": "nobody's", "tolerance": {}});
    all.push((String::new(), nobody));
    let verdict = judge(&all);
    assert_eq!((verdict.ran, verdict.failures.len()), (0, all.len()));
}

/// Changes the first number of the last result by one per cent and a bit.
fn spoil(case: &mut Value) {
    let spoilt = match case.get("expected").and_then(Value::as_object) {
        Some(results) => {
            let last = results.keys().next_back().expect("a result").clone();
            &mut case["expected"][last]
        }
        None => &mut case["output"],
    };
    let spoilt = match spoilt.get("data").is_some() {
        true => &mut spoilt["data"],
        false => spoilt,
    };
    let mut first = spoilt;
    while first.is_array() {
        first = &mut first[0];
    }
    *first = json!(first.as_f64().expect("a number") * 1.01 + 0.01);
}

/// A waiting kind whose code has come, or of which no case is left, is no longer waiting.
#[test]
fn the_list_of_waiting_kinds_is_not_stale() {
    let all = cases(&own_folder());
    let kinds: BTreeSet<&str> = all.iter().map(|(_, json)| Case(json).kind()).collect();
    for (kind, what) in WAITING {
        assert!(kinds.contains(kind), "no case of the kind {kind} waits for {what} any more");
    }
    for (file, json) in &all {
        let kind = Case(json).kind();
        if WAITING.iter().any(|(waiting, _)| *waiting == kind) {
            let covered = !matches!(outcome(&Case(json)), Outcome::NotCovered);
            assert!(!covered, "{file}: {} is covered: {kind} waits for nothing", json["name"]);
        }
    }
}
