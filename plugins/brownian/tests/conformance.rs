//! The drives with a homogeneous side and the processes on them pass the conformance suite, and what
//! the suite cannot ask of them: the law of the kernel against a simulation, and a horizontal score
//! against autodiff of the log-density.

#![allow(clippy::unwrap_used)]

mod common;

use common::{F64, drive, failures, process};
use isotropy_brownian as _;
use isotropy_conformance::process::{check_process, check_process_symmetry};
use isotropy_conformance::representation::{check_representation, check_transport};
use isotropy_core::{Representation, Streams};
use serde_json::json;
use std::sync::Arc;

const DRIVES: [&str; 5] = [
    r#"{"type": "torus"}"#,
    r#"{"type": "rotation-matrices"}"#,
    r#"{"type": "generators", "dimension": 2}"#,
    r#"{"type": "generators", "dimension": 3}"#,
    r#"{"type": "generators", "dimension": 4}"#,
];

fn drives() -> Vec<Arc<dyn Representation>> {
    tch::set_num_threads(1);
    DRIVES.iter().map(|json| drive(serde_json::from_str(json).unwrap())).collect()
}

#[test]
fn drives_pass_the_suite() {
    for drive in drives() {
        for seed in 0..3 {
            let results = check_representation(drive.as_ref(), &Streams::new(seed));
            assert!(results.len() > 10);
            let failures = failures(&results);
            assert!(failures.is_empty(), "{}: {failures:#?}", drive.name());
        }
    }
}

/// Rotations move the noise of vectors and of directions along with the points.
#[test]
fn noise_is_carried_along_by_rotations() {
    let rotation = |n: i64| drive(json!({"type": "rotation", "dimension": n}));
    for (n, drive) in [(2, 2), (3, 3), (3, 1)] {
        let drive = drives().remove(if drive == 1 { 1 } else { drive as usize });
        let results =
            check_transport(drive.drive().unwrap(), rotation(n).as_ref(), &Streams::new(1));
        let failures = failures(&results);
        assert!(failures.is_empty(), "{}: {failures:#?}", drive.name());
        assert!(results.iter().all(|r| r.why.is_empty()), "{results:?}");
    }
}

#[test]
fn processes_pass_the_suite_and_have_the_symmetry_of_rotations() {
    for drive in drives() {
        for extra in [json!({}), json!({"steps": null})] {
            let process = process(drive.clone(), extra);
            let results = check_process(process.as_ref(), &Streams::new(2));
            let failures = failures(&results);
            assert!(failures.is_empty(), "{}: {failures:#?}", process.name());
        }
        let process = process(drive.clone(), json!({}));
        let results = check_process_symmetry(process.as_ref(), drive.as_ref(), &Streams::new(3));
        let failures = failures(&results);
        assert!(failures.is_empty(), "{}: {failures:#?}", process.name());
    }
    let rotation = drive(json!({"type": "rotation", "dimension": 3}));
    for k in [1, 3] {
        let process = process(drives().remove(k), json!({}));
        let results = check_process_symmetry(process.as_ref(), rotation.as_ref(), &Streams::new(4));
        assert!(results.iter().all(|r| r.why.is_empty()), "{results:?}");
    }
}

/// `flow(from, displacement) = to`, horizontal, and no longer than any other way.
#[test]
fn displacements_lead_to_the_other_point() {
    for drive in drives() {
        let mut stream = Streams::new(7).stream("displacement", 0);
        let from = drive.sample_state(40, F64, &mut stream).unwrap();
        let to = drive.sample_state(40, F64, &mut stream).unwrap();
        let fields = drive.drive().unwrap();
        let xi = fields.homogeneous().unwrap().displacement(&from, &to).unwrap();
        let arrived = fields.flow(&from, &xi);
        let error = (arrived.x() - to.x()).abs().max().double_value(&[]);
        assert!(error < 1e-12, "{}: {error}", drive.name());
        let level = fields.horizontal(&from, &xi);
        let vertical = xi.sub(&level).square_norm().max().double_value(&[]);
        assert!(vertical < 1e-24, "{}: {vertical}", drive.name());
        let length = xi.factor(0).abs().max().double_value(&[]);
        assert!(length <= std::f64::consts::PI + 1e-12);
    }
}
