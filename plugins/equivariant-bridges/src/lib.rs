//! Diffusion bridges (Zhou et al. 2024, DDBM; Li et al. 2023, BBDM): processes from data to a known
//! other end, the context field [`process::END`], which a symmetry moves together with the value.

pub mod clock;
pub mod dataset;
pub mod model;
pub mod objective;
pub mod plot;
pub mod process;
pub mod sampler;

isotropy_core::plugin!(
    "Diffusion bridges: Doob transforms of VE and VP, Brownian bridges, their samplers"
);
