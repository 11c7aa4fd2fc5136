//! Pictures of fields: functions of one coordinate with their band, vector fields as arrows.

mod arrows;
mod functions;
mod panels;

pub use arrows::VectorFieldPlotConfig;
pub use functions::FunctionPlotConfig;
