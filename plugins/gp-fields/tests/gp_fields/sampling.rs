//! Samplers given known values: laws, symmetry, input at the edges.

use crate::networks::awake;
use crate::support::{F64, conditioned, fields, known, model, number, process, streams};
use isotropy_core::{
    Element, Field, FreshNoise, Group, Moves, Noise, NoisingProcess, RecordingNoise,
    Representation, RepresentationConfig, SamplerConfig, ScoreModel, State,
    sampler::{run_and_moved, unobserved},
};
use isotropy_diffusion::observed;
use isotropy_gp_fields::metric::GaussianProcessConfig;
use serde_json::{Value, json};
use std::sync::Arc;
use tch::{Kind, Tensor};

fn data() -> Value {
    json!({"type": "sum", "kernels": [
        {"type": "rbf", "lengthscale": 1.2}, {"type": "white", "variance": 0.02}
    ]})
}

fn divergence_free() -> Value {
    json!({"type": "sum", "kernels": [
        {"type": "divergence-free", "lengthscale": 2.0}, {"type": "white", "variance": 0.05}
    ]})
}

/// A smooth limit whose noise is coloured.
fn coloured() -> Value {
    json!({"type": "noisy", "kernel": {"type": "rbf", "lengthscale": 1.5}, "fraction": 0.2})
}

fn white() -> Value {
    json!({"type": "white"})
}

fn run_with(
    sampler: &Value,
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    start: State,
    noise: &mut dyn Noise,
) -> State {
    let config: Box<dyn SamplerConfig> = serde_json::from_value(sampler.clone()).unwrap();
    let sampler = config.build().unwrap();
    sampler.run(process, model, start, noise, &mut unobserved).unwrap().state
}

fn run(
    sampler: &Value,
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    given: &State,
) -> State {
    let start = process.prior(given, &mut streams().stream("prior", 0)).unwrap();
    run_with(sampler, process, model, start, &mut FreshNoise::new(&streams(), "sampler"))
}

/// Copies of one function.
fn copies(state: &State, count: i64) -> State {
    state.map_batched(|tensor| tensor.narrow(0, 0, 1).repeat_interleave_self_int(count, 0, None))
}

/// All samplers that take known values.
fn samplers() -> Vec<(&'static str, Value)> {
    let langevin = |more: Value| {
        let mut json = json!({"type": "conditional-langevin", "steps": 6, "inner_steps": 2});
        for (key, value) in more.as_object().unwrap() {
            json[key] = value.clone();
        }
        json
    };
    vec![
        ("langevin", langevin(json!({}))),
        ("plain", langevin(json!({"langevin": "plain"}))),
        ("tempered", langevin(json!({"lambda": 1.5, "psi": 2.0, "tau": 0.5}))),
        ("published", langevin(json!({"times": "step-end", "tempering": "drift"}))),
        ("step start", langevin(json!({"times": "step-start"}))),
        ("path", langevin(json!({"context": "path"}))),
        ("hybrid", langevin(json!({"hybrid": true, "lambda": 1.5}))),
        ("kept noise", langevin(json!({"resample_context": false, "final_moves": 3}))),
        ("annealed", langevin(json!({"predictor": false}))),
        ("replacement", json!({"type": "replacement", "steps": 6})),
        ("repaint", json!({"type": "repaint", "steps": 6, "jump": 2, "repeats": 3})),
        ("repaint by flow", json!({"type": "repaint", "steps": 6, "reverse": "flow"})),
    ]
}

fn representation(json: Value) -> Arc<dyn Representation> {
    let config: Box<dyn RepresentationConfig> = serde_json::from_value(json).unwrap();
    config.build().unwrap()
}

fn orthogonal() -> Arc<dyn Representation> {
    representation(json!({"type": "rotation", "dimension": 2}))
}

fn motions() -> Arc<dyn Representation> {
    representation(json!({"type": "defining", "group": {"type": "se2"}}))
}

fn element(symmetry: &dyn Representation, state: &State) -> Element {
    let shape = symmetry.element_shape(state).unwrap();
    let group: &dyn Group = symmetry.group();
    group.sample(&shape, state.options(), &mut streams().stream("element", 0))
}

