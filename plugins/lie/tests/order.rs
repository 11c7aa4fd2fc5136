//! The order of convergence of the samplers, measured with an exact score.

#![allow(clippy::unwrap_used)]

use isotropy_core::{
    Field, FreshNoise, ModelConfig, ModelContext, Moves, ProcessConfig, RepresentationConfig,
    SamplerConfig, State, Streams,
};
use isotropy_groups as _;
use isotropy_lie as _;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, nn::VarStore};

fn run(on: &str, sampler: Value) -> Tensor {
    tch::set_num_threads(1);
    let drive: Box<dyn RepresentationConfig> = serde_json::from_value(json!({"type": on})).unwrap();
    let process: Box<dyn ProcessConfig> = serde_json::from_value(
        json!({"type": "vp", "schedule": {"type": "linear-beta", "beta_max": 8.0}, "steps": null}),
    )
    .unwrap();
    let process = process.build(drive.build().unwrap()).unwrap();
    let x = Tensor::from_slice(&[1.0, 0.3, -0.4, 0.8, 0.2, -1.5]).view([3, 2]);
    let start = process.fields().lift(State::new(Field::new(x, Moves::Point))).unwrap();
    let oracle: Box<dyn ModelConfig> = serde_json::from_value(
        json!({"type": "gaussian-tau-oracle", "mean": [0.5, -0.2], "std": [0.6, 0.4]}),
    )
    .unwrap();
    let spec = start.spec();
    let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
    let model = oracle.build(&VarStore::new(Device::Cpu).root(), &context).unwrap();
    let config: Box<dyn SamplerConfig> = serde_json::from_value(sampler).unwrap();
    let mut noise = FreshNoise::new(&Streams::new(0), "noise");
    let sampler = config.build().unwrap();
    let sampled = sampler
        .run(process.as_ref(), model.as_ref(), start, &mut noise, &mut |_, _, _| {})
        .unwrap();
    sampled.state.x().shallow_clone()
}

fn order(on: &str, method: &str) -> f64 {
    let solve =
        |steps: u32| run(on, json!({"type": "probability-flow", "method": method, "steps": steps}));
    let exact = run(on, json!({"type": "probability-flow", "method": "heun", "steps": 1000}));
    let error = |steps| (solve(steps) - &exact).abs().max().double_value(&[]);
    (error(40) / error(80)).log2()
}

#[test]
fn the_probability_flow_converges_with_the_order_of_its_rule() {
    for on in ["translations", "polar"] {
        let (euler, heun) = (order(on, "euler"), order(on, "heun"));
        assert!((euler - 1.0).abs() < 0.15, "{on}: Euler has order {euler}");
        assert!((heun - 2.0).abs() < 0.2, "{on}: Heun has order {heun}");
    }
}

/// The probability flow carries quantiles of the marginal to quantiles: for Gaussian data
/// `(tau - mean m) / sqrt(mean^2 s^2 + std^2)` stays what it is.
#[test]
fn the_probability_flow_keeps_standard_scores() {
    let x = run("translations", json!({"type": "probability-flow", "steps": 2000}));
    let start = Tensor::from_slice(&[1.0, 0.3, -0.4, 0.8, 0.2, -1.5]).view([3, 2]);
    let kernel = |u: f64| {
        let alpha_bar = (-(0.1 * u + 3.95 * u * u)).exp();
        (alpha_bar.sqrt(), 1.0 - alpha_bar)
    };
    let score = |x: &Tensor, u: f64| {
        let (mean, variance) = kernel(u);
        let (centre, spread) = (
            Tensor::from_slice(&[0.5, -0.2]) * mean,
            (Tensor::from_slice(&[0.36, 0.16]) * mean * mean + variance).sqrt(),
        );
        (x - centre) / spread
    };
    let difference = (score(&x, 1e-3) - score(&start, 1.0)).abs().max();
    assert_eq!(x.kind(), Kind::Double);
    assert!(difference.double_value(&[]) < 1e-5, "{difference}");
}
