//! Schedules, flow coordinates, kernels and sampler steps of diffusion on Lie groups.

use super::case::{Case, excess};
use super::words;
use isotropy_core::schedule::{Family, Schedule, Table};
use isotropy_core::{
    Drive, Field, Kernel, ModelConfig, ModelContext, Moves, Noise, NoiseOperator, NoisingProcess,
    Perturbed, Prediction, PredictionKind, ProcessConfig, Representation, RepresentationConfig,
    Result, SamplerConfig, Scale, ScheduleConfig, ScoreModel, State, Streams, Xi,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use tch::{Device, Kind, Tensor, nn::VarStore};

const POLAR: &str = "polar";
const SPHERICAL: &str = "spherical";
const TRANSLATIONS: &str = "translations";

/// Runs a case; `None` for a kind that is not covered.
pub fn cover(case: &Case) -> Option<()> {
    match case.kind() {
        "schedule" => schedule(case),
        "so2_flow_coordinates" => flow_coordinates(case, POLAR),
        "so3_flow_coordinates" => flow_coordinates(case, SPHERICAL),
        "so4_hyperspherical_convention" => so4(case),
        "so2_fields" => so2_fields(case),
        "so3_fields" => so3_fields(case),
        "so2_forward" => so2_forward(case),
        "so3_forward" => so3_forward(case),
        "so2_reverse_step" => reverse_step(
            case,
            POLAR,
            &[
                ("x_next_repo_div_true_halfbeta", euler("half-beta")),
                ("x_next_repo_div_false", euler("none")),
                ("x_next_paper_alg2", euler("algorithm-2")),
                ("x_next_consistent_em", euler("none")),
                ("x_next_consistent_exact_group", group_step()),
            ],
        ),
        "so3_reverse_step" => reverse_step(
            case,
            SPHERICAL,
            &[
                ("x_next_repo_div_true", euler("half-beta")),
                ("x_next_repo_div_false", euler("none")),
                ("x_next_paper_alg2_unclamped", euler("algorithm-2")),
                ("x_next_consistent_em", euler("none")),
                ("x_next_consistent_exact_tau", group_step()),
            ],
        ),
        "t2_fisher_reverse_step" => {
            reverse_step(
                case,
                TRANSLATIONS,
                &[("x_next", euler("none")), ("x_next", group_step())],
            );
        }
        "so2_pf_ode_step" => {
            let sampler = json!({"type": "probability-flow", "steps": 1, "method": "euler"});
            reverse_step(case, POLAR, &[("x_next_exact_group", sampler)]);
        }
        "divergence_bias_check" => divergence_bias(case),
        _ => return None,
    }
    Some(())
}

fn drive(name: &str) -> Arc<dyn Representation> {
    let config: Box<dyn RepresentationConfig> =
        serde_json::from_value(json!({"type": name})).unwrap();
    config.build().unwrap()
}

fn fields(drive: &Arc<dyn Representation>) -> &dyn Drive {
    drive.drive().unwrap()
}

fn vp(
    drive: Arc<dyn Representation>,
    schedule: Value,
    steps: u32,
    mean: &str,
) -> Box<dyn NoisingProcess> {
    let json = json!({"type": "vp", "schedule": schedule, "steps": steps, "mean": mean});
    serde_json::from_value::<Box<dyn ProcessConfig>>(json).unwrap().build(drive).unwrap()
}

/// The schedules that have a published table, by the names that cases have for them.
const SCHEDULES: &[(&str, &str)] =
    &[("cosine", "cosine"), ("linear-time", "linear-time"), ("ddpm", "ddpm")];

/// The table of the case's schedule with that many steps; where the case names none, that of the
/// only one whose column is the case's.
fn table_of(case: &Case, steps: usize, is: impl Fn(&Table) -> bool) -> Table {
    let build = |name: &str| {
        let config: Box<dyn ScheduleConfig> =
            serde_json::from_value(json!({"type": name})).unwrap();
        config.build().unwrap().table(steps)
    };
    let mut tables: Vec<Table> = case.named(SCHEDULES).into_iter().map(build).collect();
    if tables.len() > 1 {
        tables.retain(is);
    }
    tables.pop().expect("the case names a schedule, or has the numbers of one")
}

fn schedule(case: &Case) {
    let rows: Vec<usize> =
        case.0["t"].as_array().unwrap().iter().map(|t| t.as_u64().unwrap() as usize).collect();
    let pick = |all: &[f64]| Tensor::from_slice(&rows.iter().map(|&t| all[t]).collect::<Vec<_>>());
    // Times 0 to T.
    let length = case.number("array_len") as usize;
    let (rtol, atol) = case.tolerance();
    let Table { beta, mean, std } = table_of(case, length - 1, |table| {
        excess(&pick(&table.beta), &case.tensor("beta_f64"), rtol, atol) <= 0.0
    });
    assert_eq!(beta.len(), length);
    let (beta, mean, std) = (pick(&beta), pick(&mean), pick(&std));
    case.assert_close("beta_f64", &beta);
    case.assert_close("alpha_bar_f64", &mean.square());
    case.assert_close("sqrt_alpha_bar_f64", &mean);
    case.assert_close("sigma_f64", &std);
    for (key, found) in [
        ("beta_repo_float32", &beta),
        ("alpha_bar_repo_float32", &mean.square()),
        ("sigma_repo_float32", &std),
    ] {
        // In single precision 1 - alpha keeps seven digits of 1, not of beta.
        case.assert_within(key, found, 1e-5, 2e-6);
    }
}

fn flow_coordinates(case: &Case, name: &str) {
    flow_coordinates_of(case, &drive(name));
}

fn flow_coordinates_of(case: &Case, drive: &Arc<dyn Representation>) {
    let coordinates = fields(drive).coordinates().unwrap();
    let state = case.state("x");
    let tau = coordinates.tau(&state);
    case.assert_close("tau", tau.single());
    let back = coordinates.point(&state, &tau);
    case.assert_close("x_back", back.x());
}

/// `Pi_i`: the push of the `i`th unit coefficient.
fn field(drive: &dyn Drive, state: &State, index: i64) -> Tensor {
    let xi = state.x().zeros_like();
    let _ = xi.select(1, index).fill_(1.0);
    drive.push(state, &xi.into())
}

fn so4(case: &Case) {
    for inner in case.0["cases"].as_array().expect("points") {
        let mut inner = inner.clone();
        let dimension = inner["x"].as_array().expect("a point").len() as i64;
        let config: Box<dyn RepresentationConfig> =
            serde_json::from_value(json!({"type": "hyperspherical", "dimension": dimension}))
                .unwrap();
        let drive = config.build().unwrap();
        let fields = fields(&drive);
        // One point each: made a batch of one, under the tolerance of the whole.
        for value in inner.as_object_mut().expect("a point").values_mut() {
            *value = json!([value]);
        }
        inner["tolerance"] = case.0["tolerance"].clone();
        let case = Case(&inner);
        flow_coordinates_of(&case, &drive);
        let state = case.state("x");
        let rows: Vec<Tensor> = (0..dimension).map(|index| field(fields, &state, index)).collect();
        case.assert_close("Pi_rows_logr_phi1_phi2_phi3", &Tensor::stack(&rows, 1));
        case.assert_close("sum_second_derivs", &fields.ito(&state, &[1.0, 1.0]));
        case.assert_close("divergences", fields.divergences(&state).single());
        case.assert_close("det_Pi_abs", &fields.coordinates().unwrap().log_abs_det(&state).exp());
    }
}

fn so2_fields(case: &Case) {
    let drive = drive(POLAR);
    let (fields, state) = (fields(&drive), case.state("x"));
    case.assert_close("Pi_r", &field(fields, &state, 0));
    case.assert_close("Pi_theta", &field(fields, &state, 1));
    case.assert_close("det_Pi", &fields.coordinates().unwrap().log_abs_det(&state).exp());
    let divergences = fields.divergences(&state);
    case.assert_close("div_r", &divergences.single().select(1, 0));
    case.assert_close("div_theta", &divergences.single().select(1, 1));
    case.assert_close("ito_half_sum_second_derivs", &(fields.ito(&state, &[1.0, 1.0]) * 0.5));
}

fn so3_fields(case: &Case) {
    let drive = drive(SPHERICAL);
    let (fields, state) = (fields(&drive), case.state("x"));
    for (index, key) in ["Pi_r", "Pi_theta", "Pi_phi"].into_iter().enumerate() {
        case.assert_close(key, &field(fields, &state, index as i64));
    }
    case.assert_close("sum_second_derivs", &fields.ito(&state, &[1.0, 1.0]));
    case.assert_close("det_Pi", &fields.coordinates().unwrap().log_abs_det(&state).exp());
    let divergences = fields.divergences(&state);
    for (index, key) in ["div_r", "div_theta_cot", "div_phi"].into_iter().enumerate() {
        case.assert_close(key, &divergences.single().select(1, index as i64));
    }
}

/// The noisy coordinates of the kernel at the case's time with the case's noise, and the target.
fn forward(case: &Case, drive: &Arc<dyn Representation>, mean: &str, noise: &str) -> (Xi, Tensor) {
    let steps = if case.has("T") { case.number("T") as u32 } else { 100 };
    let t = case.number("t");
    let build = |name: &str| vp(drive.clone(), json!({"type": name}), steps, mean);
    // Where the case names no schedule, that of its `alpha_bar`.
    let (rtol, atol) = case.tolerance();
    let mut processes: Vec<_> = case.named(SCHEDULES).into_iter().map(build).collect();
    if processes.len() > 1 {
        processes.retain(|process| {
            let factor = numbers(&process.kernel().unwrap().scales(t)).0;
            let found = if mean == "alpha-bar" { factor } else { factor * factor };
            excess(&Tensor::from(found), &case.tensor("alpha_bar"), rtol, atol) <= 0.0
        });
    }
    let process = processes.pop().expect("the case names a schedule, or has the numbers of one");
    let kernel = process.kernel().unwrap().scales(t);
    let (factor, std) = numbers(&kernel);
    if mean == "sqrt-alpha-bar" {
        case.assert_close("alpha_bar", &Tensor::from(factor * factor));
    } else {
        case.assert_close("alpha_bar", &Tensor::from(factor));
    }
    if case.has("sigma") {
        case.assert_close("sigma", &Tensor::from(std));
    }
    let (x0, noise) = (case.state("x0"), Xi::from(case.tensor(noise)));
    let clean = fields(drive).coordinates().unwrap().tau(&x0);
    let tau = clean.scale(factor).add_scaled(&noise, std);
    let perturbed = Perturbed {
        noisy: x0,
        kernel,
        noise: Some(noise),
        velocity: None,
        clean: Some(clean),
        coordinates: Some(tau.clone()),
        orientation: None,
    };
    let target = perturbed.target(PredictionKind::Score).unwrap().remove(0);
    (tau, target.single().shallow_clone())
}

fn numbers(kernel: &Kernel) -> (f64, f64) {
    match (&kernel.mean[0], &kernel.std[0]) {
        (Scale::Same(mean), Scale::Same(std)) => (*mean, *std),
        _ => panic!("the kernel at one time has one scale"),
    }
}

fn so2_forward(case: &Case) {
    let polar = drive(POLAR);
    for (mean, key) in
        [("sqrt-alpha-bar", "x_t_vp_mean_sqrt_abar"), ("alpha-bar", "x_t_repo_ambient_mean_abar")]
    {
        let (tau, target) = forward(case, &polar, mean, "noise_r_theta");
        let point = fields(&polar).coordinates().unwrap().point(&case.state("x0"), &tau);
        case.assert_close(key, point.x());
        case.assert_close("target_score_minus_noise_over_sigma", &target);
    }
    let (x, _) = forward(case, &drive(TRANSLATIONS), "sqrt-alpha-bar", "noise_r_theta");
    case.assert_close("fisher_x_t", x.single());
}

fn so3_forward(case: &Case) {
    let drive = drive(SPHERICAL);
    let (tau, target) = forward(case, &drive, "sqrt-alpha-bar", "noise_r_theta_phi");
    case.assert_close("tau_t_unwrapped", tau.single());
    case.assert_close("target_score_minus_noise_over_sigma", &target);
    let coordinates = fields(&drive).coordinates().unwrap();
    let point = coordinates.point(&case.state("x0"), &tau);
    case.assert_close("x_t", point.x());
    case.assert_close("tau_recovered_from_x_t", coordinates.tau(&point).single());
}

/// A schedule with one step that adds a given variance.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct OneStep {
    beta: f64,
}