#[test]
fn samples_given_a_transformed_context_are_the_transform_of_the_samples() {
    tch::set_num_threads(1);
    let given = conditioned("equivariance", 3, 4, 5, &divergence_free());
    for (name, symmetry) in [("SO(2)", orthogonal()), ("SE(2)", motions())] {
        for limit in [white(), coloured()] {
            let process = process(limit);
            process.symmetric_under(symmetry.as_ref(), &given.spec()).unwrap();
            let oracle = model(divergence_free(), process.as_ref(), &observed::query(&given));
            let h = element(symmetry.as_ref(), &given);
            let start = process.prior(&given, &mut streams().stream("prior", 0)).unwrap();
            for (what, sampler) in samplers() {
                let fresh = FreshNoise::new(&streams(), "sampler");
                let mut noise = RecordingNoise::new(fresh);
                let (p, m) = (process.as_ref(), oracle.as_ref());
                let here = run_with(&sampler, p, m, start.clone(), &mut noise);
                let moved = symmetry.act(&h, &start).unwrap();
                let mut transported = noise.transported(symmetry.as_ref(), &h);
                let there = run_with(&sampler, p, m, moved, &mut transported);
                let expected = symmetry.act(&h, &here).unwrap();
                let gap = number(&(there.x() - expected.x()).abs().max());
                assert!(gap < 1e-8, "{what} under {name}: {gap:e}");
                // Noise that does not move with the input, and all is lost.
                let mut fresh = FreshNoise::new(&streams(), "sampler");
                let moved = symmetry.act(&h, &start).unwrap();
                let uncoupled = run_with(&sampler, p, m, moved, &mut fresh);
                assert!(number(&(uncoupled.x() - expected.x()).abs().max()) > 0.05, "{what}");
                assert!(number(&(here.x() - expected.x()).abs().max()) > 0.1, "nothing moved");
            }
        }
    }
}

#[test]
fn single_precision_keeps_the_symmetry_to_a_hundred_thousandth() {
    tch::set_num_threads(1);
    // The numbers of points of the experiments in the plane: 25 known, and few or many asked.
    for (known, asked) in [(4, 5), (25, 75)] {
        let given = conditioned("float", 3, known, asked, &divergence_free());
        let given = given.to(Kind::Float, F64.1);
        let query = observed::query(&given);
        for (symmetry, limit) in [(motions(), coloured()), (orthogonal(), white())] {
            let process = process(limit);
            let oracle = model(divergence_free(), process.as_ref(), &query);
            let network = json!({"type": "tensor-field", "layers": 2, "scalars": 8, "vectors": 4,
                "width": 16, "radial": 16, "time_width": 8, "neighbours": 20});
            let (mut store, network) = awake(&network, process.as_ref(), &query);
            // Weights of the size that training leaves.
            tch::no_grad(|| {
                for mut variable in store.trainable_variables() {
                    let _ = variable.g_mul_scalar_(0.25);
                }
            });
            store.float();
            let h = element(symmetry.as_ref(), &given);
            let start = process.prior(&given, &mut streams().stream("prior", 0)).unwrap();
            for (what, model) in [("oracle", oracle.as_ref()), ("network", network.as_ref())] {
                for (name, sampler) in samplers() {
                    let config: Box<dyn SamplerConfig> = serde_json::from_value(sampler).unwrap();
                    let sampler = config.build().unwrap();
                    let of = (process.as_ref(), model);
                    let by = (symmetry.as_ref(), &h);
                    let fresh = FreshNoise::new(&streams(), "sampler");
                    let (here, there) =
                        run_and_moved(sampler.as_ref(), of, &start, by, fresh).unwrap();
                    let expected = symmetry.act(&h, &here).unwrap();
                    let size = number(&expected.x().square().mean(Kind::Float)).sqrt();
                    let gap = number(&(there.x() - expected.x()).abs().max()) / size;
                    println!("{known} known, {asked} asked, {what}, {name}: {gap:.1e}");
                    assert!(gap < 1e-5, "{known} known, {asked} asked, {what}, {name}: {gap:e}");
                }
            }
        }
    }
}

/// The mean over samples of a law and its standard error, for each coordinate.
fn moments(samples: &Tensor) -> (Tensor, Tensor) {
    let flat = samples.flatten(1, -1);
    let mean = flat.mean_dim([0].as_slice(), false, None);
    let centred = &flat - &mean;
    let covariance = centred.transpose(0, 1).matmul(&centred) / (flat.size()[0] - 1) as f64;
    (mean, covariance)
}

