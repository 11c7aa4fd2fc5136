//! Trivialised kinetic Langevin dynamics on a torus: `dg = p g dt`, `dp = -gamma p dt + sqrt(2 gamma)
//! dW`, a drive on G x algebra whose first factor gets no noise. The group is commutative, so the
//! kernel is Gaussian over both factors together: exact, and wrapped in the first.
//!
//! With the Cholesky root of the joint covariance in the order (position, momentum) the score in the
//! momentum is `-z_p / l_pp`: the kernel's `std` is `(0, l_pp)`, and no conversion needs the rest.

use crate::groups::Additive;
use crate::harness::{F64, Oracle, Row, assert_close, difference, stream};
use crate::torus::{points, turns};
use isotropy_core::{
    Drive, Element, Error, Group, Kernel, KernelLaw, NoiseOperator, NoisingProcess, Perturbed,
    Prediction, PredictionKind, Representation, Result, Scale, State, StateSpec, Step, Stream,
    Terms, TimeDomain, Xi, probe_symmetry, process::has_score,
};
use std::f64::consts::PI;
use std::sync::Arc;
use tch::{Kind, Tensor};

/// Angles and their velocities, `[B, 4]`; the group moves both, each by its own coefficients.
#[derive(Debug)]
struct Phase;

impl Phase {
    fn join(angle: &Tensor, momentum: &Tensor) -> Tensor {
        Tensor::cat(&[angle, momentum], 1)
    }
    fn parts(x: &Tensor) -> (Tensor, Tensor) {
        (x.narrow(1, 0, 2), x.narrow(1, 2, 2))
    }
}

impl Representation for Phase {
    fn name(&self) -> String {
        "angles and momenta".into()
    }
    fn group(&self) -> &dyn Group {
        &Additive("SO(2)^2 x R^2", Some(4))
    }
    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        match spec.value.shape.as_slice() {
            [4] => Ok(()),
            _ => Err(Error::Unsupported("two angles and two momenta are needed".into())),
        }
    }
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        let (angle, momentum) = Self::parts(g.single());
        Ok(self.flow(state, &Xi(vec![angle, momentum])))
    }
    fn act_tangent(&self, _: &Element, _: &State, v: &Tensor) -> Result<Tensor> {
        Ok(v.shallow_clone())
    }
    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

impl Drive for Phase {
    fn frame(&self) -> String {
        "algebra generators, momenta".into()
    }
    fn xi_shape(&self, _: &StateSpec) -> Vec<Vec<i64>> {
        vec![vec![2], vec![2]]
    }
    fn flow(&self, state: &State, xi: &Xi) -> State {
        let (angle, momentum) = Self::parts(state.x());
        state.with_value(Self::join(&turns(&(angle + &xi.0[0])), &(momentum + &xi.0[1])))
    }
    fn push(&self, _: &State, xi: &Xi) -> Tensor {
        Self::join(&xi.0[0], &xi.0[1])
    }
    fn pull(&self, _: &State, covector: &Tensor) -> Xi {
        let (angle, momentum) = Self::parts(covector);
        Xi(vec![angle, momentum])
    }
    fn divergences(&self, state: &State) -> Xi {
        self.pull(state, &state.x().zeros_like())
    }
    fn ito(&self, state: &State, _: &[f64]) -> Tensor {
        state.x().zeros_like()
    }
    /// Turns and mirrors of the torus: here those that leave momenta alone.
    fn transport(&self, _: &dyn Representation, _: &Element, _: &State, xi: &Xi) -> Result<Xi> {
        Ok(xi.clone())
    }
}

/// The same turn for all angles: momenta stay.
#[derive(Debug)]
struct Turn(Additive);

impl Representation for Turn {
    fn name(&self) -> String {
        "turns of the torus".into()
    }
    fn group(&self) -> &dyn Group {
        &self.0
    }
    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        Phase.accepts(spec)
    }
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        let shift = g.single();
        state.try_map(|_, field| {
            let size = field.tensor.size();
            let turned = turns(&(field.tensor.narrow(1, 0, 2) + shift));
            let rest = field.tensor.narrow(1, 2, size[1] - 2);
            Ok(field.with(Tensor::cat(&[turned, rest], 1)))
        })
    }
    fn act_tangent(&self, _: &Element, _: &State, v: &Tensor) -> Result<Tensor> {
        Ok(v.shallow_clone())
    }
}

/// Means and covariance at a time: `angle = angle_0 + a p_0 + ..`, `momentum = b p_0 + ..`.
struct Joint {
    a: Tensor,
    b: Tensor,
    /// Cholesky root of the covariance, position first.
    root: [Tensor; 3],
}

#[derive(Debug)]
pub struct Kinetic {
    drive: Arc<dyn Representation>,
    time: TimeDomain,
    gamma: f64,
}

