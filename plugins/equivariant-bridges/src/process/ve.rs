//! The bridge of the variance-exploding process.

use super::{Bridge, axis};
use crate::clock::{Base, BridgeClock};
use isotropy_core::{
    Error, NoisingProcess, ProcessConfig, Representation, Result, component, config,
};
use std::sync::Arc;

/// The bridge of Brownian motion with `sigma = t` (Zhou et al. 2024, DDBM-VE; spdm.md 1.5):
/// `x_t = t^2/T^2 x_T + (1 - t^2/T^2) x_0 + t sqrt(1 - t^2/T^2) z` with `T = sigma_max`. Time is the
/// noise level, in the unit of the data.
#[config(default)]
#[derive(Clone)]
pub struct VeBridgeConfig {
    /// Smallest time that is trained, in the unit of the data; positive.
    #[schemars(range(min = 1e-9, max = 1e6))]
    pub sigma_min: f64,
    /// The time `T` of the other end, in the unit of the data; positive.
    #[schemars(range(min = 1e-6, max = 1e6))]
    pub sigma_max: f64,
    /// How long before `T` time ends and samplers start, in the unit of time; positive.
    #[schemars(range(min = 1e-9, max = 1e3))]
    pub margin: f64,
}

impl Default for VeBridgeConfig {
    fn default() -> Self {
        Self { sigma_min: 0.002, sigma_max: 80.0, margin: 1e-4 }
    }
}

impl VeBridgeConfig {
    /// The process, of its own type.
    ///
    /// # Errors
    /// When the numbers are no time axis, or the drive is not one of translations.
    pub fn bridge(&self, drive: Arc<dyn Representation>) -> Result<Bridge> {
        if !(self.sigma_max.is_finite() && self.sigma_max > 0.0) {
            return Err(Error::config("/sigma_max", "the last time must be a positive number"));
        }
        let time = axis(("/sigma_min", self.sigma_min), self.sigma_max, self.margin)?;
        Bridge::new(drive, BridgeClock::new(Base::Exploding, self.sigma_max), time, 0.0)
    }
}

#[component(
    "ve-bridge",
    "variance-exploding noise pinned at a known other end (DDBM)",
    r#"{"type": "ve-bridge", "sigma_min": 0.002, "sigma_max": 80.0}"#
)]
impl ProcessConfig for VeBridgeConfig {
    fn build(&self, drive: Arc<dyn Representation>) -> Result<Box<dyn NoisingProcess>> {
        Ok(Box::new(self.bridge(drive)?))
    }
}
