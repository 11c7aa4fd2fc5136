//! The processes of this plugin: their closed forms, what they refuse, the samplers that they drive,
//! and EDM preconditioning.

#![allow(clippy::unwrap_used)]

use isotropy_conformance::process::{check_process, check_process_symmetry};
use isotropy_conformance::{CheckResult, Status};
use isotropy_core::sampler::unobserved;
use isotropy_core::{
    Field, FieldSpec, FreshNoise, LossContext, ModelConfig, ModelContext, Moves, NoisingProcess,
    ObjectiveConfig, Prediction, PredictionKind, ProcessConfig, Representation,
    RepresentationConfig, Result, SamplerConfig, Scale, ScoreModel, State, StateSpec, Step,
    Streams, TerminalMismatch, Xi,
};
use isotropy_diffusion as _;
use isotropy_groups as _;
use isotropy_networks as _;
use std::sync::Arc;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);
const SUB_VP: &str = r#"{"type": "sub-vp", "schedule": {"type": "cosine"}, "steps": 100}"#;
const SUB_VP_CONTINUOUS: &str =
    r#"{"type": "sub-vp", "schedule": {"type": "linear-beta"}, "steps": null}"#;
const OU: &str = r#"{"type": "langevin", "schedule": {"type": "cosine"}, "steps": 100,
    "invariant": [{"normal": {"mean": 0.7, "std": 0.4}}]}"#;
const OU_EACH: &str = r#"{"type": "langevin", "schedule": {"type": "linear-beta"}, "steps": null,
    "invariant": [{"normal": {"mean": 0.7, "std": 0.4}}, {"normal": {"mean": 0.0, "std": 1.5}}]}"#;
const CIRCLE: &str = r#"{"type": "langevin", "schedule": {"type": "linear-beta"}, "steps": null,
    "simulated_steps": 40,
    "invariant": [{"normal": {"mean": 0.7, "std": 0.4}},
                  {"von-mises": {"mean": 1.0, "concentration": 2.0}}]}"#;
const UNIFORM: &str = r#"{"type": "langevin", "schedule": {"type": "linear-beta"}, "steps": null,
    "simulated_steps": 40,
    "invariant": [{"normal": {"mean": 0.7, "std": 0.4}},
                  {"von-mises": {"mean": 0.0, "concentration": 0.0}}]}"#;
const MIXTURE: &str = r#"{"type": "langevin", "schedule": {"type": "linear-beta"}, "steps": null,
    "simulated_steps": 60,
    "invariant": [{"normal-mixture": {"means": [0.2, 1.0], "stds": [0.4, 0.5], "weights": [1, 3]}},
                  {"normal": {"mean": 0.0, "std": 1.0}}]}"#;

fn drive(json: &str) -> Arc<dyn Representation> {
    serde_json::from_str::<Box<dyn RepresentationConfig>>(json).unwrap().build().unwrap()
}

fn on(json: &str, drive_json: &str) -> Box<dyn NoisingProcess> {
    tch::set_num_threads(1);
    let config: Box<dyn ProcessConfig> = serde_json::from_str(json).unwrap();
    config.build(drive(drive_json)).unwrap()
}

const POLAR: &str = r#"{"type": "polar"}"#;
const UNWRAPPED: &str = r#"{"type": "polar", "unwrapped": true}"#;
const SPHERICAL: &str = r#"{"type": "spherical"}"#;
const LINE: &str = r#"{"type": "translations"}"#;

fn failed(results: &[CheckResult]) -> Vec<String> {
    let failed = results.iter().filter(|r| r.status == Status::Fail);
    failed.map(|r| format!("{}: {}", r.check, r.why)).collect()
}

