//! Predictor-corrector sampling: Langevin steps at the time where the walk stands, then any step to
//! the next time (Song et al. 2021, appendix G).

use super::LastStep;
use super::ancestral::Ancestral;
use super::group_step::GroupStep;
use super::heun_sde::HeunSde;
use super::probability_flow::{FlowEnd, FlowMethod, ProbabilityFlow};
use super::rule::{Rule, Stepper, Walk};
use crate::stepper_config;
use isotropy_core::{
    Error, NoisingProcess, Purpose, Result, Sampler, ScoreModel, State, Step, Terms, Xi, config,
};
use tch::Tensor;

/// The step that takes the points to the next time.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Predictor {
    /// Lie-Euler, as `group-step`.
    #[default]
    GroupStep,
    /// A draw from the posterior, as `ancestral`.
    Ancestral,
    /// Stochastic Heun, as `heun-sde`.
    HeunSde,
    /// A step of the probability flow by Heun's rule.
    ProbabilityFlow,
}

stepper_config! {
    /// Before each step to the next time, `corrector_steps` Langevin steps at the present one: `x
    /// <- flow(x, eps S + sqrt(2 eps) z)` with `eps = 2 (snr |z| / |S|)^2`, factor by factor. The
    /// norms are those of horizontal coefficients (of `K S` and `L z` where the noise is coloured),
    /// averaged over the batch as published: a step of its own for each point would depend on the
    /// point, which pulls the law towards where the score is small (measured: a test of the law
    /// refuses it). Samples of one batch depend on one another a little.
    PredictorCorrectorConfig {
        /// The step to the next time.
        predictor: Predictor = Predictor::GroupStep,
        /// Langevin steps at each time.
        #[schemars(range(min = 0, max = 1000))]
        corrector_steps: u32 = 1,
        /// Ratio of the lengths of score step and noise; positive. 0.16 in the paper; larger
        /// corrects faster, with a larger bias.
        #[schemars(range(min = 1e-6, max = 10.0))]
        snr: f64 = 0.16,
        /// What happens on the last step.
        last_step: LastStep = LastStep::Clean,
    }
    500, Auto, "predictor-corrector",
    "any step to the next time, with Langevin steps between (Song et al. 2021)",
    r#"{"type": "predictor-corrector", "steps": 50, "predictor": "group-step"}"#
}

impl PredictorCorrectorConfig {
    fn sampler(&self) -> Result<Box<dyn Sampler>> {
        if !(self.snr.is_finite() && self.snr > 0.0) {
            return Err(Error::config("/snr", format!("snr is {}; it must be positive", self.snr)));
        }
        let last_step = self.last_step;
        let predictor: Box<dyn Rule> = match self.predictor {
            Predictor::GroupStep => Box::new(GroupStep { last_step }),
            Predictor::Ancestral => Box::new(Ancestral::new(1.0, last_step)?),
            Predictor::HeunSde => Box::new(HeunSde { last_step }),
            Predictor::ProbabilityFlow => {
                let last_step =
                    if last_step == LastStep::Clean { FlowEnd::Clean } else { FlowEnd::Euler };
                Box::new(ProbabilityFlow { method: FlowMethod::Heun, last_step })
            }
        };
        let (corrections, snr) = (self.corrector_steps, self.snr);
        let rule = PredictorCorrector { predictor, corrections, snr };
        Ok(Box::new(Stepper { spacing: self.spacing()?, rule }))
    }
}

#[derive(Debug)]
struct PredictorCorrector {
    predictor: Box<dyn Rule>,
    corrections: u32,
    snr: f64,
}

impl PredictorCorrector {
    /// The size of a Langevin step for a factor, a scalar on the device; nothing is read by the
    /// host.
    fn step_size(&self, score: &Tensor, noise: &Tensor) -> Tensor {
        let norm =
            |a: &Tensor| a.flatten(1, -1).square().sum_dim_intlist(1, false, a.kind()).sqrt();
        let (score, noise) = (norm(score), norm(noise));
        // Points that are not finite have no say in what the others do.
        let sound = score.isfinite().logical_and(&noise.isfinite());
        let sum = |a: &Tensor| a.where_self(&sound, &a.zeros_like()).sum(a.kind());
        // A score of zero would ask for an endless step, where there is nothing to correct.
        let ratio = sum(&noise) * self.snr / sum(&score).clamp_min(1e-12);
        ratio.square() * 2.0
    }

    fn correct(&self, walk: &mut Walk, state: &State) -> Result<State> {
        let terms: Terms = walk.terms(state, Step::at(walk.step.from))?;
        let draw = walk.draw(state, &terms)?;
        let factors = terms.preconditioned.0.iter().zip(&draw.0).zip(&terms.noise);
        let xi = factors.map(|((preconditioned, draw), noise)| {
            let g = noise.scale();
            let (score, z) = (preconditioned * g.powi(-2), draw * g.recip());
            let eps = self.step_size(&score, &z);
            score * &eps + z * (eps * 2.0).sqrt()
        });
        let xi = Xi(xi.collect());
        Ok(walk.drive.flow(state, &xi))
    }
}

impl Rule for PredictorCorrector {
    fn name(&self) -> String {
        format!("predictor-corrector ({})", self.predictor.name())
    }

    fn purpose(&self) -> Purpose {
        // What a corrector can use (a score) drives every predictor too.
        if self.corrections > 0 { Purpose::Corrector } else { self.predictor.purpose() }
    }

    fn accepts(&self, process: &dyn NoisingProcess, model: &dyn ScoreModel) -> Result<()> {
        self.predictor.accepts(process, model)
    }

    fn step(&self, walk: &mut Walk, state: &State) -> Result<State> {
        let mut state = state.clone();
        for _ in 0..self.corrections {
            state = self.correct(walk, &state)?;
        }
        self.predictor.step(walk, &state)
    }
}
