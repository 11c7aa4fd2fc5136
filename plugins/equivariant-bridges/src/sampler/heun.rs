//! The hybrid sampler of DDBM: a stochastic Euler step over a part of each interval, then Heun's
//! rule for the probability flow over the rest.

use super::grid::TimeGrid;
use isotropy_core::{
    ClosedForm, Error, NoisingProcess, Prediction, PredictionKind, Purpose, Result, Sampler,
    SamplerConfig, ScoreModel, State, Step, Terms, Xi, component, config, sampler::reverse_rate,
};
use isotropy_diffusion::sampler::Grid;
use isotropy_diffusion::sampler::rule::{Rule, Spacing, Stepper, Walk};

/// Between times `t_i` and `t_{i+1}`: if `churn > 0`, an Euler step of the reverse SDE from `t_i` over
/// the part `churn` of the interval; then Heun's rule for the probability flow over the rest. With
/// forward drift `f`, score `s`, Doob's `h` and guidance `w` (Zhou et al. 2024, eq. 8 and 9):
///
/// * reverse SDE: `dx = (f - g^2 (s - w h)) dt + g dW`;
/// * probability flow: `dx = (f - g^2 (s/2 - w h)) dt`.
///
/// Without churn the flow is deterministic from the first point on: the samples are blurred means.
/// Evaluations: `3 steps - 1` with churn, `2 steps - 1` without.
#[config(default)]
#[derive(Clone)]
pub struct BridgeHeunConfig {
    /// Number of intervals.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: u32,
    /// How the times are spaced.
    pub grid: TimeGrid,
    /// Exponent of the grid `karras`; positive.
    #[schemars(range(min = 1e-3, max = 1e3))]
    pub rho: f64,
    /// The part of each interval that is taken by the stochastic step; in [0, 1).
    #[schemars(range(min = 0.0, max = 0.999))]
    pub churn: f64,
    /// The guidance `w`, no unit: what the h-term is multiplied by. 1 samples the law of the bridge.
    pub guidance: f64,
    /// What `guidance` means.
    pub guidance_meaning: Guidance,
    /// Least and largest value of the estimate of the clean point and of the result, in the unit of
    /// the data: `[-1, 1]` for images, as published. `null` does not clamp.
    pub clamp: Option<[f64; 2]>,
    /// What happens between the smallest time and 0.
    pub last_step: BridgeEnd,
}

impl Default for BridgeHeunConfig {
    fn default() -> Self {
        Self {
            steps: 40,
            grid: TimeGrid::Karras,
            rho: 7.0,
            churn: 0.33,
            guidance: 1.0,
            guidance_meaning: Guidance::HTerm,
            clamp: None,
            last_step: BridgeEnd::Clean,
        }
    }
}

/// What the number `guidance` means.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Guidance {
    /// The factor of the h-term in the reverse SDE and in the probability flow. The same for every
    /// bridge, and what the paper and the released code for VP have.
    #[default]
    HTerm,
    /// As the released code for VE has it: the probability flow moves by `-t (u - w h)` with
    /// `u = s - h`, which is a factor `(1 + w) / 2` of the h-term, and the reverse SDE ignores `w`.
    PublishedVe,
}

/// What happens between the smallest time and 0.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum BridgeEnd {
    /// Go to the model's estimate of the clean point.
    #[default]
    Clean,
    /// Euler's rule for the probability flow, as published. For VE it ends at the same point up to
    /// `(sigma_min / T)^2`; for VP it goes only half of the way.
    Euler,
}

#[component(
    "bridge-heun",
    "hybrid of a stochastic step and Heun's rule for bridges (DDBM)",
    r#"{"type": "bridge-heun", "steps": 40, "churn": 0.33}"#
)]
impl SamplerConfig for BridgeHeunConfig {
    fn build(&self) -> Result<Box<dyn Sampler>> {
        // Times are spaced by `TimeGrid`; the options are those of all samplers.
        let spacing = Spacing::new(Some(self.steps), Grid::Uniform, self.rho)?;
        if !(0.0..1.0).contains(&self.churn) {
            return Err(Error::config("/churn", format!("churn {} is not in [0, 1)", self.churn)));
        }
        if !self.guidance.is_finite() {
            return Err(Error::config("/guidance", "the guidance must be a finite number"));
        }
        if let Some([low, high]) = self.clamp
            && !(low < high && low.is_finite() && high.is_finite())
        {
            return Err(Error::config("/clamp", format!("[{low}, {high}] is no range")));
        }
        Ok(Box::new(Stepper { spacing, rule: BridgeHeun { config: self.clone() } }))
    }
}

