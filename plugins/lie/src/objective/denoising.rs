//! Denoising: the regression of what a model predicts on what the noise of the process was
//! (sism.md 1.3). Its minimiser is the conditional mean of the target, which makes the prediction
//! the (generalised) score.

use isotropy_core::{
    Error, Kernel, Loss, LossContext, NoisingProcess, Objective, ObjectiveConfig, PredictionKind,
    Result, Scale, ScoreModel, State, Xi,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Reduction, Tensor};

/// Regression of the prediction on its denoising target: mean over the batch of the error summed
/// over all coefficients. Coefficients of padded points do not count.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DenoisingConfig {
    /// How errors are measured.
    pub error: ErrorNorm,
    /// How errors at different times count.
    pub weighting: Weighting,
    /// How the times of a batch are drawn.
    pub times: Times,
}

/// How an error is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorNorm {
    /// Its square.
    #[default]
    Squared,
    /// Its absolute value. The minimiser is then the conditional median, not the mean.
    Absolute,
}

/// How errors at different times count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weighting {
    /// Every prediction is compared on the scale of the noise: the error of a score is multiplied
    /// by the standard deviation of the kernel, that of clean coordinates by mean factor over
    /// standard deviation; other predictions live on this scale already.
    #[default]
    NoiseScale,
    /// The error of the prediction as it is. With the prediction `score` this is the published loss
    /// with target `-eta / sigma`, which the smallest times dominate (sism.md, pitfall 12).
    Unit,
}

/// How the times of a batch are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Times {
    /// One in each of as many equal slices of the time axis as there are points: the loss varies
    /// less from batch to batch.
    #[default]
    Stratified,
    /// Each for itself.
    Independent,
}

#[typetag::serde(name = "denoising")]
impl ObjectiveConfig for DenoisingConfig {
    fn build(&self) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Denoising(self.clone())))
    }
}

isotropy_core::register!(
    "objective",
    "denoising",
    DenoisingConfig,
    "regression of the prediction on the noise that the process added",
    r#"{"type": "denoising", "weighting": "noise-scale", "times": "stratified"}"#
);

#[derive(Debug)]
struct Denoising(DenoisingConfig);

impl Denoising {
    fn error(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        match self.0.error {
            ErrorNorm::Squared => prediction.mse_loss(target, Reduction::Sum),
            ErrorNorm::Absolute => prediction.l1_loss(target, Reduction::Sum),
        }
    }

    /// The weighted error of one head, summed over batch, factors and coefficients.
    fn head_error(
        &self,
        kind: PredictionKind,
        kernel: &Kernel,
        mask: Option<&Tensor>,
        head: &Xi,
        target: &Xi,
    ) -> Tensor {
        let factors = head.0.iter().zip(&target.0).enumerate().map(|(k, (head, target))| {
            // Prediction and target are scaled alike; nothing is computed where there is no scale.
            let both =
                |f: &dyn Fn(&Tensor) -> Tensor, pair: (Tensor, Tensor)| (f(&pair.0), f(&pair.1));
            let mut pair = (head.shallow_clone(), target.shallow_clone());
            if self.0.weighting == Weighting::NoiseScale {
                let (mean, std): (&Scale, &Scale) = (&kernel.mean[k], &kernel.std[k]);
                match kind {
                    PredictionKind::Score => pair = both(&|x| std.times(x), pair),
                    PredictionKind::Clean => {
                        pair = both(&|x| mean.times(&std.divide(x)), pair);
                    }
                    _ => {}
                }
            }
            if let Some(mask) = mask.and_then(|mask| broadcast(mask, &pair.0)) {
                pair = both(&|x| x * &mask, pair);
            }
            self.error(&pair.0, &pair.1)
        });
        factors.reduce(|a, b| a + b).expect("a prediction has at least one factor")
    }
}

/// The mask `[B, N]` in a shape that broadcasts against coefficients `[B, N, ..]`; `None` when the
/// coefficients do not belong to the index set (those of a rigid body).
fn broadcast(mask: &Tensor, coefficients: &Tensor) -> Option<Tensor> {
    let (mask_shape, mut shape) = (mask.size(), coefficients.size());
    if shape.len() < 2 || shape[..2] != mask_shape[..] {
        return None;
    }
    shape[2..].fill(1);
    Some(mask.view(shape.as_slice()).to_kind(coefficients.kind()))
}

impl Objective for Denoising {
    fn accepts(&self, process: Option<&dyn NoisingProcess>, model: &dyn ScoreModel) -> Result<()> {
        let process = process.ok_or_else(|| {
            Error::config("", "denoising needs a `process`, and the experiment has none")
        })?;
        match model.predicts() {
            PredictionKind::Logits => {
                Err(Error::config("", "denoising cannot train a classifier: it predicts logits"))
            }
            PredictionKind::Field | PredictionKind::FieldSum
                if process.fields().coordinates().is_none() =>
            {
                let message = format!(
                    "the model predicts a field of flow coordinates, and {} has none",
                    process.drive().name()
                );
                Err(Error::config("", message))
            }
            _ => Ok(()),
        }
    }

    fn loss(&self, model: &dyn ScoreModel, batch: &State, context: &LossContext) -> Result<Loss> {
        let process = context.process.ok_or_else(|| Error::Other("no process".into()))?;
        let name = if context.train { "denoising" } else { "denoising/validation" };
        let mut stream = context.streams.stream(name, context.step);
        let size = batch.batch_size();
        let stratified = self.0.times == Times::Stratified;
        let t = process.time().sample(size, stratified, batch.options(), &mut stream);
        let perturbed = process.perturb(batch, &t, &mut stream)?;
        let prediction = model.predict(&perturbed.noisy, &t, context.train)?;
        let target = perturbed.target(prediction.kind)?;

        let mask = batch.mask();
        let heads = prediction.heads.iter().zip(&target).map(|(head, target)| {
            self.head_error(prediction.kind, &perturbed.kernel, mask, head, target)
        });
        let heads: Vec<Tensor> = heads.collect();
        // Parts cost a few operations each; in training they would be the price of every step.
        let parts = if context.train || heads.len() < 2 {
            Vec::new()
        } else {
            let named = heads.iter().enumerate();
            named.map(|(k, error)| (format!("head_{k}"), error.detach() / size as f64)).collect()
        };
        let total = heads.into_iter().reduce(|a, b| a + b);
        let total = total.expect("a prediction has at least one head") / size as f64;
        Ok(Loss { total, parts })
    }
}