#[typetag::serde(name = "golden-one-step")]
impl ScheduleConfig for OneStep {
    fn build(&self) -> Result<Arc<dyn Schedule>> {
        Ok(Arc::new(self.clone()))
    }
}

impl Schedule for OneStep {
    fn family(&self) -> Family {
        Family::VariancePreserving
    }

    fn mean_std(&self, u: &Tensor) -> (Tensor, Tensor) {
        ((u * -self.beta + 1.0).sqrt(), (u * self.beta).sqrt())
    }

    fn table(&self, _steps: usize) -> Table {
        let beta = self.beta;
        Table {
            beta: vec![0.0, beta],
            mean: vec![1.0, (1.0 - beta).sqrt()],
            std: vec![0.0, beta.sqrt()],
        }
    }
}

/// Returns the same score everywhere.
struct FixedScore(Tensor);

impl ScoreModel for FixedScore {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Score
    }

    fn predict(&self, _state: &State, _t: &Tensor, _train: bool) -> Result<Prediction> {
        Ok(Prediction::one(PredictionKind::Score, self.0.shallow_clone()))
    }
}

/// The case's own noise.
struct FixedNoise(Option<Tensor>);

impl FixedNoise {
    fn z(&self) -> Tensor {
        self.0.as_ref().expect("this sampler draws no noise").shallow_clone()
    }
}

