//! Fields, processes and oracles for the tests of likelihoods and samplers.

use isotropy_core::{
    Evaluation, LoadContext, Measured, MetricConfig, ModelConfig, ModelContext, NoisingProcess,
    Result, ScoreModel, Services, State,
};
use isotropy_diffusion::observed;
use isotropy_gp_fields as _;
use isotropy_gp_fields::metric::GaussianProcessConfig;
use serde_json::{Value, json};
use tch::Device;

#[path = "../../../gaussian-processes/tests/gaussian_processes/support.rs"]
mod fields;
pub use fields::*;

/// A query with known points.
pub fn known(query: &State, known: &State) -> State {
    observed::with_observed(query, known).unwrap()
}

/// Functions of a Gaussian process, known at some points and asked at others; vectors in the plane where the kernel
/// gives vectors.
pub fn conditioned(name: &str, batch: i64, at: i64, asked: i64, kernel: &Value) -> State {
    let config: GaussianProcessConfig = serde_json::from_value(json!({"kernel": kernel})).unwrap();
    let process = config.build().unwrap();
    let (d, p) = if process.kernel().outputs(2).is_some() { (2, 2) } else { (1, 1) };
    let template = fields(name, batch, at + asked, d, p);
    let drawn = process.sample(&template, &mut streams().stream(name, 1)).unwrap();
    let (given, query) = drawn.split_index(at);
    known(&query, &given)
}

/// The Ornstein-Uhlenbeck process with a limiting kernel and the numbers of the one-dimensional experiments.
pub fn process(limit: Value) -> Box<dyn NoisingProcess> {
    process_on(json!({"type": "gaussian-process", "kernel": limit, "std_floor": 1e-9}))
}

/// The exact score of data from a Gaussian process.
pub fn model(kernel: Value, process: &dyn NoisingProcess, state: &State) -> Box<dyn ScoreModel> {
    model_on(
        json!({"type": "gaussian-process-oracle", "kernel": kernel, "jitter": 0.0}),
        process,
        state,
    )
}

/// Any model.
pub fn model_on(config: Value, process: &dyn NoisingProcess, state: &State) -> Box<dyn ScoreModel> {
    let config: Box<dyn ModelConfig> = serde_json::from_value(config).unwrap();
    let store = tch::nn::VarStore::new(Device::Cpu);
    let spec = state.spec();
    let context = ModelContext { spec: &spec, process: Some(process), symmetry: None };
    config.build(&store.root(), &context).unwrap()
}

struct Nothing;

impl Services for Nothing {
    fn trained_model(&self, config: &str) -> Result<Box<dyn ScoreModel>> {
        Err(isotropy_core::Error::Other(format!("no model {config}")))
    }
}

/// What a metric says about samples and test functions that are the same states.
pub fn measure(
    metric: Value,
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    state: &State,
) -> Vec<Measured> {
    evaluate(metric, process, model, state, state).unwrap()
}

/// What a metric says about samples and test functions.
pub fn evaluate(
    metric: Value,
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    samples: &State,
    reference: &State,
) -> Result<Vec<Measured>> {
    let config: Box<dyn MetricConfig> = serde_json::from_value(metric).unwrap();
    let metric = config.build().unwrap();
    with_evaluation(process, model, samples, reference, |evaluation| metric.measure(evaluation))
}

/// Hands samples and test functions to a metric or a plot.
pub fn with_evaluation<T>(
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    samples: &State,
    reference: &State,
    f: impl FnOnce(&Evaluation) -> T,
) -> T {
    let load = LoadContext {
        data_dir: "no folder".into(),
        kind: F64.0,
        device: F64.1,
        streams: streams(),
    };
    f(&Evaluation {
        samples,
        start: samples,
        trajectory: &[],
        reference,
        process: Some(process),
        model,
        streams: &load.streams,
        load: &load,
        services: &Nothing,
    })
}
