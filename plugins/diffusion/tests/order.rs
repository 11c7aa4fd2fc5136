//! The order of convergence of the samplers, measured with an exact score. The table of
//! `docs/src/plugins/diffusion.md` is what these tests print:
//! `cargo test --release -p isotropy-diffusion --test order -- --nocapture`.

#![allow(clippy::unwrap_used)]

mod support;

use isotropy_core::{NoisingProcess, Scale};
use serde_json::{Value, json};
use support::{at, model, moments, number, process, run, tau, vp};
use tch::{Kind, Tensor};

const MEAN: [f64; 2] = [0.5, -0.2];
const SD: [f64; 2] = [0.6, 0.4];

/// Away from time 0, where a uniform grid would have to resolve the root of time.
fn processes() -> Vec<(&'static str, Value)> {
    vec![("vp", vp(8.0, 0.05)), ("ve", support::ve(3.0))]
}

fn oracle() -> Value {
    json!({"type": "gaussian-tau-oracle", "mean": MEAN, "std": SD})
}

/// Mean and variance of the noised data at a time, per coordinate.
fn law(process: &dyn NoisingProcess, t: f64) -> (Tensor, Tensor) {
    let kernel = process.kernel().unwrap().scales(t);
    let (Scale::Same(mean), Scale::Same(std)) = (&kernel.mean[0], &kernel.std[0]) else {
        panic!("one time")
    };
    let variance = Tensor::from_slice(&SD).square() * (mean * mean) + std * std;
    (Tensor::from_slice(&MEAN) * *mean, variance)
}

/// Error of mean and variance at the end of a run whose start has the exact law.
fn weak_error(process: &dyn NoisingProcess, sampler: &Value, steps: i64) -> f64 {
    let mut sampler = sampler.clone();
    sampler["steps"] = json!(steps);
    let oracle = model(oracle(), process, 2);
    let prior = law(process, process.time().prior);
    let (found_mean, found_variance) = moments(process, oracle.as_ref(), &sampler, prior);
    let (mean, variance) = law(process, process.time().start);
    number(&((found_mean - mean).abs() + (found_variance - variance).abs()).max())
}

