//! Metrics of fields: likelihoods, quality of conditional samples, distance from the Gaussian-process optimum.

pub(crate) mod draws;
mod equivariance;
mod functions;
mod log_likelihood;
mod optimum;
mod predictive;
mod score_gap;
mod summary;

pub use equivariance::ConditionalEquivarianceConfig;
pub use functions::{GaussianProcessConfig, TuneConfig};
pub use log_likelihood::{FieldLogLikelihoodConfig, Of};
pub use optimum::GpOptimumConfig;
pub use predictive::FieldPredictiveConfig;
pub use score_gap::FieldScoreGapConfig;
pub use summary::Summary;
