//! The Langevin-corrected scheme: a reverse step of the joint process, then Langevin moves of the query at one time.

use super::known::{Known, joins, noised};
use crate::sampler::rule::{Spacing, Walk};
use crate::stepper_config;
use isotropy_core::{
    ClosedForm, Error, Noise, NoiseOperator, NoisingProcess, Observer, Purpose, Result, Sampled,
    Sampler, ScoreModel, State, Step, Terms, Xi, config,
    sampler::{accept, reverse_rate},
};
use tch::Tensor;

/// Where the noise of the known values comes from.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Context {
    /// Fresh noise each time, independent of all other: `y_c,t ~ p_t(. | y_c)`.
    #[default]
    Independent,
    /// One forward trajectory of the known values, followed backwards: each time of the grid is reached by the exact
    /// transition from the one below it. It is drawn once a run.
    Path,
}

/// What the Langevin moves are preconditioned with.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Langevin {
    /// The covariance of the process at the query points: `K_qq` times the query block of the score, noise coloured by a
    /// root of `K_qq`. How fast the moves mix does not depend on how well `K` is conditioned.
    #[default]
    Kernel,
    /// The query block of `K` times the score of all points, `K_qq S_q + K_qc S_c`, as published. The second part does
    /// not belong to the law of the query given the known values: where the limit correlates the two (any but a white
    /// one) the moves converge to another law. No linear system is solved for it.
    JointKernel,
    /// Nothing: the query block of the score and white noise, with the same factors.
    Plain,
}

/// What `lambda` multiplies.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Tempering {
    /// The score alone.
    #[default]
    Score,
    /// The whole drift of the reverse step, the linear part too, as published.
    Drift,
}

/// At which time of a step from `t` down to `s` things are evaluated.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum EvaluationTimes {
    /// The reverse step at `t` with the known values noised to `t` and the rate averaged over the step, the Langevin
    /// moves at `s` with the known values noised to `s`: model and known values are always at the time at which the
    /// points are.
    #[default]
    Consistent,
    /// Everything at the instant `t`, the moves after the step too.
    StepStart,
    /// Model and rates at the instant `s`, the known values noised to `t`, as published (geomndp.md, pitfall 5).
    StepEnd,
}

stepper_config! {
    /// Samples query points given known ones by a model of their joint law (geomndp.md 1.8). A step from `t` to `s`, with
    /// `dt = t - s`, `h` the preconditioned score `K S` of the joint state and `z` noise coloured by `K`:
    ///
    /// * reverse step: `y += dt (beta/2 (y - m) + lambda beta h) + sqrt(beta dt) z`;
    /// * below `tau`, `inner_steps` times: `y += dt psi lambda beta/2 K_qq S_q + sqrt(psi beta dt) z` with the query block
    ///   `S_q` of the score, which is the score of the query given the known values.
    ///
    /// The known values are noised anew before each of these. With `lambda` 1 the law converges to the conditional law of
    /// the model as steps and inner steps grow; larger values pull towards its modes (`p^lambda`: the variance shrinks by
    /// about `1/lambda`). Without inner steps this is `replacement`. Where nothing is known it is the reverse SDE of the
    /// query with Langevin corrections.
    ///
    /// Known and query points may coincide. Under a limiting kernel with white noise the two then carry noise of their own
    /// (each entry of a list counts as a point), and the query is held by the model alone; under a smooth kernel the
    /// covariance is singular but for its jitter.
    ConditionalLangevinConfig {
        /// Langevin moves after each step.
        #[schemars(range(min = 0, max = 1_000_000))]
        inner_steps: u32 = 5,
        /// Size of a Langevin move as a part of the step's; positive. (The published code gives that of all inner moves
        /// together.)
        #[schemars(range(min = 1e-9, max = 1e3))]
        psi: f64 = 1.0,
        /// Factor of the score; positive. Above 1 samples keep nearer to the modes.
        #[schemars(range(min = 1e-9, max = 1e3))]
        lambda: f64 = 1.0,
        /// Time below which Langevin moves are made; null for all times.
        #[schemars(range(min = 0.0, max = 1e9))]
        tau: Option<f64> = None,
        /// What the moves are preconditioned with.
        langevin: Langevin = Langevin::Kernel,
        /// Where the noise of the known values comes from.
        context: Context = Context::Independent,
        /// Whether the known values are noised anew for each Langevin move, or once for all moves of a step.
        resample_context: bool = true,
        /// Whether the reverse step is made. Without it only annealed Langevin moves are left, which is what the published
        /// one-dimensional code amounts to (geomndp.md, pitfall 4).
        predictor: bool = true,
        /// No inner steps: the Langevin drift and noise are added to those of the reverse step, `y += dt (beta/2 (y - m) +
        /// (lambda_t + lambda psi/2) beta h) + sqrt((1 + psi) beta dt) z` with `lambda_t = lambda / (alpha + (1 - alpha)
        /// lambda)` and `alpha` the square of the factor of the clean values. `inner_steps`, `tau` and
        /// `resample_context` are not used.
        hybrid: bool = false,
        /// What `lambda` multiplies.
        tempering: Tempering = Tempering::Score,
        /// At which time of a step things are evaluated.
        times: EvaluationTimes = EvaluationTimes::Consistent,
        /// Langevin moves at the least time, after the last step, with the known values as they are and the rate of the last
        /// step.
        #[schemars(range(min = 0, max = 1_000_000))]
        final_moves: u32 = 0,
    }
    100, Uniform, "conditional-langevin",
    "query points given known ones: reverse steps of the joint process with Langevin corrections",
    r#"{"type": "conditional-langevin", "steps": 50, "inner_steps": 5, "tau": 0.5}"#
}

