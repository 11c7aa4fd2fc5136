//! The hybrid sampler of DDBM: a stochastic Euler step over a part of each interval, then Heun's
//! rule for the probability flow over the rest.

use super::grid::TimeGrid;
use isotropy_core::{
    ClosedForm, Error, Noise, NoisingProcess, Observer, Prediction, PredictionKind, Purpose,
    Result, Sampled, Sampler, SamplerConfig, ScoreModel, State, Step, Terms, Xi, component, config,
    sampler::{accept, times},
};

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
    pub last_step: LastStep,
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
            last_step: LastStep::Clean,
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
pub enum LastStep {
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
        // Refuses what no time axis could be spaced with.
        let any = isotropy_core::TimeDomain::continuous(1e-3, 1.0);
        self.grid.times(&any, self.steps as usize, self.rho)?;
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
        Ok(Box::new(BridgeHeun { config: self.clone() }))
    }
}

#[derive(Debug)]
struct BridgeHeun {
    config: BridgeHeunConfig,
}

/// A run: the model with everything that it is asked through, and the count of evaluations.
struct Walk<'a> {
    config: &'a BridgeHeunConfig,
    process: &'a dyn NoisingProcess,
    model: &'a dyn ScoreModel,
    evaluations: usize,
}

impl Walk<'_> {
    /// The prediction at a time, its clean point clamped where that is asked for.
    fn predict(&mut self, state: &State, t: f64) -> Result<Prediction> {
        self.evaluations += 1;
        let prediction = self.model.predict(state, &times(state, Step::at(t)), false)?;
        let Some([low, high]) = self.config.clamp else { return Ok(prediction) };
        let clean = self.process.clean(state, t, &prediction)?;
        let coordinates = self.process.fields().coordinates();
        let coordinates = coordinates.expect("a process with a clean estimate has coordinates");
        let clamped = coordinates.unwrapped(&clean).map(|a| a.clamp(low, high));
        Ok(Prediction::one(PredictionKind::Clean, clamped))
    }

    fn terms(&mut self, state: &State, t: f64) -> Result<Terms> {
        let prediction = self.predict(state, t)?;
        self.process.terms(state, Step::at(t), &prediction)
    }

    /// `weight g^2 s - w h - f`: what moves the point per unit by which time falls.
    fn rate(&self, terms: &Terms, weight: f64) -> Xi {
        let w = match (self.config.guidance_meaning, weight < 1.0) {
            (Guidance::HTerm, _) => self.config.guidance,
            (Guidance::PublishedVe, true) => 0.5 * (1.0 + self.config.guidance),
            (Guidance::PublishedVe, false) => 1.0,
        };
        let rate = terms.preconditioned.scale(weight).sub(&terms.drift);
        match &terms.h {
            Some(h) => rate.add_scaled(h, -w),
            None => rate,
        }
    }

    fn moved(&self, state: &State, rate: &Xi, length: f64) -> State {
        self.process.fields().flow(state, &rate.scale(length))
    }

    fn interval(
        &mut self,
        (index, noise): (u64, &mut dyn Noise),
        state: State,
        from: f64,
        to: f64,
    ) -> Result<State> {
        let (mut state, mut from) = (state, from);
        if self.config.churn > 0.0 {
            let length = self.config.churn * (from - to);
            let terms = self.terms(&state, from)?;
            let z = noise.draw(index, &state, &terms.drift, &terms.noise, self.process.fields())?;
            let xi = self.rate(&terms, 1.0).scale(length).add_scaled(&z, length.sqrt());
            state = self.process.fields().flow(&state, &xi);
            from -= length;
        }
        let length = from - to;
        if to == 0.0 {
            let prediction = self.predict(&state, from)?;
            return match self.config.last_step {
                LastStep::Clean => self.process.clean(&state, from, &prediction),
                LastStep::Euler => {
                    let terms = self.process.terms(&state, Step::at(from), &prediction)?;
                    Ok(self.moved(&state, &self.rate(&terms, 0.5), length))
                }
            };
        }
        let terms = self.terms(&state, from)?;
        let first = self.rate(&terms, 0.5);
        let ahead = self.moved(&state, &first, length);
        let terms = self.terms(&ahead, to)?;
        let second = self.rate(&terms, 0.5);
        Ok(self.moved(&state, &first.add(&second), 0.5 * length))
    }
}

impl Sampler for BridgeHeun {
    fn name(&self) -> String {
        "bridge-heun".into()
    }

    fn purpose(&self) -> Purpose {
        Purpose::ProbabilityFlow
    }

    fn accepts(&self, process: &dyn NoisingProcess, model: &dyn ScoreModel) -> Result<()> {
        accept(process, model, self.purpose())?;
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
        let config = &self.config;
        let times = config.grid.times(process.time(), config.steps as usize, config.rho)?;
        let mut walk = Walk { config, process, model, evaluations: 0 };
        let mut state = start;
        let count = times.len() - 1;
        for (index, pair) in times.windows(2).enumerate() {
            state = walk.interval((index as u64, &mut *noise), state, pair[0], pair[1])?;
            if let (Some([low, high]), true) = (config.clamp, index + 1 == count) {
                state = state.with_value(state.x().clamp(low, high));
            }
            observer(index, count, &state)?;
        }
        Ok(Sampled { state, evaluations: walk.evaluations })
    }
}
