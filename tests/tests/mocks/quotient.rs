//! Shapes: points of R^3 up to rotations and translations. The drive is T(3)^N, and `horizontal` takes
//! out what a symmetry makes invisible, so noise and predictions have the 3N - 6 degrees of freedom
//! of the quotient.
//!
//! Additive noise along the orbits would widen a shape, and horizontal noise does not: the process
//! of the quotient has a drift `g^2 b` for it, and its reversal the divergence `L_j K_ij = 2 g^2 b`
//! of the noise's covariance beside `K score`.

use crate::groups::{Additive, ByTags, Euclid};
use crate::harness::{F64, Oracle, Row, assert_close, normal, random_xi, stream};
use crate::ou::{Noise, times_like};
use isotropy_core::{
    Drive, Element, Error, Field, Group, Kernel, Moves, NoiseOperator, NoisingProcess, Perturbed,
    Prediction, PredictionKind, Representation, Result, Scale, State, StateSpec, Step, Stream,
    Terms, TimeDomain, Xi, probe_symmetry,
};
use std::sync::Arc;
use tch::{Kind, Tensor};

fn centred(x: &Tensor) -> Tensor {
    x - x.mean_dim([1].as_slice(), true, Kind::Double)
}

/// The inverse of the inertia tensor, `[B, 3, 3]`, and the arms from the centre.
fn inertia(x: &Tensor) -> (Tensor, Tensor) {
    let arms = centred(x);
    let outer = arms.transpose(1, 2).matmul(&arms);
    let trace = outer.diagonal(0, 1, 2).sum_dim_intlist(1, false, Kind::Double);
    let one = Tensor::eye(3, F64);
    ((one * trace.reshape([-1, 1, 1]) - outer).inverse(), arms)
}

/// Half the trace of the inverse inertia, minus it, applied to the arms: where rotations by additive
/// steps would push the points.
fn widening(x: &Tensor) -> Tensor {
    let (inverse, arms) = inertia(x);
    let trace = inverse.diagonal(0, 1, 2).sum_dim_intlist(1, false, Kind::Double);
    (&arms * trace.reshape([-1, 1, 1]) - arms.matmul(&inverse)) * 0.5
}

#[derive(Debug)]
struct Shapes;

impl Representation for Shapes {
    fn name(&self) -> String {
        "T(3)^N up to rigid motions".into()
    }
    fn group(&self) -> &dyn Group {
        &Additive("T(3N)", None)
    }
    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        match spec.value.shape.as_slice() {
            [points, 3] if *points > 2 => Ok(()),
            _ => Err(Error::Unsupported("three points of R^3 or more are needed".into())),
        }
    }
    fn element_shape(&self, state: &State) -> Result<Vec<Vec<i64>>> {
        Ok(vec![state.x().size()])
    }
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        Ok(state.with_value(state.x() + g.single()))
    }
    fn act_tangent(&self, _: &Element, _: &State, v: &Tensor) -> Result<Tensor> {
        Ok(v.shallow_clone())
    }
    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

impl Drive for Shapes {
    fn frame(&self) -> String {
        "coordinates of the value".into()
    }
    fn xi_shape(&self, spec: &StateSpec) -> Vec<Vec<i64>> {
        vec![spec.value.shape.clone()]
    }
    fn flow(&self, state: &State, xi: &Xi) -> State {
        state.with_value(state.x() + xi.single())
    }
    fn push(&self, _: &State, xi: &Xi) -> Tensor {
        xi.single().shallow_clone()
    }
    fn pull(&self, _: &State, covector: &Tensor) -> Xi {
        covector.shallow_clone().into()
    }
    fn divergences(&self, state: &State) -> Xi {
        state.x().zeros_like().into()
    }
    fn ito(&self, state: &State, _: &[f64]) -> Tensor {
        state.x().zeros_like()
    }
    /// Without translations, and without the rotation that is nearest to `xi`.
    fn horizontal(&self, state: &State, xi: &Xi) -> Xi {
        let (inverse, arms) = inertia(state.x());
        let xi = centred(xi.single());
        let torque = arms.linalg_cross(&xi, -1).sum_dim_intlist(1, true, Kind::Double);
        let spin = torque.matmul(&inverse).expand_as(&arms);
        (xi - spin.linalg_cross(&arms, -1)).into()
    }
    fn transport(&self, s: &dyn Representation, h: &Element, x: &State, xi: &Xi) -> Result<Xi> {
        Ok(s.act_tangent(h, x, xi.single())?.into())
    }
}

