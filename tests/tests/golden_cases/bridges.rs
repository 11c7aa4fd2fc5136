//! Cases of bridges: coefficients, scalings, losses, grids, trajectories, averages over groups.

use super::case::{Case, tensor};
use isotropy_core::{
    Drive, Element, Field, ModelConfig, ModelContext, Moves, Noise, NoisingProcess, Prediction,
    PredictionKind, Representation, RepresentationConfig, Result, SamplerConfig, ScoreModel, State,
    Step, Terms, TimeDomain, Xi,
};
use isotropy_equivariant_bridges::model::{BridgeScales, DataMoments, Preconditioned, Scaling};
use isotropy_equivariant_bridges::objective::{BridgeDenoising, BridgeDenoisingConfig};
use isotropy_equivariant_bridges::process::{
    Bridge, BrownianBridgeConfig, END, VeBridgeConfig, VpBridgeConfig,
};
use isotropy_equivariant_bridges::sampler::TimeGrid;
use isotropy_networks::averaged::{average_over, orbit};
use serde_json::{Value, json};
use std::sync::Arc;
use tch::{Device, Kind, Tensor, nn::VarStore};

/// Runs a case; `None` for a kind that is not covered.
pub fn cover(case: &Case) -> Option<()> {
    match case.kind() {
        "brownian_bridge" => brownian_bridge(case),
        "brownian_bridge_reverse_mean" => brownian_bridge_reverse_mean(case),
        "bridge_coefficients" => coefficients(case),
        "bridge_scalings" => scalings(case),
        "bridge_training_loss" => training_loss(case),
        "karras_schedule" => karras(case),
        "heun_trajectory" => heun(case),
        "heun_equivariance" => heun_equivariance(case),
        "group_average" => group_average(case),
        _ => return None,
    }
    Some(())
}

fn drive() -> Arc<dyn Representation> {
    let json = json!({"type": "translations"});
    serde_json::from_value::<Box<dyn RepresentationConfig>>(json).unwrap().build().unwrap()
}

/// `expected` of a case as a case of its own, under the same tolerance.
fn expected(case: &Case) -> Value {
    let mut inner = case.0["expected"].clone();
    inner["tolerance"] = case.0["tolerance"].clone();
    inner
}

fn brownian(schedule: &str, steps: u32) -> BrownianBridgeConfig {
    serde_json::from_value(json!({"steps": steps, "schedule": schedule})).unwrap()
}

fn brownian_bridge(case: &Case) {
    let name = case.0["name"].as_str().unwrap();
    let (schedule, steps) = name.trim_start_matches("brownian_bridge_").rsplit_once("_T").unwrap();
    let schedule = if schedule == "sin" { "exponential" } else { schedule };
    let steps: u32 = steps.parse().unwrap();
    let config = brownian(schedule, steps);
    assert_eq!(f64::from(steps) + 1.0, case.number("array_len"));
    let bridge = config.bridge(drive()).unwrap();
    let times: Vec<f64> = Vec::try_from(case.tensor("t")).unwrap();
    let clock = bridge.clock();
    let mut found: [Vec<f64>; 4] = Default::default();
    for t in times {
        let (end, _, std) = clock.coefficients(t);
        // The variance that a forward and a reverse step add; before time 0 there is none.
        let (added, posterior) = match t {
            0.0 => (std * std, 0.0),
            _ => {
                let (w, p, q) = (
                    clock.between(t - 1.0, t),
                    clock.behind(t - 1.0) / clock.behind(t),
                    clock.ahead(t) / clock.ahead(t - 1.0),
                );
                (w * q, w * p)
            }
        };
        for (list, value) in found.iter_mut().zip([end, std * std, added, posterior]) {
            list.push(value);
        }
    }
    for (key, list) in
        ["m", "variance", "variance_t_given_tm1", "posterior_variance"].iter().zip(&found)
    {
        case.assert_close(key, &Tensor::from_slice(list));
    }
}

