//! The bare networks of fields: prediction, and a training step (forward, backward, Adam), at the published sizes.
//!
//! `cargo bench --workspace --bench fields`; add `-- attention` for some of them. Two threads, f32.

use criterion::{Criterion, criterion_group, criterion_main};
use isotropy_core::Streams;
use isotropy_networks::attention::{AttentionNetwork, AttentionSize};
use isotropy_networks::egnn::{Egnn, EgnnSize, EgnnValues};
use isotropy_networks::neighbours::Neighbours;
use isotropy_networks::tensor_field::{Channels, TensorFieldNetwork, TensorFieldSize};
use std::time::Duration;
use tch::nn::{OptimizerConfig, VarStore};
use tch::{Device, Kind, Tensor};

const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

/// Both timings of a network.
fn both(c: &mut Criterion, name: &str, store: &VarStore, forward: impl Fn() -> Tensor) {
    let target = forward().detach() + 0.5;
    c.bench_function(&format!("{name}, prediction"), |b| b.iter(|| tch::no_grad(&forward)));
    let mut adam = tch::nn::Adam::default().build(store, 1e-3).expect("Adam takes any variables");
    c.bench_function(&format!("{name}, training step"), |b| {
        b.iter(|| {
            let loss = (forward() - &target).square().mean(Kind::Float);
            adam.backward_step(&loss);
        });
    });
}

/// Points of a disk of radius 10 where `p` is 2, of the interval (-2, 2) where it is 1; values and times.
fn field(batch: i64, points: i64, p: i64, d: i64) -> (Tensor, Tensor, Tensor) {
    let mut stream = Streams::new(0).stream("bench", 0);
    let index = match p {
        1 => stream.uniform(&[batch, points, 1], F32) * 4.0 - 2.0,
        _ => {
            let (r, angle) = (
                stream.uniform(&[batch, points], F32).sqrt() * 10.0,
                stream.uniform(&[batch, points], F32) * std::f64::consts::TAU,
            );
            Tensor::stack(&[&r * angle.cos(), &r * angle.sin()], -1)
        }
    };
    let values = stream.normal(&[batch, points, d], F32);
    (index, values, stream.uniform(&[batch], F32))
}

fn attention(c: &mut Criterion) {
    let store = VarStore::new(Device::Cpu);
    let (x, y, t) = field(32, 60, 1, 1);
    let tokens = Tensor::stack(&[x, y], -1);
    let size = AttentionSize { layers: 5, width: 64, heads: 8 };
    let net = AttentionNetwork::new(&store.root(), 2, 1, size, true);
    both(c, "attention 1-D L5 H64, 60 points, batch 32", &store, || {
        net.forward(&tokens, &t, None, None)
    });
    let mask = Tensor::ones([32, 60], F32);
    both(c, "attention 1-D L5 H64, 60 points, batch 32, mask", &store, || {
        net.forward(&tokens, &t, Some(&mask), None)
    });
    for (points, batch) in [(25, 32), (648, 8)] {
        let store = VarStore::new(Device::Cpu);
        let (x, y, t) = field(batch, points, 2, 2);
        let tokens = Tensor::cat(&[x, y], -1).unsqueeze(2);
        let size = AttentionSize { layers: 5, width: 128, heads: 4 };
        let net = AttentionNetwork::new(&store.root(), 4, 2, size, false);
        let name = format!("attention 2-D, {points} points, batch {batch}");
        both(c, &name, &store, || net.forward(&tokens, &t, None, None));
    }
}

fn tensor_field(c: &mut Criterion) {
    for (points, batch) in [(25, 32), (648, 4)] {
        let store = VarStore::new(Device::Cpu);
        let (x, y, t) = field(batch, points, 2, 2);
        let irreps = "1x1e".parse().expect("irreps");
        let channels = Channels::new(irreps, 2).expect("vectors of the plane");
        let size = TensorFieldSize {
            layers: 5,
            scalars: 12,
            vectors: 4,
            width: 64,
            radial: 50,
            time: 16,
            cutoff: 2.0,
            neighbours: Some(20),
            fade: false,
            self_connection: false,
            gated: false,
        };
        let net = TensorFieldNetwork::new(&store.root(), channels, size);
        let name = format!("tensor-field, {points} points, batch {batch}");
        both(c, &name, &store, || net.forward(&x, &y, &t, None));
    }
}

fn egnn(c: &mut Criterion) {
    let store = VarStore::new(Device::Cpu);
    let (x, y, t) = field(32, 25, 2, 2);
    let neighbours = Neighbours { count: Some(50), cutoff: None };
    let size = EgnnSize { layers: 4, width: 64, neighbours, fade: true, displacements: true };
    let net = Egnn::new(&store.root(), EgnnValues::Vector, size);
    both(c, "egnn, 25 points, batch 32", &store, || net.forward(&x, &y, &t, None));
}

fn all(c: &mut Criterion) {
    tch::set_num_threads(2);
    attention(c);
    tensor_field(c);
    egnn(c);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(15)
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_secs(1));
    targets = all
}
criterion_main!(benches);
