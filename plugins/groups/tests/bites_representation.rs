//! The conformance suite bites: representations, drives and models with one deliberate mistake each
//! fail the check that is named for it, and pass all checks without the mistake.

#![allow(clippy::unwrap_used)]

mod support;

use isotropy_conformance::model::check_model;
use isotropy_conformance::representation::{check_representation, check_transport};
use isotropy_core::{
    Drive, Element, FieldSpec, Group, Kernel, LieGroup, ModelConfig, ModelContext, Moves,
    NoisingProcess, Perturbed, Prediction, PredictionKind, Representation, RepresentationConfig,
    Result, Scale, ScoreModel, State, StateSpec, Step, Stream, Streams, Terms, TimeDomain, Xi,
};
use isotropy_groups::group::{Dihedral, So3};
use isotropy_groups::irreps::Irreps;
use isotropy_groups::representation::{
    Generators, Hyperspherical, HypersphericalChart, Linear, LinearRepresentation, Permutation,
    Rotated, Rotation, RotationMatrices, Translation, as_linear,
};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::sync::Arc;
use support::{Mistake, WrongDrive, assert_fails, assert_passes};
use tch::{Device, Kind, Tensor};

fn spread(a: &Tensor) -> Tensor {
    a.unsqueeze(-1).unsqueeze(-1)
}

// ---- Matrices -----------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MatrixMistake {
    None,
    OffByAThousandth,
    Transposed,
    InverseForgotten,
    WrongSide,
    CancelsDigits,
    SingleInside,
    GradientLost,
}

/// A linear representation with a mistake.
#[derive(Debug)]
struct WrongMatrices(Arc<dyn Linear>, MatrixMistake);

impl Linear for WrongMatrices {
    fn name(&self) -> String {
        format!("{}, {:?}", self.0.name(), self.1)
    }
    fn group(&self) -> &Arc<dyn Group> {
        self.0.group()
    }
    fn dimension(&self) -> i64 {
        self.0.dimension()
    }
    fn matrix(&self, g: &Element, kind: Kind) -> Tensor {
        let right = || self.0.matrix(g, kind);
        match self.1 {
            MatrixMistake::None => right(),
            MatrixMistake::OffByAThousandth => right() * 1.001,
            // The dual of an orthogonal representation without the inverse, or row vectors.
            MatrixMistake::Transposed => right().transpose(-1, -2),
            MatrixMistake::InverseForgotten => self.0.matrix(&self.0.group().inverse(g), kind),
            // (g f)(h) = f(h g): an action too, but of the other kind for `e_k -> e_(k g)`.
            MatrixMistake::WrongSide => {
                let group = self.0.group();
                let n = self.dimension();
                let all = group.finite().unwrap().elements(Device::Cpu);
                let shape = [g.single().size().as_slice(), &[n]].concat();
                let g = Element::from(g.single().unsqueeze(-1).expand(&shape, false));
                let k = Element::from(all.single().expand(&shape, false));
                group.compose(&k, &g).single().one_hot(n).transpose(-1, -2).to_kind(kind)
            }
            MatrixMistake::CancelsDigits => (right() + 3e4) - 3e4,
            MatrixMistake::SingleInside => right().to_kind(Kind::Float).to_kind(kind),
            // The angle by the trace: its slope at the identity is 0/0.
            MatrixMistake::GradientLost => {
                let trace = g.single().diagonal(0, -2, -1).sum_dim_intlist(-1, false, None);
                right() + spread(&(((trace - 1.0) * 0.5).clamp(-1.0, 1.0).acos() * 0.0))
            }
        }
    }
}

#[test]
fn wrong_matrices_fail_the_check_named_for_them() {
    tch::set_num_threads(1);
    use MatrixMistake as M;
    let irreps = || Arc::new(Rotated::new("1x0 + 1x2".parse::<Irreps>().unwrap()));
    let regular = || Arc::new(Permutation::new(Arc::new(Dihedral { rotations: 4 }), &[]).unwrap());
    let check = |linear: Arc<dyn Linear>, mistake| {
        let wrong = LinearRepresentation::new(Arc::new(WrongMatrices(linear, mistake)));
        check_representation(&wrong, &Streams::new(1))
    };
    assert_passes(&check(irreps(), M::None));
    assert_passes(&check(regular(), M::None));
    let table = [
        (M::OffByAThousandth, "homomorphism"),
        (M::OffByAThousandth, "identity acts trivially"),
        (M::Transposed, "homomorphism"),
        (M::Transposed, "brackets of the action"),
        (M::InverseForgotten, "homomorphism"),
        (M::CancelsDigits, "action in f32 against f64"),
        (M::SingleInside, "homomorphism (f64)"),
        (M::GradientLost, "gradient of the action at the identity is finite"),
    ];
    for (mistake, name) in table {
        assert_fails(&check(irreps(), mistake), name);
    }
    assert_fails(&check(regular(), M::WrongSide), "homomorphism");
    assert_fails(&check(regular(), M::InverseForgotten), "homomorphism");
}

