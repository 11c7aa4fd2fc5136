//! The likelihood against exact values, with a terminal law that is the prior.

#![allow(clippy::unwrap_used)]

mod support;

use isotropy_core::{
    Evaluation, LoadContext, MetricConfig, NoisingProcess, Prediction, PredictionKind, Result,
    Scale, ScoreModel, Services, State, Streams, Xi,
};
use isotropy_diffusion::likelihood::{
    Divergence, LikelihoodOptions, integration_error, log_likelihood, terminal_gap,
};
use isotropy_diffusion::sampler::{FlowMethod, Grid};
use serde_json::json;
use std::f64::consts::PI;
use support::{at, dimension, model, normal, number, process, vp};
use tch::{Kind, Tensor};

const START: f64 = 1e-4;

/// Weight, means and standard deviations of a component of a mixture.
type Component = (f64, Vec<f64>, Vec<f64>);

/// Mean and variance factor of the kernel at the least time.
fn least(process: &dyn NoisingProcess) -> (f64, f64) {
    let (mean, ratio) = {
        let kernel = process.kernel().unwrap().scales(process.time().start);
        let isotropy_core::Scale::Same(mean) = kernel.mean[0] else { panic!("one time") };
        (mean, process.level(process.time().start).unwrap())
    };
    (mean, (mean * ratio).powi(2))
}

/// The log-density in `x` of a mixture of normals in the coordinates, noised to the least time.
fn exact(process: &dyn NoisingProcess, state: &State, components: &[Component]) -> Tensor {
    let tau = support::tau(process, state);
    let (mean, variance) = least(process);
    let logs: Vec<Tensor> = components
        .iter()
        .map(|(weight, mu, sd)| {
            let mu = Tensor::from_slice(mu) * mean;
            let spread = Tensor::from_slice(sd).square() * mean * mean + variance;
            let exponent = ((&tau - mu).square() / &spread + (spread * (2.0 * PI)).log()) * -0.5;
            exponent.sum_dim_intlist(1, false, None) + weight.ln()
        })
        .collect();
    let log = Tensor::stack(&logs, 0).logsumexp(0, false);
    log - process.fields().coordinates().unwrap().log_abs_det(state)
}

fn options(method: FlowMethod, steps: u32) -> LikelihoodOptions {
    LikelihoodOptions {
        method: Some(method),
        steps: Some(steps),
        grid: Grid::Karras,
        rtol: 1e-7,
        atol: 1e-7,
        ..LikelihoodOptions::default()
    }
}

/// Centred data where the coordinates allow it: then the law at the end is the prior up to the
/// square of the factor of the clean coordinates (1e-7), point by point.
fn numbers(on: &str) -> (Vec<f64>, Vec<f64>) {
    match on {
        // A polar angle of 0 is singular.
        "spherical" => (vec![0.0, 1.1, 0.0], vec![0.3, 0.2, 0.5]),
        _ => (vec![0.0, 0.0], vec![0.3, 0.25]),
    }
}

/// What the prior's density says too much at the points where the flow ended, for Gaussian data:
/// the mean of the law that is still there.
fn excess_of_prior(process: &dyn NoisingProcess, end: &State, mean: &[f64], sd: &[f64]) -> Tensor {
    let kernel = process.kernel().unwrap().scales(process.time().prior);
    let isotropy_core::Scale::Same(m) = kernel.mean[0] else { panic!("one time") };
    let tau = support::tau(process, end);
    let spread = Tensor::from_slice(sd).square() * m * m + (1.0 - m * m);
    let law = ((&tau - Tensor::from_slice(mean) * m).square() / &spread + spread.log()) * -0.5;
    (tau.square() * -0.5 - law).sum_dim_intlist(1, false, None)
}

/// Points near the data, on the principal branch.
fn points(process: &dyn NoisingProcess, on: &str, count: i64) -> State {
    let (mean, sd) = numbers(on);
    let z = normal(&[count, dimension(on)], "points").clamp(-2.5, 2.5);
    let state = at(process, &(z * Tensor::from_slice(&sd) + Tensor::from_slice(&mean)));
    let mut state = state;
    state.lift.clear();
    state
}

