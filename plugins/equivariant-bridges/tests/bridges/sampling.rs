//! The hybrid sampler: its order, its law, guidance, clamping, what it refuses.

use super::{distance, images, model, normal, number, oracle, process, refusal, run, sampler};
use isotropy_core::{
    FreshNoise, NoisingProcess, Prediction, PredictionKind, Result, Scale, ScoreModel, State,
    Streams,
};
use serde_json::{Value, json};
use std::sync::Mutex;
use tch::{Kind, Tensor};

/// `(a, b, sqrt(c))`.
fn coefficients(process: &dyn NoisingProcess, t: f64) -> (f64, f64, f64) {
    let kernel = process.kernel().unwrap().scales(t);
    match (&kernel.shift.as_ref().unwrap()[0], &kernel.mean[0], &kernel.std[0]) {
        (Scale::Same(a), Scale::Same(b), Scale::Same(std)) => (*a, *b, *std),
        _ => panic!("one time"),
    }
}

/// Mean and standard deviation of `x_t` given the other end, for `x_0 ~ N(0.1 + 0.2 x_T, 0.3^2)`.
fn law(process: &dyn NoisingProcess, end: &Tensor, t: f64) -> (Tensor, f64) {
    let (a, b, std) = coefficients(process, t);
    (end * a + (end * 0.2 + 0.1) * b, (b * 0.3).hypot(std))
}

/// The probability flow keeps the standard score of a Gaussian marginal, so the point at the smallest
/// time is known. Runs start well before the other end and off the mean, where nothing is special.
#[test]
fn heuns_rule_is_of_second_order_without_churn() {
    println!("| bridge, grid | error, 20 steps | 40 | 80 | order |");
    for bridge in [
        json!({"type": "ve-bridge", "sigma_min": 0.05, "sigma_max": 2.0, "margin": 0.4}),
        json!({"type": "vp-bridge", "start": 0.05, "margin": 0.2}),
        json!({"type": "brownian-bridge", "steps": null, "margin": 0.2}),
    ] {
        let process = process(&bridge);
        let like = images(3, 2);
        let end = &like.given("end").unwrap().tensor;
        let (mean, std) = law(process.as_ref(), end, process.time().prior);
        let score = normal(&[3, 1, 2, 2], "score");
        let start = like.with_value(mean + &score * std);
        let (mean, std) = law(process.as_ref(), end, process.time().start);
        let exact = mean + score * std;
        let oracle = oracle(process.as_ref(), &like);
        for grid in ["karras", "uniform"] {
            let error = |steps: u32| {
                let json =
                    json!({"type": "bridge-heun", "steps": steps, "churn": 0.0, "grid": grid});
                let reached = Mutex::new(None);
                let mut noise = FreshNoise::new(&Streams::new(0), "none");
                let mut observer = |index: usize, count: usize, state: &State| {
                    if index + 2 == count {
                        *reached.lock().unwrap() = Some(state.x().shallow_clone());
                    }
                    Ok(())
                };
                sampler(&json)
                    .unwrap()
                    .run(
                        process.as_ref(),
                        oracle.as_ref(),
                        start.clone(),
                        &mut noise,
                        &mut observer,
                    )
                    .unwrap();
                distance(&reached.into_inner().unwrap().unwrap(), &exact)
            };
            let errors = [20, 40, 80].map(error);
            let order = (errors[1] / errors[2]).log2();
            println!(
                "| {bridge}, {grid} | {:.1e} | {:.1e} | {:.1e} | {order:.2} |",
                errors[0], errors[1], errors[2]
            );
            assert!((order - 2.0).abs() < 0.25, "{bridge} {grid}: order {order}, {errors:?}");
        }
    }
}

/// A run with churn from the other end has the law of the clean end.
#[test]
fn samples_have_the_law_of_the_clean_end() {
    for bridge in [
        json!({"type": "ve-bridge"}),
        json!({"type": "vp-bridge"}),
        json!({"type": "brownian-bridge", "steps": null}),
        json!({"type": "brownian-bridge", "steps": 1000}),
    ] {
        let process = process(&bridge);
        let like = images(4000, 2);
        let oracle = oracle(process.as_ref(), &like);
        let discrete = process.time().discrete;
        let chosen = if discrete {
            json!({"type": "ancestral", "steps": null})
        } else {
            json!({"type": "bridge-heun", "steps": 60})
        };
        let start = process.prior(&like, &mut Streams::new(0).stream("prior", 0)).unwrap();
        let sampled = run(&chosen, process.as_ref(), oracle.as_ref(), start).unwrap();
        let expected = &like.given("end").unwrap().tensor * 0.2 + 0.1;
        let residual = sampled.state.x() - expected;
        let (mean, std) = (number(&residual.mean(Kind::Double)), number(&residual.std(true)));
        println!("{bridge}: {mean:.4} {std:.4}");
        // 16,000 numbers: 0.0024 and 0.6 % of the standard deviation.
        assert!(mean.abs() < 0.01, "{bridge}: mean {mean}");
        assert!((std / 0.3 - 1.0).abs() < 0.06, "{bridge}: standard deviation {std}");
        let evaluations = if discrete { 1000 } else { 3 * 60 - 1 };
        assert_eq!(sampled.evaluations, evaluations);
    }
}

