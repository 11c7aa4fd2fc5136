//! Exact models give samples of the law that they are exact for, in every combination that the
//! runner accepts: oracle x drive x process x sampler, 20,000 samples by the binary against 20,000
//! draws of the law, two-sample tests of Kolmogorov and Smirnov for every component, radius and
//! angle.

#![allow(clippy::unwrap_used)]

use isotropy_core::{Field, Moves, Representation, RepresentationConfig, State, Streams, Xi};
use isotropy_tests::end_to_end::{Scratch, run};
use runner as _;
use serde_json::{Value, json};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");
const COUNT: i64 = 20_000;
const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);

/// Level of one comparison, 1e-4: `sqrt(-ln(level / 2) / 2) sqrt(2 / n)` (Smirnov 1939).
fn critical() -> f64 {
    (-(1e-4_f64 / 2.0).ln() / 2.0).sqrt() * (2.0 / COUNT as f64).sqrt()
}

const WEIGHTS: [f64; 3] = [0.5, 0.3, 0.2];

/// Means and standard deviations of a mixture in `d` coordinates; the angles reach over more than
/// half of the circle.
fn mixture(d: usize) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let means = [[0.8, 0.9, 0.6], [-0.7, 1.6, 0.9], [0.1, 1.2, -1.2]];
    let stds = [[0.3, 0.15, 0.2], [0.25, 0.2, 0.4], [0.35, 0.1, 0.3]];
    // The azimuth is the last coordinate, and polar angles stay away from the poles.
    let pick = |row: &[f64; 3]| match d {
        2 => vec![row[0], row[2]],
        _ => row.to_vec(),
    };
    (means.iter().map(pick).collect(), stds.iter().map(pick).collect())
}

fn draw(name: &str, (means, stds): &(Vec<Vec<f64>>, Vec<Vec<f64>>)) -> Tensor {
    let d = means[0].len() as i64;
    let streams = Streams::new(7);
    let u = streams.stream(&format!("{name} component"), 0).uniform(&[COUNT, 1], OPTIONS);
    let z = streams.stream(name, 0).normal(&[COUNT, d], OPTIONS);
    let (first, second) = (u.lt(WEIGHTS[0]), u.lt(WEIGHTS[0] + WEIGHTS[1]));
    let pick = |rows: &[Vec<f64>]| {
        let [a, b, c] = [0, 1, 2].map(|k| Tensor::from_slice(&rows[k]));
        a.where_self(&first, &b.where_self(&second, &c))
    };
    pick(means) + z * pick(stds)
}

fn drive(json: &Value) -> Arc<dyn Representation> {
    let config: Box<dyn RepresentationConfig> = serde_json::from_value(json.clone()).unwrap();
    config.build().unwrap()
}

/// Points of the law.
fn points(on: &Value, tau: Tensor) -> Tensor {
    let drive = drive(on);
    let like = State::new(Field::new(tau.ones_like() * 0.5, Moves::Point));
    let coordinates = drive.drive().unwrap().coordinates().unwrap();
    coordinates.point(&like, &Xi::from(tau)).x().shallow_clone()
}

/// What is compared: every component, the logarithm of the radius, the angles between them.
fn statistics(x: &Tensor) -> Vec<(String, Tensor)> {
    let d = x.size()[1];
    let mut all: Vec<(String, Tensor)> =
        (0..d).map(|k| (format!("component {k}"), x.select(1, k))).collect();
    let square: Tensor = x.square();
    let radius = square.sum_dim_intlist(1, false, None).sqrt();
    all.push(("log radius".into(), radius.log()));
    for k in 1..d {
        all.push((format!("angle {k}"), x.select(1, k).atan2(&x.select(1, k - 1))));
    }
    all
}

/// The largest distance between two empirical distribution functions.
fn smirnov(x: &Tensor, y: &Tensor) -> f64 {
    let (x, y) = (x.contiguous().sort(0, false).0, y.contiguous().sort(0, false).0);
    let all = Tensor::cat(&[&x, &y], 0);
    let below = |sorted: &Tensor| {
        let count = all.searchsorted(sorted, false, true, "right", None::<&Tensor>);
        count.to_kind(Kind::Double) / sorted.size()[0] as f64
    };
    (below(&x) - below(&y)).abs().max().double_value(&[])
}

