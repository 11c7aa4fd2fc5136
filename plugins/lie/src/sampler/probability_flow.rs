//! The probability-flow ODE by the flow of the drive.

use super::{accept, checked_steps, grid, predict, reverse_rate};
use isotropy_core::{
    Noise, NoisingProcess, Observer, Purpose, Result, Sampled, Sampler, SamplerConfig, ScoreModel,
    State, Step, Xi,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rule that integrates the ODE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FlowMethod {
    /// One evaluation a step, first order.
    Euler,
    /// Two evaluations a step, second order. A last step to a time that the model was not trained
    /// on is an Euler step.
    #[default]
    Heun,
}

/// `x <- flow(x, (g^2 S / 2 - f) dt)`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbabilityFlowConfig {
    /// Number of steps; `null` for all steps of a discrete process, 100 in continuous time.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: Option<u32>,
    /// The rule.
    #[serde(default)]
    pub method: FlowMethod,
}

#[derive(Debug)]
struct ProbabilityFlow(ProbabilityFlowConfig);

#[typetag::serde(name = "probability-flow")]
impl SamplerConfig for ProbabilityFlowConfig {
    fn build(&self) -> Result<Box<dyn Sampler>> {
        checked_steps(self.steps)?;
        Ok(Box::new(ProbabilityFlow(self.clone())))
    }
}

/// The rate of the flow at the start of a step, averaged over the step.
fn rate(
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    state: &State,
    step: Step,
) -> Result<Xi> {
    let prediction = predict(model, state, step)?;
    Ok(reverse_rate(&process.terms(state, step, &prediction)?, 0.5))
}

impl Sampler for ProbabilityFlow {
    fn name(&self) -> String {
        format!("probability flow ({:?})", self.0.method)
    }

    fn purpose(&self) -> Purpose {
        Purpose::ProbabilityFlow
    }

    fn run(
        &self,
        process: &dyn NoisingProcess,
        model: &dyn ScoreModel,
        start: State,
        _noise: &mut dyn Noise,
        observer: &mut Observer,
    ) -> Result<Sampled> {
        accept(model, self.purpose())?;
        let steps = grid(process, self.0.steps)?;
        let drive = process.fields();
        let (mut state, mut evaluations) = (start, 0);
        for (index, &step) in steps.iter().enumerate() {
            state = tch::no_grad(|| -> Result<State> {
                let first = rate(process, model, &state, step)?;
                evaluations += 1;
                let euler = first.scale(step.length());
                let ahead = drive.flow(&state, &euler);
                if self.0.method == FlowMethod::Euler || step.to < process.time().start {
                    return Ok(ahead);
                }
                // The same step seen from its other end.
                let back = Step { from: step.to, to: step.from };
                let second = rate(process, model, &ahead, back)?;
                evaluations += 1;
                Ok(drive.flow(&state, &first.add(&second).scale(0.5 * step.length())))
            })?;
            observer(index, steps.len(), &state);
        }
        Ok(Sampled { state, evaluations })
    }
}

isotropy_core::register!(
    "sampler",
    "probability-flow",
    ProbabilityFlowConfig,
    "probability-flow ODE by the flow of the drive, Euler or Heun",
    r#"{"type": "probability-flow", "steps": 50, "method": "heun"}"#
);