/// Other samplers drive bridges, too: they ask for drift, score, h-term and posterior alone.
#[test]
fn samplers_of_other_plugins_drive_bridges() {
    for bridge in [json!({"type": "ve-bridge", "sigma_max": 2.0}), json!({"type": "vp-bridge"})] {
        let process = process(&bridge);
        let like = images(4000, 2);
        let oracle = oracle(process.as_ref(), &like);
        let expected = &like.given("end").unwrap().tensor * 0.2 + 0.1;
        let start = process.prior(&like, &mut Streams::new(0).stream("prior", 0)).unwrap();
        for (chosen, allowed) in [
            (json!({"type": "ancestral", "steps": 300, "grid": "karras"}), 0.06),
            (json!({"type": "ddim", "eta": 0.7, "steps": 300, "grid": "karras"}), 0.06),
            (json!({"type": "group-step", "steps": 300, "grid": "karras"}), 0.06),
            (json!({"type": "heun-sde", "steps": 150, "grid": "karras"}), 0.06),
        ] {
            let sampled = run(&chosen, process.as_ref(), oracle.as_ref(), start.clone()).unwrap();
            let residual = sampled.state.x() - &expected;
            let (mean, std) = (number(&residual.mean(Kind::Double)), number(&residual.std(true)));
            println!("{bridge} {chosen}: {mean:.4} {std:.4}");
            assert!(mean.abs() < 0.01, "{bridge} {chosen}: mean {mean}");
            assert!((std / 0.3 - 1.0).abs() < allowed, "{bridge} {chosen}: {std}");
        }
    }
}

/// Without churn no noise enters: the result is the mean curve, not a sample.
#[test]
fn without_churn_samples_are_means() {
    let process = process(&json!({"type": "ve-bridge"}));
    let like = images(8, 2);
    let oracle = oracle(process.as_ref(), &like);
    let chosen = json!({"type": "bridge-heun", "churn": 0.0});
    let start = process.prior(&like, &mut Streams::new(0).stream("prior", 0)).unwrap();
    let sampled = run(&chosen, process.as_ref(), oracle.as_ref(), start).unwrap();
    let expected = &like.given("end").unwrap().tensor * 0.2 + 0.1;
    // At the other end the flow has a boundary layer like the root of time, which the first step
    // misses; noise of 0.3 would show.
    let error = distance(sampled.state.x(), &expected);
    println!("off the mean by {error:.1e}");
    assert!(error < 0.01, "{error}");
    assert_eq!(sampled.evaluations, 79);
}

/// One Euler step of each kind by hand, for guidance away from 1.
#[test]
fn guidance_multiplies_the_h_term_or_does_what_the_released_ve_code_does() {
    let (w, steps) = (0.5, 1);
    let like = images(3, 2);
    let end = &like.given("end").unwrap().tensor;
    let clean = |x: &Tensor| x * 0.3;
    struct Third;
    impl ScoreModel for Third {
        fn predicts(&self) -> PredictionKind {
            PredictionKind::Clean
        }
        fn predict(&self, state: &State, _: &Tensor, _: bool) -> Result<Prediction> {
            Ok(Prediction::one(PredictionKind::Clean, state.x() * 0.3))
        }
    }
    let process = process(&json!({"type": "ve-bridge", "sigma_max": 2.0, "margin": 0.5}));
    let t = 1.5;
    for (meaning, churn) in
        [("h-term", 0.0), ("published-ve", 0.0), ("h-term", 0.5), ("published-ve", 0.5)]
    {
        let json = json!({
            "type": "bridge-heun", "steps": steps, "churn": churn, "guidance": w,
            "guidance_meaning": meaning, "last_step": "euler"
        });
        // Starts off the other end, where the h-term is not zero.
        let noise = Tensor::zeros([1], super::F64);
        let mut noise = Quiet(noise);
        let found = sampler(&json)
            .unwrap()
            .run(
                process.as_ref(),
                &Third,
                like.clone(),
                &mut noise,
                &mut isotropy_core::sampler::unobserved,
            )
            .unwrap();
        let u = |x: &Tensor, t: f64| (clean(x) - x) / (t * t);
        let h = |x: &Tensor, t: f64| (end - x) / (4.0 - t * t);
        let mut x = like.x().copy();
        let mut from = t;
        if churn > 0.0 {
            let length = churn * t;
            let weight = if meaning == "h-term" { w } else { 1.0 };
            // dx = -2t (s - w h) dt with s = u + h.
            let rate = (u(&x, t) + h(&x, t) * (1.0 - weight)) * (2.0 * t);
            x += rate * length;
            from -= length;
        }
        let rate = if meaning == "h-term" {
            // dx = -2t (s/2 - w h) dt.
            ((u(&x, from) + h(&x, from)) * 0.5 - h(&x, from) * w) * (2.0 * from)
        } else {
            // dx = -t (u - w h) dt.
            (u(&x, from) - h(&x, from) * w) * from
        };
        let expected = x + rate * from;
        let error = distance(found.state.x(), &expected);
        assert!(error < 1e-12, "{meaning}, churn {churn}: {error}");
    }
}

