//! Noise whose standard deviation grows linearly in time: the law of the angles of rotated digits.

use super::{above, positive, table_from_std};
use isotropy_core::schedule::{Family, Schedule, Table};
use isotropy_core::{Result, ScheduleConfig, component, config};
use std::sync::Arc;
use tch::Tensor;

/// JSON description of [`LinearSigma`].
#[config]
#[derive(Clone)]
pub struct LinearSigmaConfig {
    /// Standard deviation at the last time, in the unit of the coordinates (radians for an angle);
    /// above `floor`.
    #[schemars(range(min = 1e-12, max = 1e6))]
    pub sigma_max: f64,
    /// Smallest standard deviation, in the unit of the coordinates; positive.
    #[serde(default = "floor")]
    #[schemars(range(min = 1e-12, max = 1e6))]
    pub floor: f64,
}

fn floor() -> f64 {
    1e-4
}

/// `std(u) = max(sigma_max u, floor)`.
#[derive(Debug, Clone)]
pub struct LinearSigma {
    sigma_max: f64,
    floor: f64,
}

#[component(
    "ve-linear",
    "variance exploding, std grows linearly with a floor",
    r#"{"type": "ve-linear", "sigma_max": 1.5707963, "floor": 0.0001}"#
)]
impl ScheduleConfig for LinearSigmaConfig {
    fn build(&self) -> Result<Arc<dyn Schedule>> {
        let floor = positive("/floor", self.floor)?;
        Ok(Arc::new(LinearSigma { sigma_max: above("/sigma_max", self.sigma_max, floor)?, floor }))
    }
}

impl Schedule for LinearSigma {
    fn family(&self) -> Family {
        Family::VarianceExploding
    }

    fn mean_std(&self, u: &Tensor) -> (Tensor, Tensor) {
        (u.ones_like(), (u * self.sigma_max).clamp_min(self.floor))
    }

    fn at(&self, u: f64) -> (f64, f64) {
        (1.0, (self.sigma_max * u).max(self.floor))
    }

    fn table(&self, steps: usize) -> Table {
        table_from_std(steps, |u| self.at(u).1)
    }
}
