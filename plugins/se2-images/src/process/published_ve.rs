//! The process of the published code, for repeating its numbers (sism.md 2.7 and pitfall 9).
//!
//! Its kernel `angle_t = angle_0 + 45 t z` degrees (`t` in `[0, 1]`) is that of a variance-exploding
//! process, whose reversal needs `g^2 = 2 * 45^2 t`. Its sampler takes `beta(t) = (sqrt(3)/2) 180 t`
//! instead, for the noise and for the factor of the network's output alike:
//! `d angle = beta s / T + sqrt(beta / T) z` in degrees, with the network at `t = (T-1)/T, ..., 0`.
//! For a proper reversal take the process `ve`. With `"reversal": "exact"` only the sampler's noise is
//! put right; that is also what the conformance suite checks, since the published step fails it.

use isotropy_core::schedule::Family;
use isotropy_core::{
    Error, Kernel, KernelLaw, NoiseOperator, NoisingProcess, Perturbed, Prediction, ProcessConfig,
    Representation, Result, Scale, State, StateSpec, Step, Stream, Terms, TimeDomain, Xi,
    component, config, probe_symmetry,
};
use std::sync::Arc;
use tch::Tensor;

/// Largest standard deviation of the angle, degrees.
const SIGMA_MAX_DEGREES: f64 = 45.0;
/// Smallest standard deviation of the angle, degrees.
const SIGMA_FLOOR_DEGREES: f64 = 0.01;

/// The noise of the published code for rotated digits: kernel up to 45 degrees, sampled with a
/// heuristic beta(t) that does not belong to it. For repeating published numbers only.
#[config]
#[derive(Clone)]
pub struct PublishedVeConfig {
    /// Number of steps `T`; times are 0 .. T-1, and the network sees `t / T`.
    #[serde(default = "ten")]
    #[schemars(range(min = 2, max = 100_000))]
    pub steps: u32,
    /// What the sampler takes for the noise of the reverse process.
    #[serde(default)]
    pub reversal: Reversal,
}

/// What the sampler takes for the noise of the reverse process.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Reversal {
    /// `beta(t) = (sqrt(3)/2) 180 t` degrees, as published. It does not belong to the kernel.
    #[default]
    PublishedBeta,
    /// `g^2 = d sigma^2 / dt`.
    Exact,
}

fn ten() -> u32 {
    10
}

#[component(
    "digits-published-ve",
    "rotated digits as published: sigma up to 45 degrees, heuristic sampler noise",
    r#"{"type": "digits-published-ve", "steps": 100, "reversal": "exact"}"#
)]
impl ProcessConfig for PublishedVeConfig {
    fn build(&self, drive: Arc<dyn Representation>) -> Result<Box<dyn NoisingProcess>> {
        let fields = drive.drive().ok_or_else(|| {
            Error::config("/type", format!("{} has no fields to move along", drive.name()))
        })?;
        if fields.coordinates().is_none() || drive.group().name() != "SO(2)" {
            return Err(Error::config(
                "/type",
                format!("this process needs an angle to move; the drive is {}", drive.name()),
            ));
        }
        if self.steps < 2 {
            return Err(Error::config("/steps", "at least 2 steps are needed"));
        }
        let steps = f64::from(self.steps);
        let time = TimeDomain {
            start: 0.0,
            end: steps - 1.0,
            prior: steps - 1.0,
            discrete: true,
            label_scale: 1.0 / steps,
        };
        let law = Arc::new(PublishedScales { time, steps });
        Ok(Box::new(PublishedVe { drive, law, reversal: self.reversal }))
    }
}

/// The running process. Coordinates are in radians, as everywhere.
#[derive(Debug)]
pub struct PublishedVe {
    drive: Arc<dyn Representation>,
    law: Arc<PublishedScales>,
    reversal: Reversal,
}

/// `sigma` in degrees at relative time `u = t / T`.
fn sigma_degrees(u: f64) -> f64 {
    (SIGMA_MAX_DEGREES * u).max(SIGMA_FLOOR_DEGREES)
}

/// The sampler's `beta`, degrees, per unit of relative time.
fn beta_degrees(u: f64) -> f64 {
    0.5 * 3.0_f64.sqrt() * 180.0 * u
}

/// The law of the kernel: `angle_t = angle_0 + sigma z`.
#[derive(Debug)]
struct PublishedScales {
    time: TimeDomain,
    steps: f64,
}