impl Noise for FixedNoise {
    fn draw(
        &mut self,
        _: u64,
        _: &State,
        _: &Xi,
        noise: &[NoiseOperator],
        _: &dyn Drive,
    ) -> Result<Xi> {
        Ok(noise[0].apply(&self.z()).into())
    }
}

fn euler(divergence: &str) -> Value {
    json!({"type": "euler-maruyama-x", "steps": 1, "last_step": "noise", "divergence": divergence})
}

fn group_step() -> Value {
    json!({"type": "group-step", "steps": 1, "last_step": "noise"})
}

/// One step of a sampler with the case's beta, score and noise.
fn reverse_step(case: &Case, name: &str, expected: &[(&str, Value)]) {
    let beta = case.number("beta");
    let process =
        vp(drive(name), json!({"type": "golden-one-step", "beta": beta}), 1, "sqrt-alpha-bar");
    let model = FixedScore(case.tensor("score"));
    for (key, sampler) in expected {
        let config: Box<dyn SamplerConfig> = serde_json::from_value(sampler.clone()).unwrap();
        let mut noise = FixedNoise(case.has("noise").then(|| case.tensor("noise")));
        let start = case.state("x_t");
        let sampled = config
            .build()
            .unwrap()
            .run(
                process.as_ref(),
                &model,
                start,
                &mut noise,
                &mut isotropy_core::sampler::unobserved,
            )
            .unwrap();
        case.assert_close(key, sampled.state.x());
    }
}

