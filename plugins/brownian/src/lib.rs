//! Brownian motion on compact groups, tori and spheres: heat kernels, processes, exact scores.

isotropy_core::plugin!(
    "Brownian motion on compact groups, tori and spheres: heat kernels, processes, exact scores"
);
