//! Noise that grows geometrically (the variance-exploding schedule of Song et al. 2021).

use super::{above, positive, table_from_std};
use isotropy_core::schedule::{Family, Schedule, Table};
use isotropy_core::{Result, ScheduleConfig, component, config};
use std::sync::Arc;
use tch::Tensor;

/// JSON description of [`Geometric`].
#[config]
#[derive(Clone)]
pub struct GeometricConfig {
    /// Standard deviation at time 0, in the unit of the coordinates; positive.
    #[schemars(range(min = 1e-12, max = 1e6))]
    pub sigma_min: f64,
    /// Standard deviation at the last time, in the unit of the coordinates; above `sigma_min`.
    #[schemars(range(min = 1e-12, max = 1e6))]
    pub sigma_max: f64,
}

/// `std(u) = sigma_min (sigma_max / sigma_min)^u`.
#[derive(Debug, Clone)]
pub struct Geometric {
    sigma_min: f64,
    log_ratio: f64,
}

#[component(
    "ve-geometric",
    "variance exploding, std grows geometrically",
    r#"{"type": "ve-geometric", "sigma_min": 0.01, "sigma_max": 10.0}"#
)]
impl ScheduleConfig for GeometricConfig {
    fn build(&self) -> Result<Arc<dyn Schedule>> {
        let sigma_min = positive("/sigma_min", self.sigma_min)?;
        let log_ratio = (above("/sigma_max", self.sigma_max, sigma_min)? / sigma_min).ln();
        Ok(Arc::new(Geometric { sigma_min, log_ratio }))
    }
}

impl Schedule for Geometric {
    fn family(&self) -> Family {
        Family::VarianceExploding
    }

    fn mean_std(&self, u: &Tensor) -> (Tensor, Tensor) {
        (u.ones_like(), (u * self.log_ratio).exp() * self.sigma_min)
    }

    fn at(&self, u: f64) -> (f64, f64) {
        (1.0, self.sigma_min * (u * self.log_ratio).exp())
    }

    fn table(&self, steps: usize) -> Table {
        table_from_std(steps, |u| self.at(u).1)
    }
}
