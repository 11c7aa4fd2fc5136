//! Conditional training: a model that sees known values as they are, beside the noisy query.

use crate::observed;
use isotropy_core::{
    Error, FieldSpec, Linearised, ModelConfig, ModelContext, Moves, Prediction, PredictionKind,
    Result, ScoreModel, State, StateSpec, component, config,
};
use tch::{Tensor, nn::Path};

/// A model of the conditional law: the network sees known and query points in one index set, the known ones with their
/// clean values, and as a further component of the values 1 at known points and 0 elsewhere. Its output at the query
/// points is the prediction, so that the loss counts these alone, and every sampler and likelihood of the query works as
/// it is: noise is added to the query only, `log p(y | y_c)` takes one solve.
///
/// The dataset must show known points in training (`training_context` of `functions-1d` and `gaussian-fields`). Networks
/// that have to be told what the components are get one more scalar: `"values": "1x1o + 1x0e"` for a vector.
///
/// The alternative is a model of the joint law with a conditional sampler (`conditional-langevin`).
#[config]
pub struct ConditionedConfig {
    /// The network, for values with one more component.
    pub model: Box<dyn ModelConfig>,
}

#[component(
    "conditioned",
    "a network that sees known values as they are: the conditional law is trained",
    r#"{"type": "conditioned", "model": {"type": "bi-dimensional-attention", "layers": 1, "width": 8, "heads": 2}}"#
)]
impl ModelConfig for ConditionedConfig {
    fn build(&self, path: &Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        let spec = seen(context.spec)?;
        let inner = ModelContext { spec: &spec, ..*context };
        let model = self.model.build(path, &inner).map_err(|error| error.under("/model"))?;
        if model.predicts().heads() != 1 {
            let message = "the model must predict one number for each component of the values";
            return Err(Error::config("/model/predicts", message));
        }
        Ok(Box::new(Conditioned { model }))
    }
}

/// The shapes that the network sees: one more component, and the fields along the index set.
fn seen(spec: &StateSpec) -> Result<StateSpec> {
    let value = &spec.value;
    let ([points, components], Some(1)) = (&value.shape[..], value.index_axis) else {
        return Err(Error::config(
            "",
            "this model takes fields: values [B, N, d] with their points in `index`",
        ));
    };
    let mut shown = StateSpec::new(FieldSpec {
        shape: vec![*points, components + 1],
        index_axis: Some(1),
        // A flag is no part of a vector.
        moves: Moves::Scalar,
        batched: true,
    });
    for (name, field) in &spec.context {
        if field.index_axis.is_some() || name == State::INDEX {
            shown = shown.with_context(name, field.clone());
        }
    }
    Ok(shown)
}

/// A state as the network sees it: known points first, then those of the query, with the flag as the last component.
fn seen_state(state: &State) -> Result<State> {
    let joint = observed::conditioned(state)?;
    let flag = &joint.given(observed::KNOWN)?.tensor;
    let flag = flag.to_kind(state.options().0).unsqueeze(-1);
    let mut seen = joint.with_value(Tensor::cat(&[joint.x(), &flag], -1));
    seen.value.moves = Moves::Scalar;
    Ok(seen)
}

/// What the network predicts for the query.
fn of_query(state: &State, prediction: Prediction) -> Prediction {
    let (known, size) = (observed::count(state), state.x().size());
    let query = |a: &Tensor| a.narrow(1, known, size[1]).narrow(2, 0, size[2]);
    let heads = prediction.heads.iter().map(|head| head.map(query)).collect();
    Prediction { kind: prediction.kind, heads }
}

struct Conditioned {
    model: Box<dyn ScoreModel>,
}

impl ScoreModel for Conditioned {
    fn predicts(&self) -> PredictionKind {
        self.model.predicts()
    }

    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction> {
        let prediction = self.model.predict(&seen_state(state)?, t, train)?;
        Ok(of_query(state, prediction))
    }

    fn linearised(&self, state: &State, t: &Tensor) -> Result<Option<Linearised<'_>>> {
        let Some(inner) = self.model.linearised(&seen_state(state)?, t)? else { return Ok(None) };
        let Linearised { prediction, pull_back: of_model } = inner;
        let size = state.x().size();
        let (known, after) = (observed::count(state), prediction.heads[0].single().size());
        let pull_back = move |g: &Tensor| {
            // The prediction at known points and of the flag is not looked at, and they do not change.
            let rest = after[1] - known - size[1];
            let g = g.constant_pad_nd([0, after[2] - size[2], known, rest]);
            let by_seen = of_model(&g)?;
            Ok(by_seen.narrow(2, known, size[1]).narrow(3, 0, size[2]))
        };
        let prediction = of_query(state, prediction);
        Ok(Some(Linearised { prediction, pull_back: Box::new(pull_back) }))
    }

    fn inner(&self) -> Option<&dyn ScoreModel> {
        Some(self.model.as_ref())
    }

    fn raw_scale(&self, state: &State, t: &Tensor) -> Result<Option<isotropy_core::Xi>> {
        self.model.raw_scale(&seen_state(state)?, t)
    }

    fn features(&self, state: &State) -> Result<Option<Tensor>> {
        self.model.features(&seen_state(state)?)
    }
}