fn experiment(on: &Value, process: &Value, sampler: &Value, oracle: Value) -> Value {
    let dataset = match on["type"].as_str() {
        Some("spherical") => "gaussian-mixture-3d",
        _ => "gaussian-mixture-2d",
    };
    json!({
        "schema": 1, "name": "law", "threads": 1, "device": "cpu", "kind": "f64",
        "dataset": {"type": dataset, "test_points": COUNT},
        "drive": on, "process": process, "model": oracle, "sampler": sampler,
        "train": {"steps": 0},
        "sampling": {"count": COUNT, "batch": COUNT},
        "evaluate": {"metrics": [], "plots": []}
    })
}

fn samplers() -> Vec<Value> {
    vec![
        json!({"type": "group-step", "steps": 500}),
        json!({"type": "geodesic-random-walk", "steps": 500}),
        json!({"type": "euler-maruyama-x", "steps": 500, "last_step": "clean"}),
        json!({"type": "ancestral", "steps": 500}),
        json!({"type": "ddim", "steps": 500}),
        json!({"type": "ddim", "steps": 500, "eta": 0.5}),
        json!({"type": "heun-sde"}),
        json!({"type": "predictor-corrector", "steps": 100, "predictor": "heun-sde", "snr": 0.05}),
        json!({"type": "probability-flow"}),
        json!({"type": "probability-flow", "method": "rk4", "steps": 50}),
        json!({"type": "probability-flow", "method": "dormand-prince"}),
        json!({"type": "edm", "steps": 60}),
    ]
}

/// The law of a run's samples against the draws of it: what differs.
fn different(scratch: &Scratch, json: &Value, truth: &[(String, Tensor)]) -> Vec<String> {
    let file = scratch.write("law.json", &json.to_string()).to_string_lossy().into_owned();
    let out = scratch.join("out");
    let _ = std::fs::remove_dir_all(&out);
    run(RUNNER, scratch, &["--config", &file, "--out", &out.to_string_lossy()]).with_code(0);
    let arrays = Tensor::read_npz(out.join("samples/samples.npz")).unwrap();
    let x = &arrays.iter().find(|(name, _)| name == "value").unwrap().1;
    let mut wrong = Vec::new();
    for ((name, found), (_, truth)) in statistics(x).iter().zip(truth) {
        let distance = smirnov(found, truth);
        if distance.is_nan() || distance >= critical() {
            wrong.push(format!("{name}: {distance:.3}"));
        }
    }
    wrong
}