#[test]
fn the_likelihood_of_gaussian_data_is_exact_to_a_ten_thousandth_of_a_nat() {
    for on in ["translations", "polar", "spherical"] {
        let process = process(vp(31.0, START), on);
        let (mean, sd) = numbers(on);
        let oracle = json!({"type": "gaussian-tau-oracle", "mean": mean, "std": sd});
        let oracle = model(oracle, process.as_ref(), dimension(on));
        let state = points(process.as_ref(), on, 20);
        let gap = terminal_gap(process.as_ref(), &state).unwrap().unwrap();
        assert!(gap < 1e-6, "{on}: the prior is off by {gap} nats");
        let expected = exact(process.as_ref(), &state, &[(1.0, mean.clone(), sd.clone())]);
        for (method, steps) in [(FlowMethod::Rk4, 150), (FlowMethod::DormandPrince, 1)] {
            let found = log_likelihood(
                process.as_ref(),
                oracle.as_ref(),
                &state,
                &options(method, steps),
                &Streams::new(0),
            )
            .unwrap();
            // Of a polar angle, whose mean is not 0, the end remembers 1e-4: taken out there.
            let excess = excess_of_prior(process.as_ref(), &found.end, &mean, &sd);
            let excess = if on == "spherical" { excess } else { excess.zeros_like() };
            let error = number(&(&found.log_prob - &excess - &expected).abs().max());
            println!("{on} {method:?}: {error:.2e} nats, {} evaluations", found.evaluations);
            assert!(error < 1e-4, "{on} {method:?}: {error} nats");
            assert!(!found.log_prob.requires_grad());
        }
    }
}

fn mixture(on: &str) -> (Vec<Component>, serde_json::Value) {
    let (mean, sd) = numbers(on);
    let shifted = |by: f64| mean.iter().map(|m| m + by).collect::<Vec<_>>();
    let (low, high) = (shifted(-0.3), shifted(0.45));
    let wider: Vec<f64> = sd.iter().map(|s| s * 1.3).collect();
    let json = json!({
        "type": "mixture-tau-oracle",
        "means": [low, high], "stds": [sd, wider], "weights": [0.6, 0.4]
    });
    (vec![(0.6, low, sd), (0.4, high, wider)], json)
}

#[test]
fn the_likelihood_of_a_mixture_is_exact_to_a_ten_thousandth_of_a_nat() {
    for on in ["translations", "polar"] {
        let process = process(vp(31.0, START), on);
        let (components, oracle) = mixture(on);
        let oracle = model(oracle, process.as_ref(), dimension(on));
        let state = points(process.as_ref(), on, 12);
        let expected = exact(process.as_ref(), &state, &components);
        let found = log_likelihood(
            process.as_ref(),
            oracle.as_ref(),
            &state,
            &options(FlowMethod::Rk4, 120),
            &Streams::new(0),
        )
        .unwrap();
        let error = number(&(&found.log_prob - &expected).abs().max());
        assert!(error < 1e-4, "{on}: {error} nats");
    }
}

/// The mean over probes is the exact value within four standard errors, and one probe is not it.
#[test]
fn hutchinsons_estimate_is_unbiased() {
    let process = process(vp(31.0, START), "polar");
    let (_, oracle) = mixture("polar");
    let oracle = model(oracle, process.as_ref(), 2);
    // One point many times: each copy has probes of its own.
    let one = points(process.as_ref(), "polar", 1);
    let copies = one.map_batched(|a| a.expand([4000, 2], false).contiguous());
    let likelihood = |state: &State, divergence| {
        let options = LikelihoodOptions { divergence, ..options(FlowMethod::Heun, 30) };
        log_likelihood(process.as_ref(), oracle.as_ref(), state, &options, &Streams::new(5))
            .unwrap()
            .log_prob
    };
    let exact = number(&likelihood(&one, Divergence::Exact).squeeze());
    for divergence in [Divergence::Hutchinson, Divergence::HutchinsonNormal] {
        let all = likelihood(&copies, divergence);
        let (mean, sd) = (number(&all.mean(Kind::Double)), number(&all.std(true)));
        let error = sd / (4000.0_f64).sqrt();
        println!("{divergence:?}: {mean} +- {error}, exact {exact}");
        assert!(sd > 1e-3, "{divergence:?} does not vary: it is no estimate");
        assert!((mean - exact).abs() < 4.0 * error, "{divergence:?}: {mean} {exact} {error}");
    }
}

