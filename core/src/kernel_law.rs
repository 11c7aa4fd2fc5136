//! The law of a kernel: everything that models, grids and integrators know of a process at a time
//! without running it. One object, which they may keep.

use crate::schedule::Family;
use crate::{Kernel, NoiseOperator, Result, Scale, State, TimeDomain, Xi, bisect, broadcast};
use tch::Tensor;

/// The kernel `tau_t = mean(t) tau_0 + shift(t) end + std(t) L z` of a process, factor by factor in
/// the coefficients of its drive.
///
/// An author writes [`KernelLaw::time`], [`KernelLaw::scales`] and [`KernelLaw::tensors`]; a law that
/// is not Gaussian says so, and has no more of a Gaussian than its scales.
pub trait KernelLaw: Send + Sync + std::fmt::Debug {
    /// The time axis.
    fn time(&self) -> &TimeDomain;

    /// The kernel at one time: [`Scale::Same`] in every factor. Without the colour where that
    /// depends on the state ([`KernelLaw::at`]).
    fn scales(&self, t: f64) -> Kernel;

    /// The kernel at the times of a batch, given in a shape that broadcasts against the coefficients
    /// (`[B, 1, ..]`): [`Scale::Each`] where it depends on time, on the device and in the kind of
    /// the times, without reading anything on the host.
    fn tensors(&self, t: &Tensor) -> Kernel;

    /// Whether `tau_t` given `tau_0` is normal. Where it is not, the scales serve as sizes alone: no
    /// estimate of clean coordinates can be made of them.
    fn gaussian(&self) -> bool {
        true
    }

    /// The law that mean and standard deviation of all factors obey, for integrators that step in
    /// the noise instead of in time: `mean^2 + std^2 = 1`, `mean = 1`, or neither.
    fn family(&self) -> Option<Family> {
        None
    }

    /// Whether the colour of the noise depends on the points of the state ([`KernelLaw::at`]).
    fn coloured_by_state(&self) -> bool {
        false
    }

    /// The kernel at one time for the points of a state: with the colour that they give it.
    ///
    /// # Errors
    /// When the state lacks what the colour depends on.
    fn at(&self, _state: &State, t: f64) -> Result<Kernel> {
        Ok(self.scales(t))
    }

    /// The kernel at the times `[B]` of a batch, with the colour that the points of the state give
    /// it, and scales with as many axes as its value.
    ///
    /// # Errors
    /// As for [`KernelLaw::at`].
    fn at_times(&self, state: &State, t: &Tensor) -> Result<Kernel> {
        Ok(self.tensors(&broadcast(t, state.x().dim())))
    }

    /// The known end that [`Kernel::shift`] multiplies, batch first: the limiting mean of an
    /// Ornstein-Uhlenbeck or Gaussian process, the other end of a bridge. `None` without a shift.
    ///
    /// # Errors
    /// When the state lacks what the end depends on.
    fn known_end(&self, _state: &State) -> Result<Option<Xi>> {
        Ok(None)
    }

    /// The noise level at a time, which grows with it: `std / mean` of the first factor, where
    /// nothing better is known. `None` for a process that has no such number.
    fn level(&self, t: f64) -> Option<f64> {
        let kernel = self.scales(t);
        match (kernel.mean.first()?, kernel.std.first()?) {
            (Scale::Same(mean), Scale::Same(std)) => Some(std / mean),
            _ => None,
        }
    }

    /// The time at which [`KernelLaw::level`] takes a value, for grids that are spaced in it
    /// (Karras); by bisection, clamped to the time axis.
    fn time_of_level(&self, level: f64) -> Option<f64> {
        let time = self.time();
        self.level(time.start)?;
        let below = |t| self.level(t).is_some_and(|there| there < level);
        let (low, high) = bisect(time.start, time.end, below);
        Some(0.5 * (low + high))
    }

    /// How white noise becomes noise of unit scale at a state, factor by factor.
    ///
    /// # Errors
    /// As for [`KernelLaw::at`].
    fn unit_noise(&self, state: &State) -> Result<Vec<NoiseOperator>> {
        let colour = self.at(state, self.time().prior)?.colour.into_iter();
        Ok(colour.map(NoiseOperator::unit).collect())
    }

    /// By how much the law at the prior's time is not the prior; `None` where that is not known.
    fn terminal_mismatch(&self) -> Option<TerminalMismatch> {
        None
    }
}

/// By how much the law at the time at which samplers start differs from the prior, for a process
/// whose kernel and prior are Gaussian in the coordinates. A likelihood is off by as much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TerminalMismatch {
    /// Factor with which the clean coordinates are still there (0 when the prior is reached), counted
    /// from the centre of the prior.
    pub mean: f64,
    /// Standard deviation of the kernel over that of the prior (1 when the prior is reached).
    pub std: f64,
}

impl TerminalMismatch {
    /// Relative entropy of the terminal law of one clean coordinate to the prior, in nats:
    /// `KL(N(mean d, std^2) || N(0, 1))` with `d` the distance of the clean coordinate from the
    /// centre of the prior in units of the prior's standard deviation. Averaged over data and summed
    /// over coordinates it bounds that of the whole law (relative entropy is convex).
    pub fn nats(&self, distance: f64) -> f64 {
        let excess = self.std * self.std - 1.0;
        0.5 * (excess - excess.ln_1p() + (self.mean * distance).powi(2))
    }
}