impl Kinetic {
    pub fn new() -> Self {
        let time = TimeDomain::continuous(0.05, 8.0);
        Self { drive: Arc::new(Phase), time, gamma: 1.0 }
    }
    /// In closed form, from `d Sigma / dt` of the linear equation.
    fn joint(&self, t: &Tensor) -> Joint {
        let g = self.gamma;
        let decay = (t * -g).exp();
        let momentum = -(&decay * &decay) + 1.0;
        let lost = -&decay + 1.0;
        let angle = (t * (2.0 * g) - &lost * 3.0 + &decay * &lost) / (g * g);
        let both = lost.square() / g;
        let first = angle.sqrt();
        let mixed = &both / &first;
        let last = (momentum - mixed.square()).sqrt();
        Joint { a: lost / g, b: decay, root: [first, mixed, last] }
    }
}

#[derive(Debug)]
struct Sizes(TimeDomain, f64);

impl KernelLaw for Sizes {
    fn time(&self) -> &TimeDomain {
        &self.0
    }
    fn scales(&self, t: f64) -> Kernel {
        let [_, _, last] = Kinetic::new().joint(&Tensor::from(t)).root;
        let std = vec![Scale::Same(0.0), Scale::Same(last.double_value(&[]))];
        Kernel::new(vec![Scale::Same(1.0), Scale::Same((-self.1 * t).exp())], std)
    }
    fn tensors(&self, t: &Tensor) -> Kernel {
        let [_, _, last] = Kinetic::new().joint(t).root;
        let mean = vec![Scale::Same(1.0), Scale::Each((t * -self.1).exp())];
        Kernel::new(mean, vec![Scale::Same(0.0), Scale::Each(last)])
    }
    /// Normal, but over both factors together.
    fn gaussian(&self) -> bool {
        false
    }
    fn level(&self, _: f64) -> Option<f64> {
        None
    }
}

impl NoisingProcess for Kinetic {
    fn name(&self) -> String {
        "kinetic Langevin dynamics".into()
    }
    fn drive(&self) -> &Arc<dyn Representation> {
        &self.drive
    }
    fn time(&self) -> &TimeDomain {
        &self.time
    }
    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let t = t.unsqueeze(1);
        let Joint { a, b, root: [first, mixed, last] } = self.joint(&t);
        let (angle, momentum) = Phase::parts(clean.x());
        let mut normal = || stream.normal(&angle.size(), clean.options());
        let (z_angle, z) = (normal(), normal());
        let angle = turns(&(angle + &momentum * a + &z_angle * first));
        let momentum = momentum * b + z_angle * mixed + &z * &last;
        Ok(Perturbed {
            noisy: clean.with_value(Phase::join(&angle, &momentum)),
            kernel: Sizes(self.time.clone(), self.gamma).tensors(&t),
            noise: Some(Xi(vec![z.zeros_like(), z])),
            velocity: None,
            clean: None,
            coordinates: None,
            orientation: None,
        })
    }
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let size = [template.batch_size(), 2];
        let angle = (stream.uniform(&size, template.options()) - 0.5) * (2.0 * PI);
        let momentum = stream.normal(&size, template.options());
        Ok(template.with_value(Phase::join(&angle, &momentum)))
    }
    fn prior_log_prob(&self, state: &State) -> Result<Option<Tensor>> {
        let momentum = Phase::parts(state.x()).1;
        let constant = -2.0 * (2.0 * PI).ln() - (2.0 * PI).ln();
        Ok(Some(Xi::from(momentum).square_norm() * -0.5 + constant))
    }
    fn accepts_prediction(&self, kind: PredictionKind) -> Result<()> {
        match kind {
            PredictionKind::Clean | PredictionKind::Field | PredictionKind::FieldSum => {
                Err(Error::Unsupported("the kernel mixes positions and momenta".into()))
            }
            _ => has_score(&self.name(), kind),
        }
    }
    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        self.accepts_prediction(prediction.kind)?;
        let kernel = Sizes(self.time.clone(), self.gamma).scales(step.from);
        let score = kernel.score(prediction, None)?;
        let momentum = Phase::parts(state.x()).1;
        let scale = (2.0 * self.gamma).sqrt();
        Ok(Terms {
            drift: Xi(vec![momentum.shallow_clone(), momentum * -self.gamma]),
            noise: vec![NoiseOperator::White(0.0), NoiseOperator::White(scale)],
            preconditioned: Xi(vec![score.0[0].zeros_like(), &score.0[1] * (scale * scale)]),
            score: Some(score),
            h: None,
        })
    }
    fn kernel(&self) -> Option<Arc<dyn KernelLaw>> {
        Some(Arc::new(Sizes(self.time.clone(), self.gamma)))
    }
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        probe_symmetry(self.fields(), symmetry, spec, |state| {
            let momentum = Phase::parts(state.x()).1;
            Ok(Xi(vec![momentum.shallow_clone(), -momentum]))
        })
    }
}

/// Angles with momenta drawn from the invariant law, which is where data start.
fn phases(name: &str, batch: i64) -> State {
    let angles = points(name, batch);
    let momentum = stream("momenta").normal(&[batch, 2], F64);
    let joined = Phase::join(angles.x(), &momentum);
    let mut state = angles.with_value(joined.shallow_clone());
    state.context[0].1.tensor = joined;
    state
}

