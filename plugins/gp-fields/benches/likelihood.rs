//! Log-likelihood of two functions at 25 points of the plane by 100 steps of Heun's rule with 8 probes, on two threads
//! (geomndp.md 4.4: 3.7 s with attention and 14.7 s with the tensor-field network in the released code).

use criterion::{Criterion, criterion_group, criterion_main};
use isotropy_core::{
    Field, ModelConfig, ModelContext, Moves, NoisingProcess, ProcessConfig, RepresentationConfig,
    ScoreModel, State, Streams,
};
use isotropy_diffusion::integrate::FlowMethod;
use isotropy_diffusion::likelihood::{Divergence, LikelihoodOptions, Variable, log_likelihood};
use isotropy_gp_fields as _;
use isotropy_groups as _;
use serde_json::{Value, json};
use std::time::Duration;
use tch::nn::VarStore;
use tch::{Device, Kind};

const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

fn fields() -> State {
    let mut stream = Streams::new(0).stream("fields", 0);
    let x = (stream.uniform(&[2, 25, 2], F32) - 0.5) * 20.0;
    let y = stream.normal(&[2, 25, 2], F32);
    State::new(Field::new(y, Moves::Vector).indexed(1))
        .with_context("index", Field::new(x, Moves::Point).indexed(1))
}

fn process() -> Box<dyn NoisingProcess> {
    let drive: Box<dyn RepresentationConfig> =
        serde_json::from_value(json!({"type": "translations"})).expect("a representation");
    let config: Box<dyn ProcessConfig> = serde_json::from_value(json!({
        "type": "gaussian-process", "kernel": {"type": "white"}, "beta_min": 1e-4, "beta_max": 15.0
    }))
    .expect("a process");
    config.build(drive.build().expect("it builds")).expect("it builds")
}

fn model(store: &VarStore, process: &dyn NoisingProcess, json: Value) -> Box<dyn ScoreModel> {
    let config: Box<dyn ModelConfig> = serde_json::from_value(json).expect("a model");
    let spec = fields().spec();
    let context = ModelContext { spec: &spec, process: Some(process), symmetry: None };
    config.build(&store.root(), &context).expect("it builds")
}

fn all(c: &mut Criterion) {
    tch::set_num_threads(2);
    let (process, state) = (process(), fields());
    let attention = json!({"type": "point-attention"});
    let tensors = json!({"type": "tensor-field", "neighbours": 20});
    for (name, json) in [("point attention", attention), ("tensor-field network", tensors)] {
        let store = VarStore::new(Device::Cpu);
        let model = model(&store, process.as_ref(), json);
        // As trained weights would do: the last layer starts at zero.
        tch::no_grad(|| {
            for mut weight in store.trainable_variables() {
                let _ = weight.g_add_(&(weight.randn_like() * 0.02));
            }
        });
        for at_once in [None, Some(1), Some(8)] {
            let options = LikelihoodOptions {
                method: Some(FlowMethod::Heun),
                steps: Some(100),
                divergence: Divergence::Hutchinson,
                probes: 8,
                variable: Variable::Time,
                at_once,
                ..LikelihoodOptions::default()
            };
            let what = at_once.map_or("as many as fit".into(), |n| n.to_string());
            c.bench_function(&format!("likelihood, {name}, products at once: {what}"), |b| {
                b.iter(|| {
                    log_likelihood(
                        process.as_ref(),
                        model.as_ref(),
                        &state,
                        &options,
                        &Streams::new(0),
                    )
                    .expect("there is a density")
                    .log_prob
                });
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(10)).warm_up_time(Duration::from_secs(2));
    targets = all
}
criterion_main!(benches);
