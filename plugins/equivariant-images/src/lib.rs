//! Structure-preserving diffusion of images (Lu et al. 2024): networks that are equivariant by weight tying, by lifting or
//! by averaging, noise that turns with the image, and the metrics that tell.

pub mod dataset;
pub mod objective;

isotropy_core::plugin!(
    "Structure-preserving diffusion of images: objectives that regularise, toy images"
);
