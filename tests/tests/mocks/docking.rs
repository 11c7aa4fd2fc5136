//! Rigid docking: SO(3) x T(3) on a ligand near a pocket. Published: ZYZ angles and centre as flow
//! coordinates. Symmetric: algebra generators about the ligand's centre, IGSO(3) x VP with a
//! schedule for each factor, relative to the pocket.

use crate::groups::{ByTags, Euclid, random_orthogonal, rotate, special};
use crate::harness::{F64, Oracle, Row, assert_close, normal, stream};
use crate::ou::{Noise, Ou};
use crate::sphere::{axial, cross, dot, turn};
use isotropy_core::{
    Drive, Element, Error, Field, FlowCoordinates, Group, Kernel, Moves, NoiseOperator,
    NoisingProcess, Perturbed, Prediction, PredictionKind, Representation, Result, Scale, State,
    StateSpec, Step, Stream, Terms, TimeDomain, Xi, probe_symmetry, representation::vector_matrix,
};
use std::sync::Arc;
use tch::{Kind, Tensor};

/// Mean over the atoms, `[B, 1, 3]`.
fn centre(x: &Tensor) -> Tensor {
    x.mean_dim([1].as_slice(), true, Kind::Double)
}

fn vector(x: &Tensor, y: &Tensor, z: &Tensor) -> Tensor {
    Tensor::cat(&[x, y, z], -1)
}

/// `R_z(phi1) R_y(theta) R_z(phi2)` for `tau = (theta, phi1, phi2)`, `[B, 3, 3]`.
fn zyz(tau: &Tensor) -> Tensor {
    let part = |k: i64| tau.narrow(1, k, 1);
    let zero = part(0).zeros_like();
    let basis = Tensor::eye(3, F64).expand([tau.size()[0], 3, 3], false);
    let about = |w: Tensor, x: &Tensor| turn(&w.unsqueeze(1), x);
    let rows = about(vector(&zero, &zero, &part(2)), &basis);
    let rows = about(vector(&zero, &part(0), &zero), &rows);
    about(vector(&zero, &zero, &part(1)), &rows).transpose(1, 2)
}

/// The motions of a rigid body, in two frames.
#[derive(Debug)]
struct Rigid {
    group: Euclid,
    /// ZYZ angles instead of the generators.
    angles: bool,
}

impl Rigid {
    fn new(angles: bool) -> Self {
        Self { group: Euclid { n: 3, translate: true, reflect: false }, angles }
    }
    fn arms(x: &Tensor) -> Tensor {
        x - centre(x)
    }
    /// Axes of the three coefficients of the rotation, each `[B, 1, 3]`.
    fn axes(&self, state: &State) -> [Tensor; 3] {
        let unit = |k: i64| {
            Tensor::eye(3, state.options()).get(k).expand([state.batch_size(), 1, 3], false)
        };
        if !self.angles {
            return [unit(0), unit(1), unit(2)];
        }
        let tau = &self.unwrapped(state).0[0];
        let phi = tau.narrow(1, 1, 1);
        let theta_axis = vector(&-phi.sin(), &phi.cos(), &phi.zeros_like()).unsqueeze(1);
        [theta_axis, unit(2), zyz(tau).select(2, 2).unsqueeze(1)]
    }
}

impl Representation for Rigid {
    fn name(&self) -> String {
        "a rigid ligand".into()
    }
    fn group(&self) -> &dyn Group {
        &self.group
    }
    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        match spec.value.shape.as_slice() {
            [atoms, 3] if *atoms != 1 && *atoms != 2 => Ok(()),
            _ => Err(Error::Unsupported("a ligand needs three atoms or more".into())),
        }
    }
    /// About the centre, so that rotations and translations are the two factors of a product.
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        let x = state.x();
        Ok(state.with_value(rotate(&g.0[0], &Self::arms(x)) + centre(x) + g.0[1].unsqueeze(1)))
    }
    fn act_tangent(&self, g: &Element, _: &State, v: &Tensor) -> Result<Tensor> {
        Ok(rotate(&g.0[0], &Self::arms(v)) + centre(v))
    }
    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

