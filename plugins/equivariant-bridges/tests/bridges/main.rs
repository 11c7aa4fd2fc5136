//! Bridges: coefficients, conformance, samplers, coupled noise, averages over groups.

#![allow(clippy::unwrap_used)]

mod averages;
mod bites;
mod coefficients;
mod conformance;
mod coupling;
mod pairs;
mod sampling;
mod training;

use isotropy_core::{
    DatasetConfig, Field, FreshNoise, ModelConfig, ModelContext, Moves, NoisingProcess,
    ProcessConfig, Representation, RepresentationConfig, Sampled, SamplerConfig, ScoreModel, State,
    StateSpec, Streams, sampler::unobserved,
};
use isotropy_diffusion as _;
use isotropy_equivariant_bridges::process::END;
use isotropy_groups as _;
use isotropy_networks as _;
use serde_json::{Value, json};
use std::sync::Arc;
use tch::{Device, Kind, Tensor, nn::VarStore};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);
const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

/// The bridges under test; the discrete one is published with 1,000 steps.
fn bridges() -> Vec<Value> {
    vec![
        json!({"type": "ve-bridge"}),
        json!({"type": "ve-bridge", "sigma_max": 3.0, "margin": 0.01}),
        json!({"type": "vp-bridge"}),
        json!({"type": "brownian-bridge"}),
        json!({"type": "brownian-bridge", "steps": null, "max_variance": 0.3}),
    ]
}

fn representation(json: Value) -> Arc<dyn Representation> {
    serde_json::from_value::<Box<dyn RepresentationConfig>>(json).unwrap().build().unwrap()
}

/// One of H, V, C4, D4 and the group of both flips.
fn pixels(group: &str) -> Arc<dyn Representation> {
    representation(json!({"type": "image-permutation", "group": group}))
}

const GROUPS: [&str; 5] = ["horizontal-flip", "vertical-flip", "flips", "quarter-turns", "square"];

/// One thread: the tests run side by side.
fn process(json: &Value) -> Box<dyn NoisingProcess> {
    tch::set_num_threads(1);
    let config: Box<dyn ProcessConfig> = serde_json::from_value(json.clone()).unwrap();
    config.build(representation(json!({"type": "translations"}))).unwrap()
}

/// A model with weights of a kind; the store keeps them.
fn model(
    json: &Value,
    process: &dyn NoisingProcess,
    symmetry: Option<&Arc<dyn Representation>>,
    spec: &StateSpec,
    kind: Kind,
) -> (VarStore, Box<dyn ScoreModel>) {
    let config: Box<dyn ModelConfig> = serde_json::from_value(json.clone()).unwrap();
    let mut store = VarStore::new(Device::Cpu);
    let context = ModelContext { spec, process: Some(process), symmetry };
    let built = Streams::new(5).scope("weights", 0, || config.build(&store.root(), &context));
    if kind == Kind::Double {
        store.double();
    }
    (store, built.unwrap())
}

fn oracle(process: &dyn NoisingProcess, like: &State) -> Box<dyn ScoreModel> {
    let json = json!({"type": "gaussian-bridge-oracle", "mean": [0.1], "slope": 0.2, "std": [0.3]});
    model(&json, process, None, &like.spec(), like.x().kind()).1
}

fn sampler(json: &Value) -> isotropy_core::Result<Box<dyn isotropy_core::Sampler>> {
    serde_json::from_value::<Box<dyn SamplerConfig>>(json.clone()).unwrap().build()
}

/// A run with fresh noise.
fn run(
    sampler_json: &Value,
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    start: State,
) -> isotropy_core::Result<Sampled> {
    let mut noise = FreshNoise::new(&Streams::new(3), "noise");
    sampler(sampler_json)?.run(process, model, start, &mut noise, &mut unobserved)
}

fn normal(shape: &[i64], name: &str) -> Tensor {
    Streams::new(11).stream(name, 0).normal(shape, F64)
}

/// Pairs of images whose ends move together.
fn images(batch: i64, side: i64) -> State {
    let field = |name| Field::new(normal(&[batch, 1, side, side], name), Moves::Image);
    State::new(field("clean")).with_context(END, field("end"))
}

fn number(a: &Tensor) -> f64 {
    a.to_kind(Kind::Double).double_value(&[])
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    number(&(a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max())
}

/// The message with which a configuration is refused.
fn refusal<T>(result: isotropy_core::Result<T>) -> String {
    match result {
        Ok(_) => panic!("this must be refused"),
        Err(error) => format!("{error} {}", error.help().unwrap_or_default()),
    }
}

fn dataset(json: Value) -> Box<dyn DatasetConfig> {
    serde_json::from_value(json).unwrap()
}
