//! Noise of the pose: exact on SE(2), and that of the published code.

pub mod motion_ve;
pub mod published_ve;
