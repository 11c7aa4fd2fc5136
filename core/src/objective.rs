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
/// `sum (P f(inputs) - targets)^2 / B`.
pub struct Columns {
    /// Input columns, `[batches * B, n]`.
    pub inputs: Tensor,
    /// Target columns, `[batches * B, m]`.
    pub targets: Tensor,
    /// The projection `P` of each row on the outputs that count, `[batches * B, m, m]`; `None` where
    /// all do.
    pub horizontal: Option<Tensor>,
}

impl Columns {
    /// Cuts the rows into batches of `size`.
    ///
    /// # Errors
    /// When libtorch refuses an operation.
    pub fn batches(self, size: i64) -> Result<Vec<Self>> {
        let inputs = self.inputs.f_split(size, 0)?.into_iter();
        let targets = self.targets.f_split(size, 0)?;
        let mut horizontal =
            self.horizontal.map(|p| p.f_split(size, 0)).transpose()?.map(Vec::into_iter);
        let pairs = inputs.zip(targets).map(|(inputs, targets)| {
            let horizontal = horizontal.as_mut().and_then(Iterator::next);
            Self { inputs, targets, horizontal }
        });
        Ok(pairs.collect())
    }

    /// The loss of a batch at outputs `[B, m]`, and its derivative by them,
    /// `2 P^T (P f(inputs) - targets) / B`.
    ///
    /// # Errors
    /// When libtorch refuses an operation.
    pub fn loss(&self, outputs: &Tensor) -> Result<(Tensor, Tensor)> {
        let apply = |p: &Tensor, x: &Tensor| p.f_bmm(&x.f_unsqueeze(2)?)?.f_squeeze_dim(2);
        let rows = self.targets.size()[0] as f64;
        let mut residual = match &self.horizontal {
            Some(p) => apply(p, outputs)?.f_sub(&self.targets)?,
            None => outputs.f_sub(&self.targets)?,
        };
        let flat = residual.f_view([-1])?;
        let loss = flat.f_dot(&flat)?.f_div_scalar_(rows)?;
        let slope = residual.f_mul_scalar_(2.0 / rows)?;
        let slope = match &self.horizontal {
            Some(p) => apply(&p.f_transpose(1, 2)?, &slope)?,
            None => slope,
        };
        Ok((loss, slope))
    }
}

/// Moving averages of the weights that are being trained, for targets that change slowly.
pub trait Averages {
    /// Runs `f` with the average of this rate in the model, without gradients; then the weights are what
    /// they were.
    ///
    /// # Errors
    /// When no average of that rate is kept, and what `f` returns.
    fn with(&self, rate: f64, f: &mut dyn FnMut() -> Result<()>) -> Result<()>;
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

    /// The objective that this one adds to. Whatever a wrapper does not answer itself is asked of it.
    fn inner(&self) -> Option<&dyn Objective> {
        None
    }

    /// Rates of the averages that [`Objective::loss_with`] asks for: `train.ema` must name them.
    fn averages(&self) -> Vec<f64> {
        self.inner().map(|inner| inner.averages()).unwrap_or_default()
    }

    /// [`Objective::loss`] for an objective that compares the model with averages of itself. The
    /// default does not: it is the loss, a wrapper's own.
    ///
    /// # Errors
    /// As for [`Objective::loss`].
    fn loss_with(
        &self,
        model: &dyn ScoreModel,
        batch: &State,
        context: &LossContext,
        _averages: &dyn Averages,
    ) -> Result<Loss> {
        self.loss(model, batch, context)
    }

    /// The same loss as [`Objective::loss`] as a regression of columns, for `batches` batches at once
    /// (the rows of `states`, one batch after the other), where it is one. `context.step` numbers
    /// these groups of batches. A wrapper changes the loss, so it is not asked of the objective inside.
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
