//! One training step of the published networks on fields, on two threads: drawing times and noise, forward, backward, Adam.
//! geomndp.md 4.4 has the same steps of the released code on two cores: 211 ms (one-dimensional attention), 135 ms
//! (attention on vector fields) and 571 ms (tensor-field network).
//!
//! `cargo bench --workspace --bench networks`; add `-- tensor` for one of them.

use criterion::{Criterion, criterion_group, criterion_main};
use isotropy_core::{
    Field, ModelConfig, ModelContext, Moves, NoisingProcess, PredictionKind, ProcessConfig,
    RepresentationConfig, State, Streams,
};
use isotropy_gp_fields as _;
use isotropy_groups as _;
use serde_json::{Value, json};
use std::time::Duration;
use tch::nn::{OptimizerConfig, VarStore};
use tch::{Device, Kind, Tensor};

const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

fn process(beta_min: f64, beta_max: f64) -> Box<dyn NoisingProcess> {
    let drive: Box<dyn RepresentationConfig> =
        serde_json::from_value(json!({"type": "translations"})).expect("a representation");
    let config: Box<dyn ProcessConfig> = serde_json::from_value(json!({
        "type": "gaussian-process", "kernel": {"type": "white"},
        "beta_min": beta_min, "beta_max": beta_max
    }))
    .expect("a process");
    config.build(drive.build().expect("it builds")).expect("it builds")
}

/// A batch of 32 functions at 60 points of (-2, 2), padded batches' mask included.
fn functions() -> State {
    let mut stream = Streams::new(0).stream("functions", 0);
    let x = stream.uniform(&[32, 60, 1], F32) * 4.0 - 2.0;
    let y = stream.normal(&[32, 60, 1], F32);
    let mask = Tensor::ones([32, 60], F32);
    State::new(Field::new(y, Moves::Scalar).indexed(1))
        .with_context("index", Field::new(x, Moves::Point).indexed(1))
        .with_context(State::MASK, Field::new(mask, Moves::Fixed).indexed(1))
}

/// A batch of 32 vector fields at 25 points of the disk of radius 10.
fn vector_fields() -> State {
    let mut stream = Streams::new(0).stream("fields", 0);
    let r = stream.uniform(&[32, 25], F32).sqrt() * 10.0;
    let angle = stream.uniform(&[32, 25], F32) * std::f64::consts::TAU;
    let x = Tensor::stack(&[&r * angle.cos(), &r * angle.sin()], -1);
    let y = stream.normal(&[32, 25, 2], F32);
    State::new(Field::new(y, Moves::Vector).indexed(1))
        .with_context("index", Field::new(x, Moves::Point).indexed(1))
}

fn bench(c: &mut Criterion, name: &str, json: Value, state: &State, process: &dyn NoisingProcess) {
    let config: Box<dyn ModelConfig> = serde_json::from_value(json).expect("a model");
    let (store, spec) = (VarStore::new(Device::Cpu), state.spec());
    let context = ModelContext { spec: &spec, process: Some(process), symmetry: None };
    let model = config.build(&store.root(), &context).expect("the model builds");
    let mut adam = tch::nn::Adam::default().build(&store, 1e-3).expect("Adam takes any variables");
    let streams = Streams::new(0);
    let mut step = 0;
    c.bench_function(name, |b| {
        b.iter(|| {
            step += 1;
            let mut stream = streams.stream("training", step);
            let t = process.time().sample(state.batch_size(), true, F32, &mut stream);
            let perturbed = process.perturb(state, &t, &mut stream).expect("a noisy state");
            let target = perturbed.target(PredictionKind::CovarianceScore).expect("a target");
            let found = model.predict(&perturbed.noisy, &t, true).expect("a prediction");
            let error = found.heads[0].single() - target[0].single();
            adam.backward_step(&error.square().mean(Kind::Float));
        });
    });
}

fn all(c: &mut Criterion) {
    tch::set_num_threads(2);
    let attention =
        json!({"type": "bi-dimensional-attention", "layers": 5, "width": 64, "heads": 8});
    let (line, plane) = (process(0.0, 10.0), process(1e-4, 15.0));
    let name = "1-D attention L5 H64, 60 points, batch 32";
    bench(c, name, attention, &functions(), line.as_ref());
    let point = json!({"type": "point-attention"});
    bench(c, "2-D attention, 25 points, batch 32", point, &vector_fields(), plane.as_ref());
    let tensors = json!({
        "type": "tensor-field", "values": "1x1e", "neighbours": 20, "self_connection": false
    });
    bench(c, "tensor-field, 25 points, batch 32", tensors, &vector_fields(), plane.as_ref());
    let graph = json!({"type": "egnn", "neighbours": 50});
    bench(c, "egnn, 25 points, batch 32", graph, &vector_fields(), plane.as_ref());
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .measurement_time(Duration::from_secs(4))
        .warm_up_time(Duration::from_secs(1));
    targets = all
}
criterion_main!(benches);