impl Drive for Rigid {
    fn frame(&self) -> String {
        if self.angles { "ZYZ angles, centre".into() } else { "algebra generators".into() }
    }
    fn xi_shape(&self, _: &StateSpec) -> Vec<Vec<i64>> {
        vec![vec![3], vec![3]]
    }
    fn lift(&self, state: State) -> Result<State> {
        if !self.angles {
            return Ok(state);
        }
        let tau = self.tau(&state);
        let canonical = rotate(&zyz(&tau.0[0]).transpose(1, 2), &Self::arms(state.x()));
        let state = state.with_lift("canonical", Field::new(canonical, Moves::Fixed).indexed(1));
        Ok(self.point(&state, &tau))
    }
    fn flow(&self, state: &State, xi: &Xi) -> State {
        if self.angles {
            return self.point(state, &self.unwrapped(state).add(xi));
        }
        let x = state.x();
        let arms = turn(&xi.0[0].unsqueeze(1), &Self::arms(x));
        state.with_value(arms + centre(x) + xi.0[1].unsqueeze(1))
    }
    fn push(&self, state: &State, xi: &Xi) -> Tensor {
        let axes = self.axes(state);
        let terms =
            axes.iter().enumerate().map(|(k, a)| a * xi.0[0].narrow(1, k as i64, 1).unsqueeze(1));
        let omega = terms.reduce(|a, b| a + b).expect("three axes");
        cross(&omega, &Self::arms(state.x())) + xi.0[1].unsqueeze(1)
    }
    fn pull(&self, state: &State, covector: &Tensor) -> Xi {
        let torque = cross(&Self::arms(state.x()), covector).sum_dim_intlist(1, true, Kind::Double);
        let parts: Vec<Tensor> =
            self.axes(state).iter().map(|axis| dot(axis, &torque).squeeze_dim(1)).collect();
        Xi(vec![Tensor::cat(&parts, 1), covector.sum_dim_intlist(1, false, Kind::Double)])
    }
    fn divergences(&self, state: &State) -> Xi {
        let zero = Tensor::zeros([state.batch_size(), 3], state.options());
        let rotation = if self.angles {
            let theta = self.unwrapped(state).0[0].narrow(1, 0, 1);
            let none = theta.zeros_like();
            vector(&theta.tan().reciprocal(), &none, &none)
        } else {
            zero.shallow_clone()
        };
        Xi(vec![rotation, zero])
    }
    fn base_measure(&self) -> &'static str {
        "Haar (8 pi^2) x Lebesgue, on the orbit of the ligand"
    }
    fn ito(&self, state: &State, variance: &[f64]) -> Tensor {
        let arms = Self::arms(state.x());
        let terms = self.axes(state).into_iter().map(|axis| cross(&axis, &cross(&axis, &arms)));
        terms.reduce(|a, b| a + b).expect("three axes") * variance[0]
    }
    fn coordinates(&self) -> Option<&dyn FlowCoordinates> {
        if self.angles { Some(self) } else { None }
    }
    fn transport(&self, s: &dyn Representation, h: &Element, x: &State, xi: &Xi) -> Result<Xi> {
        if self.angles {
            return Err(Error::Unsupported("ZYZ angles have a preferred axis".into()));
        }
        let q = vector_matrix(s, h, x, 3)?;
        Ok(Xi(vec![axial(s, h, x, &xi.0[0])?, rotate(&q, &xi.0[1])]))
    }
}

