//! Continuous groups on images.

mod interpolated;
mod pose;

pub use interpolated::{
    ImageInterpolation, ImageInterpolationConfig, Interpolation, Mask, PlaneGroup,
};
pub use pose::pose;