fn brownian_bridge_reverse_mean(case: &Case) {
    let bridge = brownian("exponential", 1000).bridge(drive()).unwrap();
    let step = Step { from: case.number("from_t"), to: case.number("to_t") };
    let at = |x_t: f64, x_0: f64, x_end: f64, z: f64| {
        let one = |a: f64| Tensor::from_slice(&[a]).view([1, 1]);
        let state = State::new(Field::new(one(x_t), Moves::Scalar))
            .with_context(END, Field::new(one(x_end), Moves::Scalar));
        let prediction = Prediction::one(PredictionKind::Clean, one(x_0));
        let drawn = bridge.posterior(&state, step, &prediction, &one(z).into()).unwrap();
        drawn.x().view([1])
    };
    let (x_t, x_0, x_end) = (case.number("x_t"), case.number("x0_hat"), case.number("x_T"));
    case.assert_close("mean", &at(x_t, x_0, x_end, 0.0));
    case.assert_close("coef_xt", &at(1.0, 0.0, 0.0, 0.0));
    case.assert_close("coef_x0", &at(0.0, 1.0, 0.0, 0.0));
    case.assert_close("coef_xT", &at(0.0, 0.0, 1.0, 0.0));
    case.assert_close("reverse_variance", &at(0.0, 0.0, 0.0, 1.0).square());
}

/// The bridge of a case of spdm.json, and whether it is one of the baselines without scaling.
fn bridge(params: &Value) -> (Bridge, bool) {
    let number = |key: &str, default: f64| params[key].as_f64().unwrap_or(default);
    let mode = params["pred_mode"].as_str().unwrap();
    let bridge = if mode.starts_with("ve") {
        let config = VeBridgeConfig {
            sigma_min: number("sigma_min", 0.002),
            sigma_max: number("sigma_max", 80.0),
            margin: 1e-4,
        };
        config.bridge(drive()).unwrap()
    } else {
        let config = VpBridgeConfig {
            start: number("sigma_min", 1e-4),
            end: number("sigma_max", 1.0),
            margin: 1e-4,
            beta_d: number("beta_d", 2.0),
            beta_min: number("beta_min", 0.1),
        };
        config.bridge(drive()).unwrap()
    };
    (bridge, mode.ends_with("simple"))
}

fn moments(params: &Value) -> DataMoments {
    let sigma = params["sigma_data"].as_f64().unwrap_or(0.5);
    DataMoments {
        sigma_data: sigma,
        sigma_end: params["sigma_data_end"].as_f64().unwrap_or(sigma),
        covariance: params["cov_xy"].as_f64().unwrap_or(0.0),
    }
}

/// Coefficients by the table of numbers and by the function of a batch.
fn coefficients(case: &Case) {
    let (bridge, _) = bridge(&case.0["params"]);
    assert_eq!(case.0["params"]["c"].as_f64(), Some(1.0));
    let t = tensor(&case.0["inputs"]["t"]);
    let expected = expected(case);
    let expected = Case(&expected);
    let batch = bridge.clock().tensors(&t);
    let times: Vec<f64> = Vec::try_from(&t).unwrap();
    let pick = |f: &dyn Fn((f64, f64, f64)) -> f64| {
        let list: Vec<f64> = times.iter().map(|t| f(bridge.clock().coefficients(*t))).collect();
        Tensor::from_slice(&list)
    };
    expected.assert_close("a", &batch.end);
    expected.assert_close("a", &pick(&|(a, _, _)| a));
    expected.assert_close("b", &batch.clean);
    expected.assert_close("b", &pick(&|(_, b, _)| b));
    expected.assert_close("c_var", &batch.std.square());
    expected.assert_close("c_var", &pick(&|(_, _, std)| std * std));
    expected.assert_close("std", &batch.std);
    let snr: Vec<f64> = times.iter().map(|t| bridge.noise_level(*t).unwrap().powi(-2)).collect();
    expected.assert_close("snr", &Tensor::from_slice(&snr));
}

