//! Training objectives.

mod denoising;
mod times;

pub use denoising::{DenoisingConfig, EdmWeight, ErrorNorm, Weighting};
pub use times::{LogNormal, Times};
