//! Continuous groups on images.

pub mod image_motion;
mod image_permutation;
pub mod image_rotation;
mod image_shift;
mod interpolated;
pub mod motion;
mod pose;

pub use image_permutation::{ImagePermutation, ImagePermutationConfig, PixelGroup};
pub use image_shift::{ImageShift, ImageShiftConfig};
pub use interpolated::{
    ImageInterpolation, ImageInterpolationConfig, Interpolation, Mask, PlaneGroup,
};
pub use pose::{Canonical, pose};
