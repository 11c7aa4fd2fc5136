//! Golden vectors: every case of every file in the folder that `ISOTROPY_GOLDEN` names, or of
//! `tests/golden`, within the tolerance that the case itself states. A kind of case that is neither
//! covered in `golden_cases` nor listed in [`WAITING`] fails.

mod golden_cases {
    pub mod bridges;
    pub mod brownian;
    pub mod case;
    pub mod components;
    pub mod field_sampling;
    pub mod fields;
    pub mod images;
    pub mod lie;
}

use golden_cases::case::Case;
use golden_cases::{bridges, brownian, components, field_sampling, fields, images, lie};
use isotropy_groups as _;
use isotropy_lie as _;
use serde_json::Value;
use std::path::PathBuf;

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

fn folder() -> PathBuf {
    std::env::var_os("ISOTROPY_GOLDEN")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden"), PathBuf::from)
}

#[test]
fn golden_cases_pass_and_no_kind_is_unknown() {
    // One thread: other tests run beside this one, and the tensors are small.
    tch::set_num_threads(1);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap_or_else(|error| panic!("{}: {error}", folder().display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no golden files in {}", folder().display());
    let (mut failures, mut covered) = (Vec::new(), 0);
    for path in paths {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        let cases = json["cases"].as_array().unwrap_or_else(|| panic!("{file} has no cases"));
        for json in cases {
            let case = Case(json);
            let what = format!("{file}: {} ({})", json["name"], case.kind());
            let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cover(&case)));
            match run {
                Ok(Some(())) => covered += 1,
                Ok(None) if WAITING.iter().any(|(kind, _)| *kind == case.kind()) => {}
                Ok(None) => failures.push(format!("{what}: no test covers this kind")),
                Err(_) => failures.push(format!("{what}: failed, see above")),
            }
        }
    }
    println!("{covered} golden cases pass");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
