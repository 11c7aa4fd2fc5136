//! Trajectories on the sphere: (SO(3))^N on (S^2)^N by algebra generators. The stabiliser SO(2)^N
//! of the points is invisible: coefficients are horizontal. Brownian motion; symmetry SO(3).

use crate::groups::{ByTags, Euclid, random_orthogonal, rotate, special};
use crate::harness::{F64, Oracle, Row, assert_close, normal, random_xi, stream};
use crate::ou::times_like;
use isotropy_core::{
    Drive, Element, Error, Field, Group, Kernel, Moves, NoiseOperator, NoisingProcess, Perturbed,
    Prediction, PredictionKind, Representation, Result, Scale, State, StateSpec, Step, Stream,
    Terms, TimeDomain, Xi, probe_symmetry, representation::vector_matrix,
};
use std::sync::Arc;
use tch::{Kind, Tensor};

pub fn cross(a: &Tensor, b: &Tensor) -> Tensor {
    a.linalg_cross(b, -1)
}

pub fn dot(a: &Tensor, b: &Tensor) -> Tensor {
    (a * b).sum_dim_intlist(-1, true, Kind::Double)
}

/// Rotation of `v` by the rotation vector `w` (Rodrigues), last axis 3, broadcasting.
pub fn turn(w: &Tensor, v: &Tensor) -> Tensor {
    let angle = dot(w, w).sqrt().clamp_min(1e-12);
    let (s, c) = (angle.sin() / &angle, ((&angle * 0.5).sin() / &angle).square() * 2.0);
    let first = cross(w, v);
    v + &first * s + cross(w, &first) * c
}

/// How rotation vectors move: they are axial, so a reflection turns them the other way.
pub fn axial(
    symmetry: &dyn Representation,
    h: &Element,
    like: &State,
    w: &Tensor,
) -> Result<Tensor> {
    let q = vector_matrix(symmetry, h, like, 3)?;
    let mut shape = vec![1; w.dim()];
    shape[0] = w.size()[0];
    Ok(rotate(&q, w) * q.det().reshape(shape))
}

#[derive(Debug)]
pub struct Turns(pub Euclid);

impl Representation for Turns {
    fn name(&self) -> String {
        "SO(3)^N on (S^2)^N".into()
    }
    fn group(&self) -> &dyn Group {
        &self.0
    }
    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        match spec.value.shape.last() {
            Some(3) => Ok(()),
            _ => Err(Error::Unsupported("values must be unit vectors of R^3".into())),
        }
    }
    fn element_shape(&self, state: &State) -> Result<Vec<Vec<i64>>> {
        Ok(vec![state.x().size()]) // one rotation for each point of each trajectory
    }
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        Ok(state.with_value(self.act_tangent(g, state, state.x())?))
    }
    fn act_tangent(&self, g: &Element, _: &State, v: &Tensor) -> Result<Tensor> {
        Ok(g.single().matmul(&v.unsqueeze(-1)).squeeze_dim(-1))
    }
    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

impl Drive for Turns {
    fn frame(&self) -> String {
        "algebra generators".into()
    }
    fn xi_shape(&self, spec: &StateSpec) -> Vec<Vec<i64>> {
        vec![spec.value.shape.clone()]
    }
    fn flow(&self, state: &State, xi: &Xi) -> State {
        state.with_value(turn(xi.single(), state.x()))
    }
    fn push(&self, state: &State, xi: &Xi) -> Tensor {
        cross(xi.single(), state.x())
    }
    fn pull(&self, state: &State, covector: &Tensor) -> Xi {
        cross(state.x(), covector).into()
    }
    fn divergences(&self, state: &State) -> Xi {
        state.x().zeros_like().into() // isometries keep the area
    }
    fn base_measure(&self) -> &'static str {
        "area on each sphere (4 pi)"
    }
    fn ito(&self, state: &State, variance: &[f64]) -> Tensor {
        state.x() * (-2.0 * variance[0])
    }
    fn horizontal(&self, state: &State, xi: &Xi) -> Xi {
        (xi.single() - state.x() * dot(xi.single(), state.x())).into()
    }
    fn transport(&self, s: &dyn Representation, h: &Element, x: &State, xi: &Xi) -> Result<Xi> {
        Ok(axial(s, h, x, xi.single())?.into())
    }
}

