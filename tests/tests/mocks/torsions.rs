//! Conformers by torsions: T^m acts on (R^3)^N. The smaller side of each rotatable bond turns and the
//! centroid is held. Molecules of a batch have different numbers of such bonds: coefficients are
//! padded as atoms are. Wrapped normal kernel; under reflections coefficients get the determinant.

use crate::groups::{Additive, ByTags, Euclid};
use crate::harness::{F64, Oracle, Row, assert_close, difference, normal, random_xi, stream};
use crate::ou::{Noise, times_like};
use crate::sphere::{cross, dot, turn};
use crate::torus::turns;
use isotropy_core::{
    Drive, Element, Error, Field, Group, Kernel, KernelLaw, Moves, NoiseOperator, NoisingProcess,
    Perturbed, Prediction, PredictionKind, Representation, Result, Scale, State, StateSpec, Step,
    Stream, Terms, TimeDomain, Xi, probe_symmetry, representation::vector_matrix,
};
use std::f64::consts::PI;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Numbers of the four atoms of each torsion: `[B, m, 4]`, zero for padding.
const QUADS: &str = "torsion_atoms";
/// The atoms that turn, `[B, m, N]`: +1 on the side of the last atom, -1 on that of the first.
const SIDES: &str = "torsion_sides";

/// Chains of `sizes[b]` atoms of at most `atoms`, with a torsion about every inner bond.
fn structure(sizes: &[i64], atoms: i64, bonds: i64) -> [Tensor; 3] {
    let batch = sizes.len() as i64;
    let quads = Tensor::zeros([batch, bonds, 4], (Kind::Int64, Device::Cpu));
    let sides = Tensor::zeros([batch, bonds, atoms], F64);
    let mask = Tensor::zeros([batch, atoms], F64);
    for (b, &size) in (0..).zip(sizes) {
        let _ = mask.select(0, b).narrow(0, 0, size).fill_(1.0);
        for j in 0..bonds.min(size - 3) {
            let four = Tensor::arange_start(j, j + 4, (Kind::Int64, Device::Cpu));
            quads.select(0, b).select(0, j).copy_(&four);
            let (near, side) = (j + 2, sides.select(0, b).select(0, j));
            let _ = if 2 * near > size {
                side.narrow(0, near, size - near).fill_(1.0)
            } else {
                side.narrow(0, 0, near).fill_(-1.0)
            };
        }
    }
    [quads, sides, mask]
}

fn molecule(x: &Tensor, [quads, sides, mask]: [Tensor; 3]) -> State {
    let x = x * mask.unsqueeze(-1);
    let point = |x: &Tensor| Field::new(x.shallow_clone(), Moves::Point).indexed(1);
    State::new(point(&x))
        .with_context("native", point(&x))
        .with_context(QUADS, Field::new(quads, Moves::Fixed))
        .with_context(SIDES, Field::new(sides, Moves::Fixed).indexed(2))
        .with_context(State::MASK, Field::new(mask, Moves::Fixed).indexed(1))
}

#[derive(Debug)]
struct Torsions;

impl Torsions {
    fn of<'a>(state: &'a State, name: &str) -> &'a Tensor {
        &state.given(name).expect("accepted with its bonds").tensor
    }
    /// Which coefficients are there, `[B, m]`.
    fn there(state: &State) -> Tensor {
        Self::of(state, SIDES).abs().amax([-1].as_slice(), false)
    }
    /// The four atoms of each torsion, each `[B, m, 3]`.
    fn atoms(state: &State) -> [Tensor; 4] {
        let quads = Self::of(state, QUADS);
        [0, 1, 2, 3].map(|k| {
            let rows = quads.select(2, k).unsqueeze(-1).expand([-1, -1, 3], false);
            state.x().gather(1, &rows, false)
        })
    }
    /// Axis of each torsion, `[B, m, 3]`; zero for padding.
    fn axes(state: &State) -> (Tensor, Tensor) {
        let [_, near, far, _] = Self::atoms(state);
        let bond = far - &near;
        (&bond / dot(&bond, &bond).sqrt().clamp_min(1e-12), near)
    }
    /// Without the motion of the centroid, and at atoms that are there.
    fn held(state: &State, v: &Tensor) -> Tensor {
        let mask = state.mask().expect("accepted with its mask").unsqueeze(-1);
        let sum = |a: &Tensor| a.sum_dim_intlist(1, true, Kind::Double);
        (v - sum(&(v * &mask)) / sum(&mask)) * mask
    }
    /// `side (u x arm)` of each torsion at each atom, `[B, m, N, 3]`, and the axes in that shape.
    fn fields(state: &State) -> (Tensor, Tensor) {
        let (axes, near) = Self::axes(state);
        let arms = state.x().unsqueeze(1) - near.unsqueeze(2);
        let axes = axes.unsqueeze(2).expand_as(&arms);
        (cross(&axes, &arms) * Self::of(state, SIDES).unsqueeze(-1), axes)
    }
    /// The dihedral angle of each torsion, `[B, m]`.
    fn angles(state: &State) -> Tensor {
        let [a, b, c, d] = Self::atoms(state);
        let (first, bond, last) = (&b - a, &c - b, d - &c);
        let (left, right) = (cross(&first, &bond), cross(&bond, &last));
        let length = dot(&bond, &bond).sqrt();
        let sin = dot(&first, &right) * length;
        (sin.atan2(&dot(&left, &right)) * Self::there(state).unsqueeze(-1)).squeeze_dim(-1)
    }
}