/// Discrete processes are carried by Heun's rule over their own steps.
#[test]
fn a_discrete_process_has_a_likelihood_too() {
    let process =
        process(json!({"type": "vp", "schedule": {"type": "cosine"}, "steps": 400}), "polar");
    let (mean, sd) = numbers("polar");
    let oracle = json!({"type": "gaussian-tau-oracle", "mean": mean, "std": sd});
    let oracle = model(oracle, process.as_ref(), 2);
    let state = points(process.as_ref(), "polar", 20);
    let expected = exact(process.as_ref(), &state, &[(1.0, mean, sd)]);
    let options = LikelihoodOptions::default();
    let found =
        log_likelihood(process.as_ref(), oracle.as_ref(), &state, &options, &Streams::new(0))
            .unwrap();
    let gap = terminal_gap(process.as_ref(), &state).unwrap().unwrap();
    let error = number(&(&found.log_prob - &expected).abs().mean(Kind::Double));
    println!("mean error {error:.2e} nats, gap of the prior at most {gap:.2e}");
    // Point by point, an entropy of `gap` shows as a logarithm of about sqrt(2 gap).
    assert!(error < 1e-3_f64.max((2.0 * gap).sqrt()), "{error}");
    assert!(gap > 1e-9 && gap < 1e-3, "{gap}");
}

#[test]
fn what_has_no_likelihood_is_refused_before_the_first_evaluation() {
    let state = |process: &dyn NoisingProcess| points(process, "polar", 2);
    let discrete =
        process(json!({"type": "vp", "schedule": {"type": "cosine"}, "steps": 100}), "polar");
    let oracle = json!({"type": "gaussian-tau-oracle", "mean": [0.1], "std": [0.5]});
    let model_of = |process: &dyn NoisingProcess| model(oracle.clone(), process, 2);
    let run = |process: &dyn NoisingProcess, options: &LikelihoodOptions| {
        let model = model_of(process);
        log_likelihood(process, model.as_ref(), &state(process), options, &Streams::new(0))
    };
    let error = run(discrete.as_ref(), &options(FlowMethod::Rk4, 10)).unwrap_err();
    assert!(error.to_string().contains("discrete"), "{error}");
    let template = process(
        json!({"type": "ve", "schedule": {"type": "ve-linear", "sigma_max": 1.5}, "prior": "template"}),
        "polar",
    );
    let error = run(template.as_ref(), &options(FlowMethod::Heun, 10)).unwrap_err();
    assert!(error.to_string().contains("density"), "{error}");
}

struct Alone;

impl Services for Alone {
    fn trained_model(&self, _: &str) -> Result<Box<dyn ScoreModel>> {
        unreachable!("the likelihood is that of the model at hand")
    }
}

#[test]
fn the_metric_reports_the_mean_with_its_error_in_both_units() {
    let process = process(vp(31.0, START), "polar");
    let (mean, sd) = numbers("polar");
    let oracle = json!({"type": "gaussian-tau-oracle", "mean": mean, "std": sd});
    let oracle = model(oracle, process.as_ref(), 2);
    let state = points(process.as_ref(), "polar", 30);
    let streams = Streams::new(1);
    let load = LoadContext {
        data_dir: std::path::PathBuf::new(),
        kind: Kind::Double,
        device: tch::Device::Cpu,
        streams: streams.clone(),
    };
    let evaluation = Evaluation {
        samples: &state,
        start: &state,
        trajectory: &[],
        reference: &state,
        process: Some(process.as_ref()),
        model: oracle.as_ref(),
        streams: &streams,
        load: &load,
        services: &Alone,
    };
    // Two batches, and fewer points than there are.
    let config: Box<dyn MetricConfig> = serde_json::from_value(json!({
        "type": "nll", "method": "rk4", "steps": 60, "grid": "karras", "points": 25, "batch": 20
    }))
    .unwrap();
    let measured = tch::no_grad(|| config.build().unwrap().measure(&evaluation)).unwrap();
    let value = |name: &str| measured.iter().find(|m| m.name == name).unwrap().value;
    let expected =
        exact(process.as_ref(), &state.narrow(0, 25), &[(1.0, mean.clone(), sd.clone())]).neg();
    let found = value("nll_nats");
    assert!((found - number(&expected.mean(Kind::Double))).abs() < 1e-3, "{measured:?}");
    let error = number(&expected.std(true)) / 5.0;
    assert!((value("nll_nats_standard_error") / error - 1.0).abs() < 1e-2, "{measured:?}");
    let bits = found / (2.0 * std::f64::consts::LN_2);
    assert!((value("nll_bits_per_dim") - bits).abs() < 1e-12);
    assert_eq!((value("nll_points_left_out"), value("nll_evaluations")), (0.0, 240.0));
    assert!(value("nll_prior_gap_nats") < 1e-6);
}

