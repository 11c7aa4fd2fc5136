//! Cases of bridges: coefficients, scalings, losses, grids, trajectories, averages over groups.

use super::case::{Case, cases, excess, folder, own_folder, tensor};
use super::images::{element, group, published};
use super::words;
use isotropy_core::{
    ClosedForms, Drive, Element, Field, ModelConfig, ModelContext, Moves, Noise, NoiseOperator,
    NoisingProcess, Prediction, PredictionKind, Representation, RepresentationConfig, Result,
    SamplerConfig, ScoreModel, State, Step, TimeDomain, Xi,
};
use isotropy_diffusion::model::{average_over, orbit};
use isotropy_equivariant_bridges::model::{BridgeScales, DataMoments, Preconditioned, Scaling};
use isotropy_equivariant_bridges::objective::{BridgeDenoising, BridgeDenoisingConfig};
use isotropy_equivariant_bridges::process::{
    Bridge, BrownianBridgeConfig, END, VeBridgeConfig, VpBridgeConfig,
};
use isotropy_equivariant_bridges::sampler::TimeGrid;
use isotropy_images::action::ImagePermutation;
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

fn brownian(schedule: &str, steps: u32) -> BrownianBridgeConfig {
    serde_json::from_value(json!({"steps": steps, "schedule": schedule})).unwrap()
}

/// The two published schedules; the released code of `sin` goes by its own name.
const SCHEDULES: &[(&str, &str)] =
    &[("linear", "linear"), ("sin", "exponential"), ("exponential", "exponential")];

fn brownian_bridge(case: &Case) {
    let steps = case.number("array_len") as u32 - 1;
    let times: Vec<f64> = Vec::try_from(case.tensor("t")).unwrap();
    let mut bridges: Vec<Bridge> = case
        .named(SCHEDULES)
        .into_iter()
        .map(|schedule| brownian(schedule, steps).bridge(drive()).unwrap())
        .collect();
    if bridges.len() > 1 {
        // A case that names no schedule has the column of one.
        let (rtol, atol) = case.tolerance();
        bridges.retain(|bridge| {
            let ends: Vec<f64> = times.iter().map(|t| bridge.clock().coefficients(*t).0).collect();
            excess(&Tensor::from_slice(&ends), &case.tensor("m"), rtol, atol) <= 0.0
        });
    }
    let bridge = bridges.first().expect("the case names a schedule, or has the numbers of one");
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
    // The published number of steps is 1000.
    let steps = if case.has("T") { case.number("T") as u32 } else { 1000 };
    let [schedule] = case.named(SCHEDULES)[..] else { panic!("the case names no schedule") };
    let bridge = brownian(schedule, steps).bridge(drive()).unwrap();
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
    let expected = case.expected();
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
    let snr: Vec<f64> =
        times.iter().map(|t| bridge.kernel().unwrap().level(*t).unwrap().powi(-2)).collect();
    expected.assert_close("snr", &Tensor::from_slice(&snr));
}

fn scalings(case: &Case) {
    let params = &case.0["params"];
    let (bridge, simple) = bridge(params);
    let t = tensor(&case.0["inputs"]["t"]);
    let expected = case.expected();
    let expected = Case(&expected);
    let kernel = bridge.kernel().unwrap().tensors(&t);
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

/// `F = u_factor u + end_factor x_T + noise_factor c_noise`; `scale` makes `c_noise` of the time.
struct Network {
    u: f64,
    end: f64,
    noise: f64,
    scale: f64,
}

impl Network {
    /// The formula as it stands in words: `F(u,c_noise,xT)=0.3u-0.1xT+1e-4 c_noise with ..`.
    fn stated(words: &str, scale: f64) -> Self {
        let (_, formula) = words.split_once(")=").expect("the network's formula");
        let factor = |variable: &str| {
            let before = formula[..formula.find(variable)?].trim_end();
            let start = before.rfind(|c: char| !(c.is_ascii_digit() || "e.-+".contains(c)));
            let word = &before[start.map_or(0, |at| at + 1)..];
            words::number(word.trim_start_matches('+'))
        };
        let of = |variable| factor(variable).unwrap_or_else(|| panic!("{variable} in {formula}"));
        Self { u: of("u"), end: of("xT"), noise: of("c_noise"), scale }
    }
}

impl ScoreModel for Network {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Clean
    }

    fn predict(&self, state: &State, t: &Tensor, _: bool) -> Result<Prediction> {
        let noise = (t * (self.scale * self.noise)).view([-1, 1, 1, 1]);
        let head = state.x() * self.u + &state.given(END)?.tensor * self.end + noise;
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
    let expected = case.expected();
    let expected = Case(&expected);
    let perturbed = bridge.noised(&clean, &t, &input("noise")).unwrap();
    expected.assert_close("x_t", perturbed.noisy.x());
    let network = Box::new(Network::stated(&case.words(), bridge.time().label_scale));
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
    let times = TimeGrid::Karras.times(&time, number("n") as usize, number("rho"));
    let expected = case.expected();
    Case(&expected).assert_close("sigmas", &Tensor::from_slice(&times));
}

/// The noises of a case, one for each interval.
struct Given(Tensor);

impl Noise for Given {
    fn draw(
        &mut self,
        index: u64,
        _: &State,
        _: &Xi,
        noise: &[NoiseOperator],
        _: &dyn Drive,
    ) -> Result<Xi> {
        Ok(noise[0].apply(&self.0.get(index as i64)).into())
    }
}

/// The posterior mean for a clean end `N(m, v)`: `D = m + v b / (b^2 v + c) (x - a x_T - b m)`.
struct Denoiser<'a> {
    bridge: &'a Bridge,
    mean: Tensor,
    variance: f64,
}

