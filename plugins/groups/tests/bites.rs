//! The conformance suite bites: groups, actions and drives with one deliberate mistake each fail the
//! check that is named for it.

#![allow(clippy::unwrap_used)]

mod support;

use isotropy_conformance::Status;
use isotropy_conformance::group::check_group;
use isotropy_conformance::representation::check_representation;
use isotropy_core::{
    Drive, Element, FiniteGroup, FlowCoordinates, Group, LieGroup, Representation, Result, State,
    Stream, Streams, Xi,
};
use isotropy_groups::group::{Cyclic, So3, SoN};
use isotropy_groups::representation::{Polar, PolarChart, Spherical, SphericalChart};
use std::f64::consts::PI;
use support::{Mistake, WrongDrive, assert_fails};
use tch::{Device, Kind, Tensor};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GroupMistake {
    None,
    InverseForgotten,
    ProductPerturbed,
    ProductMixesTheBatch,
    ExpOffByAThousandth,
    ExpWithoutSeries,
    ExpOneStepShort,
    GeneratorFlipped,
    BracketFlipped,
    BracketWithoutMinus,
    BracketNotLinear,
    AdjointInverted,
    AdjointForgotten,
    LogOfTheOtherBranch,
    LogWithoutGradientNearTheCut,
    LogZeroAtTheCut,
    LogLosesSmallAngles,
    LogTakesAnything,
    SampleAroundTheIdentity,
    DistanceAlwaysZero,
    ViolationAlwaysZero,
    CheckTakesAnything,
    DimensionCountsMatrices,
}

/// SO(3) with a mistake.
#[derive(Debug)]
struct WrongGroup(GroupMistake);

impl WrongGroup {
    fn is(&self, mistake: GroupMistake) -> bool {
        self.0 == mistake
    }
}

impl Group for WrongGroup {
    fn name(&self) -> String {
        format!("SO(3), {:?}", self.0)
    }
    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        So3.xi_shape(lead)
    }
    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        So3.identity(xi_shape, options)
    }
    fn compose(&self, a: &Element, b: &Element) -> Element {
        if self.is(GroupMistake::ProductPerturbed) {
            let b2 = So3.compose(b, b);
            return So3.compose(a, &So3.compose(&b2, &So3.inverse(&So3.compose(b, a))));
        }
        if self.is(GroupMistake::ProductMixesTheBatch) && b.single().dim() > 2 {
            return So3.compose(a, &b.single().flip([0]).into());
        }
        So3.compose(a, b)
    }
    fn inverse(&self, a: &Element) -> Element {
        if self.is(GroupMistake::InverseForgotten) { a.clone() } else { So3.inverse(a) }
    }
    fn sample(&self, shape: &[Vec<i64>], options: (Kind, Device), stream: &mut Stream) -> Element {
        if self.is(GroupMistake::SampleAroundTheIdentity) {
            return So3.exp(&stream.normal(&shape[0], options).into());
        }
        So3.sample(shape, options, stream)
    }
    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        let distance = So3.distance(a, b);
        if self.is(GroupMistake::DistanceAlwaysZero) { distance * 0.0 } else { distance }
    }
    fn violation(&self, a: &Element) -> Tensor {
        let violation = So3.violation(a);
        if self.is(GroupMistake::ViolationAlwaysZero) { violation.zeros_like() } else { violation }
    }
    fn check(&self, g: &Element) -> Result<()> {
        if self.is(GroupMistake::CheckTakesAnything) { Ok(()) } else { So3.check(g) }
    }
    fn lie(&self) -> Option<&dyn LieGroup> {
        Some(self)
    }
}

