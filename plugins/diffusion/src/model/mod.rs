//! Wrappers around networks.

mod averaged;
mod clamped;
mod conditioned;
mod edm;
pub(crate) mod kernel;

pub use averaged::{GroupAveragedConfig, average_over, orbit};
pub use conditioned::ConditionedConfig;
pub use edm::{EdmConfig, EdmScales};
