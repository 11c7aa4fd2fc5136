//! Training objectives.

mod denoising;

pub use denoising::{DenoisingConfig, ErrorNorm, Weighting};