impl ConditionalLangevinConfig {
    fn sampler(&self) -> Result<Box<dyn Sampler>> {
        let spacing = self.spacing()?;
        for (pointer, value) in [("/psi", self.psi), ("/lambda", self.lambda)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::config(pointer, format!("{value} must be a positive number")));
            }
        }
        if !(self.predictor || self.hybrid) && self.inner_steps == 0 {
            return Err(Error::config(
                "/predictor",
                "without it and without inner steps nothing moves",
            )
            .with_help("raise `inner_steps`"));
        }
        Ok(Box::new(ConditionalLangevin { spacing, config: self.clone() }))
    }
}

#[derive(Debug)]
pub(super) struct ConditionalLangevin {
    pub spacing: Spacing,
    pub config: ConditionalLangevinConfig,
}

/// Terms for moves of the query alone: the covariance that [`Langevin`] names times the score, and noise with it.
fn of_query(terms: Terms, langevin: Langevin, known: &Known) -> Result<Terms> {
    if langevin == Langevin::JointKernel {
        return Ok(terms);
    }
    let score = terms.score.as_ref().ok_or_else(|| {
        Error::Unsupported("Langevin moves need a prediction that has a score".into())
    })?;
    let score = known.without_known(score)?;
    let factors = score.0.iter().zip(&terms.noise);
    if langevin == Langevin::Plain {
        let preconditioned = factors.map(|(score, noise)| score * noise.scale().powi(2)).collect();
        let noise = terms.noise.iter().map(|noise| NoiseOperator::White(noise.scale())).collect();
        return Ok(Terms { preconditioned: Xi(preconditioned), noise, ..terms });
    }
    // `K (0, S_q)` has the query block `K_qq S_q`, and joint noise has the query block of covariance `K_qq`.
    let covariance = |(score, noise): (&Tensor, &NoiseOperator)| match noise {
        NoiseOperator::White(scale) => score * scale.powi(2),
        NoiseOperator::Coloured { scale, root } => root.covariance(score) * scale.powi(2),
    };
    let preconditioned = Xi(factors.map(covariance).collect());
    Ok(Terms { preconditioned, ..terms })
}

impl ConditionalLangevin {
    /// A Langevin move of the query beside known `values`: rates at `step`, size `psi dt`.
    fn correct(
        &self,
        walk: &mut Walk,
        (known, values): (&Known, Option<&State>),
        query: &State,
        step: Step,
        dt: f64,
    ) -> Result<State> {
        let joint = known.join(values, query)?;
        let terms = walk.terms(&joint, step)?;
        let terms = of_query(terms, self.config.langevin, known)?;
        let (psi, lambda) = (self.config.psi, self.config.lambda);
        let noise = walk.draw(&joint, &terms)?.scale((psi * dt).sqrt());
        let xi = noise.add_scaled(&terms.preconditioned, 0.5 * psi * lambda * dt);
        Ok(known.query(&walk.drive.flow(&joint, &xi), query))
    }

    /// The reverse step (with the Langevin move in it, in the hybrid scheme).
    fn advance(
        &self,
        walk: &mut Walk,
        (known, values): (&Known, Option<&State>),
        query: &State,
        step: Step,
        dt: f64,
    ) -> Result<State> {
        let config = &self.config;
        let joint = known.join(values, query)?;
        let terms = walk.terms(&joint, step)?;
        let (score, noise) = if config.hybrid {
            let schedule =
                if config.lambda == 1.0 { 1.0 } else { self.rising(walk.process, step.from)? };
            (schedule + 0.5 * config.lambda * config.psi, 1.0 + config.psi)
        } else {
            (config.lambda, 1.0)
        };
        let rate = match config.tempering {
            Tempering::Score => reverse_rate(&terms, score),
            Tempering::Drift => reverse_rate(&terms, 1.0).scale(score),
        };
        let draw = walk.draw(&joint, &terms)?;
        let xi = rate.scale(dt).add_scaled(&draw, (noise * dt).sqrt());
        Ok(known.query(&walk.drive.flow(&joint, &xi), query))
    }