#[test]
fn new_processes_conform() {
    let cases = [
        (SUB_VP, LINE, 17),
        (SUB_VP, POLAR, 17),
        (SUB_VP_CONTINUOUS, SPHERICAL, 17),
        (OU, LINE, 17),
        (OU, r#"{"type": "translations", "remove_mean": true}"#, 16),
        (OU_EACH, POLAR, 17),
        (OU, SPHERICAL, 17),
        (CIRCLE, POLAR, 7),
        (UNIFORM, POLAR, 7),
        (MIXTURE, POLAR, 7),
    ];
    for (json, drive, least) in cases {
        let results = check_process(on(json, drive).as_ref(), &Streams::new(1));
        assert!(failed(&results).is_empty(), "{json} on {drive}: {:#?}", failed(&results));
        let ran = results.iter().filter(|r| r.status == Status::Pass).count();
        assert!(ran >= least, "{json} on {drive}: only {ran} checks ran: {results:#?}");
    }
}

fn scales(process: &dyn NoisingProcess, t: f64) -> (f64, f64) {
    let kernel = process.kernel().unwrap().scales(t);
    match (&kernel.mean[0], &kernel.std[0]) {
        (Scale::Same(mean), Scale::Same(std)) => (*mean, *std),
        _ => unreachable!("the kernel of one time has one scale"),
    }
}

fn plane(rows: &[f64]) -> State {
    State::new(Field::new(Tensor::from_slice(rows).view([-1, 2]), Moves::Point))
}

/// Song et al. (2021): `std = 1 - exp(-int beta)`, and `g^2 = beta (1 - exp(-2 int beta))`.
#[test]
fn sub_vp_has_the_kernel_and_the_rate_of_its_equation() {
    let process = on(SUB_VP_CONTINUOUS, LINE);
    let x = plane(&[0.5, -0.3]);
    for t in [0.1, 0.4, 0.9] {
        let integral: f64 = t * (0.1 + 0.5 * 19.9 * t);
        let (beta, alpha_bar) = (0.1 + 19.9 * t, (-integral).exp());
        let (mean, std) = scales(process.as_ref(), t);
        assert!((mean - alpha_bar.sqrt()).abs() < 1e-12 && (std - (1.0 - alpha_bar)).abs() < 1e-12);
        let zero = Prediction::one(PredictionKind::Score, Tensor::zeros([1, 2], F64));
        let terms = process.terms(&x, Step::at(t), &zero).unwrap();
        let rate = terms.noise[0].scale().powi(2);
        let expected = beta * (1.0 - (-2.0 * integral).exp());
        assert!((rate / expected - 1.0).abs() < 1e-5, "{t}: {rate} {expected}");
        let drift = terms.drift.single().double_value(&[0, 0]);
        assert!((drift / (-0.5 * beta * 0.5) - 1.0).abs() < 1e-5, "{t}: {drift}");
    }
}

#[test]
fn langevin_to_the_standard_normal_law_is_vp() {
    let standard = r#"{"type": "langevin", "schedule": {"type": "cosine"}, "steps": 100,
        "invariant": [{"normal": {"mean": 0.0, "std": 1.0}}]}"#;
    let vp = r#"{"type": "vp", "schedule": {"type": "cosine"}, "steps": 100}"#;
    let (a, b) = (on(standard, POLAR), on(vp, POLAR));
    assert_eq!(a.name(), b.name());
    let (x, t) = (plane(&[0.5, -0.3, 2.0, 1.0]), Tensor::from_slice(&[20.0, 70.0]));
    let draw = |process: &dyn NoisingProcess| {
        process.perturb(&x, &t, &mut Streams::new(3).stream("z", 0)).unwrap()
    };
    assert_eq!(draw(a.as_ref()).noisy.x(), draw(b.as_ref()).noisy.x());
}

