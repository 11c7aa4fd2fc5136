//! The trivial action: one element that moves nothing.

use crate::group::Cyclic;
use isotropy_core::{
    Element, Field, Group, Moves, Representation, RepresentationConfig, Result, State, StateSpec,
    Stream, component, config,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The action of the group of one element, on any state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trivial;

impl Representation for Trivial {
    fn name(&self) -> String {
        "trivial".into()
    }

    fn group(&self) -> &dyn Group {
        &Cyclic { order: 1 }
    }

    fn accepts(&self, _spec: &StateSpec) -> Result<()> {
        Ok(())
    }

    fn act(&self, _g: &Element, state: &State) -> Result<State> {
        Ok(state.clone())
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
        Some(State::new(Field::new(stream.normal(&[batch, 3], options), Moves::Point)))
    }
}

/// Moves nothing: for experiments that claim no symmetry.
#[config]
#[derive(Clone)]
pub struct TrivialConfig {}

#[component("trivial", "the action that moves nothing", r#"{"type": "trivial"}"#)]
impl RepresentationConfig for TrivialConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        Ok(Arc::new(Trivial))
    }
}
