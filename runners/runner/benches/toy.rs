//! The 2-D toy of `configs/quickstart.json` on one thread: one training step (batch drawn,
//! perturbed, forward, backward, clipped, Adam) and one sampler step (1,000 points).
//!
//! `cargo bench -p isotropy-runner --bench toy`. `toy_eager.py` beside this file does the same work
//! in eager PyTorch.

use criterion::{Criterion, criterion_group, criterion_main};
use isotropy_core::{FreshNoise, LossContext, Split, Streams};
use runner::build::build;
use runner::config::Lookup as _;
use runner::train::flat::FlatParameters;
use runner::train::optimizer::clip_by_norm;
use runner::train::window::Window;
use std::path::Path;
use tch::{Device, Kind};

/// The batch of the released code (10,000 points in 79 parts).
const BATCH: i64 = 127;

fn experiment() -> runner::experiment::Experiment {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/quickstart.json");
    let resolved = runner::resolve::resolve(&path, &[]);
    let Ok(resolved) = resolved else { panic!("configs/quickstart.json is wrong") };
    resolved.experiment
}

fn toy(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    let experiment = experiment();
    let built = build(&experiment, Kind::Float, Device::Cpu).expect("the quickstart builds");
    let streams = Streams::new(0);
    let load = isotropy_core::LoadContext {
        data_dir: "data".into(),
        kind: Kind::Float,
        device: Device::Cpu,
        streams: streams.clone(),
    };
    let dataset = experiment.dataset.load(&load).expect("the toy needs no files");
    let parameters = FlatParameters::new(&built.store).expect("the model has parameters");
    let mut optimizer =
        experiment.train.optimizer.build(parameters.buffer()).expect("the optimiser builds");
    let mut window = Window::new(100, (Kind::Float, Device::Cpu));
    let (process, objective) = (built.process.as_deref(), built.objective.as_deref());
    let objective = objective.expect("the quickstart has an objective");

    let mut step = 0;
    criterion.bench_function("training step, batch 127", |bencher| {
        bencher.iter(|| {
            let batch =
                dataset.batch(Split::Train, step, BATCH, &streams).expect("the toy has batches");
            let context = LossContext { process, streams: &streams, step, train: true };
            let loss = objective.loss(built.model.as_ref(), &batch, &context).expect("a loss");
            let mut gradient = parameters.gradients(&loss.total).expect("gradients");
            let norm = clip_by_norm(&mut gradient, 10.0).expect("a norm");
            optimizer.step(parameters.buffer(), &gradient, 1.0).expect("a step");
            window.push(&loss.total, &norm).expect("room in the window");
            step += 1;
            if step % 100 == 0 {
                window.read().expect("a window");
            }
        });
    });

    let process = process.expect("the quickstart has a process");
    let sampler = built.sampler.as_deref().expect("the quickstart has a sampler");
    let template = dataset.batch(Split::Test, 0, 1000, &streams).expect("a template");
    let start = process.prior(&template, &mut streams.stream("prior", 0)).expect("a prior");
    // The process has 100 steps; the time of one is a hundredth of what is printed.
    criterion.bench_function("100 sampler steps, 1,000 points", |bencher| {
        bencher.iter(|| {
            let mut noise = FreshNoise::new(&streams, "bench");
            let model = built.model.as_ref();
            sampler
                .run(process, model, start.clone(), &mut noise, &mut |_, _, _| {})
                .expect("samples")
        });
    });

    // A whole check of the file, as it happens before the first tensor.
    let catalogue = runner::catalogue::Catalogue::new().expect("names are unique");
    assert!(!catalogue.names("process").is_empty());
    criterion.bench_function("configuration: read and check", |bencher| {
        bencher.iter(experiment_again);
    });
}

fn experiment_again() -> String {
    experiment().name
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = toy
}
criterion_main!(benches);
