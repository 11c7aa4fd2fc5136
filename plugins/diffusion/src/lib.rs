//! Diffusion by the fields of a drive: processes with Gaussian kernels, schedules and clocks,
//! integrators, samplers, objectives, likelihoods, metrics of points, and oracles whose score is
//! known. Nothing here knows the geometry: points move by the drive's flow alone.

pub mod clock;
pub mod coupled_noise;
pub mod estimate;
pub mod integrate;
pub mod likelihood;
pub mod metric;
pub mod model;
pub mod objective;
pub mod observed;
pub mod oracle;
pub mod plot;
pub mod point_law;
pub mod process;
pub mod sampler;
pub mod schedule;

isotropy_core::plugin!("processes, schedules, samplers, objectives, likelihoods, metrics, oracles");
