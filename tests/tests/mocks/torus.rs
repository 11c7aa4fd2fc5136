//! A torus: angles under SO(2)^2. The drive of the rows that need no more than circles.

use crate::groups::Additive;
use crate::harness::normal;
use isotropy_core::{
    Drive, Element, Error, Field, Group, Moves, Representation, Result, State, StateSpec, Xi,
};
use std::f64::consts::PI;
use tch::Tensor;

/// Angles between `-pi` and `pi`.
pub fn turns(a: &Tensor) -> Tensor {
    (a + PI).remainder(2.0 * PI) - PI
}

/// Points, each with a copy of itself in the context for oracles.
pub fn points(name: &str, batch: i64) -> State {
    let x = turns(&normal(name, &[batch, 2]));
    State::new(Field::new(x.shallow_clone(), Moves::Scalar))
        .with_context("native", Field::new(x, Moves::Scalar))
}

#[derive(Debug)]
pub struct Circles;

impl Representation for Circles {
    fn name(&self) -> String {
        "a torus by turns".into()
    }
    fn group(&self) -> &dyn Group {
        &Additive("SO(2)^2", Some(2))
    }
    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        match spec.value.shape.as_slice() {
            [2] => Ok(()),
            _ => Err(Error::Unsupported("two angles are needed".into())),
        }
    }
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        Ok(self.flow(state, &Xi(vec![g.single().shallow_clone()])))
    }
    fn act_tangent(&self, _: &Element, _: &State, v: &Tensor) -> Result<Tensor> {
        Ok(v.shallow_clone())
    }
    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

impl Drive for Circles {
    fn frame(&self) -> String {
        "algebra generators".into()
    }
    fn xi_shape(&self, _: &StateSpec) -> Vec<Vec<i64>> {
        vec![vec![2]]
    }
    fn flow(&self, state: &State, xi: &Xi) -> State {
        state.with_value(turns(&(state.x() + xi.single())))
    }
    fn push(&self, _: &State, xi: &Xi) -> Tensor {
        xi.single().shallow_clone()
    }
    fn pull(&self, _: &State, covector: &Tensor) -> Xi {
        covector.shallow_clone().into()
    }
    fn divergences(&self, state: &State) -> Xi {
        state.x().zeros_like().into()
    }
    fn ito(&self, state: &State, _: &[f64]) -> Tensor {
        state.x().zeros_like()
    }
    fn transport(&self, _: &dyn Representation, _: &Element, _: &State, xi: &Xi) -> Result<Xi> {
        Ok(xi.clone())
    }
}
