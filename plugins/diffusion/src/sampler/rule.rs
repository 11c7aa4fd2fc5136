//! What all samplers with fixed steps share: one loop, one count of evaluations and draws, one set of
//! options. A sampler is a [`Rule`] that takes one step; a plugin of your own writes one like this:
//!
//! ```
//! use isotropy_core::sampler::reverse_rate;
//! use isotropy_core::{Purpose, Result, Sampler, SamplerConfig, State};
//! use isotropy_diffusion::sampler::rule::{Rule, Stepper, Walk};
//!
//! isotropy_diffusion::stepper_config! {
//!     /// The reverse SDE with its noise scaled by a temperature.
//!     TemperedConfig {
//!         /// Factor of the noise; 1 samples the law.
//!         temperature: f64 = 1.0,
//!     }
//!     200, Uniform, "tempered", "the reverse SDE at a temperature", r#"{"type": "tempered"}"#
//! }
//!
//! impl TemperedConfig {
//!     fn sampler(&self) -> Result<Box<dyn Sampler>> {
//!         let rule = Tempered { temperature: self.temperature };
//!         Ok(Box::new(Stepper { spacing: self.spacing()?, rule }))
//!     }
//! }
//!
//! #[derive(Debug)]
//! struct Tempered {
//!     temperature: f64,
//! }
//!
//! impl Rule for Tempered {
//!     fn name(&self) -> String {
//!         "tempered".into()
//!     }
//!
//!     fn purpose(&self) -> Purpose {
//!         Purpose::ReverseSde
//!     }
//!
//!     fn step(&self, walk: &mut Walk, state: &State) -> Result<State> {
//!         let (terms, dt) = (walk.terms(state, walk.step)?, walk.step.length());
//!         let noise = walk.draw(state, &terms)?.scale(self.temperature * dt.sqrt());
//!         Ok(walk.drive.flow(state, &reverse_rate(&terms, 1.0).scale(dt).add(&noise)))
//!     }
//! }
//!
//! let config: TemperedConfig = serde_json::from_str(r#"{"steps": 20, "temperature": 0.5}"#)?;
//! assert_eq!(config.build()?.name(), "tempered");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A sampler that keeps something between its steps (the samplers of fields: what is known) walks
//! [along](Walk::along) its steps itself.

pub use crate::integrate::axis::Axis;
pub use crate::integrate::grid::Spacing;
use isotropy_core::sampler::{accept, times};
use isotropy_core::{
    Drive, Noise, NoisingProcess, Observer, Prediction, Purpose, Result, Sampled, Sampler,
    ScoreModel, State, Step, Terms, Xi,
};
use std::fmt::Debug;

/// One step of a sampler.
pub trait Rule: Debug + Send {
    /// Short name for messages.
    fn name(&self) -> String;

    /// What it needs from a prediction.
    fn purpose(&self) -> Purpose;

    /// Whether it can integrate this process, beyond a prediction that can drive its purpose.
    ///
    /// # Errors
    /// The reason, with a pointer into the sampler's configuration.
    fn accepts(&self, _process: &dyn NoisingProcess, _model: &dyn ScoreModel) -> Result<()> {
        Ok(())
    }

    /// The steps of a run: at least one.
    ///
    /// # Errors
    /// As for [`Spacing::steps`].
    fn steps(&self, process: &dyn NoisingProcess, spacing: &Spacing) -> Result<Vec<Step>> {
        spacing.steps(process)
    }

    /// The state that the first step sees.
    fn begin(&self, start: State) -> State {
        start
    }

    /// The state after the step at which the walk stands.
    ///
    /// # Errors
    /// When the model fails or the process cannot do what is asked of it.
    fn step(&self, walk: &mut Walk, state: &State) -> Result<State>;
}

/// Where a run stands, with everything that a rule may ask for. Counts evaluations and draws.
pub struct Walk<'a> {
    /// The process that is integrated.
    pub process: &'a dyn NoisingProcess,
    /// What moves the points.
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

impl<'a> Walk<'a> {
    /// A run that has not begun.
    pub fn new(
        process: &'a dyn NoisingProcess,
        model: &'a dyn ScoreModel,
        noise: &'a mut dyn Noise,
    ) -> Self {
        Self {
            process,
            drive: process.fields(),
            step: Step::at(process.time().prior),
            last: false,
            beyond: false,
            count: 0,
            model,
            noise,
            axis: None,
            evaluations: 0,
            draws: 0,
        }
    }

