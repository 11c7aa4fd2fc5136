//! The variance-preserving process: an Ornstein-Uhlenbeck process in flow coordinates.

use super::law::Law;
use super::{Gaussian, MeanFactor, Prior, clock};
use isotropy_core::{
    NoisingProcess, ProcessConfig, Representation, Result, ScheduleConfig, component, config,
};
use std::sync::Arc;

/// `dtau = -beta/2 tau dt + sqrt(beta) dW`, so `tau_t = sqrt(alpha_bar) tau_0 + sqrt(1 - alpha_bar) z`;
/// the prior is `tau ~ N(0, I)`.
#[config]
pub struct VpConfig {
    /// A variance-preserving schedule.
    pub schedule: Box<dyn ScheduleConfig>,
    /// Number of discrete steps `T` (times 1 ..= T, tables with index 0 ..= T); `null` for continuous
    /// time on [`start`, 1].
    #[serde(default = "super::default_steps")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: Option<u32>,
    /// Smallest time that is trained when time is continuous, in (0, 1); unused otherwise.
    #[serde(default = "super::default_start")]
    #[schemars(range(min = 1e-9, max = 0.999))]
    pub start: f64,
    /// Factor of the clean coordinates: `sqrt-alpha-bar`, or the published and wrong `alpha-bar`.
    #[serde(default)]
    pub mean: MeanFactor,
}

#[component(
    "vp",
    "variance-preserving (Ornstein-Uhlenbeck) noise in flow coordinates",
    r#"{"type": "vp", "schedule": {"type": "cosine"}, "steps": 100}"#
)]
impl ProcessConfig for VpConfig {
    fn build(&self, drive: Arc<dyn Representation>) -> Result<Box<dyn NoisingProcess>> {
        let law = Law::Preserving(self.mean);
        let clock = clock(self.schedule.as_ref(), law, self.steps, self.start)?;
        Ok(Box::new(Gaussian::new(drive, clock, law, Prior::Origin)?))
    }
}
