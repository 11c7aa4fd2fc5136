//! Sampling from the posterior of the kernel: DDPM, and with less noise DDIM ([`super::DdimConfig`]).

use super::LastStep;
use super::rule::{Rule, Stepper, Walk};
use crate::stepper_config;
use isotropy_core::{
    ClosedForm, Error, Kernel, KernelLaw, NoisingProcess, Prediction, Purpose, Result, Sampler,
    Scale, ScoreModel, State, Step, Xi,
};
use std::sync::Arc;

stepper_config! {
    /// `x_s ~ p(x_s | x_t, x_0)` at the model's estimate of `x_0`: DDPM's sampler, for every
    /// process that has a closed-form posterior. Each step is exact for data that are one point.
    /// `eta` below 1 takes noise out of the step as DDIM does (Song, Meng, Ermon 2021, eq. 12 and
    /// 16).
    AncestralConfig {
        /// Noise of a step as a fraction of the posterior's: 1 is DDPM, 0 is DDIM; in [0, 1].
        #[schemars(range(min = 0.0, max = 1.0))]
        eta: f64 = 1.0,
        /// What happens on the last step.
        last_step: LastStep = LastStep::Clean,
    }
    500, Auto, "ancestral",
    "draws from the posterior of each step (DDPM)",
    r#"{"type": "ancestral", "steps": 50}"#
}

impl AncestralConfig {
    fn sampler(&self) -> Result<Box<dyn Sampler>> {
        let rule = Ancestral::new(self.eta, self.last_step)?;
        Ok(Box::new(Stepper { spacing: self.spacing()?, rule }))
    }
}

/// The posterior with a part of its noise replaced by the model's estimate of the noise.
#[derive(Debug)]
pub(super) struct Ancestral {
    eta: f64,
    last_step: LastStep,
}

impl Ancestral {
    pub(super) fn new(eta: f64, last_step: LastStep) -> Result<Self> {
        if (0.0..=1.0).contains(&eta) {
            return Ok(Self { eta, last_step });
        }
        Err(Error::config("/eta", format!("eta is {eta}; it must lie in [0, 1]")))
    }

    /// The noise to hand to the posterior. Its mean is `mean_s tau_0 + sqrt(std_s^2 - c^2) eps`
    /// with the estimate `eps` of the noise; what DDIM adds to the second root is put where the
    /// noise goes.
    fn with_estimate(
        &self,
        walk: &Walk,
        state: &State,
        prediction: &Prediction,
        fresh: Option<Xi>,
    ) -> Result<Xi> {
        let Step { from, to } = walk.step;
        let law = gaussian(walk.process)?;
        let at = |t| scales(&law.at(state, t)?, walk.process);
        let (noisy, less) = (at(from)?, at(to)?);
        let terms = walk.process.terms(state, walk.step, prediction)?;
        let mut mixed = Vec::with_capacity(noisy.len());
        for (k, preconditioned) in terms.preconditioned.0.iter().enumerate() {
            let ((mean_t, std_t), (mean_s, std_s)) = (noisy[k], less[k]);
            let alpha = mean_t / mean_s;
            let added = (std_t * std_t - (alpha * std_s).powi(2)).max(0.0);
            let c = added.sqrt() * std_s / std_t;
            if c <= 0.0 {
                mixed.push(preconditioned.zeros_like());
                continue;
            }
            let root = |c: f64| (std_s * std_s - c * c).max(0.0).sqrt();
            let share = (root(self.eta * c) - root(c)) / c;
            // The coloured noise estimate is -std K score.
            let estimate = preconditioned * (-share * std_t / terms.noise[k].scale().powi(2));
            mixed.push(match &fresh {
                Some(z) => estimate + &z.0[k] * self.eta,
                None => estimate,
            });
        }
        Ok(Xi(mixed))
    }
}

fn no_kernel(process: &dyn NoisingProcess) -> Error {
    Error::Unsupported(format!("DDIM needs a Gaussian kernel; {} has none", process.name()))
}

fn gaussian(process: &dyn NoisingProcess) -> Result<Arc<dyn KernelLaw>> {
    process.gaussian_kernel().ok_or_else(|| no_kernel(process))
}

/// `(mean, std)` of each factor of a kernel.
fn scales(kernel: &Kernel, process: &dyn NoisingProcess) -> Result<Vec<(f64, f64)>> {
    let both = kernel.mean.iter().zip(&kernel.std);
    both.map(|pair| match pair {
        (Scale::Same(mean), Scale::Same(std)) => Ok((*mean, *std)),
        _ => Err(no_kernel(process)),
    })
    .collect()
}

impl Rule for Ancestral {
    fn name(&self) -> String {
        if self.eta == 1.0 { "ancestral".into() } else { format!("DDIM (eta {})", self.eta) }
    }

    fn purpose(&self) -> Purpose {
        Purpose::Posterior
    }

    fn accepts(&self, process: &dyn NoisingProcess, _: &dyn ScoreModel) -> Result<()> {
        ClosedForm::Posterior.of(process).map_err(|error| {
            Error::config("", error.to_string()).with_help("use `group-step` or `heun-sde`")
        })?;
        self.last_step.accepts(process)?;
        if self.eta < 1.0 {
            scales(&gaussian(process)?.scales(process.time().prior), process)?;
        }
        Ok(())
    }

    fn step(&self, walk: &mut Walk, state: &State) -> Result<State> {
        let prediction = walk.predict(state, walk.step.from)?;
        if walk.last && self.last_step == LastStep::Clean {
            return walk.process.clean(state, walk.step.from, &prediction);
        }
        let like = &prediction.heads[0];
        let quiet = self.eta == 0.0 || walk.last && self.last_step == LastStep::NoNoise;
        let fresh = if quiet { None } else { Some(walk.unit(state, like)?) };
        let z = if self.eta < 1.0 {
            self.with_estimate(walk, state, &prediction, fresh)?
        } else {
            fresh.unwrap_or_else(|| like.zeros_like())
        };
        walk.process.posterior(state, walk.step, &prediction, &z)
    }
}
