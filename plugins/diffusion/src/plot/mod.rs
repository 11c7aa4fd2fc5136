//! Pictures of samples.

mod scatter;

pub use scatter::ScatterConfig;
