//! How much of the data's variance samplers keep with their default options: exact, since a run on
//! Gaussian data is affine in its start and its noise. The table of `docs/src/plugins/diffusion.md`:
//! `cargo test --release -p isotropy-diffusion --test moments -- --nocapture`.

#![allow(clippy::unwrap_used)]

mod support;

use isotropy_core::{NoisingProcess, Scale};
use serde_json::{Value, json};
use support::{model, moments, process};
use tch::Tensor;

const MEAN: [f64; 2] = [0.5, -0.2];
/// One coordinate as wide as the prior of a preserving process, one ten times as narrow.
const SD: [f64; 2] = [1.0, 0.1];

/// Each with its default `start`, continuous time but for the last.
fn processes() -> Vec<(&'static str, Value)> {
    let vp = |schedule: &str, steps: Value| json!({"type": "vp", "schedule": {"type": schedule}, "steps": steps});
    vec![
        ("vp, linear-beta", vp("linear-beta", Value::Null)),
        ("vp, cosine", vp("cosine", Value::Null)),
        ("sub-vp", json!({"type": "sub-vp", "schedule": {"type": "linear-beta"}, "steps": null})),
        ("ve, ve-geometric to 10", support::ve(10.0)),
        (
            "ve, ve-linear to 3",
            json!({"type": "ve", "schedule": {"type": "ve-linear", "sigma_max": 3.0}}),
        ),
        ("vp, ddpm, 1,000 steps", vp("ddpm", json!(1000))),
    ]
}

/// Error of the variance of both coordinates at the end of a run, in per cent of the data's.
fn variance_error(process: &dyn NoisingProcess, sampler: &Value) -> [f64; 2] {
    let oracle = json!({"type": "gaussian-tau-oracle", "mean": MEAN, "std": SD});
    let oracle = model(oracle, process, 2);
    let kernel = process.kernel().unwrap().scales(process.time().prior);
    let (Scale::Same(mean), Scale::Same(std)) = (&kernel.mean[0], &kernel.std[0]) else {
        panic!("one time")
    };
    let variance = Tensor::from_slice(&SD).square();
    let prior = (Tensor::from_slice(&MEAN) * *mean, &variance * (mean * mean) + std * std);
    let (_, found) = moments(process, oracle.as_ref(), sampler, prior);
    let error: Tensor = (found / variance - 1.0) * 100.0;
    [error.double_value(&[0]), error.double_value(&[1])]
}

/// Largest error in per cent that the defaults may have: of second-order rules what is left of the
/// noise at `start` (1 % of the narrow coordinate) and the coarse ends of sub-vp, of first-order
/// rules their own error at the default number of steps.
#[test]
fn defaults_keep_the_variance() {
    let samplers = [
        ("heun-sde", 3.0, 3.0),
        ("probability-flow", 3.0, 3.0),
        ("group-step", 2.0, 4.0),
        ("ancestral", 2.0, 5.0),
        ("ddim", 1.5, 3.0),
    ];
    println!("| process | sampler | spread 1: error of the variance, % | spread .1 |");
    let mut wrong = Vec::new();
    for (name, config) in processes() {
        let process = process(config, "translations");
        // All steps of a table: its first level is the published one, a tenth of the narrow spread.
        let slack = if process.time().discrete { 2.0 } else { 1.0 };
        for (sampler, wide, narrow) in samplers {
            let found = variance_error(process.as_ref(), &json!({"type": sampler}));
            println!("| {name} | {sampler} | {:+.2} | {:+.2} |", found[0], found[1]);
            if !(found[0].abs() < wide && found[1].abs() < slack * narrow) {
                wrong.push(format!("{sampler} on {name}: {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A schedule that leaves nothing of the data has an infinite rate at the prior: every sampler
/// starts there all the same, on every grid.
#[test]
fn a_prior_that_has_forgotten_the_data_is_no_obstacle() {
    for kind in ["vp", "sub-vp"] {
        let config = json!({"type": kind, "schedule": {"type": "cosine"}, "steps": null});
        let process = process(config, "translations");
        for grid in ["uniform", "quadratic", "log-snr", "karras", "auto"] {
            for sampler in ["heun-sde", "probability-flow", "group-step", "ancestral", "ddim"] {
                for steps in [1, 5, 60] {
                    let json = json!({"type": sampler, "grid": grid, "steps": steps});
                    let found = variance_error(process.as_ref(), &json);
                    assert!(
                        found.iter().all(|error| error.is_finite()),
                        "{kind} {json}: {found:?}"
                    );
                    let bounded = steps < 60 || found[0].abs() < 60.0 && found[1].abs() < 400.0;
                    assert!(bounded, "{kind} {json}: {found:?}");
                }
            }
        }
    }
}
