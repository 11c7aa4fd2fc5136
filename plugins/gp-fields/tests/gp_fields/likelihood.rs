//! Likelihood of fields, with the exact score of Gaussian data.

use crate::support::{
    F64, conditioned, fields, known, model, number, process, process_on, streams,
};
use isotropy_core::{Field, Moves, NoisingProcess, ScoreModel, State};
use isotropy_diffusion::integrate::FlowMethod;
use isotropy_diffusion::likelihood::{
    Divergence, LikelihoodOptions, Variable, conditional_log_likelihood, log_likelihood,
    terminal_gap,
};
use isotropy_diffusion::observed;
use isotropy_gaussian_processes::linear_algebra::{Points, gram};
use isotropy_gp_fields::metric::GaussianProcessConfig;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

fn data() -> Value {
    json!({"type": "sum", "kernels": [
        {"type": "rbf", "lengthscale": 0.6}, {"type": "white", "variance": 0.01}
    ]})
}

fn smooth_limit() -> Value {
    json!({"type": "sum", "kernels": [
        {"type": "rbf", "lengthscale": 1.0, "variance": 0.9}, {"type": "white", "variance": 0.1}
    ]})
}

fn options(steps: u32) -> LikelihoodOptions {
    LikelihoodOptions { steps: Some(steps), method: Some(FlowMethod::Rk4), ..Default::default() }
}

/// The log-density by the probability flow with the exact score, in closed form (geomndp.md 1.4): in the basis in which
/// the data's covariance is diagonal with respect to the limit's, each coordinate is stretched by `sqrt(s / lambda)`.
fn closed_form(process: &dyn NoisingProcess, state: &State, data: &Value, limit: &Value) -> Tensor {
    let matrix = |kernel: &Value| {
        let config: GaussianProcessConfig =
            serde_json::from_value(json!({"kernel": kernel, "jitter": 0.0})).unwrap();
        let kernel = config.build().unwrap();
        let points = Points::of(state).unwrap();
        let gram = gram(kernel.kernel().as_ref(), &kernel.kernel().values(), &points, 0.0).unwrap();
        gram.full(state.x().size()[2])
    };
    let (k0, k) = (matrix(data), matrix(limit));
    let s = k.linalg_cholesky(false);
    let half = Tensor::linalg_solve_triangular(&s, &k0, false, true, false);
    let whitened = Tensor::linalg_solve_triangular(&s, &half.transpose(-2, -1), false, true, false);
    let (lambda, basis) = whitened.linalg_eigh("L");
    let kernel = process.kernel().unwrap().at(state, process.time().prior).unwrap();
    let isotropy_core::Scale::Same(mean) = kernel.mean[0] else { panic!("one time") };
    let alpha = mean * mean;
    let late = &lambda * alpha + (1.0 - alpha);
    let y = state.x().flatten(1, -1).unsqueeze(-1);
    let u = Tensor::linalg_solve_triangular(&s, &y, false, true, false);
    let u = basis.transpose(-2, -1).matmul(&u).squeeze_dim(-1) * (&late / &lambda).sqrt();
    let log_det = s.diagonal(0, -2, -1).log().sum_dim_intlist([-1].as_slice(), false, None);
    let n = u.size()[1] as f64;
    let prior = u.square().sum_dim_intlist(1, false, None) * -0.5
        - log_det
        - 0.5 * n * (2.0 * std::f64::consts::PI).ln();
    prior + (late / lambda).log().sum_dim_intlist([-1].as_slice(), false, None) * 0.5
}

fn found(
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    state: &State,
    options: &LikelihoodOptions,
) -> Tensor {
    log_likelihood(process, model, state, options, &streams()).unwrap().log_prob
}

fn worst(a: &Tensor, b: &Tensor) -> f64 {
    number(&(a - b).abs().max())
}

