//! What the tests of samplers and likelihoods share: components by their JSON, and exact models.

#![allow(clippy::unwrap_used, dead_code)]

use isotropy_core::{
    Field, FieldSpec, FreshNoise, ModelConfig, ModelContext, Moves, NoisingProcess, ProcessConfig,
    Representation, RepresentationConfig, Sampled, SamplerConfig, ScoreModel, State, StateSpec,
    Streams, sampler::unobserved,
};
use isotropy_groups as _;
use isotropy_lie as _;
use serde_json::{Value, json};
use std::sync::Arc;
use tch::{Device, Kind, Tensor, nn::VarStore};

pub const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

pub fn drive(json: Value) -> Arc<dyn Representation> {
    serde_json::from_value::<Box<dyn RepresentationConfig>>(json).unwrap().build().unwrap()
}

/// A process on a drive by its name. One thread: the tests run side by side.
pub fn process(json: Value, on: &str) -> Box<dyn NoisingProcess> {
    tch::set_num_threads(1);
    let config: Box<dyn ProcessConfig> = serde_json::from_value(json).unwrap();
    config.build(drive(json!({"type": on}))).unwrap()
}

/// Continuous VP with `linear-beta`: after `beta_max` 40 the prior is reached up to 1e-8.
pub fn vp(beta_max: f64, start: f64) -> Value {
    json!({
        "type": "vp",
        "schedule": {"type": "linear-beta", "beta_max": beta_max},
        "steps": null,
        "start": start
    })
}

pub fn ve(sigma_max: f64) -> Value {
    json!({
        "type": "ve",
        "schedule": {"type": "ve-geometric", "sigma_min": 0.01, "sigma_max": sigma_max}
    })
}

pub fn dimension(on: &str) -> i64 {
    if on == "spherical" { 3 } else { 2 }
}

pub fn model(json: Value, process: &dyn NoisingProcess, dimension: i64) -> Box<dyn ScoreModel> {
    let config: Box<dyn ModelConfig> = serde_json::from_value(json).unwrap();
    let spec = StateSpec::new(FieldSpec::new(&[dimension], Moves::Point));
    let context = ModelContext { spec: &spec, process: Some(process), symmetry: None };
    config.build(&VarStore::new(Device::Cpu).root(), &context).unwrap()
}

/// The state with these flow coordinates `[B, d]` (the value itself for translations), lifted.
pub fn at(process: &dyn NoisingProcess, tau: &Tensor) -> State {
    let drive = process.fields();
    let like = State::new(Field::new(tau.ones_like() * 0.5, Moves::Point));
    let like = drive.lift(like).unwrap();
    drive.coordinates().unwrap().point(&like, &tau.shallow_clone().into())
}

/// The unwrapped coordinates of a state.
pub fn tau(process: &dyn NoisingProcess, state: &State) -> Tensor {
    process.fields().coordinates().unwrap().unwrapped(state).single().shallow_clone()
}

pub fn run(
    sampler: Value,
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    start: State,
    seed: u64,
) -> isotropy_core::Result<Sampled> {
    let config: Box<dyn SamplerConfig> = serde_json::from_value(sampler).unwrap();
    let mut noise = FreshNoise::new(&Streams::new(seed), "noise");
    config.build()?.run(process, model, start, &mut noise, &mut unobserved)
}

pub fn normal(shape: &[i64], name: &str) -> Tensor {
    Streams::new(11).stream(name, 0).normal(shape, F64)
}

pub fn number(t: &Tensor) -> f64 {
    t.to_kind(Kind::Double).double_value(&[])
}
