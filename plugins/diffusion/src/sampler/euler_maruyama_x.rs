//! The reverse SDE by Euler-Maruyama in `x` itself, as the released code integrates it.

use super::LastStep;
use super::rule::{Rule, Stepper, Walk, scaled};
use crate::stepper_config;
use isotropy_core::representation::as_type;
use isotropy_core::sampler::reverse_rate;
use isotropy_core::{
    Aliasing, Drive, Error, NoiseOperator, NoisingProcess, Purpose, Result, Sampler, ScoreModel,
    State, Xi, config,
};
use isotropy_groups::representation::Translation;
use tch::Tensor;

/// Whether a divergence term is added, as some published samplers do.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
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

stepper_config! {
    /// `x <- x + Pi(x)[(g^2 S - f) dt + g sqrt(dt) z] + Omega dt / 2`, everything at the old point,
    /// with the Ito term `Omega`. A finite step leaves curved orbits: with large steps points
    /// overshoot, and those that leave the domain of the coordinates become NaN. They stay in the
    /// batch, and metrics count them. Flow coordinates are read off `x` again at each step; a lift
    /// is dropped.
    EulerMaruyamaXConfig {
        /// What happens on the last step. The released code adds noise there too.
        last_step: LastStep = LastStep::Noise,
        /// The divergence term: `none` is right, the others repeat published numbers.
        divergence: DivergenceTerm = DivergenceTerm::None,
    }
    500, Auto, "euler-maruyama-x",
    "reverse SDE by Euler-Maruyama in x, with the published divergence variants",
    r#"{"type": "euler-maruyama-x", "divergence": "none"}"#
}

impl EulerMaruyamaXConfig {
    fn sampler(&self) -> Result<Box<dyn Sampler>> {
        let rule = EulerMaruyamaX { last_step: self.last_step, divergence: self.divergence };
        Ok(Box::new(Stepper { spacing: self.spacing()?, rule }))
    }
}

#[derive(Debug)]
struct EulerMaruyamaX {
    last_step: LastStep,
    divergence: DivergenceTerm,
}

impl EulerMaruyamaX {
    /// The divergence of each field, as the configured variant has it.
    fn divergence(&self, drive: &dyn Drive, state: &State) -> Option<Xi> {
        match self.divergence {
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

impl Rule for EulerMaruyamaX {
    fn name(&self) -> String {
        "Euler-Maruyama in x".into()
    }

    fn purpose(&self) -> Purpose {
        Purpose::ReverseSde
    }

    fn accepts(&self, process: &dyn NoisingProcess, _: &dyn ScoreModel) -> Result<()> {
        let coordinates = process.fields().coordinates();
        if coordinates.is_some_and(|c| c.aliasing() == Aliasing::Carried) {
            return Err(Error::Unsupported(format!(
                "steps in x lose the unwrapped coordinates that points of {} carry",
                process.drive().name()
            )));
        }
        if coloured(process) && as_type::<Translation>(process.drive().as_ref()).is_none() {
            return Err(refused_colour(process.fields()));
        }
        self.last_step.accepts(process)
    }

    fn begin(&self, start: State) -> State {
        without_lift(start)
    }

    fn step(&self, walk: &mut Walk, state: &State) -> Result<State> {
        if walk.last && self.last_step == LastStep::Clean {
            return walk.clean(state).map(without_lift);
        }
        let drive = walk.drive;
        let terms = walk.terms(state, walk.step)?;
        let (dt, variance) = (walk.step.length(), variances(&terms.noise));
        let mut rate = reverse_rate(&terms, 1.0);
        if let Some(divergence) = self.divergence(drive, state) {
            let factors = rate.0.iter().zip(&divergence.0).zip(&variance);
            rate = Xi(factors.map(|((rate, div), variance)| rate + div * *variance).collect());
        }
        let mut xi = scaled(rate, dt);
        if !walk.last || self.last_step == LastStep::Noise {
            xi = xi.add(&scaled(walk.draw(state, &terms)?, dt.sqrt()));
        }
        let ito = drive.ito(state, &variance) * (0.5 * dt);
        refuse_colour(drive, state, &terms.noise, &ito)?;
        Ok(state.with_value(state.x() + drive.push(state, &xi) + ito))
    }
}

/// The Ito term is known for noise of one scale in each factor. Colour does no harm where the
/// fields are constant (translations): they have neither divergence nor Ito term.
fn refuse_colour(
    drive: &dyn Drive,
    state: &State,
    noise: &[NoiseOperator],
    ito: &Tensor,
) -> Result<()> {
    if noise.iter().all(|noise| matches!(noise, NoiseOperator::White(_))) {
        return Ok(());
    }
    let size = |a: &Tensor| a.abs().max().double_value(&[]);
    let flat = drive.divergences(state).0.iter().all(|a| size(a) == 0.0);
    if flat && size(ito) == 0.0 {
        return Ok(());
    }
    Err(refused_colour(drive))
}

fn coloured(process: &dyn NoisingProcess) -> bool {
    process.kernel().is_some_and(|law| {
        law.scales(process.time().end).colour.iter().any(Option::is_some) || law.coloured_by_state()
    })
}

fn refused_colour(drive: &dyn Drive) -> Error {
    Error::Unsupported(format!(
        "Euler-Maruyama in x needs noise of one scale along the fields of {}; use group-step",
        drive.frame()
    ))
}

fn variances(noise: &[NoiseOperator]) -> Vec<f64> {
    noise.iter().map(|noise| noise.scale().powi(2)).collect()
}

/// Coordinates are read off the value again: the step knows nothing of branches.
fn without_lift(mut state: State) -> State {
    state.lift.clear();
    state
}
