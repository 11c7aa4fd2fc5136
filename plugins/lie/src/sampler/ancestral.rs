//! Ancestral sampling: each step draws from the posterior of the kernel.

use super::{LastStep, accept, checked_steps, grid, predict};
use isotropy_core::{
    Noise, NoisingProcess, Observer, Purpose, Result, Sampled, Sampler, SamplerConfig, ScoreModel,
    State,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `x_s ~ p(x_s | x_t, x_0)` at the model's estimate of `x_0`: DDPM's sampler, for every process
/// that has a closed-form posterior. Each step is exact for data that are one point.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AncestralConfig {
    /// Number of steps; `null` for all steps of a discrete process, 100 in continuous time.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: Option<u32>,
    /// What happens on the last step.
    #[serde(default)]
    pub last_step: LastStep,
}

#[derive(Debug)]
struct Ancestral(AncestralConfig);

#[typetag::serde(name = "ancestral")]
impl SamplerConfig for AncestralConfig {
    fn build(&self) -> Result<Box<dyn Sampler>> {
        checked_steps(self.steps)?;
        Ok(Box::new(Ancestral(self.clone())))
    }
}

impl Sampler for Ancestral {
    fn name(&self) -> String {
        "ancestral".into()
    }

    fn purpose(&self) -> Purpose {
        Purpose::ReverseSde
    }

    fn run(
        &self,
        process: &dyn NoisingProcess,
        model: &dyn ScoreModel,
        start: State,
        noise: &mut dyn Noise,
        observer: &mut Observer,
    ) -> Result<Sampled> {
        accept(model, self.purpose())?;
        let steps = grid(process, self.0.steps)?;
        let mut state = start;
        for (index, &step) in steps.iter().enumerate() {
            state = tch::no_grad(|| -> Result<State> {
                let prediction = predict(model, &state, step)?;
                let last = index + 1 == steps.len();
                if last && self.0.last_step == LastStep::Clean {
                    return process.clean(&state, step.from, &prediction);
                }
                let like = &prediction.heads[0];
                let z = if last && self.0.last_step == LastStep::NoNoise {
                    like.zeros_like()
                } else {
                    noise.unit(index as u64, &state, like, process)?
                };
                process.posterior(&state, step, &prediction, &z)
            })?;
            observer(index, steps.len(), &state);
        }
        Ok(Sampled { state, evaluations: steps.len() })
    }
}

isotropy_core::register!(
    "sampler",
    "ancestral",
    AncestralConfig,
    "draws from the posterior of each step (DDPM)",
    r#"{"type": "ancestral", "steps": 50}"#
);