impl Representation for Torsions {
    fn name(&self) -> String {
        "torsions of a molecule".into()
    }
    fn group(&self) -> &dyn Group {
        &Additive("T^m", None)
    }
    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        let found = |name: &str| spec.context.iter().any(|(found, _)| found == name);
        if [QUADS, SIDES, State::MASK].into_iter().all(found) {
            return Ok(());
        }
        Err(Error::Unsupported("molecules need their bonds and a mask".into()))
    }
    fn element_shape(&self, state: &State) -> Result<Vec<Vec<i64>>> {
        Ok(vec![Self::there(state).size()])
    }
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        Ok(self.flow(state, &Xi(vec![g.single().shallow_clone()])))
    }
    fn act_tangent(&self, _: &Element, _: &State, _: &Tensor) -> Result<Tensor> {
        Err(Error::Unsupported("torsions turn about bonds that turn, too".into()))
    }
    /// Random numbers in the place of bonds name no atoms: a chain of that size.
    fn random_state(
        &self,
        spec: &StateSpec,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> State {
        let mut state = State::random(spec, batch, options, stream);
        let (atoms, bonds) = (state.x().size()[1], Self::of(&state, QUADS).size()[1]);
        let sizes = vec![atoms; batch as usize];
        for (name, tensor) in
            [QUADS, SIDES, State::MASK].iter().zip(structure(&sizes, atoms, bonds))
        {
            let field = state.given(name).expect("it is in the spec").with(tensor);
            state = state.with_context(name, field);
        }
        state
    }
    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

impl Drive for Torsions {
    fn frame(&self) -> String {
        "torsion angles".into()
    }
    fn xi_shape(&self, spec: &StateSpec) -> Vec<Vec<i64>> {
        let bonds = spec.context.iter().find(|(name, _)| name == SIDES);
        vec![vec![bonds.expect("accepted with its bonds").1.shape[0]]]
    }
    /// Sides are nested or apart, so turns about bonds commute: one after another, each about the bond
    /// where it is by then.
    fn flow(&self, state: &State, xi: &Xi) -> State {
        let mut now = state.clone();
        for j in 0..xi.single().size()[1] {
            let (axes, near) = Self::axes(&now);
            let (axis, near) = (axes.narrow(1, j, 1), near.narrow(1, j, 1));
            let side = Self::of(state, SIDES).select(1, j).unsqueeze(-1);
            let angle = xi.single().narrow(1, j, 1).unsqueeze(-1) * &side;
            let moved = turn(&(axis * angle), &(now.x() - &near)) + near;
            now = state.with_value(moved);
        }
        state.with_value(state.x() + Self::held(state, &(now.x() - state.x())))
    }
    fn push(&self, state: &State, xi: &Xi) -> Tensor {
        let weights = xi.single().unsqueeze(-1).unsqueeze(-1);
        let sum = (Self::fields(state).0 * weights).sum_dim_intlist(1, false, Kind::Double);
        Self::held(state, &sum)
    }
    fn pull(&self, state: &State, covector: &Tensor) -> Xi {
        let held = Self::held(state, covector).unsqueeze(1);
        let all = (Self::fields(state).0 * held).sum_dim_intlist([2, 3].as_slice(), false, None);
        all.into()
    }
    fn divergences(&self, state: &State) -> Xi {
        Self::there(state).zeros_like().into()
    }
    fn base_measure(&self) -> &'static str {
        "the angles of the torsions, on the orbit of the molecule"
    }
    fn ito(&self, state: &State, variance: &[f64]) -> Tensor {
        let (fields, axes) = Self::fields(state);
        let twice = cross(&axes, &fields) * Self::of(state, SIDES).unsqueeze(-1);
        Self::held(state, &twice.sum_dim_intlist(1, false, Kind::Double)) * variance[0]
    }
    fn horizontal(&self, state: &State, xi: &Xi) -> Xi {
        (xi.single() * Self::there(state)).into()
    }
    /// A mirror turns every torsion the other way.
    fn transport(&self, s: &dyn Representation, h: &Element, x: &State, xi: &Xi) -> Result<Xi> {
        Ok((xi.single() * vector_matrix(s, h, x, 3)?.det().unsqueeze(-1)).into())
    }
}

