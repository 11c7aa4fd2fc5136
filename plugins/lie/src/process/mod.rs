//! Noising processes in the coefficients of a drive: Gaussian kernels in its flow coordinates.
//!
//! Notation: `tau` are the flow coordinates of the drive (for translations `tau = x`), the kernel
//! is `tau_t = mean(t) tau_0 + std(t) z` with standard normal `z`, `alpha_bar = 1 - std^2` for a
//! variance-preserving process, and `beta` is the variance that a step adds.

mod gaussian;
mod ve;
mod vp;

pub use gaussian::{Gaussian, MeanFactor, Prior};
pub use ve::VeConfig;
pub use vp::VpConfig;