    /// Takes steps from `state` on, one call of `rule` each, without gradients; `rule` is given the
    /// state that it returned last, and the observer sees each.
    ///
    /// # Errors
    /// What the rule and the observer return.
    pub fn along(
        &mut self,
        steps: &[Step],
        mut state: State,
        observer: &mut Observer,
        mut rule: impl FnMut(&mut Self, &State) -> Result<State>,
    ) -> Result<State> {
        self.count = steps.len();
        for (index, &step) in steps.iter().enumerate() {
            (self.step, self.last) = (step, index + 1 == steps.len());
            self.beyond = self.last && self.process.time().ends_untrained();
            state = tch::no_grad(|| rule(self, &state))?;
            observer(index, steps.len(), &state)?;
        }
        Ok(state)
    }

    /// The end of the run.
    pub fn end(self, state: State) -> Sampled {
        Sampled { state, evaluations: self.evaluations }
    }

    /// The variable of integration, found once a run.
    pub fn axis(&mut self) -> Axis {
        let process = self.process;
        *self.axis.get_or_insert_with(|| Axis::of(process))
    }

    /// The prediction at a time.
    ///
    /// # Errors
    /// When the model fails.
    pub fn predict(&mut self, state: &State, t: f64) -> Result<Prediction> {
        self.evaluations += 1;
        self.model.predict(state, &times(state, Step::at(t)), false)
    }

    /// What moves the point, averaged over a step, by the model's prediction at its start.
    ///
    /// # Errors
    /// When the model fails or its prediction cannot drive the process.
    pub fn terms(&mut self, state: &State, step: Step) -> Result<Terms> {
        let prediction = self.predict(state, step.from)?;
        self.process.terms(state, step, &prediction)
    }

    /// Noise scaled by the terms, per square root of unit time.
    ///
    /// # Errors
    /// When the noise cannot be transported.
    pub fn draw(&mut self, state: &State, terms: &Terms) -> Result<Xi> {
        self.draws += 1;
        self.noise.draw(self.draws - 1, state, &terms.drift, &terms.noise, self.drive)
    }

    /// Noise of unit scale in the colour of the process, with the shapes of `like`.
    ///
    /// # Errors
    /// When the noise cannot be coloured or transported.
    pub fn unit(&mut self, state: &State, like: &Xi) -> Result<Xi> {
        self.draws += 1;
        self.noise.unit(self.draws - 1, state, like, self.process)
    }

    /// The model's estimate of the clean state, at the start of the step.
    ///
    /// # Errors
    /// When the model fails or the process has no such estimate.
    pub fn clean(&mut self, state: &State) -> Result<State> {
        let prediction = self.predict(state, self.step.from)?;
        self.process.clean(state, self.step.from, &prediction)
    }
}

/// A sampler that takes the steps of a grid by a rule.
#[derive(Debug)]
pub struct Stepper<R> {
    /// The number of steps and how they are spaced.
    pub spacing: Spacing,
    /// What a step does.
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
        self.rule.accepts(process, model)?;
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
        let mut walk = Walk::new(process, model, noise);
        let rule = |walk: &mut Walk, state: &State| self.rule.step(walk, state);
        let state = walk.along(&steps, self.rule.begin(start), observer, rule)?;
        Ok(walk.end(state))
    }
}

/// `scale xi`, without an operation for a scale of 1: steps of discrete time have the length 1, and
/// for a thousand points in the plane every operation counts.
pub(super) fn scaled(xi: Xi, scale: f64) -> Xi {
    if scale == 1.0 { xi } else { xi.scale(scale) }
}

/// Declares the JSON description of a sampler with fixed steps: its own options, then those that
/// all of them share. Takes the type, its options with their defaults, the default grid, the name
/// in the registry, a one-line summary and an example. The type has a method `sampler` that builds
/// the running object.
#[macro_export]
macro_rules! stepper_config {
    (
        $(#[$meta:meta])*
        $name:ident {
            $($(#[$field_meta:meta])* $field:ident: $type:ty = $default:expr,)*
        }
        $steps:literal, $grid:ident, $tag:literal, $summary:literal, $example:literal $(,)?
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
            fn spacing(&self) -> isotropy_core::Result<$crate::sampler::rule::Spacing> {
                let spacing = $crate::sampler::rule::Spacing::new(self.steps, self.grid, self.rho)?;
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
