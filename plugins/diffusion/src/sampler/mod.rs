//! Samplers that are blind to the geometry: they ask the process for
//! [`Terms`](isotropy_core::Terms) and let the drive move the points.
//!
//! Notation: a step goes from time `t` down to `s`, `dt = t - s`; `xi` are coefficients in the
//! frame of the drive. With forward drift `f` (and h-term), noise scale `g` and score `S`,
//!
//! * reverse SDE: `xi = (g^2 S - f) dt + g sqrt(dt) z`;
//! * probability flow: `xi = (g^2 S / 2 - f) dt`, without any Ito or divergence term.
//!
//! A sampler with fixed steps is a rule for one step; what all of them share (the loop, the options
//! for steps and grid, the refusal of models that cannot drive it, the count of evaluations) is in
//! [`rule`], which is open to other plugins.

pub(crate) mod adaptive;
mod ancestral;
pub mod conditional;
mod conformance;
mod ddim;
mod edm;
mod euler_maruyama_x;
mod group_step;
mod heun_sde;
mod image_ddim;
mod predictor_corrector;
pub(crate) mod probability_flow;
pub mod rule;
pub(crate) mod runge_kutta;
mod self_conditioned;

pub use crate::integrate::grid::{Grid, karras};
pub use adaptive::ErrorNorm;
pub use ancestral::AncestralConfig;
pub use ddim::DdimConfig;
pub use edm::EdmConfig;
pub use euler_maruyama_x::{DivergenceTerm, EulerMaruyamaXConfig};
pub use group_step::{GeodesicRandomWalkConfig, GroupStepConfig};
pub use heun_sde::HeunSdeConfig;
pub use image_ddim::{PairsOfTimes, pairs};
pub use predictor_corrector::{Predictor, PredictorCorrectorConfig};
pub use probability_flow::{FlowEnd, FlowMethod, ProbabilityFlowConfig};

pub(crate) use crate::integrate::{axis, grid};

use isotropy_core::{ClosedForm, NoisingProcess, Result, config};

/// What happens on the last step.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum LastStep {
    /// Go to the model's estimate of the clean state, which takes the remaining noise out too.
    #[default]
    Clean,
    /// An ordinary step without noise.
    NoNoise,
    /// An ordinary step with noise, as the released code does it.
    Noise,
}

impl LastStep {
    /// Refuses a process that lacks what this last step asks it for.
    ///
    /// # Errors
    /// The reason, with the remedy.
    pub fn accepts(self, process: &dyn NoisingProcess) -> Result<()> {
        match self {
            Self::Clean => ClosedForm::Clean.of(process).map_err(|error| {
                error.under("/last_step").with_help("use \"last_step\": \"noise\"")
            }),
            Self::NoNoise | Self::Noise => Ok(()),
        }
    }
}
