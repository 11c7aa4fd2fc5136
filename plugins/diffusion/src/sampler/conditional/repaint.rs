//! RePaint: reverse steps with the known values put in place, repeated after noise was added again.

use super::known::{Known, joins, noised};
use crate::sampler::rule::{Spacing, Walk};
use crate::stepper_config;
use isotropy_core::{
    ClosedForm, Error, Noise, NoisingProcess, Observer, Purpose, Result, Sampled, Sampler,
    ScoreModel, State, Step, config,
    sampler::{accept, reverse_rate},
};

/// The reverse step.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Reverse {
    /// Of the reverse SDE.
    #[default]
    Sde,
    /// Of the probability flow, without noise.
    Flow,
}

stepper_config! {
    /// RePaint (Lugmayr et al. 2022, algorithm 1): after every `jump` reverse steps the query is noised back to where they
    /// began, by the exact transition of the process, and the steps are made again, `repeats` times in all. The known values
    /// are noised anew, independently, for each reverse step. With one repeat this is `replacement`. Repeats are not
    /// counted among the `steps`.
    RepaintConfig {
        /// Steps that are repeated together.
        #[schemars(range(min = 1, max = 1_000_000))]
        jump: u32 = 1,
        /// How often each step is made.
        #[schemars(range(min = 1, max = 1_000_000))]
        repeats: u32 = 5,
        /// The reverse step.
        reverse: Reverse = Reverse::Sde,
    }
    100, Uniform, "repaint",
    "query points given known ones, with steps repeated after noise was added again (RePaint)",
    r#"{"type": "repaint", "steps": 50, "repeats": 5}"#
}

impl RepaintConfig {
    fn sampler(&self) -> Result<Box<dyn Sampler>> {
        let spacing = self.spacing()?;
        for (pointer, value) in [("/jump", self.jump), ("/repeats", self.repeats)] {
            if value == 0 {
                return Err(Error::config(pointer, "at least 1"));
            }
        }
        Ok(Box::new(Repaint { spacing, config: self.clone() }))
    }
}

#[derive(Debug)]
struct Repaint {
    spacing: Spacing,
    config: RepaintConfig,
}

impl Repaint {
    /// The steps with their repeats; one that leads up in time is that of the noise between them.
    fn steps(&self, process: &dyn NoisingProcess) -> Result<Vec<Step>> {
        let mut made = Vec::new();
        for jump in self.spacing.steps(process)?.chunks(self.config.jump as usize) {
            for repeat in 0..self.config.repeats {
                if repeat > 0 {
                    made.push(Step { from: jump[jump.len() - 1].to, to: jump[0].from });
                }
                made.extend_from_slice(jump);
            }
        }
        Ok(made)
    }

    fn reverse(&self, walk: &mut Walk, known: &Known, query: &State) -> Result<State> {
        let step = walk.step;
        let joint = known.join(known.noised(walk, step.from)?.as_ref(), query)?;
        let terms = walk.terms(&joint, step)?;
        let dt = step.length();
        let xi = match self.config.reverse {
            Reverse::Sde => {
                let draw = walk.draw(&joint, &terms)?;
                reverse_rate(&terms, 1.0).scale(dt).add_scaled(&draw, dt.sqrt())
            }
            Reverse::Flow => reverse_rate(&terms, 0.5).scale(dt),
        };
        Ok(known.query(&walk.drive.flow(&joint, &xi), query))
    }
}

impl Sampler for Repaint {
    fn name(&self) -> String {
        format!("RePaint ({} repeats of {} steps)", self.config.repeats, self.config.jump)
    }

    fn purpose(&self) -> Purpose {
        match self.config.reverse {
            Reverse::Sde => Purpose::ReverseSde,
            Reverse::Flow => Purpose::ProbabilityFlow,
        }
    }

    fn accepts(&self, process: &dyn NoisingProcess, model: &dyn ScoreModel) -> Result<()> {
        accept(process, model, self.purpose())?;
        ClosedForm::Transition.of(process)?;
        joins(process, model)?;
        self.spacing.steps(process).map(|_| ())
    }

    fn run(
        &self,
        process: &dyn NoisingProcess,
        model: &dyn ScoreModel,
        start: State,
        noise: &mut dyn Noise,
        observer: &mut Observer,
    ) -> Result<Sampled> {
        self.accepts(process, model)?;
        let (known, mut query) = Known::of(process, start.clone())?;
        let mut walk = Walk::new(process, model, noise);
        let state = walk.along(&self.steps(process)?, start, observer, |walk, _| {
            let Step { from, to } = walk.step;
            query = if from < to {
                noised(walk, &query, from, to)?
            } else {
                self.reverse(walk, &known, &query)?
            };
            Ok(known.shown(&query))
        })?;
        Ok(walk.end(state))
    }
}
