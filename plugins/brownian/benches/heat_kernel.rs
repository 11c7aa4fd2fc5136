//! Heat kernels and steps of Brownian motion, on one thread.
//!
//! `cargo bench -p isotropy-brownian --bench heat_kernel`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use isotropy_brownian::heat_kernel::HeatKernel;
use isotropy_core::{
    FreshNoise, ModelConfig, ModelContext, Noise, Prediction, PredictionKind, ProcessConfig,
    RepresentationConfig, Space, Step, Streams,
};
use isotropy_groups as _;
use tch::{Device, Kind, Tensor};

const COUNT: i64 = 10_000;

fn kernels(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    let options = (Kind::Float, Device::Cpu);
    for (name, space) in [
        ("circle", Space::Circle),
        ("SO(3)", Space::Rotations),
        ("S2", Space::Sphere(2)),
        ("S3", Space::Sphere(3)),
    ] {
        let kernel = HeatKernel::new(space).expect("a known space");
        let mut stream = Streams::new(0).stream("bench", 0);
        let z = stream.normal(&[COUNT, kernel.dimension()], options);
        let eps = (stream.uniform(&[COUNT, 1], options) * 4.0 - 3.0).exp();
        let angle = stream.uniform(&[COUNT], options) * 3.0;
        let scales = eps.squeeze_dim(1);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(COUNT as u64));
        group.bench_function(BenchmarkId::new("density, closed form", COUNT), |bencher| {
            bencher.iter(|| kernel.density(&angle, &scales));
        });
        group.bench_function(BenchmarkId::new("score, closed form", COUNT), |bencher| {
            bencher.iter(|| kernel.score(&angle, &scales));
        });
        group.bench_function(BenchmarkId::new("draw with score, table", COUNT), |bencher| {
            bencher.iter(|| kernel.noise(&z, &eps));
        });
        group.finish();
    }
}

fn steps(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    let options = (Kind::Float, Device::Cpu);
    for (name, json) in [
        ("SO(3)", r#"{"type": "rotation-matrices"}"#),
        ("SO(3)xR+ on R^3", r#"{"type": "generators", "dimension": 3}"#),
        ("torus", r#"{"type": "torus"}"#),
    ] {
        let drive: Box<dyn RepresentationConfig> = serde_json::from_str(json).expect("a drive");
        let process: Box<dyn ProcessConfig> =
            serde_json::from_str(r#"{"type": "brownian"}"#).expect("a process");
        let process = process.build(drive.build().expect("a drive")).expect("a process");
        let mut stream = Streams::new(0).stream("bench", 1);
        let start = process.drive().sample_state(1000, options, &mut stream).expect("states");
        let score = process.fields().normal(&start, &mut stream);
        let prediction = Prediction::one(PredictionKind::PreconditionedScore, score);
        let mut noise = FreshNoise::new(&Streams::new(0), "bench");
        let step = Step { from: 50.0, to: 49.0 };
        criterion.bench_function(&format!("{name}: sampler step, 1,000 points"), |bencher| {
            bencher.iter(|| {
                tch::no_grad(|| {
                    let terms = process.terms(&start, step, &prediction).expect("terms");
                    let z = noise
                        .draw(0, &start, &terms.drift, &terms.noise, process.fields())
                        .expect("noise");
                    let xi = terms.preconditioned.sub(&terms.drift).add(&z);
                    process.fields().flow(&start, &xi)
                })
            });
        });
        let t = Tensor::ones([127], options) * 30.0;
        let clean = start.narrow(0, 127);
        criterion.bench_function(&format!("{name}: perturb, batch 127"), |bencher| {
            bencher.iter(|| process.perturb(&clean, &t, &mut stream).expect("a noisy batch"));
        });
    }
    oracle(criterion);
}

fn oracle(criterion: &mut Criterion) {
    let drive: Box<dyn RepresentationConfig> =
        serde_json::from_str(r#"{"type": "rotation-matrices"}"#).expect("a drive");
    let process: Box<dyn ProcessConfig> =
        serde_json::from_str(r#"{"type": "brownian"}"#).expect("a process");
    let process = process.build(drive.build().expect("a drive")).expect("a process");
    let mut stream = Streams::new(0).stream("bench", 2);
    let options = (Kind::Float, Device::Cpu);
    let state = process.drive().sample_state(1000, options, &mut stream).expect("states");
    let model: Box<dyn ModelConfig> = serde_json::from_str(
        r#"{"type": "igso3-mixture-oracle", "means": [[0.5, 0.0, 2.0], [-1.0, 0.4, 0.0]], "stds": [0.3, 0.2], "weights": [0.4, 0.6]}"#,
    )
    .expect("a model");
    let spec = state.spec();
    let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
    let store = tch::nn::VarStore::new(Device::Cpu);
    let model = model.build(&store.root(), &context).expect("a model");
    let t = Tensor::ones([1000], options) * 50.0;
    criterion.bench_function("IGSO(3) mixture of two: exact score, 1,000 points", |bencher| {
        bencher.iter(|| model.predict(&state, &t, false).expect("a score"));
    });
}

criterion_group!(benches, kernels, steps);
criterion_main!(benches);
