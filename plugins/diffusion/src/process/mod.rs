//! Noising processes in the coefficients of a drive with flow coordinates: Gaussian kernels, and
//! Langevin diffusion towards other laws.
//!
//! Notation: `tau` are the flow coordinates of the drive (for translations `tau = x`), the kernel
//! is `tau_t = mean(t) tau_0 + std(t) z` with standard normal `z`, `alpha_bar = mean^2`, and `beta`
//! is the rate at which the drift forgets: `dtau = -beta/2 tau dt + g dW`.

mod anchor;
mod density;
mod gaussian;
mod langevin;
mod law;
mod simulated;
mod sub_vp;
mod ve;
mod vp;

pub use density::{CoordinateLaw, Normal, NormalMixture, VonMises};
pub use gaussian::{Gaussian, MeanFactor, Prior};
pub use langevin::LangevinConfig;
pub use simulated::Simulated;
pub use sub_vp::SubVpConfig;
pub use ve::VeConfig;
pub use vp::VpConfig;

use crate::clock::Clock;
use isotropy_core::{Error, Result, ScheduleConfig};

/// The clock of a process: its schedule, of the family that the law needs, in `steps` discrete steps
/// or in continuous time from `start`.
fn clock(
    schedule: &dyn ScheduleConfig,
    law: law::Law,
    steps: Option<u32>,
    start: f64,
) -> Result<Clock> {
    let schedule = schedule.build().map_err(|error| error.under("/schedule"))?;
    if !law.takes(schedule.family()) {
        let (family, names) = if law == law::Law::Exploding {
            ("exploding", "ve-geometric, karras, ve-linear")
        } else {
            ("preserving", "cosine, linear-time, ddpm, linear-beta")
        };
        return Err(Error::config(
            "/schedule",
            format!("this process needs a variance-{family} schedule: {names}"),
        ));
    }
    if steps == Some(0) {
        return Err(Error::config("/steps", "a discrete process has at least 1 step"));
    }
    if !(start > 0.0 && start < 1.0) {
        return Err(Error::config("/start", format!("{start} is outside (0, 1)")));
    }
    Ok(Clock::new(schedule, steps, start))
}

/// The steps of a process whose configuration names none.
#[allow(clippy::unnecessary_wraps, reason = "serde's default has the type of the field")]
fn default_steps() -> Option<u32> {
    Some(100)
}

/// The smallest time of a process whose configuration names none.
fn default_start() -> f64 {
    1e-3
}
