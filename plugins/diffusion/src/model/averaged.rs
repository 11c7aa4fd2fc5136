//! Averaging over a finite group: it makes any model equivariant (frame averaging over the full group,
//! "output combining"; spdm.md 1.3 e).
//!
//! `D_G(x, t) = |G|^-1 sum_g g^-1 D(g x, t)`, with value, lift and context moved together: for bridges
//! the other end too. The orbit lies on the batch axis, so that one evaluation of the network serves
//! all elements.

use isotropy_core::{
    Drive, Element, Error, ModelConfig, ModelContext, Prediction, PredictionKind, Representation,
    RepresentationConfig, Result, ScoreModel, State, StateSpec, Stream, Xi, component, config,
    representation::as_type,
};
use isotropy_images::action::ImagePermutation;
use std::sync::Arc;
use tch::Tensor;

/// A model averaged over a finite group. In training it is the network itself that is evaluated (each
/// evaluation otherwise costs as many as the group has elements), so a network that was trained
/// without symmetry gets it at sampling, as published; `in_training` averages there, too.
#[config]
pub struct GroupAveragedConfig {
    /// The action of a finite group; `null` for the experiment's `symmetry`.
    #[serde(default)]
    pub symmetry: Option<Box<dyn RepresentationConfig>>,
    /// Whether to average in training, too.
    #[serde(default)]
    pub in_training: bool,
    /// The model.
    pub inner: Box<dyn ModelConfig>,
}

impl GroupAveragedConfig {
    /// The action to average over.
    fn action(&self, context: &ModelContext) -> Result<Arc<dyn Representation>> {
        if let Some(config) = &self.symmetry {
            return config.build().map_err(|error| error.under("/symmetry"));
        }
        context.symmetry.cloned().ok_or_else(|| {
            Error::config("/symmetry", "there is no action to average over")
                .with_help("name one here, or as the experiment's `symmetry`")
        })
    }
}

#[component(
    "group-averaged",
    "any model, averaged over a finite group (frame averaging)",
    r#"{"type": "group-averaged", "symmetry": {"type": "image-permutation", "group": "flips"}, "inner": {"type": "unet", "channels": 8, "multipliers": [1], "attention": [], "head_channels": 8}}"#
)]
impl ModelConfig for GroupAveragedConfig {
    fn build(&self, path: &tch::nn::Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        let symmetry = self.action(context)?;
        if symmetry.group().finite().is_none() {
            let message = format!("{} has infinitely many elements", symmetry.group().name());
            return Err(Error::config("/symmetry", message)
                .with_help("average over a finite group, such as \"image-permutation\""));
        }
        symmetry.accepts(context.spec).map_err(|error| error.under("/symmetry"))?;
        if let Some(process) = context.process {
            moves_predictions(process.fields(), symmetry.as_ref(), context.spec)
                .map_err(|error| error.under("/symmetry"))?;
        }
        let claims = context.symmetry.is_some_and(|claimed| {
            let pixels = as_type::<ImagePermutation>(claimed.as_ref());
            let ours = as_type::<ImagePermutation>(symmetry.as_ref());
            claimed.name() == symmetry.name()
                || ours.zip(pixels).is_some_and(|(ours, it)| ours.pixels().contains(it.pixels()))
        });
        let drive = context.process.map(|process| process.drive().clone());
        let inner = self.inner.build(path, context).map_err(|error| error.under("/inner"))?;
        Ok(Box::new(GroupAveraged {
            inner,
            symmetry,
            drive,
            claims,
            in_training: self.in_training,
        }))
    }
}

/// Refuses an action under which the drive cannot move its coefficients, before anything is
/// trained.
fn moves_predictions(
    drive: &dyn Drive,
    symmetry: &dyn Representation,
    spec: &StateSpec,
) -> Result<()> {
    let state = State::random(spec, 1, tch::kind::DOUBLE_CPU, &mut Stream::probe());
    let (moved, elements) = orbit(symmetry, &drive.lift(state)?)?;
    drive.transport(symmetry, &elements, &moved, &drive.zeros(&moved)).map(|_| ())
}

struct GroupAveraged {
    inner: Box<dyn ScoreModel>,
    symmetry: Arc<dyn Representation>,
    /// Moves predictions; absent for models that are not denoisers.
    drive: Option<Arc<dyn Representation>>,
    claims: bool,
    in_training: bool,
}

impl ScoreModel for GroupAveraged {
    fn predicts(&self) -> PredictionKind {
        self.inner.predicts()
    }

    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction> {
        if train && !self.in_training {
            return self.inner.predict(state, t, train);
        }
        let drive = self.drive.as_ref().and_then(|drive| drive.drive());
        average_over(self.inner.as_ref(), self.symmetry.as_ref(), drive, state, t, train)
    }

    fn inner(&self) -> Option<&dyn ScoreModel> {
        Some(self.inner.as_ref())
    }

    fn claims_symmetry(&self) -> bool {
        self.claims
    }
}

/// The orbit of every point under a finite group, on the batch axis: all points under the first
/// element (the identity), then all under the second, ..; with the element of each.
///
/// # Errors
/// When the group is not finite, or a field cannot be moved.
pub fn orbit(symmetry: &dyn Representation, state: &State) -> Result<(State, Element)> {
    let finite = symmetry.group().finite().ok_or_else(|| {
        Error::Unsupported(format!("{} has infinitely many elements", symmetry.group().name()))
    })?;
    let (order, batch) = (finite.order(), state.batch_size());
    let each = finite.elements(state.x().device());
    let elements = Element(
        each.0.iter().map(|a| a.repeat_interleave_self_int(batch, 0, order * batch)).collect(),
    );
    let copies = state.map_batched(|tensor| {
        let mut times = vec![1; tensor.dim()];
        times[0] = order;
        tensor.repeat(times)
    });
    Ok((symmetry.act(&elements, &copies)?, elements))
}

/// `|G|^-1 sum_g g^-1 D(g x, t)`. Predictions move as coefficients of the drive do; class logits do not
/// move.
///
/// # Errors
/// When the group is not finite, or state or prediction cannot be moved.
pub fn average_over(
    model: &dyn ScoreModel,
    symmetry: &dyn Representation,
    drive: Option<&dyn Drive>,
    state: &State,
    t: &Tensor,
    train: bool,
) -> Result<Prediction> {
    let (moved, elements) = orbit(symmetry, state)?;
    let batch = state.batch_size();
    let order = moved.batch_size() / batch.max(1);
    let times = t.repeat([order]);
    let prediction = model.predict(&moved, &times, train)?;
    let inverse = symmetry.group().inverse(&elements);
    let mean = |head: &Xi| {
        head.map(|a| {
            let mut shape = a.size();
            shape.splice(0..1, [order, batch]);
            a.view(shape.as_slice()).mean_dim(0, false, None)
        })
    };
    let back = |head: &Xi| -> Result<Xi> {
        if prediction.kind == PredictionKind::Logits {
            return Ok(mean(head));
        }
        let drive = drive.ok_or_else(|| {
            Error::Unsupported("without a drive nothing says how a prediction moves".into())
        })?;
        Ok(mean(&drive.transport(symmetry, &inverse, &moved, head)?))
    };
    let heads = prediction.heads.iter().map(back).collect::<Result<Vec<_>>>()?;
    Ok(Prediction { kind: prediction.kind, heads })
}
