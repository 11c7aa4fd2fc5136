//! The reverse SDE by Euler-Maruyama in `x` itself, as the released code integrates it.

use super::{LastStep, accept, checked_steps, grid, predict, reverse_rate, scaled};
use isotropy_core::{
    Drive, Noise, NoisingProcess, Observer, Purpose, Result, Sampled, Sampler, SamplerConfig,
    ScoreModel, State, Xi,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Whether a divergence term is added, as some published samplers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DivergenceTerm {
    /// None: right for a model of the score of the coordinates' density, which holds it already.
    #[default]
    None,
    /// As the released scripts: half a unit along the first field (the radial one) instead of its
    /// divergence, and the others clipped to [-100, 100]. Counts a part of the term twice.
    HalfBeta,
    #[serde(rename = "algorithm-2")]
    /// As Algorithm 2 of the paper: the whole divergence of every field. Counts the term twice.
    Algorithm2,
}

/// `x <- x + Pi(x)[(g^2 S - f) dt + g sqrt(dt) z] + Omega dt / 2`, everything at the old point, with
/// the Ito term `Omega`. A finite step leaves curved orbits: with large steps points overshoot, and
/// those that leave the domain of the coordinates become NaN. They stay in the batch, and metrics
/// count them. Flow coordinates are read off `x` again at each step; a lift is dropped.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EulerMaruyamaXConfig {
    /// Number of steps; `null` for all steps of a discrete process, 100 in continuous time.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: Option<u32>,
    /// What happens on the last step. The released code adds noise there too.
    #[serde(default = "last_step")]
    pub last_step: LastStep,
    /// The divergence term: `none` is right, the others repeat published numbers.
    #[serde(default)]
    pub divergence: DivergenceTerm,
}

fn last_step() -> LastStep {
    LastStep::Noise
}

#[derive(Debug)]
struct EulerMaruyamaX(EulerMaruyamaXConfig);

#[typetag::serde(name = "euler-maruyama-x")]
impl SamplerConfig for EulerMaruyamaXConfig {
    fn build(&self) -> Result<Box<dyn Sampler>> {
        checked_steps(self.steps)?;
        Ok(Box::new(EulerMaruyamaX(self.clone())))
    }
}

impl EulerMaruyamaX {
    /// The divergence of each field, as the configured variant has it.
    fn divergence(&self, drive: &dyn Drive, state: &State) -> Option<Xi> {
        match self.0.divergence {
            DivergenceTerm::None => None,
            DivergenceTerm::Algorithm2 => Some(drive.divergences(state)),
            DivergenceTerm::HalfBeta => Some(drive.divergences(state).map(|divergence| {
                let last = divergence.dim() as i64 - 1;
                let rest = divergence.narrow(last, 1, divergence.size()[last as usize] - 1);
                let half = divergence.narrow(last, 0, 1).full_like(0.5);
                Tensor::cat(&[half, rest.clamp(-100.0, 100.0)], last)
            })),
        }
    }
}

impl Sampler for EulerMaruyamaX {
    fn name(&self) -> String {
        "Euler-Maruyama in x".into()
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
        let mut state = without_lift(start);
        for (index, &step) in steps.iter().enumerate() {
            state = tch::no_grad(|| -> Result<State> {
                let prediction = predict(model, &state, step)?;
                let last = index + 1 == steps.len();
                if last && self.0.last_step == LastStep::Clean {
                    return process.clean(&state, step.from, &prediction).map(without_lift);
                }
                let terms = process.terms(&state, step, &prediction)?;
                let (dt, variance) = (step.length(), variances(&terms.noise));
                let mut rate = reverse_rate(&terms, 1.0);
                if let Some(divergence) = self.divergence(drive, &state) {
                    rate = Xi(rate
                        .0
                        .iter()
                        .zip(&divergence.0)
                        .zip(&variance)
                        .map(|((rate, divergence), variance)| rate + divergence * *variance)
                        .collect());
                }
                let mut xi = scaled(rate, dt);
                if !last || self.0.last_step == LastStep::Noise {
                    let z = noise.draw(index as u64, &state, &terms, drive)?;
                    xi = xi.add(&scaled(z, dt.sqrt()));
                }
                let ito = drive.ito(&state, &variance) * (0.5 * dt);
                Ok(state.with_value(state.x() + drive.push(&state, &xi) + ito))
            })?;
            observer(index, steps.len(), &state);
        }
        Ok(Sampled { state, evaluations: steps.len() })
    }
}

fn variances(noise: &[isotropy_core::NoiseOperator]) -> Vec<f64> {
    noise.iter().map(|noise| noise.scale().powi(2)).collect()
}

/// Coordinates are read off the value again: the step knows nothing of branches.
fn without_lift(mut state: State) -> State {
    state.lift.clear();
    state
}

isotropy_core::register!(
    "sampler",
    "euler-maruyama-x",
    EulerMaruyamaXConfig,
    "reverse SDE by Euler-Maruyama in x, with the published divergence variants",
    r#"{"type": "euler-maruyama-x", "divergence": "none"}"#
);
