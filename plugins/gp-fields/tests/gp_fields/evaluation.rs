//! Metrics of conditional samples, and models that see known values.

use crate::support::{
    F64, conditioned, evaluate, fields, known, measure, model, number, process, streams,
};
use isotropy_core::{Field, Measured, Moves, State};
use isotropy_diffusion::observed;
use isotropy_gp_fields::metric::GaussianProcessConfig;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

fn data() -> Value {
    json!({"type": "sum", "kernels": [
        {"type": "rbf", "lengthscale": 1.2}, {"type": "white", "variance": 0.02}
    ]})
}

fn gaussian_process() -> isotropy_gaussian_processes::posterior::GaussianProcess {
    let config: GaussianProcessConfig = serde_json::from_value(json!({"kernel": data()})).unwrap();
    config.build().unwrap()
}

fn value(measured: &[Measured], name: &str) -> f64 {
    measured.iter().find(|m| m.name == name).unwrap_or_else(|| panic!("no {name}")).value
}

fn repeated(state: &State, repeats: i64) -> State {
    state.map_batched(|tensor| tensor.repeat_interleave_self_int(repeats, 0, None))
}

/// Exact draws of each function, one after the other, scaled about the mean and shifted.
fn draws(truth: &State, repeats: i64, scale: f64, shift: f64) -> State {
    let posterior = gaussian_process().condition_on_observed(truth).unwrap();
    let drawn = posterior.sample(repeats, &mut streams().stream("draws", 0)).unwrap();
    let drawn = (drawn - posterior.mean()) * scale + posterior.mean() + shift;
    let size = truth.x().size();
    let values = drawn.transpose(0, 1).reshape([size[0] * repeats, size[1], size[2]]);
    repeated(truth, repeats).with_value(values)
}

#[test]
fn exact_draws_have_no_gap_and_hold_what_their_intervals_say() {
    tch::set_num_threads(1);
    let truth = conditioned("exact", 300, 3, 4, &data());
    let process = process(json!({"type": "white"}));
    let oracle = model(data(), process.as_ref(), &observed::query(&truth));
    let metric = json!({
        "type": "field-predictive", "against": {"kernel": data()}, "coverage": [0.5, 0.9]
    });
    let of = |samples: &State| {
        evaluate(metric.clone(), process.as_ref(), oracle.as_ref(), samples, &truth).unwrap()
    };
    let found = of(&draws(&truth, 39, 1.0, 0.0));
    for m in &found {
        println!("{m:?}");
    }
    let gap = value(&found, "predictive_crps_gap");
    let error = value(&found, "predictive_crps_gap_standard_error");
    assert!(gap.abs() < 4.0 * error && error < 0.01, "{gap} of {error}");
    for (name, expected) in [("50", 0.5), ("90", 0.9)] {
        let coverage = value(&found, &format!("predictive_coverage_{name}"));
        let error = value(&found, &format!("predictive_coverage_{name}_standard_error"));
        assert!((coverage - expected).abs() < 4.0 * error, "{name}: {coverage} of {error}");
    }
    assert!((value(&found, "predictive_sd_ratio") - 1.0).abs() < 0.02);
    // The mean of 39 draws is off by a standard deviation over their root.
    assert!((value(&found, "predictive_mean_error_sd") * 39f64.sqrt() - 1.0).abs() < 0.1);
    assert!((value(&found, "predictive_spread_over_error") - 1.0).abs() < 0.15);
    assert_eq!(value(&found, "predictive_functions"), 300.0);
    // Narrow draws are overconfident, shifted ones are off: the score says so.
    let narrow = of(&draws(&truth, 39, 0.5, 0.0));
    assert!(value(&narrow, "predictive_coverage_90") < 0.75);
    assert!((value(&narrow, "predictive_sd_ratio") - 0.5).abs() < 0.01);
    let worse = value(&narrow, "predictive_crps_gap");
    assert!(worse > 3.0 * value(&narrow, "predictive_crps_gap_standard_error"), "{worse}");
    let shifted = of(&draws(&truth, 39, 1.0, 0.5));
    let (before, after) = (value(&found, "predictive_rmse"), value(&shifted, "predictive_rmse"));
    assert!((after.powi(2) - before.powi(2) - 0.25).abs() < 0.1, "{before} {after}");
}

