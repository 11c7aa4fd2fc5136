//! The U-Net of rotated MNIST (spdm.md 4: 64 channels, three input channels, batch 16) on two threads: one
//! training step (perturbed, forward, backward, RAdam, three averages) and one evaluation, plain, tied and
//! lifted, in f32 and bf16; one evaluation averaged over the four turns; and the network's main
//! convolutions with channels last and first in memory. No data are read.
//!
//! `cargo bench -p isotropy-runner --bench images`. The released code on an idle machine of the same
//! kind: 1552 and 413 ms plain, 2182 and 567 `_S`, 3976 and 1134 `_K`.

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use isotropy_core::{Field, LossContext, Moves, State, Streams};
use runner::build::build;
use runner::experiment::Experiment;
use runner::train::ema::Ema;
use runner::train::flat::FlatParameters;
use std::path::Path;
use tch::{Device, Kind, Tensor};

const BATCH: i64 = 16;
const EMA: [f64; 3] = [0.999, 0.9999, 0.999_943_218_995_070_8];

/// How the network is made, and what the report calls it.
const VARIANTS: [(&str, &[&str]); 6] = [
    ("plain", &[r#"model.symmetry_by="none""#]),
    ("C4_S", &[r#"model.symmetry_by="tied-s""#]),
    ("C4_K", &[r#"model.symmetry_by="tied-k""#]),
    ("D4_K", &[r#"model.symmetry_by="tied-k""#, r#"model.group="square""#]),
    ("lifted C4", &[r#"model.symmetry_by="lifted""#]),
    ("plain, bf16", &[r#"model.symmetry_by="none""#, r#"model.precision="bf16""#]),
];

fn experiment(sets: &[&str]) -> Experiment {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../configs/equivariant-images/turned-mnist-published.json");
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_string()).collect();
    let Ok(resolved) = runner::resolve::resolve(&path, &sets) else {
        panic!("{} is wrong", path.display())
    };
    resolved.experiment
}

fn unet(criterion: &mut Criterion) {
    runner::memory::keep_freed();
    tch::set_num_threads(2);
    let options = (Kind::Float, Device::Cpu);
    let streams = Streams::new(0);
    let images = streams.stream("images", 0).normal(&[BATCH, 3, 28, 28], options);
    let labels = Tensor::arange(BATCH, (Kind::Int64, Device::Cpu)).remainder(10);
    let batch = State::new(Field::new(images, Moves::Image))
        .with_context("label", Field::new(labels, Moves::Fixed));
    let mut group = criterion.benchmark_group("U-Net, batch 16");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    for (name, sets) in VARIANTS {
        let experiment = experiment(sets);
        let built = build(&experiment, Kind::Float, Device::Cpu).expect("the configuration builds");
        let process = built.process.as_deref().expect("there is a process");
        let objective = built.objective.as_deref().expect("there is an objective");
        let parameters = FlatParameters::new(&built.store).expect("there are parameters");
        let optimizer = experiment.train.optimizer.build(parameters.buffer());
        let mut optimizer = optimizer.expect("the optimiser builds");
        let mut ema = Ema::new(&parameters, &EMA, true).expect("the averages start");
        let mut step = 0;
        group.bench_function(format!("{name}: training step"), |bencher| {
            bencher.iter(|| {
                let context =
                    LossContext { process: Some(process), streams: &streams, step, train: true };
                let loss = objective.loss(built.model.as_ref(), &batch, &context).expect("a loss");
                let gradient = parameters.gradients(&loss.total).expect("a gradient");
                optimizer.step(parameters.buffer(), &gradient, 1.0).expect("a step");
                step += 1;
                ema.update(&parameters, step).expect("averages");
            });
        });
        let t = Tensor::full([BATCH], 0.5, options);
        // As the runner samples: without gradients, kernels made once.
        let _no_grad = tch::no_grad_guard();
        built.model.hold(true);
        group.bench_function(format!("{name}: one evaluation"), |bencher| {
            bencher.iter(|| built.model.predict(&batch, &t, false).expect("a prediction"));
        });
    }
    // Four evaluations on the batch axis.
    let inner = r#"{"type": "unet", "classes": 1000, "predicts": "clean"}"#;
    let averaged = format!(r#"model={{"type": "group-averaged", "inner": {inner}}}"#);
    let experiment = experiment(&[&averaged]);
    let built = build(&experiment, Kind::Float, Device::Cpu).expect("the configuration builds");
    let t = Tensor::full([BATCH], 0.5, options);
    let _no_grad = tch::no_grad_guard();
    built.model.hold(true);
    group.bench_function("FA C4 of plain: one evaluation", |bencher| {
        bencher.iter(|| built.model.predict(&batch, &t, false).expect("a prediction"));
    });
    group.finish();
}

/// Channels and side of the images that the 3x3 convolutions of the network see.
const CONVOLUTIONS: [(i64, i64, i64); 4] =
    [(64, 64, 28), (192, 64, 28), (128, 128, 14), (256, 256, 7)];

fn layouts(criterion: &mut Criterion) {
    tch::set_num_threads(2);
    let options = (Kind::Float, Device::Cpu);
    let streams = Streams::new(0);
    let mut group = criterion.benchmark_group("3x3 convolution, batch 16, forward");
    group.sampling_mode(SamplingMode::Flat).sample_size(20);
    let _no_grad = tch::no_grad_guard();
    for (from, to, side) in CONVOLUTIONS {
        let x = streams.stream("x", 0).normal(&[BATCH, from, side, side], options);
        let kernel = streams.stream("kernel", 0).normal(&[to, from, 3, 3], options);
        let last = |a: &Tensor| a.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        for (kind, precision) in [(Kind::Float, "f32"), (Kind::BFloat16, "bf16")] {
            let (x, kernel) = (x.to_kind(kind), kernel.to_kind(kind));
            for (layout, x) in [("channels first", x.shallow_clone()), ("channels last", last(&x))]
            {
                let name = format!("{from} to {to} at {side}x{side}, {precision}, {layout}");
                group.bench_function(name, |bencher| {
                    bencher.iter(|| x.conv2d(&kernel, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1));
                });
            }
        }
    }
    group.finish();
}

criterion_group!(benches, unet, layouts);
criterion_main!(benches);
