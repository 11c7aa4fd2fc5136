//! The score network: 16,185 parameters (sism.md 3.3).

use isotropy_core::{
    Error, ModelConfig, ModelContext, Prediction, PredictionKind, Result, ScoreModel, State,
    TimeDomain, component, config,
};
use isotropy_images::classifier::{convolution, normalised, require_digits};
use tch::Tensor;
use tch::nn::{self, ModuleT};

/// The convolutional score network for 28x28 digits (16,185 parameters, batch normalisation); it
/// predicts the preconditioned score of the angle.
#[config]
#[derive(Clone)]
pub struct DigitScoreNetConfig {}

#[component(
    "digit-score-net",
    "convolutional score network for the angle of a 28x28 digit (16,185 parameters)",
    r#"{"type": "digit-score-net"}"#
)]
impl ModelConfig for DigitScoreNetConfig {
    fn build(&self, path: &nn::Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        require_digits(context)?;
        if context.xi_shape()? != [[1]] {
            return Err(Error::config(
                "/type",
                "this network predicts one angle; the drive has other coefficients",
            ));
        }
        Ok(Box::new(DigitScoreNet::new(path, context.denoised()?.time().clone())))
    }
}

/// Four convolutions 1-4-8-16-32 (3x3, batch norm, ReLU; pooling after all but the third), then
/// 288 features and the time through 32-16-1 (batch norm, ReLU).
#[derive(Debug)]
pub struct DigitScoreNet {
    convolutions: Vec<(nn::Conv2D, nn::BatchNorm)>,
    layers: Vec<(nn::Linear, nn::BatchNorm)>,
    last: nn::Linear,
    time: TimeDomain,
}

impl DigitScoreNet {
    /// Creates the variables under `path`; `time` gives the label that the network sees.
    pub fn new(path: &nn::Path, time: TimeDomain) -> Self {
        // PyTorch starts batch norm at weight 1; tch's default is a uniform draw.
        let norm = nn::BatchNormConfig { ws_init: nn::Init::Const(1.0), ..Default::default() };
        let convolutions = [(1, 4), (4, 8), (8, 16), (16, 32)].iter().enumerate();
        let layers = [(289, 32), (32, 16)].iter().enumerate();
        Self {
            convolutions: convolutions
                .map(|(k, &(inputs, outputs))| {
                    let block = path / format!("convolution_{k}");
                    let conv = convolution(&block / "conv", inputs, outputs);
                    (conv, nn::batch_norm2d(&block / "norm", outputs, norm))
                })
                .collect(),
            layers: layers
                .map(|(k, &(inputs, outputs))| {
                    let block = path / format!("layer_{k}");
                    let linear = nn::linear(&block / "linear", inputs, outputs, Default::default());
                    (linear, nn::batch_norm1d(&block / "norm", outputs, norm))
                })
                .collect(),
            last: nn::linear(path / "last", 16, 1, Default::default()),
            time,
        }
    }

    /// The preconditioned score `[B, 1]` for images `[B, 1, 28, 28]` in `[0, 1]` and labels `[B]`.
    pub fn forward(&self, images: &Tensor, label: &Tensor, train: bool) -> Tensor {
        let mut x = normalised(images);
        for (k, (conv, norm)) in self.convolutions.iter().enumerate() {
            x = norm.forward_t(&x.apply(conv), train).relu();
            if k != 2 {
                x = x.max_pool2d_default(2);
            }
        }
        let mut x = Tensor::cat(&[x.flatten(1, -1), label.reshape([-1, 1])], 1);
        for (linear, norm) in &self.layers {
            x = norm.forward_t(&x.apply(linear), train).relu();
        }
        x.apply(&self.last)
    }
}

impl ScoreModel for DigitScoreNet {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::PreconditionedScore
    }

    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction> {
        let label = self.time.label(t).to_kind(state.x().kind());
        let head = self.forward(state.x(), &label, train);
        Ok(Prediction::one(PredictionKind::PreconditionedScore, head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn it_has_the_published_number_of_parameters() {
        let variables = nn::VarStore::new(Device::Cpu);
        let net = DigitScoreNet::new(&variables.root(), TimeDomain::steps(100));
        let count: usize = variables.trainable_variables().iter().map(Tensor::numel).sum();
        assert_eq!(count, 16_185);
        let images = Tensor::rand([3, 1, 28, 28], (Kind::Float, Device::Cpu));
        let out = net.forward(&images, &Tensor::zeros([3], (Kind::Float, Device::Cpu)), true);
        assert_eq!(out.size(), [3, 1]);
    }
}
