//! The classifier that judges samples: a small convolutional network of digits, its loss, and what
//! networks of digits share.

mod network;
mod objective;

pub use network::{CLASSES, DigitClassifier, DigitClassifierConfig, FEATURES};

use isotropy_core::{Error, ModelContext, Moves, Result};
use tch::{Tensor, nn};

/// Mean and standard deviation of MNIST's training pixels, on the scale `[0, 1]`.
const PIXEL_MEAN: f64 = 0.1307;
const PIXEL_STD: f64 = 0.3081;

/// Pixels from `[0, 1]` to those that MNIST's have mean 0 and deviation 1.
pub fn normalised(images: &Tensor) -> Tensor {
    (images - PIXEL_MEAN) / PIXEL_STD
}

/// A convolution of 3x3 pixels that keeps the size.
pub fn convolution(path: nn::Path, inputs: i64, outputs: i64) -> nn::Conv2D {
    let config = nn::ConvConfig { padding: 1, ..nn::ConvConfig::default() };
    nn::conv2d(path, inputs, outputs, 3, config)
}

/// Refuses other shapes: networks of digits end in layers of a fixed width, which 28x28 pixels lead to.
pub fn require_digits(context: &ModelContext) -> Result<()> {
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
