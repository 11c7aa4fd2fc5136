//! Score models whose score is known exactly: samplers, likelihoods and checks run without training
//! error.

mod mixture;

pub use mixture::{GaussianTauConfig, MixtureTauConfig};
