//! The noise levels of Karras et al. (2022), equally spaced in `std^(1/rho)`.

use super::{above, positive, table_from_std};
use isotropy_core::schedule::{Family, Schedule, Table};
use isotropy_core::{Result, ScheduleConfig, component, config};
use std::sync::Arc;
use tch::Tensor;

/// JSON description of [`Karras`].
#[config]
#[derive(Clone)]
pub struct KarrasConfig {
    /// Standard deviation at time 0, in the unit of the coordinates; positive.
    #[schemars(range(min = 1e-12, max = 1e6))]
    pub sigma_min: f64,
    /// Standard deviation at the last time, in the unit of the coordinates; above `sigma_min`.
    #[schemars(range(min = 1e-12, max = 1e6))]
    pub sigma_max: f64,
    /// Exponent: larger values spend more of the time at little noise. No unit, at least 1.
    #[serde(default = "rho")]
    #[schemars(range(min = 1.0, max = 100.0))]
    pub rho: f64,
}

fn rho() -> f64 {
    7.0
}

/// `std(u) = (sigma_min^(1/rho) + u (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho`.
#[derive(Debug, Clone)]
pub struct Karras {
    low: f64,
    span: f64,
    rho: f64,
}

#[component(
    "karras",
    "variance exploding, equal steps in std^(1/rho)",
    r#"{"type": "karras", "sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0}"#
)]
impl ScheduleConfig for KarrasConfig {
    fn build(&self) -> Result<Arc<dyn Schedule>> {
        let sigma_min = positive("/sigma_min", self.sigma_min)?;
        let sigma_max = above("/sigma_max", self.sigma_max, sigma_min)?;
        if !(1.0..=100.0).contains(&self.rho) {
            return Err(isotropy_core::Error::config(
                "/rho",
                format!("{} is outside [1, 100]", self.rho),
            ));
        }
        let low = sigma_min.powf(self.rho.recip());
        Ok(Arc::new(Karras { low, span: sigma_max.powf(self.rho.recip()) - low, rho: self.rho }))
    }
}

impl Schedule for Karras {
    fn family(&self) -> Family {
        Family::VarianceExploding
    }

    fn mean_std(&self, u: &Tensor) -> (Tensor, Tensor) {
        (u.ones_like(), (u * self.span + self.low).pow_tensor_scalar(self.rho))
    }

    fn at(&self, u: f64) -> (f64, f64) {
        (1.0, (self.low + u * self.span).powf(self.rho))
    }

    fn table(&self, steps: usize) -> Table {
        table_from_std(steps, |u| self.at(u).1)
    }
}
