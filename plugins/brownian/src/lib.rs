//! Brownian motion on compact groups, tori and spheres: heat kernels, processes, exact scores.

pub mod conformance;
pub mod heat_kernel;
pub mod oracle;
pub mod process;

isotropy_core::plugin!(
    "Brownian motion on compact groups, tori and spheres: heat kernels, processes, exact scores"
);
