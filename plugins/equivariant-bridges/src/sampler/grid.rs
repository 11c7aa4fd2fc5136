//! The times at which a sampler of bridges stands.

use isotropy_core::{Error, Result, TimeDomain, config};

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
    /// `count` times from the prior down to the smallest time that is trained, then 0.
    ///
    /// # Errors
    /// For no time at all, and for a `rho` that is no positive number.
    pub fn times(self, time: &TimeDomain, count: usize, rho: f64) -> Result<Vec<f64>> {
        if count == 0 {
            return Err(Error::config("/steps", "a sampler takes at least 1 step"));
        }
        if !(rho.is_finite() && rho > 0.0) {
            return Err(Error::config("/rho", format!("rho is {rho}; it must be positive")));
        }
        let power = if self == Self::Karras { rho } else { 1.0 };
        let (high, low) = (time.prior.powf(1.0 / power), time.start.powf(1.0 / power));
        let share = |k: usize| k as f64 / (count - 1).max(1) as f64;
        let mut times: Vec<f64> =
            (0..count).map(|k| (high + share(k) * (low - high)).powf(power)).collect();
        times.push(0.0);
        Ok(times)
    }
}
