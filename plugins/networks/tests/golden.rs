//! The golden cases of networks: weights are assigned by name, outputs compared.

#![allow(clippy::unwrap_used)]

use isotropy_networks::layers::Activation;
use isotropy_networks::mlp::Mlp;
use serde_json::Value;
use std::path::PathBuf;
use tch::{Device, Kind, Tensor, nn::VarStore};

/// All cases whose kind starts with `prefix`, from every file of the folder of golden vectors.
fn cases(prefix: &str) -> Vec<Value> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let folder = std::env::var_os("ISOTROPY_GOLDEN").map_or(default, PathBuf::from);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            for case in file["cases"].as_array().into_iter().flatten() {
                if case["kind"].as_str().is_some_and(|kind| kind.starts_with(prefix)) {
                    found.push(case.clone());
                }
            }
        }
    }
    found
}

/// A nested list of numbers as a tensor.
fn tensor(value: &Value) -> Tensor {
    let rows = value.as_array().unwrap();
    if rows[0].is_number() {
        let numbers: Vec<f64> = rows.iter().map(|x| x.as_f64().unwrap()).collect();
        return Tensor::from_slice(&numbers);
    }
    Tensor::stack(&rows.iter().map(tensor).collect::<Vec<_>>(), 0)
}

#[test]
fn golden_mlp_outputs_follow_from_the_weights() {
    tch::no_grad(|| {
        let cases = cases("mlp_silu");
        assert!(!cases.is_empty(), "the golden folder has no case of an mlp");
        for case in cases {
            let weights = case["weights"].as_object().unwrap();
            let mut biases: Vec<(usize, i64)> = weights
                .iter()
                .filter_map(|(name, value)| {
                    let layer = name.strip_suffix(".bias")?.parse().ok()?;
                    Some((layer, value.as_array()?.len() as i64))
                })
                .collect();
            biases.sort_unstable();
            let sizes: Vec<i64> = biases.iter().map(|(_, size)| *size).collect();
            let (outputs, hidden) = sizes.split_last().unwrap();
            let inputs = tensor(&case["input_x_y_t"]);

            let mut store = VarStore::new(Device::Cpu);
            let network =
                Mlp::new(&store.root(), inputs.size()[1], hidden, *outputs, Activation::Silu);
            store.set_kind(Kind::Double);
            let mut variables = store.variables();
            assert_eq!(variables.len(), weights.len(), "a weight is missing or superfluous");
            for (name, value) in weights {
                variables.get_mut(name).unwrap().copy_(&tensor(value));
            }
            let output = network.forward(&inputs);
            let relative = case["tolerance"]["rtol"].as_f64().unwrap();
            let absolute = case["tolerance"]["atol"].as_f64().unwrap();
            let expected = tensor(&case["output"]);
            assert!(output.allclose(&expected, relative, absolute, false), "{}", case["name"]);
        }
    });
}