// ---- Drives -------------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DriveMistake {
    None,
    GeneratorFlipped,
    DivergenceTwice,
    DivergenceOfTheSpaceAround,
    OmegaMissing,
    TransportForgetsAd,
    TransportByTheInverse,
    OffTheOrbit,
    PullTwice,
    LiftDrifts,
    CancelsDigits,
    NothingIsVertical,
}

/// The second coefficient of the first factor with the other sign.
fn flipped(xi: &Xi) -> Xi {
    let first = xi.factor(0);
    let n = first.size()[first.dim() - 1];
    let signs: Vec<f64> = (0..n).map(|i| if i == 1 { -1.0 } else { 1.0 }).collect();
    let mut flipped = xi.clone();
    flipped.0[0] = first * Tensor::from_slice(&signs).to_kind(first.kind());
    flipped
}

impl DriveMistake {
    fn flip(self, xi: &Xi) -> Xi {
        if self == Self::GeneratorFlipped { flipped(xi) } else { xi.clone() }
    }
}

impl Mistake for DriveMistake {
    fn lift(self, right: &dyn Drive, state: State) -> Result<State> {
        let state = right.lift(state)?;
        Ok(if self == Self::LiftDrifts { state.with_value(state.x() + 1e-3) } else { state })
    }
    fn flow(self, right: &dyn Drive, state: &State, xi: &Xi) -> State {
        right.flow(state, &self.flip(xi))
    }
    fn push(self, right: &dyn Drive, state: &State, xi: &Xi) -> Tensor {
        let pushed = right.push(state, &self.flip(xi));
        match self {
            Self::OffTheOrbit => pushed + state.x() * 1e-3,
            Self::CancelsDigits => (pushed + 3e4) - 3e4,
            _ => pushed,
        }
    }
    fn pull(self, right: &dyn Drive, state: &State, covector: &Tensor) -> Xi {
        let pulled = self.flip(&right.pull(state, covector));
        if self == Self::PullTwice { pulled.scale(2.0) } else { pulled }
    }
    fn divergences(self, right: &dyn Drive, state: &State) -> Xi {
        let divergences = right.divergences(state);
        match self {
            Self::DivergenceTwice => divergences.scale(2.0),
            // A field of SO(3) is linear in the matrix; this pretends that it were not tangent.
            Self::DivergenceOfTheSpaceAround => divergences.map(|d| d + 1e-3),
            _ => divergences,
        }
    }
    fn ito(self, right: &dyn Drive, state: &State, variance: &[f64]) -> Tensor {
        let ito = right.ito(state, variance);
        if self == Self::OmegaMissing { ito.zeros_like() } else { ito }
    }
    fn horizontal(self, right: &dyn Drive, state: &State, xi: &Xi) -> Xi {
        if self == Self::NothingIsVertical {
            return xi.clone();
        }
        self.flip(&right.horizontal(state, &self.flip(xi)))
    }
    fn transport(
        self,
        right: &dyn Drive,
        symmetry: &dyn Representation,
        h: &Element,
        state: &State,
        xi: &Xi,
    ) -> Result<Xi> {
        match self {
            Self::TransportForgetsAd => Ok(xi.clone()),
            Self::TransportByTheInverse => {
                right.transport(symmetry, &symmetry.group().inverse(h), state, xi)
            }
            _ => right.transport(symmetry, h, state, xi),
        }
    }
}

