//! Samplers on SE(2) with an exact score: their orders, and equivariance of whole runs. What is printed:
//! `cargo test --release --workspace --test moved_digits order -- --nocapture`.

use crate::oracle::Oracle;
use crate::{F64, FRAMES, at, columns, process, same_motion, worst};
use isotropy_core::Group;
use isotropy_core::Representation;
use isotropy_core::sampler::unobserved;
use isotropy_core::{
    Element, FreshNoise, NoisingProcess, RecordingNoise, SamplerConfig, ScoreModel, State, Streams,
};
use isotropy_groups::group::Se2;
use isotropy_images::action::image_motion::{ImageMotion, MotionFrame};
use isotropy_images::action::motion::Motion;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

const CENTRE: (f64, [f64; 2]) = (0.4, [2.0, -1.0]);
const SPREAD: [f64; 2] = [0.3, 0.6];

fn run(
    sampler: Value,
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    start: State,
) -> State {
    let config: Box<dyn SamplerConfig> = serde_json::from_value(sampler).unwrap();
    let mut noise = FreshNoise::new(&Streams::new(8), "noise");
    let sampler = config.build().unwrap();
    sampler.run(process, model, start, &mut noise, &mut unobserved).unwrap().state
}

/// Starts with the exact law of the noised data.
fn start(oracle: &Oracle, process: &dyn NoisingProcess, batch: i64) -> State {
    let mut stream = Streams::new(9).stream("start", 0);
    let [a, s] = oracle.variance(process.time().prior).map(f64::sqrt);
    let angle = &oracle.centre.angle + stream.normal(&[batch, 1], F64) * a;
    let straight = oracle.drive.straight(&oracle.centre) + stream.normal(&[batch, 2], F64) * s;
    at(oracle.drive.from_straight(angle, &straight))
}

fn oracle(process: &dyn NoisingProcess, frame: MotionFrame, batch: i64) -> Oracle {
    Oracle::new(process, frame, same_motion(batch, CENTRE.0, CENTRE.1), SPREAD)
}

/// The probability flow keeps the standard score: where each point ends.
fn exact_end(oracle: &Oracle, process: &dyn NoisingProcess, start: &State) -> Tensor {
    let (_, turn, shift) = oracle.off(start);
    let (first, last) =
        (oracle.variance(process.time().prior), oracle.variance(process.time().start));
    let [a, s] = [0, 1].map(|k: usize| (last[k] / first[k]).sqrt());
    let straight = oracle.drive.straight(&oracle.centre) + shift * s;
    columns(&oracle.drive.from_straight(&oracle.centre.angle + turn * a, &straight))
}

