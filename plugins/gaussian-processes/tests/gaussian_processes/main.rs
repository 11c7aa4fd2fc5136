//! Covariance kernels, regression, the process to a Gaussian process and its oracle.

#![allow(clippy::unwrap_used)]

mod kernels;
mod oracle;
mod process;
mod regression;
mod support;

use isotropy_gaussian_processes as _;
