//! The sampler of Karras et al. (2022, algorithm 2): Heun's rule in the noise level, with noise
//! stirred in.

use super::axis::Axis;
use super::grid::Spacing;
use super::probability_flow::along;
use super::rule::{Rule, Stepper, Walk};
use super::runge_kutta::HEUN;
use crate::stepper_config;
use isotropy_core::{
    ClosedForm, Error, NoisingProcess, Purpose, Result, Sampler, ScoreModel, State, Step,
};

stepper_config! {
    /// Steps between noise levels by Heun's rule for `dtau/dsigma = (tau - E[tau_0]) / sigma`, on
    /// any drive with a kernel `tau + sigma z` in continuous time. Before a step between `s_min`
    /// and `s_max` the noise is raised from `sigma` to `sigma (1 + min(s_churn / N, sqrt(2) - 1))`
    /// ("churn"), never above the prior's. `steps` counts noise levels; after the last one the
    /// point goes to the clean estimate.
    EdmConfig {
        /// How much noise is stirred in over a whole run; 0 for none; non-negative.
        #[schemars(range(min = 0.0, max = 1e6))]
        s_churn: f64 = 0.0,
        /// Least noise level at which noise is stirred in, in the unit of the coordinates.
        #[schemars(range(min = 0.0))]
        s_min: f64 = 0.0,
        /// Largest noise level at which noise is stirred in, in the unit of the coordinates; `null`
        /// for no limit.
        #[schemars(range(min = 0.0))]
        s_max: Option<f64> = None,
        /// Standard deviation of the noise that is stirred in, as a multiple of the right one: a
        /// little above 1 makes up for the detail that networks remove.
        #[schemars(range(min = 0.0, max = 10.0))]
        s_noise: f64 = 1.0,
    }
    100, Karras, "edm",
    "Heun's rule in the noise level with churn (Karras et al. 2022), for exploding kernels",
    r#"{"type": "edm", "steps": 18}"#
}

impl EdmConfig {
    fn sampler(&self) -> Result<Box<dyn Sampler>> {
        for (pointer, value) in
            [("/s_churn", self.s_churn), ("/s_min", self.s_min), ("/s_noise", self.s_noise)]
        {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::config(pointer, "this must be a number that is not negative"));
            }
        }
        let rule = Edm {
            churn: self.s_churn,
            range: (self.s_min, self.s_max.unwrap_or(f64::INFINITY)),
            noise: self.s_noise,
        };
        Ok(Box::new(Stepper { spacing: self.spacing()?, rule }))
    }
}

#[derive(Debug)]
struct Edm {
    churn: f64,
    range: (f64, f64),
    noise: f64,
}

impl Rule for Edm {
    fn name(&self) -> String {
        "EDM (Heun in the noise level)".into()
    }

    fn purpose(&self) -> Purpose {
        Purpose::ProbabilityFlow
    }

    fn accepts(&self, process: &dyn NoisingProcess, _: &dyn ScoreModel) -> Result<()> {
        if process.time().discrete || Axis::of(process) != Axis::Level {
            let message = format!(
                "this sampler needs a kernel tau + sigma z in continuous time; {} has another",
                process.name()
            );
            return Err(Error::config("", message)
                .with_help("use `ve` or `edm` with \"steps\": null, or `probability-flow`"));
        }
        if self.churn > 0.0 {
            ClosedForm::Transition.of(process).map_err(|error| error.under("/s_churn"))?;
        }
        ClosedForm::Clean.of(process)
    }

    /// The levels end at the least that was trained; a last step of no length goes to the clean
    /// state.
    fn steps(&self, process: &dyn NoisingProcess, spacing: &Spacing) -> Result<Vec<Step>> {
        let all = spacing.steps(process)?;
        let end = process.time().start;
        if all.len() == 1 {
            return Ok(vec![Step { from: process.time().prior, to: end }]);
        }
        let mut steps = spacing.fewer(all.len() - 1).steps(process)?;
        steps.push(Step::at(end));
        Ok(steps)
    }

    fn step(&self, walk: &mut Walk, state: &State) -> Result<State> {
        let mut step = walk.step;
        let mut state = state.clone();
        let level = Axis::Level.at(walk.process, step.from);
        let gamma = (self.churn / walk.count as f64).min(std::f64::consts::SQRT_2 - 1.0);
        let most = Axis::Level.at(walk.process, walk.process.time().end);
        let raised = (level * (1.0 + gamma)).min(most);
        if raised > level && (self.range.0..=self.range.1).contains(&level) {
            let from = Axis::Level.time(walk.process, raised);
            let like = walk.drive.zeros(&state);
            let z = walk.unit(&state, &like)?.scale(self.noise);
            state = walk.process.transition(&state, step.from, from, &z)?;
            step.from = from;
        }
        if walk.last {
            let prediction = walk.predict(&state, step.from)?;
            return walk.process.clean(&state, step.from, &prediction);
        }
        let axis = walk.axis();
        along(walk, axis, &state, step, &HEUN)
    }
}
