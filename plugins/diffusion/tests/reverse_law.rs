//! Samplers with an exact score against the law of the data: a permutation test of the energy
//! distance (Szekely and Rizzo 2013) at the level of 1 %, with fixed seeds.

#![allow(clippy::unwrap_used)]

mod support;

use isotropy_core::{Aliasing, NoisingProcess, Streams};
use serde_json::{Value, json};
use support::{F64, at, model, normal, process, run};
use tch::{Kind, Tensor};

const POINTS: i64 = 500;
const PERMUTATIONS: i64 = 299;
const LEVEL: f64 = 0.01;

const MEANS: [[f64; 2]; 3] = [[0.8, 0.6], [-0.7, 0.9], [0.1, -1.2]];
const SDS: [[f64; 2]; 3] = [[0.3, 0.2], [0.25, 0.4], [0.35, 0.3]];
const WEIGHTS: [f64; 3] = [0.5, 0.3, 0.2];

/// The exact score of the branch that a point carries; where points carry none, the averages over
/// all.
fn oracle(process: &dyn NoisingProcess) -> Value {
    let aliasing = process.fields().coordinates().unwrap().aliasing();
    let predicts = if aliasing == Aliasing::Principal { "field" } else { "score" };
    json!({
        "type": "mixture-tau-oracle", "means": MEANS, "stds": SDS, "weights": WEIGHTS,
        "predicts": predicts
    })
}

/// Steps in x lose what points carry of their branch.
fn process_for(sampler: &Value, process: Value, on: &str) -> Box<dyn NoisingProcess> {
    if sampler["type"] == "euler-maruyama-x" {
        return support::process_on(process, json!({"type": on}));
    }
    support::process(process, on)
}

/// Points of the mixture in the coordinates, `[POINTS, 2]`.
fn mixture(name: &str) -> Tensor {
    let u = Streams::new(7).stream(name, 0).uniform(&[POINTS, 1], F64);
    let z = normal(&[POINTS, 2], name);
    let first = u.lt(WEIGHTS[0]);
    let second = u.lt(WEIGHTS[0] + WEIGHTS[1]);
    let pick = |rows: &[[f64; 2]; 3]| {
        let [a, b, c] = rows.map(|row| Tensor::from_slice(&row));
        a.where_self(&first, &b.where_self(&second, &c))
    };
    pick(&MEANS) + z * pick(&SDS)
}

/// The p-value of the hypothesis that both sets of points have one law.
fn p_value(x: &Tensor, y: &Tensor) -> f64 {
    let all = Tensor::cat(&[x, y], 0);
    let n = all.size()[0];
    let distances = (all.unsqueeze(0) - all.unsqueeze(1)).square().sum_dim_intlist(2, false, None);
    let distances = distances.sqrt();
    let signs = Tensor::cat(&[Tensor::ones([n / 2], F64), -Tensor::ones([n / 2], F64)], 0);
    let mut stream = Streams::new(3).stream("permutations", 0);
    let mut rows = vec![signs.shallow_clone()];
    for _ in 0..PERMUTATIONS {
        rows.push(signs.index_select(0, &stream.permutation(n)));
    }
    let signs = Tensor::stack(&rows, 0);
    // The energy distance up to a positive factor.
    let energy = -(signs.matmul(&distances) * &signs).sum_dim_intlist(1, false, None);
    let at_least = energy.ge_tensor(&energy.narrow(0, 0, 1)).sum(Kind::Int64).int64_value(&[]);
    at_least as f64 / (PERMUTATIONS + 1) as f64
}

fn samples(process: &dyn NoisingProcess, sampler: Value) -> Tensor {
    let model = model(oracle(process), process, 2);
    let template = at(process, &mixture("template"));
    let start = process.prior(&template, &mut Streams::new(5).stream("start", 0)).unwrap();
    run(sampler, process, model.as_ref(), start, 9).unwrap().state.x().shallow_clone()
}