impl PublishedScales {
    fn sigma(&self, t: f64) -> f64 {
        sigma_degrees(t / self.steps).to_radians()
    }
}

impl KernelLaw for PublishedScales {
    fn time(&self) -> &TimeDomain {
        &self.time
    }

    fn scales(&self, t: f64) -> Kernel {
        Kernel::new(vec![Scale::Same(1.0)], vec![Scale::Same(self.sigma(t))])
    }

    fn tensors(&self, t: &Tensor) -> Kernel {
        let degrees = (t * (SIGMA_MAX_DEGREES / self.steps)).clamp_min(SIGMA_FLOOR_DEGREES);
        Kernel::new(vec![Scale::Same(1.0)], vec![Scale::Each(degrees.deg2rad())])
    }

    fn family(&self) -> Option<Family> {
        Some(Family::VarianceExploding)
    }
}

impl NoisingProcess for PublishedVe {
    fn name(&self) -> String {
        "the published process of rotated digits".into()
    }

    fn drive(&self) -> &Arc<dyn Representation> {
        &self.drive
    }

    fn time(&self) -> &TimeDomain {
        &self.law.time
    }

    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let coordinates = self.fields().coordinates().expect("checked when it was built");
        let clean_tau = coordinates.unwrapped(clean);
        let noise = clean_tau.map(|tau| stream.normal(&tau.size(), (tau.kind(), tau.device())));
        let std =
            (t * (SIGMA_MAX_DEGREES / self.law.steps)).clamp_min(SIGMA_FLOOR_DEGREES).deg2rad();
        let std = std.unsqueeze(1);
        let tau = clean_tau.zip(&noise, |tau, z| tau + z * &std);
        Ok(Perturbed {
            noisy: coordinates.point(clean, &tau),
            kernel: Kernel::new(vec![Scale::Same(1.0)], vec![Scale::Each(std)]),
            noise: Some(noise),
            velocity: None,
            clean: Some(clean_tau),
            orientation: None,
            coordinates: Some(tau),
        })
    }

    /// The template turned by angles with a standard deviation of 45 degrees.
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let template = self.fields().lift(template.clone())?;
        let z = stream.normal(&[template.batch_size(), 1], template.options());
        Ok(self.fields().flow(&template, &Xi::from(z * SIGMA_MAX_DEGREES.to_radians())))
    }

    fn prior_log_prob(&self, _state: &State) -> Result<Option<Tensor>> {
        Ok(None)
    }

    fn kernel(&self) -> Option<Arc<dyn KernelLaw>> {
        Some(Arc::clone(&self.law) as Arc<dyn KernelLaw>)
    }

    /// The published step: with the preconditioned score `s` (which the network predicts), the drift
    /// `beta s` and the noise `sqrt(beta) z` are in degrees.
    fn terms(&self, _state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let score = self.law.scales(step.from).score(prediction, None)?;
        let std = self.law.sigma(step.from);
        // Time counts steps here, so rates are per step.
        let (noise, weight) = match self.reversal {
            Reversal::PublishedBeta => {
                let beta = beta_degrees(step.from / self.law.steps) / self.law.steps;
                (beta.sqrt().to_radians(), beta.to_radians() * std)
            }
            Reversal::Exact => {
                let added = std * std - self.law.sigma(step.to).powi(2);
                let rate = if step.length() == 0.0 { 0.0 } else { added / step.length() };
                (rate.sqrt(), rate)
            }
        };
        Ok(Terms {
            drift: score.zeros_like(),
            noise: vec![NoiseOperator::White(noise)],
            preconditioned: score.scale(weight),
            score: Some(score),
            h: None,
        })
    }

    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        symmetry.accepts(spec)?;
        let coordinates = self.fields().coordinates().expect("checked when it was built");
        probe_symmetry(self.fields(), symmetry, spec, |state| {
            Ok(coordinates.unwrapped(state).zeros_like())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotropy_images::action::image_rotation::ImageRotation;

    fn config(steps: u32) -> PublishedVeConfig {
        PublishedVeConfig { steps, reversal: Reversal::PublishedBeta }
    }

    #[test]
    fn the_network_is_asked_at_the_published_times() {
        let process = config(10).build(Arc::new(ImageRotation)).unwrap();
        let times: Vec<f64> =
            process.time().grid(10).unwrap().iter().map(|step| step.from).collect();
        assert_eq!(times, [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]);
    }
}
