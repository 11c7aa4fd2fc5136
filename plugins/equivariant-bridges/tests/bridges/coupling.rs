//! Noise that moves with the input: whole runs are equivariant.

use super::{F32, GROUPS, distance, images, model, number, pixels, process, sampler};
use isotropy_conformance::Status;
use isotropy_conformance::coupled::check_coupled_noise;
use isotropy_core::{
    Element, Field, FreshNoise, Moves, Noise, NoisingProcess, Representation, ScoreModel, State,
    Streams, sampler::unobserved,
};
use isotropy_diffusion::coupled_noise::CoupledNoise;
use isotropy_diffusion::coupled_noise::canonical;
use isotropy_equivariant_bridges::process::END;
use serde_json::json;
use tch::{Device, Kind, Tensor, nn::VarStore};

fn element(symmetry: &dyn Representation, k: i64, batch: i64) -> Element {
    assert!(symmetry.group().finite().unwrap().order() > k);
    Tensor::full([batch], k, (Kind::Int64, Device::Cpu)).into()
}

fn order(symmetry: &dyn Representation) -> i64 {
    symmetry.group().finite().unwrap().order()
}

#[test]
fn the_canonical_element_moves_with_the_input() {
    let state = images(40, 4).to(Kind::Float, Device::Cpu);
    for group in GROUPS {
        let symmetry = pixels(group);
        let c = canonical(symmetry.as_ref(), &state).unwrap();
        assert_eq!(number(&c.ties.max()), 1.0, "{group}");
        // All elements come up.
        let kinds = c.element.single().unique_dim(0, true, false, false).0.size()[0];
        assert_eq!(kinds, order(symmetry.as_ref()), "{group}");
        for k in 0..order(symmetry.as_ref()) {
            let h = element(symmetry.as_ref(), k, 40);
            let moved = symmetry.act(&h, &state).unwrap();
            let there = canonical(symmetry.as_ref(), &moved).unwrap().element;
            let expected = symmetry.group().compose(&h, &c.element);
            assert_eq!(distance(there.single(), expected.single()), 0.0, "{group} {k}");
        }
    }
}

/// Images that are symmetric themselves have as many canonical elements as their stabiliser has.
#[test]
fn ties_are_counted() {
    let turned = |symmetric: &dyn Fn(&Tensor) -> Tensor, group: &str| {
        let state = images(5, 4);
        let end = symmetric(&state.given(END).unwrap().tensor);
        let state = state.with_context(END, Field::new(end, Moves::Image));
        let ties = canonical(pixels(group).as_ref(), &state).unwrap().ties;
        assert_eq!(number(&ties.min()), number(&ties.max()));
        number(&ties.max())
    };
    let blank = |x: &Tensor| x.zeros_like();
    assert_eq!(turned(&blank, "square"), 8.0);
    let mirrored = |x: &Tensor| x + x.flip([-1]);
    assert_eq!(turned(&mirrored, "horizontal-flip"), 2.0);
    assert_eq!(turned(&mirrored, "vertical-flip"), 1.0);
    assert_eq!(turned(&mirrored, "square"), 2.0);
    let half = |x: &Tensor| x + x.rot90(2, [-2, -1]);
    assert_eq!(turned(&half, "quarter-turns"), 2.0);
}

/// Weights far larger than at the start, so that the network answers with numbers of size 1.
fn loud(store: &VarStore) {
    tch::no_grad(|| {
        for mut weight in store.trainable_variables() {
            let _ = weight.f_mul_scalar_(6.0).unwrap();
        }
    });
}

fn network(
    group: &str,
    process: &dyn NoisingProcess,
    state: &State,
) -> (VarStore, Box<dyn ScoreModel>) {
    let json = json!({
        "type": "group-averaged",
        "symmetry": {"type": "image-permutation", "group": group},
        "inner": {
            "type": "bridge-preconditioned",
            "inner": {"type": "mlp", "hidden": [32], "inputs": ["x", "end", "time"], "predicts": "clean"}
        }
    });
    let built = model(&json, process, None, &state.spec(), Kind::Float);
    loud(&built.0);
    built
}

