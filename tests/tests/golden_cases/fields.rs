//! Gaussian-process fields: kernels, process, exact scores, targets, posterior, data.

use super::case::{Case, excess};
use super::words;
use isotropy_core::{
    CovarianceKernel, CovarianceKernelConfig, Field, Gram, Hyperparameter, Invariance,
    ModelContext, Moves, NoisingProcess, Perturbed, Prediction, PredictionKind, ProcessConfig,
    RepresentationConfig, Result, Scale, ScoreModel, State, Step, Streams, Xi,
};
use isotropy_gaussian_processes::oracle::OracleConfig;
use isotropy_gaussian_processes::posterior::GaussianProcess;
use isotropy_gaussian_processes::process::Beta;
use isotropy_gp_fields::dataset::points::PointsConfig;
use isotropy_gp_fields::dataset::sawtooth::sawtooth;
use isotropy_gp_fields::model::{FieldInput, FieldModel, FieldNetwork, Head};
use isotropy_networks::embedding::{Layout, sinusoidal};
use runner::train::learning_rate::LearningRateConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

/// Runs a case; `None` for a kind that is not covered. Cases name their inputs and outputs in objects of their own.
pub fn cover(case: &Case) -> Option<()> {
    // What is asked for, and what is given.
    let flat = flatten(case);
    let case = &Case(&flat);
    match case.kind() {
        "kernel_gram" => kernel_gram(case),
        "group_action" if case.has("gram_transformed") => group_action(case),
        "beta_schedule" => beta_schedule(case),
        "ou_marginal" => ou_marginal(case),
        "analytic_score" => analytic_score(case),
        "dsm" => dsm(case),
        "gp_posterior" => gp_posterior(case),
        "data_sawtooth" => data_sawtooth(case),
        "data_grid" => data_grid(case),
        "embedding" if case.has("max_positions") => embedding(case),
        "lr_schedule" => learning_rate(case),
        _ => return None,
    }
    Some(())
}

