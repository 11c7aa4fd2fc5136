//! The rates of a step against the kernel at its ends.

use super::{NO_COORDINATES, NO_KERNEL, Subject, need};
use crate::measure::{Found, largest, relative_xi, worse};
use isotropy_core::{Result, Step, Xi};
use tch::Kind;

/// Where on the axis steps are tried.
const FRACTIONS: [f64; 3] = [0.3, 0.5, 0.8];

impl Subject<'_> {
    /// `g^2 dt` is the variance that the transition adds, `std_t^2 - alpha^2 std_s^2`. An average of
    /// the rate itself over the step is as good: it differs by the order of `1 - alpha^2`.
    pub(super) fn noise_of_steps(&self) -> Result<Found> {
        let state = self.clean_state(4, Kind::Double)?;
        let zero = self.no_score(&state);
        let mut worst: f64 = 0.0;
        for step in FRACTIONS.map(|fraction| self.step(fraction)) {
            let noisy = need!(self.gauss(&state, step.from)?, NO_KERNEL);
            let less = need!(self.gauss(&state, step.to)?, NO_KERNEL);
            let alpha = noisy.mean / less.mean;
            let added = noisy.std.powi(2) - (alpha * less.std).powi(2);
            let allowed = 1e-6 + 2.0 * (1.0 - alpha * alpha).abs();
            for noise in &self.process.terms(&state, step, &zero)?.noise {
                let said = noise.scale().powi(2) * step.length();
                worst = worse(worst, (said / added - 1.0).abs() / allowed);
            }
        }
        // In units of what the choice of the average allows.
        Ok(Found::Error(worst, 1.0))
    }

    /// `(f + h) dt` is what the transition does to the mean, up to the second order of the step.
    pub(super) fn drift_of_steps(&self) -> Result<Found> {
        let coordinates = need!(self.coordinates(), NO_COORDINATES);
        let state = self.clean_state(64, Kind::Double)?;
        let (end, tau) = (self.process.known_end(&state)?, coordinates.unwrapped(&state));
        let zero = self.no_score(&state);
        // All numbers that the drift is made of: the known end pulls, too.
        let most = |xi: &Xi| xi.0.iter().map(largest).fold(0.0, f64::max);
        let size = 1.0 + most(&tau) + end.as_ref().map_or(0.0, most);
        let mut worst: f64 = 0.0;
        for step in FRACTIONS.map(|fraction| self.step(fraction)) {
            let noisy = need!(self.gauss(&state, step.from)?, NO_KERNEL);
            let less = need!(self.gauss(&state, step.to)?, NO_KERNEL);
            let alpha = noisy.mean / less.mean;
            let mut expected = less.counted_from_end(&tau, end.as_ref()).scale(alpha).sub(&tau);
            if let Some(end) = &end {
                expected = expected.add_scaled(end, noisy.shift);
            }
            let terms = self.process.terms(&state, step, &zero)?;
            let drift = match &terms.h {
                Some(h) => terms.drift.add(h),
                None => terms.drift,
            };
            let error = relative_xi(&drift.scale(step.length()), &expected);
            let allowed = size * ((1.0 - alpha).powi(2) + 1e-9);
            worst = worse(worst, error / allowed);
        }
        // In units of what Euler's rule allows.
        Ok(Found::Error(worst, 1.0))
    }

    /// The rate of a step seen from its noisy end and that seen from its other end (a step with
    /// swapped ends) average to the integral of the rate over the step, which adds up over the parts
    /// of a step: with it Heun's rule is of second order.
    pub(super) fn ends(&self) -> Result<Found> {
        let state = self.clean_state(4, Kind::Double)?;
        let zero = self.no_score(&state);
        let integral = |from: f64, to: f64| -> Result<f64> {
            let rate = |step: Step| -> Result<f64> {
                Ok(self.process.terms(&state, step, &zero)?.noise[0].scale().powi(2))
            };
            let both = rate(Step { from, to })? + rate(Step { from: to, to: from })?;
            Ok(0.5 * both * (from - to))
        };
        let (a, b, c) = (self.time(0.3), self.time(0.5), self.time(0.6));
        let whole = integral(c, a)?;
        let error = (integral(b, a)? + integral(c, b)? - whole).abs() / whole.abs().max(1e-12);
        Ok(Found::Error(error, 1e-6))
    }
}