/// Slope of the log-density of the wrapped normal law.
fn wrapped_slope(angle: &Tensor, std: &Tensor) -> Tensor {
    let all = turns(angle).unsqueeze(-1) + Tensor::arange_start(-4, 5, F64) * (2.0 * PI);
    let variance = std.square().unsqueeze(-1);
    let weight = (all.square() / (&variance * -2.0)).softmax(-1, Kind::Double);
    -(weight * all / variance).sum_dim_intlist(-1, false, Kind::Double)
}

#[derive(Debug)]
struct Wrapped {
    drive: Arc<dyn Representation>,
    time: TimeDomain,
    noise: Noise,
}

impl Wrapped {
    fn new() -> Self {
        let time = TimeDomain::continuous(0.01, 1.0);
        Self { drive: Arc::new(Torsions), time, noise: Noise::Ve(PI) }
    }
    fn white(&self, state: &State, f: impl FnOnce(&[i64]) -> Tensor) -> Xi {
        self.fields().horizontal(state, &f(&Torsions::there(state).size()).into())
    }
}

#[derive(Debug)]
struct Sizes(TimeDomain, Noise);

impl KernelLaw for Sizes {
    fn time(&self) -> &TimeDomain {
        &self.0
    }
    fn scales(&self, t: f64) -> Kernel {
        Kernel::new(vec![Scale::Same(1.0)], vec![Scale::Same(self.1.at(t).1)])
    }
    fn tensors(&self, t: &Tensor) -> Kernel {
        Kernel::new(vec![Scale::Same(1.0)], vec![Scale::Each(self.1.std(t))])
    }
    fn gaussian(&self) -> bool {
        false
    }
}

impl NoisingProcess for Wrapped {
    fn name(&self) -> String {
        "wrapped normal torsions".into()
    }
    fn drive(&self) -> &Arc<dyn Representation> {
        &self.drive
    }
    fn time(&self) -> &TimeDomain {
        &self.time
    }
    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let z = self.white(clean, |size| stream.normal(size, clean.options()));
        let std = self.noise.std(&times_like(t, z.single()));
        let angle = z.single() * &std;
        let noise = wrapped_slope(&angle, &std) * -&std;
        Ok(Perturbed {
            noisy: self.fields().flow(clean, &angle.into()),
            kernel: Kernel::new(vec![Scale::Same(1.0)], vec![Scale::Each(std)]),
            noise: Some(self.fields().horizontal(clean, &noise.into())),
            velocity: None,
            clean: None,
            coordinates: None,
            orientation: None,
        })
    }
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let u = self.white(template, |size| stream.uniform(size, template.options()));
        Ok(self.fields().flow(template, &u.scale(2.0 * PI)))
    }
    /// As many angles as each molecule has.
    fn prior_log_prob(&self, state: &State) -> Result<Option<Tensor>> {
        let count = Torsions::there(state).sum_dim_intlist(1, false, Kind::Double);
        Ok(Some(count * -(2.0 * PI).ln()))
    }
    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let kernel = Sizes(self.time.clone(), self.noise).scales(step.from);
        let score = self.fields().horizontal(state, &kernel.score(prediction, None)?);
        let variance = self.noise.rates(step.from).1;
        Ok(Terms {
            drift: score.zeros_like(),
            noise: vec![NoiseOperator::White(variance.sqrt())],
            preconditioned: score.scale(variance),
            score: Some(score),
            h: None,
        })
    }
    fn kernel(&self) -> Option<Arc<dyn KernelLaw>> {
        Some(Arc::new(Sizes(self.time.clone(), self.noise)))
    }
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        probe_symmetry(self.fields(), symmetry, spec, |state| {
            Ok(Torsions::there(state).zeros_like().into())
        })
    }
}