#[test]
#[ignore = "a quarter of an hour; `cargo xtask test --slow` runs it"]
fn samples_of_exact_models_have_the_law_that_they_are_exact_for() {
    let vp = json!({"type": "vp", "schedule": {"type": "linear-beta"}, "steps": null});
    let sub_vp = json!({"type": "sub-vp", "schedule": {"type": "linear-beta"}, "steps": null});
    let ve = json!({
        "type": "ve", "schedule": {"type": "ve-geometric", "sigma_min": 0.01, "sigma_max": 30.0}
    });
    let all = samplers();
    let few = || [0, 3, 6, 8].map(|k| all[k].clone()).to_vec();
    // Averages over the branches of angles that the noise spreads over many turns take a hundred
    // evaluations at each point.
    let dear = || {
        vec![
            json!({"type": "heun-sde", "steps": 60}),
            json!({"type": "probability-flow", "steps": 60}),
        ]
    };
    let (plane, polar) = (json!({"type": "translations"}), json!({"type": "polar"}));
    let carried = |on: &str| json!({"type": on, "unwrapped": true});
    let plan: Vec<(Value, &Value, &str, Vec<Value>)> = vec![
        (plane.clone(), &vp, "score", few()),
        (plane.clone(), &sub_vp, "score", few()),
        (plane, &ve, "score", few()),
        (carried("polar"), &vp, "score", all.clone()),
        (carried("polar"), &sub_vp, "score", few()),
        (carried("polar"), &ve, "score", all.clone()),
        (polar.clone(), &vp, "field", all.clone()),
        (polar.clone(), &sub_vp, "field", few()),
        (polar, &ve, "field", dear()),
        (carried("spherical"), &vp, "score", few()),
        (carried("spherical"), &ve, "score", few()),
        (json!({"type": "spherical"}), &vp, "field", dear()),
    ];
    let scratch = Scratch::new("laws");
    let (mut wrong, mut compared, mut refused) = (Vec::new(), 0, 0);
    for (on, process, predicts, samplers) in plan {
        let law = mixture(if on["type"] == "spherical" { 3 } else { 2 });
        let truth = statistics(&points(&on, draw("truth", &law)));
        for sampler in samplers {
            let oracle = json!({
                "type": "mixture-tau-oracle", "means": law.0, "stds": law.1, "weights": WEIGHTS,
                "predicts": predicts
            });
            let json = experiment(&on, process, &sampler, oracle);
            let file = scratch.write("law.json", &json.to_string());
            if run(RUNNER, &scratch, &["validate", &file.to_string_lossy()]).code != Some(0) {
                refused += 1;
                continue;
            }
            compared += 1;
            let found = different(&scratch, &json, &truth).join(", ");
            let what = format!("{sampler}, {predicts}, {} on {on}", process["type"]);
            println!("{what}: {}", if found.is_empty() { "ok" } else { &found });
            if !found.is_empty() {
                wrong.push(format!("{what}: {found}"));
            }
        }
    }
    println!("{compared} combinations, {refused} refused; the bound is {:.4}", critical());
    assert!(compared > 50, "{compared}");
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

/// The score of one branch at a point that does not know its branch is refused with both remedies.
#[test]
fn oracles_are_refused_where_they_are_not_exact() {
    let scratch = Scratch::new("laws-refused");
    let ve = json!({
        "type": "ve", "schedule": {"type": "ve-geometric", "sigma_min": 0.01, "sigma_max": 30.0}
    });
    let law = mixture(2);
    let oracle = |predicts: &str| {
        json!({
            "type": "mixture-tau-oracle", "means": law.0, "stds": law.1, "weights": WEIGHTS,
            "predicts": predicts
        })
    };
    let step = json!({"type": "group-step"});
    for (unwrapped, predicts, sampler, fits) in [
        (false, "score", &step, false),
        (true, "score", &step, true),
        (false, "field", &step, true),
        (true, "score", &json!({"type": "euler-maruyama-x"}), false),
        (false, "field", &json!({"type": "euler-maruyama-x", "last_step": "noise"}), true),
    ] {
        let on = json!({"type": "polar", "unwrapped": unwrapped});
        let json = experiment(&on, &ve, sampler, oracle(predicts));
        let file = scratch.write("law.json", &json.to_string());
        let ended = run(RUNNER, &scratch, &["validate", &file.to_string_lossy()]);
        assert_eq!(ended.code == Some(0), fits, "{on} {predicts} {sampler}: {}", ended.stderr);
        if predicts == "score" && !unwrapped {
            assert!(ended.stderr.contains("unwrapped") && ended.stderr.contains("field"));
        }
    }
}

/// The test sees a law that is a little off, and takes two sets of draws of one law for that.
#[test]
fn distances_between_laws_are_seen() {
    let law = mixture(2);
    let (first, second) = (draw("first", &law), draw("second", &law));
    let distance = |other: &Tensor| {
        let pairs = statistics(&first).into_iter().zip(statistics(other));
        pairs.map(|((_, a), (_, b))| smirnov(&a, &b)).fold(0.0, f64::max)
    };
    assert!(distance(&second) < critical());
    let shifted: Tensor = &second + 0.04;
    assert!(distance(&shifted) > critical(), "a shift of a tenth of the least spread");
    assert!(distance(&(second * 1.06)) > critical(), "6 % more spread");
}
