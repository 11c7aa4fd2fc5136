//! The variance-preserving process: an Ornstein-Uhlenbeck process in flow coordinates.

use super::gaussian::{Gaussian, MeanFactor, Prior, checked_start, checked_steps};
use isotropy_core::schedule::Family;
use isotropy_core::{
    Clock, Error, NoisingProcess, ProcessConfig, Representation, Result, ScheduleConfig,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// `dtau = -beta/2 tau dt + sqrt(beta) dW`, so `tau_t = sqrt(alpha_bar) tau_0 + sqrt(1 - alpha_bar) z`;
/// the prior is `tau ~ N(0, I)`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VpConfig {
    /// A variance-preserving schedule.
    pub schedule: Box<dyn ScheduleConfig>,
    /// Number of discrete steps `T` (times 1 ..= T, tables with index 0 ..= T); `null` for continuous
    /// time on [`start`, 1].
    #[serde(default = "steps")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: Option<u32>,
    /// Smallest time that is trained when time is continuous, in (0, 1); unused otherwise.
    #[serde(default = "start")]
    #[schemars(range(min = 1e-9, max = 0.999))]
    pub start: f64,
    /// Factor of the clean coordinates: `sqrt-alpha-bar`, or the published and wrong `alpha-bar`.
    #[serde(default)]
    pub mean: MeanFactor,
}

#[allow(clippy::unnecessary_wraps, reason = "serde's default has the type of the field")]
fn steps() -> Option<u32> {
    Some(100)
}

fn start() -> f64 {
    1e-3
}

#[typetag::serde(name = "vp")]
impl ProcessConfig for VpConfig {
    fn build(&self, drive: Arc<dyn Representation>) -> Result<Box<dyn NoisingProcess>> {
        let schedule = self.schedule.build().map_err(|error| error.under("/schedule"))?;
        if schedule.family() != Family::VariancePreserving {
            return Err(Error::config(
                "/schedule",
                "a vp process needs a variance-preserving schedule: cosine, linear-time, ddpm, linear-beta",
            ));
        }
        let clock = Clock::new(schedule, checked_steps(self.steps)?, checked_start(self.start)?);
        Ok(Box::new(Gaussian::new(drive, clock, self.mean, Prior::Origin)?))
    }
}

isotropy_core::register!(
    "process",
    "vp",
    VpConfig,
    "variance-preserving (Ornstein-Uhlenbeck) noise in flow coordinates",
    r#"{"type": "vp", "schedule": {"type": "cosine"}, "steps": 100}"#
);
