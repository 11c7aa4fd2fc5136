//! The rate of the Ornstein-Uhlenbeck process and its integral, counted from the start of the time axis.

use isotropy_core::schedule::Schedule;
use isotropy_core::{Step, TimeDomain};
use std::sync::Arc;
use tch::{Kind, Tensor};

/// `beta(t)` and `B(t) = integral of beta from t0 to t`, with `mean = exp(-B / 2)` and `variance = 1 - exp(-B)`. Times
/// outside `[t0, t1]` are moved to its ends, so that no step asks for the root of a negative rate.
#[derive(Debug)]
pub struct Beta {
    start: f64,
    end: f64,
    law: Law,
}

#[derive(Debug)]
enum Law {
    /// `low + (high - low) u` with `u = (t - t0) / (t1 - t0)`, per unit of time (geomndp.md 1.1).
    Linear { low: f64, high: f64 },
    /// `B(u) = -log alpha_bar(u)` of a variance-preserving schedule.
    Schedule(Arc<dyn Schedule>),
}

/// Half the width, in relative time, over which the rate of a schedule is taken.
const HALF_WIDTH: f64 = 1e-4;

impl Beta {
    /// Rates that grow linearly from `low` to `high`.
    pub fn linear((start, end): (f64, f64), low: f64, high: f64) -> Self {
        Self { start, end, law: Law::Linear { low, high } }
    }

    /// The rates of a variance-preserving schedule, whose relative time 0 is `start`.
    pub fn of_schedule((start, end): (f64, f64), schedule: Arc<dyn Schedule>) -> Self {
        Self { start, end, law: Law::Schedule(schedule) }
    }

    /// The time axis.
    pub fn time(&self) -> TimeDomain {
        TimeDomain::continuous(self.start, self.end)
    }

    fn span(&self) -> f64 {
        self.end - self.start
    }

    fn relative(&self, t: f64) -> f64 {
        ((t - self.start) / self.span()).clamp(0.0, 1.0)
    }

    /// `beta(t)` per unit of time.
    pub fn rate(&self, t: f64) -> f64 {
        let u = self.relative(t);
        match &self.law {
            Law::Linear { low, high } => low + (high - low) * u,
            Law::Schedule(_) => {
                let (low, high) = ((u - HALF_WIDTH).max(0.0), (u + HALF_WIDTH).min(1.0));
                (self.at(high) - self.at(low)) / ((high - low) * self.span())
            }
        }
    }

    /// `B(t)`.
    pub fn integral(&self, t: f64) -> f64 {
        self.at(self.relative(t))
    }

    /// `B` at relative time.
    fn at(&self, u: f64) -> f64 {
        match &self.law {
            Law::Linear { low, high } => self.span() * u * (low + 0.5 * (high - low) * u),
            Law::Schedule(schedule) => {
                let (_, std) = schedule.at(u);
                -(-std * std).ln_1p()
            }
        }
    }

    /// `B` at times `[B]` or `[B, 1, ..]`, in double precision and the shape of the times.
    pub fn integrals(&self, t: &Tensor) -> Tensor {
        let u = ((t.to_kind(Kind::Double) - self.start) / self.span()).clamp(0.0, 1.0);
        match &self.law {
            Law::Linear { low, high } => &u * (&u * (0.5 * (high - low)) + *low) * self.span(),
            Law::Schedule(schedule) => {
                let (_, std) = schedule.mean_std(&u);
                std.square().neg().log1p().neg()
            }
        }
    }

    /// `(mean, std)` of the kernel at a time.
    pub fn mean_std(&self, t: f64) -> (f64, f64) {
        let integral = self.integral(t);
        ((-0.5 * integral).exp(), (-(-integral).exp_m1()).sqrt())
    }

    /// The rate of a step, such that one Euler step removes exactly the variance that the transition adds,
    /// `1 - exp(-(B(from) - B(to)))`; for the instant it is `beta`. A step whose ends are swapped gives the rate that,
    /// averaged with the one of the step itself, is the integral of `beta` (as [`isotropy_diffusion::clock::Clock::rate`]).
    pub fn of_step(&self, step: Step) -> f64 {
        if step.from == step.to {
            return self.rate(step.from);
        }
        let difference = self.integral(step.from) - self.integral(step.to);
        let added = |difference: f64| -(-difference).exp_m1();
        let variance = if step.from > step.to {
            added(difference)
        } else {
            added(-difference) + 2.0 * difference
        };
        variance / step.length()
    }
}
