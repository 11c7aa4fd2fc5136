//! The score networks, and the classifier that judges samples.

mod classifier;
mod motion;
mod score;

pub use classifier::{CLASSES, DigitClassifier, DigitClassifierConfig, FEATURES};
pub use motion::{MotionScoreNet, MotionScoreNetConfig};
pub use score::{DigitScoreNet, DigitScoreNetConfig};

use isotropy_core::{Error, ModelContext, Moves, Result};
use tch::{Tensor, nn};

/// Mean and standard deviation of MNIST's training pixels, on the scale `[0, 1]`.
const PIXEL_MEAN: f64 = 0.1307;
const PIXEL_STD: f64 = 0.3081;

fn normalised(images: &Tensor) -> Tensor {
    (images - PIXEL_MEAN) / PIXEL_STD
}

fn convolution(path: nn::Path, inputs: i64, outputs: i64) -> nn::Conv2D {
    let config = nn::ConvConfig { padding: 1, ..nn::ConvConfig::default() };
    nn::conv2d(path, inputs, outputs, 3, config)
}

/// Both networks end in layers of a fixed width, which 28x28 pixels lead to.
fn require_digits(context: &ModelContext) -> Result<()> {
    let value = &context.spec.value;
    if value.moves == Moves::Image && value.shape == [1, 28, 28] {
        return Ok(());
    }
    Err(Error::config(
        "/type",
        format!(
            "this network sees images of shape [1, 28, 28]; the dataset's values are {:?} of shape {:?}",
            value.moves, value.shape
        ),
    ))
}