#[test]
fn the_density_of_a_function_is_that_of_the_closed_form() {
    tch::set_num_threads(1);
    let state = observed::joint(&conditioned("closed form", 3, 2, 3, &data())).unwrap();
    for limit in [json!({"type": "white"}), smooth_limit()] {
        let process = process(limit.clone());
        let oracle = model(data(), process.as_ref(), &state);
        let exact = closed_form(process.as_ref(), &state, &data(), &limit);
        for (method, steps) in [(FlowMethod::Rk4, 200), (FlowMethod::DormandPrince, 1)] {
            let options = LikelihoodOptions {
                method: Some(method),
                rtol: 1e-8,
                atol: 1e-8,
                ..options(steps)
            };
            let error = worst(&found(process.as_ref(), oracle.as_ref(), &state, &options), &exact);
            println!("{limit} {method:?}: {error:.1e} nats");
            assert!(error < 2e-5, "{limit} {method:?}: {error}");
        }
    }
}

#[test]
fn the_published_rules_are_off_by_no_more_than_the_notes_measured() {
    tch::set_num_threads(1);
    // The five points of geomndp.md 1.4: 1.8e-3 nats of the change of volume with 100 steps of Heun's rule. (Euler's end
    // point is off by more, and with it the density of the prior there.)
    let x = Tensor::from_slice(&[-1.9, -0.3, -0.25, 0.4, 1.7]).view([1, 5, 1]);
    let y = Tensor::from_slice(&[0.4, -1.0, -0.8, 0.2, 1.3]).view([1, 5, 1]);
    let state = State::new(Field::new(y, Moves::Scalar).indexed(1))
        .with_context(State::INDEX, Field::new(x, Moves::Point).indexed(1));
    let data = json!({"type": "sum", "kernels": [
        {"type": "rbf", "lengthscale": 0.25}, {"type": "white", "variance": 0.0025}
    ]});
    let limit = json!({"type": "white"});
    let process = process(limit.clone());
    let oracle = model(data.clone(), process.as_ref(), &state);
    let exact = closed_form(process.as_ref(), &state, &data, &limit);
    for variable in [Variable::Time, Variable::ArcLength] {
        for (method, order) in [(FlowMethod::Euler, 1), (FlowMethod::Heun, 2), (FlowMethod::Rk4, 4)]
        {
            let error = |steps: u32| {
                let options = LikelihoodOptions {
                    method: Some(method),
                    steps: Some(steps),
                    variable,
                    ..LikelihoodOptions::default()
                };
                let error =
                    worst(&found(process.as_ref(), oracle.as_ref(), &state, &options), &exact);
                println!("{variable:?} {method:?} {steps}: {error:.1e} nats");
                error
            };
            let (few, many) = (error(100), error(400));
            let found = (few / many).log2() / 2.0;
            assert!((found - f64::from(order)).abs() < 0.3, "{method:?} has order {found:.2}");
            let allowed = if order == 1 { 0.05 } else { 1.8e-3 };
            assert!(few < allowed, "{variable:?} {method:?}: {few}");
        }
    }
}

#[test]
fn products_at_once_do_not_change_the_result() {
    tch::set_num_threads(1);
    let state = fields("at once", 2, 4, 2, 2);
    let process = process(smooth_limit());
    let oracle = model(data(), process.as_ref(), &state);
    for divergence in [Divergence::Exact, Divergence::Hutchinson, Divergence::HutchinsonNormal] {
        let with = |at_once| {
            let options = LikelihoodOptions { divergence, probes: 5, at_once, ..options(4) };
            found(process.as_ref(), oracle.as_ref(), &state, &options)
        };
        let one = with(Some(1));
        for at_once in [Some(2), Some(3), Some(64), None] {
            let error = worst(&with(at_once), &one);
            assert!(error < 1e-10, "{divergence:?}, {at_once:?}: {error}");
        }
    }
}

