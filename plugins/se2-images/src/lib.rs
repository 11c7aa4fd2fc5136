//! Rotated digits: the score of a rotation angle is learnt from upright handwritten digits, and the
//! sampler turns a rotated digit upright (sism.md 2.7, 3.3).
//!
//! The group SO(2) acts on the image by rotation; see
//! [`image_rotation`](isotropy_images::action::image_rotation). Moved digits are the same with
//! SE(2): rotated and shifted; see [`image_motion`](isotropy_images::action::image_motion).

pub mod dataset;
pub mod metric;
pub mod model;
pub mod plot;
pub mod process;

isotropy_core::plugin!("turned and shifted digits: data, score networks, processes, metrics");