/// Brownian motion of the points as their shape sees it.
#[derive(Debug)]
struct Exploding {
    drive: Arc<dyn Representation>,
    time: TimeDomain,
    noise: Noise,
}

impl Exploding {
    fn new() -> Self {
        let time = TimeDomain::continuous(0.01, 1.0);
        Self { drive: Arc::new(Shapes), time, noise: Noise::Ve(2.0) }
    }
}

impl NoisingProcess for Exploding {
    fn name(&self) -> String {
        "Brownian motion of shapes".into()
    }
    fn drive(&self) -> &Arc<dyn Representation> {
        &self.drive
    }
    fn time(&self) -> &TimeDomain {
        &self.time
    }
    /// Noise in all directions: the shape does not feel those along its orbit, so the law of shapes
    /// is that of the quotient. The target is what is left of the noise at the noisy shape.
    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let std = self.noise.std(&times_like(t, clean.x()));
        let z = stream.normal(&clean.x().size(), clean.options());
        let noisy = clean.with_value(clean.x() + centred(&z) * &std);
        let noise = self.fields().horizontal(&noisy, &z.into());
        Ok(Perturbed {
            noisy,
            kernel: Kernel::new(vec![Scale::Same(1.0)], vec![Scale::Each(std)]),
            noise: Some(noise),
            velocity: None,
            clean: None,
            coordinates: None,
            orientation: None,
        })
    }
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let z = centred(&stream.normal(&template.x().size(), template.options()));
        Ok(template.with_value(template.x() + z * self.noise.at(self.time.end).1))
    }
    fn prior_log_prob(&self, _: &State) -> Result<Option<Tensor>> {
        Ok(None)
    }
    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let (variance, (_, std)) = (self.noise.rates(step.from).1, self.noise.at(step.from));
        let kernel = Kernel::new(vec![Scale::Same(1.0)], vec![Scale::Same(std)]);
        let score = self.fields().horizontal(state, &kernel.score(prediction, None)?);
        let drift = Xi::from(widening(state.x()) * variance);
        Ok(Terms {
            preconditioned: score.scale(variance).add_scaled(&drift, 2.0),
            drift,
            noise: vec![NoiseOperator::White(variance.sqrt())],
            score: Some(score),
            h: None,
        })
    }
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        let drift = |state: &State| Ok(widening(state.x()).into());
        probe_symmetry(self.fields(), symmetry, spec, drift)
    }
}

fn shapes(batch: i64) -> State {
    let x = normal("shapes", &[batch, 4, 3]);
    let point = |x: &Tensor| Field::new(x.shallow_clone(), Moves::Point).indexed(1);
    State::new(point(&x)).with_context("native", point(&x))
}

/// Distances between the points: all that a shape is, but for its mirror image.
fn distances(x: &Tensor) -> Tensor {
    let apart = x.unsqueeze(1) - x.unsqueeze(2);
    apart.square().sum_dim_intlist(-1, false, Kind::Double)
}

/// The rotation and translation of the native shape that is nearest to the state (Kabsch).
fn nearest(state: &State) -> Result<Tensor> {
    let native = centred(&state.given("native")?.tensor);
    let (u, _, v) = native.transpose(1, 2).matmul(&centred(state.x())).svd(true, true);
    let sign = u.matmul(&v.transpose(1, 2)).det();
    let flip = Tensor::stack(&[sign.ones_like(), sign.ones_like(), sign], 1).diag_embed(0, -2, -1);
    let turned = native.matmul(&u).matmul(&flip).matmul(&v.transpose(1, 2));
    Ok(turned + state.x().mean_dim([1].as_slice(), true, Kind::Double))
}

