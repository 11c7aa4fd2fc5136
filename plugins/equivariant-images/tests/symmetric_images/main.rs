//! Symmetric images: kernels, networks, samplers, objectives, data and metrics.

#![allow(clippy::unwrap_used)]

mod action;
mod conformance;
mod data;
mod files;
mod kernels;
mod metrics;
mod objective;
mod unet;

use isotropy_diffusion as _;
use isotropy_equivariant_images as _;
use isotropy_groups as _;