#[test]
fn the_density_given_known_values_is_that_of_the_gaussian_process() {
    tch::set_num_threads(1);
    // Vector values: nats a point are nats a vector.
    let data = json!({"type": "sum", "kernels": [
        {"type": "divergence-free", "lengthscale": 2.0}, {"type": "white", "variance": 0.1}
    ]});
    let limit = json!({"type": "white"});
    // A process that runs long enough to forget the data.
    let process =
        process_on(json!({"type": "gaussian-process", "kernel": limit, "beta_max": 40.0}));
    let state = conditioned("given", 3, 4, 3, &data);
    let oracle = model(data.clone(), process.as_ref(), &observed::query(&state));
    let found = conditional_log_likelihood(
        process.as_ref(),
        oracle.as_ref(),
        &state,
        &LikelihoodOptions { variable: Variable::Time, ..options(150) },
        &streams(),
    )
    .unwrap();
    let config: GaussianProcessConfig =
        serde_json::from_value(json!({"kernel": data, "jitter": 0.0})).unwrap();
    let exact = config.build().unwrap().condition_on_observed(&state).unwrap();
    let exact = exact.log_prob(state.x()).unwrap();
    let error = worst(&found.log_prob, &exact);
    println!("given known values: {error:.1e} nats of {exact:?}");
    assert!(error < 1e-4, "{error}");
    assert_eq!(Vec::<f64>::try_from(&found.points).unwrap(), [3.0, 3.0, 3.0]);
    // Estimates use the same probes at the known points, whatever is asked: two queries, one context.
    let options = LikelihoodOptions { divergence: Divergence::Hutchinson, ..options(20) };
    let estimate = |state: &State| {
        conditional_log_likelihood(process.as_ref(), oracle.as_ref(), state, &options, &streams())
            .unwrap()
    };
    let error = worst(&estimate(&state).log_prob, &exact);
    assert!(error < 8.0, "one probe is a rough estimate, not {error}");
}

#[test]
fn padding_does_not_count() {
    tch::set_num_threads(1);
    let process = process(smooth_limit());
    let state = fields("padded", 2, 6, 1, 1);
    let mask = Tensor::from_slice(&[1.0, 1.0, 1.0, 1.0, 0.0, 0.0]).view([1, 6]).repeat([2, 1]);
    let field = Field::new(mask, Moves::Fixed).indexed(1);
    let padded = state.clone().with_context(State::MASK, field);
    let oracle = model(data(), process.as_ref(), &state);
    for (method, steps) in [(FlowMethod::Heun, 10), (FlowMethod::Rk4, 10)] {
        let options = LikelihoodOptions { method: Some(method), ..options(steps) };
        let alone = found(process.as_ref(), oracle.as_ref(), &state.narrow_index(0, 4), &options);
        let error = worst(&found(process.as_ref(), oracle.as_ref(), &padded, &options), &alone);
        assert!(error < 1e-9, "{method:?}: {error}");
    }
    // An estimate leaves the probes of padding out: a linear score of one number has no error at all.
    let process = self::process(json!({"type": "white"}));
    let white = json!({"type": "white", "variance": 0.3});
    let oracle = model(white, process.as_ref(), &state);
    let options = LikelihoodOptions { divergence: Divergence::Hutchinson, ..options(10) };
    let alone = found(process.as_ref(), oracle.as_ref(), &state.narrow_index(0, 4), &options);
    let error = worst(&found(process.as_ref(), oracle.as_ref(), &padded, &options), &alone);
    assert!(error < 1e-9, "{error}");
}

#[test]
fn nothing_known_gives_the_density_of_the_query() {
    tch::set_num_threads(1);
    let process = process(smooth_limit());
    let query = fields("nothing known", 2, 4, 1, 1);
    let oracle = model(data(), process.as_ref(), &query);
    let alone = found(process.as_ref(), oracle.as_ref(), &query, &options(10));
    let given = |state: &State| {
        conditional_log_likelihood(
            process.as_ref(),
            oracle.as_ref(),
            state,
            &options(10),
            &streams(),
        )
        .unwrap()
        .log_prob
    };
    assert!(worst(&given(&query), &alone) < 1e-12);
    let none = known(&query, &fields("none", 2, 3, 1, 1).narrow_index(0, 0));
    assert!(worst(&given(&none), &alone) < 1e-12);
    // Known points that are all padding.
    let mask = Field::new(Tensor::zeros([2, 3], F64), Moves::Fixed).indexed(1);
    let hidden = fields("hidden", 2, 3, 1, 1).with_context(State::MASK, mask);
    assert!(worst(&given(&known(&query, &hidden)), &alone) < 1e-9);
}