#[test]
fn shapes_have_the_degrees_of_freedom_of_the_quotient() {
    let answer = |state: &State, t: f64| {
        let std = Noise::Ve(2.0).at(t).1;
        Ok(((nearest(state)? - state.x()) / (std * std)).into())
    };
    let row = Row {
        process: Box::new(Exploding::new()),
        model: Oracle(PredictionKind::Score, Box::new(answer)),
        clean: shapes(8),
        symmetry: Some(Arc::new(ByTags(Euclid { n: 3, translate: true, reflect: true }))),
        push_tolerance: 1e-7,
        refused: vec![],
    };
    // Equivariance over 400 steps: a singular value decomposition is in each of them.
    let samples = row.check(400);
    assert_close("shapes", &distances(samples.x()), &distances(row.clean.x()), 0.5);
    let drive = row.process.fields();
    let state = shapes(1);
    let columns = (0..12).map(|k| {
        let unit = Tensor::zeros([1, 12], F64);
        let _ = unit.select(1, k).fill_(1.0);
        let kept = drive.horizontal(&state, &unit.reshape([1, 4, 3]).into());
        kept.single().flatten(0, -1).double_value(&[k])
    });
    let trace: f64 = columns.sum();
    assert!((trace - 6.0).abs() < 1e-9, "{trace}");
    let xi = random_xi(drive, &state, "xi");
    let once = drive.horizontal(&state, &xi);
    let twice = drive.horizontal(&state, &once);
    assert_close("a projection", once.single(), twice.single(), 1e-12);
}

/// What the terms add to `K score`: the divergence of the projection, by differences.
#[test]
fn the_reverse_drift_is_the_divergence_of_the_covariance() {
    let state = shapes(2);
    let h = 1e-5;
    let mut divergence = state.x().zeros_like();
    for k in 0..12 {
        let unit = Tensor::zeros([2, 12], F64);
        let _ = unit.select(1, k).fill_(1.0);
        let unit = unit.reshape([2, 4, 3]);
        let at = |h: f64| {
            let moved = state.with_value(state.x() + &unit * h);
            Shapes.horizontal(&moved, &unit.shallow_clone().into()).0.remove(0)
        };
        divergence += (at(h) - at(-h)) / (2.0 * h);
    }
    assert_close("2 b", &divergence, &(widening(state.x()) * 2.0), 1e-7);
    let process = Exploding::new();
    let zero = Prediction::one(PredictionKind::Score, state.x().zeros_like());
    let terms = process.terms(&state, Step::at(0.5), &zero).unwrap();
    let rate = terms.noise[0].scale().powi(2);
    assert_close("terms", terms.preconditioned.single(), &(divergence * rate), 1e-6);
}

/// Shapes under horizontal noise, with the drift of the terms, have the law of shapes of points that
/// move freely: their squared distances grow by `6 s`. Without that drift they grow by less.
#[test]
fn shapes_move_as_those_of_free_points() {
    let process = Exploding::new();
    let one = shapes(1);
    let rows = Tensor::zeros([20_000], (Kind::Int64, tch::Device::Cpu));
    let clean = one.map_batched(|a| a.index_select(0, &rows));
    let zero = Prediction::one(PredictionKind::Score, clean.x().zeros_like());
    let walk = |with_drift: bool| {
        let (mut state, count) = (clean.clone(), 100);
        let mut stream = stream("walk");
        for k in 0..count {
            let step = Step { from: f64::from(k + 1) / 200.0, to: f64::from(k) / 200.0 };
            let middle = Step::at(0.5 * (step.from + step.to));
            let terms = process.terms(&state, middle, &zero).unwrap();
            let z = terms.noise[0].apply(&stream.normal(&state.x().size(), F64));
            let z = process.fields().horizontal(&state, &z.into());
            let drift = terms.drift.scale(if with_drift { step.length() } else { 0.0 });
            let xi = drift.add_scaled(&z, step.length().sqrt());
            state = process.fields().flow(&state, &xi);
        }
        (distances(state.x()) - distances(clean.x())).mean(Kind::Double).double_value(&[])
    };
    // Twelve of sixteen pairs are of different points.
    let expected = 6.0 * 0.75 * process.noise.at(0.5).1.powi(2);
    let (right, wrong) = (walk(true), walk(false));
    assert!((right / expected - 1.0).abs() < 0.03, "{right} for {expected}");
    assert!(wrong / expected < 0.8, "{wrong} for {expected}");
}
