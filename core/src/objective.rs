//! Objectives: what training makes small.

use crate::{NoisingProcess, PredictionKind, Regression, Result, ScoreModel, State, Streams};
use tch::Tensor;

/// What a loss may use.
pub struct LossContext<'a> {
    /// The process, absent for models that are not denoisers.
    pub process: Option<&'a dyn NoisingProcess>,
    /// The run's random numbers; draws are keyed by `step`.
    pub streams: &'a Streams,
    /// The training step (or the number of the validation batch).
    pub step: u64,
    /// Whether gradients are wanted: dropout on, batch statistics updated.
    pub train: bool,
}

/// A loss and named parts of it; all are scalars on the device.
pub struct Loss {
    /// What is differentiated.
    pub total: Tensor,
    /// Further scalars to log.
    pub parts: Vec<(String, Tensor)>,
}

/// A regression problem of several batches, one after the other: the loss of a batch of `B` rows is
/// `sum (f(inputs) - targets)^2 / B`.
pub struct Columns {
    /// Input columns, `[batches * B, n]`.
    pub inputs: Tensor,
    /// Target columns, `[batches * B, m]`.
    pub targets: Tensor,
}

/// A loss: times, weights, regularisers.
pub trait Objective: Send + std::fmt::Debug {
    /// Whether the objective can train this model, before the first step.
    ///
    /// # Errors
    /// The reason.
    fn accepts(&self, process: Option<&dyn NoisingProcess>, model: &dyn ScoreModel) -> Result<()>;

    /// The loss of a batch of clean states.
    ///
    /// # Errors
    /// When the model or the process fails.
    fn loss(&self, model: &dyn ScoreModel, batch: &State, context: &LossContext) -> Result<Loss>;

    /// The same loss as [`Objective::loss`] as a regression of columns, for `batches` batches at once
    /// (the rows of `states`, one batch after the other), where it is one. `context.step` numbers
    /// these groups of batches.
    ///
    /// # Errors
    /// When the model or the process fails.
    fn columns(
        &self,
        _model: &dyn Regression,
        _kind: PredictionKind,
        _states: &State,
        _batches: i64,
        _context: &LossContext,
    ) -> Result<Option<Columns>> {
        Ok(None)
    }
}
