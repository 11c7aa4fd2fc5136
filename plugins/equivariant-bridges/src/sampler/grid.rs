//! The times at which a sampler of bridges stands.

use isotropy_core::{TimeDomain, config};
use isotropy_diffusion::sampler::karras;

/// How the times between the other end and the data are spaced.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeGrid {
    /// Equal steps of time to the power `1/rho` (Karras et al. 2022, eq. 5, with time in the place
    /// of the noise level): short steps near the data. As published, for VE and VP alike.
    #[default]
    Karras,
    /// Equal steps of time.
    Uniform,
}

impl TimeGrid {
    /// `count` times (at least one) from the prior down to the smallest time that is trained, then 0.
    pub fn times(self, time: &TimeDomain, count: usize, rho: f64) -> Vec<f64> {
        let rho = if self == Self::Karras { rho } else { 1.0 };
        let level = karras(time.prior, time.start, (count - 1).max(1), rho);
        (0..count).map(level).chain([0.0]).collect()
    }
}
