//! Structure-preserving diffusion of images (Lu et al. 2024): networks that are equivariant by weight tying, by lifting or
//! by averaging, noise that turns with the image, and the metrics that tell.

pub mod action;
pub mod clamped;
pub mod dataset;
pub mod estimate;
pub mod metric;
pub mod objective;
pub mod plot;
pub mod sampler;
pub mod schedule;
pub mod source;

isotropy_core::plugin!(
    "Structure-preserving diffusion of images: equivariant U-Nets, datasets, metrics"
);
