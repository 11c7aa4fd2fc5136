//! Sinusoidal embeddings against golden vectors of two published codes; the law of first weights.

use isotropy_networks::embedding::{Layout, sinusoidal};
use isotropy_networks::layers::{Linear, Start, truncated_normal};
use serde_json::Value;
use std::path::PathBuf;
use tch::{Device, Kind, Tensor, nn::VarStore};

/// The embedding cases of every file of the folder of golden vectors.
fn cases() -> Vec<Value> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let folder = std::env::var_os("ISOTROPY_GOLDEN").map_or(default, PathBuf::from);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let all = file["cases"].as_array().cloned().unwrap_or_default();
            found.extend(all.into_iter().filter(|case| case["kind"] == "embedding"));
        }
    }
    found
}

fn numbers(value: &Value) -> Tensor {
    let list: Vec<f64> = match value {
        Value::Array(list) => list.iter().map(|x| x.as_f64().unwrap()).collect(),
        one => vec![one.as_f64().unwrap()],
    };
    Tensor::from_slice(&list)
}

#[test]
fn golden_embeddings_of_both_layouts() {
    let cases = cases();
    assert!(!cases.is_empty(), "the golden folder has no embedding");
    for case in cases {
        // The field notes give plain numbers, the image notes tensors with shapes and a `params` object.
        let (found, expected) = match case["inputs"]["t"].get("data") {
            None => {
                let inputs = &case["inputs"];
                let (width, period) =
                    (inputs["dim"].as_i64().unwrap(), inputs["max_positions"].as_f64().unwrap());
                let found = sinusoidal(&numbers(&inputs["t"]), width, period, Layout::SinCos);
                (found.flatten(0, -1), numbers(&case["expected"]["embedding"]))
            }
            Some(t) => {
                let params = &case["params"];
                let (width, period) =
                    (params["dim"].as_i64().unwrap(), params["max_period"].as_f64().unwrap());
                let found = sinusoidal(&numbers(t), width, period, Layout::CosSin);
                (found.flatten(0, -1), numbers(&case["expected"]["emb"]["data"]))
            }
        };
        let relative = case["tolerance"]["rtol"].as_f64().unwrap();
        let absolute = case["tolerance"]["atol"].as_f64().unwrap();
        assert!(found.allclose(&expected, relative, absolute, false), "{}", case["name"]);
    }
}

#[test]
fn an_odd_width_ends_with_zero_and_the_kind_follows_the_times() {
    let t = Tensor::from_slice(&[0.3f32, 0.9]);
    let odd = sinusoidal(&t, 7, 1e4, Layout::SinCos);
    assert_eq!(odd.size(), [2, 7]);
    assert_eq!(odd.kind(), Kind::Float);
    assert_eq!(odd.select(1, 6).abs().max().double_value(&[]), 0.0);
    let whole = sinusoidal(&Tensor::from_slice(&[3i64]), 6, 1e4, Layout::CosSin);
    assert!((whole.double_value(&[0, 0]) - 3f64.cos()).abs() < 1e-6);
}

#[test]
fn truncated_normal_weights_have_the_law_of_the_name() {
    let store = VarStore::new(Device::Cpu);
    let w = isotropy_core::Streams::new(1)
        .scope("weights", 0, || truncated_normal(&store.root(), "w", &[400, 1000], 0.1));
    // Within two standard deviations, and reaching them; variance of the cut law: 1 - 2 * 2 phi(2) / P(|z| < 2).
    let density = (-2f64).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let variance = 1.0 - 4.0 * density / 0.954_499_736_1;
    let largest = w.abs().max().double_value(&[]);
    assert!(largest <= 0.2000001 && largest > 0.1999, "{largest}");
    let std = w.to_kind(Kind::Double).std(true).double_value(&[]) / 0.1;
    assert!((std - variance.sqrt()).abs() < 5e-3, "{std} against {}", variance.sqrt());
    // P(|z| < 1) under the cut law.
    let inside = w.abs().lt(0.1).to_kind(Kind::Double).mean(None).double_value(&[]);
    assert!((inside - 0.682_689_492 / 0.954_499_736).abs() < 5e-3, "{inside}");
}

#[test]
fn layers_start_as_their_law_says() {
    let store = VarStore::new(Device::Cpu);
    let root = store.root();
    let zero = Linear::starting(&(&root / "zero"), 3, 2, Start::Zero);
    let normal = Linear::starting(&(&root / "normal"), 16, 64, Start::TruncatedNormal);
    assert_eq!(zero.variables()[0].abs().max().double_value(&[]), 0.0);
    assert_eq!(normal.variables()[1].abs().max().double_value(&[]), 0.0);
    let largest = normal.variables()[0].abs().max().double_value(&[]);
    assert!(largest <= 0.5 && largest > 0.4, "{largest}: two deviations of 1/sqrt(16)");
    assert!(store.trainable_variables().iter().all(Tensor::requires_grad));
}
