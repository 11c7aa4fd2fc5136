//! T(n) on values of any shape: the drive of ordinary diffusion (sism.md 2.4).
//!
//! `Pi = 1`, `tau = x`; no divergences, no Ito term. With `remove_mean`, positions count only up to
//! a common shift: the group's diagonal is the stabiliser, coefficients are made mean-free over the
//! index axis (over the unmasked points, where the context has a mask), and lifting removes the
//! mean of the data.

use crate::group::Translations as TranslationGroup;
use isotropy_core::{
    Drive, Element, Error, Field, FlowCoordinates, Group, Moves, Representation,
    RepresentationConfig, Result, State, StateSpec, Stream, Xi, component, config,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Translations of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    group: TranslationGroup,
    remove_mean: bool,
}

impl Translation {
    /// Translations; mean-free over the index axis on request.
    pub fn new(remove_mean: bool) -> Self {
        Self { group: TranslationGroup { dimension: None }, remove_mean }
    }

    /// The part of a tensor of the value's shape that is not a common shift.
    fn centred(&self, state: &State, a: &Tensor) -> Tensor {
        let (true, Some(axis)) = (self.remove_mean, state.value.index_axis) else {
            return a.shallow_clone();
        };
        let axis = axis as i64;
        let Some(mask) = state.mask() else {
            return a - a.mean_dim([axis].as_slice(), true, None);
        };
        // [B, N] to [B, 1, .., N, .., 1], broadcasting against the value.
        let mut shape = vec![1; a.dim()];
        shape[0] = a.size()[0];
        shape[axis as usize] = a.size()[axis as usize];
        let mask = mask.to_kind(a.kind()).reshape(&shape);
        let count = mask.sum_dim_intlist([axis].as_slice(), true, None).clamp_min(1.0);
        let mean = (a * &mask).sum_dim_intlist([axis].as_slice(), true, None) / count;
        (a - mean) * mask
    }
}

impl Representation for Translation {
    fn name(&self) -> String {
        if self.remove_mean { "translations, mean removed".into() } else { "translations".into() }
    }

    fn group(&self) -> &dyn Group {
        &self.group
    }

    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        if self.remove_mean && spec.value.index_axis.is_none() {
            return Err(Error::Unsupported(
                "`remove_mean` needs a value with an index axis (atoms, points)".into(),
            ));
        }
        if spec.value.moves == Moves::Frame {
            return Err(Error::Unsupported("rotation matrices cannot be translated".into()));
        }
        Ok(())
    }

    fn element_shape(&self, state: &State) -> Result<Vec<Vec<i64>>> {
        Ok(vec![state.x().size()])
    }

    /// Translates the value (up to a common shift where the mean is removed); lift and context
    /// stay, since the vector has the value's shape.
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        Ok(state.with_value(state.x() + self.centred(state, g.single())))
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
        let x = stream.normal(&[batch, 3, 2], options);
        let state = State::new(Field::new(x, Moves::Point).indexed(1));
        Some(state.with_value(self.centred(&state, state.x())))
    }

    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

impl Drive for Translation {
    fn frame(&self) -> String {
        "translations of every component".into()
    }

    fn xi_shape(&self, spec: &StateSpec) -> Vec<Vec<i64>> {
        vec![spec.value.shape.clone()]
    }

    fn lift(&self, state: State) -> Result<State> {
        if !self.remove_mean {
            return Ok(state);
        }
        let centred = self.centred(&state, state.x());
        Ok(state.with_value(centred))
    }

    fn flow(&self, state: &State, xi: &Xi) -> State {
        state.with_value(state.x() + self.centred(state, xi.single()))
    }

    fn push(&self, state: &State, xi: &Xi) -> Tensor {
        self.centred(state, xi.single())
    }

    fn pull(&self, state: &State, covector: &Tensor) -> Xi {
        self.centred(state, covector).into()
    }

    fn divergences(&self, state: &State) -> Xi {
        state.x().zeros_like().into()
    }

    fn base_measure(&self) -> &'static str {
        if self.remove_mean { "Lebesgue on the mean-free subspace" } else { "Lebesgue" }
    }

    fn ito(&self, state: &State, _variance: &[f64]) -> Tensor {
        state.x().zeros_like()
    }

    fn coordinates(&self) -> Option<&dyn FlowCoordinates> {
        Some(self)
    }

    fn horizontal(&self, state: &State, xi: &Xi) -> Xi {
        self.centred(state, xi.single()).into()
    }

    /// `h (x + xi) = h x + h_* xi` for every action that is affine on the value.
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

impl FlowCoordinates for Translation {
    fn names(&self) -> Vec<Vec<String>> {
        vec![vec!["x".into()]]
    }

    fn tau(&self, state: &State) -> Xi {
        self.centred(state, state.x()).into()
    }

    fn point(&self, like: &State, tau: &Xi) -> State {
        like.with_value(self.centred(like, tau.single()))
    }

    fn orientation(&self, _tau: &Xi) -> Option<Xi> {
        None
    }

    fn log_abs_det(&self, state: &State) -> Tensor {
        Tensor::zeros([state.batch_size()], state.options())
    }

    /// There is no singular set.
    fn regularity(&self, state: &State) -> Tensor {
        Tensor::full([state.batch_size()], f64::INFINITY, state.options())
    }
}

/// Translations of the value, of whatever shape it is: ordinary diffusion.
#[config]
#[derive(Clone)]
pub struct TranslationConfig {
    /// Whether positions count only up to a common shift: data, noise and predictions are made
    /// mean-free over the index axis.
    #[serde(default)]
    pub remove_mean: bool,
}

#[component(
    "translations",
    "T(n) on values of any shape: ordinary diffusion",
    r#"{"type": "translations"}"#
)]
impl RepresentationConfig for TranslationConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        Ok(Arc::new(Translation::new(self.remove_mean)))
    }
}