#[test]
fn samplers_of_the_sde_have_their_weak_orders() {
    println!("| sampler | process | weak error, 128 steps | 256 | 512 | order |");
    let noisy = |name: &str| json!({"type": name, "last_step": "noise"});
    let samplers = [
        ("group-step", noisy("group-step"), 1.0),
        ("geodesic-random-walk", noisy("geodesic-random-walk"), 1.0),
        ("euler-maruyama-x", noisy("euler-maruyama-x"), 1.0),
        ("ancestral", noisy("ancestral"), 1.0),
        ("ddim", noisy("ddim"), 1.0),
        ("ddim, eta 0.5", json!({"type": "ddim", "eta": 0.5, "last_step": "noise"}), 1.0),
        ("heun-sde", noisy("heun-sde"), 2.0),
        (
            "heun-sde, karras",
            json!({"type": "heun-sde", "last_step": "noise", "grid": "karras"}),
            2.0,
        ),
    ];
    let mut wrong = Vec::new();
    for (kind, config) in processes() {
        let process = process(config, "translations");
        for (name, sampler, order) in &samplers {
            let errors = [128, 256, 512].map(|steps| weak_error(process.as_ref(), sampler, steps));
            let found = (errors[1] / errors[2]).log2();
            println!(
                "| {name} | {kind} | {:.1e} | {:.1e} | {:.1e} | {found:.2} |",
                errors[0], errors[1], errors[2]
            );
            if (found - order).abs() > 0.3 {
                wrong.push(format!("{name} on {kind} has weak order {found}, not {order}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The probability flow keeps the standard score of a Gaussian marginal: the exact end of each
/// point.
fn exact_end(process: &dyn NoisingProcess, start: &Tensor) -> Tensor {
    let ((mean, variance), (mean_0, variance_0)) =
        (law(process, process.time().prior), law(process, process.time().start));
    (start - mean) / variance.sqrt() * variance_0.sqrt() + mean_0
}

fn starts() -> Tensor {
    Tensor::from_slice(&[1.0, 0.3, -0.4, 0.8, 0.2, -1.5]).view([3, 2])
}

/// Largest error over a few points, and the evaluations of the model.
fn strong_error(process: &dyn NoisingProcess, sampler: Value) -> (f64, usize) {
    let model = model(oracle(), process, 2);
    let sampled = run(sampler, process, model.as_ref(), at(process, &starts()), 0).unwrap();
    let error = tau(process, &sampled.state) - exact_end(process, &starts());
    (number(&error.abs().max()), sampled.evaluations)
}

#[test]
fn the_probability_flow_converges_with_the_order_of_its_rule() {
    println!("| rule | process, drive | error, 20 steps | 40 | 80 | order | evaluations a step |");
    let mut wrong = Vec::new();
    for (kind, config) in processes() {
        for on in ["translations", "polar"] {
            let process = process(config.clone(), on);
            for (method, order, each) in [("euler", 1.0, 1), ("heun", 2.0, 2), ("rk4", 4.0, 4)] {
                let solve = |steps: u32| {
                    let sampler = json!({
                        "type": "probability-flow", "method": method, "steps": steps,
                        "last_step": "ordinary"
                    });
                    strong_error(process.as_ref(), sampler)
                };
                let (coarse, middle, fine) = (solve(20), solve(40), solve(80));
                let found = (middle.0 / fine.0).log2();
                println!(
                    "| {method} | {kind}, {on} | {:.1e} | {:.1e} | {:.1e} | {found:.2} | {each} |",
                    coarse.0, middle.0, fine.0
                );
                assert_eq!(fine.1, 80 * each, "{method}: evaluations");
                if (found - order).abs() > 0.35 {
                    wrong.push(format!("{method} on {kind}, {on} has order {found}, not {order}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// No number of steps is better or worse than its neighbours: a grid that ends a rounding error
/// beside the end of the axis made every fourth number of steps lose the order of its last step.
#[test]
fn the_error_falls_smoothly_with_the_number_of_steps() {
    let counts: Vec<u32> = (15..=60).chain([99, 100, 101, 199, 200, 201]).collect();
    for (kind, config) in processes() {
        let process = process(config, "translations");
        for (method, order, each) in [("heun", 2, 2), ("rk4", 4, 4)] {
            let scaled: Vec<f64> = counts
                .iter()
                .map(|&steps| {
                    let (error, evaluations) = strong_error(
                        process.as_ref(),
                        json!({
                            "type": "probability-flow", "method": method, "steps": steps,
                            "last_step": "ordinary", "grid": "uniform"
                        }),
                    );
                    assert_eq!(evaluations, steps as usize * each, "{method}, {steps} steps");
                    // Rounding is all that is left below 1e-12.
                    (error + 1e-12) * f64::from(steps).powi(order)
                })
                .collect();
            for (k, pair) in scaled.windows(2).enumerate() {
                let jump = pair[1] / pair[0];
                let steps = counts[k + 1];
                assert!((0.6..1.6).contains(&jump), "{method} on {kind}: {jump} at {steps} steps");
            }
        }
        let noisy = json!({"type": "heun-sde", "last_step": "noise", "grid": "uniform"});
        let error =
            |steps: i64| weak_error(process.as_ref(), &noisy, steps) * (steps * steps) as f64;
        for steps in [24, 25, 26, 49, 50, 51, 99, 100, 101] {
            let jump = error(steps + 1) / error(steps);
            assert!((0.7..1.4).contains(&jump), "heun-sde on {kind}: {jump} after {steps} steps");
        }
    }
}

#[test]
fn the_error_of_dormand_prince_follows_its_tolerance() {
    println!("| process, drive | tolerance | error | evaluations |");
    for (kind, config) in processes() {
        for on in ["translations", "polar"] {
            let process = process(config.clone(), on);
            let solve = |tolerance: f64| {
                let sampler = json!({
                    "type": "probability-flow", "method": "dormand-prince",
                    "rtol": tolerance, "atol": tolerance
                });
                let (error, evaluations) = strong_error(process.as_ref(), sampler);
                println!("| {kind}, {on} | {tolerance:.0e} | {error:.1e} | {evaluations} |");
                assert!(error < 20.0 * tolerance, "{kind} {on}: error {error} at {tolerance}");
                (error, evaluations)
            };
            let (loose, middle, tight) = (solve(1e-4), solve(1e-6), solve(1e-8));
            let slope = (loose.0 / tight.0).log10() / 4.0;
            assert!((slope - 1.0).abs() < 0.35, "{kind} {on}: error ~ tolerance^{slope}");
            assert!(loose.1 < middle.1 && middle.1 < tight.1);
        }
    }
}

/// Heun in the noise level with a clean last step: measured against its own limit.
#[test]
fn edm_is_of_second_order() {
    let process = process(support::ve(3.0), "polar");
    let model = model(oracle(), process.as_ref(), 2);
    let solve = |steps: u32| {
        let sampler = json!({"type": "edm", "steps": steps});
        let start = at(process.as_ref(), &starts());
        let sampled = run(sampler, process.as_ref(), model.as_ref(), start, 0).unwrap();
        assert_eq!(sampled.evaluations, 2 * steps as usize - 1);
        tau(process.as_ref(), &sampled.state)
    };
    let limit = solve(1000);
    let error = |steps| number(&(solve(steps) - &limit).abs().max());
    let order = (error(20) / error(40)).log2();
    println!("edm: {:.1e}, {:.1e}: order {order:.2}", error(20), error(40));
    assert!((order - 2.0).abs() < 0.35, "{order}");
}

/// Near small noise levels a last step over a long stretch must not magnify errors: the default
/// ends with Euler's rule, and few steps on an exploding process stay near the data.
#[test]
fn a_long_last_step_does_not_magnify_errors() {
    let process = process(
        json!({"type": "ve", "schedule": {"type": "ve-linear", "sigma_max": 3.0}}),
        "translations",
    );
    let narrow = json!({"type": "gaussian-tau-oracle", "mean": [0.3], "std": [0.02]});
    let model = model(narrow, process.as_ref(), 2);
    let start = at(process.as_ref(), &starts());
    let sampler = json!({"type": "probability-flow", "method": "heun", "steps": 6});
    let sampled = run(sampler, process.as_ref(), model.as_ref(), start, 0).unwrap();
    let off = number(&(tau(process.as_ref(), &sampled.state) - 0.3).abs().max());
    assert!(off < 0.1, "{off}");
}

/// Methods that look within a step are refused where there is nothing.
#[test]
fn discrete_time_refuses_rules_that_evaluate_between_its_steps() {
    let discrete = json!({"type": "vp", "schedule": {"type": "cosine"}, "steps": 50});
    let process = process(discrete, "translations");
    let model = model(oracle(), process.as_ref(), 2);
    for sampler in [
        json!({"type": "probability-flow", "method": "rk4"}),
        json!({"type": "probability-flow", "method": "dormand-prince"}),
        json!({"type": "edm"}),
    ] {
        let start = at(process.as_ref(), &starts());
        let error = run(sampler, process.as_ref(), model.as_ref(), start, 0).unwrap_err();
        assert!(error.to_string().contains("discrete") || error.to_string().contains("continuous"));
    }
    // Grids round to steps that exist, each once.
    for grid in ["uniform", "quadratic", "log-snr", "karras"] {
        for steps in [1, 7, 49] {
            let sampler = json!({"type": "ancestral", "steps": steps, "grid": grid});
            let start = at(process.as_ref(), &starts());
            let sampled = run(sampler, process.as_ref(), model.as_ref(), start, 0).unwrap();
            assert_eq!(sampled.evaluations, steps);
            assert!(number(&sampled.state.x().isfinite().all().to_kind(Kind::Double)) == 1.0);
        }
    }
}
