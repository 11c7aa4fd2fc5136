//! Samplers that images need beside the general ones.

mod image_ddim;
mod self_conditioned;

pub use image_ddim::{ImageDdimConfig, PairsOfTimes, pairs};
pub use self_conditioned::SelfConditionedConfig;