#[test]
fn metrics_report_the_gap_to_the_gaussian_process_in_pairs() {
    tch::set_num_threads(1);
    let data = data();
    let process = process_on(
        json!({"type": "gaussian-process", "kernel": {"type": "white"}, "beta_max": 40.0}),
    );
    let state = conditioned("metric", 9, 3, 4, &data);
    let oracle = model(data.clone(), process.as_ref(), &observed::query(&state));
    let against = json!({"kernel": data, "jitter": 0.0});
    let measure =
        |metric: Value| crate::support::measure(metric, process.as_ref(), oracle.as_ref(), &state);
    let of = |batch: u32, name: &str| {
        measure(json!({
            "type": "field-log-likelihood", "method": "rk4", "steps": 100, "batch": batch,
            "variable": "time",
            "name": name, "against": against
        }))
    };
    let found = of(32, "i");
    println!("{found:?}");
    let value = |name: &str| found.iter().find(|m| m.name == name).unwrap().value;
    assert!(value("i_loglik_gap_nats_per_point").abs() < 1e-4);
    assert!(value("i_loglik_gap_nats_per_point_standard_error") < 1e-4);
    assert!(value("i_loglik_nats_per_point_standard_error") > 1e-2);
    assert_eq!((value("i_loglik_functions"), value("i_loglik_left_out")), (9.0, 0.0));
    let parts = of(4, "i");
    for (a, b) in found.iter().zip(&parts) {
        assert!((a.value - b.value).abs() < 1e-9, "{}: {} {}", a.name, a.value, b.value);
    }
    let optimum = measure(json!({"type": "gp-optimum", "process": against}));
    let best = optimum.iter().find(|m| m.name == "gp_optimum_loglik_nats_per_point").unwrap();
    assert!((best.value - value("i_gp_loglik_nats_per_point")).abs() < 1e-12);
    // By hand, function by function.
    let config: GaussianProcessConfig = serde_json::from_value(against.clone()).unwrap();
    let exact = config.build().unwrap().condition_on_observed(&state).unwrap();
    let each = exact.log_prob(state.x()).unwrap() / 4.0;
    assert!((best.value - number(&each.mean(Kind::Double))).abs() < 1e-12);
    let error = &optimum
        .iter()
        .find(|m| m.name.ends_with("gp_optimum_loglik_nats_per_point_standard_error"))
        .unwrap();
    assert!((error.value - number(&each.std(true)) / 3.0).abs() < 1e-12);
}

/// The mean over functions of `KL(N(m + a (y - m), (1 - a^2) K) || N(m, K))`, from determinant and trace.
#[test]
fn the_end_of_a_process_is_known_to_differ_from_its_prior() {
    tch::set_num_threads(1);
    let state = fields("gap", 3, 4, 2, 2);
    let mask = Tensor::from_slice(&[1.0, 1.0, 1.0, 0.0]).view([1, 4]).repeat([3, 1]);
    let padded = state.clone().with_context(State::MASK, Field::new(mask, Moves::Fixed).indexed(1));
    let vectors = json!({"type": "sum", "kernels": [
        {"type": "divergence-free", "lengthscale": 2.0}, {"type": "white", "variance": 0.1}
    ]});
    for (kernel, mean) in
        [(json!({"type": "white", "variance": 4.0}), 0.0), (smooth_limit(), 0.7), (vectors, 0.0)]
    {
        let json = json!({"type": "gaussian-process", "kernel": kernel, "mean": [mean],
            "jitter": 0.0, "beta_max": 4.0, "std_floor": 1e-9});
        let process = process_on(json);
        let config: GaussianProcessConfig =
            serde_json::from_value(json!({"kernel": kernel, "jitter": 0.0})).unwrap();
        let limit = config.build().unwrap();
        let expected = |state: &State| {
            let points = Points::of(state).unwrap();
            let gram = gram(limit.kernel().as_ref(), &limit.kernel().values(), &points, 0.0);
            let k = gram.unwrap().full(2);
            let Some(isotropy_core::Scale::Same(a)) =
                process.kernel().unwrap().at(state, 1.0).unwrap().mean.pop()
            else {
                panic!("one time")
            };
            let end = &k * (1.0 - a * a);
            let y = (state.x() - mean).flatten(1, -1).unsqueeze(-1) * a;
            let inverse = k.inverse();
            let n = k.size()[k.dim() - 1] as f64;
            let trace = inverse.matmul(&end).diagonal(0, -2, -1).sum_dim_intlist(
                [-1].as_slice(),
                false,
                None,
            );
            let quadratic = (y.transpose(1, 2).matmul(&inverse).matmul(&y)).flatten(0, -1);
            let logs = k.logdet() - end.logdet();
            number(&((trace + quadratic - n + logs) * 0.5).mean(Kind::Double))
        };
        let found = |state: &State| terminal_gap(process.as_ref(), state).unwrap().unwrap();
        let (gap, exact) = (found(&state), expected(&state));
        println!("{kernel}: {gap} nats");
        assert!((gap / exact - 1.0).abs() < 1e-9, "{kernel}: {gap} {exact}");
        assert!(gap > 0.05, "the process is too long for the test: {gap}");
        let exact = expected(&state.narrow_index(0, 3));
        assert!((found(&padded) / exact - 1.0).abs() < 1e-9, "{kernel}: padding counts");
    }
}