#[test]
fn wrong_drives_on_rotations_fail_the_check_named_for_them() {
    tch::set_num_threads(1);
    use DriveMistake as M;
    let check = |mistake| {
        let wrong = WrongDrive(RotationMatrices, mistake);
        let mut results = check_representation(&wrong, &Streams::new(1));
        results.extend(check_transport(&wrong, &Rotation::space(), &Streams::new(1)));
        results
    };
    assert_passes(&check(M::None));
    let table = [
        (M::GeneratorFlipped, "brackets of generator fields"),
        (M::GeneratorFlipped, "fields against the action"),
        (M::DivergenceOfTheSpaceAround, "divergences against autodiff"),
        (M::OmegaMissing, "Ito term against the flow"),
        (M::TransportForgetsAd, "transport of the flow"),
        (M::TransportByTheInverse, "transport of the flow"),
        (M::TransportByTheInverse, "transport of a product"),
        (M::OffTheOrbit, "fields against the action"),
        (M::OffTheOrbit, "push against the flow"),
        (M::PullTwice, "pull against autodiff of the flow"),
        (M::PullTwice, "pull is the transpose of push"),
        (M::LiftDrifts, "lifting twice changes nothing"),
        (M::CancelsDigits, "frame in f32 against f64"),
    ];
    for (mistake, name) in table {
        assert_fails(&check(mistake), name);
    }
}

#[test]
fn wrong_drives_with_stabilisers_fail_the_check_named_for_them() {
    tch::set_num_threads(1);
    use DriveMistake as M;
    let check = |mistake| {
        let wrong = WrongDrive(Generators::new(3).unwrap(), mistake);
        check_representation(&wrong, &Streams::new(1))
    };
    assert_passes(&check(M::None));
    let table = [
        (M::GeneratorFlipped, "brackets of generator fields"),
        (M::GeneratorFlipped, "fields against the action"),
        (M::DivergenceTwice, "divergences against autodiff"),
        (M::OmegaMissing, "Ito term against the flow"),
        (M::NothingIsVertical, "horizontal removes what push does not see"),
    ];
    for (mistake, name) in table {
        assert_fails(&check(mistake), name);
    }
}

#[test]
fn wrong_coordinates_fail_the_check_named_for_them() {
    tch::set_num_threads(1);
    use DriveMistake as M;
    let check = |mistake| {
        let wrong = WrongDrive(Hyperspherical::new(HypersphericalChart::new(5).unwrap()), mistake);
        check_representation(&wrong, &Streams::new(1))
    };
    assert_passes(&check(M::None));
    let table = [
        (M::GeneratorFlipped, "fields are coordinate fields"),
        (M::DivergenceTwice, "divergences against autodiff"),
        (M::DivergenceTwice, "divergences are derivatives of log |det|"),
        (M::OmegaMissing, "Ito term against the flow"),
        (M::PullTwice, "pull against autodiff of the flow"),
    ];
    for (mistake, name) in table {
        assert_fails(&check(mistake), name);
    }
}

// ---- Models -------------------------------------------------------------------------------------

/// Just enough of a process for a model to be checked: T(n) with noise of size t.
#[derive(Debug)]
struct Noise(Arc<dyn Representation>, TimeDomain);