#[test]
fn padding_has_no_say_in_predictions() {
    tch::set_num_threads(1);
    let truth = conditioned("padding", 20, 3, 5, &data());
    let mask = Tensor::ones([20, 5], F64);
    let _ = mask.narrow(1, 3, 2).fill_(0.0);
    let process = process(json!({"type": "white"}));
    let oracle = model(data(), process.as_ref(), &observed::query(&truth));
    let metric = json!({"type": "field-predictive", "against": {"kernel": data()}});
    let short = {
        let query = observed::query(&truth).narrow_index(0, 3);
        known(&query, &observed::observed(&truth).unwrap().unwrap())
    };
    let samples = draws(&short, 9, 1.0, 0.0);
    let expected =
        evaluate(metric.clone(), process.as_ref(), oracle.as_ref(), &samples, &short).unwrap();
    // The same with two more points that are padding, with anything as their values.
    let field = Field::new(mask, Moves::Fixed).indexed(1);
    let padded = truth.clone().with_context(State::MASK, field);
    let nothing = Tensor::full([180, 2, 1], f64::NAN, F64);
    let longer = repeated(&padded, 9).with_value(Tensor::cat(&[samples.x(), &nothing], 1));
    let found = evaluate(metric, process.as_ref(), oracle.as_ref(), &longer, &padded).unwrap();
    for (a, b) in expected.iter().zip(&found) {
        assert!((a.value - b.value).abs() < 1e-9, "{}: {} {}", a.name, a.value, b.value);
    }
}

#[test]
fn samples_that_do_not_fit_the_test_functions_are_refused() {
    tch::set_num_threads(1);
    let truth = conditioned("refused", 6, 2, 3, &data());
    let process = process(json!({"type": "white"}));
    let oracle = model(data(), process.as_ref(), &observed::query(&truth));
    let refusal = |samples: &State, truth: &State| {
        let metric = json!({"type": "field-predictive"});
        let found = evaluate(metric, process.as_ref(), oracle.as_ref(), samples, truth);
        let error = found.unwrap_err();
        format!("{error} ({})", error.help().unwrap_or_default())
    };
    assert!(refusal(&truth, &truth).contains("sampling.repeats"));
    let four = repeated(&truth, 4);
    assert!(refusal(&four.narrow(0, 7), &truth).contains("multiple"));
    assert!(refusal(&four, &truth.narrow(0, 5)).contains("evaluate.reference"));
    assert!(refusal(&four, &conditioned("other", 6, 2, 3, &data())).contains("test function 0"));
}

#[test]
fn the_gap_of_the_symmetry_is_zero_for_equivariant_kernels_alone() {
    tch::set_num_threads(1);
    let vectors = json!({"type": "sum", "kernels": [
        {"type": "curl-free", "lengthscale": 2.0}, {"type": "white", "variance": 0.05}
    ]});
    let state = conditioned("gap", 4, 3, 4, &vectors);
    let metric = json!({
        "type": "conditional-equivariance",
        "symmetry": {"type": "rotation", "dimension": 2},
        "sampler": {"type": "conditional-langevin", "steps": 10, "inner_steps": 2}
    });
    let gap = |limit: Value| {
        let process = process(limit);
        let oracle = model(vectors.clone(), process.as_ref(), &observed::query(&state));
        let found = measure(metric.clone(), process.as_ref(), oracle.as_ref(), &state);
        value(&found, "equivariance_gap")
    };
    let symmetric = gap(json!({"type": "white"}));
    assert!(symmetric < 1e-10, "{symmetric}");
    // Periodic along the axes: turning the points changes the covariance.
    let axes = gap(
        json!({"type": "noisy", "kernel": {"type": "periodic", "lengthscale": 0.7, "period": 2.0}}),
    );
    println!("gap with a kernel that knows the axes: {axes:.3}");
    assert!(axes > 1e-2, "{axes}");
}