#[derive(Debug)]
struct BridgeHeun {
    config: BridgeHeunConfig,
}

impl BridgeHeun {
    /// The prediction at a time, its clean point clamped where that is asked for.
    fn predict(&self, walk: &mut Walk, state: &State, t: f64) -> Result<Prediction> {
        let prediction = walk.predict(state, t)?;
        let Some([low, high]) = self.config.clamp else { return Ok(prediction) };
        let clean = walk.process.clean(state, t, &prediction)?;
        let coordinates = walk.drive.coordinates();
        let coordinates = coordinates.expect("a process with a clean estimate has coordinates");
        let clamped = coordinates.unwrapped(&clean).map(|a| a.clamp(low, high));
        Ok(Prediction::one(PredictionKind::Clean, clamped))
    }

    fn terms(&self, walk: &mut Walk, state: &State, t: f64) -> Result<Terms> {
        let prediction = self.predict(walk, state, t)?;
        walk.process.terms(state, Step::at(t), &prediction)
    }

    /// `weight g^2 s - w h - f`: what moves the point per unit by which time falls.
    fn rate(&self, mut terms: Terms, weight: f64) -> Xi {
        let w = match (self.config.guidance_meaning, weight < 1.0) {
            (Guidance::HTerm, _) => self.config.guidance,
            (Guidance::PublishedVe, true) => 0.5 * (1.0 + self.config.guidance),
            (Guidance::PublishedVe, false) => 1.0,
        };
        terms.h = terms.h.map(|h| h.scale(w));
        reverse_rate(&terms, weight)
    }
}

impl Rule for BridgeHeun {
    fn name(&self) -> String {
        "bridge-heun".into()
    }

    fn purpose(&self) -> Purpose {
        Purpose::ProbabilityFlow
    }

    fn accepts(&self, process: &dyn NoisingProcess, _: &dyn ScoreModel) -> Result<()> {
        if process.time().discrete || ClosedForm::HTerm.of(process).is_err() {
            let message = format!(
                "{} needs a bridge in continuous time; {} is none",
                self.name(),
                process.name()
            );
            return Err(Error::config("", message).with_help(
                "use `ve-bridge`, `vp-bridge` or `brownian-bridge` with \"steps\": null, or the \
                 sampler `ancestral`",
            ));
        }
        ClosedForm::Clean.of(process)
    }

    fn steps(&self, process: &dyn NoisingProcess, _: &Spacing) -> Result<Vec<Step>> {
        let BridgeHeunConfig { grid, steps, rho, .. } = &self.config;
        let times = grid.times(process.time(), *steps as usize, *rho);
        Ok(times.windows(2).map(|pair| Step { from: pair[0], to: pair[1] }).collect())
    }

    fn step(&self, walk: &mut Walk, state: &State) -> Result<State> {
        let Step { mut from, to } = walk.step;
        let mut state = state.clone();
        if self.config.churn > 0.0 {
            let length = self.config.churn * walk.step.length();
            let terms = self.terms(walk, &state, from)?;
            let z = walk.draw(&state, &terms)?;
            let xi = self.rate(terms, 1.0).scale(length).add_scaled(&z, length.sqrt());
            state = walk.drive.flow(&state, &xi);
            from -= length;
        }
        let length = from - to;
        let drive = walk.drive;
        let moved = |rate: &Xi, length: f64| drive.flow(&state, &rate.scale(length));
        if walk.last {
            let prediction = self.predict(walk, &state, from)?;
            let end = match self.config.last_step {
                BridgeEnd::Clean => walk.process.clean(&state, from, &prediction)?,
                BridgeEnd::Euler => {
                    let terms = walk.process.terms(&state, Step::at(from), &prediction)?;
                    moved(&self.rate(terms, 0.5), length)
                }
            };
            let Some([low, high]) = self.config.clamp else { return Ok(end) };
            return Ok(end.with_value(end.x().clamp(low, high)));
        }
        let terms = self.terms(walk, &state, from)?;
        let first = self.rate(terms, 0.5);
        let ahead = moved(&first, length);
        let terms = self.terms(walk, &ahead, to)?;
        let second = self.rate(terms, 0.5);
        Ok(moved(&first.add(&second), 0.5 * length))
    }
}