impl NoisingProcess for Noise {
    fn name(&self) -> String {
        "noise of size t".into()
    }
    fn drive(&self) -> &Arc<dyn Representation> {
        &self.0
    }
    fn time(&self) -> &TimeDomain {
        &self.1
    }
    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let z = stream.normal(&clean.x().size(), clean.options());
        let mut shape = vec![1; z.dim()];
        shape[0] = clean.batch_size();
        let noisy = clean.with_value(clean.x() + &z * t.reshape(&shape));
        let kernel = Kernel::new(vec![Scale::Same(1.0)], vec![Scale::Each(t.reshape(&shape))]);
        let (clean, coordinates, orientation) = (None, None, None);
        Ok(Perturbed {
            noisy,
            kernel,
            noise: Some(z.into()),
            velocity: None,
            clean,
            coordinates,
            orientation,
        })
    }
    fn prior(&self, template: &State, _stream: &mut Stream) -> Result<State> {
        Ok(template.clone())
    }
    fn prior_log_prob(&self, _state: &State) -> Result<Option<Tensor>> {
        Ok(None)
    }
    fn terms(&self, _state: &State, _step: Step, _prediction: &Prediction) -> Result<Terms> {
        Err(isotropy_core::Error::Unsupported("only models are tested with this".into()))
    }
    fn symmetric_under(&self, _symmetry: &dyn Representation, _spec: &StateSpec) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum ModelMistake {
    None,
    QuarterTurnsOnly,
    Remembers,
    InfiniteAtTheStart,
    SeesPadding,
    MixesTheBatch,
    GradientLost,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct BiteConfig(ModelMistake);

#[typetag::serde(name = "bite")]
impl ModelConfig for BiteConfig {
    fn build(&self, _: &tch::nn::Path, _: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        Ok(Box::new(WrongModel(self.0, Cell::new(0.0))))
    }
}

/// `x (|x|^2 + |mean|^2)` on sets of points of the plane, equivariant under rotations, with a
/// mistake.
struct WrongModel(ModelMistake, Cell<f64>);

impl ScoreModel for WrongModel {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Noise
    }
    fn predict(&self, state: &State, t: &Tensor, _train: bool) -> Result<Prediction> {
        let x = state.x();
        let mask = state.mask().map_or_else(
            || x.select(-1, 0).ones_like().unsqueeze(-1),
            |mask| mask.to_kind(x.kind()).unsqueeze(-1),
        );
        let mask = if self.0 == ModelMistake::SeesPadding { mask.ones_like() } else { mask };
        let count = mask.sum_dim_intlist([1].as_slice(), true, None);
        let mean = (x * &mask).sum_dim_intlist([1].as_slice(), true, None) / count;
        let square = |a: &Tensor| a.square().sum_dim_intlist([-1].as_slice(), true, None);
        let right = x * (square(x) + square(&mean)) + mean;
        let out = match self.0 {
            // Componentwise cubes commute with quarter turns and mirrors, with nothing else.
            ModelMistake::QuarterTurnsOnly => x.pow_tensor_scalar(3),
            ModelMistake::Remembers => {
                self.1.set(self.1.get() + 1.0);
                right * (1.0 + 1e-3 * self.1.get())
            }
            ModelMistake::InfiniteAtTheStart => right / (t - 0.1).reshape([-1, 1, 1]),
            ModelMistake::MixesTheBatch => &right - right.mean_dim([0].as_slice(), true, None),
            ModelMistake::GradientLost => right + (x * 0.0).square().sqrt(),
            _ => right,
        };
        Ok(Prediction { kind: PredictionKind::Noise, heads: vec![out.into()] })
    }
    fn claims_symmetry(&self) -> bool {
        true
    }
}

#[test]
fn wrong_models_fail_the_check_named_for_them() {
    tch::set_num_threads(1);
    use ModelMistake as M;
    let set = FieldSpec::new(&[4, 2], Moves::Point).indexed(1);
    let mask = FieldSpec::new(&[4], Moves::Fixed).indexed(1);
    let spec = StateSpec::new(set).with_context(State::MASK, mask);
    let process = Noise(Arc::new(Translation::new(false)), TimeDomain::continuous(0.1, 1.0));
    let rotation: Arc<dyn Representation> = Arc::new(Rotation::plane());
    let check = |mistake, symmetry: &Arc<dyn Representation>| {
        let context =
            ModelContext { spec: &spec, process: Some(&process), symmetry: Some(symmetry) };
        check_model(&BiteConfig(mistake), &context, &Streams::new(1))
    };
    assert_passes(&check(M::None, &rotation));
    let table = [
        (M::QuarterTurnsOnly, "equivariance under the claimed symmetry"),
        (M::Remembers, "evaluation repeats itself"),
        (M::InfiniteAtTheStart, "predictions are finite at the ends of time"),
        (M::SeesPadding, "padding has no influence"),
        (M::MixesTheBatch, "a point does not depend on its batch"),
        (M::GradientLost, "gradients are finite"),
    ];
    for (mistake, name) in table {
        assert_fails(&check(mistake, &rotation), name);
    }
    // The claim would be right for quarter turns.
    let json = r#"{"type": "defining", "group": {"type": "cyclic", "order": 4}}"#;
    let quarter = serde_json::from_str::<Box<dyn RepresentationConfig>>(json).unwrap();
    assert_passes(&check(M::QuarterTurnsOnly, &quarter.build().unwrap()));
}

/// The mistakes above are mistakes: the matrices that they spoil are right, and SO(3) has brackets
/// to tell left from right.
#[test]
fn what_is_spoiled_was_whole() {
    let one = Rotated::new("1x1".parse::<Irreps>().unwrap());
    let one = LinearRepresentation::new(Arc::new(one));
    assert_eq!(as_linear(&one).unwrap().dimension(), 3);
    let a = Xi::from(Tensor::from_slice(&[1.0, 0.0, 0.0]).unsqueeze(0));
    let b = Xi::from(Tensor::from_slice(&[0.0, 1.0, 0.0]).unsqueeze(0));
    assert_eq!(So3.bracket(&a, &b).single().double_value(&[0, 2]), 1.0);
}
