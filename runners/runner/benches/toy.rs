//! The toys of `configs/toys` on one thread, in two and three dimensions: one training step (batch of
//! 127 drawn, perturbed, forward, backward, clipped, Adam) and one sampler step (1,000 points), with
//! the inputs of the published network (no Fourier features).
//!
//! `cargo bench -p isotropy-runner --bench toy`. `toy_eager.py` beside this file does the same work
//! in eager PyTorch.

use criterion::{Criterion, criterion_group, criterion_main};
use isotropy_core::{FreshNoise, LoadContext, Split, State, Streams};
use runner::build::build;
use runner::config::Lookup as _;
use runner::execute::Prepared;
use runner::experiment::Experiment;
use runner::train::columns::ColumnTraining;
use runner::train::flat::FlatParameters;
use runner::train::optimizer::clip_by_norm;
use runner::train::window::Window;
use std::path::Path;
use std::time::Instant;
use tch::{Device, Kind};

/// The batch of the released code (10,000 points in 79 parts).
const BATCH: i64 = 127;

fn experiment(name: &str) -> Experiment {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/toys").join(name);
    let sets = [r#"model.inputs=["log-r-unit","time"]"#, r#"sampler={"type":"group-step"}"#];
    let Ok(resolved) = runner::resolve::resolve(&path, &sets.map(String::from)) else {
        panic!("{} is wrong", path.display())
    };
    resolved.experiment
}

fn prepared(experiment: &Experiment) -> Prepared {
    let load = LoadContext {
        data_dir: "data".into(),
        kind: Kind::Float,
        device: Device::Cpu,
        streams: Streams::new(0),
    };
    let built = build(experiment, Kind::Float, Device::Cpu).expect("the configuration builds");
    let dataset = experiment.dataset.load(&load).expect("the toys need no files");
    Prepared { built, dataset, load }
}

fn toy(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    for (dimension, name) in [("2-D", "mixture-2d.json"), ("3-D", "torus.json")] {
        let experiment = experiment(name);
        let prepared = prepared(&experiment);
        let parameters = FlatParameters::new(&prepared.built.store).expect("there are parameters");
        let optimizer = experiment.train.optimizer.build(parameters.buffer());
        let mut optimizer = optimizer.expect("the optimiser builds");
        let mut window = Window::new(100, (Kind::Float, Device::Cpu));
        let batches = experiment.train.batches_at_once;
        let columns = ColumnTraining::new(&prepared, &parameters, BATCH, batches);
        let mut columns =
            columns.expect("batches are drawn").expect("a perceptron is a regression");
        let mut step = 0;
        criterion.bench_function(&format!("{dimension}: training step, batch 127"), |bencher| {
            bencher.iter(|| {
                let (loss, mut gradient) = columns.gradient(step).expect("a gradient");
                let norm = clip_by_norm(&mut gradient, 10.0).expect("a norm");
                optimizer.step(parameters.buffer(), &gradient, 1.0).expect("a step");
                window.push(&loss, &norm).expect("room in the window");
                step += 1;
                if step % 100 == 0 {
                    window.read().expect("a window");
                }
            });
        });

        let process = prepared.built.process.as_deref().expect("the toy has a process");
        let sampler = prepared.built.sampler.as_deref().expect("the toy has a sampler");
        let streams = &prepared.load.streams;
        let batch = prepared.dataset.batch(Split::Test, 0, 1000, streams);
        let template = batch.expect("a template");
        let start = process.prior(&template, &mut streams.stream("prior", 0)).expect("a prior");
        // The median over the steps of many runs: a program that takes the core away for a while does
        // not count, as it does not in `toy_eager.py`.
        criterion.bench_function(&format!("{dimension}: sampler step, 1,000 points"), |bencher| {
            // As the runner samples.
            let _no_grad = tch::no_grad_guard();
            bencher.iter_custom(|count| {
                let mut lengths = Vec::new();
                while (lengths.len() as u64) < count {
                    let mut noise = FreshNoise::new(streams, "bench");
                    let model = prepared.built.model.as_ref();
                    let mut last = Instant::now();
                    let mut observer = |_: usize, _: usize, _: &State| {
                        lengths.push(last.elapsed());
                        last = Instant::now();
                        Ok(())
                    };
                    sampler
                        .run(process, model, start.clone(), &mut noise, &mut observer)
                        .expect("samples");
                }
                lengths.sort();
                lengths[lengths.len() / 2] * count as u32
            });
        });
    }

    // A whole check of the file, as it happens before the first tensor.
    let catalogue = runner::catalogue::Catalogue::new().expect("names are unique");
    assert!(!catalogue.names("process").is_empty());
    criterion.bench_function("configuration: read and check", |bencher| {
        bencher.iter(|| experiment("mixture-2d.json").name);
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = toy
}
criterion_main!(benches);
