//! Metrics of fields: likelihoods, quality of conditional samples, distance from the Gaussian-process optimum.

mod functions;
mod log_likelihood;
mod optimum;
mod summary;

pub use functions::GaussianProcessConfig;
pub use log_likelihood::{FieldLogLikelihoodConfig, Of};
pub use optimum::GpOptimumConfig;
pub use summary::Summary;
