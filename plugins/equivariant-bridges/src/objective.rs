//! The training objective of bridges.

use crate::model::{BridgeScales, DataMoments};
use isotropy_core::{
    Error, Loss, LossContext, NoisingProcess, Objective, ObjectiveConfig, Perturbed, Prediction,
    PredictionKind, Result, ScoreModel, State, Stream, TimeDomain, Xi, component, config,
};
use tch::{Device, Kind, Tensor};

/// Regression of the clean point: `w(t) |D - x_0|^2`, averaged over the coordinates of a point and
/// over the batch (spdm.md 1.5). Predictions of another kind count by the clean point that they
/// imply. Coordinates of padded points do not count.
#[config(default)]
#[derive(Clone, Default)]
pub struct BridgeDenoisingConfig {
    /// How times are drawn.
    pub times: BridgeTimes,
    /// How errors at different times count.
    pub weighting: BridgeWeighting,
    /// How errors are measured.
    pub error: BridgeError,
}

/// How the times of a batch are drawn: one in each of as many slices of equal probability as there
/// are points.
#[config]
#[derive(Clone, Copy, PartialEq, Default)]
pub enum BridgeTimes {
    /// Uniform on the time axis itself, as published ("real-uniform"). For `ve-bridge` with its end at
    /// 80 half of the times lie above 40: what happens near the data counts by its weight alone.
    #[default]
    Uniform,
    /// `ln t ~ N(mean, std^2)`, clamped to the time axis. More times near the data; not for whole
    /// times.
    LogNormal(LogNormalTimes),
}

/// Parameters of the times `log-normal`.
#[config(default)]
#[derive(Clone, Copy, PartialEq)]
pub struct LogNormalTimes {
    /// Mean of `ln t`.
    pub mean: f64,
    /// Standard deviation of `ln t`; positive.
    #[schemars(range(min = 1e-9, max = 100.0))]
    pub std: f64,
}

impl Default for LogNormalTimes {
    fn default() -> Self {
        Self { mean: -1.2, std: 1.2 }
    }
}

/// How errors at different times count.
#[config]
#[derive(Clone, Copy, PartialEq)]
pub enum BridgeWeighting {
    /// `1 / c_out^2`: the raw error of a network under `bridge-preconditioned` with the same moments
    /// counts alike at every time.
    Bridge(DataMoments),
    /// 1: for the baselines without scaling.
    Unit,
}

impl Default for BridgeWeighting {
    fn default() -> Self {
        Self::Bridge(DataMoments::default())
    }
}

/// How an error is measured.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum BridgeError {
    /// Its square.
    #[default]
    Squared,
    /// Its absolute value. The minimiser is then the conditional median, not the mean.
    Absolute,
}

#[component(
    "bridge-denoising",
    "regression of the clean end of a bridge (DDBM)",
    r#"{"type": "bridge-denoising", "times": "uniform", "weighting": {"bridge": {"sigma_data": 0.5}}}"#
)]
impl ObjectiveConfig for BridgeDenoisingConfig {
    fn build(&self) -> Result<Box<dyn Objective>> {
        if let BridgeWeighting::Bridge(moments) = self.weighting {
            moments.checked().map_err(|error| error.under("/weighting/bridge"))?;
        }
        if let BridgeTimes::LogNormal(law) = self.times
            && !(law.std.is_finite() && law.std > 0.0 && law.mean.is_finite())
        {
            return Err(Error::config("/times/log-normal/std", "it must be a positive number"));
        }
        Ok(Box::new(BridgeDenoising { config: self.clone() }))
    }
}

/// The objective.
#[derive(Debug)]
pub struct BridgeDenoising {
    config: BridgeDenoisingConfig,
}

/// Errors of each point of a batch, `[B]`, averaged over its coordinates.
#[derive(Debug)]
pub struct PointErrors {
    /// As they are.
    pub plain: Tensor,
    /// With the weight of their time.
    pub weighted: Tensor,
}

impl BridgeDenoising {
    /// The objective that a configuration describes, of its own type.
    pub fn new(config: &BridgeDenoisingConfig) -> Self {
        Self { config: config.clone() }
    }