/// Energy distance of two samples over its standard deviation under permutations: a two-sample test.
fn two_sample_score(a: &Tensor, b: &Tensor) -> f64 {
    let (n, all) = (a.size()[0], Tensor::cat(&[a, b], 0));
    let distances = Tensor::cdist(&all, &all, 2.0, None::<i64>);
    let statistic = |order: &Tensor| {
        let (first, second) = (order.narrow(0, 0, n), order.narrow(0, n, n));
        let part = |rows: &Tensor, columns: &Tensor| {
            let block = distances.index_select(0, rows).index_select(1, columns);
            number(&block.mean(Kind::Double))
        };
        2.0 * part(&first, &second) - part(&first, &first) - part(&second, &second)
    };
    let found = statistic(&Tensor::arange(2 * n, (Kind::Int64, F64.1)));
    let mut stream = streams().stream("permutations", 0);
    let others: Vec<f64> = (0..100).map(|_| statistic(&stream.permutation(2 * n))).collect();
    let mean = others.iter().sum::<f64>() / 100.0;
    let variance = others.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 99.0;
    (found - mean) / variance.sqrt()
}

#[test]
fn the_law_given_a_transformed_context_is_the_transform_of_the_law() {
    tch::set_num_threads(1);
    let one = conditioned("law", 1, 4, 3, &divergence_free());
    let (process, symmetry) = (process(white()), orthogonal());
    let oracle = model(divergence_free(), process.as_ref(), &observed::query(&one));
    let h = element(symmetry.as_ref(), &one);
    let sampler = json!({"type": "conditional-langevin", "steps": 30, "inner_steps": 3});
    let samples = |given: &State, name: &str| {
        let many = copies(given, 400);
        let start = process.prior(&many, &mut streams().stream(name, 0)).unwrap();
        let mut noise = FreshNoise::new(&streams(), name);
        run_with(&sampler, process.as_ref(), oracle.as_ref(), start, &mut noise)
    };
    let here = samples(&one, "here");
    let many = Element(h.0.iter().map(|h| h.repeat_interleave_self_int(400, 0, None)).collect());
    let expected = symmetry.act(&many, &here).unwrap();
    let there = samples(&symmetry.act(&h, &one).unwrap(), "there");
    let score = two_sample_score(&expected.x().flatten(1, -1), &there.x().flatten(1, -1));
    println!("two-sample score of the transform: {score:.2}");
    assert!(score < 4.0, "{score}");
    // The test can tell: the samples before the transform have another law.
    let wrong = two_sample_score(&here.x().flatten(1, -1), &there.x().flatten(1, -1));
    assert!(wrong > 10.0, "{wrong}");
}

#[test]
fn corrections_bring_the_law_to_the_conditional_law() {
    tch::set_num_threads(1);
    let one = conditioned("conditional", 1, 3, 2, &data());
    let config: GaussianProcessConfig = serde_json::from_value(json!({"kernel": data()})).unwrap();
    let exact = config.build().unwrap().condition_on_observed(&one).unwrap();
    let covariance = exact.covariance().full(1).get(0);
    let process = process(white());
    let oracle = model(data(), process.as_ref(), &observed::query(&one));
    let many = copies(&one, 2000);
    // Relative entropy of the normal law with the moments of samples to the exact law, in nats.
    let entropy = |sampler: &Value| {
        let samples = run(sampler, process.as_ref(), oracle.as_ref(), &many);
        let (mean, found) = moments(samples.x());
        let ratio = Tensor::linalg_solve(&covariance, &found, true);
        let off = mean - exact.mean().flatten(0, -1);
        let square = (&off * Tensor::linalg_solve(&covariance, &off, true)).sum(Kind::Double);
        let trace = number(&ratio.trace());
        0.5 * (trace - 2.0 - number(&ratio.det().log()) + number(&square))
    };
    let langevin = json!({"type": "conditional-langevin", "steps": 60, "inner_steps": 15});
    let with = |key: &str, value: Value| {
        let mut json = langevin.clone();
        json[key] = value;
        json
    };
    let biased = entropy(&json!({"type": "replacement", "steps": 60}));
    println!("replacement: {biased:.4} nats");
    assert!(biased > 0.03, "replacement is biased here: {biased}");
    for (name, sampler) in [
        ("langevin", langevin.clone()),
        ("plain", with("langevin", json!("plain"))),
        ("joint kernel, white limit", with("langevin", json!("joint-kernel"))),
        ("published times", with("times", json!("step-end"))),
        ("kept noise", with("resample_context", json!(false))),
        ("final moves", with("final_moves", json!(20))),
        ("late corrections", with("tau", json!(0.5))),
    ] {
        let found = entropy(&sampler);
        println!("{name}: {found:.4} nats");
        assert!(found < 0.08 && found < 0.03 * biased, "{name}: {found}");
    }
    let repaint = entropy(&json!({"type": "repaint", "steps": 60, "repeats": 10}));
    println!("repaint: {repaint:.4} nats");
    assert!(repaint < 0.5 * biased, "{repaint}");
}

