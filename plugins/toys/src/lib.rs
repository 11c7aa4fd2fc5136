//! Toy densities: points of the plane, of space and of R^4 whose law has a symmetry.

pub mod dataset;

isotropy_core::plugin!("toy densities of the plane, of space and of four dimensions");
