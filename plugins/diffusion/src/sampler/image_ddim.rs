//! DDIM as the image experiments take it (spdm.md 1.4).

use super::Grid;
use super::rule::{Rule, Spacing, Stepper, Walk};
use crate::estimate::coordinates;
use isotropy_core::{
    Error, Kernel, NoisingProcess, PredictionKind, Purpose, Result, Sampler, SamplerConfig, Scale,
    ScoreModel, State, Step, Xi, component, config,
};

/// DDIM without noise as image experiments take it: from the prior down to time 0 itself, one evaluation a
/// step, the estimate of the clean image cut off at the range of the data if wanted.
#[config]
#[derive(Clone)]
pub struct ImageDdimConfig {
    /// Number of steps, one evaluation each.
    #[serde(default = "forty")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: u32,
    /// Where the steps lead.
    #[serde(default)]
    pub times: PairsOfTimes,
    /// Range at which the estimate of the clean image is cut off, `[low, high]`; null for none.
    #[serde(default)]
    pub clamp: Option<[f64; 2]>,
}

/// Where the steps from `t_k = 1 - k / steps` (in units of the last time) lead.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum PairsOfTimes {
    /// To the next time, `t_(k+1)`.
    #[default]
    Successive,
    /// One further, to `t_(k+2)`, as in the released code: the next step then takes the image for noisier
    /// than it is, which shrinks its noise once more each time, and the last two steps both end at 0. The
    /// samples vary less than the data, whatever the number of steps.
    PublishedOverlapping,
}

fn forty() -> u32 {
    40
}

#[component(
    "image-ddim",
    "DDIM down to time 0 with clamped estimates, as image experiments take it",
    r#"{"type": "image-ddim", "steps": 200}"#
)]
impl SamplerConfig for ImageDdimConfig {
    fn build(&self) -> Result<Box<dyn Sampler>> {
        // Only their number is used: where the steps lead is this sampler's own.
        let spacing = Spacing::new(Some(self.steps), Grid::Uniform, 1.0)?;
        if let Some([low, high]) = self.clamp {
            // A NaN is in no proper range.
            let proper = low < high;
            if !proper {
                return Err(Error::config("/clamp", format!("the range [{low}, {high}] is empty")));
            }
        }
        Ok(Box::new(Stepper { spacing, rule: self.clone() }))
    }
}

/// The steps from `end` down to 0.
pub fn pairs(end: f64, steps: usize, times: PairsOfTimes) -> Vec<Step> {
    let at = |k: usize| end * (1.0 - k as f64 / steps as f64).max(0.0);
    let far = if times == PairsOfTimes::Successive { 1 } else { 2 };
    (0..steps).map(|k| Step { from: at(k), to: at(k + far) }).collect()
}

impl Rule for ImageDdimConfig {
    fn name(&self) -> String {
        match self.times {
            PairsOfTimes::Successive => "DDIM".into(),
            PairsOfTimes::PublishedOverlapping => "DDIM with overlapping steps".into(),
        }
    }

    fn purpose(&self) -> Purpose {
        Purpose::ProbabilityFlow
    }

    fn accepts(&self, process: &dyn NoisingProcess, model: &dyn ScoreModel) -> Result<()> {
        if model.predicts() == PredictionKind::Field {
            let message = "the model predicts field, which holds no clean image; predict `clean`";
            return Err(Error::Unsupported(message.into()));
        }
        let time = process.time();
        if time.discrete {
            let message = format!("{} needs continuous time (`steps: null`)", self.name());
            return Err(Error::Unsupported(message));
        }
        coordinates(process)?;
        gaussian(process, time.prior).map(|_| ())
    }

    fn steps(&self, process: &dyn NoisingProcess, _: &Spacing) -> Result<Vec<Step>> {
        Ok(pairs(process.time().prior, self.steps as usize, self.times))
    }

    fn step(&self, walk: &mut Walk, state: &State) -> Result<State> {
        let Step { from, to } = walk.step;
        let coordinates = coordinates(walk.process)?;
        let prediction = walk.predict(state, from)?;
        let tau = coordinates.unwrapped(state);
        let (here, there) = (gaussian(walk.process, from)?, gaussian(walk.process, to)?);
        let mut clean = here.clean(&prediction, &tau)?;
        if let Some([low, high]) = self.clamp {
            clean = clean.map(|a| a.clamp(low, high));
        }
        Ok(coordinates.point(state, &moved(&tau, &clean, &here, &there)?))
    }
}

/// The kernel at a time, of one scale in each factor and without a known end.
fn gaussian(process: &dyn NoisingProcess, t: f64) -> Result<Kernel> {
    let law = process.gaussian_kernel().filter(|law| !law.coloured_by_state());
    let kernel = law.map(|law| law.scales(t)).filter(|kernel| kernel.shift.is_none());
    kernel.ok_or_else(|| {
        let message = format!("DDIM needs a Gaussian kernel; {} has none", process.name());
        Error::Unsupported(message)
    })
}

/// `mean_s tau_0 + std_s e` with the clean coordinates `tau_0` and the (coloured) noise
/// `e = (tau - mean_t tau_0) / std_t` that go with it.
fn moved(tau: &Xi, clean: &Xi, here: &Kernel, there: &Kernel) -> Result<Xi> {
    let factors = tau.0.iter().zip(&clean.0).enumerate().map(|(k, (tau, clean))| {
        let of = |kernel: &Kernel| match (&kernel.mean[k], &kernel.std[k]) {
            (Scale::Same(mean), Scale::Same(std)) => Ok((*mean, *std)),
            _ => Err(Error::Other("the kernel at one time has one scale".into())),
        };
        let ((mean_t, std_t), (mean_s, std_s)) = (of(here)?, of(there)?);
        let noise = (tau - clean * mean_t) / std_t;
        Ok(clean * mean_s + noise * std_s)
    });
    Ok(Xi(factors.collect::<Result<_>>()?))
}
