//! Branches belong to the chart: a drive by coordinates without angles has one.

#![allow(clippy::unwrap_used)]

use isotropy_conformance::representation::check_representation;
use isotropy_conformance::{CheckResult, Status};
use isotropy_core::{
    Drive, Element, Field, FlowCoordinates, Group, Moves, Representation, Result, State, StateSpec,
    Stream, Streams, Xi,
};
use isotropy_groups::group::{Dilations, Product};
use isotropy_groups::representation::{Chart, Charted, Polar, PolarChart};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The positive quadrant by the logarithms of its two coordinates, which move by dilations of
/// either.
#[derive(Debug)]
struct Quadrant;

impl Chart for Quadrant {
    fn name(&self) -> String {
        "quadrant".into()
    }
    fn dimension(&self) -> i64 {
        2
    }
    fn coordinate_names(&self) -> Vec<String> {
        vec!["log x".into(), "log y".into()]
    }
    fn group(&self) -> Arc<dyn Group> {
        Arc::new(Product::new(vec![Arc::new(Dilations), Arc::new(Dilations)]).unwrap())
    }
    fn matrix(&self, g: &Element) -> (Tensor, Tensor) {
        let factors = Tensor::cat(&[g.0[0].exp(), g.0[1].exp()], -1);
        (factors.diag_embed(0, -2, -1), g.0[0].zeros_like())
    }
    fn tau(&self, x: &Tensor) -> Tensor {
        x.log()
    }
    fn point(&self, tau: &Tensor) -> Tensor {
        tau.exp()
    }
    fn push(&self, x: &Tensor, _: Option<&Tensor>, xi: &Tensor) -> Tensor {
        x * xi
    }
    fn pull(&self, x: &Tensor, _: Option<&Tensor>, c: &Tensor) -> Tensor {
        x * c
    }
    fn divergences(&self, x: &Tensor, _: Option<&Tensor>) -> Tensor {
        x.ones_like()
    }
    fn omega(&self, x: &Tensor) -> Tensor {
        x.shallow_clone()
    }
    fn orientation(&self, _: &Tensor) -> Option<Tensor> {
        None
    }
    fn log_abs_det(&self, x: &Tensor) -> Tensor {
        x.log().sum_dim_intlist([-1].as_slice(), false, None)
    }
    fn regularity(&self, x: &Tensor) -> Tensor {
        x.amin([-1].as_slice(), false)
    }
    fn is_shift(&self, _: &dyn Representation) -> bool {
        false
    }
}

fn state(x: &[f64]) -> State {
    State::new(Field::new(Tensor::from_slice(x).unsqueeze(0), Moves::Point))
}

#[test]
fn a_chart_without_angles_has_one_branch() {
    let drive = Charted::new(Quadrant);
    let coordinates = drive.coordinates().unwrap();
    let x = state(&[0.5, 3.0]);
    let found = coordinates.branches(&x, 2);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].single(), coordinates.tau(&x).single());
    // Polar coordinates go round twice each way.
    let polar = Polar::new(PolarChart);
    assert_eq!(polar.coordinates().unwrap().branches(&x, 2).len(), 5);
}

/// Polar coordinates that forget that an angle goes round.
#[derive(Debug)]
struct OneBranch(Polar);

impl Representation for OneBranch {
    fn name(&self) -> String {
        self.0.name()
    }
    fn group(&self) -> &dyn Group {
        self.0.group()
    }
    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        self.0.accepts(spec)
    }
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        self.0.act(g, state)
    }
    fn act_tangent(&self, g: &Element, state: &State, v: &Tensor) -> Result<Tensor> {
        self.0.act_tangent(g, state, v)
    }
    fn sample_state(&self, n: i64, options: (Kind, Device), stream: &mut Stream) -> Option<State> {
        self.0.sample_state(n, options, stream)
    }
    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

impl Drive for OneBranch {
    fn frame(&self) -> String {
        self.0.frame()
    }
    fn xi_shape(&self, spec: &StateSpec) -> Vec<Vec<i64>> {
        self.0.xi_shape(spec)
    }
    fn lift(&self, state: State) -> Result<State> {
        self.0.lift(state)
    }
    fn flow(&self, state: &State, xi: &Xi) -> State {
        self.0.flow(state, xi)
    }
    fn push(&self, state: &State, xi: &Xi) -> Tensor {
        self.0.push(state, xi)
    }
    fn pull(&self, state: &State, c: &Tensor) -> Xi {
        self.0.pull(state, c)
    }
    fn divergences(&self, state: &State) -> Xi {
        self.0.divergences(state)
    }
    fn base_measure(&self) -> &'static str {
        self.0.base_measure()
    }
    fn ito(&self, state: &State, variance: &[f64]) -> Tensor {
        self.0.ito(state, variance)
    }
    fn coordinates(&self) -> Option<&dyn FlowCoordinates> {
        Some(self)
    }
    fn transport(
        &self,
        symmetry: &dyn Representation,
        h: &Element,
        state: &State,
        xi: &Xi,
    ) -> Result<Xi> {
        self.0.transport(symmetry, h, state, xi)
    }
}

impl FlowCoordinates for OneBranch {
    fn names(&self) -> Vec<Vec<String>> {
        self.0.coordinates().unwrap().names()
    }
    fn tau(&self, state: &State) -> Xi {
        self.0.coordinates().unwrap().tau(state)
    }
    fn unwrapped(&self, state: &State) -> Xi {
        self.0.coordinates().unwrap().unwrapped(state)
    }
    fn point(&self, like: &State, tau: &Xi) -> State {
        self.0.coordinates().unwrap().point(like, tau)
    }
    fn orientation(&self, tau: &Xi) -> Option<Xi> {
        self.0.coordinates().unwrap().orientation(tau)
    }
    fn log_abs_det(&self, state: &State) -> Tensor {
        self.0.coordinates().unwrap().log_abs_det(state)
    }
    fn regularity(&self, state: &State) -> Tensor {
        self.0.coordinates().unwrap().regularity(state)
    }
}

fn branches(results: Vec<CheckResult>) -> Vec<CheckResult> {
    results.into_iter().filter(|result| result.check.starts_with("branches")).collect()
}

#[test]
fn a_forgotten_angle_is_found() {
    let streams = Streams::new(0);
    let found = branches(check_representation(&OneBranch(Polar::new(PolarChart)), &streams));
    assert_eq!(found.len(), 2);
    for result in found {
        assert_eq!(result.status, Status::Fail);
        assert!(result.why.contains("coordinate 1 goes round"), "{}", result.why);
    }
    let found = branches(check_representation(&Polar::new(PolarChart), &streams));
    assert!(found.len() == 2 && found.iter().all(|result| result.status == Status::Pass));
}

/// Brings no states of its own.
#[derive(Debug)]
struct Stateless(Polar);

impl Representation for Stateless {
    fn name(&self) -> String {
        self.0.name()
    }
    fn group(&self) -> &dyn Group {
        self.0.group()
    }
    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        self.0.accepts(spec)
    }
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        self.0.act(g, state)
    }
    fn act_tangent(&self, g: &Element, state: &State, v: &Tensor) -> Result<Tensor> {
        self.0.act_tangent(g, state, v)
    }
}

#[test]
fn a_representation_without_states_counts_as_unchecked() {
    let found = check_representation(&Stateless(Polar::new(PolarChart)), &Streams::new(0));
    assert!(found.len() == 1 && found[0].status == Status::Unchecked, "{found:?}");
    assert!(found[0].why.contains("no states"), "{}", found[0].why);
}
