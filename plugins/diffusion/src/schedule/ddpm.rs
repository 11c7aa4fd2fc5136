//! The discrete schedule of DDPM (Ho et al. 2020), scaled to any number of steps.

use super::{preserving, preserving_tensor, table_from_beta};
use isotropy_core::schedule::{Family, Schedule, Table};
use isotropy_core::{Result, ScheduleConfig, component, config};
use std::sync::Arc;
use tch::Tensor;

/// Variance per unit of relative time at `u = 0` and `u = 1`.
const BETA: (f64, f64) = (0.1, 20.0);

/// JSON description of [`Ddpm`].
#[config]
#[derive(Clone)]
pub struct DdpmConfig {}

/// `beta_t` in equal steps from `0.1 / T` to `20 / T`, `t = 0 ..= T`. In continuous time
/// `alpha_bar(u) = exp(-(0.1 u + 9.95 u^2))`.
#[derive(Debug, Clone)]
pub struct Ddpm;

#[component(
    "ddpm",
    "variance preserving, beta from 0.1/T to 20/T in T steps",
    r#"{"type": "ddpm"}"#
)]
impl ScheduleConfig for DdpmConfig {
    fn build(&self) -> Result<Arc<dyn Schedule>> {
        Ok(Arc::new(Ddpm))
    }
}

impl Schedule for Ddpm {
    fn family(&self) -> Family {
        Family::VariancePreserving
    }

    fn mean_std(&self, u: &Tensor) -> (Tensor, Tensor) {
        let integral = u * (u * (0.5 * (BETA.1 - BETA.0)) + BETA.0);
        preserving_tensor(&-(-integral).expm1())
    }

    fn at(&self, u: f64) -> (f64, f64) {
        preserving(-(-u * (0.5 * (BETA.1 - BETA.0) * u + BETA.0)).exp_m1())
    }

    /// With fewer than 21 steps the largest `beta` would exceed 1; it is clipped at 0.999.
    fn table(&self, steps: usize) -> Table {
        let total = steps.max(1) as f64;
        let beta = |t: usize| (BETA.0 + (BETA.1 - BETA.0) * t as f64 / total) / total;
        table_from_beta((0..=steps).map(|t| beta(t).min(0.999)).collect())
    }
}
