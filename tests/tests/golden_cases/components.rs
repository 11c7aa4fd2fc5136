//! Networks, metrics, optimizers and rotated digits.

use super::case::{Case, tensor};
use isotropy_core::frechet::frechet_of_moments;
use isotropy_core::{
    Field, Moves, Prediction, PredictionKind, ProcessConfig, RepresentationConfig, Scale, State,
    Step, Xi,
};
use isotropy_lie::metric::{median_distance, mmd, mmd_multi_scale, wasserstein};
use isotropy_networks::layers::Activation;
use isotropy_networks::mlp::Mlp;
use runner::train::optimizer::OptimizerConfig;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, nn::VarStore};

/// Runs a case; `None` for a kind that is not covered.
pub fn cover(case: &Case) -> Option<()> {
    match case.kind() {
        "metrics" => metrics(case),
        "mnist_gsm" => mnist(case),
        "frechet" => frechet(case),
        "optimizer" => optimizer(case),
        kind if kind.starts_with("mlp_silu_") => mlp(case),
        _ => return None,
    }
    Some(())
}

fn scalar(value: f64) -> Tensor {
    Tensor::from_slice(&[value]).squeeze()
}

fn metrics(case: &Case) {
    let (x, y) = (case.tensor("x"), case.tensor("y"));
    case.assert_close("mmd_sigma1", &mmd(&x, &y, 1.0));
    case.assert_close("mmd_sigma05", &mmd(&x, &y, 0.5));
    case.assert_close("mmd_multi_scale", &mmd_multi_scale(&x, &y));
    case.assert_close("median_pairwise_torch", &median_distance(&x, &y));
    let (w1, w2) = wasserstein(&x, &y).unwrap();
    case.assert_close("W1_assignment", &scalar(w1));
    case.assert_close("wasserstein_repo_scipy_nd_is_W1", &scalar(w1));
    case.assert_close("W2_assignment", &scalar(w2));
}

/// Weights are named as those of a PyTorch `Sequential`.
fn mlp(case: &Case) {
    let weights = case.0["weights"].as_object().expect("named weights");
    let sizes = |name: &str| tensor(&weights[name]).size();
    let last = weights.keys().filter_map(|name| name.strip_suffix(".weight")).max().unwrap();
    let hidden: Vec<i64> = weights
        .keys()
        .filter_map(|name| name.strip_suffix(".bias"))
        .filter(|layer| *layer != last)
        .map(|layer| sizes(&format!("{layer}.bias"))[0])
        .collect();
    let (inputs, outputs) = (sizes("0.weight")[1], sizes(&format!("{last}.weight"))[0]);
    let mut store = VarStore::new(Device::Cpu);
    let mlp = Mlp::new(&store.root(), inputs, &hidden, outputs, Activation::Silu);
    store.double();
    let variables = store.variables();
    assert_eq!(variables.len(), weights.len());
    for (name, mut variable) in variables {
        tch::no_grad(|| variable.copy_(&tensor(&weights[&name])));
    }
    let output = tch::no_grad(|| mlp.forward(&case.tensor("input_x_y_t")));
    case.assert_close("output", &output);
}

/// The published step of rotated digits, in degrees.
fn mnist(case: &Case) {
    let steps = case.number("T");
    let drive: Box<dyn RepresentationConfig> =
        serde_json::from_value(json!({"type": "image-rotation"})).unwrap();
    let process: Box<dyn ProcessConfig> =
        serde_json::from_value(json!({"type": "digits-published-ve", "steps": steps as u32}))
            .unwrap();
    let process = process.build(drive.build().unwrap()).unwrap();
    let image = Tensor::zeros([1, 1, 4, 4], (Kind::Double, Device::Cpu));
    let state = State::new(Field::new(image, Moves::Image));
    let numbers = |key: &str| Vec::<f64>::try_from(case.tensor(key)).unwrap();
    let (outputs, noise) = (numbers("net_output"), numbers("noise"));
    let (mut sigmas, mut betas, mut deltas) = (Vec::new(), Vec::new(), Vec::new());
    for (k, u) in numbers("t_over_T").into_iter().enumerate() {
        let t = u * steps;
        match &process.kernel(t).unwrap().std[0] {
            Scale::Same(std) => sigmas.push(std.to_degrees()),
            Scale::Each(_) => panic!("the kernel at one time has one scale"),
        }
        let head = Xi::from(Tensor::from_slice(&[outputs[k]]).reshape([1, 1]));
        let prediction = Prediction::one(PredictionKind::PreconditionedScore, head);
        let terms = process.terms(&state, Step { from: t, to: t - 1.0 }, &prediction).unwrap();
        let scale = terms.noise[0].scale();
        betas.push(scale.to_degrees().powi(2) * steps);
        let moved = terms.preconditioned.sub(&terms.drift).single().double_value(&[0, 0]);
        deltas.push((moved + scale * noise[k]).to_degrees());
    }
    case.assert_close("forward_sigma_degrees", &Tensor::from_slice(&sigmas));
    case.assert_close("sampler_beta", &Tensor::from_slice(&betas));
    case.assert_close("delta_angle_degrees", &Tensor::from_slice(&deltas));
}

/// `expected` of a case as a case of its own, under the same tolerance.
fn expected(case: &Case) -> Value {
    let mut inner = case.0["expected"].clone();
    inner["tolerance"] = case.0["tolerance"].clone();
    inner
}

fn frechet(case: &Case) {
    let input = |key: &str| tensor(&case.0["inputs"][key]);
    let found =
        frechet_of_moments(&input("mu1"), &input("S1"), &input("mu2"), &input("S2")).unwrap();
    Case(&expected(case)).assert_close("fd", &scalar(found));
}

fn optimizer(case: &Case) {
    let parameters = &case.0["params"];
    let number = |value: &Value| value.as_f64().expect("a number");
    let name = case.0["name"].as_str().expect("a name");
    assert!(name.starts_with("radam"), "no golden test knows the optimizer of {name}");
    let config = OptimizerConfig::Radam {
        learning_rate: number(&parameters["lr"]),
        beta1: number(&parameters["betas"][0]),
        beta2: number(&parameters["betas"][1]),
        epsilon: number(&parameters["eps"]),
        weight_decay: parameters["weight_decay"].as_f64().unwrap_or(0.0),
    };
    let point = tensor(&case.0["inputs"]["p0"]);
    let gradients = tensor(&case.0["inputs"]["grads"]);
    let mut optimizer = config.build(&point).unwrap();
    let steps: Vec<Tensor> = (0..gradients.size()[0])
        .map(|step| {
            optimizer.step(&point, &gradients.get(step), 1.0).unwrap();
            point.copy()
        })
        .collect();
    Case(&expected(case)).assert_close("params_after_each_step", &Tensor::stack(&steps, 0));
}
