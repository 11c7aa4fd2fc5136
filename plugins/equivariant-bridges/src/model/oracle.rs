//! The exact denoiser of a bridge between Gaussian points (spdm.md 5).

use isotropy_core::{
    Constant, Error, KernelLaw, ModelConfig, ModelContext, Prediction, PredictionKind,
    Representation, Result, Scale, ScoreModel, State, Xi, broadcast, component, config,
};
use std::sync::Arc;
use tch::Tensor;

use crate::process::END;

/// The clean point given the other one is `x_0 | x_T ~ N(mean + slope x_T, std^2)`, independently in
/// every coordinate. With `m = mean + slope x_T` and `v = std^2` the posterior mean is
/// `D = m + v b / (b^2 v + c) (x_t - a x_T - b m)`.
#[config]
#[derive(Clone)]
pub struct GaussianBridgeConfig {
    /// Mean where the other end is 0, in the unit of the data; one number for all coordinates or
    /// one for each, in the order of memory.
    #[serde(default = "zero")]
    #[schemars(length(min = 1))]
    pub mean: Vec<f64>,
    /// How much the mean grows with the other end; no unit.
    #[serde(default)]
    pub slope: f64,
    /// Standard deviation, in the unit of the data; non-negative; one number for all coordinates or
    /// one for each.
    #[serde(default = "half")]
    #[schemars(length(min = 1), inner(range(min = 0.0, max = 1e9)))]
    pub std: Vec<f64>,
}

fn zero() -> Vec<f64> {
    vec![0.0]
}

fn half() -> Vec<f64> {
    vec![0.5]
}

#[component(
    "gaussian-bridge-oracle",
    "exact denoiser of a bridge whose clean end is Gaussian given the other",
    r#"{"type": "gaussian-bridge-oracle", "mean": [0.1], "slope": 0.2, "std": [0.3]}"#
)]
impl ModelConfig for GaussianBridgeConfig {
    fn build(&self, _: &tch::nn::Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        let process = context.denoised()?;
        process.accepts(context.spec)?;
        if self.std.iter().any(|std| !(std.is_finite() && *std >= 0.0)) {
            return Err(Error::config("/std", "a standard deviation must not be negative"));
        }
        let shapes = context.xi_shape()?;
        let [shape] = shapes.as_slice() else {
            return Err(Error::config("", "this oracle is for drives with one factor"));
        };
        let count: i64 = shape.iter().product();
        let each = |pointer: &str, list: &[f64]| match list {
            [one] => Ok((vec![*one], &[][..])),
            list if list.len() as i64 == count => Ok((list.to_vec(), shape.as_slice())),
            list => {
                let message = format!("{} numbers for {count} coordinates", list.len());
                Err(Error::config(pointer, message))
            }
        };
        let (mean, std) = (each("/mean", &self.mean)?, each("/std", &self.std)?);
        let kernel = process.kernel().filter(|kernel| {
            kernel.scales(process.time().start).shift.is_some() && context.spec.given(END).is_some()
        });
        let kernel = kernel.ok_or_else(|| {
            Error::config("", format!("this oracle is for bridges, not for {}", process.name()))
        })?;
        Ok(Box::new(Oracle {
            kernel,
            drive: process.drive().clone(),
            mean: Constant::new(mean.0, mean.1),
            slope: self.slope,
            variance: Constant::new(std.0.iter().map(|std| std * std).collect(), std.1),
        }))
    }
}

struct Oracle {
    kernel: Arc<dyn KernelLaw>,
    drive: Arc<dyn Representation>,
    mean: Constant,
    slope: f64,
    variance: Constant,
}

impl ScoreModel for Oracle {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Clean
    }

    fn predict(&self, state: &State, t: &Tensor, _train: bool) -> Result<Prediction> {
        let coordinates = self.drive.drive().and_then(isotropy_core::Drive::coordinates);
        let coordinates = coordinates.expect("a bridge is on translations, which have coordinates");
        let tau = coordinates.unwrapped(state);
        let x = tau.single();
        let end = coordinates.tau(&state.with_value(state.given(END)?.tensor.to_kind(x.kind())));
        let kernel = self.kernel.tensors(&broadcast(&t.to_kind(x.kind()), x.dim()));
        let (Some([Scale::Each(a)]), [Scale::Each(b)], [Scale::Each(std)]) =
            (kernel.shift.as_deref(), kernel.mean.as_slice(), kernel.std.as_slice())
        else {
            return Err(Error::Unsupported("a bridge has one factor and a known end".into()));
        };
        let options = (x.kind(), x.device());
        let (mean, v) = (self.mean.tensor(options), self.variance.tensor(options));
        let m = end.single() * self.slope + mean;
        let gain = b * &v / (b.square() * &v + std.square());
        let rest = x - a * end.single() - b * &m;
        Ok(Prediction::one(PredictionKind::Clean, Xi::from(m + gain * rest)))
    }
}