fn scalings(case: &Case) {
    let params = &case.0["params"];
    let (bridge, simple) = bridge(params);
    let t = tensor(&case.0["inputs"]["t"]);
    let expected = expected(case);
    let expected = Case(&expected);
    let kernel = bridge.kernel_of_time().unwrap()(&t);
    if simple {
        // The baseline: the network as it is on the same bridge.
        for (key, value) in [("c_skip", 0.0), ("c_out", 1.0), ("c_in", 1.0), ("weight", 1.0)] {
            expected.assert_close(key, &t.full_like(value));
        }
        identity_is_simple(&bridge, &t);
        let batch = bridge.clock().tensors(&t);
        expected.assert_close("a", &batch.end);
        expected.assert_close("b", &batch.clean);
        expected.assert_close("c_var", &batch.std.square());
        return;
    }
    let scales = BridgeScales::new(&kernel, &moments(params)).unwrap();
    expected.assert_close("c_skip", &scales.skip);
    expected.assert_close("c_out", &scales.out);
    expected.assert_close("c_in", &scales.input);
    expected.assert_close("weight", &scales.weight());
    expected.assert_close("c_out_sq_times_weight", &(scales.out.square() * scales.weight()));
    let label = label_of(&bridge, &t);
    expected.assert_close("c_noise", &label);
}

/// Returns what a network is given: the point, or the label as the network sees it.
struct Shown {
    label: bool,
    scale: f64,
}

impl ScoreModel for Shown {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Clean
    }

    fn predict(&self, state: &State, t: &Tensor, _: bool) -> Result<Prediction> {
        let label = (t * self.scale).view([-1, 1]).expand_as(state.x());
        let head = if self.label { label } else { state.x().shallow_clone() };
        Ok(Prediction::one(PredictionKind::Clean, head))
    }
}

fn wrapped(bridge: &Bridge, t: &Tensor, label: bool) -> Tensor {
    let scale = bridge.time().label_scale;
    let inner = Box::new(Shown { label, scale });
    let model =
        Preconditioned::new(inner, bridge, DataMoments::default(), Scaling::Simple, 250.0).unwrap();
    let x = (Tensor::arange(t.size()[0], (Kind::Double, Device::Cpu)) + 1.0).view([-1, 1]);
    let state = State::new(Field::new(x, Moves::Scalar));
    model.predict(&state, t, false).unwrap().heads[0].single().view([-1])
}

/// `c_noise` of the released code, as the network inside the wrapper sees it.
fn label_of(bridge: &Bridge, t: &Tensor) -> Tensor {
    wrapped(bridge, t, true)
}

fn identity_is_simple(bridge: &Bridge, t: &Tensor) {
    let seen = wrapped(bridge, t, false);
    let plain = Tensor::arange(t.size()[0], (Kind::Double, Device::Cpu)) + 1.0;
    assert_eq!((seen - plain).abs().max().double_value(&[]), 0.0);
}

/// `F = 0.3 u - 0.1 x_T + 1e-4 c_noise`.
struct Network {
    scale: f64,
}

impl ScoreModel for Network {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Clean
    }

    fn predict(&self, state: &State, t: &Tensor, _: bool) -> Result<Prediction> {
        let noise = (t * (self.scale * 1e-4)).view([-1, 1, 1, 1]);
        let head = state.x() * 0.3 - &state.given(END)?.tensor * 0.1 + noise;
        Ok(Prediction::one(PredictionKind::Clean, head))
    }
}

fn pair(value: Tensor, end: Tensor) -> State {
    State::new(Field::new(value, Moves::Image)).with_context(END, Field::new(end, Moves::Image))
}