#[test]
fn the_order_of_the_probability_flow() {
    println!("| rule | frame | error, 40 steps | 80 | 160 | order |");
    let mut wrong = Vec::new();
    for frame in FRAMES {
        let process = process(frame);
        let oracle = oracle(process.as_ref(), frame, 20);
        let start = start(&oracle, process.as_ref(), 20);
        let exact = exact_end(&oracle, process.as_ref(), &start);
        // Two factors are no algebra for the rules: without brackets they are of order 2 at most.
        for (method, order) in [("euler", 1.0), ("heun", 2.0), ("rk4", 2.0)] {
            let error = |steps: u32| {
                let sampler = json!({
                    "type": "probability-flow", "method": method, "steps": steps,
                    "last_step": "ordinary"
                });
                let end = run(sampler, process.as_ref(), &oracle, start.clone());
                worst(&columns(&ImageMotion::lifted(&end).0), &exact)
            };
            let (coarse, middle, fine) = (error(40), error(80), error(160));
            let found = (middle / fine).log2();
            println!(
                "| {method} | {frame:?} | {coarse:.1e} | {middle:.1e} | {fine:.1e} | {found:.2} |"
            );
            if (found - order).abs() > 0.35 {
                wrong.push(format!("{method}, {frame:?}: order {found}, not {order}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Errors of mean and variance of the ends in the straight coordinates, over the exact standard
/// deviation and variance: the largest of them.
fn weak_error(sampler: Value, frame: MotionFrame, batch: i64) -> f64 {
    let process = process(frame);
    let oracle = oracle(process.as_ref(), frame, batch);
    let start = start(&oracle, process.as_ref(), batch);
    let end = run(sampler, process.as_ref(), &oracle, start);
    let (_, turn, shift) = oracle.off(&end);
    let exact = oracle.variance(process.time().start);
    let scale = Tensor::from_slice(&[exact[0], exact[1], exact[1]]).sqrt();
    let z = Tensor::cat(&[turn, shift], 1) / scale;
    let mean = z.mean_dim([0i64].as_slice(), false, Kind::Double);
    let variance = z.square().mean_dim([0i64].as_slice(), false, Kind::Double);
    worst(&mean, &Tensor::from(0.0)).max(worst(&variance, &Tensor::from(1.0)))
}

#[test]
fn the_weak_order_of_the_samplers_of_the_sde() {
    println!("| sampler | frame | weak error, 16 steps | 32 | 64 | order |");
    let mut wrong = Vec::new();
    for frame in FRAMES {
        for name in ["group-step", "ancestral"] {
            let error = |steps: u32| {
                let sampler = json!({"type": name, "steps": steps, "last_step": "noise"});
                weak_error(sampler, frame, 200_000)
            };
            let (coarse, middle, fine) = (error(16), error(32), error(64));
            let found = (coarse / fine).log2() / 2.0;
            println!(
                "| {name} | {frame:?} | {coarse:.1e} | {middle:.1e} | {fine:.1e} | {found:.2} |"
            );
            if (found - 1.0).abs() > 0.35 {
                wrong.push(format!("{name}, {frame:?}: weak order {found}, not 1"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The posterior of a step is exact for data that are one point, and so is the last step.
#[test]
fn one_point_is_found_by_any_number_of_steps() {
    for frame in FRAMES {
        let process = process(frame);
        let centre = same_motion(10, CENTRE.0, CENTRE.1);
        let oracle = Oracle::new(process.as_ref(), frame, centre.clone(), [0.0, 0.0]);
        for steps in [1, 3] {
            let start = start(&oracle, process.as_ref(), 10);
            let end =
                run(json!({"type": "ancestral", "steps": steps}), process.as_ref(), &oracle, start);
            let found = columns(&ImageMotion::lifted(&end).0);
            assert!(worst(&found, &columns(&centre)) < 1e-10, "{frame:?}");
        }
    }
}

/// In the body frame noise, drift and posterior know nothing of the canvas: a run that starts at a moved
/// point with the same noise, on data that are moved alike, ends moved alike.
#[test]
fn runs_in_the_body_frame_move_with_the_canvas() {
    let process = process(MotionFrame::Body);
    let symmetry = ImageMotion::new(MotionFrame::Body);
    let h: Element = {
        let mut stream = Streams::new(10).stream("h", 0);
        Se2.sample(&[vec![1, 3]], F64, &mut stream)
    };
    let h = Element(vec![h.single().expand([12, 3, 3], false).contiguous()]);
    let here = oracle(process.as_ref(), MotionFrame::Body, 12);
    let moved = Oracle::new(
        process.as_ref(),
        MotionFrame::Body,
        Motion::of(&h).after(&here.centre),
        SPREAD,
    );
    for name in ["group-step", "ancestral", "heun-sde"] {
        let json = json!({"type": name, "steps": 12});
        let config: Box<dyn SamplerConfig> = serde_json::from_value(json).unwrap();
        let sampler = config.build().unwrap();
        let start = start(&here, process.as_ref(), 12);
        let mut noise = RecordingNoise::new(FreshNoise::new(&Streams::new(11), "noise"));
        let end = sampler
            .run(process.as_ref(), &here, start.clone(), &mut noise, &mut unobserved)
            .unwrap();
        let mut noise = noise.transported(&symmetry, &h);
        let there = sampler
            .run(
                process.as_ref(),
                &moved,
                symmetry.act(&h, &start).unwrap(),
                &mut noise,
                &mut unobserved,
            )
            .unwrap();
        let expected = symmetry.act(&h, &end.state).unwrap();
        let motion = |state: &State| columns(&ImageMotion::lifted(state).0);
        assert!(worst(&motion(&there.state), &motion(&expected)) < 1e-10, "{name}");
    }
}
