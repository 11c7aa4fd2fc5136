//! Gram matrices and their Cholesky roots, per batch, on one thread.

#![allow(clippy::unwrap_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use isotropy_core::{CovarianceKernelConfig, Streams};
use isotropy_gaussian_processes::linear_algebra::{Factor, JITTER, Points, gram};
use serde_json::json;
use std::hint::black_box;
use tch::{Device, Kind};

fn covariance(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    let noisy = |kernel| json!({"type": "noisy", "kernel": kernel});
    // Functions of one coordinate; vector fields at the numbers of points that are trained.
    let cases = [
        ("rbf, 32 x 60 points", noisy(json!({"type": "rbf"})), [32, 60, 1]),
        ("weakly periodic, 32 x 60 points", noisy(json!({"type": "weakly-periodic"})), [32, 60, 1]),
        ("curl-free, 32 x 25 points", noisy(json!({"type": "curl-free"})), [32, 25, 2]),
        ("curl-free, 1 x 648 points", noisy(json!({"type": "curl-free"})), [1, 648, 2]),
    ];
    for (name, json, size) in cases {
        let config: Box<dyn CovarianceKernelConfig> = serde_json::from_value(json).unwrap();
        let kernel = config.build().unwrap();
        let mut stream = Streams::new(0).stream("points", 0);
        let index = stream.normal(&size, (Kind::Float, Device::Cpu)) * 3.0;
        let points = || Points::new(&index, None);
        criterion.bench_function(&format!("Gram: {name}"), |b| {
            b.iter(|| {
                black_box(gram(kernel.as_ref(), &kernel.values(), &points(), JITTER).unwrap())
            });
        });
        criterion.bench_function(&format!("Gram and Cholesky: {name}"), |b| {
            b.iter(|| black_box(Factor::new(kernel.as_ref(), points(), JITTER).unwrap()));
        });
    }
}

criterion_group!(benches, covariance);
criterion_main!(benches);