fn training_loss(case: &Case) {
    let params = &case.0["params"];
    let (bridge, simple) = bridge(params);
    let input = |key: &str| tensor(&case.0["inputs"][key]);
    let (clean, t) = (pair(input("x0"), input("xT")), input("t"));
    let expected = expected(case);
    let expected = Case(&expected);
    let perturbed = bridge.noised(&clean, &t, &input("noise")).unwrap();
    expected.assert_close("x_t", perturbed.noisy.x());
    let network = Box::new(Network { scale: bridge.time().label_scale });
    let (scaling, weighting) = if simple {
        (Scaling::Simple, json!("unit"))
    } else {
        (Scaling::Bridge, json!({"bridge": moments(params)}))
    };
    let model = Preconditioned::new(network, &bridge, moments(params), scaling, 250.0).unwrap();
    let prediction = model.predict(&perturbed.noisy, &t, false).unwrap();
    let config: BridgeDenoisingConfig =
        serde_json::from_value(json!({"weighting": weighting})).unwrap();
    let errors = BridgeDenoising::new(&config).errors(&bridge, &perturbed, &prediction).unwrap();
    expected.assert_close("xs_mse", &errors.plain);
    expected.assert_close("mse_weighted", &errors.weighted);
    expected.assert_close("loss", &errors.weighted);
}

fn karras(case: &Case) {
    let number = |key: &str| case.0["params"][key].as_f64().unwrap();
    let high = number("sigma_max");
    let time = TimeDomain::continuous(number("sigma_min"), high);
    let times = TimeGrid::Karras.times(&time, number("n") as usize, number("rho")).unwrap();
    let expected = expected(case);
    Case(&expected).assert_close("sigmas", &Tensor::from_slice(&times));
}

/// The noises of a case, one for each interval.
struct Given(Tensor);

impl Noise for Given {
    fn draw(&mut self, index: u64, _: &State, terms: &Terms, _: &dyn Drive) -> Result<Xi> {
        Ok(terms.noise[0].apply(&self.0.get(index as i64)).into())
    }

    fn unit(&mut self, index: u64, _: &State, _: &Xi, _: &dyn NoisingProcess) -> Result<Xi> {
        Ok(self.0.get(index as i64).into())
    }
}

/// The states after each interval, from the other end on, and the evaluations. In the cases the mean
/// of the clean end is `0.1 + 0.2 x_T`.
fn run_heun(params: &Value, end: Tensor, noise: Option<Tensor>) -> (Vec<Tensor>, usize) {
    let (bridge, _) = bridge(params);
    let number = |key: &str| params[key].as_f64().unwrap();
    let oracle = json!({
        "type": "gaussian-bridge-oracle", "mean": [0.1], "slope": 0.2, "std": [number("v").sqrt()]
    });
    let state = pair(end.shallow_clone(), end);
    let spec = state.spec();
    let context = ModelContext { spec: &spec, process: Some(&bridge), symmetry: None };
    let oracle = serde_json::from_value::<Box<dyn ModelConfig>>(oracle).unwrap();
    let oracle = oracle.build(&VarStore::new(Device::Cpu).root(), &context).unwrap();
    let sampler = json!({
        "type": "bridge-heun", "steps": number("steps") as u32, "rho": number("rho"),
        "churn": number("churn_step_ratio"), "guidance": number("guidance"), "last_step": "euler"
    });
    let sampler = serde_json::from_value::<Box<dyn SamplerConfig>>(sampler).unwrap();
    let mut path = vec![state.x().shallow_clone()];
    let mut noise = Given(noise.unwrap_or_else(|| Tensor::zeros([1], tch::kind::DOUBLE_CPU)));
    let mut observer = |_: usize, _: usize, state: &State| {
        path.push(state.x().shallow_clone());
        Ok(())
    };
    let sampled = sampler
        .build()
        .unwrap()
        .run(&bridge, oracle.as_ref(), state, &mut noise, &mut observer)
        .unwrap();
    (path, sampled.evaluations)
}

