//! The Brownian bridge of BBDM, in discrete steps or in continuous time.

use super::{Bridge, axis};
use crate::clock::{Base, BridgeClock};
use isotropy_core::{
    Error, NoisingProcess, ProcessConfig, Representation, Result, TimeDomain, component, config,
};
use std::sync::Arc;

/// How the clock `m` of a discrete bridge runs.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum BrownianSchedule {
    /// `margin` to `1 - margin` in equal steps.
    #[default]
    Linear,
    /// `1.0075^u / 1.0075^N` with `u` from 0 to `N = T + 1` in `N` equal values, the last one replaced
    /// by `1 - margin`: what the released code calls `sin`. It starts near `1.0075^-N` (6e-4 for
    /// 1,000 steps) and is steep at the other end.
    Exponential,
}

/// Ratio of neighbouring values of the exponential clock.
const RATIO: f64 = 1.0075;

/// The Brownian bridge (Li et al. 2023, BBDM; sism.md 2.2 and 2.7):
/// `x_t = (1 - m) x_0 + m x_T + sqrt(2 max_variance m (1 - m)) z`. The sampler `ancestral` takes the
/// published steps.
#[config(default)]
#[derive(Clone)]
pub struct BrownianBridgeConfig {
    /// Number of discrete steps `T` (times 1 ..= T; the table starts at time 0); `null` for
    /// continuous time with `m = t`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: Option<u32>,
    /// How the clock of a discrete bridge runs; unused in continuous time.
    pub schedule: BrownianSchedule,
    /// Half of the variance of the free motion, in squared units of the data: the bridge has
    /// variance `max_variance / 2` in the middle; positive.
    #[schemars(range(min = 1e-9, max = 1e9))]
    pub max_variance: f64,
    /// Distance of the clock from its ends; in (0, 0.5).
    #[schemars(range(min = 1e-9, max = 0.499))]
    pub margin: f64,
    /// Least variance of the noise of a step of `ancestral`, in squared units of the data. The
    /// released code has 1e-4, which adds noise near the data; 0 draws from the exact posterior.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub variance_floor: f64,
}

impl Default for BrownianBridgeConfig {
    fn default() -> Self {
        Self {
            steps: Some(1000),
            schedule: BrownianSchedule::Linear,
            max_variance: 1.0,
            margin: 1e-3,
            variance_floor: 0.0,
        }
    }
}

impl BrownianBridgeConfig {
    /// The clock `m` at times `0 ..= steps`.
    pub fn table(&self, steps: u32) -> Vec<f64> {
        let (count, last) = (steps as usize + 1, 1.0 - self.margin);
        // `count` values from `low` to `high`, as exactly as they go.
        let spaced =
            |k: usize, low: f64, high: f64| low + (high - low) * k as f64 / f64::from(steps);
        let mut table: Vec<f64> = match self.schedule {
            BrownianSchedule::Linear => (0..count).map(|k| spaced(k, self.margin, last)).collect(),
            BrownianSchedule::Exponential => {
                let top = count as f64;
                (0..count).map(|k| RATIO.powf(spaced(k, 0.0, top) - top)).collect()
            }
        };
        table[count - 1] = last;
        table
    }

    /// The process, of its own type.
    ///
    /// # Errors
    /// When a number is out of its range, or the drive is not one of translations.
    pub fn bridge(&self, drive: Arc<dyn Representation>) -> Result<Bridge> {
        if !(self.margin > 0.0 && self.margin < 0.5) {
            return Err(Error::config("/margin", "the margin must lie between 0 and 0.5"));
        }
        if !(self.max_variance.is_finite() && self.max_variance > 0.0) {
            return Err(Error::config("/max_variance", "the variance must be a positive number"));
        }
        if !(self.variance_floor.is_finite() && self.variance_floor >= 0.0) {
            return Err(Error::config("/variance_floor", "the variance must not be negative"));
        }
        let variance = 2.0 * self.max_variance;
        let (time, table) = match self.steps {
            None => (axis(("/margin", self.margin), 1.0, self.margin)?, None),
            Some(0) => return Err(Error::config("/steps", "a bridge has at least 1 step")),
            Some(steps) => {
                let table = self.table(steps);
                if table.windows(2).any(|pair| pair[1] <= pair[0]) {
                    return Err(Error::config(
                        "/margin",
                        "the clock does not grow with this margin",
                    )
                    .with_help("take a smaller `margin`, or another `schedule`"));
                }
                (TimeDomain::steps(i64::from(steps)), Some(table))
            }
        };
        let end = if table.is_some() { time.end } else { 1.0 };
        let clock = BridgeClock::new(Base::Brownian { variance, table }, end);
        Bridge::new(drive, clock, time, self.variance_floor)
    }
}

#[component(
    "brownian-bridge",
    "Brownian motion pinned at a known other end (BBDM)",
    r#"{"type": "brownian-bridge", "steps": 1000}"#
)]
impl ProcessConfig for BrownianBridgeConfig {
    fn build(&self, drive: Arc<dyn Representation>) -> Result<Box<dyn NoisingProcess>> {
        Ok(Box::new(self.bridge(drive)?))
    }
}
