//! Time grids: where between prior and data a sampler evaluates the model.

use isotropy_core::{Error, NoisingProcess, Result, Step, config};

/// Steps of a continuous process where the configuration names none.
const DEFAULT_STEPS: u32 = 100;

/// How the times of a run are spaced between the prior and the end of the time axis. `k` counts
/// steps from the prior, `N` is their number, the *noise level* is `std / mean` of the kernel. For
/// a discrete process each time is rounded to a step that exists, so that no two are equal.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Grid {
    /// Equal steps of time.
    #[default]
    Uniform,
    /// Time falls as `(1 - k/N)^2`: short steps near the data.
    Quadratic,
    /// Equal steps of the logarithm of the noise level (of the log signal-to-noise ratio).
    LogSnr,
    /// Equal steps of the noise level to the power `1/rho` (Karras et al. 2022, eq. 5).
    Karras,
    /// `uniform` for a process whose noise level falls geometrically with time, or that has none;
    /// `quadratic` where it falls faster near the data, as it does under every schedule that starts
    /// from no noise: equal steps of time then leave most of the last noise levels to one step.
    Auto,
}

/// How much faster the logarithm of the noise level must fall near the data than on average for
/// [`Grid::Auto`] to shorten the steps there.
const FASTER: f64 = 4.0;

/// The number of steps and their spacing, as a configuration has them.
#[derive(Debug, Clone, Copy)]
pub struct Spacing {
    steps: Option<u32>,
    default: u32,
    grid: Grid,
    rho: f64,
}

impl Spacing {
    /// Checks the options.
    ///
    /// # Errors
    /// For zero steps, and for a `rho` that is no positive number.
    pub fn new(steps: Option<u32>, grid: Grid, rho: f64) -> Result<Self> {
        if steps == Some(0) {
            return Err(Error::config("/steps", "a sampler takes at least 1 step"));
        }
        if !(rho.is_finite() && rho > 0.0) {
            return Err(Error::config("/rho", format!("rho is {rho}; it must be positive")));
        }
        Ok(Self { steps, default: DEFAULT_STEPS, grid, rho })
    }

    /// The same spacing with another number of steps of continuous time where none is asked for.
    #[must_use]
    pub fn with_default(self, steps: u32) -> Self {
        Self { default: steps, ..self }
    }

    /// The same spacing with another number of steps.
    pub fn fewer(&self, steps: usize) -> Self {
        Self { steps: Some(steps as u32), ..*self }
    }

    /// The steps of a run from the prior down: as many as were asked for, else all of a discrete
    /// process.
    ///
    /// # Errors When there are more steps than a discrete process has, and for a grid in the noise
    /// level of a process that has none.
    pub fn steps(&self, process: &dyn NoisingProcess) -> Result<Vec<Step>> {
        let time = process.time();
        let all = time.all_steps().unwrap_or(self.default as usize);
        let count = self.steps.map_or(all, |steps| steps as usize);
        // Also refuses too many steps.
        let uniform = time.grid(count).map_err(|error| error.under("/steps"))?;
        let floor = uniform[count - 1].to;
        let share = |k: usize| k as f64 / count as f64;
        let quadratic = || {
            let square = |k| floor + (time.prior - floor) * (1.0 - share(k)).powi(2);
            (0..=count).map(square).collect()
        };
        let times: Vec<f64> = match self.grid {
            Grid::Auto if falls_faster_near_the_data(process) => quadratic(),
            Grid::Uniform | Grid::Auto => return Ok(uniform),
            Grid::Quadratic => quadratic(),
            Grid::LogSnr => self.spaced(process, count, floor, |high, low, parts| {
                Box::new(spread(high, low, parts, f64::ln, f64::exp))
            })?,
            Grid::Karras => self.spaced(process, count, floor, |high, low, parts| {
                Box::new(karras(high, low, parts, self.rho))
            })?,
        };
        let times = if time.discrete { distinct(&times) } else { times };
        Ok(times.windows(2).map(|pair| Step { from: pair[0], to: pair[1] }).collect())
    }

