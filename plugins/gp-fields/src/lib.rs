//! Gaussian-process fields (Mathieu et al. 2023, "Geometric neural diffusion processes"): functions and vector
//! fields that are seen at finitely many points, noised towards a Gaussian process and sampled given some of
//! their values.
//!
//! A state holds the values `y` `[B, N, d]` at the points `index` `[B, N, p]`; covariances over all coefficients are
//! point-major (coefficient `n d + c`).

isotropy_core::plugin!(
    "Gaussian-process fields: kernels, processes, conditional samplers, data and networks"
);
