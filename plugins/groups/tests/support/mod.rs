//! What the tests share that show the conformance suite to bite: how a failed check is named, and
//! drives that are right but for one deliberate mistake.

#![allow(clippy::unwrap_used, dead_code)]

use isotropy_conformance::{CheckResult, Status};
use isotropy_core::representation::as_type;
use isotropy_core::{
    Drive, Element, FlowCoordinates, Group, Homogeneous, Representation, Result, State, StateSpec,
    Stream, Xi,
};
use std::fmt::Debug;
use tch::{Device, Kind, Tensor};

/// The check of that name (with or without the kind that it ran in) has failed.
#[track_caller]
pub fn assert_fails(results: &[CheckResult], check: &str) {
    let bare = |r: &CheckResult| -> bool {
        let name = r.check.trim_end_matches(" (f64)").trim_end_matches(" (f32)");
        r.check == check || name == check
    };
    let named: Vec<&CheckResult> = results.iter().filter(|r| bare(r)).collect();
    assert!(!named.is_empty(), "there is no check '{check}'");
    // A panic would be a mistake of the mistake, not something that the check found.
    let found = |r: &CheckResult| r.status == Status::Fail && !r.why.contains("panicked");
    assert!(named.iter().any(|r| found(r)), "'{check}' does not bite: {named:#?}");
}

/// No check has failed, and some have passed.
#[track_caller]
pub fn assert_passes(results: &[CheckResult]) {
    let failed: Vec<&CheckResult> = results.iter().filter(|r| r.status == Status::Fail).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(results.iter().any(|r| r.status == Status::Pass));
}

/// What a mistake changes of a drive; the rest is the drive's own.
pub trait Mistake: Debug + Copy + Send + Sync + 'static {
    fn act(self, right: &dyn Drive, g: &Element, state: &State) -> Result<State> {
        right.act(g, state)
    }
    fn act_tangent(
        self,
        right: &dyn Drive,
        g: &Element,
        state: &State,
        v: &Tensor,
    ) -> Result<Tensor> {
        right.act_tangent(g, state, v)
    }
    fn lift(self, right: &dyn Drive, state: State) -> Result<State> {
        right.lift(state)
    }
    fn flow(self, right: &dyn Drive, state: &State, xi: &Xi) -> State {
        right.flow(state, xi)
    }
    fn push(self, right: &dyn Drive, state: &State, xi: &Xi) -> Tensor {
        right.push(state, xi)
    }
    fn pull(self, right: &dyn Drive, state: &State, covector: &Tensor) -> Xi {
        right.pull(state, covector)
    }
    fn divergences(self, right: &dyn Drive, state: &State) -> Xi {
        right.divergences(state)
    }
    fn ito(self, right: &dyn Drive, state: &State, variance: &[f64]) -> Tensor {
        right.ito(state, variance)
    }
    fn horizontal(self, right: &dyn Drive, state: &State, xi: &Xi) -> Xi {
        right.horizontal(state, xi)
    }
    fn transport(
        self,
        right: &dyn Drive,
        symmetry: &dyn Representation,
        h: &Element,
        state: &State,
        xi: &Xi,
    ) -> Result<Xi> {
        right.transport(symmetry, h, state, xi)
    }
    fn orientation(self, right: &dyn FlowCoordinates, tau: &Xi) -> Option<Xi> {
        right.orientation(tau)
    }
    fn log_abs_det(self, right: &dyn FlowCoordinates, state: &State) -> Tensor {
        right.log_abs_det(state)
    }
}

/// A drive with a mistake.
#[derive(Debug)]
pub struct WrongDrive<D, M>(pub D, pub M);

impl<D: Drive, M: Mistake> WrongDrive<D, M> {
    fn chart(&self) -> &dyn FlowCoordinates {
        self.0.coordinates().unwrap()
    }
}

impl<D: Drive, M: Mistake> Representation for WrongDrive<D, M> {
    fn name(&self) -> String {
        format!("{}, {:?}", self.0.name(), self.1)
    }
    fn group(&self) -> &dyn Group {
        self.0.group()
    }
    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        self.0.accepts(spec)
    }
    fn element_shape(&self, state: &State) -> Result<Vec<Vec<i64>>> {
        self.0.element_shape(state)
    }
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        self.1.act(&self.0, g, state)
    }
    fn act_tangent(&self, g: &Element, state: &State, v: &Tensor) -> Result<Tensor> {
        self.1.act_tangent(&self.0, g, state, v)
    }
    fn sample_state(
        &self,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        self.0.sample_state(batch, options, stream)
    }
    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

impl<D: Drive, M: Mistake> Drive for WrongDrive<D, M> {
    fn frame(&self) -> String {
        self.0.frame()
    }
    fn xi_shape(&self, spec: &StateSpec) -> Vec<Vec<i64>> {
        self.0.xi_shape(spec)
    }
    fn lift(&self, state: State) -> Result<State> {
        self.1.lift(&self.0, state)
    }
    fn flow(&self, state: &State, xi: &Xi) -> State {
        self.1.flow(&self.0, state, xi)
    }
    fn push(&self, state: &State, xi: &Xi) -> Tensor {
        self.1.push(&self.0, state, xi)
    }
    fn pull(&self, state: &State, covector: &Tensor) -> Xi {
        self.1.pull(&self.0, state, covector)
    }
    fn divergences(&self, state: &State) -> Xi {
        self.1.divergences(&self.0, state)
    }
    fn base_measure(&self) -> &'static str {
        self.0.base_measure()
    }
    fn ito(&self, state: &State, variance: &[f64]) -> Tensor {
        self.1.ito(&self.0, state, variance)
    }
    fn coordinates(&self) -> Option<&dyn FlowCoordinates> {
        self.0.coordinates().map(|_| self as &dyn FlowCoordinates)
    }
    fn homogeneous(&self) -> Option<&dyn Homogeneous> {
        self.0.homogeneous()
    }
    fn horizontal(&self, state: &State, xi: &Xi) -> Xi {
        self.1.horizontal(&self.0, state, xi)
    }
    fn transport(
        &self,
        symmetry: &dyn Representation,
        h: &Element,
        state: &State,
        xi: &Xi,
    ) -> Result<Xi> {
        // The drive knows itself as a symmetry, not this wrapper.
        let own = as_type::<Self>(symmetry).map(|own| &own.0 as &dyn Representation);
        self.1.transport(&self.0, own.unwrap_or(symmetry), h, state, xi)
    }
}

impl<D: Drive, M: Mistake> FlowCoordinates for WrongDrive<D, M> {
    fn names(&self) -> Vec<Vec<String>> {
        self.chart().names()
    }
    fn tau(&self, state: &State) -> Xi {
        self.chart().tau(state)
    }
    fn unwrapped(&self, state: &State) -> Xi {
        self.chart().unwrapped(state)
    }
    fn point(&self, like: &State, tau: &Xi) -> State {
        self.chart().point(like, tau)
    }
    fn orientation(&self, tau: &Xi) -> Option<Xi> {
        self.1.orientation(self.chart(), tau)
    }
    fn aliasing(&self) -> isotropy_core::Aliasing {
        self.chart().aliasing()
    }
    fn branches(&self, state: &State, turns: i64) -> Vec<Xi> {
        self.chart().branches(state, turns)
    }
    fn log_abs_det(&self, state: &State) -> Tensor {
        self.1.log_abs_det(self.chart(), state)
    }
    fn regularity(&self, state: &State) -> Tensor {
        self.chart().regularity(state)
    }
}