/// Moments of whole runs with the exact score: the divergence term of the published samplers biases
/// the radius. The setup stands in words. The case was made with the steps T - 1 ..= 0, ours are
/// T ..= 1.
fn divergence_bias(case: &Case) {
    let polar = drive(POLAR);
    let words = case.words();
    let steps = words::after(&words, "T").expect("the steps T") as u32;
    let [schedule] = case.named(SCHEDULES)[..] else { panic!("no schedule in '{words}'") };
    let process = vp(polar.clone(), json!({"type": schedule}), steps, "sqrt-alpha-bar");
    let template = State::new(Field::new(
        Tensor::ones([40_000, 2], (Kind::Double, Device::Cpu)),
        Moves::Point,
    ));
    let oracle: Box<dyn ModelConfig> = serde_json::from_value(json!({
        "type": "gaussian-tau-oracle",
        "mean": words::list_after(&words, "mu").expect("the mean mu"),
        "std": words::list_after(&words, "sd").expect("the standard deviation sd"),
        "predicts": "field"
    }))
    .unwrap();
    let spec = template.spec();
    let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
    let model = oracle.build(&VarStore::new(Device::Cpu).root(), &context).unwrap();
    let streams = Streams::new(0);
    for (key, divergence) in [
        ("no_divergence", "none"),
        ("repo_half_beta", "half-beta"),
        ("paper_alg2_2beta", "algorithm-2"),
    ] {
        let config: Box<dyn SamplerConfig> = serde_json::from_value(
            json!({"type": "euler-maruyama-x", "last_step": "noise", "divergence": divergence}),
        )
        .unwrap();
        let start = process.prior(&template, &mut streams.stream("start", 0)).unwrap();
        let mut noise = isotropy_core::FreshNoise::new(&streams, "noise");
        let sampled = config
            .build()
            .unwrap()
            .run(
                process.as_ref(),
                model.as_ref(),
                start,
                &mut noise,
                &mut isotropy_core::sampler::unobserved,
            )
            .unwrap();
        let tau = fields(&polar).coordinates().unwrap().tau(&sampled.state);
        let rows = tau.single().isfinite().all_dim(1, false);
        let tau = tau.single().index(&[Some(rows)]);
        let moment = |k: i64| {
            let column = tau.select(1, k);
            [column.mean(Kind::Double).double_value(&[]), column.std(true).double_value(&[])]
        };
        let found = Tensor::from_slice(&[moment(0), moment(1)].concat());
        let expected = &case.0["mean_logr_std_logr_mean_th_std_th"][key];
        let inner = json!({"expected": expected, "tolerance": case.0["tolerance"]});
        Case(&inner).assert_close("expected", &found);
    }
}