/// A grid over all points, as principal coordinates of midpoints, and the volume of a cell.
fn grid(on: &str) -> (Tensor, f64) {
    let axis = |low: f64, high: f64, n: i64| {
        let width = (high - low) / n as f64;
        (Tensor::arange(n, support::F64) * width + (low + 0.5 * width), width)
    };
    let mut axes = vec![axis(-7.0, 7.0, 60)];
    match on {
        "polar" => axes.push(axis(-PI, PI, 40)),
        _ => axes.extend([axis(0.0, PI, 24), axis(-PI, PI, 24)]),
    }
    let volume = axes.iter().map(|(_, width)| width).product();
    let columns: Vec<&Tensor> = axes.iter().map(|(points, _)| points).collect();
    let mesh = Tensor::meshgrid_indexing(&columns, "ij");
    let columns: Vec<Tensor> = mesh.iter().map(|a| a.flatten(0, -1)).collect();
    (Tensor::stack(&columns, 1), volume)
}

#[test]
fn the_prior_of_a_point_integrates_to_one_over_all_points() {
    // P(|z| < pi) for the azimuth, and P(0 < z < pi) for the polar angle.
    for (on, alone) in [("polar", 0.998_319), ("spherical", 0.498_320)] {
        let process = process(vp(31.0, START), on);
        let (tau, volume) = grid(on);
        let state = at(process.as_ref(), &tau);
        let measure = process.fields().coordinates().unwrap().log_abs_det(&state);
        let mass = |log: Tensor| number(&((log + &measure).exp().sum(Kind::Double) * volume));
        let whole = mass(process.prior_log_prob_of_point(&state).unwrap().unwrap());
        assert!((whole - 1.0).abs() < 1e-6, "{on}: {whole}");
        // The principal branch alone holds less: this is what the sum is for.
        let principal = mass(process.prior_log_prob(&state).unwrap().unwrap());
        assert!((principal - alone).abs() < 2e-4, "{on}: {principal}");
    }
}

/// The exact prediction `field` when the clean coordinates are normal: conditional means over the
/// branches of a point.
struct FieldOracle {
    process: Box<dyn NoisingProcess>,
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl ScoreModel for FieldOracle {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Field
    }

