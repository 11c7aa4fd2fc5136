//! Tensor-field networks: equivariant under rotations, reflections and translations of the points (Thomas et al. 2018;
//! geomndp.md 2.2 (b)), on the irreps of O(3).

mod channels;
mod convolution;
mod network;

pub use channels::{Channels, Counts, Features, Mix};
pub use convolution::{Convolution, EdgeFrames};
pub use network::{TensorFieldNetwork, TensorFieldSize};
