//! Gaussian-process fields (Mathieu et al. 2023, "Geometric neural diffusion processes"): functions and vector
//! fields that are seen at finitely many points, noised towards a Gaussian process and sampled given some of
//! their values.
//!
//! A state holds the values `y` `[B, N, d]` at the points `index` `[B, N, p]`; covariances over all coefficients are
//! point-major (coefficient `n d + c`).

pub mod dataset;
pub mod metric;
pub mod model;
pub mod plot;
pub mod source;

isotropy_core::plugin!("Gaussian-process fields: data, networks, metrics and pictures");
