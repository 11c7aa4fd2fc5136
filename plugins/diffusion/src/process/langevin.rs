//! Langevin diffusion towards a law of the user's choice.

use super::anchor::{Anchor, by_factor};
use super::gaussian::coordinates_of;
use super::law::Law;
use super::{CoordinateLaw, Gaussian, MeanFactor, Normal, Prior, Simulated, clock};
use isotropy_core::{
    Error, NoisingProcess, ProcessConfig, Representation, Result, ScheduleConfig, component, config,
};
use std::sync::Arc;

/// Overdamped Langevin diffusion in flow coordinates, `dtau = beta/2 S^2 grad log pi dt + sqrt(beta) S dW`
/// with one law `pi_i` and one scale `S_i` for each coordinate: `pi` is its invariant law and prior.
/// Normal laws give an Ornstein-Uhlenbeck process in closed form,
/// `tau_t = sqrt(alpha_bar) tau_0 + (1 - sqrt(alpha_bar)) mean + sqrt(1 - alpha_bar) std z` (`vp` is the
/// case of mean 0 and std 1); any other law is simulated.
#[config]
pub struct LangevinConfig {
    /// A variance-preserving schedule: the clock, with `int beta = -log alpha_bar`.
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
    /// The invariant law: one entry for all coordinates, or one for each in the order of the drive
    /// (for `polar`: log r, theta).
    #[schemars(length(min = 1))]
    pub invariant: Vec<CoordinateLaw>,
    /// Steps in which the noisy state is simulated unless all laws are normal.
    #[serde(default = "simulated_steps")]
    #[schemars(range(min = 2, max = 10_000))]
    pub simulated_steps: u32,
}

fn simulated_steps() -> u32 {
    50
}

#[component(
    "langevin",
    "Langevin diffusion in flow coordinates towards a chosen invariant law",
    r#"{"type": "langevin", "schedule": {"type": "cosine"}, "invariant": [{"normal": {"mean": 0.5, "std": 0.7}}]}"#
)]
impl ProcessConfig for LangevinConfig {
    fn build(&self, drive: Arc<dyn Representation>) -> Result<Box<dyn NoisingProcess>> {
        let law = Law::Preserving(MeanFactor::SqrtAlphaBar);
        let clock = clock(self.schedule.as_ref(), law, self.steps, self.start)?;
        for (k, law) in self.invariant.iter().enumerate() {
            law.checked().map_err(|error| error.under(&format!("/invariant/{k}")))?;
        }
        let names = coordinates_of(drive.as_ref())?.names();
        let normal: Option<Vec<Normal>> = self
            .invariant
            .iter()
            .map(|law| match law {
                CoordinateLaw::Normal(normal) => Some(*normal),
                _ => None,
            })
            .collect();
        let under = |error: Error| error.under("/invariant");
        if let Some(normal) = normal {
            let list = |f: fn(&Normal) -> f64| {
                by_factor(&normal.iter().map(f).collect::<Vec<_>>(), &names).map_err(under)
            };
            let anchor = Anchor { mean: list(|law| law.mean)?, std: list(|law| law.std)? };
            let process = Gaussian::new(drive, clock, law, Prior::Origin)?;
            return Ok(Box::new(process.anchored(anchor)));
        }
        if self.simulated_steps < 2 {
            return Err(Error::config("/simulated_steps", "at least 2 steps are needed"));
        }
        let laws = by_factor(&self.invariant, &names).map_err(under)?;
        Ok(Box::new(Simulated::new(drive, clock, laws, self.simulated_steps as usize)?))
    }
}
