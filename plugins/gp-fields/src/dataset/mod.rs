//! Datasets of fields: functions and vector fields that are drawn, and winds that were measured.
//!
//! Training states hold values at points (`index`), with a mask where functions of one batch are seen at different
//! numbers of points. Test states hold the points that are asked for, and what is known of the same function elsewhere
//! (`isotropy_diffusion::observed`).

#[cfg(feature = "netcdf")]
mod axes;
pub mod counts;
#[cfg(feature = "netcdf")]
mod era5;
#[cfg(feature = "netcdf")]
pub mod fields;
mod functions;
mod gaussian_fields;
pub mod globe;
pub mod grid_fields;
pub mod law;
#[cfg(feature = "netcdf")]
mod netcdf;
pub mod points;
pub mod sawtooth;
pub mod snapshots;
pub mod synthetic;
pub mod task;
#[cfg(feature = "netcdf")]
mod times;
#[cfg(feature = "netcdf")]
mod winds;

#[cfg(feature = "netcdf")]
pub use era5::{Era5Config, Standardisation, Variables};
pub use functions::{FunctionFamily, FunctionTask, FunctionsConfig};
pub use gaussian_fields::{GaussianFieldsConfig, Values};
#[cfg(feature = "netcdf")]
pub use winds::{WindowConfig, WindsConfig};
