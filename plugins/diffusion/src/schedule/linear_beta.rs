//! Variance-preserving noise whose rate grows linearly in time (Song et al. 2021).

use super::{above, positive, preserving, preserving_tensor, table_from_alpha_bar};
use isotropy_core::schedule::{Family, Schedule, Table};
use isotropy_core::{Result, ScheduleConfig, component, config};
use std::sync::Arc;
use tch::Tensor;

/// JSON description of [`LinearBeta`].
#[config]
#[derive(Clone)]
pub struct LinearBetaConfig {
    /// Rate at relative time 0, per unit of relative time; positive.
    #[serde(default = "beta_min")]
    #[schemars(range(min = 1e-9, max = 1000.0))]
    pub beta_min: f64,
    /// Rate at relative time 1, per unit of relative time; above `beta_min`.
    #[serde(default = "beta_max")]
    #[schemars(range(min = 1e-9, max = 1000.0))]
    pub beta_max: f64,
}

fn beta_min() -> f64 {
    0.1
}

fn beta_max() -> f64 {
    20.0
}

/// `beta(u) = beta_min + u (beta_max - beta_min)`, `alpha_bar(u) = exp(-integral of beta)`.
#[derive(Debug, Clone)]
pub struct LinearBeta {
    beta_min: f64,
    slope: f64,
}

impl LinearBeta {
    fn integral(&self, u: f64) -> f64 {
        u * (self.beta_min + 0.5 * self.slope * u)
    }
}

#[component(
    "linear-beta",
    "variance preserving, rate linear in continuous time",
    r#"{"type": "linear-beta", "beta_min": 0.1, "beta_max": 20.0}"#
)]
impl ScheduleConfig for LinearBetaConfig {
    fn build(&self) -> Result<Arc<dyn Schedule>> {
        let beta_min = positive("/beta_min", self.beta_min)?;
        let slope = above("/beta_max", self.beta_max, beta_min)? - beta_min;
        Ok(Arc::new(LinearBeta { beta_min, slope }))
    }
}

impl Schedule for LinearBeta {
    fn family(&self) -> Family {
        Family::VariancePreserving
    }

    fn mean_std(&self, u: &Tensor) -> (Tensor, Tensor) {
        let integral = u * (u * (0.5 * self.slope) + self.beta_min);
        preserving_tensor(&-(-integral).expm1())
    }

    fn at(&self, u: f64) -> (f64, f64) {
        preserving(-(-self.integral(u)).exp_m1())
    }

    fn table(&self, steps: usize) -> Table {
        table_from_alpha_bar(steps, |u| (-self.integral(u)).exp())
    }
}