#[test]
fn a_conditioned_model_sees_known_values_and_predicts_the_query() {
    tch::set_num_threads(1);
    let state = conditioned("seen", 3, 2, 4, &data()).to(Kind::Float, F64.1);
    let process = process(json!({"type": "white"}));
    let json = json!({"type": "conditioned", "model": {
        "type": "bi-dimensional-attention", "layers": 1, "width": 8, "heads": 2
    }});
    let store = tch::nn::VarStore::new(F64.1);
    let config: Box<dyn isotropy_core::ModelConfig> = serde_json::from_value(json).unwrap();
    let spec = state.spec();
    let context = isotropy_core::ModelContext {
        spec: &spec,
        process: Some(process.as_ref()),
        symmetry: None,
    };
    let model = config.build(&store.root(), &context).unwrap();
    tch::no_grad(|| {
        let mut stream = streams().stream("weights", 0);
        for mut weight in store.trainable_variables() {
            let size = weight.size();
            weight.copy_(&(stream.normal(&size, (Kind::Float, F64.1)) * 0.3));
        }
    });
    let t = Tensor::full([3], 0.4, (Kind::Float, F64.1));
    let of = |state: &State| {
        tch::no_grad(|| model.predict(state, &t, false)).unwrap().heads[0].single().shallow_clone()
    };
    let here = of(&state);
    assert_eq!(here.size(), [3, 4, 1]);
    let moved = state.given(observed::VALUE).unwrap();
    let other = state.clone().with_context(observed::VALUE, moved.with(&moved.tensor + 1.0));
    assert!(number(&(of(&other) - &here).abs().max()) > 1e-4, "known values are not seen");
    // A known point is not the same as a query point with that value.
    let joint = observed::joint(&state).unwrap();
    let blind = of(&joint).narrow(1, 2, 4);
    assert!(number(&(blind - &here).abs().max()) > 1e-4, "the flag is not seen");
    // Nothing known: the query alone, whatever way that is written.
    let query = observed::query(&state);
    let none = known(&query, &fields("none", 3, 2, 1, 1).to(Kind::Float, F64.1).narrow_index(0, 0));
    assert!(number(&(of(&query) - of(&none)).abs().max()) < 1e-6);
    let mask = Field::new(Tensor::zeros([3, 2], (Kind::Float, F64.1)), Moves::Fixed).indexed(1);
    let hidden = fields("hidden", 3, 2, 1, 1).to(Kind::Float, F64.1);
    let hidden = known(&query, &hidden.with_context(State::MASK, mask));
    assert!(number(&(of(&query) - of(&hidden)).abs().max()) < 1e-5);
    // The wrapped oracle is no network for one more component: refused.
    let wrong = json!({"type": "conditioned", "model": {"type": "gaussian-process-oracle", "kernel": {"type": "divergence-free", "lengthscale": 1.0}}});
    let config: Box<dyn isotropy_core::ModelConfig> = serde_json::from_value(wrong).unwrap();
    assert!(config.build(&store.root(), &context).is_err());
}

#[test]
fn rejection_keeps_what_agrees() {
    tch::set_num_threads(1);
    // One known point, seen with noise of the tolerance: the exact law is that of the process with more noise there.
    let one = conditioned("rejection", 1, 1, 1, &data());
    let count = 1500;
    let many = repeated(&one, count);
    let process = process(json!({"type": "white"}));
    let oracle = model(data(), process.as_ref(), &observed::query(&one));
    let config: Box<dyn isotropy_core::SamplerConfig> = serde_json::from_value(json!({
        "type": "rejection", "tolerance": 0.3, "attempts": 200,
        "sampler": {"type": "replacement", "steps": 40}
    }))
    .unwrap();
    let start = process.prior(&many, &mut streams().stream("prior", 0)).unwrap();
    let mut noise = isotropy_core::FreshNoise::new(&streams(), "rejection");
    let found = config
        .build()
        .unwrap()
        .run(
            process.as_ref(),
            oracle.as_ref(),
            start,
            &mut noise,
            &mut isotropy_core::sampler::unobserved,
        )
        .unwrap();
    assert!(found.evaluations > 40);
    let y = found.state.x().flatten(0, -1);
    assert_eq!(y.isfinite().all().int64_value(&[]), 1);
    let noisy = json!({"type": "sum", "kernels": [
        {"type": "rbf", "lengthscale": 1.2}, {"type": "white", "variance": 0.02 + 0.09}
    ]});
    let config: GaussianProcessConfig = serde_json::from_value(json!({"kernel": noisy})).unwrap();
    let exact = config.build().unwrap().condition_on_observed(&one).unwrap();
    let (mean, variance) = (number(exact.mean()), number(&exact.variance()) - 0.09);
    let (m, v) = (number(&y.mean(Kind::Double)), number(&y.var(true)));
    println!("rejection: mean {m:.3} for {mean:.3}, variance {v:.3} for {variance:.3}");
    assert!((m - mean).abs() < 4.0 * (variance / count as f64).sqrt() + 0.02, "{m} {mean}");
    assert!((v / variance - 1.0).abs() < 0.2, "{v} {variance}");
}
