//! The distance from the exact score, against the divergence of two normal laws.

use super::support::{F64, evaluate, fields, measure, model, process, random};
use isotropy_core::{Field, Measured, MetricConfig, Moves, NoisingProcess, Scale, State};
use isotropy_gp_fields::metric::GaussianProcessConfig;
use serde_json::{Value, json};
use tch::Tensor;

fn kernel(lengthscale: f64, noise: f64) -> Value {
    json!({"type": "sum", "kernels": [
        {"type": "rbf", "lengthscale": lengthscale}, {"type": "white", "variance": noise}]})
}

/// Many functions of a kernel at the same seven points.
fn drawn(kernel: &Value, batch: i64) -> State {
    let config: GaussianProcessConfig = serde_json::from_value(json!({"kernel": kernel})).unwrap();
    let template = fields("score gap", batch, 7, 1, 1);
    let index = (random("places", &[1, 7, 1]) * 0.8).expand([batch, 7, 1], false);
    let template = template.with_context(State::INDEX, Field::new(index, Moves::Point).indexed(1));
    config
        .build()
        .unwrap()
        .sample(&template, &mut super::support::streams().stream("s", 0))
        .unwrap()
}

/// `a^2 K + s^2` of a kernel at the points of a state and a time, by hand.
fn covariance(process: &dyn NoisingProcess, state: &State, kernel: [f64; 2], t: f64) -> Tensor {
    let x = state.given(State::INDEX).unwrap().tensor.get(0);
    let square = (&x - x.tr()).square() / (kernel[0] * kernel[0]);
    let eye = Tensor::eye(7, F64);
    let data = (square * -0.5).exp() + &eye * kernel[1];
    let of_time = process.kernel().unwrap().at(state, t).unwrap();
    let (Scale::Same(mean), Scale::Same(std)) = (&of_time.mean[0], &of_time.std[0]) else {
        panic!("one time has one scale")
    };
    data * (mean * mean) + eye * (std * std)
}

/// `KL(N(0, P) || N(0, Q))`.
fn divergence(p: &Tensor, q: &Tensor) -> f64 {
    let log_det = |a: &Tensor| a.logdet().double_value(&[]);
    let trace = q.inverse().matmul(p).trace().double_value(&[]);
    0.5 * (trace - 7.0 + log_det(q) - log_det(p))
}

fn value(all: &[Measured], name: &str) -> f64 {
    all.iter().find(|m| m.name == name).unwrap_or_else(|| panic!("{name} is missing")).value
}

#[test]
fn between_two_laws_it_is_the_divergence_that_is_lost_on_the_way() {
    let process = process(json!({"type": "white"}));
    let (p, q) = ([0.3, 0.05], [0.6, 0.1]);
    let state = drawn(&kernel(p[0], p[1]), 1500);
    let wrong = model(kernel(q[0], q[1]), process.as_ref(), &state);
    let metric = json!({"type": "field-score-gap", "against": {"kernel": kernel(p[0], p[1]), "jitter": 0.0},
                        "functions": 1500, "levels": 60, "lowest": 0.02});
    let found = measure(metric, process.as_ref(), wrong.as_ref(), &state);
    let (gap, error) = (
        value(&found, "score_gap_nats_per_point"),
        value(&found, "score_gap_nats_per_point_standard_error"),
    );
    let at = |t: f64| {
        let of = |kernel| covariance(process.as_ref(), &state, kernel, t);
        divergence(&of(p), &of(q)) / 7.0
    };
    let low = process.time_of_level(0.02).unwrap();
    let expected = at(low) - at(process.time().end);
    assert!(expected > 0.1 && error < 0.02 * expected, "{expected} {error}");
    assert!((gap - expected).abs() < 4.0 * error, "{gap} {expected} {error}");
    // Half of it lies below the level where half of the divergence is lost.
    let half = value(&found, "score_gap_level_50");
    let lost = at(low) - at(process.time_of_level(half).unwrap());
    assert!((lost / expected - 0.5).abs() < 0.03, "{}", lost / expected);
    let levels = [10, 50, 90].map(|k| value(&found, &format!("score_gap_level_{k}")));
    assert!(0.02 < levels[0] && levels[0] < levels[1] && levels[1] < levels[2], "{levels:?}");
}

#[test]
fn the_exact_score_misses_nothing_and_padding_does_not_count() {
    let process = process(json!({"type": "noisy", "kernel": {"type": "rbf", "lengthscale": 0.5}}));
    let law = kernel(0.3, 0.05);
    let state = drawn(&law, 8);
    let right = model(law.clone(), process.as_ref(), &state);
    let metric =
        json!({"type": "field-score-gap", "against": {"kernel": law, "jitter": 0.0}, "levels": 8});
    let found = measure(metric.clone(), process.as_ref(), right.as_ref(), &state);
    assert!(value(&found, "score_gap_nats_per_point").abs() < 1e-12);
    // Points that are not there do not count, whatever they hold.
    let wrong = model(kernel(0.6, 0.1), process.as_ref(), &state);
    let gap = |state: &State| {
        let found = evaluate(metric.clone(), process.as_ref(), wrong.as_ref(), state, state);
        value(&found.unwrap(), "score_gap_nats_per_point")
    };
    let hiding = |state: &State| {
        let mask = Tensor::ones([8, 7], F64);
        let _ = mask.narrow(1, 5, 2).zero_();
        let mask = Field::new(mask, Moves::Fixed).indexed(1);
        gap(&state.clone().with_context(State::MASK, mask))
    };
    let other = state.with_value(state.x().copy());
    let _ = other.x().narrow(1, 5, 2).fill_(7.0);
    assert_eq!(hiding(&state), hiding(&other));
    assert!(hiding(&state) > 0.01 && hiding(&state) != gap(&state));
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let build = |more: Value| {
        let mut json = json!({"type": "field-score-gap", "against": {"kernel": {"type": "white"}}});
        json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config: Box<dyn MetricConfig> = serde_json::from_value(json).unwrap();
        config.build().err().map(|error| format!("{error:?}"))
    };
    assert!(build(json!({})).is_none());
    for (more, place) in [
        (json!({"functions": 0}), "/functions"),
        (json!({"levels": 1}), "/levels"),
        (json!({"lowest": 0.0}), "/lowest"),
        (json!({"against": {"kernel": {"type": "rbf", "lengthscale": -1.0}}}), "/against"),
    ] {
        let error = build(more).expect("it is refused");
        assert!(error.contains(place), "{error}");
    }
    let process = process(json!({"type": "white"}));
    let state = drawn(&kernel(0.3, 0.05), 2);
    let exact = model(kernel(0.3, 0.05), process.as_ref(), &state);
    let metric =
        json!({"type": "field-score-gap", "against": {"kernel": {"type": "white"}}, "lowest": 1e9});
    let error = evaluate(metric, process.as_ref(), exact.as_ref(), &state, &state).err();
    assert!(format!("{error:?}").contains("/lowest"), "{error:?}");
}
