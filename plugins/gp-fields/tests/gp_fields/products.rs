//! Products of vectors and Jacobians that networks have of their own, against those of a graph.

use super::networks::awake;
use super::support::{F64, fields, known, number, process, process_on, random, streams};
use isotropy_core::{
    Field, Linearised, Moves, NoisingProcess, Prediction, PredictionKind, Result, ScoreModel, State,
};
use isotropy_diffusion::integrate::grid::Grid;
use isotropy_diffusion::likelihood::{Divergence, LikelihoodOptions, log_likelihood};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

/// A model without its products.
struct ByGraph<'a>(&'a dyn ScoreModel);

impl ScoreModel for ByGraph<'_> {
    fn predicts(&self) -> PredictionKind {
        self.0.predicts()
    }
    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction> {
        self.0.predict(state, t, train)
    }
}

/// A model whose products are too large by a factor.
struct Wrong<'a>(&'a dyn ScoreModel);

impl ScoreModel for Wrong<'_> {
    fn predicts(&self) -> PredictionKind {
        self.0.predicts()
    }
    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction> {
        self.0.predict(state, t, train)
    }
    fn linearised(&self, state: &State, t: &Tensor) -> Result<Option<Linearised<'_>>> {
        Ok(self.0.linearised(state, t)?.map(|Linearised { prediction, pull_back }| Linearised {
            prediction,
            pull_back: Box::new(move |g: &Tensor| Ok(pull_back(g)? * 1.01)),
        }))
    }
}

/// The last two points of the first function, and the last of the others, are not there.
fn padded(state: State) -> State {
    let n = state.index_size().unwrap();
    let mask = Tensor::ones([state.batch_size(), n], F64);
    let _ = mask.narrow(1, n - 1, 1).fill_(0.0);
    let _ = mask.narrow(0, 0, 1).narrow(1, n - 2, 2).fill_(0.0);
    state.with_context(State::MASK, Field::new(mask, Moves::Fixed).indexed(1))
}

fn networks() -> Vec<Value> {
    vec![
        json!({"type": "point-attention", "layers": 2, "width": 8, "heads": 2}),
        json!({"type": "point-attention", "layers": 1, "width": 8, "heads": 4, "centred": true,
               "residual_trick": true, "std_trick": false, "value_scale": 2.0, "output_scale": 0.5,
               "time_scale": 10.0, "frequencies": [1.0, 3.0], "windows": [0.5, 2.0]}),
        json!({"type": "bi-dimensional-attention", "layers": 2, "width": 8, "heads": 2}),
        json!({"type": "bi-dimensional-attention", "layers": 3, "width": 8, "heads": 1,
               "predicts": "score", "std_trick": true, "residual_trick": true,
               "frequencies": [2.0], "windows": [0.7]}),
        json!({"type": "bi-dimensional-attention", "layers": 1, "width": 8, "heads": 2,
               "predicts": "clean", "std_trick": false, "output_scale": 2.0, "value_scale": 0.5}),
    ]
}

fn log_prob(
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    state: &State,
    divergence: Divergence,
    at_once: Option<u32>,
) -> Tensor {
    let options = LikelihoodOptions {
        steps: Some(3),
        grid: Grid::Uniform,
        divergence,
        probes: 5,
        at_once,
        ..LikelihoodOptions::default()
    };
    log_likelihood(process, model, state, &options, &streams()).unwrap().log_prob
}

fn worst(a: &Tensor, b: &Tensor) -> f64 {
    number(&((a - b).abs().max() / b.abs().max()))
}

#[test]
fn likelihoods_by_shared_evaluations_are_those_by_graphs() {
    tch::set_num_threads(1);
    let mean = json!({"type": "gaussian-process", "kernel": {"type": "rbf", "lengthscale": 0.3},
                      "mean": [0.4], "jitter": 1e-4});
    for process in [process(json!({"type": "white"})), process_on(mean)] {
        for (d, p) in [(1, 1), (1, 2), (2, 2), (2, 3)] {
            for padding in [false, true] {
                let state = fields("products", 3, 5, d, p);
                let state = if padding { padded(state) } else { state };
                for json in networks() {
                    let (_store, model) = awake(&json, process.as_ref(), &state);
                    let model = model.as_ref();
                    for divergence in [Divergence::Exact, Divergence::Hutchinson] {
                        let found = |model: &dyn ScoreModel, at_once| {
                            log_prob(process.as_ref(), model, &state, divergence, at_once)
                        };
                        let expected = found(&ByGraph(model), None);
                        for at_once in [None, Some(1), Some(3)] {
                            let error = worst(&found(model, at_once), &expected);
                            let what = format!("{json} on {d} of {p}, {divergence:?}, {at_once:?}");
                            assert!(error < 1e-10, "{what}, padding {padding}: {error:e}");
                        }
                        let error = worst(&found(&Wrong(model), None), &expected);
                        assert!(error > 1e-8, "the products are not used: {json}");
                    }
                }
            }
        }
    }
}

#[test]
fn known_points_enter_the_products_of_conditioned_networks() {
    tch::set_num_threads(1);
    let process = process(json!({"type": "white"}));
    for padding in [false, true] {
        let (query, given) = (fields("query", 3, 4, 2, 2), fields("given", 3, 6, 2, 2));
        let state =
            if padding { known(&padded(query), &padded(given)) } else { known(&query, &given) };
        for inner in networks() {
            let json = json!({"type": "conditioned", "model": inner});
            let (_store, model) = awake(&json, process.as_ref(), &state);
            let found = |model: &dyn ScoreModel| {
                log_prob(process.as_ref(), model, &state, Divergence::Exact, None)
            };
            let error = worst(&found(model.as_ref()), &found(&ByGraph(model.as_ref())));
            assert!(error < 1e-10, "{json}, padding {padding}: {error:e}");
            let t = Tensor::full([3], 0.5, F64);
            assert!(model.linearised(&state, &t).unwrap().is_some(), "{json}");
        }
    }
}

#[test]
fn single_precision_loses_little() {
    tch::set_num_threads(1);
    let process = process(json!({"type": "white"}));
    let state = fields("single", 4, 25, 2, 2);
    let json = json!({"type": "point-attention", "layers": 5, "width": 32, "heads": 8});
    let (mut store, model) = awake(&json, process.as_ref(), &state);
    // Weights as training leaves them: of order one over the root of the width.
    tch::no_grad(|| {
        for (name, mut variable) in store.variables() {
            let inputs = variable.size().last().copied().unwrap_or(1) as f64;
            variable.copy_(&(random(&name, &variable.size()) / inputs.sqrt()));
        }
    });
    // Estimates would draw other probes.
    let found =
        |state: &State| log_prob(process.as_ref(), model.as_ref(), state, Divergence::Exact, None);
    let expected = found(&state);
    store.float();
    let single = found(&state.to(Kind::Float, F64.1));
    let error = number(&(single - &expected).abs().max());
    println!("log-densities of {expected:?} are off by {error:.1e} nats in single precision");
    assert!(error < 1e-3, "{error}");
}
