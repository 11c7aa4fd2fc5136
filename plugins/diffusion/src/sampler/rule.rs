//! What all samplers with fixed steps share: one loop, one set-up, one set of options. A sampler is
//! a [`Rule`] that takes one step.

use super::axis::Axis;
use super::grid::Spacing;
use isotropy_core::{
    Drive, Noise, NoisingProcess, Observer, Prediction, Purpose, Result, Sampled, Sampler,
    ScoreModel, State, Step, Terms, Xi, sampler::times,
};
use std::fmt::Debug;

/// One step of a sampler.
pub(super) trait Rule: Debug + Send {
    /// Short name for messages.
    fn name(&self) -> String;

    /// What it needs from a prediction.
    fn purpose(&self) -> Purpose;

    /// Whether it can integrate this process, beyond a prediction that can drive its purpose.
    fn accepts(&self, _process: &dyn NoisingProcess) -> Result<()> {
        Ok(())
    }

    /// The steps of a run.
    fn steps(&self, process: &dyn NoisingProcess, spacing: &Spacing) -> Result<Vec<Step>> {
        spacing.steps(process)
    }

    /// The state that the first step sees.
    fn begin(&self, start: State) -> State {
        start
    }

    /// The state after the step at which the walk stands.
    fn step(&self, walk: &mut Walk, state: &State) -> Result<State>;
}

/// Where a run stands, with everything that a rule may ask for. Counts evaluations and draws.
pub(super) struct Walk<'a> {
    pub process: &'a dyn NoisingProcess,
    pub drive: &'a dyn Drive,
    /// The present step.
    pub step: Step,
    /// Whether it is the last one.
    pub last: bool,
    /// Whether the present step ends at a time that no model was trained on.
    pub beyond: bool,
    /// The number of steps.
    pub count: usize,
    model: &'a dyn ScoreModel,
    noise: &'a mut dyn Noise,
    axis: Option<Axis>,
    evaluations: usize,
    draws: u64,
}

impl Walk<'_> {
    /// The variable of integration, found once a run.
    pub fn axis(&mut self) -> Axis {
        let process = self.process;
        *self.axis.get_or_insert_with(|| Axis::of(process))
    }

    /// The prediction at a time.
    pub fn predict(&mut self, state: &State, t: f64) -> Result<Prediction> {
        self.evaluations += 1;
        self.model.predict(state, &times(state, Step::at(t)), false)
    }

    /// What moves the point, averaged over a step, by the model's prediction at its start.
    pub fn terms(&mut self, state: &State, step: Step) -> Result<Terms> {
        let prediction = self.predict(state, step.from)?;
        self.process.terms(state, step, &prediction)
    }

    /// Noise scaled by the terms, per square root of unit time.
    pub fn draw(&mut self, state: &State, terms: &Terms) -> Result<Xi> {
        self.draws += 1;
        self.noise.draw(self.draws - 1, state, &terms.drift, &terms.noise, self.drive)
    }

    /// Noise of unit scale with the shapes of `like`.
    pub fn unit(&mut self, state: &State, like: &Xi) -> Result<Xi> {
        self.draws += 1;
        self.noise.unit(self.draws - 1, state, like, self.process)
    }

    /// The model's estimate of the clean state, at the start of the step.
    pub fn clean(&mut self, state: &State) -> Result<State> {
        let prediction = self.predict(state, self.step.from)?;
        self.process.clean(state, self.step.from, &prediction)
    }
}

/// A sampler that takes the steps of a grid by a rule.
#[derive(Debug)]
pub(super) struct Stepper<R> {
    pub spacing: Spacing,
    pub rule: R,
}

impl<R: Rule> Sampler for Stepper<R> {
    fn name(&self) -> String {
        self.rule.name()
    }

    fn purpose(&self) -> Purpose {
        self.rule.purpose()
    }

    fn accepts(&self, process: &dyn NoisingProcess, model: &dyn ScoreModel) -> Result<()> {
        accept(process, model, self.purpose())?;
        self.rule.accepts(process)?;
        self.rule.steps(process, &self.spacing).map(|_| ())
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
        let steps = self.rule.steps(process, &self.spacing)?;
        let mut state = self.rule.begin(start);
        let mut walk = Walk {
            process,
            drive: process.fields(),
            step: steps[0],
            last: false,
            beyond: false,
            count: steps.len(),
            model,
            noise,
            axis: None,
            evaluations: 0,
            draws: 0,
        };
        for (index, &step) in steps.iter().enumerate() {
            (walk.step, walk.last) = (step, index + 1 == steps.len());
            walk.beyond = walk.last && process.time().ends_untrained();
            state = tch::no_grad(|| self.rule.step(&mut walk, &state))?;
            observer(index, steps.len(), &state)?;
        }
        Ok(Sampled { state, evaluations: walk.evaluations })
    }
}

pub(crate) use isotropy_core::sampler::{accept, reverse_rate};

/// `scale xi`, without an operation for a scale of 1: steps of discrete time have the length 1, and
/// for a thousand points in the plane every operation counts.
pub(super) fn scaled(xi: Xi, scale: f64) -> Xi {
    if scale == 1.0 { xi } else { xi.scale(scale) }
}

/// Declares the JSON description of a sampler with fixed steps: its own options, then those that
/// all of them share. Takes the type, its options with their defaults, the default grid, the name
/// in the registry, a one-line summary and an example. The type has a method `sampler` that builds
/// the running object.
macro_rules! sampler {
    (
        $(#[$meta:meta])*
        $name:ident {
            $($(#[$field_meta:meta])* $field:ident: $type:ty = $default:expr,)*
        }
        $steps:literal, $grid:ident, $tag:literal, $summary:literal, $example:literal
    ) => {
        $(#[$meta])*
        #[isotropy_core::config(default)]
        #[derive(Clone)]
        pub struct $name {
            #[doc = concat!(
                "Number of steps; `null` for all steps of a discrete process, ",
                stringify!($steps),
                " in continuous time."
            )]
            #[schemars(range(min = 1, max = 1_000_000))]
            pub steps: Option<u32>,
            /// How the times are spaced.
            pub grid: $crate::sampler::Grid,
            /// Exponent of the `karras` grid; positive. Larger values take more steps near the
            /// data.
            #[schemars(range(min = 1e-3, max = 1e3))]
            pub rho: f64,
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    steps: None,
                    grid: $crate::sampler::Grid::$grid,
                    rho: 7.0,
                    $($field: $default,)*
                }
            }
        }

        impl $name {
            fn spacing(&self) -> isotropy_core::Result<$crate::sampler::grid::Spacing> {
                let spacing = $crate::sampler::grid::Spacing::new(self.steps, self.grid, self.rho)?;
                Ok(spacing.with_default($steps))
            }
        }

        #[isotropy_core::component($tag, $summary, $example)]
        impl isotropy_core::SamplerConfig for $name {
            fn build(&self) -> isotropy_core::Result<Box<dyn isotropy_core::Sampler>> {
                self.sampler()
            }
        }
    };
}
pub(super) use sampler;
