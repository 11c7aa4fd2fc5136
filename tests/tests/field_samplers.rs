//! General samplers on fields, whose noise has a colour that depends on the points.

#![allow(clippy::unwrap_used)]

use isotropy_core::{
    Field, FreshNoise, ModelConfig, ModelContext, Moves, ProcessConfig, RepresentationConfig,
    SamplerConfig, State, Streams, sampler::unobserved,
};
use isotropy_diffusion as _;
use isotropy_gp_fields as _;
use isotropy_groups as _;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, nn::VarStore};

/// Where deterministic samplers end from one draw of the prior, with the exact score.
fn ends(samplers: &[Value]) -> Vec<Tensor> {
    tch::set_num_threads(1);
    let options = (Kind::Double, Device::Cpu);
    let noisy =
        json!({"type": "noisy", "kernel": {"type": "rbf", "lengthscale": 1.5}, "fraction": 0.2});
    let drive: Box<dyn RepresentationConfig> =
        serde_json::from_value(json!({"type": "translations"})).unwrap();
    let process: Box<dyn ProcessConfig> = serde_json::from_value(
        json!({"type": "gaussian-process", "kernel": noisy, "mean": [0.5], "beta_min": 0.1}),
    )
    .unwrap();
    let process = process.build(drive.build().unwrap()).unwrap();
    let index = Tensor::linspace(-2.0, 2.0, 5, options).view([1, 5, 1]);
    let template =
        State::new(Field::new(Tensor::zeros([1, 5, 1], options), Moves::Scalar).indexed(1))
            .with_context("index", Field::new(index, Moves::Point).indexed(1));
    let oracle: Box<dyn ModelConfig> = serde_json::from_value(json!({
        "type": "gaussian-process-oracle",
        "kernel": {"type": "noisy", "kernel": {"type": "rbf", "lengthscale": 0.5}, "fraction": 0.1}
    }))
    .unwrap();
    let (store, spec) = (VarStore::new(Device::Cpu), template.spec());
    let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
    let model = oracle.build(&store.root(), &context).unwrap();
    let streams = Streams::new(3);
    let start = process.prior(&template, &mut streams.stream("prior", 0)).unwrap();
    let end = |json: &Value| {
        let config: Box<dyn SamplerConfig> = serde_json::from_value(json.clone()).unwrap();
        let mut noise = FreshNoise::new(&streams, "sampler");
        let sampler = config.build().unwrap();
        let end = sampler.run(
            process.as_ref(),
            model.as_ref(),
            start.clone(),
            &mut noise,
            &mut unobserved,
        );
        end.unwrap().state.x().shallow_clone()
    };
    samplers.iter().map(end).collect()
}

#[test]
fn ddim_converges_to_the_flow_of_a_field_with_coloured_noise() {
    let ddim = |steps: u32| json!({"type": "ddim", "steps": steps});
    let flow =
        json!({"type": "probability-flow", "method": "dormand-prince", "rtol": 1e-8, "atol": 1e-8});
    let ends = ends(&[flow, ddim(100), ddim(200), ddim(400)]);
    let error = |k: usize| (&ends[k] - &ends[0]).abs().max().double_value(&[]);
    let (coarse, middle, fine) = (error(1), error(2), error(3));
    println!("DDIM against the flow: {coarse:.1e}, {middle:.1e}, {fine:.1e}");
    // First order: half the step, half the error.
    assert!(
        fine < 0.6 * middle && middle < 0.6 * coarse && fine < 0.05,
        "{coarse} {middle} {fine}"
    );
}