/// The published test: 5 steps with churn 0.33, results clamped to [-1, 1], in single precision. With
/// coupled noise whole runs agree to 1e-5 under every element; with equal seeds alone they differ as
/// two unrelated images do.
#[test]
fn coupled_runs_are_equivariant_and_runs_of_equal_seeds_are_not() {
    println!("| bridge | group | coupled | equal seeds |");
    for bridge in [json!({"type": "ve-bridge"}), json!({"type": "vp-bridge"})] {
        let process = process(&bridge);
        for group in GROUPS {
            let symmetry = pixels(group);
            let state = images(6, 8).to(F32.0, F32.1);
            let (_store, network) = network(group, process.as_ref(), &state);
            let heun = json!({"type": "bridge-heun", "steps": 5, "clamp": [-1.0, 1.0]});
            let heun = sampler(&heun).unwrap();
            let end = |start: &State, coupled: bool| {
                let start = process.prior(start, &mut Streams::new(0).stream("prior", 0)).unwrap();
                let fresh = FreshNoise::new(&Streams::new(9), "noise");
                let mut noise: Box<dyn Noise> = if coupled {
                    Box::new(CoupledNoise::new(fresh, symmetry.as_ref(), &start).unwrap())
                } else {
                    Box::new(fresh)
                };
                let run = heun.run(
                    process.as_ref(),
                    network.as_ref(),
                    start,
                    noise.as_mut(),
                    &mut unobserved,
                );
                let run = run.unwrap();
                assert_eq!(run.evaluations, 14);
                run.state
            };
            let mut errors = [0.0_f64; 2];
            for k in 1..order(symmetry.as_ref()) {
                let h = element(symmetry.as_ref(), k, 6);
                let moved = symmetry.act(&h, &state).unwrap();
                for (error, coupled) in errors.iter_mut().zip([true, false]) {
                    let expected = symmetry.act(&h, &end(&state, coupled)).unwrap();
                    *error = error.max(distance(end(&moved, coupled).x(), expected.x()));
                }
            }
            println!("| {bridge} | {group} | {:.1e} | {:.2} |", errors[0], errors[1]);
            assert!(errors[0] <= 1e-5, "{bridge} {group}: {}", errors[0]);
            assert!(errors[1] > 1.0, "{bridge} {group}: {}", errors[1]);
        }
    }
}

/// The same as a check of the suite, and for a process without context: the start is the input.
#[test]
fn the_check_of_coupled_noise_passes_coupled_and_fails_fresh_noise() {
    let bridge = process(&json!({"type": "ve-bridge", "sigma_max": 3.0}));
    let pairs = images(6, 4);
    let oracle = super::oracle(bridge.as_ref(), &pairs);
    let start = bridge.prior(&pairs, &mut Streams::new(0).stream("prior", 0)).unwrap();
    let heun = sampler(&json!({"type": "bridge-heun", "steps": 6})).unwrap();

    let ordinary = process(&json!({"type": "vp", "schedule": {"type": "cosine"}, "steps": 20}));
    let plain = State::new(pairs.value.clone());
    let gaussian = json!({"type": "gaussian-tau-oracle", "mean": [0.0], "std": [0.5]});
    let (_store, gaussian) = model(&gaussian, ordinary.as_ref(), None, &plain.spec(), Kind::Double);
    let ancestral = sampler(&json!({"type": "ancestral"})).unwrap();

    let symmetry = pixels("square");
    for (process, model, sampler, start) in [
        (bridge.as_ref(), oracle.as_ref(), heun.as_ref(), &start),
        (ordinary.as_ref(), gaussian.as_ref(), ancestral.as_ref(), &plain),
    ] {
        let fresh = || FreshNoise::new(&Streams::new(7), "check noise");
        let coupled =
            check_coupled_noise(sampler, (process, model), start, symmetry.as_ref(), &|start| {
                Ok(Box::new(CoupledNoise::new(fresh(), symmetry.as_ref(), start)?))
            });
        assert_eq!(coupled.status, Status::Pass, "{}: {}", process.name(), coupled.why);
        assert_eq!(coupled.check, "a whole run moves with its input");
        let alone =
            check_coupled_noise(sampler, (process, model), start, symmetry.as_ref(), &|_| {
                Ok(Box::new(fresh()))
            });
        assert_eq!(alone.status, Status::Fail, "{}", process.name());
    }
}

/// Coupling moves noise by isometries: its law stays.
#[test]
fn coupled_noise_is_white() {
    let process = process(&json!({"type": "vp-bridge"}));
    let state = images(3000, 3);
    let symmetry = pixels("square");
    let fresh = FreshNoise::new(&Streams::new(1), "noise");
    let mut noise = CoupledNoise::new(fresh, symmetry.as_ref(), &state).unwrap();
    let like = state.x().shallow_clone().into();
    let z = noise.unit(0, &state, &like, process.as_ref()).unwrap();
    let rows = z.single().view([3000, 9]);
    let covariance = rows.tr().matmul(&rows) / 3000.0;
    let off = distance(&covariance, &Tensor::eye(9, super::F64));
    assert!(off < 0.1, "{off}");
    assert!(number(&rows.mean(Kind::Double)).abs() < 0.02);
    // It does not depend on the input, either: sums of products with it vanish.
    let with_input = number(&(z.single() * &state.given(END).unwrap().tensor).mean(Kind::Double));
    assert!(with_input.abs() < 0.03, "{with_input}");
}