    /// `lambda_t`, which rises from 1 at the prior to `lambda` at the data.
    fn rising(&self, process: &dyn NoisingProcess, t: f64) -> Result<f64> {
        let level = process.level(t).ok_or_else(|| {
            let message = format!("{} has no noise level for the hybrid scheme", process.name());
            Error::config("/lambda", message).with_help("use `lambda` 1, or `hybrid` false")
        })?;
        let (alpha, lambda) = (1.0 / (1.0 + level * level), self.config.lambda);
        Ok(lambda / (alpha + (1.0 - alpha) * lambda))
    }

    /// The known values along one forward trajectory, at the times of the grid from the prior down.
    fn path(walk: &mut Walk, known: &Known, steps: &[Step]) -> Result<Vec<State>> {
        let Some(mut state) = known.values.clone() else { return Ok(Vec::new()) };
        let ends = steps.last().map(|step| step.to);
        let times: Vec<f64> = steps.iter().map(|step| step.from).chain(ends).collect();
        let (mut before, mut path) = (0.0, Vec::with_capacity(times.len()));
        for &t in times.iter().rev() {
            state = noised(walk, &state, before, t)?;
            path.push(state.clone());
            before = t;
        }
        path.reverse();
        Ok(path)
    }
}

/// The known values at the start (0) or end (1) of a step.
fn along(path: &[State], index: usize) -> Option<State> {
    path.get(index).cloned()
}

impl Sampler for ConditionalLangevin {
    fn name(&self) -> String {
        match (self.config.hybrid, self.config.inner_steps) {
            (true, _) => "conditional Langevin (hybrid)".into(),
            (false, 0) => "replacement".into(),
            (false, inner) => format!("conditional Langevin ({inner} inner steps)"),
        }
    }

    fn purpose(&self) -> Purpose {
        if self.config.inner_steps > 0 || self.config.hybrid || self.config.final_moves > 0 {
            Purpose::Corrector
        } else {
            Purpose::ReverseSde
        }
    }

    fn accepts(&self, process: &dyn NoisingProcess, model: &dyn ScoreModel) -> Result<()> {
        accept(process, model, self.purpose())?;
        ClosedForm::Transition.of(process)?;
        joins(process, model)?;
        let steps = self.spacing.steps(process)?;
        if self.config.hybrid && self.config.lambda != 1.0 {
            self.rising(process, steps[0].from)?;
        }
        Ok(())
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
        let config = &self.config;
        let steps = self.spacing.steps(process)?;
        // Nothing is asked about times below those that are trained.
        let least = process.time().start;
        let (known, mut query) = Known::of(process, start.clone())?;
        let mut walk = Walk::new(process, model, noise);
        let on_path = config.context == Context::Path;
        let path = if on_path {
            tch::no_grad(|| Self::path(&mut walk, &known, &steps))?
        } else {
            Vec::new()
        };
        let inner = if config.hybrid { 0 } else { config.inner_steps };
        let mut index = 0;
        let mut state = walk.along(&steps, start, observer, |walk, _| {
            let step = walk.step;
            let (t, s) = (step.from, step.to.max(least));
            let dt = step.length();
            let (advance, corrected_at, context_at) = match config.times {
                EvaluationTimes::Consistent => (step, s, s),
                EvaluationTimes::StepStart => (Step::at(t), t, t),
                EvaluationTimes::StepEnd => (Step::at(s), s, t),
            };
            let mut values = if on_path { along(&path, index) } else { known.noised(walk, t)? };
            if config.predictor || config.hybrid {
                query = self.advance(walk, (&known, values.as_ref()), &query, advance, dt)?;
            }
            // The corrections belong to the time at which they are made: where the points are at a time that is not
            // trained (the end of a discrete process), there are none.
            let consistent = config.times == EvaluationTimes::Consistent;
            let due = config.tau.is_none_or(|tau| if consistent { s < tau } else { t < tau })
                && !(consistent && step.to < least);
            let mut fresh = context_at != t;
            for _ in 0..if due { inner } else { 0 } {
                if on_path {
                    values = along(&path, if context_at == t { index } else { index + 1 });
                } else if config.resample_context || fresh {
                    values = known.noised(walk, context_at)?;
                    fresh = false;
                }
                let at = Step::at(corrected_at);
                query = self.correct(walk, (&known, values.as_ref()), &query, at, dt)?;
            }
            index += 1;
            Ok(known.shown(&query))
        })?;
        if let (true, Some(last)) = (config.final_moves > 0, steps.last()) {
            // The rate over the last step, seen from its end: that of the end itself may be zero.
            let step = Step { from: last.to.max(least), to: last.from };
            let given = (&known, known.values.as_ref());
            for _ in 0..config.final_moves {
                query =
                    tch::no_grad(|| self.correct(&mut walk, given, &query, step, last.length()))?;
            }
            state = known.shown(&query);
        }
        Ok(walk.end(state))
    }
}
