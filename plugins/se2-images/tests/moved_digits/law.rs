//! The law of the noise: closed form against a simulated equation, and the score against its log-density.

use crate::{F64, FRAMES, at, columns, process, same_motion, worst};
use isotropy_core::{NoisingProcess, PredictionKind, Scale, State, Streams, Xi};
use isotropy_images::action::image_motion::{ImageMotion, MotionFrame};
use isotropy_images::action::motion::Motion;
use tch::{Kind, Tensor};

const BATCH: i64 = 40_000;
const START: (f64, [f64; 2]) = (0.7, [3.0, -2.0]);

fn std(process: &dyn NoisingProcess, t: f64) -> [f64; 2] {
    let kernel = process.kernel().unwrap().tensors(&Tensor::from_slice(&[t]).view([1, 1]));
    [0, 1].map(|k: usize| match &kernel.std[k] {
        Scale::Same(a) => *a,
        Scale::Each(a) => a.double_value(&[0, 0]),
    })
}

/// Moments of `(beta, p)` with `beta` the turn from the start: what tells the laws apart.
fn moments(state: &State) -> Tensor {
    let (motion, _) = ImageMotion::lifted(state);
    let beta = &motion.angle - START.0;
    let (x, y) = (motion.shift.narrow(1, 0, 1), motion.shift.narrow(1, 1, 1));
    let rows = [
        beta.shallow_clone(),
        x.shallow_clone(),
        y.shallow_clone(),
        beta.square(),
        x.square(),
        y.square(),
        &x * &y,
        &beta * &x,
        &beta * &y,
        beta.cos() * &x,
        beta.sin() * &x,
        beta.sin() * y,
    ];
    Tensor::cat(&rows, 1)
}

/// Mean and standard error of each moment.
fn mean(moments: &Tensor) -> (Tensor, Tensor) {
    let error = moments.std_dim([0i64].as_slice(), true, false) / (BATCH as f64).sqrt();
    (moments.mean_dim([0i64].as_slice(), false, Kind::Double), error)
}

/// Difference of two sets of moments in units of its standard error, at worst.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    let ((mean_a, error_a), (mean_b, error_b)) = (mean(a), mean(b));
    worst(&((mean_a - mean_b) / (error_a.square() + error_b.square()).sqrt()), &Tensor::from(0.0))
}

/// `dg = g o noise` or `noise o g` by 40 short steps of the flow.
fn simulated(process: &dyn NoisingProcess, t: f64) -> State {
    let mut stream = Streams::new(21).stream("simulated", 0);
    let [a, s] = std(process, t);
    let steps = 40;
    let root = f64::from(steps).sqrt();
    let mut state = at(same_motion(BATCH, START.0, START.1));
    for _ in 0..steps {
        let turn = stream.normal(&[BATCH, 1], F64) * (a / root);
        let shift = stream.normal(&[BATCH, 2], F64) * (s / root);
        state = process.fields().flow(&state, &Xi(vec![turn, shift]));
    }
    state
}

fn perturbed(process: &dyn NoisingProcess, t: f64) -> State {
    let mut stream = Streams::new(22).stream("perturbed", 0);
    let clean = at(same_motion(BATCH, START.0, START.1));
    let times = Tensor::full([BATCH], t, F64);
    process.perturb(&clean, &times, &mut stream).unwrap().noisy
}

#[test]
fn the_closed_form_is_the_law_of_the_simulated_noise() {
    let [body, space] = FRAMES.map(process);
    let t = 0.95;
    let found = |process: &dyn NoisingProcess| {
        (moments(&simulated(process, t)), moments(&perturbed(process, t)))
    };
    let (body, space) = (found(body.as_ref()), found(space.as_ref()));
    for (name, (simulated, closed)) in [("body", &body), ("space", &space)] {
        let sigmas = apart(simulated, closed);
        println!("{name}: simulated against closed form {sigmas:.1} standard errors");
        assert!(sigmas < 4.5, "{name}: {sigmas}");
    }
    // The moments do tell the two laws apart.
    assert!(apart(&body.0, &space.1) > 30.0);
}

