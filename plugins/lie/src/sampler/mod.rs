//! Samplers that are blind to the geometry: they ask the process for [`Terms`] and let the drive
//! move the points.
//!
//! Notation: a step goes from time `t` down to `s`, `dt = t - s`; `xi` are coefficients in the
//! frame of the drive. With forward drift `f` (and h-term), noise scale `g` and score `S`,
//!
//! * reverse SDE: `xi = (g^2 S - f) dt + g sqrt(dt) z`;
//! * probability flow: `xi = (g^2 S / 2 - f) dt`, without any Ito or divergence term.

mod ancestral;
mod euler_maruyama_x;
mod group_step;
mod probability_flow;

pub use ancestral::AncestralConfig;
pub use euler_maruyama_x::{DivergenceTerm, EulerMaruyamaXConfig};
pub use group_step::GroupStepConfig;
pub use probability_flow::{FlowMethod, ProbabilityFlowConfig};

use isotropy_core::{
    Error, NoisingProcess, Prediction, Purpose, Result, ScoreModel, State, Step, Terms, Xi,
    sampler::times,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Steps of a continuous process where the configuration names none.
const DEFAULT_STEPS: usize = 100;

/// What happens on the last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LastStep {
    /// Go to the model's estimate of the clean state, which takes the remaining noise out too.
    #[default]
    Clean,
    /// An ordinary step without noise.
    NoNoise,
    /// An ordinary step with noise, as the released code does it.
    Noise,
}

/// The steps of a run: as many as the configuration says, else all of a discrete process.
fn grid(process: &dyn NoisingProcess, steps: Option<u32>) -> Result<Vec<Step>> {
    let time = process.time();
    let all = time.all_steps().unwrap_or(DEFAULT_STEPS);
    time.grid(steps.map_or(all, |steps| steps as usize)).map_err(|error| error.under("/steps"))
}

/// Refuses models whose prediction cannot drive this sampler.
fn accept(model: &dyn ScoreModel, purpose: Purpose) -> Result<()> {
    let kind = model.predicts();
    if kind.can_drive(purpose) {
        return Ok(());
    }
    Err(Error::config(
        "",
        format!("a model that predicts {kind:?} cannot drive {purpose:?}; use another sampler"),
    ))
}

/// The prediction at the start of a step.
fn predict(model: &dyn ScoreModel, state: &State, step: Step) -> Result<Prediction> {
    model.predict(state, &times(state, step), false)
}

/// `weight g^2 S - f`: the rate of a reverse step (`weight` 1) or of the probability flow (1/2).
fn reverse_rate(terms: &Terms, weight: f64) -> Xi {
    let score = if weight == 1.0 {
        terms.preconditioned.clone()
    } else {
        terms.preconditioned.scale(weight)
    };
    let rate = score.sub(&terms.drift);
    match &terms.h {
        Some(h) => rate.sub(h),
        None => rate,
    }
}

/// `scale xi`, without an operation for a scale of 1: steps of discrete time have the length 1, and
/// for a thousand points in the plane every operation counts.
fn scaled(xi: Xi, scale: f64) -> Xi {
    if scale == 1.0 { xi } else { xi.scale(scale) }
}

/// Refuses zero steps.
fn checked_steps(steps: Option<u32>) -> Result<()> {
    match steps {
        Some(0) => Err(Error::config("/steps", "a sampler takes at least 1 step")),
        _ => Ok(()),
    }
}
