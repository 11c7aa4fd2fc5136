//! Clamping the estimate of the clean image to the range of the data.

use isotropy_core::{
    Error, KernelLaw, ModelConfig, ModelContext, Prediction, PredictionKind, Result, ScoreModel,
    State, Xi, broadcast, component, config,
};
use std::sync::Arc;
use tch::Tensor;
use tch::nn::Path;

/// A model whose estimate of the clean image is cut off at the range of the data, whatever the model
/// inside predicts; all samplers profit. It predicts clean coordinates. Train the model inside without
/// it (`init_from` takes its weights): where the estimate is cut off there is no gradient.
///
/// Cutting off pixel by pixel commutes with permutations of pixels.
#[config]
pub struct ClampedConfig {
    /// Smallest value of a pixel.
    #[serde(default = "minus_one")]
    pub low: f64,
    /// Largest value of a pixel.
    #[serde(default = "one")]
    pub high: f64,
    /// The model.
    pub inner: Box<dyn ModelConfig>,
}

fn minus_one() -> f64 {
    -1.0
}

fn one() -> f64 {
    1.0
}

#[component(
    "clamped",
    "a model whose estimate of the clean image is cut off at a range",
    r#"{"type": "clamped", "low": -1.0, "high": 1.0, "inner": {"type": "mlp", "hidden": [16], "inputs": ["x", "time"], "predicts": "noise"}}"#
)]
impl ModelConfig for ClampedConfig {
    fn build(&self, path: &Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        // A NaN is in no proper range.
        let proper = self.low < self.high;
        if !proper {
            let message = format!("the range from {} to {} is empty", self.low, self.high);
            return Err(Error::config("/high", message));
        }
        let process = context.denoised()?;
        if context.xi_shape()? != [context.spec.value.shape.clone()] {
            let message = "clamping needs a drive whose coefficients are those of the value";
            return Err(Error::config("", message).with_help("take the drive `translations`"));
        }
        let inner = self.inner.build(path, context).map_err(|error| error.under("/inner"))?;
        let kernel = match inner.predicts() {
            PredictionKind::Clean => None,
            PredictionKind::Field
            | PredictionKind::FieldSum
            | PredictionKind::Logits
            | PredictionKind::Velocity => {
                let message = "clamping needs a model with an estimate of the clean image";
                return Err(Error::config("/inner/predicts", message));
            }
            _ => Some(process.gaussian_kernel().ok_or_else(|| {
                let message = format!("{} has no Gaussian kernel", process.name());
                Error::config("/inner/predicts", message).with_help("predict `clean`")
            })?),
        };
        if let Some(kernel) = &kernel {
            let at = kernel.scales(process.time().end);
            if at.shift.is_some() {
                let message = "the kernel has a known end, which clamping does not know";
                return Err(Error::config("/inner/predicts", message).with_help("predict `clean`"));
            }
        }
        Ok(Box::new(Clamped { inner, kernel, low: self.low, high: self.high }))
    }
}

struct Clamped {
    inner: Box<dyn ScoreModel>,
    /// For predictions that are not the clean coordinates already.
    kernel: Option<Arc<dyn KernelLaw>>,
    low: f64,
    high: f64,
}

impl ScoreModel for Clamped {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Clean
    }

    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction> {
        let prediction = self.inner.predict(state, t, train)?;
        let clean = match &self.kernel {
            None => prediction.heads[0].clone(),
            Some(kernel) => {
                let x = state.x();
                let kernel = kernel.tensors(&broadcast(&t.to_kind(x.kind()), x.dim()));
                kernel.clean(&prediction, &Xi::from(x.shallow_clone()))?
            }
        };
        let clean = clean.map(|a| a.clamp(self.low, self.high));
        Ok(Prediction::one(PredictionKind::Clean, clean))
    }

    fn inner(&self) -> Option<&dyn ScoreModel> {
        Some(self.inner.as_ref())
    }

    /// Clamping is not linear: no factor tells the size of the output.
    fn raw_scale(&self, _state: &State, _t: &Tensor) -> Result<Option<Xi>> {
        Ok(None)
    }
}