impl ScoreModel for Denoiser<'_> {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Clean
    }

    fn predict(&self, state: &State, t: &Tensor, _: bool) -> Result<Prediction> {
        let (a, b, std) = self.bridge.clock().coefficients(t.double_value(&[0]));
        let gain = self.variance * b / (b * b * self.variance + std * std);
        let off = state.x() - &state.given(END)?.tensor * a - &self.mean * b;
        Ok(Prediction::one(PredictionKind::Clean, &self.mean + off * gain))
    }
}

/// The shipped oracle, where the mean is affine in the other end: `mean + slope x_T`.
fn shipped_oracle(
    bridge: &Bridge,
    state: &State,
    (mean, variance): (&Tensor, f64),
) -> Option<Box<dyn ScoreModel>> {
    let end = &state.given(END).unwrap().tensor;
    let centre = |a: &Tensor| a - a.mean(Kind::Double);
    let slope = (centre(mean) * centre(end)).sum(Kind::Double) / centre(end).square().sum(None);
    let constant = (mean - end * &slope).mean(Kind::Double);
    let off = (mean - end * &slope - &constant).abs().max().double_value(&[]);
    if off > 1e-12 {
        return None;
    }
    let oracle = json!({
        "type": "gaussian-bridge-oracle", "mean": [constant.double_value(&[])],
        "slope": slope.double_value(&[]), "std": [variance.sqrt()]
    });
    let spec = state.spec();
    let context = ModelContext { spec: &spec, process: Some(bridge), symmetry: None };
    let oracle = serde_json::from_value::<Box<dyn ModelConfig>>(oracle).unwrap();
    Some(oracle.build(&VarStore::new(Device::Cpu).root(), &context).unwrap())
}

/// What a trajectory of a case starts with.
struct Start {
    end: Tensor,
    mean: Tensor,
    noise: Option<Tensor>,
}

/// The states after each interval, from the other end on, and the evaluations.
fn run_heun(params: &Value, start: Start) -> (Vec<Tensor>, usize) {
    let (bridge, _) = bridge(params);
    let number = |key: &str| params[key].as_f64().unwrap();
    // The guidance of these cases is that of the released code, which for VE is another number.
    let published_ve = params["pred_mode"].as_str().unwrap().starts_with("ve");
    let sampler = json!({
        "type": "bridge-heun", "steps": number("steps") as u32, "rho": number("rho"),
        "churn": number("churn_step_ratio"), "guidance": number("guidance"),
        "guidance_meaning": if published_ve { "published-ve" } else { "h-term" },
        "last_step": "euler"
    });
    let sampler = serde_json::from_value::<Box<dyn SamplerConfig>>(sampler).unwrap();
    let sampler = sampler.build().unwrap();
    let run = |model: &dyn ScoreModel| {
        let state = pair(start.end.shallow_clone(), start.end.shallow_clone());
        let mut path = vec![state.x().shallow_clone()];
        let drawn = start.noise.as_ref().map(Tensor::shallow_clone);
        let mut noise = Given(drawn.unwrap_or_else(|| Tensor::zeros([1], tch::kind::DOUBLE_CPU)));
        let mut observer = |_: usize, _: usize, state: &State| {
            path.push(state.x().shallow_clone());
            Ok(())
        };
        let sampled = sampler.run(&bridge, model, state, &mut noise, &mut observer).unwrap();
        (path, sampled.evaluations)
    };
    let variance = number("v");
    let mean = start.mean.shallow_clone();
    let (path, evaluations) = run(&Denoiser { bridge: &bridge, mean, variance });
    let state = pair(start.end.shallow_clone(), start.end.shallow_clone());
    if let Some(oracle) = shipped_oracle(&bridge, &state, (&start.mean, variance)) {
        for (own, shipped) in path.iter().zip(run(oracle.as_ref()).0) {
            let off = (own - shipped).abs().max().double_value(&[]);
            assert!(off < 1e-9, "the oracle is off by {off}");
        }
    }
    (path, evaluations)
}

