//! Diffusion on Lie-group representations: processes, samplers, objectives, toy densities, the
//! metrics and pictures that go with them, and oracles whose score is known.

pub mod dataset;
pub use isotropy_core::likelihood;
pub mod metric;
pub mod model;
pub mod objective;
pub mod oracle;
pub mod plot;
pub mod process;
pub mod sampler;

isotropy_core::plugin!("processes, samplers, toy densities, metrics and oracles");
