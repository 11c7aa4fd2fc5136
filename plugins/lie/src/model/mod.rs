//! Wrappers around networks.

mod edm;
pub(crate) mod kernel;

pub use edm::{EdmConfig, EdmScales};
