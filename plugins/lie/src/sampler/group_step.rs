//! The reverse SDE by finite group elements (Lie-Euler).

use super::{LastStep, accept, checked_steps, grid, predict, reverse_rate, scaled};
use isotropy_core::{
    Noise, NoisingProcess, Observer, Purpose, Result, Sampled, Sampler, SamplerConfig, ScoreModel,
    State,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `x <- flow(x, (g^2 S - f) dt + g sqrt(dt) z)`: Euler in the coefficients, exact in the group, so
/// a point never leaves its space and no Ito term is needed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupStepConfig {
    /// Number of steps; `null` for all steps of a discrete process, 100 in continuous time.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: Option<u32>,
    /// What happens on the last step.
    #[serde(default)]
    pub last_step: LastStep,
}

#[derive(Debug)]
struct GroupStep(GroupStepConfig);

#[typetag::serde(name = "group-step")]
impl SamplerConfig for GroupStepConfig {
    fn build(&self) -> Result<Box<dyn Sampler>> {
        checked_steps(self.steps)?;
        Ok(Box::new(GroupStep(self.clone())))
    }
}

impl Sampler for GroupStep {
    fn name(&self) -> String {
        "group step (Lie-Euler)".into()
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
        let drive = process.fields();
        let mut state = start;
        for (index, &step) in steps.iter().enumerate() {
            state = tch::no_grad(|| -> Result<State> {
                let prediction = predict(model, &state, step)?;
                let last = index + 1 == steps.len();
                if last && self.0.last_step == LastStep::Clean {
                    return process.clean(&state, step.from, &prediction);
                }
                let terms = process.terms(&state, step, &prediction)?;
                let mut xi = scaled(reverse_rate(&terms, 1.0), step.length());
                if !last || self.0.last_step == LastStep::Noise {
                    let z = noise.draw(index as u64, &state, &terms, drive)?;
                    xi = xi.add(&scaled(z, step.length().sqrt()));
                }
                Ok(drive.flow(&state, &xi))
            })?;
            observer(index, steps.len(), &state);
        }
        Ok(Sampled { state, evaluations: steps.len() })
    }
}

isotropy_core::register!(
    "sampler",
    "group-step",
    GroupStepConfig,
    "reverse SDE by finite group elements (Lie-Euler)",
    r#"{"type": "group-step", "steps": 50}"#
);