/// The exact score in the momentum for one clean point: summed over the turns of each angle.
fn score(state: &State, t: f64) -> Result<Xi> {
    let Joint { a, b, root: [first, mixed, last] } = Kinetic::new().joint(&Tensor::from(t));
    let native = Phase::parts(&state.given("native")?.tensor);
    let (angle, momentum) = Phase::parts(state.x());
    let shifts = Tensor::arange_start(-6, 7, F64) * (2.0 * PI);
    let away = (angle - native.0 - &native.1 * a).unsqueeze(-1) + shifts;
    let z_angle = away / first;
    let rest = (momentum - native.1 * b).unsqueeze(-1) - &z_angle * mixed;
    let z = rest / &last;
    let weight = ((z_angle.square() + z.square()) * -0.5).softmax(-1, Kind::Double);
    let momentum = (weight * z / -last).sum_dim_intlist(-1, false, Kind::Double);
    Ok(Xi(vec![momentum.zeros_like(), momentum]))
}

#[test]
fn a_factor_without_noise_is_carried() {
    let process = Kinetic::new();
    let first = process.time.start;
    let row = Row {
        process: Box::new(process),
        model: Oracle(PredictionKind::Score, Box::new(score)),
        clean: phases("clean", 256),
        symmetry: Some(Arc::new(Turn(Additive("SO(2)^2", Some(2))))),
        push_tolerance: 1e-7,
        refused: vec![],
    };
    let samples = row.check(1600);
    let (angle, _) = Phase::parts(samples.x());
    let error = turns(&(angle - Phase::parts(row.clean.x()).0)).square().mean(Kind::Double);
    // What is left is the way of the first time, a small part of a turn.
    let error = error.sqrt().double_value(&[]);
    assert!(error < 3.0 * first, "{error}");
}

#[test]
fn no_conversion_divides_by_the_missing_noise() {
    let process = Kinetic::new();
    let state = phases("state", 16);
    let kernel = process.kernel().unwrap().scales(0.7);
    let z = Xi(vec![Tensor::zeros([16, 2], F64), stream("z").normal(&[16, 2], F64)]);
    let given = Prediction::one(PredictionKind::Noise, z.clone());
    let score = kernel.score(&given, None).unwrap();
    for kind in [
        PredictionKind::Score,
        PredictionKind::PreconditionedScore,
        PredictionKind::CovarianceScore,
    ] {
        let same = kernel.prediction_of_score(&score, kind, None).unwrap();
        let back = kernel.noise(&same, None).unwrap();
        for (a, b) in back.0.iter().zip(&z.0) {
            assert_close("there and back", a, b, 1e-12);
        }
        let terms = process.terms(&state, Step::at(0.7), &same).unwrap();
        assert_eq!(terms.preconditioned.0[0].abs().max().double_value(&[]), 0.0);
        assert!(terms.preconditioned.0[1].isfinite().all().int64_value(&[]) == 1);
    }
    assert!(process.accepts_prediction(PredictionKind::Clean).is_err());
}

/// Euler steps of the forward equation by the terms end in the law that `perturb` draws from.
#[test]
fn the_joint_kernel_is_that_of_the_equation() {
    let process = Kinetic::new();
    let one = phases("one", 1);
    let rows = Tensor::zeros([40_000], (Kind::Int64, tch::Device::Cpu));
    let clean = one.map_batched(|a| a.index_select(0, &rows));
    let (t, count) = (0.8, 200);
    let (mut state, step) = (clean.clone(), t / f64::from(count));
    let mut walk = stream("walk");
    for _ in 0..count {
        let zero = Xi(vec![Tensor::zeros([40_000, 2], F64), Tensor::zeros([40_000, 2], F64)]);
        let prediction = Prediction::one(PredictionKind::Score, zero);
        let terms = process.terms(&state, Step::at(t), &prediction).unwrap();
        let kicks = terms.noise.iter().map(|g| g.apply(&walk.normal(&[40_000, 2], F64)));
        let xi = terms.drift.scale(step).add_scaled(&Xi(kicks.collect()), step.sqrt());
        state = process.fields().flow(&state, &xi);
    }
    let times = Tensor::full([40_000], t, F64);
    let drawn = process.perturb(&clean, &times, &mut stream("drawn")).unwrap().noisy;
    // Moments around the clean point, of one and of two coordinates.
    let moments = |state: &State| {
        let (angle, momentum) = Phase::parts(state.x());
        let angle = turns(&(angle - Phase::parts(clean.x()).0));
        let all = [angle.square(), momentum.square(), &angle * &momentum, angle, momentum];
        Tensor::cat(&all, 1).mean_dim([0].as_slice(), false, Kind::Double)
    };
    let error = difference(&moments(&state), &moments(&drawn));
    assert!(error < 0.04, "{error}");
}