#[test]
fn the_published_moves_are_right_for_white_limits_only() {
    tch::set_num_threads(1);
    // One known point, one asked nearby; a limit that correlates them more than the data do.
    let near = fields("near", 1, 2, 1, 1);
    let x = Tensor::from_slice(&[0.0, 0.3]).view([1, 2, 1]);
    let near = near.with_context("index", Field::new(x, Moves::Point).indexed(1));
    let y = Tensor::from_slice(&[1.0, 0.0]).view([1, 2, 1]);
    let (given, query) = near.with_value(y).split_index(1);
    let one = known(&query, &given);
    let data = json!({"type": "sum", "kernels": [
        {"type": "rbf", "lengthscale": 0.3}, {"type": "white", "variance": 0.05}
    ]});
    let config: GaussianProcessConfig = serde_json::from_value(json!({"kernel": data})).unwrap();
    let exact = config.build().unwrap().condition_on_observed(&one).unwrap();
    let process = process(coloured());
    let oracle = model(data.clone(), process.as_ref(), &observed::query(&one));
    let distance = |langevin: &str| {
        let sampler = json!({
            "type": "conditional-langevin", "steps": 60, "inner_steps": 30, "langevin": langevin
        });
        let samples = run(&sampler, process.as_ref(), oracle.as_ref(), &copies(&one, 1500));
        let (mean, variance) =
            (number(&samples.x().mean(Kind::Double)), number(&samples.x().var(true)));
        let (m, v) = (number(exact.mean()), number(&exact.variance()));
        println!("{langevin}: mean {mean:.3} for {m:.3}, variance {variance:.3} for {v:.3}");
        0.5 * (variance / v - 1.0 - (variance / v).ln() + (mean - m).powi(2) / v)
    };
    assert!(distance("kernel") < 0.02);
    assert!(distance("plain") < 0.02);
    assert!(distance("joint-kernel") > 0.05);
}

#[test]
fn tempering_shrinks_the_variance() {
    tch::set_num_threads(1);
    let one = conditioned("tempering", 1, 2, 1, &data());
    let process = process(white());
    let oracle = model(data(), process.as_ref(), &observed::query(&one));
    let variance = |lambda: f64| {
        let sampler = json!({
            "type": "conditional-langevin", "steps": 60, "inner_steps": 10, "lambda": lambda
        });
        let samples = run(&sampler, process.as_ref(), oracle.as_ref(), &copies(&one, 3000));
        number(&samples.x().var(true))
    };
    let ratio = variance(2.5) / variance(1.0);
    assert!((ratio - 0.4).abs() < 0.06, "about 1/2.5, not {ratio}");
}

#[test]
fn what_is_known_comes_out_as_it_went_in() {
    tch::set_num_threads(1);
    let given = conditioned("unchanged", 2, 3, 4, &data());
    let process = process(white());
    let oracle = model(data(), process.as_ref(), &observed::query(&given));
    for (name, sampler) in samplers() {
        let found = run(&sampler, process.as_ref(), oracle.as_ref(), &given);
        assert_eq!(found.spec(), given.spec(), "{name}");
        for ((_, a), (_, b)) in found.context.iter().zip(&given.context) {
            assert!(a.tensor.equal(&b.tensor), "{name}");
        }
        assert!(found.x().isfinite().all().int64_value(&[]) == 1, "{name}");
    }
}

