//! Samplers of bridges.

mod conformance;
mod grid;
mod heun;

pub use grid::TimeGrid;
pub use heun::{BridgeEnd, BridgeHeunConfig, Guidance};
