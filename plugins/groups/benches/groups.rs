//! exp, log, act and compose of every registered group, in elements per second: batches of 4,096,
//! f32, one thread.
//!
//! `cargo bench -p isotropy-groups --bench groups`; add `-- so3` for one group. `act` moves one
//! vector for each element by the group's defining action, where it has one.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use isotropy_conformance::strategies::GroupSamples;
use isotropy_core::{Element, Group, GroupConfig, Streams, registry};
use isotropy_groups::group::{Heisenberg, So2, So3};
use std::hint::black_box;
use std::time::Duration;
use tch::{Kind, Tensor};

const BATCH: i64 = 4096;

/// Components of the vectors that the group moves, for groups whose defining action is benched.
fn vectors(name: &str, g: &Element) -> Option<i64> {
    let last = g.0.first()?.size().last().copied()?;
    match name {
        "so2" => Some(2),
        "so3" | "so-n" | "gl-n" | "translations" => Some(last),
        "se2" | "se3" => Some(last - 1),
        "su2" | "heisenberg" | "dilations" => Some(3),
        _ => None,
    }
}

/// Vectors `[B, n]` moved by elements; the matrix is made inside, as in every step of a sampler.
fn act(name: &str, g: &Element, v: &Tensor) -> Tensor {
    let g = g.single();
    let turned = |m: &Tensor| m.matmul(&v.unsqueeze(-1)).squeeze_dim(-1);
    match name {
        "so2" => turned(&So2::matrix(g)),
        "su2" => turned(&So3::from_quaternion(g)),
        "heisenberg" => turned(&Heisenberg::matrix(g)),
        "dilations" => g.exp() * v,
        "translations" => g + v,
        "se2" | "se3" => {
            let n = v.size()[1];
            let top = g.narrow(-2, 0, n);
            turned(&top.narrow(-1, 0, n)) + top.select(-1, n)
        }
        _ => turned(g),
    }
}

fn one(name: &str, group: &dyn Group, criterion: &mut Criterion) {
    let streams = Streams::new(0);
    let Ok(samples) = GroupSamples::new(group, &[BATCH], Kind::Float, &streams) else { return };
    let mut bench = criterion.benchmark_group(format!("{name} {}", group.name()));
    bench.throughput(Throughput::Elements(BATCH as u64));
    let (a, b) = (samples.elements("a"), samples.elements("b"));
    if let Some(lie) = group.lie() {
        let xi = samples.tangents("xi").scale(0.5);
        let g = lie.exp(&xi);
        bench.bench_function("exp", |bench| bench.iter(|| lie.exp(black_box(&xi))));
        bench.bench_function("log", |bench| bench.iter(|| lie.log(black_box(&g))));
    }
    if let Some(n) = vectors(name, &a) {
        let v = samples.stream("vectors").normal(&[BATCH, n], (Kind::Float, tch::Device::Cpu));
        bench.bench_function("act", |bench| bench.iter(|| act(name, black_box(&a), &v)));
    }
    bench.bench_function("compose", |bench| bench.iter(|| group.compose(black_box(&a), &b)));
    bench.finish();
}

fn groups(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    let catalogue = registry::catalogue().expect("no two components have one name");
    let registered = catalogue.iter().filter(|c| c.kind == "group").map(|c| (c.name, c.example));
    let further = [
        ("so-n", r#"{"type": "so-n", "dimension": 8}"#),
        ("gl-n", r#"{"type": "gl-n", "dimension": 4}"#),
    ];
    for (name, example) in registered.chain(further) {
        let config: Box<dyn GroupConfig> = serde_json::from_str(example).expect("examples parse");
        let group = config.build().expect("examples build");
        tch::no_grad(|| one(name, group.as_ref(), criterion));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    targets = groups
}
criterion_main!(benches);