#[test]
fn nothing_known_and_everything_hidden_are_the_same_and_finite() {
    tch::set_num_threads(1);
    let query = fields("edges", 2, 4, 1, 1);
    let process = process(white());
    let oracle = model(data(), process.as_ref(), &query);
    let mask = Field::new(Tensor::zeros([2, 3], F64), Moves::Fixed).indexed(1);
    let hidden = known(&query, &fields("hidden", 2, 3, 1, 1).with_context(State::MASK, mask));
    let none = known(&query, &fields("none", 2, 3, 1, 1).narrow_index(0, 0));
    for (name, sampler) in samplers() {
        for (what, state) in [("query", &query), ("hidden", &hidden), ("none", &none)] {
            let found = run(&sampler, process.as_ref(), oracle.as_ref(), state);
            assert!(found.x().isfinite().all().int64_value(&[]) == 1, "{name}, {what}");
        }
        // Without known points no noise is drawn for them: the two runs are one.
        let alone = run(&sampler, process.as_ref(), oracle.as_ref(), &query);
        let zero = run(&sampler, process.as_ref(), oracle.as_ref(), &none);
        assert!(alone.x().equal(zero.x()), "{name}");
    }
    // The law without known points is that of the data.
    let many = copies(&query, 3000);
    let sampler = json!({"type": "conditional-langevin", "steps": 100, "inner_steps": 1});
    let (_, covariance) = moments(run(&sampler, process.as_ref(), oracle.as_ref(), &many).x());
    let config: GaussianProcessConfig = serde_json::from_value(json!({"kernel": data()})).unwrap();
    let exact = config.build().unwrap().condition_on_observed(&query.narrow(0, 1)).unwrap();
    let off = (covariance - exact.covariance().full(1).get(0)).abs().max();
    assert!(number(&off) < 0.12, "{}", number(&off));
}

#[test]
fn known_and_asked_points_may_coincide() {
    tch::set_num_threads(1);
    // The noise of the data tells the two values at one place apart; white limiting noise is each entry's own.
    let one = conditioned("overlap", 1, 3, 2, &data());
    let given = observed::observed(&one).unwrap().unwrap();
    let asked = given.narrow_index(0, 2);
    let overlap = known(&asked.with_value(asked.x().zeros_like()), &given);
    let config: GaussianProcessConfig = serde_json::from_value(json!({"kernel": data()})).unwrap();
    let exact = config.build().unwrap().condition_on_observed(&overlap).unwrap();
    for limit in [white(), coloured()] {
        let process = process(limit);
        let oracle = model(data(), process.as_ref(), &observed::query(&overlap));
        let sampler = json!({"type": "conditional-langevin", "steps": 60, "inner_steps": 20});
        let many = copies(&overlap, 600);
        let (mean, covariance) =
            moments(run(&sampler, process.as_ref(), oracle.as_ref(), &many).x());
        let off = number(&(mean - exact.mean().flatten(0, -1)).abs().max());
        let spread = covariance.diagonal(0, 0, 1) / exact.variance().flatten(0, -1);
        println!("overlap: mean off by {off:.4}, variance over the exact one {spread:?}");
        assert!(off < 0.05, "{off}");
        assert!(number(&(spread - 1.0).abs().max()) < 0.3);
    }
}

#[test]
fn generic_samplers_serve_fields_without_known_points() {
    tch::set_num_threads(1);
    let query = copies(&fields("generic", 1, 3, 1, 1), 3000);
    let config: GaussianProcessConfig = serde_json::from_value(json!({"kernel": data()})).unwrap();
    let exact = config.build().unwrap().condition_on_observed(&query.narrow(0, 1)).unwrap();
    let exact = exact.covariance().full(1).get(0);
    for limit in [white(), coloured()] {
        let process = process(limit);
        let oracle = model(data(), process.as_ref(), &query);
        // Its inner steps at zero, the conditional sampler is the reverse SDE of the query.
        let sampler = json!({"type": "replacement", "steps": 200});
        let found = run(&sampler, process.as_ref(), oracle.as_ref(), &query);
        let (_, covariance) = moments(found.x());
        let off = number(&(covariance - &exact).abs().max());
        assert!(off < 0.12, "{off}");
    }
}

#[test]
fn wrong_numbers_are_refused_by_name() {
    for (json, pointer) in [
        (json!({"type": "conditional-langevin", "psi": 0.0}), "/psi"),
        (json!({"type": "conditional-langevin", "lambda": -1.0}), "/lambda"),
        (json!({"type": "conditional-langevin", "steps": 0}), "/steps"),
        (
            json!({"type": "conditional-langevin", "predictor": false, "inner_steps": 0}),
            "/predictor",
        ),
        (json!({"type": "repaint", "jump": 0}), "/jump"),
        (json!({"type": "repaint", "repeats": 0}), "/repeats"),
    ] {
        let config: Box<dyn SamplerConfig> = serde_json::from_value(json).unwrap();
        match config.build() {
            Err(isotropy_core::Error::Config { pointer: found, .. }) => assert_eq!(found, pointer),
            other => panic!("{pointer}: {other:?}"),
        }
    }
}
