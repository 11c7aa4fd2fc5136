//! Gaussian processes: covariance kernels, Gram matrices and their roots, posteriors, tuning, the
//! Ornstein-Uhlenbeck process of functions (Mathieu et al. 2023, arXiv 2307.05431) and its oracle.
//!
//! A state holds the values `y` `[B, N, d]` at the points `index` `[B, N, p]`; covariances over all
//! coefficients are point-major (coefficient `n d + c`).

pub mod claim;
mod conformance;
pub mod kernel;
pub mod linear_algebra;
pub mod oracle;
pub mod posterior;
pub mod process;
pub mod tuning;

isotropy_core::plugin!(
    "Gaussian processes: kernels, posteriors, the process of functions, its oracle"
);