    fn times(
        &self,
        time: &TimeDomain,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Tensor {
        let law = match self.config.times {
            BridgeTimes::Uniform => return time.sample(batch, true, options, stream),
            BridgeTimes::LogNormal(law) => law,
        };
        let u = (stream.uniform(&[batch], options) + Tensor::arange(batch, options)) / batch as f64;
        // A float may round to 0 or 1, where the quantile is infinite.
        let z = (u.clamp(1e-6, 1.0 - 1e-6) * 2.0 - 1.0).erfinv() * std::f64::consts::SQRT_2;
        (z * law.std + law.mean).exp().clamp(time.start, time.end)
    }

    /// The errors of a prediction.
    ///
    /// # Errors
    /// When the prediction stands for no clean point.
    pub fn errors(
        &self,
        process: &dyn NoisingProcess,
        perturbed: &Perturbed,
        prediction: &Prediction,
    ) -> Result<PointErrors> {
        let missing = || Error::Unsupported("this objective is for bridges on translations".into());
        let (clean, tau) = match (&perturbed.clean, &perturbed.coordinates) {
            (Some(clean), Some(tau)) => (clean, tau),
            _ => return Err(missing()),
        };
        let centred: Xi;
        let found = if prediction.kind == PredictionKind::Clean {
            &prediction.heads[0]
        } else {
            let end = process.known_end(&perturbed.noisy)?;
            let from_end = perturbed.kernel.centred(tau, end.as_ref());
            centred = perturbed.kernel.clean(prediction, &from_end)?;
            &centred
        };
        let difference = found.single() - clean.single();
        let each = match self.config.error {
            BridgeError::Squared => difference.square(),
            BridgeError::Absolute => difference.abs(),
        };
        let plain = mean_of_points(&each, perturbed.noisy.mask());
        let weighted = match &self.config.weighting {
            BridgeWeighting::Unit => plain.shallow_clone(),
            BridgeWeighting::Bridge(moments) => {
                let weight = BridgeScales::new(&perturbed.kernel, moments)?.weight().flatten(0, -1);
                &plain
                    * match self.config.error {
                        BridgeError::Squared => weight,
                        BridgeError::Absolute => weight.sqrt(),
                    }
            }
        };
        Ok(PointErrors { plain, weighted })
    }
}

/// The mean over the coordinates of each point, those that a mask hides left out.
fn mean_of_points(each: &Tensor, mask: Option<&Tensor>) -> Tensor {
    let flat = |a: &Tensor| a.flatten(1, -1);
    let Some(mask) = mask else { return flat(each).mean_dim(1, false, None) };
    let mut shape = mask.size();
    shape.resize(each.dim().max(shape.len()), 1);
    let mask = mask.to_kind(each.kind()).view(shape.as_slice()).expand_as(each);
    let sum = |a: Tensor| flat(&a).sum_dim_intlist(1, false, None);
    sum(each * &mask) / sum(mask).clamp_min(1.0)
}

impl Objective for BridgeDenoising {
    fn accepts(&self, process: Option<&dyn NoisingProcess>, model: &dyn ScoreModel) -> Result<()> {
        let process = process.ok_or_else(|| {
            Error::config("", "this objective needs a `process`, and the experiment has none")
        })?;
        let time = process.time();
        let bridge = process.kernel().is_some_and(|kernel| {
            let probe = kernel.tensors(&Tensor::full([1, 1], time.start, tch::kind::DOUBLE_CPU));
            BridgeScales::new(&probe, &DataMoments::default()).is_ok()
        });
        if !bridge {
            let message = format!("this objective is for bridges; {} is none", process.name());
            return Err(Error::config("", message).with_help("use \"type\": \"denoising\""));
        }
        if time.discrete && self.config.times != BridgeTimes::Uniform {
            let message = format!("{} has whole times, which are drawn uniformly", process.name());
            return Err(Error::config("/times", message).with_help("use \"times\": \"uniform\""));
        }
        process.accepts_prediction(model.predicts())
    }

    fn loss(&self, model: &dyn ScoreModel, batch: &State, context: &LossContext) -> Result<Loss> {
        let process = context.process.ok_or_else(|| Error::Other("no process".into()))?;
        let name = if context.train { "bridge" } else { "bridge/validation" };
        let mut stream = context.streams.stream(name, context.step);
        let t = self.times(process.time(), batch.batch_size(), batch.options(), &mut stream);
        let perturbed = process.perturb(batch, &t, &mut stream)?;
        let prediction = model.predict(&perturbed.noisy, &t, context.train)?;
        let errors = self.errors(process, &perturbed, &prediction)?;
        let kind = errors.plain.kind();
        let parts = if context.train {
            Vec::new()
        } else {
            vec![("clean_error".to_string(), errors.plain.detach().mean(kind))]
        };
        Ok(Loss { total: errors.weighted.mean(kind), parts })
    }
}
