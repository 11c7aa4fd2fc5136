//! T(n): the drive of ordinary diffusion, with a mask and, on request, without the mean.

use crate::groups::Additive;
use isotropy_core::{
    Drive, Element, FlowCoordinates, Group, Representation, Result, State, StateSpec, Xi,
};
use tch::{Kind, Tensor};

/// Translations of the value. With `remove_mean` the mean over the index set is invisible.
#[derive(Debug)]
pub struct Translations {
    pub remove_mean: bool,
}

impl Translations {
    fn mask(state: &State, a: &Tensor) -> Tensor {
        state.mask().map_or(a.shallow_clone(), |mask| a * mask.unsqueeze(-1))
    }

    /// Mean over the points that are there, `[B, 1, d]`; zero where means stay.
    fn mean(&self, state: &State, a: &Tensor) -> Tensor {
        let sum = Self::mask(state, a).sum_dim_intlist(1, true, Kind::Double);
        if !self.remove_mean {
            return sum.zeros_like();
        }
        match state.mask() {
            Some(mask) => sum / mask.sum_dim_intlist(1, true, Kind::Double).unsqueeze(-1),
            None => sum / a.size()[1] as f64,
        }
    }
}

impl Representation for Translations {
    fn name(&self) -> String {
        if self.remove_mean { "T(n), mean removed".into() } else { "T(n)".into() }
    }
    fn group(&self) -> &dyn Group {
        &Additive("T(n)", None)
    }
    fn accepts(&self, _: &StateSpec) -> Result<()> {
        Ok(())
    }
    fn element_shape(&self, state: &State) -> Result<Vec<Vec<i64>>> {
        Ok(vec![state.x().size()])
    }
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        Ok(state.with_value(state.x() + g.single()))
    }
    fn act_tangent(&self, _: &Element, _: &State, v: &Tensor) -> Result<Tensor> {
        Ok(v.shallow_clone())
    }
    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

impl Drive for Translations {
    fn frame(&self) -> String {
        "coordinates of the value".into()
    }
    fn xi_shape(&self, spec: &StateSpec) -> Vec<Vec<i64>> {
        vec![spec.value.shape.clone()]
    }
    fn flow(&self, state: &State, xi: &Xi) -> State {
        state.with_value(state.x() + xi.single())
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
    fn coordinates(&self) -> Option<&dyn FlowCoordinates> {
        Some(self)
    }
    fn horizontal(&self, state: &State, xi: &Xi) -> Xi {
        let a = xi.single();
        Self::mask(
            state,
            &if self.remove_mean { a - self.mean(state, a) } else { a.shallow_clone() },
        )
        .into()
    }
    fn transport(
        &self,
        symmetry: &dyn Representation,
        h: &Element,
        state: &State,
        xi: &Xi,
    ) -> Result<Xi> {
        Ok(symmetry.act_tangent(h, state, xi.single())?.into())
    }
}

impl FlowCoordinates for Translations {
    fn names(&self) -> Vec<Vec<String>> {
        vec![vec!["x".into()]]
    }
    fn tau(&self, state: &State) -> Xi {
        self.horizontal(state, &state.x().shallow_clone().into())
    }
    fn point(&self, like: &State, tau: &Xi) -> State {
        // The mean is no coordinate: it stays where it is.
        let mean = if self.remove_mean { Some(self.mean(like, like.x())) } else { None };
        like.with_value(mean.map_or(tau.single().shallow_clone(), |mean| tau.single() + mean))
    }
    fn orientation(&self, _: &Xi) -> Option<Xi> {
        None
    }
    fn log_abs_det(&self, state: &State) -> Tensor {
        Tensor::zeros([state.batch_size()], state.options())
    }
    fn regularity(&self, state: &State) -> Tensor {
        Tensor::full([state.batch_size()], f64::INFINITY, state.options())
    }
}