/// Inputs, outputs and tolerance side by side.
fn flatten(case: &Case) -> Value {
    let mut flat = serde_json::Map::new();
    for part in ["inputs", "expected"] {
        if let Some(object) = case.0[part].as_object() {
            flat.extend(object.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
    }
    flat.insert("kind".into(), case.kind().into());
    flat.insert("notes".into(), case.text("notes").into());
    flat.insert("tolerance".into(), case.0["tolerance"].clone());
    flat.into()
}

fn kernel(json: Value) -> Arc<dyn CovarianceKernel> {
    let config: Box<dyn CovarianceKernelConfig> = serde_json::from_value(json).unwrap();
    config.build().unwrap()
}

fn kernel_gram(case: &Case) {
    // Numbers of the case under the name of the family (`white_variance`), or under the name alone.
    let given = |family: &str, name: &str| {
        let number = |key: &str| case.0[key].as_f64();
        number(&format!("{family}_{name}")).or_else(|| number(name))
    };
    let json = words::kernel(case.text("kernel"), &given).unwrap_or_else(|e| panic!("{e}"));
    let kernel = kernel(json);
    let (x, other) = (case.tensor("x"), case.tensor("x_other"));
    let d = case.0["output_dim"].as_i64().unwrap_or(1);
    case.assert_close("gram", &kernel.gram(&x).full(d));
    case.assert_close("cross", &kernel.cross(&x, &other).full(d));
}

fn group_action(case: &Case) {
    let given = |_: &str, name: &str| case.0[name].as_f64();
    let json = words::kernel(case.text("kernel"), &given).unwrap_or_else(|e| panic!("{e}"));
    let kernel = kernel(json);
    let (g, u) = (case.tensor("G_orthogonal"), case.tensor("translation"));
    let x = case.tensor("x").matmul(&g.transpose(0, 1)) + u;
    case.assert_close("x_transformed", &x);
    case.assert_close("y_transformed", &case.tensor("y").matmul(&g.transpose(0, 1)));
    let d = case.tensor("y").size()[1];
    case.assert_close("gram_transformed", &kernel.gram(&x).full(d));
}

fn beta_schedule(case: &Case) {
    let number = |key: &str| case.number(key);
    let beta = Beta::linear((number("t0"), number("t1")), number("beta0"), number("beta1"));
    let t = case.tensor("t");
    let times = Vec::<f64>::try_from(&t).unwrap();
    let each = |f: &dyn Fn(f64) -> f64| {
        Tensor::from_slice(&times.iter().map(|t| f(*t)).collect::<Vec<_>>())
    };
    case.assert_close("beta", &each(&|t| beta.rate(t)));
    case.assert_close("B", &each(&|t| beta.integral(t)));
    case.assert_close("B", &beta.integrals(&t));
    case.assert_close("mean_coef", &each(&|t| beta.mean_std(t).0));
    case.assert_close("std", &each(&|t| beta.mean_std(t).1));
    case.assert_close("var_coef", &each(&|t| beta.mean_std(t).1.powi(2)));
}

/// The process with a schedule `(t0, t1, beta0, beta1)`, no jitter and next to no floor.
fn process(case: &Case, kernel: Value, mean: f64) -> Box<dyn NoisingProcess> {
    let schedule = &case.0["schedule"];
    let json = json!({
        "type": "gaussian-process",
        "kernel": kernel,
        "mean": [mean],
        "start": schedule[0],
        "end": schedule[1],
        "beta_min": schedule[2],
        "beta_max": schedule[3],
        "std_floor": 1e-12,
        "jitter": 0.0,
    });
    let config: Box<dyn ProcessConfig> = serde_json::from_value(json).unwrap();
    let drive: Box<dyn RepresentationConfig> =
        serde_json::from_value(json!({"type": "translations"})).unwrap();
    config.build(drive.build().unwrap()).unwrap()
}

/// One function: points `[N, p]`, values `[N]` or, point-major, `[N d]`.
fn field(x: &Tensor, y: &Tensor) -> State {
    let (n, p) = (x.size()[0], x.size()[1]);
    let value = Field::new(y.reshape([1, n, -1]), Moves::Scalar).indexed(1);
    let index = Field::new(x.reshape([1, n, p]), Moves::Point).indexed(1);
    State::new(value).with_context(State::INDEX, index)
}

fn flat(xi: &Xi) -> Tensor {
    xi.single().flatten(0, -1)
}

fn same(scale: &Scale) -> f64 {
    match scale {
        Scale::Same(a) => *a,
        Scale::Each(_) => panic!("one time, but a scale for each point"),
    }
}

/// The kernel that a text describes in full, which has the Gram matrix that the case gives with it.
fn checked(case: &Case, text: &str, (gram, x, d): (&str, &Tensor, i64)) -> Value {
    let json = words::stated(words::defined(text, case.text("notes")));
    let found = kernel(json.clone()).gram(x).full(d);
    let worst = excess(&found, &case.tensor(gram), 1e-12, 1e-14);
    assert!(worst <= 0.0, "{gram} is not that of '{text}'");
    json
}

/// The covariance that a case gives as numbers, whatever the points.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct GivenGram {
    rows: Vec<Vec<f64>>,
    outputs: i64,
}

#[typetag::serde(name = "golden-given")]
impl CovarianceKernelConfig for GivenGram {
    fn build(&self) -> Result<Arc<dyn CovarianceKernel>> {
        Ok(Arc::new(self.clone()))
    }
}

impl CovarianceKernel for GivenGram {
    fn name(&self) -> String {
        "given".into()
    }

    fn outputs(&self, _: i64) -> Option<i64> {
        (self.outputs > 1).then_some(self.outputs)
    }

    fn invariance(&self) -> Invariance {
        Invariance::Nothing
    }

    fn hyperparameters(&self) -> Vec<Hyperparameter> {
        Vec::new()
    }

    fn cross_at(&self, _: &[Scale], a: &Tensor, b: &Tensor) -> Gram {
        let (size, rows) = (a.size(), self.rows.len() as i64);
        let lead = &size[..size.len() - 2];
        assert_eq!(size[lead.len()] * self.outputs, rows, "the points of the case");
        assert_eq!(b.size()[b.dim() - 2] * self.outputs, rows, "the points of the case");
        let matrix = Tensor::from_slice(&self.rows.concat()).view([rows, rows]);
        let matrix = matrix.expand([lead, &[rows, rows]].concat().as_slice(), false);
        match self.outputs {
            1 => Gram::Scalar(matrix),
            outputs => Gram::Matrix { matrix, outputs },
        }
    }
}

fn ou_marginal(case: &Case) {
    let state = field(&case.tensor("x"), &case.tensor("y0"));
    let (n, d) = (state.x().size()[1], state.x().size()[2]);
    let json = checked(case, case.text("limiting_kernel"), ("gram", &case.tensor("x"), d));
    let mean = case.tensor("limiting_mean");
    let process = process(case, json, mean.double_value(&[0]));
    let t = case.number("t");
    let kernel = process.kernel().unwrap().at(&state, t).unwrap();
    let limit = kernel.colour[0].as_ref().unwrap().gram(n, d, F64).full(d).reshape([n * d, n * d]);
    case.assert_close("gram", &limit);
    case.assert_close("cov", &(limit * same(&kernel.std[0]).powi(2)));
    // The mean as it is drawn around: the transition without noise, and perturb with its own noise taken out.
    let zero = Xi::from(state.x().zeros_like());
    let start = process.time().start;
    let moved = process.transition(&state, start, t, &zero).unwrap();
    case.assert_close("mean", &moved.x().flatten(0, -1));
    let times = Tensor::full([1], t, F64);
    let perturbed = process.perturb(&state, &times, &mut Streams::new(0).stream("p", 0)).unwrap();
    let colour = perturbed.kernel.colour[0].as_ref().unwrap();
    let noise = perturbed.kernel.std[0].times(&colour.apply(perturbed.noise().unwrap().single()));
    case.assert_close("mean", &(perturbed.noisy.x() - noise).flatten(0, -1));
}

fn analytic_score(case: &Case) {
    let (x, t) = (case.tensor("x"), case.number("t"));
    let state = field(&x, &case.tensor("y_t"));
    let d = state.x().size()[2];
    let data = checked(case, case.text("data_kernel"), ("data_gram", &x, d));
    let limit = checked(case, case.text("limiting_kernel"), ("limiting_gram", &x, d));
    let process = process(case, limit, 0.0);
    let spec = state.spec();
    let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
    let times = Tensor::full([1], t, F64);
    let oracle = |predicts: PredictionKind| {
        let json = json!({"kernel": data, "jitter": 0.0, "predicts": predicts});
        let config: OracleConfig = serde_json::from_value(json).unwrap();
        config.oracle(&context).unwrap()
    };
    let law = oracle(PredictionKind::Score).marginal(&state, &times).unwrap();
    case.assert_close("cov_t", &law.covariance.full(d).squeeze_dim(0));
    case.assert_close("logp_t", &law.log_prob(state.x()).unwrap().squeeze());
    for predicts in [
        PredictionKind::Score,
        PredictionKind::CovarianceScore,
        PredictionKind::PreconditionedScore,
        PredictionKind::Noise,
        PredictionKind::Clean,
    ] {
        let prediction = oracle(predicts).predict(&state, &times, false).unwrap();
        let terms = process.terms(&state, Step::at(t), &prediction).unwrap();
        let beta = terms.noise[0].scale().powi(2);
        case.assert_close("score", &flat(terms.score.as_ref().unwrap()));
        case.assert_close("K_score", &(flat(&terms.preconditioned) / beta));
        let flow = terms.drift.add_scaled(&terms.preconditioned, -0.5);
        case.assert_close("probability_flow_drift", &flat(&flow));
        let reverse = terms.drift.sub(&terms.preconditioned);
        case.assert_close("reverse_sde_drift", &flat(&reverse));
        if predicts == PredictionKind::PreconditionedScore {
            let kernel = process.kernel().unwrap().at(&state, t).unwrap();
            case.assert_close("St_score", &(flat(&prediction.heads[0]) / same(&kernel.std[0])));
        }
    }
}

/// A network whose output is 1 everywhere.
struct One;

impl FieldNetwork for One {
    fn forward(&self, input: &FieldInput) -> Result<Tensor> {
        Ok(input.value.ones_like())
    }
}

fn dsm(case: &Case) {
    // The case gives no kernel, but its covariance.
    let state = field(&case.tensor("x"), &case.tensor("y0"));
    let (n, d) = (state.x().size()[1], state.x().size()[2]);
    let limit = json!({"type": "golden-given", "rows": case.0["limiting_gram"], "outputs": d});
    let process = process(case, limit, 0.0);
    let t = case.number("t");
    let kernel = process.kernel().unwrap().at(&state, t).unwrap();
    let (mean, std) = (same(&kernel.mean[0]), same(&kernel.std[0]));
    let z = Xi::from(case.tensor("z").reshape([1, n, d]));
    let coloured = Xi::from(process.unit_noise(&state).unwrap()[0].apply(z.single()));
    let noisy = state.x() * mean + coloured.single() * std;
    case.assert_close("y_t", &noisy.flatten(0, -1));
    let perturbed = Perturbed {
        noisy: state.with_value(noisy.shallow_clone()),
        kernel,
        noise: Some(z),
        velocity: None,
        clean: Some(Xi::from(state.x().shallow_clone())),
        coordinates: Some(noisy.into()),
        orientation: None,
    };
    let target = |kind| perturbed.target(kind).unwrap().remove(0);
    let plain = target(PredictionKind::Score);
    let covariance = target(PredictionKind::CovarianceScore);
    let preconditioned = target(PredictionKind::PreconditionedScore);
    case.assert_close("target_plain", &flat(&plain));
    // Predictions of these two kinds are std times the published ones.
    case.assert_close("target_K", &(flat(&covariance) / std));
    case.assert_close("target_St", &(flat(&preconditioned) / std));
    // The mean over points of the sum over components.
    let loss = |residual: Tensor| residual.square().sum(Kind::Double) / n;
    case.assert_close("loss_zero_net_K_weighted", &loss(flat(&covariance)));
    case.assert_close("loss_zero_net_K_unweighted", &loss(flat(&covariance) / std));
    case.assert_close("loss_zero_net_St_weighted", &loss(flat(&preconditioned)));
    case.assert_close("loss_zero_net_plain_weighted_correct", &loss(flat(&plain) * std));
    let head = Head {
        predicts: PredictionKind::CovarianceScore,
        std_trick: true,
        residual_trick: false,
        value_scale: 1.0,
        output_scale: 1.0,
        time_scale: 1.0,
    };
    let spec = state.spec();
    let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
    let model = FieldModel::build(&context, head, |_, _| Ok((Box::new(One), false))).unwrap();
    let times = Tensor::full([1], t, F64);
    let found: Prediction = model.predict(&perturbed.noisy, &times, false).unwrap();
    let residual = flat(&found.heads[0]) - flat(&covariance);
    case.assert_close("precond_K_std_trick_net_output_1", &loss(residual));
}

fn gp_posterior(case: &Case) {
    let json = words::stated(words::defined(case.text("kernel"), case.text("notes")));
    let process = GaussianProcess::new(kernel(json)).with_jitter(0.0);
    let known = field(&case.tensor("x_context"), &case.tensor("y_context"));
    let query = field(&case.tensor("x_target"), &case.tensor("y_target"));
    let (m, d) = (query.x().size()[1], query.x().size()[2]);
    let law = process.condition(Some(&known), &query).unwrap();
    case.assert_close("posterior_mean", &law.mean().flatten(0, -1));
    case.assert_close("posterior_cov", &law.covariance().full(d).reshape([m * d, m * d]));
    let log = law.log_prob(query.x()).unwrap();
    case.assert_close("cond_loglik", &log.squeeze());
    case.assert_close("cond_loglik_per_target", &(&log / law.count()).squeeze());
    let diagonal = law.log_prob_diagonal(query.x()) / law.count();
    case.assert_close("cond_loglik_diag_per_target", &diagonal.squeeze());
    case.assert_close("context_loglik", &process.log_prob(&known).unwrap().squeeze());
    let joint = State::join_index(&[known, query]).unwrap();
    case.assert_close("joint_loglik", &process.log_prob(&joint).unwrap().squeeze());
}

fn data_sawtooth(case: &Case) {
    let x = case.tensor("x").squeeze_dim(1);
    let number = |key: &str| Tensor::full([1], case.number(key), F64);
    let (f, s, k) = (number("frequency"), number("shift"), number("k"));
    let most = (case.number("k") as i64).max(20);
    case.assert_close("y", &sawtooth(&x, &f, &s, &k, most));
}

fn data_grid(case: &Case) {
    let (side, radius) = (case.number("n_axis") as i64, case.number("radius"));
    let json = json!({"type": "disk-grid", "side": side, "radius": radius});
    let points: PointsConfig = serde_json::from_value(json).unwrap();
    let points = points.build(2, "").unwrap();
    let all = points.all().unwrap();
    let scalar = |a: f64| Tensor::from_slice(&[a]).squeeze();
    case.assert_close("count", &scalar(all.size()[0] as f64));
    case.assert_close("first_point", &all.get(0));
    // Between neighbours: the least distance of the first point from another.
    let others = all.narrow(0, 1, all.size()[0] - 1) - all.get(0);
    let distances = others.square().sum_dim_intlist(-1, false, Kind::Double).sqrt();
    case.assert_close("spacing", &distances.min());
}

fn embedding(case: &Case) {
    // One time, or a list of them.
    let t = case.tensor("t");
    let found =
        sinusoidal(&t, case.number("dim") as i64, case.number("max_positions"), Layout::SinCos);
    case.assert_close("embedding", &found);
}

fn learning_rate(case: &Case) {
    let number = |key: &str| case.number(key);
    let peak = number("peak");
    let json = json!({
        "type": "warm-up-cosine",
        "warm_up_steps": number("warmup_steps") as u64,
        "initial_factor": number("init") / peak,
        "final_factor": number("end") / peak,
        "decay_steps": number("decay_steps") as u64,
    });
    let config: LearningRateConfig = serde_json::from_value(json).unwrap();
    let schedule = config.build(1_000_000);
    let steps: Vec<u64> = serde_json::from_value(case.0["steps"].clone()).unwrap();
    let found: Vec<f64> = steps.into_iter().map(|step| peak * schedule.factor(step)).collect();
    case.assert_close("lr", &Tensor::from_slice(&found));
}
