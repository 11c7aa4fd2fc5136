//! The variable in which smooth integrators step.
//!
//! In time the probability flow is stiff at the data end: near a data point `tau - mean tau_0`
//! falls like `std(t)`, often like the root of time. Along the curve `(mean, std)` of the kernel it
//! is smooth: for data that are one point `tau = mean tau_0 + std z` with constant `z`. So samplers
//! that evaluate both ends of a step, or points within, measure steps by the arc length of that
//! curve:
//!
//! * variance preserving: the angle `phi` with `mean = cos phi`, `std = sin phi`, and `g^2 dt = 2
//!   tan(phi) dphi`;
//! * variance exploding: the noise level `sigma = std`, and `g^2 dt = 2 sigma dsigma` (Karras et
//!   al. 2022);
//! * any other kernel, or none: time.
//!
//! Drift and `g^2 S` of the first two carry the same factor `g^2` per unit of time, so the change
//! of variable divides by it and multiplies by its value per unit of the new variable. That also
//! frees a discrete process of its tables' rates.

use isotropy_core::sampler::reverse_rate;
use isotropy_core::schedule::Family;
use isotropy_core::{NoisingProcess, Scale, Step, Terms, Xi};

/// The variable of integration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// `atan(std / mean)`.
    Angle,
    /// `std`, where the mean is 1.
    Level,
    /// Time itself.
    Time,
}

/// `(mean, std)` of the kernel at a time, where all factors share one whose scales do not depend on the
/// point.
fn one_kernel(process: &dyn NoisingProcess, t: f64) -> Option<(f64, f64)> {
    let number = |scale: &Scale| match scale {
        Scale::Same(a) => Some(*a),
        Scale::Each(_) => None,
    };
    let kernel = process.kernel()?.scales(t);
    let (mean, std) = (number(kernel.mean.first()?)?, number(kernel.std.first()?)?);
    let same = |scales: &[Scale], value: f64| {
        scales.iter().all(|s| number(s).is_some_and(|a| (a - value).abs() <= 1e-12 * value))
    };
    (same(&kernel.mean, mean) && same(&kernel.std, std)).then_some((mean, std))
}

/// Whether a step back from `from` to `to` crosses so much noise that the point at `from` hardly
/// knows the one at `to`: the mean factor between them is below `1/e`. Rules that evaluate rates at
/// an instant are unstable there, and at the end of a schedule that leaves nothing of the data
/// (cosine in continuous time) the rate is infinite however short the step.
pub fn forgets(process: &dyn NoisingProcess, step: Step) -> bool {
    match (one_kernel(process, step.from), one_kernel(process, step.to)) {
        (Some((noisy, _)), Some((less, _))) => noisy < less * (-1.0_f64).exp(),
        _ => false,
    }
}

impl Axis {
    /// The variable for a process.
    pub fn of(process: &dyn NoisingProcess) -> Self {
        match process.kernel().and_then(|law| law.family()) {
            Some(Family::VariancePreserving) => Self::Angle,
            Some(Family::VarianceExploding) => Self::Level,
            None => Self::Time,
        }
    }

    /// The variable at a time.
    pub fn at(self, process: &dyn NoisingProcess, t: f64) -> f64 {
        match (self, one_kernel(process, t)) {
            (Self::Angle, Some((mean, std))) => std.atan2(mean),
            (Self::Level, Some((_, std))) => std,
            _ => t,
        }
    }

    /// The time at which the variable has a value.
    pub fn time(self, process: &dyn NoisingProcess, value: f64) -> f64 {
        let found = match self {
            Self::Angle => process.time_of_level(value.tan()),
            Self::Level => process.time_of_level(value),
            Self::Time => Some(value),
        };
        found.unwrap_or(value)
    }

    /// The time to ask the model about at an end `t` of a step, where the variable is `value`. The
    /// noise of a schedule that is clipped stands still before the prior; the time is then that at
    /// which it was reached.
    pub fn instant(self, process: &dyn NoisingProcess, t: f64, value: f64) -> f64 {
        let time = process.time();
        if self == Self::Time || time.discrete || t < time.prior {
            t
        } else {
            self.time(process, value)
        }
    }

    /// `g^2 dt` per unit of the variable, where it is not time.
    fn noise_rate(self, value: f64) -> Option<f64> {
        match self {
            Self::Angle => Some(2.0 * value.tan()),
            Self::Level => Some(2.0 * value),
            Self::Time => None,
        }
    }

    /// The integral of `g^2 dt` between two values, where the variable is not time.
    pub fn variance(self, from: f64, to: f64) -> Option<f64> {
        match self {
            Self::Angle => Some(2.0 * (to.cos() / from.cos()).ln()),
            Self::Level => Some(from * from - to * to),
            Self::Time => None,
        }
    }

    /// The step that `terms` are to be asked for at `here`: the instant, or in time the whole step
    /// to `other`, seen from `here`.
    pub fn step(self, here: f64, other: f64, averaged: bool) -> Step {
        if self == Self::Time && averaged { Step { from: here, to: other } } else { Step::at(here) }
    }

    /// The rate of the reverse SDE (`weight` 1) or of the probability flow (1/2) per unit by which
    /// the variable falls.
    pub fn rate(self, terms: &Terms, value: f64, weight: f64) -> Xi {
        let rate = reverse_rate(terms, weight);
        match self.noise_rate(value) {
            None => rate,
            Some(per_unit) => {
                let factors = rate.0.iter().zip(&terms.noise);
                let each = factors.map(|(a, noise)| {
                    let variance = noise.scale().powi(2);
                    // Where the clock stands still, so does the variable.
                    a * if variance > 0.0 { per_unit / variance } else { 0.0 }
                });
                Xi(each.collect())
            }
        }
    }
}