/// `d log p_s / d theta` of the heat kernel at clock `s` (generator half the Laplacian): the series
/// in Legendre polynomials (geomndp.md 1.7).
fn heat_slope(s: &Tensor, theta: &Tensor) -> Tensor {
    let x = theta.cos();
    let (mut p0, mut p1) = (x.ones_like(), x.shallow_clone());
    let (mut d0, mut d1) = (x.zeros_like(), x.ones_like());
    let (mut sum, mut slope) = (x.ones_like(), x.zeros_like());
    for n in 1..80 {
        let n = n as f64;
        let weight = (s * (-0.5 * n * (n + 1.0))).exp() * (2.0 * n + 1.0);
        (sum, slope) = (sum + &weight * &p1, slope + &weight * &d1);
        let p2 = (&x * &p1 * (2.0 * n + 1.0) - &p0 * n) / (n + 1.0);
        let d2 = &d0 + &p1 * (2.0 * n + 1.0);
        ((p0, p1), (d0, d1)) = ((p1, p2), (d1, d2));
    }
    -theta.sin() * slope / sum.clamp_min(1e-30)
}

/// Score at `y` of Brownian motion that started at `origin`, as horizontal coefficients.
pub fn score(y: &Tensor, origin: &Tensor, s: &Tensor) -> Tensor {
    let axis = cross(y, origin);
    let sin = dot(&axis, &axis).sqrt().clamp_min(1e-12);
    let theta = sin.atan2(&dot(y, origin));
    axis / sin * -heat_slope(s, &theta)
}

/// `dY = sqrt(beta) P(Y) o dW` at each point; the clock is `s = beta t`.
#[derive(Debug)]
struct Brownian {
    drive: Arc<dyn Representation>,
    time: TimeDomain,
    beta: f64,
}

impl Brownian {
    fn new() -> Self {
        let group = Euclid { n: 3, translate: false, reflect: false };
        Self { drive: Arc::new(Turns(group)), time: TimeDomain::continuous(5e-3, 1.0), beta: 10.0 }
    }
}

impl NoisingProcess for Brownian {
    fn name(&self) -> String {
        "Brownian motion on spheres".into()
    }
    fn drive(&self) -> &Arc<dyn Representation> {
        &self.drive
    }
    fn time(&self) -> &TimeDomain {
        &self.time
    }
    fn simulated_steps(&self) -> usize {
        100
    }
    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let s = times_like(t, clean.x()) * self.beta;
        let mut noisy = clean.clone();
        for _ in 0..self.simulated_steps() {
            let z = stream.normal(&clean.x().size(), clean.options());
            let z = z * (&s / self.simulated_steps() as f64).sqrt();
            noisy = self.fields().flow(&noisy, &self.fields().horizontal(&noisy, &z.into()));
        }
        let std = (-(-&s).expm1()).sqrt();
        let noise = -score(noisy.x(), clean.x(), &s) * &std;
        let mean = vec![Scale::Each((&s * -1.0).exp())];
        Ok(Perturbed {
            noisy,
            kernel: Kernel::new(mean, vec![Scale::Each(std)]),
            noise: Some(noise.into()),
            velocity: None,
            clean: None,
            coordinates: None,
            orientation: None,
        })
    }
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let z = stream.normal(&template.x().size(), template.options());
        Ok(template.with_value(&z / dot(&z, &z).sqrt()))
    }
    fn prior_log_prob(&self, state: &State) -> Result<Option<Tensor>> {
        let points = state.x().size()[1] as f64;
        let density = -points * (4.0 * std::f64::consts::PI).ln();
        Ok(Some(Tensor::full([state.batch_size()], density, state.options())))
    }
    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let std = Scale::Same((-(-self.beta * step.from).exp_m1()).sqrt());
        let kernel = Kernel::new(vec![Scale::Same(1.0)], vec![std]);
        let score = self.fields().horizontal(state, &kernel.score(prediction, None)?);
        Ok(Terms {
            drift: score.zeros_like(),
            noise: vec![NoiseOperator::White(self.beta.sqrt())],
            preconditioned: score.scale(self.beta),
            score: Some(score),
            h: None,
        })
    }
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        probe_symmetry(self.fields(), symmetry, spec, |state| Ok(state.x().zeros_like().into()))
    }
}