    fn predict(&self, state: &State, t: &Tensor, _: bool) -> Result<Prediction> {
        let coordinates = self.process.fields().coordinates().unwrap();
        let kernel = self.process.kernel().unwrap().scales(t.double_value(&[0]));
        let (Scale::Same(factor), Scale::Same(noise)) = (&kernel.mean[0], &kernel.std[0]) else {
            panic!("one time")
        };
        let mean = Tensor::from_slice(&self.mean) * *factor;
        let spread = Tensor::from_slice(&self.std).square() * (factor * factor) + noise * noise;
        let (mut logs, mut taus, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        for branch in coordinates.branches(state, 2) {
            let eps = coordinates.orientation(&branch);
            let signed = |a: Tensor| match &eps {
                Some(eps) => a * eps.single(),
                None => a,
            };
            let score = (&mean - branch.single()) / &spread;
            let log = (score.square() * &spread).sum_dim_intlist(1, true, None) * -0.5;
            logs.push(log);
            taus.push(signed(branch.single().shallow_clone()));
            scores.push(signed(score * *noise));
        }
        let weights = Tensor::stack(&logs, 0).softmax(0, Kind::Double);
        let average = |heads: &[Tensor]| {
            Xi::from((Tensor::stack(heads, 0) * &weights).sum_dim_intlist(0, false, None))
        };
        Ok(Prediction {
            kind: PredictionKind::Field,
            heads: vec![average(&taus), average(&scores)],
        })
    }
}

#[test]
fn the_likelihood_of_a_field_is_the_density_of_the_point_over_all_its_branches() {
    // So wide that a good part of the data lies on other branches.
    for (on, mean, std) in [
        ("polar", vec![0.0, 0.5], vec![0.3, 1.5]),
        ("spherical", vec![0.0, 0.6, 0.0], vec![0.3, 0.5, 1.2]),
    ] {
        let oracle = FieldOracle {
            process: process(vp(31.0, START), on),
            mean: mean.clone(),
            std: std.clone(),
        };
        let process = process(vp(31.0, START), on);
        let tau = match on {
            "polar" => vec![0.1, 2.5, -0.3, -2.9, 0.0, 0.2, 0.4, 3.1],
            _ => vec![0.1, 0.7, 2.0, -0.3, 1.3, -2.5, 0.2, 0.4, 0.1],
        };
        let tau = Tensor::from_slice(&tau).view([-1, dimension(on)]);
        let mut state = at(process.as_ref(), &tau);
        state.lift.clear();
        let coordinates = process.fields().coordinates().unwrap();
        let (factor, variance) = least(process.as_ref());
        let spread = Tensor::from_slice(&std).square() * factor * factor + variance;
        let terms: Vec<Tensor> = coordinates
            .branches(&state, 2)
            .iter()
            .map(|branch| {
                let off = branch.single() - Tensor::from_slice(&mean) * factor;
                let log = (off.square() / &spread + (&spread * (2.0 * PI)).log()) * -0.5;
                log.sum_dim_intlist(1, false, None)
            })
            .collect();
        let expected =
            Tensor::stack(&terms, 0).logsumexp(0, false) - coordinates.log_abs_det(&state);
        let mut options = options(FlowMethod::DormandPrince, 1);
        (options.rtol, options.atol) = (1e-6, 1e-6);
        let found =
            log_likelihood(process.as_ref(), &oracle, &state, &options, &Streams::new(0)).unwrap();
        let error = number(&(&found.log_prob - &expected).abs().max());
        println!("{on}: {error:.2e} nats, {} evaluations", found.evaluations);
        assert!(error < 1e-3, "{on}: {error} nats; {} {expected}", found.log_prob);
        // One branch is not enough.
        assert!(
            number(&(&terms[0] - coordinates.log_abs_det(&state) - &expected).abs().max()) > 0.05
        );
    }
}

/// The default integration is exact to a thousandth of a nat at every point, on schedules and data
/// that are easy and hard; over the fixed steps of a discrete process its error is what is
/// estimated.
#[test]
fn defaults_are_exact_to_a_thousandth() {
    let processes = [
        json!({"type": "vp", "schedule": {"type": "linear-beta"}, "steps": null}),
        json!({"type": "vp", "schedule": {"type": "cosine"}, "steps": null}),
        json!({"type": "sub-vp", "schedule": {"type": "linear-beta"}, "steps": null}),
        support::ve(10.0),
        json!({"type": "ve", "schedule": {"type": "ve-linear", "sigma_max": 3.0}}),
        json!({"type": "vp", "schedule": {"type": "cosine"}, "steps": 100}),
    ];
    let (streams, mu) = (Streams::new(0), [0.5, -0.2]);
    for json in processes {
        let process = process(json.clone(), "translations");
        for sd in [[1.0, 0.5], [0.05, 0.02]] {
            let oracle = json!({"type": "gaussian-tau-oracle", "mean": mu, "std": sd});
            let model = model(oracle, process.as_ref(), 2);
            let x = normal(&[32, 2], "x") * Tensor::from_slice(&sd) + Tensor::from_slice(&mu);
            let state = at(process.as_ref(), &x);
            let of = |options: &LikelihoodOptions| {
                log_likelihood(process.as_ref(), model.as_ref(), &state, options, &streams).unwrap()
            };
            let default = LikelihoodOptions::default();
            let found = of(&default);
            if process.time().discrete {
                let components = [(1.0, mu.to_vec(), sd.to_vec())];
                let off = found.log_prob - exact(process.as_ref(), &state, &components);
                let off = number(&off.mean(Kind::Double)).abs();
                let (process, model) = (process.as_ref(), model.as_ref());
                let estimate = integration_error(process, model, &state, &default, &streams);
                let estimate = estimate.unwrap().unwrap();
                assert!(off < 2.0 * estimate + 1e-3, "{json} {sd:?}: {off}, not {estimate}");
                assert!(estimate < 4.0 * off + 1e-3, "{json} {sd:?}: {off}, not {estimate}");
                continue;
            }
            assert_eq!(found.evaluations, 200);
            let tight = LikelihoodOptions {
                method: Some(FlowMethod::DormandPrince),
                rtol: 1e-9,
                atol: 1e-9,
                ..LikelihoodOptions::default()
            };
            let error = number(&(found.log_prob - of(&tight).log_prob).abs().max());
            assert!(error < 1e-3, "{json} {sd:?}: {error}");
        }
    }
}
