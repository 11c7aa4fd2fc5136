//! What the tests of samplers and likelihoods share: components by their JSON, and exact models.

#![allow(clippy::unwrap_used, dead_code)]

use isotropy_core::{
    Drive, Field, FieldSpec, FreshNoise, ModelConfig, ModelContext, Moves, Noise, NoiseOperator,
    NoisingProcess, ProcessConfig, Representation, RepresentationConfig, Result, Sampled,
    SamplerConfig, ScoreModel, State, StateSpec, Streams, Xi, sampler::unobserved,
};
use isotropy_diffusion as _;
use isotropy_groups as _;
use serde_json::{Value, json};
use std::sync::Arc;
use tch::{Device, Kind, Tensor, nn::VarStore};

pub const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

pub fn drive(json: Value) -> Arc<dyn Representation> {
    serde_json::from_value::<Box<dyn RepresentationConfig>>(json).unwrap().build().unwrap()
}

/// A process on a drive by its name, whose points carry their unwrapped coordinates where these
/// alias. One thread: the tests run side by side.
pub fn process(json: Value, on: &str) -> Box<dyn NoisingProcess> {
    process_on(
        json,
        match on {
            "polar" | "spherical" => json!({"type": on, "unwrapped": true}),
            _ => json!({"type": on}),
        },
    )
}

/// A process on any drive.
pub fn process_on(json: Value, on: Value) -> Box<dyn NoisingProcess> {
    tch::set_num_threads(1);
    let config: Box<dyn ProcessConfig> = serde_json::from_value(json).unwrap();
    config.build(drive(on)).unwrap()
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

/// With Gaussian data a run is affine in its start and its noise. Row 0 of the batch starts at 0
/// without noise, row 1 at 1, and row `k + 2` gets noise 1 in draw `k`: their ends are the
/// coefficients, and the moments of a run follow without any sampling error.
pub struct Impulses;

impl Impulses {
    fn z(index: u64, like: &Tensor) -> Tensor {
        let z = like.zeros_like();
        let _ = z.narrow(0, index as i64 + 2, 1).fill_(1.0);
        z
    }
}

impl Noise for Impulses {
    fn draw(
        &mut self,
        index: u64,
        _: &State,
        like: &Xi,
        noise: &[NoiseOperator],
        _: &dyn Drive,
    ) -> Result<Xi> {
        Ok(noise[0].apply(&Self::z(index, like.single())).into())
    }
}

/// Mean and variance of each coordinate at the end of a run whose start has a normal law with this
/// mean and variance, on data that are Gaussian: exact, without sampling error.
pub fn moments(
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    sampler: &Value,
    (mean, variance): (Tensor, Tensor),
) -> (Tensor, Tensor) {
    let config: Box<dyn SamplerConfig> = serde_json::from_value(sampler.clone()).unwrap();
    let sampler = config.build().unwrap();
    // The draws of a run are counted first, to have a row for each.
    let mut draws = Counted(0);
    let one = || at(process, &Tensor::zeros([1, 2], F64));
    sampler.run(process, model, one(), &mut draws, &mut unobserved).unwrap();
    let start = Tensor::zeros([draws.0 + 2, 2], F64);
    let _ = start.narrow(0, 1, 1).fill_(1.0);
    let start = at(process, &start);
    let ends = sampler.run(process, model, start, &mut Impulses, &mut unobserved).unwrap();
    let ends = tau(process, &ends.state);
    let origin = ends.narrow(0, 0, 1);
    let gains = (ends.narrow(0, 1, draws.0 + 1) - &origin).square();
    let gain: Tensor = ends.select(0, 1) - ends.select(0, 0);
    let of_start = gains.select(0, 0) * variance;
    let noise = gains.narrow(0, 1, draws.0).sum_dim_intlist(0, false, None);
    (gain * mean + origin.squeeze_dim(0), of_start + noise)
}

/// Counts the draws of a run; all of them are zero.
struct Counted(i64);

impl Noise for Counted {
    fn draw(
        &mut self,
        index: u64,
        _: &State,
        like: &Xi,
        _: &[NoiseOperator],
        _: &dyn Drive,
    ) -> Result<Xi> {
        self.0 = self.0.max(index as i64 + 1);
        Ok(like.zeros_like())
    }
}
