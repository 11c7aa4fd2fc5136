//! Layers and networks: score models that are not tied to one experiment, and the layers that they
//! share with other plugins.

pub mod attention;
pub mod egnn;
pub mod embedding;
pub mod features;
pub mod layers;
pub mod mlp;
pub mod neighbours;
pub mod radial;
pub mod symmetric;
pub mod symmetric_kernel;
pub mod tensor_field;
pub mod unet;
pub mod unet_model;
pub mod waves;

isotropy_core::plugin!("layers and networks");
