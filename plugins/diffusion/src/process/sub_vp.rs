//! The sub-variance-preserving process of Song et al. (2021), section 3.4.

use super::law::Law;
use super::{Gaussian, Prior, clock};
use isotropy_core::{
    NoisingProcess, ProcessConfig, Representation, Result, ScheduleConfig, component, config,
};
use std::sync::Arc;

/// `dtau = -beta/2 tau dt + sqrt(beta (1 - exp(-2 int beta))) dW`, so
/// `tau_t = sqrt(alpha_bar) tau_0 + (1 - alpha_bar) z`: the drift of `vp` with less noise at every
/// time. The prior is `tau ~ N(0, I)`, reached up to `std = 1 - alpha_bar`. In discrete time the
/// transition from `s` to `t` adds `(1 - r)(1 - alpha_bar_s alpha_bar_t)` with
/// `r = alpha_bar_t / alpha_bar_s`, and so much is what a reverse step takes out.
#[config]
pub struct SubVpConfig {
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
}

#[component(
    "sub-vp",
    "sub-variance-preserving noise in flow coordinates",
    r#"{"type": "sub-vp", "schedule": {"type": "cosine"}, "steps": 100}"#
)]
impl ProcessConfig for SubVpConfig {
    fn build(&self, drive: Arc<dyn Representation>) -> Result<Box<dyn NoisingProcess>> {
        let law = Law::SubPreserving;
        let clock = clock(self.schedule.as_ref(), law, self.steps, self.start)?;
        Ok(Box::new(Gaussian::new(drive, clock, law, Prior::Origin)?))
    }
}