impl FlowCoordinates for Rigid {
    fn names(&self) -> Vec<Vec<String>> {
        let names = |all: [&str; 3]| all.map(String::from).to_vec();
        vec![names(["theta", "phi1", "phi2"]), names(["x", "y", "z"])]
    }
    /// From the first two atoms (sism.md 2.5).
    fn tau(&self, state: &State) -> Xi {
        let arms = Self::arms(state.x());
        let part = |a: &Tensor, k: i64| a.narrow(1, k, 1);
        let (first, second) = (arms.select(1, 0), arms.select(1, 1));
        let flat = (part(&first, 0).square() + part(&first, 1).square()).sqrt();
        let theta = flat.atan2(&part(&first, 2));
        let phi = part(&first, 1).atan2(&part(&first, 0));
        let back = zyz(&vector(&theta, &phi, &phi.zeros_like())).transpose(1, 2);
        let second = rotate(&back, &second);
        let twist = part(&second, 1).atan2(&part(&second, 0));
        Xi(vec![vector(&theta, &phi, &twist), centre(state.x()).squeeze_dim(1)])
    }
    fn unwrapped(&self, state: &State) -> Xi {
        let Ok(lift) = state.lifted("angles") else { return self.tau(state) };
        Xi(vec![lift.tensor.shallow_clone(), centre(state.x()).squeeze_dim(1)])
    }
    fn point(&self, like: &State, tau: &Xi) -> State {
        let canonical = like.lifted("canonical").expect("lifted states carry the ligand").clone();
        like.with_value(rotate(&zyz(&tau.0[0]), &canonical.tensor) + tau.0[1].unsqueeze(1))
            .with_lift("angles", Field::new(tau.0[0].shallow_clone(), Moves::Coordinates))
    }
    fn orientation(&self, tau: &Xi) -> Option<Xi> {
        let sign = tau.0[0].narrow(1, 0, 1).sin().sign();
        let one = sign.ones_like();
        Some(Xi(vec![vector(&sign, &one, &one), tau.0[1].ones_like()]))
    }
    fn log_abs_det(&self, state: &State) -> Tensor {
        self.unwrapped(state).0[0].select(1, 0).sin().abs().log()
    }
    fn regularity(&self, state: &State) -> Tensor {
        self.tau(state).0[0].select(1, 0).sin()
    }
}

/// `log f` of IGSO(3) and its slope at angles `omega` (sism.md 2.6), broadcasting.
fn igso3(eps: &Tensor, omega: &Tensor) -> (Tensor, Tensor) {
    let l = Tensor::arange(60, F64);
    let (eps, omega) = (eps.unsqueeze(-1), omega.unsqueeze(-1).clamp_min(1e-4));
    let weight = (&l * 2.0 + 1.0) * (&l * (&l + 1.0) * -0.5 * eps.square()).exp();
    let (k, half) = (&l + 0.5, &omega * 0.5);
    let wave = (&k * &omega).sin() / half.sin();
    let slope = &k * (&k * &omega).cos() / half.sin() - &wave * 0.5 / half.tan();
    let total = |a: Tensor| a.sum_dim_intlist(-1, false, Kind::Double);
    let f = total(&weight * wave).clamp_min(1e-30);
    (f.log(), total(weight * slope) / f)
}

/// Rotation vectors `[B, 3]` with the law IGSO(3) at scales `eps` `[B, 1]`, by inversion.
pub fn sample_igso3(eps: &Tensor, stream: &mut Stream) -> Tensor {
    let omega = (Tensor::arange(600, F64) + 0.5) * (std::f64::consts::PI / 600.0);
    let density = igso3(eps, &omega).0.exp() * (omega.cos().neg() + 1.0);
    let law = density.cumsum(1, Kind::Double);
    let law = &law / law.narrow(1, 599, 1);
    let u = stream.uniform(&[eps.size()[0], 1], F64);
    let cell = u.searchsorted(&law, false, false, "left", None::<&Tensor>).clamp_max(599);
    let angle = omega.index_select(0, &cell.flatten(0, 1)).unsqueeze(1);
    let axis = stream.normal(&[eps.size()[0], 3], F64);
    &axis / dot(&axis, &axis).sqrt() * angle
}

/// The rotation vector, `[B, 3]`, of the rotation `[B, 3, 3]`; not for half turns.
fn log_rotation(r: &Tensor) -> Tensor {
    let part = |i: i64, j: i64| {
        (r.select(1, i).select(1, j) - r.select(1, j).select(1, i)).unsqueeze(1) * 0.5
    };
    let axis = vector(&part(2, 1), &part(0, 2), &part(1, 0));
    let sin = dot(&axis, &axis).sqrt().clamp_min(1e-12);
    let trace = r.diagonal(0, 1, 2).sum_dim_intlist(1, true, Kind::Double);
    &axis * (sin.atan2(&((trace - 1.0) * 0.5)) / &sin)
}