impl LieGroup for WrongGroup {
    fn dimension(&self, xi_shape: &[Vec<i64>]) -> i64 {
        if self.is(GroupMistake::DimensionCountsMatrices) { 9 } else { So3.dimension(xi_shape) }
    }
    fn exp(&self, xi: &Xi) -> Element {
        match self.0 {
            GroupMistake::GeneratorFlipped => So3.exp(&flip(xi, 1)),
            GroupMistake::ExpOneStepShort => {
                // The second-order Taylor polynomial.
                let x = SoN { dimension: 3 }.hat(xi.single());
                let eye = Tensor::eye(3, (x.kind(), x.device()));
                (eye + &x + x.matmul(&x) * 0.5).into()
            }
            GroupMistake::ExpOffByAThousandth => So3.exp(&xi.scale(1.001)),
            GroupMistake::ExpWithoutSeries => {
                // A norm that is harmless in the value and NaN in the gradient at zero.
                let norm = xi.single().square().sum_dim_intlist(-1, true, None).sqrt();
                So3.exp(&(xi.single() + norm * 0.0).into())
            }
            _ => So3.exp(xi),
        }
    }
    fn log(&self, g: &Element) -> Result<Xi> {
        match self.0 {
            // Consistent with its exp: only the bracket and the adjoint can tell.
            GroupMistake::GeneratorFlipped => Ok(flip(&So3.log(g)?, 1)),
            GroupMistake::LogOfTheOtherBranch => {
                // The long way round for angles above a quarter turn.
                let xi = So3.log(g)?;
                let xi = xi.single();
                let angle = xi.norm_scalaropt_dim(2, [-1], true);
                let other: Tensor = xi * (1.0 - (&angle + 1e-300).reciprocal() * (2.0 * PI));
                Ok(other.where_self(&angle.gt(0.5 * PI), xi).into())
            }
            GroupMistake::LogWithoutGradientNearTheCut => {
                let xi = So3.log(g)?;
                let xi = xi.single();
                let angle = xi.detach().norm_scalaropt_dim(2, [-1], true);
                Ok(xi.detach().where_self(&angle.gt(3.1), xi).into())
            }
            GroupMistake::LogZeroAtTheCut => {
                // The textbook formula: (R - R^T) theta / (2 sin theta).
                let r = g.single();
                let skew = r - r.transpose(-1, -2);
                let at = |i: i64, j: i64| skew.select(-2, i).select(-1, j);
                let axis = Tensor::stack(&[at(2, 1), at(0, 2), at(1, 0)], -1) * 0.5;
                let xi = So3.log(g)?;
                let sine = axis.square().sum_dim_intlist(-1, true, None).sqrt();
                let lost = sine.lt(1e-9);
                Ok(axis.zeros_like().where_self(&lost, xi.single()).into())
            }
            GroupMistake::LogLosesSmallAngles => {
                let xi = So3.log(g)?;
                let small = xi.single().abs().lt(1e-8);
                Ok(xi.map(|a| a.zeros_like().where_self(&small, a)))
            }
            GroupMistake::LogTakesAnything => {
                let r = g.single();
                let (u, _, v) = r.svd(true, true);
                let q = u.matmul(&v.transpose(-1, -2));
                let det = Tensor::linalg_det(&q).unsqueeze(-1).unsqueeze(-1);
                So3.log(&(q * det).into())
            }
            _ => So3.log(g),
        }
    }
    fn injectivity_radius(&self) -> f64 {
        So3.injectivity_radius()
    }
    fn bracket(&self, a: &Xi, b: &Xi) -> Xi {
        let bracket = So3.bracket(a, b);
        match self.0 {
            GroupMistake::BracketFlipped => bracket.scale(-1.0),
            GroupMistake::BracketWithoutMinus => a.zip(b, |a, b| a * b),
            // Breaks nothing but linearity.
            GroupMistake::BracketNotLinear => {
                bracket.map(|c| c * c.square().sum_dim_intlist(-1, true, None))
            }
            _ => bracket,
        }
    }
    fn adjoint(&self, g: &Element, xi: &Xi) -> Xi {
        if self.is(GroupMistake::AdjointInverted) {
            return So3.adjoint(&So3.inverse(g), xi);
        }
        if self.is(GroupMistake::AdjointForgotten) {
            return xi.clone();
        }
        So3.adjoint(g, xi)
    }
}

#[test]
fn the_same_group_without_a_mistake_passes_everything() {
    tch::set_num_threads(1);
    for seed in 0..3 {
        for result in check_group(&WrongGroup(GroupMistake::None), &Streams::new(seed)) {
            assert!(result.status != Status::Fail, "{result:?}");
        }
    }
    for result in check_group(&Cyclic { order: 4 }, &Streams::new(1)) {
        assert!(result.status != Status::Fail, "{result:?}");
    }
}

