//! Models of bridges: the preconditioning around a network, and an exact oracle.

mod oracle;
mod preconditioned;
mod scales;

pub use oracle::GaussianBridgeConfig;
pub use preconditioned::{BridgePreconditionedConfig, Preconditioned, Scaling};
pub use scales::{BridgeScales, DataMoments};
