//! Times of the parts of a training step and of a sampler step that this plugin answers for, on one
//! thread. `cargo run --release -p isotropy-lie --example step_times`

use isotropy_core::{
    Field, FreshNoise, Moves, Noise, Prediction, PredictionKind, ProcessConfig,
    RepresentationConfig, State, Step, Streams,
};
use isotropy_groups as _;
use isotropy_lie as _;
use serde_json::json;
use std::time::Instant;
use tch::{Device, Kind};

fn time(what: &str, mut f: impl FnMut()) {
    for _ in 0..100 {
        f();
    }
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let start = Instant::now();
        for _ in 0..200 {
            f();
        }
        best = best.min(start.elapsed().as_secs_f64() / 200.0);
    }
    println!("{what}: {:.1} microseconds", best * 1e6);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tch::set_num_threads(1);
    let options = (Kind::Float, Device::Cpu);
    let drive: Box<dyn RepresentationConfig> = serde_json::from_value(json!({"type": "polar"}))?;
    let process: Box<dyn ProcessConfig> =
        serde_json::from_value(json!({"type": "vp", "schedule": {"type": "cosine"}}))?;
    let process = process.build(drive.build()?)?;
    let streams = Streams::new(0);
    let points = |n: i64| {
        State::new(Field::new(streams.stream("x", 0).normal(&[n, 2], options), Moves::Point))
    };
    let batch = points(127);
    let mut step = 0;
    time("times and perturb, batch 127", || {
        step += 1;
        let mut stream = streams.stream("perturb", step);
        let t = process.time().sample(127, false, options, &mut stream);
        process.perturb(&batch, &t, &mut stream).expect("polar coordinates");
    });
    let a = points(127);
    time("add", || {
        let _ = a.x() + a.x();
    });
    time("stream normal", || {
        step += 1;
        let _ = streams.stream("p", step).normal(&[127, 2], options);
    });
    time("seed", || {
        tch::manual_seed(3);
    });
    time("randn", || {
        let _ = tch::Tensor::randn([127, 2], options);
    });
    time("tau", || {
        process.fields().coordinates().unwrap().unwrapped(&a);
    });
    let tau = process.fields().coordinates().unwrap().unwrapped(&a);
    time("point", || {
        process.fields().coordinates().unwrap().point(&a, &tau);
    });
    time("sample t", || {
        step += 1;
        process.time().sample(127, false, options, &mut streams.stream("p", step));
    });
    let start = points(1000);
    let mut noise = FreshNoise::new(&streams, "noise");
    let head = streams.stream("head", 0).normal(&[1000, 2], options);
    for kind in [PredictionKind::Noise, PredictionKind::FieldSum] {
        time(&format!("terms, noise and flow from {kind:?}, 1000 points"), || {
            tch::no_grad(|| {
                let prediction = Prediction::one(kind, head.shallow_clone());
                let step = Step { from: 50.0, to: 49.0 };
                let terms = process.terms(&start, step, &prediction).expect("a valid prediction");
                let z = noise.draw(0, &start, &terms, process.fields()).expect("white noise");
                let xi = terms.preconditioned.sub(&terms.drift).add(&z);
                process.fields().flow(&start, &xi);
            });
        });
    }
    Ok(())
}
