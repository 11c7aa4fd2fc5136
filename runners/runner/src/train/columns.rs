//! Training a model that is a plain regression ([`Regression`]): the noise of many batches is drawn
//! at once, and gradients need no graph. The random numbers are a function of (seed, group of
//! batches), so that a run resumed in the middle of a group draws the same ones again.

use super::flat::FlatParameters;
use crate::execute::Prepared;
use crate::guard::guard;
use isotropy_core::{
    Columns, LossContext, NoisingProcess, Objective, PredictionKind, Regression, Result, Split,
};
use tch::Tensor;

/// The training batches as columns, a group at a time.
pub struct ColumnTraining<'a> {
    prepared: &'a Prepared,
    objective: &'a dyn Objective,
    process: &'a dyn NoisingProcess,
    kind: PredictionKind,
    network: &'a dyn Regression,
    /// Points in a batch, and batches in a group.
    size: (i64, u64),
    group: Option<Group>,
    /// The flat gradient, and its views variable by variable.
    gradient: Tensor,
    views: Vec<Tensor>,
}

struct Group {
    number: u64,
    batches: Vec<Columns>,
}

impl<'a> ColumnTraining<'a> {
    /// `None` when the model or the objective is not a plain regression, or a group is one batch.
    ///
    /// # Errors
    /// When the first batches cannot be drawn.
    pub fn new(
        prepared: &'a Prepared,
        parameters: &FlatParameters,
        batch: i64,
        batches: u64,
    ) -> Result<Option<Self>> {
        let built = &prepared.built;
        let (Some(objective), Some(process), Some(network)) =
            (built.objective.as_deref(), built.process.as_deref(), built.model.regression())
        else {
            return Ok(None);
        };
        let gradient = parameters.buffer().f_zeros_like()?;
        let Some(views) = parameters.views_of(&network.variables(), &gradient)? else {
            return Ok(None);
        };
        let mut new = Self {
            prepared,
            objective,
            process,
            kind: built.model.predicts(),
            network,
            size: (batch, batches),
            group: None,
            gradient,
            views,
        };
        Ok((batches > 1 && new.draw(0)?).then_some(new))
    }

    /// Draws a group; whether the objective is a regression at all.
    fn draw(&mut self, number: u64) -> Result<bool> {
        let _no_grad = tch::no_grad_guard();
        let (batch, batches) = self.size;
        let streams = &self.prepared.load.streams;
        let rows = batch * batches as i64;
        let states =
            guard("dataset", || self.prepared.dataset.batch(Split::Train, number, rows, streams))?;
        let context =
            LossContext { process: Some(self.process), streams, step: number, train: true };
        let columns = guard("objective", || {
            self.objective.columns(self.network, self.kind, &states, batches as i64, &context)
        })?;
        let Some(columns) = columns else { return Ok(false) };
        self.group = Some(Group { number, batches: columns.batches(batch)? });
        Ok(true)
    }

    /// The loss of training batch `index`, and its gradient in the flat layout. The gradient is
    /// overwritten by the next call.
    ///
    /// # Errors
    /// When the batch cannot be drawn, or libtorch refuses an operation.
    pub fn gradient(&mut self, index: u64) -> Result<(Tensor, Tensor)> {
        let batches = self.size.1;
        let (number, within) = (index / batches, (index % batches) as usize);
        if self.group.as_ref().is_none_or(|group| group.number != number) {
            self.draw(number)?;
        }
        let group = self.group.as_ref().expect("the objective gave columns for the first group");
        let columns = &group.batches[within];
        let _no_grad = tch::no_grad_guard();
        let mut loss = None;
        let mut by_outputs = |outputs: &Tensor| -> Result<Tensor> {
            let (value, slope) = columns.loss(outputs)?;
            loss = Some(value);
            Ok(slope)
        };
        let network = self.network;
        guard("model", || network.differentiate(&columns.inputs, &mut by_outputs, &self.views))?;
        let loss = loss.expect("a regression asks for the derivative of its loss");
        Ok((loss, self.gradient.shallow_clone()))
    }
}