/// Noise that is none.
struct Quiet(Tensor);

impl isotropy_core::Noise for Quiet {
    fn draw(
        &mut self,
        _: u64,
        _: &State,
        like: &isotropy_core::Xi,
        _: &[isotropy_core::NoiseOperator],
        _: &dyn isotropy_core::Drive,
    ) -> Result<isotropy_core::Xi> {
        Ok(like.map(|a| a.zeros_like() + &self.0))
    }
}

#[test]
fn estimates_and_results_are_clamped_on_request() {
    let process = process(&json!({"type": "vp-bridge"}));
    let like = images(16, 2);
    let wide = json!({"type": "gaussian-bridge-oracle", "mean": [0.0], "std": [5.0]});
    let (_store, wide) = model(&wide, process.as_ref(), None, &like.spec(), Kind::Double);
    let start = process.prior(&like, &mut Streams::new(0).stream("prior", 0)).unwrap();
    let largest = |clamp: Value| {
        let json = json!({"type": "bridge-heun", "steps": 20, "clamp": clamp});
        let sampled = run(&json, process.as_ref(), wide.as_ref(), start.clone()).unwrap();
        number(&sampled.state.x().abs().max())
    };
    assert!(largest(Value::Null) > 3.0);
    let clamped = largest(json!([-1.0, 1.0]));
    assert!(clamped <= 1.0 && clamped > 0.9, "{clamped}");
}

/// Euler's last step goes only half of the way for VP (spdm.md 1.5), the default all of it.
#[test]
fn the_last_step_takes_out_all_noise_by_default() {
    let process = process(&json!({"type": "vp-bridge", "start": 1e-3}));
    let like = images(2000, 2);
    let point = json!({"type": "gaussian-bridge-oracle", "mean": [0.5], "std": [0.0]});
    let (_store, point) = model(&point, process.as_ref(), None, &like.spec(), Kind::Double);
    let start = process.prior(&like, &mut Streams::new(0).stream("prior", 0)).unwrap();
    let left = |last: &str| {
        let json = json!({"type": "bridge-heun", "steps": 10, "last_step": last});
        let sampled = run(&json, process.as_ref(), point.as_ref(), start.clone()).unwrap();
        number(&(sampled.state.x() - 0.5).square().mean(Kind::Double).sqrt())
    };
    assert!(left("clean") < 1e-12);
    assert!(left("euler") > 1e-4, "{}", left("euler"));
}

#[test]
fn what_it_cannot_integrate_is_refused_before_the_first_evaluation() {
    let like = images(2, 2);
    let heun = json!({"type": "bridge-heun"});
    let discrete = process(&json!({"type": "brownian-bridge"}));
    let oracle_discrete = oracle(discrete.as_ref(), &like);
    let why = refusal(run(&heun, discrete.as_ref(), oracle_discrete.as_ref(), like.clone()));
    assert!(why.contains("continuous") && why.contains("ancestral"), "{why}");
    let ordinary =
        process(&json!({"type": "ve", "schedule": {"type": "ve-linear", "sigma_max": 2.0}}));
    let gaussian = json!({"type": "gaussian-tau-oracle", "mean": [0.0], "std": [1.0]});
    let (_store, gaussian) = model(&gaussian, ordinary.as_ref(), None, &like.spec(), Kind::Double);
    let why = refusal(run(&heun, ordinary.as_ref(), gaussian.as_ref(), like));
    assert!(why.contains("needs a bridge"), "{why}");
    for (json, word) in [
        (json!({"type": "bridge-heun", "steps": 0}), "/steps"),
        (json!({"type": "bridge-heun", "churn": 1.0}), "/churn"),
        (json!({"type": "bridge-heun", "rho": 0.0}), "/rho"),
        (json!({"type": "bridge-heun", "clamp": [1.0, -1.0]}), "/clamp"),
    ] {
        let error = sampler(&json).map(|_| ()).unwrap_err();
        assert!(format!("{error:?}").contains(word), "{json}: {error:?}");
    }
}
