//! The variance-exploding process: Brownian motion in flow coordinates.

use super::law::Law;
use super::{Gaussian, Prior, clock};
use isotropy_core::{
    NoisingProcess, ProcessConfig, Representation, Result, ScheduleConfig, component, config,
};
use std::sync::Arc;

/// `tau_t = tau_0 + std(t) z`; the reverse process has `g^2 = d std^2 / dt`.
#[config]
pub struct VeConfig {
    /// A variance-exploding schedule.
    pub schedule: Box<dyn ScheduleConfig>,
    /// Number of discrete steps `T` (times 1 ..= T, tables with index 0 ..= T); `null` for continuous
    /// time on [`start`, 1].
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: Option<u32>,
    /// Smallest time that is trained when time is continuous, in (0, 1); unused otherwise.
    #[serde(default = "super::default_start")]
    #[schemars(range(min = 1e-9, max = 0.999))]
    pub start: f64,
    /// Where sampling starts: `origin` (around `tau = 0`), or `template` (around the state that the
    /// sampler is given, for coordinates without a common origin such as the angle of an image).
    #[serde(default)]
    pub prior: Prior,
}

#[component(
    "ve",
    "variance-exploding noise (Brownian motion) in flow coordinates",
    r#"{"type": "ve", "schedule": {"type": "ve-geometric", "sigma_min": 0.01, "sigma_max": 10.0}}"#
)]
impl ProcessConfig for VeConfig {
    fn build(&self, drive: Arc<dyn Representation>) -> Result<Box<dyn NoisingProcess>> {
        let clock = clock(self.schedule.as_ref(), Law::Exploding, self.steps, self.start)?;
        Ok(Box::new(Gaussian::new(drive, clock, Law::Exploding, self.prior)?))
    }
}
