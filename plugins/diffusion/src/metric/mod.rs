//! Distances between samples and data, and counts of samples that went wrong.

mod assignment;
mod finite;
mod mmd;
mod nll;
mod points;
mod sampler_equivariance;
pub mod scores;
mod wasserstein;

pub use assignment::assignment;
pub use finite::FiniteConfig;
pub use mmd::{MmdConfig, median_distance, mmd, mmd_multi_scale};
pub use nll::NllConfig;
pub use sampler_equivariance::{NoiseUnder, SamplerEquivarianceConfig};
pub use wasserstein::{WassersteinConfig, wasserstein};

#[cfg(test)]
pub(crate) use points::testing;