fn start(inputs: &Value) -> Start {
    let noise = (!inputs["churn_noise"].is_null()).then(|| tensor(&inputs["churn_noise"]));
    Start { end: tensor(&inputs["xT"]), mean: tensor(&inputs["m"]), noise }
}

fn heun(case: &Case) {
    let (params, inputs) = (&case.0["params"], &case.0["inputs"]);
    let start = start(inputs);
    // With churn the path also has the point in the middle of each interval.
    let stride = if start.noise.is_some() { 2 } else { 1 };
    let (path, evaluations) = run_heun(params, start);
    assert_eq!(evaluations as f64, params["nfe"].as_f64().unwrap());
    let expected = case.expected();
    let whole = Case(&expected).tensor("path");
    let rows: Vec<Tensor> = (0..path.len() as i64).map(|k| whole.get(k * stride)).collect();
    let (rtol, atol) = case.tolerance();
    let worst = excess(&Tensor::stack(&path, 0), &Tensor::stack(&rows, 0), rtol, atol);
    assert!(worst <= 0.0, "path: off by {worst:e} too much");
    Case(&expected).assert_close("x0", path.last().unwrap());
}

/// The case of that name: in the same folder, else in the repository's.
fn reference(name: &str) -> Value {
    let here = cases(&folder()).into_iter().chain(cases(&own_folder()));
    let found = here.map(|(_, case)| case).find(|case| case["name"] == name);
    found.unwrap_or_else(|| panic!("no case {name}"))
}

/// The case names another one whose ends and noises are turned.
fn heun_equivariance(case: &Case) {
    let params = &case.0["params"];
    let reference = reference(params["ref_case"].as_str().unwrap());
    let turn = |images: Tensor| published(&format!("rot{}", params["rot_k"]), &images);
    let Start { end, mean, noise } = start(&reference["inputs"]);
    let start = Start { end: turn(end), mean: turn(mean), noise: noise.map(turn) };
    let difference = &start.end - tensor(&case.0["inputs"]["xT_rot"]);
    assert!(difference.abs().max().double_value(&[]) < 1e-12);
    let (path, _) = run_heun(&reference["params"], start);
    Case(&case.expected()).assert_close("x0_rot", path.last().unwrap());
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

/// The elements of a group in the order of the released codes: turns first, then turns after a flip
/// (of rows), or flips (of columns) after turns.
fn published_orders(group: &str) -> Vec<Vec<String>> {
    let turns = || (0..4).map(|k| format!("rot{k}"));
    match group {
        "H" | "V" => vec![vec!["rot0".into(), group.into()]],
        "C4" => vec![turns().collect()],
        "D4" => vec![
            turns().chain(turns().map(|turn| format!("{turn}_after_V"))).collect(),
            turns().chain(turns().map(|turn| format!("H_after_{turn}"))).collect(),
        ],
        other => panic!("no group is called {other}"),
    }
}

fn group_average(case: &Case) {
    let name = case.0["params"]["group"].as_str().unwrap();
    let order = case.0["params"]["order"].as_i64().unwrap();
    let pixels = group(name);
    let symmetry = ImagePermutation::new(pixels);
    let x = tensor(&case.0["inputs"]["x"]);
    let state = State::new(Field::new(x.shallow_clone(), Moves::Image));
    let (moved, elements): (State, Element) = orbit(&symmetry, &state).unwrap();
    let batch = x.size()[0];
    assert_eq!(elements.single().size(), [order * batch]);
    let expected = case.expected();
    let expected = Case(&expected);
    // Rows of ours in the order of theirs; the batch lies within each element.
    let rows = moved.x().view([&[order], x.size().as_slice()].concat().as_slice());
    let (rtol, atol) = case.tolerance();
    let agree = published_orders(name).iter().any(|names| {
        let places: Vec<i64> = names.iter().map(|name| element(pixels, name, &x)).collect();
        let found = rows.index_select(0, &Tensor::from_slice(&places)).flatten(0, 1);
        excess(&found, &expected.tensor("orbit"), rtol, atol) <= 0.0
    });
    assert!(agree, "orbit: not that of {name} in a published order");
    let t = Tensor::ones([batch], tch::kind::DOUBLE_CPU);
    let model = Multiply(tensor(&case.0["inputs"]["M"]));
    let drive = drive();
    let averaged = average_over(&model, &symmetry, drive.drive(), &state, &t, false).unwrap();
    expected.assert_close("average", averaged.heads[0].single());
}
