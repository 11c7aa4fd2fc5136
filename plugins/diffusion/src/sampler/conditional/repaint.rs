//! RePaint: reverse steps with the known values put in place, repeated after noise was added again.

use super::walk::{Walk, joins, reverse_rate};
use crate::integrate::grid::{Grid, Spacing};
use isotropy_core::{
    ClosedForm, Error, Noise, NoisingProcess, Observer, Purpose, Result, Sampled, Sampler,
    SamplerConfig, ScoreModel, State, Step, component, config, sampler::accept,
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

/// RePaint (Lugmayr et al. 2022, algorithm 1): after every `jump` reverse steps the query is noised back to where they
/// began, by the exact transition of the process, and the steps are made again, `repeats` times in all. The known values
/// are noised anew, independently, for each reverse step. With one repeat this is `replacement`.
#[config(default)]
#[derive(Clone)]
pub struct RepaintConfig {
    /// Number of steps, repeats not counted; null for all steps of a discrete process, 100 in continuous time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: Option<u32>,
    /// How the times are spaced.
    pub grid: Grid,
    /// Exponent of the `karras` grid; positive.
    #[schemars(range(min = 1e-3, max = 1e3))]
    pub rho: f64,
    /// Steps that are repeated together.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub jump: u32,
    /// How often each step is made.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub repeats: u32,
    /// The reverse step.
    pub reverse: Reverse,
}

impl Default for RepaintConfig {
    fn default() -> Self {
        Self {
            steps: None,
            grid: Grid::Uniform,
            rho: 7.0,
            jump: 1,
            repeats: 5,
            reverse: Reverse::Sde,
        }
    }
}

#[component(
    "repaint",
    "query points given known ones, with steps repeated after noise was added again (RePaint)",
    r#"{"type": "repaint", "steps": 50, "repeats": 5}"#
)]
impl SamplerConfig for RepaintConfig {
    fn build(&self) -> Result<Box<dyn Sampler>> {
        let spacing = Spacing::new(self.steps, self.grid, self.rho)?;
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
    fn reverse(&self, walk: &mut Walk, query: &State, step: Step) -> Result<State> {
        let known = walk.noised(step.from)?;
        let joint = walk.join(known.as_ref(), query)?;
        let terms = walk.terms(&joint, step)?;
        let dt = step.length();
        let xi = match self.config.reverse {
            Reverse::Sde => {
                let draw = walk.draw(&joint, &terms)?;
                reverse_rate(&terms, 1.0).scale(dt).add_scaled(&draw, dt.sqrt())
            }
            Reverse::Flow => reverse_rate(&terms, 0.5).scale(dt),
        };
        Ok(walk.query(&walk.drive.flow(&joint, &xi), query))
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
        let _no_grad = tch::no_grad_guard();
        let steps = self.spacing.steps(process)?;
        let (mut walk, mut query) = Walk::new(process, model, noise, start)?;
        let mut done = 0;
        for jump in steps.chunks(self.config.jump as usize) {
            let (top, bottom) = (jump[0].from, jump[jump.len() - 1].to);
            for repeat in 0..self.config.repeats {
                if repeat > 0 {
                    query = walk.noised_from(&query, bottom, top)?;
                }
                for &step in jump {
                    query = self.reverse(&mut walk, &query, step)?;
                }
            }
            done += jump.len();
            walk.tell(observer, done - 1, steps.len(), &query)?;
        }
        Ok(walk.end(&query))
    }
}