fn rotation_score(w: &Tensor, eps: &Tensor) -> Tensor {
    let omega = dot(w, w).sqrt().clamp_min(1e-9);
    w / &omega * igso3(&eps.expand([w.size()[0], 1], false), &omega).1
}

/// Brownian motion of the rotation (std `sigma t` in the algebra), VP of the centre about the
/// pocket's centre.
#[derive(Debug)]
struct IgsoVp {
    drive: Arc<dyn Representation>,
    time: TimeDomain,
    rotation: Noise,
    translation: Noise,
}

impl IgsoVp {
    fn new() -> Self {
        let drive = Arc::new(Rigid::new(false));
        let time = TimeDomain::continuous(0.05, 1.0);
        Self { drive, time, rotation: Noise::Ve(3.0), translation: Noise::Vp(8.0) }
    }
    /// The ligand's centre as the pocket sees it, `[B, 3]`.
    fn offset(state: &State) -> Result<Tensor> {
        Ok((centre(state.x()) - centre(&state.given("pocket")?.tensor)).squeeze_dim(1))
    }
}

impl NoisingProcess for IgsoVp {
    fn name(&self) -> String {
        "IGSO(3) x VP".into()
    }
    fn drive(&self) -> &Arc<dyn Representation> {
        &self.drive
    }
    fn time(&self) -> &TimeDomain {
        &self.time
    }
    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let t = t.unsqueeze(1);
        let (eps, mean, std) =
            (self.rotation.std(&t), self.translation.mean(&t), self.translation.std(&t));
        let w = sample_igso3(&eps, stream);
        let z = stream.normal(&[clean.batch_size(), 3], clean.options());
        let shift = Self::offset(clean)? * (&mean - 1.0) + &z * &std;
        let noise = Xi(vec![-rotation_score(&w, &eps) * &eps, z]);
        let each = |a: &Tensor| Scale::Each(a.shallow_clone());
        Ok(Perturbed {
            noisy: self.fields().flow(clean, &Xi(vec![w, shift])),
            kernel: Kernel::new(vec![Scale::Same(1.0), each(&mean)], vec![each(&eps), each(&std)]),
            noise: Some(noise),
            velocity: None,
            clean: None,
            coordinates: None,
            orientation: None,
        })
    }
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let q = special(&random_orthogonal(template.batch_size(), 3, template.options(), stream));
        let z = stream.normal(&[template.batch_size(), 3], template.options());
        let z = z - Self::offset(template)?;
        self.drive.act(&Element(vec![q, z]), template)
    }
    fn prior_log_prob(&self, state: &State) -> Result<Option<Tensor>> {
        let pi = std::f64::consts::PI;
        let constant = -(8.0 * pi * pi).ln() - 1.5 * (2.0 * pi).ln();
        Ok(Some(Xi::from(Self::offset(state)?).square_norm() * -0.5 + constant))
    }
    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let (turn, shift) = (self.rotation.rates(step.from), self.translation.rates(step.from));
        let same = |x| Scale::Same(x);
        let kernel = Kernel::new(
            vec![same(1.0), same(self.translation.at(step.from).0)],
            vec![same(self.rotation.at(step.from).1), same(self.translation.at(step.from).1)],
        );
        let score = kernel.score(prediction, None)?;
        let offset = Self::offset(state)?;
        Ok(Terms {
            drift: Xi(vec![offset.zeros_like(), offset * shift.0]),
            noise: vec![NoiseOperator::White(turn.1.sqrt()), NoiseOperator::White(shift.1.sqrt())],
            preconditioned: Xi(vec![&score.0[0] * turn.1, &score.0[1] * shift.1]),
            score: Some(score),
            h: None,
        })
    }
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        probe_symmetry(self.fields(), symmetry, spec, |state| {
            let offset = Self::offset(state)?;
            Ok(Xi(vec![offset.zeros_like(), offset]))
        })
    }
}

/// Four ligand atoms, seven pocket atoms: two sets of different size. Only the value's set is the
/// index set.
fn complexes(pocket: Moves) -> State {
    let ligand = normal("ligand", &[8, 4, 3]);
    State::new(Field::new(ligand.shallow_clone(), Moves::Point).indexed(1))
        .with_context("pocket", Field::new(normal("pocket", &[8, 7, 3]), pocket))
        .with_context("native", Field::new(ligand, Moves::Point).indexed(1))
}

