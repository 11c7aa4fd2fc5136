//! The classifier that judges samples: 1,676,266 parameters (sism.md 3.3).

use super::{convolution, normalised, require_digits};
use isotropy_core::{
    ModelConfig, ModelContext, Prediction, PredictionKind, Result, ScoreModel, State, component,
    config,
};
use tch::Tensor;
use tch::nn;

/// Number of classes: the ten digits.
pub const CLASSES: i64 = 10;
/// Length of [`DigitClassifier::embed`]: 64 channels of 7x7.
pub const FEATURES: i64 = 3136;

/// The convolutional classifier for 28x28 digits (1,676,266 parameters, dropout); its features are
/// the 3,136 activations after the last pooling.
#[config]
#[derive(Clone)]
pub struct DigitClassifierConfig {
    /// Probability of dropping a channel or a unit while training.
    #[serde(default = "dropout")]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
}

fn dropout() -> f64 {
    0.1
}

#[component(
    "digit-classifier",
    "convolutional classifier of 28x28 digits (1,676,266 parameters)",
    r#"{"type": "digit-classifier"}"#
)]
impl ModelConfig for DigitClassifierConfig {
    fn build(&self, path: &nn::Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        require_digits(context)?;
        Ok(Box::new(DigitClassifier::new(path, self.dropout)))
    }
}

/// Two blocks of two 3x3 convolutions (32, then 64 channels, ReLU) with pooling and dropout of
/// channels, then 3136-512-10 with dropout.
#[derive(Debug)]
pub struct DigitClassifier {
    convolutions: [nn::Conv2D; 4],
    hidden: nn::Linear,
    last: nn::Linear,
    dropout: f64,
}

impl DigitClassifier {
    /// Creates the variables under `path`.
    pub fn new(path: &nn::Path, dropout: f64) -> Self {
        Self {
            convolutions: [
                convolution(path / "convolution_0", 1, 32),
                convolution(path / "convolution_1", 32, 32),
                convolution(path / "convolution_2", 32, 64),
                convolution(path / "convolution_3", 64, 64),
            ],
            hidden: nn::linear(path / "hidden", FEATURES, 512, Default::default()),
            last: nn::linear(path / "last", 512, CLASSES, Default::default()),
            dropout,
        }
    }

    /// The embedding `[B, 3136]` of images `[B, 1, 28, 28]` in `[0, 1]`.
    pub fn embed(&self, images: &Tensor, train: bool) -> Tensor {
        let [a, b, c, d] = &self.convolutions;
        let x = normalised(images).apply(a).relu().apply(b).relu().max_pool2d_default(2);
        let x = x.feature_dropout(self.dropout, train);
        x.apply(c).relu().apply(d).relu().max_pool2d_default(2).flatten(1, -1)
    }

    /// The logits `[B, 10]`.
    pub fn logits(&self, images: &Tensor, train: bool) -> Tensor {
        let hidden = self.embed(images, train).apply(&self.hidden).relu();
        hidden.dropout(self.dropout, train).apply(&self.last)
    }
}

impl ScoreModel for DigitClassifier {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Logits
    }

    fn predict(&self, state: &State, _t: &Tensor, train: bool) -> Result<Prediction> {
        Ok(Prediction::one(PredictionKind::Logits, self.logits(state.x(), train)))
    }

    fn features(&self, state: &State) -> Result<Option<Tensor>> {
        Ok(Some(self.embed(state.x(), false)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn it_has_the_published_number_of_parameters() {
        let variables = nn::VarStore::new(Device::Cpu);
        let net = DigitClassifier::new(&variables.root(), 0.1);
        let count: usize = variables.trainable_variables().iter().map(Tensor::numel).sum();
        assert_eq!(count, 1_676_266);
        let images = Tensor::rand([2, 1, 28, 28], (Kind::Float, Device::Cpu));
        assert_eq!(net.embed(&images, false).size(), [2, FEATURES]);
        assert_eq!(net.logits(&images, false).size(), [2, CLASSES]);
    }
}