fn heun(case: &Case) {
    let (params, inputs) = (&case.0["params"], &case.0["inputs"]);
    let end = tensor(&inputs["xT"]);
    // The oracle is that of the case.
    let mean = (tensor(&inputs["m"]) - (&end * 0.2 + 0.1)).abs().max().double_value(&[]);
    assert!(mean < 1e-12, "{mean}");
    let noise = (!inputs["churn_noise"].is_null()).then(|| tensor(&inputs["churn_noise"]));
    let (path, evaluations) = run_heun(params, end, noise.as_ref().map(Tensor::shallow_clone));
    assert_eq!(evaluations as f64, params["nfe"].as_f64().unwrap());
    let expected = expected(case);
    let expected = Case(&expected);
    let whole = expected.tensor("path");
    // With churn the path also has the point in the middle of each interval.
    let stride = if noise.is_some() { 2 } else { 1 };
    let rows: Vec<Tensor> = (0..path.len() as i64).map(|k| whole.get(k * stride)).collect();
    let difference = (Tensor::stack(&rows, 0) - Tensor::stack(&path, 0)).abs().max();
    let allowed = case.0["tolerance"]["atol"].as_f64().unwrap();
    assert!(difference.double_value(&[]) <= allowed, "path: {difference}");
    expected.assert_close("x0", path.last().unwrap());
}

/// The case of that name in spdm.json.
fn reference(name: &str) -> Value {
    let text = std::fs::read_to_string(crate::folder().join("spdm.json")).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    let cases = file["cases"].as_array_mut().unwrap();
    let place = cases.iter().position(|case| case["name"] == name);
    cases.swap_remove(place.unwrap_or_else(|| panic!("no case {name}")))
}

/// The case names another one whose end and noises are turned.
fn heun_equivariance(case: &Case) {
    let params = &case.0["params"];
    let file = reference(params["ref_case"].as_str().unwrap());
    let turns = params["rot_k"].as_i64().unwrap();
    // Counted clockwise.
    let turn = |images: Tensor| images.rot90(turns, [-1, -2]);
    let (inputs, reference) = (&file["inputs"], &file["params"]);
    let end = turn(tensor(&inputs["xT"]));
    let difference = &end - tensor(&case.0["inputs"]["xT_rot"]);
    assert!(difference.abs().max().double_value(&[]) < 1e-12);
    let noise = turn(tensor(&inputs["churn_noise"]));
    let (path, _) = run_heun(reference, end, Some(noise));
    let expected = expected(case);
    Case(&expected).assert_close("x0_rot", path.last().unwrap());
}

/// `f(u) = M u` elementwise.
struct Multiply(Tensor);

impl ScoreModel for Multiply {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Clean
    }

    fn predict(&self, state: &State, _: &Tensor, _: bool) -> Result<Prediction> {
        Ok(Prediction::one(PredictionKind::Clean, state.x() * &self.0))
    }
}

fn group_average(case: &Case) {
    let group = case.0["params"]["group"].as_str().unwrap();
    let order = case.0["params"]["order"].as_i64().unwrap();
    // The file counts quarter turns clockwise, the other way round.
    let (name, rows): (&str, Vec<i64>) = match group {
        "H" => ("horizontal-flip", vec![0, 1]),
        "V" => ("vertical-flip", vec![0, 1]),
        "C4" => ("quarter-turns", vec![0, 3, 2, 1]),
        other => panic!("group {other}"),
    };
    let json = json!({"type": "image-permutation", "group": name});
    let symmetry = serde_json::from_value::<Box<dyn RepresentationConfig>>(json).unwrap();
    let symmetry = symmetry.build().unwrap();
    let state = State::new(Field::new(tensor(&case.0["inputs"]["x"]), Moves::Image));
    let (moved, elements): (State, Element) = orbit(symmetry.as_ref(), &state).unwrap();
    assert_eq!(elements.single().size(), [order]);
    let expected = expected(case);
    let expected = Case(&expected);
    expected.assert_close("orbit", &moved.x().index_select(0, &Tensor::from_slice(&rows)));
    let t = Tensor::ones([1], tch::kind::DOUBLE_CPU);
    let model = Multiply(tensor(&case.0["inputs"]["M"]));
    let drive = drive();
    let averaged =
        average_over(&model, symmetry.as_ref(), drive.drive(), &state, &t, false).unwrap();
    expected.assert_close("average", averaged.heads[0].single());
}
