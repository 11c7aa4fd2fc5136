//! The golden cases of metrics.

#![allow(clippy::unwrap_used)]

use isotropy_lie::metric::{median_distance, mmd, mmd_multi_scale, wasserstein};
use serde_json::Value;
use std::path::PathBuf;
use tch::Tensor;

/// All cases of a kind, from every file of the folder of golden vectors.
fn cases(kind: &str) -> Vec<Value> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let folder = std::env::var_os("ISOTROPY_GOLDEN").map_or(default, PathBuf::from);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let all = file["cases"].as_array().into_iter().flatten();
            found.extend(all.filter(|case| case["kind"] == kind).cloned());
        }
    }
    found
}

fn points(value: &Value) -> Tensor {
    let row = |row: &Value| {
        let numbers: Vec<f64> =
            row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        Tensor::from_slice(&numbers)
    };
    Tensor::stack(&value.as_array().unwrap().iter().map(row).collect::<Vec<_>>(), 0)
}

#[test]
fn golden_distances_between_sets_of_points() {
    let cases: Vec<Value> =
        cases("metrics").into_iter().filter(|case| case.get("W1_assignment").is_some()).collect();
    assert!(!cases.is_empty(), "the golden folder has no case of these metrics");
    for case in cases {
        let (x, y) = (points(&case["x"]), points(&case["y"]));
        let (w1, w2) = wasserstein(&x, &y).unwrap();
        let number = |scalar: Tensor| scalar.double_value(&[]);
        let relative = case["tolerance"]["rtol"].as_f64().unwrap();
        let absolute = case["tolerance"]["atol"].as_f64().unwrap();
        for (name, found) in [
            ("mmd_sigma1", number(mmd(&x, &y, 1.0))),
            ("mmd_sigma05", number(mmd(&x, &y, 0.5))),
            ("mmd_multi_scale", number(mmd_multi_scale(&x, &y))),
            ("median_pairwise_torch", number(median_distance(&x, &y))),
            ("wasserstein_repo_scipy_nd_is_W1", w1),
            ("W1_assignment", w1),
            ("W2_assignment", w2),
        ] {
            let expected = case[name].as_f64().unwrap();
            let allowed = absolute + relative * expected.abs();
            assert!((found - expected).abs() <= allowed, "{name}: {found} != {expected}");
        }
    }
}

/// Not a check: prints what distances between sets of usual sizes cost. Run with `--ignored
/// --nocapture`.
#[test]
#[ignore = "prints times"]
fn times_of_metrics() {
    let options = (tch::Kind::Float, tch::Device::Cpu);
    let points = |count| Tensor::randn([count, 2], options) * 5.0;
    let (samples, data) = (points(1000), points(10_000));
    let time = |name: &str, f: &dyn Fn()| {
        let start = std::time::Instant::now();
        f();
        println!("{name}: {:.3} s", start.elapsed().as_secs_f64());
    };
    time("W1 and W2, 1,000 points", &|| {
        wasserstein(&samples, &data.narrow(0, 0, 1000)).unwrap();
    });
    time("MMD, 1,000 and 10,000 points", &|| {
        mmd(&samples, &data, 1.0).double_value(&[]);
    });
    time("multi-scale MMD, 1,000 and 10,000 points", &|| {
        mmd_multi_scale(&samples, &data).double_value(&[]);
    });
    time("MMD, 1,000 and 50,000 points", &|| {
        mmd(&samples, &points(50_000), 1.0).double_value(&[]);
    });
}