#[test]
fn a_prior_whose_covariance_cannot_be_factorised_is_an_error() {
    // One point three times, and no jitter.
    let json = json!({"type": "gaussian-process", "kernel": {"type": "rbf"}, "jitter": 0.0});
    let process = process_on(json);
    let state = fields("twice", 2, 1, 1, 1);
    let again = |a: &Tensor| a.repeat([1, 3, 1]);
    let index = again(&state.given(State::INDEX).unwrap().tensor);
    let state = State::new(Field::new(again(state.x()), Moves::Scalar).indexed(1))
        .with_context(State::INDEX, Field::new(index, Moves::Point).indexed(1));
    let error = process.prior_log_prob(&state).unwrap_err().to_string();
    assert!(error.contains("3 x 3") && error.contains("rbf"), "{error}");
    let error = terminal_gap(process.as_ref(), &state).unwrap_err().to_string();
    assert!(error.contains("3 x 3") && error.contains("rbf"), "{error}");
}

/// From the configuration of a metric: tuned on the training functions of a dataset, the process predicts test functions
/// as well as the one that they come from, where the untuned one does not.
#[test]
fn a_metric_tunes_its_process_on_training_functions() {
    tch::set_num_threads(1);
    let dataset = json!({"type": "functions-1d", "family": "se"});
    // Numbers of points from 1 to 60 in one batch, padded.
    let many = json!({"type": "functions-1d", "family": "se", "count_per": "function"});
    let start = json!({"type": "sum", "kernels": [
        {"type": "rbf", "lengthscale": 1.0}, {"type": "white", "variance": 0.1}
    ]});
    let truth = json!({"type": "sum", "kernels": [
        {"type": "rbf", "lengthscale": 0.25}, {"type": "white", "variance": 0.0025}
    ]});
    let limit = process(json!({"type": "white"}));
    let any = fields("any", 2, 3, 1, 1);
    let model = model(truth.clone(), limit.as_ref(), &any);
    let measure = |kernel: &Value, tune: Value| {
        let metric = json!({"type": "gp-optimum", "functions": 200, "dataset": dataset,
            "process": {"kernel": kernel, "tune": tune}});
        let measured = crate::support::measure(metric, limit.as_ref(), model.as_ref(), &any);
        let value = |name: &str| measured.iter().find(|m| m.name == name).map(|m| m.value);
        (
            value("gp_optimum_loglik_nats_per_point").unwrap(),
            value("gp_kernel/kernels/0/lengthscale"),
        )
    };
    let (best, none) = measure(&truth, Value::Null);
    let (untuned, _) = measure(&start, Value::Null);
    // As the runner measures: without gradients.
    let (tuned, lengthscale) =
        tch::no_grad(|| measure(&start, json!({"dataset": many, "functions": 64, "steps": 200})));
    assert_eq!(none, None);
    assert!(untuned < best - 0.3, "{untuned} {best}");
    assert!((tuned - best).abs() < 0.03, "{tuned} {best}");
    assert!((lengthscale.unwrap() - 0.25).abs() < 0.03, "{lengthscale:?}");
}
