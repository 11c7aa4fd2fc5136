//! Networks, metrics, optimizers and rotated digits.

use super::case::{Case, tensor};
use super::words;
use isotropy_core::{
    Field, Moves, Prediction, PredictionKind, ProcessConfig, RepresentationConfig, Scale, State,
    Step, Xi,
};
use isotropy_diffusion::metric::{median_distance, mmd, mmd_multi_scale, wasserstein};
use isotropy_images::metric::frechet_distance::frechet_of_moments;
use isotropy_networks::layers::Activation;
use isotropy_networks::mlp::Mlp;
use runner::train::optimizer::OptimizerConfig;
use serde_json::json;
use tch::{Device, Kind, Tensor, nn::VarStore};

/// Runs a case; `None` for a kind that is not covered.
pub fn cover(case: &Case) -> Option<()> {
    match case.kind() {
        "metrics" => metrics(case),
        "mnist_gsm" => mnist(case),
        "frechet" => frechet(case),
        "optimizer" => optimizer(case),
        kind if kind.starts_with("mlp_") => mlp(case),
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

/// Weights are named as those of a PyTorch `Sequential`: by the place of the layer. The activation
/// stands in the kind (`mlp_silu_3_4_2`).
fn mlp(case: &Case) {
    let weights = case.0["weights"].as_object().expect("named weights");
    let mut biases: Vec<(usize, i64)> = weights
        .iter()
        .filter_map(|(name, value)| {
            let layer = name.strip_suffix(".bias")?.parse().expect("layers have numbers");
            Some((layer, tensor(value).size()[0]))
        })
        .collect();
    biases.sort_unstable();
    let sizes: Vec<i64> = biases.iter().map(|(_, size)| *size).collect();
    let (outputs, hidden) = sizes.split_last().expect("a layer");
    let given = case.0.as_object().expect("an object");
    let input = given.keys().find(|key| key.starts_with("input")).expect("an input");
    let input = case.tensor(input);
    let activation = case.kind().split('_').nth(1).expect("an activation");
    let activation: Activation = serde_json::from_value(activation.into()).unwrap();
    let mut store = VarStore::new(Device::Cpu);
    let mlp = Mlp::new(&store.root(), input.size()[1], hidden, *outputs, activation);
    store.double();
    let variables = store.variables();
    assert_eq!(variables.len(), weights.len());
    for (name, mut variable) in variables {
        tch::no_grad(|| variable.copy_(&tensor(&weights[&name])));
    }
    let output = tch::no_grad(|| mlp.forward(&input));
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
        match &process.kernel().unwrap().scales(t).std[0] {
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

fn frechet(case: &Case) {
    let input = |key: &str| tensor(&case.0["inputs"][key]);
    let found =
        frechet_of_moments(&input("mu1"), &input("S1"), &input("mu2"), &input("S2")).unwrap();
    Case(&case.expected()).assert_close("fd", &scalar(found));
}

/// Which optimizer stands in the case's words (`torch RAdam betas (0.9,0.999) eps 1e-8 wd 0`), its
/// numbers in `params` or there, too.
fn optimizer(case: &Case) {
    let parameters = &case.0["params"];
    let words = format!("{}; {}", parameters["optimizer"].as_str().unwrap_or(""), case.words());
    let number = |names: &[&str]| {
        let stated = names.iter().find_map(|name| parameters[*name].as_f64());
        stated.or_else(|| names.iter().find_map(|name| words::after(&words, name)))
    };
    let betas: Vec<f64> = serde_json::from_value(parameters["betas"].clone())
        .ok()
        .or_else(|| words::list_after(&words, "betas"))
        .expect("the betas of the optimizer");
    let known = ["radam", "adamw", "adam"];
    let which = known.iter().find(|name| {
        let words = words.to_lowercase();
        words.split(|c: char| !c.is_ascii_alphabetic()).any(|word| word == **name)
    });
    let which = which.unwrap_or_else(|| panic!("none of {known:?} in '{words}'"));
    let mut json = json!({
        "type": which,
        "learning_rate": number(&["lr", "learning_rate"]).expect("the learning rate `lr`"),
        "beta1": betas[0],
        "beta2": betas[1],
        "epsilon": number(&["eps", "epsilon"]).expect("`eps`"),
    });
    let decay = number(&["weight_decay", "wd"]).unwrap_or(0.0);
    // Adam has no decay here.
    if *which != "adam" || decay != 0.0 {
        json["weight_decay"] = decay.into();
    }
    let config: OptimizerConfig = serde_json::from_value(json).unwrap();
    let point = tensor(&case.0["inputs"]["p0"]);
    let gradients = tensor(&case.0["inputs"]["grads"]);
    let mut optimizer = config.build(&point).unwrap();
    let steps: Vec<Tensor> = (0..gradients.size()[0])
        .map(|step| {
            optimizer.step(&point, &gradients.get(step), 1.0).unwrap();
            point.copy()
        })
        .collect();
    Case(&case.expected()).assert_close("params_after_each_step", &Tensor::stack(&steps, 0));
}