/// Body: independent angle and shift, each normal about the start. Space: the shift is turned along, by
/// `E R(beta) = exp(-sigma^2 / 2)` on average.
#[test]
fn moments_are_those_of_the_product_and_of_the_turned_shift() {
    let t = 0.95;
    for frame in FRAMES {
        let process = process(frame);
        let [a, s] = std(process.as_ref(), t);
        let (x, y) = (START.1[0], START.1[1]);
        let (c1, c2) = ((-a * a / 2.0).exp(), (-2.0 * a * a).exp());
        // Means of cos^2, sin^2, and of beta sin(beta).
        let (cos2, sin2, slope) = ((1.0 + c2) / 2.0, (1.0 - c2) / 2.0, a * a * c1);
        let expected = match frame {
            MotionFrame::Body => {
                [0.0, x, y, a * a, x * x + s * s, y * y + s * s, x * y, 0.0, 0.0, c1 * x, 0.0, 0.0]
            }
            MotionFrame::Space => [
                0.0,
                c1 * x,
                c1 * y,
                a * a,
                cos2 * x * x + sin2 * y * y + s * s,
                sin2 * x * x + cos2 * y * y + s * s,
                // (cos x - sin y)(sin x + cos y), where sin cos has no mean.
                (cos2 - sin2) * x * y,
                -slope * y,
                slope * x,
                cos2 * x,
                -sin2 * y,
                sin2 * x,
            ],
        };
        for (name, state) in [
            ("simulated", simulated(process.as_ref(), t)),
            ("closed form", perturbed(process.as_ref(), t)),
        ] {
            let (found, error) = mean(&moments(&state));
            let sigmas =
                worst(&((found - Tensor::from_slice(&expected)) / error), &Tensor::from(0.0));
            assert!(sigmas < 4.5, "{frame:?} {name}: {sigmas}");
        }
    }
}

/// `d/de log k(flow(x, e xi)) = <score, xi>`, with the score that the noise of `perturb` stands for.
#[test]
fn the_noise_to_predict_is_the_score_of_the_kernel() {
    let mut stream = Streams::new(23).stream("score", 0);
    for frame in FRAMES {
        let (process, drive) = (process(frame), ImageMotion::new(frame));
        let start = same_motion(50, START.0, START.1);
        let t = 0.8;
        let [a, s] = std(process.as_ref(), t);
        let perturbed =
            process.perturb(&at(start.clone()), &Tensor::full([50], t, F64), &mut stream).unwrap();
        let log = |state: &State| {
            let (motion, _) = ImageMotion::lifted(state);
            let turn = (&motion.angle - &start.angle) / a;
            // Written with the shift: R(beta) p_0 is its centre in the space frame.
            let centre = match frame {
                MotionFrame::Body => start.shift.shallow_clone(),
                MotionFrame::Space => {
                    let beta = Motion {
                        angle: &motion.angle - &start.angle,
                        shift: start.shift.zeros_like(),
                    };
                    beta.after(&start).shift
                }
            };
            let shift = (&motion.shift - centre) / s;
            let all = Tensor::cat(&[turn, shift], 1);
            all.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double) * -0.5
        };
        let xi = Xi(vec![stream.normal(&[50, 1], F64), stream.normal(&[50, 2], F64)]);
        let e = 1e-5;
        let moved = |e: f64| log(&process.fields().flow(&perturbed.noisy, &xi.scale(e)));
        let slope = (moved(e) - moved(-e)) / (2.0 * e);
        let target = &perturbed.target(PredictionKind::Score).unwrap()[0];
        let product: Tensor =
            Tensor::cat(&[target.factor(0) * xi.factor(0), target.factor(1) * xi.factor(1)], 1);
        let product = product.sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
        assert!(worst(&slope, &product) < 1e-6, "{frame:?}");
        let fixed = drive.fixed_in();
        assert_eq!(fixed, frame);
    }
}

/// Two transitions of half the way have the law of one, and both have that of the kernel.
#[test]
fn transitions_compose() {
    let mut stream = Streams::new(24).stream("transition", 0);
    for frame in FRAMES {
        let process = process(frame);
        let (low, middle, high) = (0.5, 0.8, 0.95);
        let clean = at(same_motion(BATCH, START.0, START.1));
        let mut draw =
            || Xi(vec![stream.normal(&[BATCH, 1], F64), stream.normal(&[BATCH, 2], F64)]);
        let first = process.transition(&clean, low, middle, &draw()).unwrap();
        let twice = process.transition(&first, middle, high, &draw()).unwrap();
        let once = process.transition(&clean, low, high, &draw()).unwrap();
        let sigmas = apart(&moments(&twice), &moments(&once));
        assert!(sigmas < 4.5, "{frame:?}: {sigmas}");
        assert!(columns(&ImageMotion::lifted(&once).0).isfinite().all().int64_value(&[]) == 1);
    }
}
