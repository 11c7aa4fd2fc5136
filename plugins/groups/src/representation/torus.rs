//! Angles, driven by turning each of them: a torus of any dimension (or several).
//!
//! The frame is the algebra's own: one coefficient an angle. The action is free, its fields have no
//! divergence and no Ito term, and values stay in `[-pi, pi]`. There are no flow coordinates: an
//! unwrapped angle is not what a Brownian motion on the torus needs.

use super::Trivial;
use crate::group::{So2, wrap};
use isotropy_core::representation::as_type;
use isotropy_core::{
    Drive, Element, Error, Field, Group, Homogeneous, LieGroup, Moves, Representation,
    RepresentationConfig, Result, Space, State, StateSpec, Stream, Xi, component, config,
};
use std::f64::consts::TAU;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// As many copies of SO(2) as the state has angles; elements have the shape of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Angles;

impl Group for Angles {
    fn name(&self) -> String {
        "SO(2)^n".into()
    }

    /// The number of angles comes from the state.
    fn xi_shape(&self, _lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        None
    }

    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        Tensor::zeros(&xi_shape[0], options).into()
    }

    fn compose(&self, a: &Element, b: &Element) -> Element {
        So2.compose(a, b)
    }

    fn inverse(&self, a: &Element) -> Element {
        So2.inverse(a)
    }

    fn sample(
        &self,
        xi_shape: &[Vec<i64>],
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Element {
        ((stream.uniform(&xi_shape[0], options) - 0.5) * TAU).into()
    }

    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        wrap(&(a.single() - b.single())).norm_scalaropt_dim(2, [-1], false)
    }

    fn violation(&self, a: &Element) -> Tensor {
        So2.violation(&a.single().unsqueeze(-1).into()).amax([-1], false)
    }

    fn lie(&self) -> Option<&dyn LieGroup> {
        Some(self)
    }
}

impl LieGroup for Angles {
    fn exp(&self, xi: &Xi) -> Element {
        So2.exp(xi)
    }

    fn log(&self, g: &Element) -> Result<Xi> {
        let angles = Element::from(g.single().unsqueeze(-1));
        Ok(So2.log(&angles)?.single().squeeze_dim(-1).into())
    }

    fn injectivity_radius(&self) -> f64 {
        So2.injectivity_radius()
    }

    fn bracket(&self, a: &Xi, _b: &Xi) -> Xi {
        a.zeros_like()
    }

    fn adjoint(&self, _g: &Element, xi: &Xi) -> Xi {
        xi.clone()
    }
}

/// Angles in radians, each turned by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torus;

impl Representation for Torus {
    fn name(&self) -> String {
        "torus".into()
    }

    fn group(&self) -> &dyn Group {
        &Angles
    }

    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        let value = &spec.value;
        if matches!(value.moves, Moves::Scalar | Moves::Coordinates) && !value.shape.is_empty() {
            return Ok(());
        }
        Err(Error::Unsupported(format!(
            "a torus needs angles (scalars or coordinates); the value is {:?} of shape {:?}",
            value.moves, value.shape
        )))
    }

    fn element_shape(&self, state: &State) -> Result<Vec<Vec<i64>>> {
        Ok(vec![state.x().size()])
    }

    /// Turns the angles of the value; all else stays.
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        Ok(state.with_value(wrap(&(state.x() + g.single()))))
    }

    fn act_tangent(&self, _g: &Element, _state: &State, v: &Tensor) -> Result<Tensor> {
        Ok(v.shallow_clone())
    }

    fn sample_state(
        &self,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        let angles = (stream.uniform(&[batch, 3], options) - 0.5) * TAU;
        Some(State::new(Field::new(angles, Moves::Scalar)))
    }

    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

impl Drive for Torus {
    fn frame(&self) -> String {
        "algebra generators, one an angle".into()
    }

    fn xi_shape(&self, spec: &StateSpec) -> Vec<Vec<i64>> {
        vec![spec.value.shape.clone()]
    }

    /// Brings the angles of the data into `[-pi, pi]`.
    fn lift(&self, state: State) -> Result<State> {
        let angles = wrap(state.x());
        Ok(state.with_value(angles))
    }

    fn flow(&self, state: &State, xi: &Xi) -> State {
        state.with_value(wrap(&(state.x() + xi.single())))
    }

    fn push(&self, _state: &State, xi: &Xi) -> Tensor {
        xi.single().shallow_clone()
    }

    fn pull(&self, _state: &State, covector: &Tensor) -> Xi {
        covector.shallow_clone().into()
    }

    fn divergences(&self, state: &State) -> Xi {
        state.x().zeros_like().into()
    }

    fn base_measure(&self) -> &'static str {
        "Lebesgue, angles modulo 2 pi"
    }

    fn ito(&self, state: &State, _variance: &[f64]) -> Tensor {
        state.x().zeros_like()
    }

    fn homogeneous(&self) -> Option<&dyn Homogeneous> {
        Some(self)
    }

    /// Turns commute, so coefficients stay as they are under them.
    fn transport(
        &self,
        symmetry: &dyn Representation,
        _h: &Element,
        _state: &State,
        xi: &Xi,
    ) -> Result<Xi> {
        if as_type::<Self>(symmetry).is_some() || as_type::<Trivial>(symmetry).is_some() {
            return Ok(xi.clone());
        }
        Err(Error::Unsupported(format!(
            "the torus knows no transport of noise under {}",
            symmetry.name()
        )))
    }
}

impl Homogeneous for Torus {
    fn spaces(&self) -> Vec<Space> {
        vec![Space::Circle]
    }

    fn flat(&self, _state: &State, factor: usize) -> Result<Tensor> {
        Err(Error::Unsupported(format!("factor {factor} of a torus is not flat")))
    }

    fn log_uniform(&self, state: &State) -> Tensor {
        let size = state.x().size();
        let angles = size[1..].iter().product::<i64>() as f64;
        Tensor::full([size[0]], -angles * TAU.ln(), state.options())
    }

    fn displacement(&self, from: &State, to: &State) -> Result<Xi> {
        Ok(wrap(&(to.x() - from.x())).into())
    }
}

/// Angles in radians, of whatever number the state has.
#[config]
#[derive(Clone)]
pub struct TorusConfig {}

#[component("torus", "angles modulo 2 pi, each turned by itself", r#"{"type": "torus"}"#)]
impl RepresentationConfig for TorusConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        Ok(Arc::new(Torus))
    }
}