#[test]
fn wrong_groups_fail_the_check_named_for_them() {
    use GroupMistake as M;
    let table = [
        (M::InverseForgotten, "left inverse"),
        (M::InverseForgotten, "right inverse"),
        (M::ProductPerturbed, "associativity"),
        (M::ExpOffByAThousandth, "log(exp) near zero, relative"),
        (M::ExpOffByAThousandth, "log(exp) up to the injectivity radius"),
        (M::ExpWithoutSeries, "gradient of exp at zero"),
        (M::ExpOneStepShort, "exp lands in the group"),
        (M::ExpOneStepShort, "one-parameter subgroups"),
        (M::GeneratorFlipped, "bracket against the commutator"),
        (M::GeneratorFlipped, "bracket against the adjoint"),
        (M::GeneratorFlipped, "adjoint against conjugation"),
        (M::ProductMixesTheBatch, "leading axes are carried along"),
        (M::BracketWithoutMinus, "antisymmetry"),
        (M::BracketNotLinear, "bilinearity"),
        (M::AdjointForgotten, "adjoint against conjugation"),
        (M::LogOfTheOtherBranch, "log(exp) up to the injectivity radius"),
        (M::LogOfTheOtherBranch, "gradient of log(exp) at the hard places"),
        (M::LogWithoutGradientNearTheCut, "gradient of log(exp) at the hard places"),
        (M::CheckTakesAnything, "check takes members and refuses the rest"),
        (M::DimensionCountsMatrices, "dimension is that of the coefficients"),
        (M::BracketFlipped, "bracket against the adjoint"),
        (M::BracketFlipped, "bracket against the commutator"),
        (M::AdjointInverted, "adjoint against conjugation"),
        (M::AdjointInverted, "adjoint of a product"),
        (M::LogZeroAtTheCut, "exp(log) at the cut locus"),
        (M::LogLosesSmallAngles, "log(exp) near zero, relative"),
        (M::LogTakesAnything, "log refuses what is not in the group"),
        (M::SampleAroundTheIdentity, "invariance of the law"),
        (M::DistanceAlwaysZero, "distance"),
        (M::ViolationAlwaysZero, "NaN is no member"),
    ];
    tch::set_num_threads(1);
    let mut last = None;
    for (mistake, check) in table {
        let results = match last.take() {
            Some((same, results)) if same == mistake => results,
            _ => check_group(&WrongGroup(mistake), &Streams::new(1)),
        };
        assert_fails(&results, check);
        last = Some((mistake, results));
    }
}

/// The integers modulo 4 with a slip in the table of products.
#[derive(Debug)]
struct WrongCyclic;

impl Group for WrongCyclic {
    fn name(&self) -> String {
        "C_4 with a slip".into()
    }
    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        Some(vec![lead.to_vec()])
    }
    fn identity(&self, shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        Cyclic { order: 4 }.identity(shape, options)
    }
    fn compose(&self, a: &Element, b: &Element) -> Element {
        let slip = a.single().eq(3).logical_and(&b.single().eq(3)).to_kind(Kind::Int64);
        (Cyclic { order: 4 }.compose(a, b).single() + slip).into()
    }
    fn inverse(&self, a: &Element) -> Element {
        Cyclic { order: 4 }.inverse(a)
    }
    fn sample(&self, shape: &[Vec<i64>], options: (Kind, Device), stream: &mut Stream) -> Element {
        Cyclic { order: 4 }.sample(shape, options, stream)
    }
    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        Cyclic { order: 4 }.distance(a, b)
    }
    fn violation(&self, a: &Element) -> Tensor {
        Cyclic { order: 4 }.violation(a)
    }
    fn finite(&self) -> Option<&dyn FiniteGroup> {
        Some(self)
    }
}

impl FiniteGroup for WrongCyclic {
    fn order(&self) -> i64 {
        4
    }
}

