//! Diffusion on Lie-group representations