fn native(state: &State) -> State {
    State::new(state.value.with(state.given("native").unwrap().tensor.shallow_clone()))
}

/// An orthonormal frame of the first three atoms, `[B, 3, 3]`.
fn body_frame(x: &Tensor) -> Tensor {
    let arm = |k: i64| x.select(1, k) - x.select(1, 0);
    let unit = |v: Tensor| &v / dot(&v, &v).sqrt();
    let a = unit(arm(1));
    let c = unit(cross(&a, &arm(2)));
    Tensor::stack(&[&a, &cross(&c, &a), &c], 2)
}

fn se3() -> Arc<dyn Representation> {
    Arc::new(ByTags(Euclid { n: 3, translate: true, reflect: false }))
}

#[test]
fn docking_published_drive_has_no_symmetry() {
    let model = Oracle(
        PredictionKind::Clean,
        Box::new(|state, _| Ok(Rigid::new(true).tau(&native(state)))),
    );
    let row = Row {
        process: Box::new(Ou::new(Rigid::new(true), &[Noise::Vp(8.0), Noise::Vp(8.0)])),
        model,
        clean: complexes(Moves::Point),
        symmetry: None,
        push_tolerance: 1e-7,
        refused: vec![(se3(), "axis")],
    };
    let samples = row.check(400);
    assert_close("poses", samples.x(), row.clean.x(), 1.2);
    assert_rigid(&samples, &row.clean);
}

#[test]
fn docking_symmetric_drive_has_se3() {
    let process = IgsoVp::new();
    let (rotation, translation) = (process.rotation, process.translation);
    let answer = move |state: &State, t: f64| {
        let native = native(state);
        let turned = body_frame(state.x()).matmul(&body_frame(native.x()).transpose(1, 2));
        let eps = Tensor::full([1, 1], rotation.at(t).1, F64);
        let (mean, std) = translation.at(t);
        let pocket = centre(&state.given("pocket")?.tensor);
        let aim = (centre(native.x()) - &pocket) * mean + pocket;
        let shift = ((aim - centre(state.x())) / (std * std)).squeeze_dim(1);
        Ok(Xi(vec![rotation_score(&log_rotation(&turned), &eps), shift]))
    };
    let row = Row {
        process: Box::new(process),
        model: Oracle(PredictionKind::Score, Box::new(answer)),
        clean: complexes(Moves::Point),
        symmetry: Some(se3()),
        push_tolerance: 1e-7,
        refused: vec![],
    };
    let samples = row.check(400);
    assert_rigid(&samples, &row.clean);
    let rmsd = (samples.x() - row.clean.x()).square().mean(Kind::Double).sqrt().double_value(&[]);
    assert!(rmsd < 0.8, "{rmsd}");
    // A pocket that is not told to move fixes a place.
    let fixed = complexes(Moves::Fixed);
    let refusal = row.process.symmetric_under(se3().as_ref(), &fixed.spec()).unwrap_err();
    assert!(refusal.to_string().contains("drift"), "{refusal}");
    assert_eq!(row.clean.narrow_index(0, 3).given("pocket").unwrap().tensor.size(), [8, 7, 3]);
}

fn assert_rigid(a: &State, b: &State) {
    let inner = |s: &State| {
        (s.x().unsqueeze(1) - s.x().unsqueeze(2)).square().sum_dim_intlist(-1, false, Kind::Double)
    };
    assert_close("inner distances", &inner(a), &inner(b), 1e-9);
}

#[test]
fn the_mean_trace_of_igso3_decays_with_its_variance() {
    let (eps, mut stream) = (Tensor::full([500, 1], 0.8, F64), stream("igso3"));
    let w = Tensor::cat(&(0..8).map(|_| sample_igso3(&eps, &mut stream)).collect::<Vec<_>>(), 0);
    let trace = (dot(&w, &w).sqrt().cos() * 2.0 + 1.0).mean(Kind::Double).double_value(&[]);
    assert!((trace - 3.0 * (-0.64f64).exp()).abs() < 0.06, "{trace}");
}
