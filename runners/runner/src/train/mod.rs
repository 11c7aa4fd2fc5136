//! Training.

pub mod columns;
pub mod early_stop;
pub mod ema;
pub mod equivariance;
pub mod flat;
pub mod learning_rate;
pub mod numbers;
pub mod optimizer;
pub mod trainer;
pub mod window;
