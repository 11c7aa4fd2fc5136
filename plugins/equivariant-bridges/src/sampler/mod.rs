//! Samplers of bridges.

mod grid;
mod heun;

pub use grid::TimeGrid;
pub use heun::{BridgeHeunConfig, Guidance, LastStep};
