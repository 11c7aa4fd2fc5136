//! The reverse SDE by finite group elements (Lie-Euler), under its two names.

use super::LastStep;
use super::rule::{Rule, Stepper, Walk, scaled};
use crate::stepper_config;
use isotropy_core::sampler::reverse_rate;
use isotropy_core::{NoisingProcess, Purpose, Result, Sampler, ScoreModel, State};

stepper_config! {
    /// `x <- flow(x, (g^2 S - f) dt + g sqrt(dt) z)`: Euler in the coefficients, exact in the
    /// group, so a point never leaves its space and no Ito term is needed. Weak order 1.
    GroupStepConfig {
        /// What happens on the last step.
        last_step: LastStep = LastStep::Clean,
    }
    500, Auto, "group-step",
    "reverse SDE by finite group elements (Lie-Euler)",
    r#"{"type": "group-step", "steps": 50}"#
}

impl GroupStepConfig {
    fn sampler(&self) -> Result<Box<dyn Sampler>> {
        let rule = GroupStep { last_step: self.last_step };
        Ok(Box::new(Stepper { spacing: self.spacing()?, rule }))
    }
}

stepper_config! {
    /// The geodesic random walk of de Bortoli et al. (2022, algorithm 1): a normal tangent vector
    /// with the reverse drift as its mean, followed along a geodesic. On a drive by algebra
    /// generators of a group with a bi-invariant metric geodesics are orbits of one-parameter
    /// subgroups, so the walk *is* `group-step`, and this is that sampler under the name of the
    /// literature, with noise on the last step as in the paper. (In flow coordinates the step
    /// follows the coordinate fields, which are geodesics only for translations.)
    GeodesicRandomWalkConfig {
        /// What happens on the last step.
        last_step: LastStep = LastStep::Noise,
    }
    500, Auto, "geodesic-random-walk",
    "group-step by the name of the literature: steps along geodesics",
    r#"{"type": "geodesic-random-walk", "steps": 50}"#
}

impl GeodesicRandomWalkConfig {
    fn sampler(&self) -> Result<Box<dyn Sampler>> {
        let rule = GroupStep { last_step: self.last_step };
        Ok(Box::new(Stepper { spacing: self.spacing()?, rule }))
    }
}

/// Lie-Euler.
#[derive(Debug)]
pub(super) struct GroupStep {
    pub last_step: LastStep,
}

impl Rule for GroupStep {
    fn name(&self) -> String {
        "group step (Lie-Euler)".into()
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
        let dt = walk.step.length();
        let terms = walk.terms(state, walk.step)?;
        let mut xi = scaled(reverse_rate(&terms, 1.0), dt);
        if !walk.last || self.last_step == LastStep::Noise {
            xi = xi.add(&scaled(walk.draw(state, &terms)?, dt.sqrt()));
        }
        Ok(walk.drive.flow(state, &xi))
    }
}
