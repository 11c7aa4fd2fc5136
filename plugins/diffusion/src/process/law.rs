//! How the noise of a schedule turns into the kernel of a process, and into the rates of its steps.

use super::MeanFactor;
use crate::clock::Clock;
use isotropy_core::{Step, schedule::Family};
use tch::Tensor;

/// The relation between a schedule, with `alpha_bar` or `sigma`, and the kernel
/// `tau_t = mean tau_0 + std z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Law {
    /// `std^2 = 1 - alpha_bar`.
    Preserving(MeanFactor),
    /// `mean = sqrt(alpha_bar)`, `std = 1 - alpha_bar`.
    SubPreserving,
    /// `mean = 1`, `std = sigma`.
    Exploding,
}

/// Rates per unit of time: `dtau = -drift/2 tau dt + sqrt(noise) dW`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    pub(super) drift: f64,
    pub(super) noise: f64,
}

impl Law {
    /// `(mean, std)` of the kernel from those of the schedule.
    pub(super) fn scales(self, (root, std): (f64, f64)) -> (f64, f64) {
        match self {
            Self::Preserving(MeanFactor::AlphaBar) => (root * root, std),
            Self::SubPreserving => (root, std * std),
            Self::Preserving(MeanFactor::SqrtAlphaBar) | Self::Exploding => (root, std),
        }
    }

    /// [`Law::scales`] for the times of a batch.
    pub(super) fn tensors(self, (root, std): (Tensor, Tensor)) -> (Tensor, Tensor) {
        match self {
            Self::Preserving(MeanFactor::AlphaBar) => (root.square(), std),
            Self::SubPreserving => (root, std.square()),
            Self::Preserving(MeanFactor::SqrtAlphaBar) | Self::Exploding => (root, std),
        }
    }

    /// The rates of a step. `noise` times the length of the step is the variance that the transition
    /// adds, so that a reverse step removes what was added: for the preserving law `1 - r` with
    /// `r = alpha_bar(from) / alpha_bar(to)`, for the sub-preserving one
    /// `std(from)^2 - r std(to)^2 = (1 - r)(1 - alpha_bar(from) alpha_bar(to))`. Both have the drift
    /// rate `beta` of the preserving law, averaged as there. A step whose ends are swapped gives the
    /// rates that, averaged with those of the step itself, are the integrals of `beta` and of
    /// `beta (1 - alpha_bar^2)` ([`Clock::rate`]).
    pub(super) fn rates(self, clock: &Clock, step: Step) -> Rates {
        let rate = clock.rate(step);
        match self {
            Self::Preserving(_) => Rates { drift: rate, noise: rate },
            Self::Exploding => Rates { drift: 0.0, noise: rate },
            Self::SubPreserving => {
                let noise = if step.from == step.to {
                    // The rate of the instant is that of the step that ends there, in discrete time.
                    let before = if clock.time.discrete { step.from - 1.0 } else { step.from };
                    rate * (1.0 - alpha_bar(clock, step.from) * alpha_bar(clock, before))
                } else {
                    sub_preserving(clock, step) / step.length()
                };
                Rates { drift: rate, noise }
            }
        }
    }

    /// Mean factor and std of the prior's marginal in units of the stationary law.
    pub(super) fn prior_std(self, clock: &Clock) -> f64 {
        match self {
            Self::Exploding => self.scales(clock.at(clock.time.end)).1,
            Self::Preserving(_) | Self::SubPreserving => 1.0,
        }
    }

    /// Whether the family of the schedule is the right one.
    pub(super) fn takes(self, family: Family) -> bool {
        (family == Family::VarianceExploding) == (self == Self::Exploding)
    }

    /// Name for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Preserving(_) => "VP",
            Self::SubPreserving => "sub-VP",
            Self::Exploding => "VE",
        }
    }
}

fn alpha_bar(clock: &Clock, t: f64) -> f64 {
    clock.at(t).0.powi(2)
}

/// The variance that a sub-preserving transition from `to` up to `from` adds; for swapped ends what
/// completes it to twice the integral of the rate, with the sign of the step.
fn sub_preserving(clock: &Clock, step: Step) -> f64 {
    let (low, high) = (step.from.min(step.to), step.from.max(step.to));
    let (less, noisy) = (alpha_bar(clock, low), alpha_bar(clock, high));
    let added = (1.0 - noisy / less) * (1.0 - noisy * less);
    if step.from > step.to {
        return added;
    }
    let integral = (less / noisy).ln() + 0.5 * (noisy - less) * (noisy + less);
    added - 2.0 * integral
}