#[test]
fn a_slip_in_a_finite_table_is_found() {
    assert_fails(&check_group(&WrongCyclic, &Streams::new(1)), "table of products");
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DriveMistake {
    ActsByTheInverse,
    IdentityShifts,
    TangentWithoutRotation,
    GeneratorFlipped,
    PullNotTransposed,
    DivergenceTwice,
    ItoHalf,
    AliasBlind,
    DeterminantWithoutRho,
    FlowByEuler,
    LiftNotFollowed,
    FieldsMixed,
}

fn flip(xi: &Xi, slot: i64) -> Xi {
    let xi = xi.single().copy();
    let _ = xi.select(-1, slot).neg_();
    xi.into()
}

impl Mistake for DriveMistake {
    fn act(self, right: &dyn Drive, g: &Element, state: &State) -> Result<State> {
        match self {
            Self::ActsByTheInverse => right.act(&right.group().inverse(g), state),
            Self::IdentityShifts => {
                let moved = right.act(g, state)?;
                Ok(moved.with_value(moved.x() + 1e-3))
            }
            _ => right.act(g, state),
        }
    }
    fn act_tangent(
        self,
        right: &dyn Drive,
        g: &Element,
        state: &State,
        v: &Tensor,
    ) -> Result<Tensor> {
        if self == Self::TangentWithoutRotation {
            return Ok(v.shallow_clone());
        }
        right.act_tangent(g, state, v)
    }
    fn flow(self, right: &dyn Drive, state: &State, xi: &Xi) -> State {
        match self {
            Self::FlowByEuler => state.with_value(state.x() + right.push(state, xi)),
            Self::LiftNotFollowed => state.with_value(right.flow(state, xi).value.tensor),
            _ => right.flow(state, xi),
        }
    }
    fn push(self, right: &dyn Drive, state: &State, xi: &Xi) -> Tensor {
        match self {
            Self::GeneratorFlipped => right.push(state, &flip(xi, 1)),
            // Pi_1 + (x_0 - 1) Pi_0 in place of Pi_1: a frame, but not one of coordinate fields.
            Self::FieldsMixed => {
                let xi = xi.single();
                let mixed = xi.narrow(-1, 1, 1) * (state.x().narrow(-1, 0, 1) - 1.0);
                let first = xi.narrow(-1, 0, 1) + mixed;
                let rest = xi.narrow(-1, 1, xi.size()[1] - 1);
                right.push(state, &Tensor::cat(&[first, rest], -1).into())
            }
            _ => right.push(state, xi),
        }
    }
    fn pull(self, right: &dyn Drive, state: &State, covector: &Tensor) -> Xi {
        if self == Self::PullNotTransposed {
            return right.push(state, &covector.shallow_clone().into()).into();
        }
        right.pull(state, covector)
    }
    fn divergences(self, right: &dyn Drive, state: &State) -> Xi {
        let divergences = right.divergences(state);
        if self == Self::DivergenceTwice { divergences.scale(2.0) } else { divergences }
    }
    fn ito(self, right: &dyn Drive, state: &State, variance: &[f64]) -> Tensor {
        let ito = right.ito(state, variance);
        if self == Self::ItoHalf { ito * 0.5 } else { ito }
    }
    /// Claims of every symmetry that it leaves the coefficients as they are.
    fn transport(
        self,
        _: &dyn Drive,
        _: &dyn Representation,
        _: &Element,
        _: &State,
        xi: &Xi,
    ) -> Result<Xi> {
        Ok(xi.clone())
    }
    fn orientation(self, right: &dyn FlowCoordinates, tau: &Xi) -> Option<Xi> {
        if self == Self::AliasBlind { None } else { right.orientation(tau) }
    }
    fn log_abs_det(self, right: &dyn FlowCoordinates, state: &State) -> Tensor {
        let log_abs_det = right.log_abs_det(state);
        if self == Self::DeterminantWithoutRho {
            return log_abs_det - right.regularity(state).log();
        }
        log_abs_det
    }
}

#[test]
fn wrong_drives_fail_the_check_named_for_them() {
    use DriveMistake as M;
    let table = [
        (M::ActsByTheInverse, "homomorphism"),
        (M::IdentityShifts, "identity acts trivially"),
        (M::TangentWithoutRotation, "tangents against the action"),
        (M::GeneratorFlipped, "push against the flow"),
        (M::GeneratorFlipped, "fields are coordinate fields"),
        (M::PullNotTransposed, "pull is the transpose of push"),
        (M::DivergenceTwice, "divergences against autodiff"),
        (M::ItoHalf, "Ito term against the flow"),
        (M::AliasBlind, "fields are coordinate fields"),
        (M::DeterminantWithoutRho, "log |det| against the fields"),
        (M::FlowByEuler, "flow composes"),
        (M::LiftNotFollowed, "the flow shifts the coordinates"),
        (M::FieldsMixed, "coordinate fields commute"),
        // Rotations of space do not leave spherical coefficients as they are.
        (M::DivergenceTwice, "transport of the flow"),
    ];
    for (mistake, check) in table {
        let wrong = WrongDrive(Spherical::new(SphericalChart), mistake);
        assert_fails(&check_representation(&wrong, &Streams::new(1)), check);
    }
    // On the plane the divergence of the angle is zero; that of log r still tells.
    let wrong = WrongDrive(Polar::new(PolarChart), M::DivergenceTwice);
    assert_fails(&check_representation(&wrong, &Streams::new(1)), "divergences against autodiff");
}