    /// Times of the noise levels that `levels` gives: between a highest and a lowest, in so many parts.
    fn spaced(
        &self,
        process: &dyn NoisingProcess,
        count: usize,
        floor: f64,
        levels: impl Fn(f64, f64, usize) -> Box<dyn Fn(usize) -> f64>,
    ) -> Result<Vec<f64>> {
        let level = |t: f64| {
            process.level(t).ok_or_else(|| {
                let message = format!(
                    "{} has no noise level that a {:?} grid could be spaced in",
                    process.name(),
                    self.grid
                );
                Error::config("/grid", message)
                    .with_help("use \"grid\": \"uniform\" or \"quadratic\"")
            })
        };
        let prior = process.time().prior;
        let (high, mut low, mut parts) = (level(prior)?, level(floor)?, count);
        if low <= 0.0 {
            // No noise at all at the end: the last step goes there from the least level trained.
            (low, parts) = (level(process.time().start)?, count.saturating_sub(1).max(1));
        }
        let at = levels(high, low, parts);
        let within =
            (1..count).map(|k| process.time_of_level(at(k)).unwrap_or(floor).clamp(floor, prior));
        Ok(std::iter::once(prior).chain(within).chain([floor]).collect())
    }
}

/// Number `k` of values from `high` (0) down to `low` (`parts`) in equal steps of `f`, whose inverse
/// is `inverse`.
fn spread(
    high: f64,
    low: f64,
    parts: usize,
    f: impl Fn(f64) -> f64,
    inverse: impl Fn(f64) -> f64,
) -> impl Fn(usize) -> f64 {
    let (high, low) = (f(high), f(low));
    move |k| inverse(high + (low - high) * (k as f64 / parts as f64).min(1.0))
}

/// Number `k` of values from `high` (0) down to `low` (`parts`) in equal steps of their power
/// `1/rho` (Karras et al. 2022, eq. 5): short steps near `low`.
pub fn karras(high: f64, low: f64, parts: usize, rho: f64) -> impl Fn(usize) -> f64 {
    spread(high, low, parts, move |l| l.powf(1.0 / rho), move |u| u.powf(rho))
}

/// Whether the logarithm of the noise level falls more than [`FASTER`] times as fast in the first
/// hundredth of the time axis (at least one step of discrete time) as on average.
fn falls_faster_near_the_data(process: &dyn NoisingProcess) -> bool {
    let time = process.time();
    let span = time.prior - time.start;
    let near = if time.discrete { 1.0 } else { 0.01 * span };
    let log = |t: f64| process.level(t).filter(|level| *level > 0.0).map(f64::ln);
    let (Some(low), Some(next)) = (log(time.start), log(time.start + near)) else { return false };
    // The level of a schedule that leaves nothing of the data is infinite at the prior.
    let Some(high) = log(time.start + 0.9 * span) else { return false };
    (next - low) / near > FASTER * (high - low) / (0.9 * span)
}

/// The nearest whole numbers that fall strictly, between the first and the last.
fn distinct(times: &[f64]) -> Vec<f64> {
    let (count, last) = (times.len() - 1, times[times.len() - 1]);
    let mut whole: Vec<f64> = Vec::with_capacity(times.len());
    for (k, t) in times.iter().enumerate() {
        let least = last + (count - k) as f64;
        let most = whole.last().map_or(times[0], |before| before - 1.0);
        // There are at least as many whole numbers as steps, so `least <= most`.
        whole.push(t.round().min(most).max(least));
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_times_fall_strictly_and_keep_their_ends() {
        let crowded: Vec<f64> =
            (0..=10).map(|k| 12.0 * (1.0 - f64::from(k) / 10.0).powi(3)).collect();
        let whole = distinct(&crowded);
        assert_eq!((whole[0], whole[10]), (12.0, 0.0));
        assert!(whole.windows(2).all(|pair| pair[0] >= pair[1] + 1.0), "{whole:?}");
        // As many steps as there are.
        let all = distinct(&[4.0, 0.1, 0.1, 0.1, 0.0]);
        assert_eq!(all, [4.0, 3.0, 2.0, 1.0, 0.0]);
    }
}