/// Seven atoms with four bonds that turn, and five atoms with two, in turn.
fn molecules(batch: usize) -> State {
    let sizes: Vec<i64> = (0..batch).map(|b| if b % 2 == 0 { 7 } else { 5 }).collect();
    molecule(&normal("molecules", &[batch as i64, 7, 3]), structure(&sizes, 7, 4))
}

#[test]
fn torsions_of_molecules_of_different_size_have_e3() {
    let answer = |state: &State, t: f64| {
        let native = state.with_value(state.given("native")?.tensor.shallow_clone());
        let away = Torsions::angles(state) - Torsions::angles(&native);
        let score = wrapped_slope(&away, &Tensor::full([1, 1], Noise::Ve(PI).at(t).1, F64));
        Ok(Torsions.horizontal(state, &score.into()))
    };
    let row = Row {
        process: Box::new(Wrapped::new()),
        model: Oracle(PredictionKind::Score, Box::new(answer)),
        clean: molecules(8),
        symmetry: Some(Arc::new(ByTags(Euclid { n: 3, translate: true, reflect: true }))),
        push_tolerance: 1e-6,
        refused: vec![],
    };
    let samples = row.check(300);
    let error = turns(&(Torsions::angles(&samples) - Torsions::angles(&row.clean)));
    let error = error.abs().max().double_value(&[]);
    assert!(error < 0.3, "{error}");
    let padding = samples.x() * (row.clean.mask().unwrap().unsqueeze(-1) * -1.0 + 1.0);
    assert_eq!(padding.abs().max().double_value(&[]), 0.0);
    let density = row.process.prior_log_prob(&samples).unwrap().unwrap();
    let counts = Vec::<f64>::try_from(density / -(2.0 * PI).ln()).unwrap();
    assert_eq!(counts.iter().map(|c| c.round()).collect::<Vec<_>>(), [4., 2.].repeat(4));
}

/// Coefficients are the changes of the dihedral angles themselves; bonds and angles between them, the
/// centroid, and whatever is padding stay.
#[test]
fn a_turn_changes_dihedral_angles_and_nothing_else() {
    let state = molecules(6);
    let xi = random_xi(&Torsions, &state, "xi");
    let there = Torsions.horizontal(&state, &xi);
    let moved = Torsions.flow(&state, &there);
    let change = turns(&(Torsions::angles(&moved) - Torsions::angles(&state)));
    assert_close("angles", &turns(&(&change - there.single())), &change.zeros_like(), 1e-9);
    let near = |state: &State, k: i64| {
        let x = state.x();
        let apart = x.narrow(1, 0, 5 - k) - x.narrow(1, k, 5 - k);
        apart.square().sum_dim_intlist(-1, false, Kind::Double)
    };
    for k in [1, 2] {
        assert!(difference(&near(&moved, k), &near(&state, k)) < 1e-9, "atoms {k} bonds apart");
    }
    let centroid = |state: &State| state.x().sum_dim_intlist(1, false, Kind::Double);
    assert_close("centroid", &centroid(&moved), &centroid(&state), 1e-9);
    // Padded coefficients move nothing, and are taken out.
    assert_close("padding", Torsions.flow(&state, &xi).x(), moved.x(), 1e-12);
    assert_eq!(there.single().get(1).narrow(0, 2, 2).abs().max().double_value(&[]), 0.0);
    // One turn after another is one turn.
    let again = Torsions.flow(&moved, &there.scale(0.5));
    assert_close("an action", again.x(), Torsions.flow(&state, &there.scale(1.5)).x(), 1e-9);
}

#[test]
fn the_mean_cosine_of_a_torsion_decays_with_its_variance() {
    let process = Wrapped::new();
    let clean = molecules(4000);
    let t = Tensor::full([4000], 0.4, F64);
    let noisy = process.perturb(&clean, &t, &mut stream("wrapped")).unwrap().noisy;
    let change = Torsions::angles(&noisy) - Torsions::angles(&clean);
    let there = Torsions::there(&clean);
    let mean = (change.cos() * &there).sum(Kind::Double) / there.sum(Kind::Double);
    let expected = (-0.5 * process.noise.at(0.4).1.powi(2)).exp();
    let mean = mean.double_value(&[]);
    assert!((mean - expected).abs() < 0.02, "{mean} for {expected}");
}