fn trajectories(name: &str, batch: i64) -> State {
    let x = normal(name, &[batch, 4, 3]);
    let x = &x / dot(&x, &x).sqrt();
    let time = Field::new(Tensor::arange(4, F64).unsqueeze(-1), Moves::Fixed).shared().indexed(0);
    State::new(Field::new(x.shallow_clone(), Moves::Vector).indexed(1))
        .with_context("truth", Field::new(x, Moves::Vector).indexed(1))
        .with_context("time", time)
}

fn so3() -> Arc<dyn Representation> {
    Arc::new(ByTags(Euclid { n: 3, translate: false, reflect: false }))
}

#[test]
fn trajectories_on_the_sphere_have_so3() {
    let beta = Brownian::new().beta;
    let model = Oracle(
        PredictionKind::Score,
        Box::new(move |state, t| {
            let s = Tensor::full([1, 1, 1], beta * t, F64);
            Ok(score(state.x(), &state.given("truth")?.tensor, &s).into())
        }),
    );
    let row = Row {
        process: Box::new(Brownian::new()),
        model,
        clean: trajectories("tracks", 8),
        symmetry: Some(so3()),
        push_tolerance: 1e-7,
        refused: vec![],
    };
    let samples = row.check(400);
    assert_close("unit", &dot(samples.x(), samples.x()), &Tensor::ones([8, 4, 1], F64), 1e-10);
    let cos = dot(samples.x(), row.clean.x()).mean(Kind::Double).double_value(&[]);
    // The data are left with the noise of the first time: E cos = exp(-beta start).
    let expected = (-beta * row.process.time().start).exp();
    assert!((cos - expected).abs() < 0.02, "mean cosine {cos} to the truth, expected {expected}");
    // A drift towards a fixed pole would be refused.
    let north = |state: &State| {
        let pole = Tensor::from_slice(&[0.0, 0.0, 1.0]).expand_as(state.x());
        Ok(cross(state.x(), &pole).into())
    };
    let refusal = probe_symmetry(row.process.fields(), so3().as_ref(), &row.clean.spec(), north);
    assert!(refusal.unwrap_err().to_string().contains("drift"));
    // A shared field splits with the others.
    let (first, rest) = row.clean.split_index(1);
    assert_eq!(first.given("time").unwrap().tensor.size(), [1, 1]);
    assert_eq!(State::join_index(&[first, rest]).unwrap().spec(), row.clean.spec());
}

#[test]
fn the_stabiliser_is_invisible_and_targets_are_horizontal() {
    let process = Brownian::new();
    let state = trajectories("points", 8);
    let drive = process.fields();
    let xi = random_xi(drive, &state, "xi");
    let horizontal = drive.horizontal(&state, &xi);
    assert_close("push", &drive.push(&state, &xi), &drive.push(&state, &horizontal), 1e-12);
    let t = Tensor::full([8], 0.1, F64);
    let perturbed = process.perturb(&state, &t, &mut stream("p")).unwrap();
    let target = perturbed.target(PredictionKind::Score).unwrap().remove(0);
    let vertical = dot(target.single(), perturbed.noisy.x());
    assert_close("vertical part", &vertical, &vertical.zeros_like(), 1e-9);
}

#[test]
fn the_mean_cosine_of_brownian_motion_decays_with_the_clock() {
    let process = Brownian::new();
    let clean = trajectories("many", 4_000);
    let t = Tensor::full([4_000], 0.08, F64);
    let noisy = process.perturb(&clean, &t, &mut stream("walk")).unwrap().noisy;
    let cos = dot(noisy.x(), clean.x()).mean(Kind::Double).double_value(&[]);
    assert!((cos - (-0.8f64).exp()).abs() < 0.015, "{cos}");
}

#[test]
fn a_power_takes_its_size_from_the_state() {
    let state = trajectories("power", 2);
    let drive = Turns(Euclid { n: 3, translate: false, reflect: false });
    let q = special(&random_orthogonal(8, 3, F64, &mut stream("q"))).reshape([2, 4, 3, 3]);
    let moved = drive.act(&q.into(), &state).unwrap();
    assert_close("unit", &dot(moved.x(), moved.x()), &Tensor::ones([2, 4, 1], F64), 1e-12);
    assert_eq!(drive.element_shape(&state).unwrap(), [[2, 4, 3]]);
}