#[test]
fn every_sampler_reproduces_the_law_of_the_data() {
    let vp = support::vp(20.0, 1e-3);
    let ve = json!({
        "type": "ve",
        "schedule": {"type": "ve-geometric", "sigma_min": 0.01, "sigma_max": 12.0}
    });
    let samplers = [
        json!({"type": "group-step", "steps": 250}),
        json!({"type": "geodesic-random-walk", "steps": 250}),
        json!({"type": "euler-maruyama-x", "steps": 400, "last_step": "clean"}),
        json!({"type": "ancestral", "steps": 250}),
        json!({"type": "ancestral", "steps": 80, "grid": "karras"}),
        json!({"type": "ddim", "steps": 100, "grid": "log-snr"}),
        json!({"type": "ddim", "steps": 100, "grid": "log-snr", "eta": 0.5}),
        json!({"type": "heun-sde", "steps": 80, "grid": "karras"}),
        json!({"type": "predictor-corrector", "steps": 150}),
        json!({"type": "predictor-corrector", "steps": 80, "grid": "karras", "predictor": "ancestral", "snr": 0.1}),
        json!({"type": "predictor-corrector", "steps": 40, "grid": "karras", "predictor": "heun-sde"}),
        json!({"type": "predictor-corrector", "steps": 40, "grid": "karras", "predictor": "probability-flow", "corrector_steps": 2}),
        json!({"type": "probability-flow", "steps": 40, "grid": "karras"}),
        json!({"type": "probability-flow", "steps": 40, "method": "rk4", "grid": "karras", "last_step": "ordinary"}),
        json!({"type": "probability-flow", "steps": 60, "grid": "quadratic", "last_step": "clean"}),
        json!({"type": "probability-flow", "method": "dormand-prince"}),
        json!({"type": "edm", "steps": 30}),
        json!({"type": "edm", "steps": 40, "s_churn": 20.0}),
    ];
    let mut wrong = Vec::new();
    for on in ["translations", "polar"] {
        let data_of =
            |process: &dyn NoisingProcess| at(process, &mixture("data")).x().shallow_clone();
        for sampler in &samplers {
            // Radii of an exploding process on a logarithm would leave the numbers.
            let exploding = sampler["type"] == "edm";
            let sigma = if exploding && on == "polar" { support::ve(8.0) } else { ve.clone() };
            let config = if exploding { sigma } else { vp.clone() };
            let process = process_for(sampler, config, on);
            let x = samples(process.as_ref(), sampler.clone());
            let p = p_value(&x, &data_of(process.as_ref()));
            println!("{on}: p = {p:.3} for {sampler}");
            if p <= LEVEL {
                wrong.push(format!("{on}: p = {p:.3} for {sampler}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The test has power: a small error of the law is seen.
#[test]
fn the_test_sees_a_law_that_is_a_little_off() {
    let process = process(support::vp(20.0, 1e-3), "translations");
    let data = at(process.as_ref(), &mixture("data")).x().shallow_clone();
    let same = at(process.as_ref(), &mixture("fresh")).x().shallow_clone();
    assert!(p_value(&same, &data) > LEVEL);
    assert!(p_value(&(&same + 0.15), &data) <= LEVEL, "a shift of a sixth of the spread");
    assert!(p_value(&(&same * 1.25), &data) <= LEVEL, "a quarter more spread");
    // A sampler that counts the divergence twice, as published.
    let polar = support::process_on(support::vp(20.0, 1e-3), json!({"type": "polar"}));
    let data = at(polar.as_ref(), &mixture("data")).x().shallow_clone();
    for (divergence, right) in [("none", true), ("algorithm-2", false)] {
        let sampler = json!({
            "type": "euler-maruyama-x", "steps": 400, "divergence": divergence, "last_step": "no-noise"
        });
        let p = p_value(&samples(polar.as_ref(), sampler), &data);
        assert_eq!(p > LEVEL, right, "{divergence}: p = {p}");
    }
}

/// Where points carry no branch, fields are reversed beyond a pole: the slopes of one step are those
/// of one branch all the same. (Added up as they are read they cancel, and points stick to the
/// pole: distribution functions of the azimuth then differ by .28.)
#[test]
fn rules_of_several_stages_pass_a_pole() {
    let process = support::process_on(support::vp(20.0, 1e-3), json!({"type": "spherical"}));
    let oracle = json!({
        "type": "mixture-tau-oracle", "means": [[0.8, 0.9, 0.6], [-0.7, 1.6, 0.9]],
        "stds": [[0.3, 0.15, 0.2], [0.25, 0.2, 0.4]], "weights": [0.5, 0.5], "predicts": "field"
    });
    let model = model(oracle, process.as_ref(), 3);
    let template = isotropy_core::State::new(isotropy_core::Field::new(
        Tensor::ones([200, 3], F64),
        isotropy_core::Moves::Point,
    ));
    let start = process.prior(&template, &mut Streams::new(5).stream("start", 0)).unwrap();
    let ends = |method: &str, steps: u32| {
        let sampler = json!({"type": "probability-flow", "method": method, "steps": steps});
        let run = run(sampler, process.as_ref(), model.as_ref(), start.clone(), 9);
        run.unwrap().state.x().shallow_clone()
    };
    // Euler's rule takes each slope where it is read, and needs many steps.
    let exact = ends("euler", 600);
    for method in ["heun", "rk4"] {
        let apart: Tensor = ends(method, 40) - &exact;
        let apart = apart.square().sum_dim_intlist(1, false, None).sqrt();
        let share = apart.gt(0.3).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        assert!(share < 0.05, "{method}: {share} of the points end elsewhere");
    }
}
