//! The reverse SDE by Heun's rule on the group.

use super::LastStep;
use super::axis::forgets;
use super::rule::{Rule, Stepper, Walk};
use super::runge_kutta::continued;
use crate::stepper_config;
use isotropy_core::{
    ClosedForm, NoisingProcess, Purpose, Result, Sampler, ScoreModel, State, Step, Terms, Xi,
};

stepper_config! {
    /// Stochastic Heun: a Lie-Euler step predicts the end, and the point moves by *one* group
    /// element with the mean of the drifts at both ends and the same noise. Weak order 2 where the
    /// fields of the frame commute (flow coordinates, translations); on a non-Abelian algebra the
    /// drift is of order 2 and the noise of weak order 1, as in every scheme with one exponential
    /// of independent increments. A step that keeps less than `1/e` of the state (the first one
    /// from a prior that has forgotten the data) is a draw from the posterior, where the process
    /// has one.
    HeunSdeConfig {
        /// What happens on the last step.
        last_step: LastStep = LastStep::Clean,
    }
    100, Auto, "heun-sde",
    "reverse SDE by the mean of the drifts at both ends of a step (stochastic Heun)",
    r#"{"type": "heun-sde", "steps": 50}"#
}

impl HeunSdeConfig {
    fn sampler(&self) -> Result<Box<dyn Sampler>> {
        let rule = HeunSde { last_step: self.last_step };
        Ok(Box::new(Stepper { spacing: self.spacing()?, rule }))
    }
}

/// Stochastic Heun.
#[derive(Debug)]
pub(super) struct HeunSde {
    pub last_step: LastStep,
}

/// Standard deviation of the noise of the whole step over what `draw` scales by, factor by factor.
/// In time, the mean of the rates at both ends is the exact integral (a swapped step is made for
/// that).
fn spread(variance: Option<f64>, first: &Terms, second: Option<&Terms>, dt: f64) -> Vec<f64> {
    let scales = first.noise.iter().enumerate().map(|(k, noise)| {
        let drawn = noise.scale();
        let total = variance.unwrap_or_else(|| {
            let other = second.map_or(drawn, |terms| terms.noise[k].scale());
            0.5 * (drawn * drawn + other * other) * dt
        });
        total.max(0.0).sqrt() / drawn
    });
    scales.collect()
}

/// A draw from the posterior of the step, which knows no rates: one evaluation.
fn posterior(walk: &mut Walk, state: &State) -> Result<State> {
    let prediction = walk.predict(state, walk.step.from)?;
    let z = walk.unit(state, &prediction.heads[0])?;
    walk.process.posterior(state, walk.step, &prediction, &z)
}

fn each(xi: &Xi, scales: &[f64]) -> Xi {
    Xi(xi.0.iter().zip(scales).map(|(a, scale)| a * *scale).collect())
}

impl Rule for HeunSde {
    fn name(&self) -> String {
        "stochastic Heun".into()
    }

    fn purpose(&self) -> Purpose {
        Purpose::ReverseSde
    }

    fn accepts(&self, process: &dyn NoisingProcess, _: &dyn ScoreModel) -> Result<()> {
        self.last_step.accepts(process)
    }

    fn step(&self, walk: &mut Walk, state: &State) -> Result<State> {
        if walk.last && self.last_step == LastStep::Clean {
            return walk.clean(state);
        }
        if forgets(walk.process, walk.step) && ClosedForm::Posterior.of(walk.process).is_ok() {
            return posterior(walk, state);
        }
        let axis = walk.axis();
        let Step { from, to } = walk.step;
        let dt = walk.step.length();
        let (here, there) = (axis.at(walk.process, from), axis.at(walk.process, to));
        let (length, variance) = (here - there, axis.variance(here, there));

        let from = axis.instant(walk.process, from, here);
        let first = walk.terms(state, axis.step(from, to, true))?;
        let drift = axis.rate(&first, here, 1.0);
        let quiet = walk.last && self.last_step == LastStep::NoNoise;
        let noise = if quiet { None } else { Some(walk.draw(state, &first)?) };
        let with = |drift: Xi, second: Option<&Terms>| match &noise {
            Some(z) => drift.add(&each(z, &spread(variance, &first, second, dt))),
            None => drift,
        };
        let displacement = with(drift.scale(length), None);
        let ahead = walk.drive.flow(state, &displacement);
        if walk.beyond {
            // No model was trained there: the prediction is the step.
            return Ok(ahead);
        }
        let second = walk.terms(&ahead, axis.step(to, from, true))?;
        let other = axis.rate(&second, there, 1.0);
        let other = continued(walk.drive, state, &displacement, other);
        let mean = drift.add(&other).scale(0.5 * length);
        Ok(walk.drive.flow(state, &with(mean, Some(&second))))
    }
}