#[test]
fn mistaken_configurations_are_refused_where_they_are_wrong() {
    let refuse = |json: &str, drive_json: &str, pointer: &str| {
        let config: Box<dyn ProcessConfig> = serde_json::from_str(json).unwrap();
        match config.build(drive(drive_json)) {
            Err(isotropy_core::Error::Config { pointer: found, .. }) => {
                assert_eq!(found, pointer, "{json}");
            }
            other => panic!("{json}: {other:?}"),
        }
    };
    let langevin = |laws: &str| {
        format!(
            r#"{{"type": "langevin", "schedule": {{"type": "cosine"}}, "invariant": [{laws}]}}"#
        )
    };
    let normal = r#"{"normal": {"mean": 0.0, "std": 1.0}}"#;
    let circle = r#"{"von-mises": {"mean": 0.0, "concentration": 1.0}}"#;
    refuse(&langevin(r#"{"normal": {"mean": 0.0, "std": 0.0}}"#), POLAR, "/invariant/0");
    refuse(&langevin(""), POLAR, "/invariant");
    refuse(&langevin(&format!("{normal}, {normal}, {normal}")), POLAR, "/invariant");
    refuse(&langevin(circle), r#"{"type": "translations", "remove_mean": true}"#, "/invariant");
    refuse(
        &SUB_VP
            .replace("cosine", "karras\", \"sigma_min\": 0.1, \"sigma_max\": \"1")
            .replace("\"1\"", "1"),
        POLAR,
        "/schedule",
    );
}

#[test]
fn predictions_that_cannot_drive_a_process_are_refused_before_training() {
    let shifted = r#"{"type": "langevin", "schedule": {"type": "cosine"},
        "invariant": [{"normal": {"mean": 0.3, "std": 1.0}}]}"#;
    let cases = [
        (SUB_VP, POLAR, PredictionKind::FieldSum, false),
        (SUB_VP, POLAR, PredictionKind::Field, true),
        (OU_EACH, POLAR, PredictionKind::FieldSum, false),
        (OU_EACH, POLAR, PredictionKind::Field, true),
        // The polar angle runs backwards on half of its branches.
        (shifted, SPHERICAL, PredictionKind::Field, false),
        (shifted, SPHERICAL, PredictionKind::Noise, true),
        (CIRCLE, POLAR, PredictionKind::Field, false),
        (CIRCLE, POLAR, PredictionKind::Clean, false),
        (CIRCLE, POLAR, PredictionKind::Score, true),
    ];
    struct Says(PredictionKind);
    impl ScoreModel for Says {
        fn predicts(&self) -> PredictionKind {
            self.0
        }
        fn predict(&self, _: &State, _: &Tensor, _: bool) -> Result<Prediction> {
            unreachable!("an objective decides by the kind alone")
        }
    }
    let objective: Box<dyn ObjectiveConfig> =
        serde_json::from_str(r#"{"type": "denoising"}"#).unwrap();
    let objective = objective.build().unwrap();
    for (json, drive, kind, fits) in cases {
        let process = on(json, drive);
        assert_eq!(process.accepts_prediction(kind).is_ok(), fits, "{json} {kind:?}");
        let found = objective.accepts(Some(process.as_ref()), &Says(kind));
        assert_eq!(found.is_ok(), fits, "{json} {kind:?}");
    }
}

/// Data `log r ~ N(1.2, 0.2^2)`, `theta ~ N(0.3, 0.5^2)` through exact scores: every kind of
/// prediction and every sampler gives them back.
#[test]
fn samplers_reach_the_data_through_a_prior_of_choice() {
    let (means, stds) = ([1.2, 0.3], [0.2, 0.5]);
    let discrete = OU_EACH.replace("linear-beta", "cosine").replace("null", "100");
    let spec = StateSpec::new(FieldSpec::new(&[2], Moves::Point));
    let template = plane(&[1.0, 0.5].repeat(6000));
    let streams = Streams::new(5);
    let kinds = ["score", "noise", "clean", "covariance-score", "preconditioned-score"];
    let samplers = [
        r#"{"type": "group-step"}"#,
        r#"{"type": "ancestral"}"#,
        r#"{"type": "probability-flow", "method": "heun"}"#,
    ];
    let runs = kinds
        .iter()
        .map(|kind| (*kind, samplers[0]))
        .chain(samplers[1..].iter().map(|sampler| ("noise", *sampler)))
        .chain(samplers.iter().map(|sampler| ("field", *sampler)));
    for (kind, sampler) in runs {
        // On the branch that points carry, or as averages over all of them.
        let process = on(&discrete, if kind == "field" { POLAR } else { UNWRAPPED });
        let config: Box<dyn ModelConfig> = serde_json::from_str(&format!(
            r#"{{"type": "gaussian-tau-oracle", "mean": {means:?}, "std": {stds:?}, "predicts": "{kind}"}}"#
        ))
        .unwrap();
        let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
        let model = config.build(&VarStore::new(Device::Cpu).root(), &context).unwrap();
        let config: Box<dyn SamplerConfig> = serde_json::from_str(sampler).unwrap();
        let start = process.prior(&template, &mut streams.stream("prior", 0)).unwrap();
        let mut noise = FreshNoise::new(&streams, "noise");
        let samples = config
            .build()
            .unwrap()
            .run(process.as_ref(), model.as_ref(), start, &mut noise, &mut unobserved)
            .unwrap();
        let coordinates = process.fields().coordinates().unwrap();
        let tau = coordinates.unwrapped(&samples.state).0.remove(0);
        for k in 0..2 {
            let column = tau.select(1, k as i64);
            let mean = column.mean(Kind::Double).double_value(&[]);
            let std = column.std(true).double_value(&[]);
            // Euler's rule in a hundred steps widens the law by some per cent.
            assert!((mean - means[k]).abs() < 0.03, "{kind} {sampler}: mean {k} {mean}");
            assert!((std / stds[k] - 1.0).abs() < 0.12, "{kind} {sampler}: std {k} {std}");
        }
    }
}

/// The Ito term of noise with two scales is another one than that of white noise.
#[test]
fn steps_in_x_refuse_coloured_noise_on_curved_fields_only() {
    let spec = StateSpec::new(FieldSpec::new(&[2], Moves::Point));
    for (drive, fits) in [(POLAR, false), (LINE, true)] {
        let process = on(OU_EACH, drive);
        let config: Box<dyn ModelConfig> = serde_json::from_str(
            r#"{"type": "gaussian-tau-oracle", "mean": [0.5], "std": [0.3], "predicts": "field"}"#,
        )
        .unwrap();
        let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
        let oracle = config.build(&VarStore::new(Device::Cpu).root(), &context).unwrap();
        let sampler: Box<dyn SamplerConfig> =
            serde_json::from_str(r#"{"type": "euler-maruyama-x"}"#).unwrap();
        let streams = Streams::new(5);
        let start = process.prior(&plane(&[1.0, 0.5]), &mut streams.stream("prior", 0)).unwrap();
        let mut noise = FreshNoise::new(&streams, "noise");
        let run = sampler.build().unwrap().run(
            process.as_ref(),
            oracle.as_ref(),
            start,
            &mut noise,
            &mut unobserved,
        );
        assert_eq!(run.is_ok(), fits, "{drive}");
    }
}

/// A normal law written as a mixture of one component is simulated: its states must have the moments
/// of the closed form, and regression on its noise must give the score of that law.
#[test]
fn simulated_states_and_their_targets_agree_with_the_closed_form() {
    let mixture = OU_EACH.replace(
        r#"{"normal": {"mean": 0.7, "std": 0.4}}"#,
        r#"{"normal-mixture": {"means": [0.7], "stds": [0.4], "weights": [2.0]}}"#,
    );
    let (exact, simulated) = (on(OU_EACH, POLAR), on(&mixture, POLAR));
    assert_eq!((exact.simulated_steps(), simulated.simulated_steps()), (0, 50));
    assert!(simulated.gaussian_kernel().is_none() && simulated.level(0.5).is_none());
    let points = 40_000_usize;
    let clean = plane(&[3.0, 1.0].repeat(points));
    for t in [0.1, 0.4] {
        let times = Tensor::full([points as i64], t, F64);
        let mut stream = Streams::new(8).stream("z", 0);
        let found = simulated.perturb(&clean, &times, &mut stream).unwrap();
        let tau = found.coordinates.as_ref().unwrap().single();
        let target = found.target(PredictionKind::Score).unwrap().remove(0);
        let tau_0 = exact.fields().coordinates().unwrap().unwrapped(&clean).0.remove(0);
        let (mean, std) = scales(exact.as_ref(), t);
        for (k, (centre, scale)) in [(0.7, 0.4), (0.0, 1.5)].into_iter().enumerate() {
            let column = tau.select(1, k as i64);
            let expected = centre + mean * (tau_0.double_value(&[0, k as i64]) - centre);
            let spread = std * scale;
            let error = (column.mean(Kind::Double).double_value(&[]) - expected).abs() / spread;
            assert!(error < 0.03, "t {t}, coordinate {k}: mean off by {error} std");
            let ratio = column.std(true).double_value(&[]) / spread;
            assert!((ratio - 1.0).abs() < 0.03, "t {t}, coordinate {k}: std ratio {ratio}");
            // The score of N(m, s^2) is linear with slope -1 / s^2.
            let unit = (&column - expected) / spread;
            let slope = (target.single().select(1, k as i64) * &unit).mean(Kind::Double);
            let slope = slope.double_value(&[]) * spread;
            assert!((slope + 1.0).abs() < 0.12, "t {t}, coordinate {k}: slope {slope}");
        }
    }
}

/// Started in its invariant law, the simulated process stays there: moments of `log r` and of the
/// direction on the circle.
#[test]
fn the_invariant_law_is_invariant() {
    let process = on(CIRCLE, POLAR);
    let template = plane(&[1.0, 0.5].repeat(20_000));
    let mut stream = Streams::new(4).stream("prior", 0);
    let start = process.prior(&template, &mut stream).unwrap();
    let coordinates = process.fields().coordinates().unwrap();
    let moments = |state: &State| -> Vec<f64> {
        let tau = coordinates.tau(state).0.remove(0);
        let (log_r, angle) = (tau.select(1, 0), tau.select(1, 1) - 1.0);
        [&log_r - 0.7, (log_r - 0.7).square(), angle.cos(), angle.sin(), (angle * 2.0).cos()]
            .iter()
            .map(|a| a.mean(Kind::Double).double_value(&[]))
            .collect()
    };
    // Bessel ratios I_1 / I_0 and I_2 / I_0 at concentration 2.
    let exact = [0.0, 0.16, 0.697_774_657_9, 0.0, 0.302_225_342_0];
    let end = Tensor::full([20_000], process.time().end, F64);
    let after = process.perturb(&start, &end, &mut stream).unwrap().noisy;
    for (label, state) in [("prior", &start), ("later", &after)] {
        for (k, (found, exact)) in moments(state).iter().zip(exact).enumerate() {
            assert!((found - exact).abs() < 0.025, "{label}: moment {k}: {found}, {exact}");
        }
    }
}

#[test]
fn a_uniform_angle_keeps_the_symmetry_of_the_circle() {
    let rotation = drive(r#"{"type": "rotation", "dimension": 2}"#);
    let spec = StateSpec::new(FieldSpec::new(&[2], Moves::Point));
    let symmetric = |json| on(json, POLAR).symmetric_under(rotation.as_ref(), &spec);
    assert!(symmetric(UNIFORM).is_ok());
    assert!(symmetric(CIRCLE).is_err());
    assert!(symmetric(OU_EACH).is_err());
    let results =
        check_process_symmetry(on(UNIFORM, POLAR).as_ref(), rotation.as_ref(), &Streams::new(1));
    assert!(failed(&results).is_empty());
}

#[test]
fn the_terminal_law_is_told_from_the_prior() {
    let vp = on(r#"{"type": "vp", "schedule": {"type": "linear-beta"}, "steps": null}"#, LINE);
    let found = vp.kernel().unwrap().terminal_mismatch().unwrap();
    let alpha_bar = (-10.05_f64).exp();
    assert!((found.mean - alpha_bar.sqrt()).abs() < 1e-12);
    assert!((found.std - (1.0 - alpha_bar).sqrt()).abs() < 1e-12);
    // KL(N(m, s^2) || N(0, 1)) by hand.
    let (m, s): (f64, f64) = (0.3, 0.8);
    let by_hand = 0.5 * (s * s + m * m - 1.0) - s.ln();
    let said = TerminalMismatch { mean: 0.1, std: s }.nats(3.0);
    assert!((said - by_hand).abs() < 1e-12, "{said} {by_hand}");
    assert!(found.nats(3.0) < 3e-4);
    let sub = on(SUB_VP_CONTINUOUS, LINE).kernel().unwrap().terminal_mismatch().unwrap();
    assert!((sub.std - (1.0 - alpha_bar)).abs() < 1e-12);
    let ve =
        r#"{"type": "ve", "schedule": {"type": "karras", "sigma_min": 0.002, "sigma_max": 80.0}}"#;
    assert_eq!(on(ve, LINE).kernel().unwrap().terminal_mismatch().unwrap().mean, 1.0);
    let template = r#"{"type": "ve", "schedule": {"type": "ve-linear", "sigma_max": 1.5}, "prior": "template"}"#;
    assert!(on(template, LINE).kernel().unwrap().terminal_mismatch().is_none());
}

// EDM preconditioning.

const EDM_VE: &str = r#"{"type": "ve", "schedule": {"type": "ve-linear", "sigma_max": 80.0, "floor": 0.001}, "start": 2.5e-5}"#;

fn edm(process: &dyn NoisingProcess, data: &str, store: &VarStore) -> Box<dyn ScoreModel> {
    let spec = StateSpec::new(FieldSpec::new(&[2], Moves::Point));
    let config: Box<dyn ModelConfig> = serde_json::from_str(&format!(
        r#"{{"type": "edm-preconditioned", "sigma_data": {data},
            "inner": {{"type": "mlp", "inputs": ["tau", "time"], "predicts": "clean"}}}}"#
    ))
    .unwrap();
    let context = ModelContext { spec: &spec, process: Some(process), symmetry: None };
    Streams::new(0).scope("model", 0, || config.build(&store.root(), &context)).unwrap()
}

fn silence(store: &mut VarStore) {
    store.double();
    tch::no_grad(|| {
        for mut variable in store.trainable_variables() {
            let _ = variable.zero_();
        }
    });
}

/// With a network that says nothing the wrapper is the exact denoiser of Gaussian data whose
/// standard deviation is `sigma_data`, for VE, VP and an Ornstein-Uhlenbeck process alike (data are
/// centred, as EDM has it).
#[test]
fn the_skip_alone_denoises_gaussian_data() {
    let vp = r#"{"type": "vp", "schedule": {"type": "linear-beta"}, "steps": null}"#;
    for (json, drive) in [(EDM_VE, LINE), (EDM_VE, UNWRAPPED), (vp, LINE), (OU_EACH, UNWRAPPED)] {
        let process = on(json, drive);
        let mut store = VarStore::new(Device::Cpu);
        let model = edm(process.as_ref(), "[0.6, 0.3]", &store);
        silence(&mut store);
        assert_eq!(model.predicts(), PredictionKind::Clean);
        assert!(model.inner().is_some());
        let spec = StateSpec::new(FieldSpec::new(&[2], Moves::Point));
        let config: Box<dyn ModelConfig> = serde_json::from_str(
            r#"{"type": "gaussian-tau-oracle", "mean": [0.0], "std": [0.6, 0.3], "predicts": "clean"}"#,
        )
        .unwrap();
        let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
        let oracle = config.build(&store.root(), &context).unwrap();
        let x = plane(&[0.5, -0.3, 2.0, 1.0, -1.0, 0.1]);
        let t = Tensor::from_slice(&[0.02, 0.3, 0.9]);
        let found = tch::no_grad(|| model.predict(&x, &t, false)).unwrap();
        let exact = oracle.predict(&x, &t, false).unwrap();
        let error = (found.heads[0].single() - exact.heads[0].single()).abs().max();
        assert!(error.double_value(&[]) < 1e-10, "{json} on {drive}: {error:?}");
    }
}

/// Karras et al. (2022), appendix B.6: for data of standard deviation `sigma_data` the inputs and the
/// effective targets of the network have variance 1 at every noise level, and the weighted error of
/// the wrapper is the plain error of the network.
#[test]
fn effective_targets_have_variance_one_and_weight_one() {
    let process = on(EDM_VE, LINE);
    let mut store = VarStore::new(Device::Cpu);
    let model = edm(process.as_ref(), "[0.5]", &store);
    silence(&mut store);
    let points = 20_000_i64;
    let mut stream = Streams::new(2).stream("data", 0);
    let clean = State::new(Field::new(stream.normal(&[points, 2], F64) * 0.5, Moves::Point));
    for sigma in [0.01, 0.5, 40.0] {
        let t = Tensor::full([points], sigma / 80.0, F64);
        let noisy = process.perturb(&clean, &t, &mut stream).unwrap();
        let total: f64 = f64::hypot(sigma, 0.5);
        let (skip, out) = ((0.5 / total).powi(2), sigma * 0.5 / total);
        let target = (clean.x() - noisy.noisy.x() * skip) / out;
        let variance = target.square().mean(Kind::Double).double_value(&[]);
        assert!((variance - 1.0).abs() < 0.04, "sigma {sigma}: target {variance}");
        let seen = (noisy.noisy.x() / total).square().mean(Kind::Double).double_value(&[]);
        assert!((seen - 1.0).abs() < 0.04, "sigma {sigma}: input {seen}");
    }
    let objective: Box<dyn ObjectiveConfig> = serde_json::from_str(
        r#"{"type": "denoising", "weighting": {"edm": {"sigma_data": 0.5}},
            "times": {"log-normal": {"mean": -1.2, "std": 1.2}}}"#,
    )
    .unwrap();
    let objective = objective.build().unwrap();
    objective.accepts(Some(process.as_ref()), model.as_ref()).unwrap();
    let streams = Streams::new(6);
    let context =
        LossContext { process: Some(process.as_ref()), streams: &streams, step: 0, train: true };
    let loss = objective.loss(model.as_ref(), &clean, &context).unwrap().total.double_value(&[]);
    // A silent network leaves the variance of its targets: 1 for each of two coordinates.
    assert!((loss - 2.0).abs() < 0.05, "{loss}");
}

/// `log sigma` of the times follows the normal law that was asked for, in both kinds of time.
#[test]
fn log_normal_times_follow_their_law() {
    struct Probe(std::cell::RefCell<Vec<Tensor>>);
    impl ScoreModel for Probe {
        fn predicts(&self) -> PredictionKind {
            PredictionKind::Noise
        }
        fn predict(&self, state: &State, t: &Tensor, _: bool) -> Result<Prediction> {
            self.0.borrow_mut().push(t.shallow_clone());
            Ok(Prediction::one(PredictionKind::Noise, Xi::from(state.x().zeros_like())))
        }
    }
    let vp = r#"{"type": "vp", "schedule": {"type": "cosine"}, "steps": 1000}"#;
    for json in [EDM_VE, vp] {
        let process = on(json, LINE);
        let objective: Box<dyn ObjectiveConfig> = serde_json::from_str(
            r#"{"type": "denoising", "times": {"log-normal": {"mean": -1.2, "std": 0.8}}}"#,
        )
        .unwrap();
        let streams = Streams::new(6);
        let context = LossContext {
            process: Some(process.as_ref()),
            streams: &streams,
            step: 0,
            train: true,
        };
        let probe = Probe(std::cell::RefCell::new(Vec::new()));
        let clean = plane(&[0.5, -0.3].repeat(2000));
        objective.build().unwrap().loss(&probe, &clean, &context).unwrap();
        let t: Vec<f64> = Vec::try_from(&probe.0.borrow()[0]).unwrap();
        let logs: Vec<f64> = t.iter().map(|t| process.level(*t).unwrap().ln()).collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        let variance = logs.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / logs.len() as f64;
        assert!((mean + 1.2).abs() < 0.03, "{json}: mean {mean}");
        assert!((variance.sqrt() - 0.8).abs() < 0.03, "{json}: std {}", variance.sqrt());
    }
}

/// On an unwrapped drive the noisy state and the prior carry the coordinates that the noise has reached,
/// and the network sees these.
#[test]
fn a_model_on_an_unwrapped_drive_sees_the_coordinates_of_the_noise() {
    let vp = r#"{"type": "vp", "schedule": {"type": "cosine"}, "steps": 100}"#;
    let x = Streams::new(3).stream("x", 0).normal(&[500, 3], F64);
    let clean = State::new(Field::new(x, Moves::Point));
    let t = Tensor::full([500], 90.0, F64);
    let noisy = |on_drive: &str| {
        let process = on(vp, on_drive);
        let perturbed = process.perturb(&clean, &t, &mut Streams::new(4).stream("z", 0)).unwrap();
        let prior = process.prior(&clean, &mut Streams::new(4).stream("z", 0)).unwrap();
        let spec = StateSpec::new(FieldSpec::new(&[3], Moves::Point));
        let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
        let store = VarStore::new(Device::Cpu);
        let model: Box<dyn ModelConfig> =
            serde_json::from_str(r#"{"type": "mlp", "inputs": ["tau"], "predicts": "noise"}"#)
                .unwrap();
        let model = model.build(&store.root(), &context).unwrap();
        let seen = model.regression().unwrap().inputs(&perturbed.noisy, &t).unwrap();
        (perturbed.coordinates.unwrap(), seen, prior)
    };
    let far = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
    let (tau, seen, prior) = noisy(r#"{"type": "spherical", "unwrapped": true}"#);
    assert_eq!(far(tau.single(), &seen), 0.0);
    assert_eq!(prior.lift.len(), 1);
    let (tau, seen, prior) = noisy(SPHERICAL);
    assert!(far(tau.single(), &seen) > 1.0 && prior.lift.is_empty());
    let polar = seen.select(1, 1);
    assert!(polar.min().double_value(&[]) >= 0.0 && polar.max().double_value(&[]) <= 3.15);
}
