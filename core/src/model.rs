//! Score models: what maps a noisy state and a time to a prediction.

use crate::{NoisingProcess, Prediction, PredictionKind, Representation, Result, State, StateSpec};
use tch::Tensor;

/// What a model is told when it is built; no data are needed.
pub struct ModelContext<'a> {
    /// Shapes of the states.
    pub spec: &'a StateSpec,
    /// The process, absent for models that are not denoisers (a classifier).
    pub process: Option<&'a dyn NoisingProcess>,
    /// The symmetry that the configuration claims.
    pub symmetry: Option<&'a dyn Representation>,
}

impl ModelContext<'_> {
    /// Shapes of the coefficients to predict, without the batch.
    ///
    /// # Errors
    /// When there is no process.
    pub fn xi_shape(&self) -> Result<Vec<Vec<i64>>> {
        Ok(self.denoised()?.fields().xi_shape(self.spec))
    }

    /// The process.
    ///
    /// # Errors
    /// When the experiment has none.
    pub fn denoised(&self) -> Result<&dyn NoisingProcess> {
        self.process.ok_or_else(|| {
            crate::Error::config("/process", "this model needs a `process`, and there is none")
        })
    }
}

/// A model. Oracles, whose score is known, are models too.
pub trait ScoreModel: Send {
    /// What it predicts.
    fn predicts(&self) -> PredictionKind;

    /// The prediction at a noisy state and times `t` (`[B]`, in the time of the process). `train`
    /// switches dropout and batch statistics.
    ///
    /// # Errors
    /// When the state lacks a field that the model needs.
    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction>;

    /// Whether the model claims to be equivariant under the configured symmetry.
    fn claims_symmetry(&self) -> bool {
        false
    }

    /// The network inside a wrapper such as preconditioning; the model itself where there is none.
    fn raw(&self) -> Option<&dyn ScoreModel> {
        None
    }

    /// Features of a layer, `[B, d]`, for distances in feature space; `None` where there are none.
    ///
    /// # Errors
    /// As for [`ScoreModel::predict`].
    fn features(&self, _state: &State) -> Result<Option<Tensor>> {
        Ok(None)
    }
}
