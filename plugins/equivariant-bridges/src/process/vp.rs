//! The bridge of the variance-preserving process.

use super::{Bridge, axis};
use crate::clock::{Base, BridgeClock};
use isotropy_core::{
    Error, NoisingProcess, ProcessConfig, Representation, Result, component, config,
};
use std::sync::Arc;

/// The bridge of the variance-preserving process with the rate `beta_min + beta_d t` (Zhou et al.
/// 2024, DDBM-VP; spdm.md 1.5). With `B = beta_d t^2 / 2 + beta_min t`:
/// `x_t = sinh(B/2)/S x_T + sinh((B_T-B)/2)/S x_0 + sqrt(c) z`, `S = sinh(B_T/2)`,
/// `c = 2 sinh(B/2) sinh((B_T-B)/2) / S`.
#[config(default)]
#[derive(Clone)]
pub struct VpBridgeConfig {
    /// Smallest time that is trained; positive.
    #[schemars(range(min = 1e-9, max = 1e6))]
    pub start: f64,
    /// The time `T` of the other end; positive. The released code takes 1 in its preconditioning
    /// whatever this is.
    #[schemars(range(min = 1e-6, max = 1e6))]
    pub end: f64,
    /// How long before `T` time ends and samplers start; positive.
    #[schemars(range(min = 1e-9, max = 1e3))]
    pub margin: f64,
    /// Slope of the rate, per unit of time squared; non-negative.
    #[schemars(range(min = 0.0, max = 1e3))]
    pub beta_d: f64,
    /// Rate at time 0, per unit of time; non-negative, and positive if `beta_d` is 0.
    #[schemars(range(min = 0.0, max = 1e3))]
    pub beta_min: f64,
}

impl Default for VpBridgeConfig {
    fn default() -> Self {
        Self { start: 1e-4, end: 1.0, margin: 1e-4, beta_d: 2.0, beta_min: 0.1 }
    }
}

/// `B_T` above this overflows double precision.
const MOST: f64 = 1000.0;

impl VpBridgeConfig {
    /// The process, of its own type.
    ///
    /// # Errors
    /// When the numbers are no time axis or no rate, or the drive is not one of translations.
    pub fn bridge(&self, drive: Arc<dyn Representation>) -> Result<Bridge> {
        for (pointer, value) in [("/beta_d", self.beta_d), ("/beta_min", self.beta_min)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::config(pointer, format!("{value} must not be negative")));
            }
        }
        if self.beta_d + self.beta_min <= 0.0 {
            return Err(Error::config("/beta_d", "a rate of 0 adds no noise")
                .with_help("raise `beta_d` or `beta_min`"));
        }
        if !(self.end.is_finite() && self.end > 0.0) {
            return Err(Error::config("/end", "the last time must be a positive number"));
        }
        let exponent = self.end * (0.5 * self.beta_d * self.end + self.beta_min);
        if exponent > MOST {
            return Err(Error::config(
                "/end",
                format!("the integral of the rate up to the end is {exponent}; at most {MOST}"),
            ));
        }
        let time = axis(("/start", self.start), self.end, self.margin)?;
        let base = Base::Preserving { beta_d: self.beta_d, beta_min: self.beta_min };
        Bridge::new(drive, BridgeClock::new(base, self.end), time, 0.0)
    }
}

#[component(
    "vp-bridge",
    "variance-preserving noise pinned at a known other end (DDBM)",
    r#"{"type": "vp-bridge"}"#
)]
impl ProcessConfig for VpBridgeConfig {
    fn build(&self, drive: Arc<dyn Representation>) -> Result<Box<dyn NoisingProcess>> {
        Ok(Box::new(self.bridge(drive)?))
    }
}
