//! The preconditioning of Karras et al. (2022, table 1, column EDM) around any network, in flow
//! coordinates (for translations in `x`).
//!
//! With noisy coordinates `y = (tau - shift end) / mean` and noise level `sigma = std / mean` of the
//! kernel (so that `y = tau_0 + sigma z` for every process with a Gaussian kernel, VE or not),
//!
//! `D(y, sigma) = c_skip y + c_out F(c_in y, c_noise)`.

use super::kernel::{centred, fixed_end, std_of, tensor};
use isotropy_core::{
    Constant, Error, FlowCoordinates, KernelLaw, ModelConfig, ModelContext, Prediction,
    PredictionKind, Representation, Result, ScoreModel, State, Xi, broadcast, component, config,
};
use std::sync::Arc;
use tch::Tensor;

/// EDM preconditioning: inputs and targets of the network have variance 1 at every noise level. The
/// wrapper predicts clean coordinates; the network inside sees the scaled point and the time label
/// `log(sigma) / 4`. Train it with the weighting `edm` and log-normal times.
#[config]
pub struct EdmConfig {
    /// Standard deviation of the clean coordinates, in their unit; positive; one number for all or
    /// one for each coordinate. Take the root mean square of the training points: a model is built
    /// without data and cannot measure it.
    #[serde(default = "sigma_data")]
    #[schemars(length(min = 1), inner(range(min = 1e-9, max = 1e9)))]
    pub sigma_data: Vec<f64>,
    /// The network. It needs one head; which prediction it names makes no difference, its output is
    /// taken for `F`.
    pub inner: Box<dyn ModelConfig>,
}

fn sigma_data() -> Vec<f64> {
    vec![0.5]
}

/// The four functions of the noise level, elementwise in `sigma` and `sigma_data`.
#[derive(Debug)]
pub struct EdmScales {
    /// `sigma_data^2 / (sigma^2 + sigma_data^2)`.
    pub skip: Tensor,
    /// `sigma sigma_data / sqrt(sigma^2 + sigma_data^2)`.
    pub out: Tensor,
    /// `1 / sqrt(sigma^2 + sigma_data^2)`.
    pub input: Tensor,
}

impl EdmScales {
    /// At noise levels `sigma` of data with standard deviations `data`.
    pub fn new(sigma: &Tensor, data: &Tensor) -> Self {
        // `hypot` neither overflows nor loses the smaller of the two.
        let total = sigma.hypot(&data.expand_as(&(sigma + data)));
        let unit = data / &total;
        Self { skip: unit.square(), out: sigma * unit, input: total.reciprocal() }
    }
}

#[component(
    "edm-preconditioned",
    "EDM preconditioning around a network (Karras et al. 2022)",
    r#"{"type": "edm-preconditioned", "sigma_data": [0.5], "inner": {"type": "mlp", "hidden": [32, 32], "inputs": ["tau", "time"], "predicts": "clean"}}"#
)]
impl ModelConfig for EdmConfig {
    fn build(&self, path: &tch::nn::Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        let process = context.denoised()?;
        if self.sigma_data.is_empty() || self.sigma_data.iter().any(|s| s.is_nan() || *s <= 0.0) {
            return Err(Error::config("/sigma_data", "standard deviations must be positive"));
        }
        let names =
            process.fields().coordinates().map(FlowCoordinates::names).ok_or_else(|| {
                Error::config("", "preconditioning needs a drive with flow coordinates")
            })?;
        let shapes = context.xi_shape()?;
        let data = match (self.sigma_data.as_slice(), shapes.as_slice()) {
            ([one], _) => vec![vec![*one]; names.len()],
            (list, [shape]) if shape.last() == Some(&(list.len() as i64)) => vec![list.to_vec()],
            (list, _) => {
                return Err(Error::config(
                    "/sigma_data",
                    format!("{} numbers do not fit coefficients {shapes:?}", list.len()),
                ));
            }
        };
        let kernel = process.gaussian_kernel().ok_or_else(|| {
            Error::config("", format!("{} has no Gaussian kernel to scale by", process.name()))
        })?;
        // The variables are those of the network alone, so its checkpoints fit without the wrapper.
        let inner = self.inner.build(path, context).map_err(|error| error.under("/inner"))?;
        if inner.predicts().heads() != 1 || inner.predicts() == PredictionKind::Logits {
            return Err(Error::config(
                "/inner/predicts",
                "preconditioning wraps a network with one head, such as `clean`",
            ));
        }
        Ok(Box::new(Edm {
            inner,
            drive: process.drive().clone(),
            kernel,
            end: fixed_end(process, context.spec)?,
            data: data.into_iter().map(Constant::row).collect(),
            label_scale: process.time().label_scale,
        }))
    }
}

struct Edm {
    inner: Box<dyn ScoreModel>,
    drive: Arc<dyn Representation>,
    kernel: Arc<dyn KernelLaw>,
    end: Option<Xi>,
    /// Standard deviations of the data, for each factor.
    data: Vec<Constant>,
    label_scale: f64,
}

impl Edm {
    fn coordinates(&self) -> &dyn FlowCoordinates {
        let fields = self.drive.drive().expect("checked when the model was built");
        fields.coordinates().expect("checked when the model was built")
    }
}

impl ScoreModel for Edm {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Clean
    }

    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction> {
        let tau = self.coordinates().unwrapped(state);
        let (kind, device) = tau.options();
        let mut scaled = Vec::with_capacity(tau.0.len());
        let mut parts = Vec::with_capacity(tau.0.len());
        let mut label = None;
        for (k, factor) in tau.0.iter().enumerate() {
            let kernel = self.kernel.tensors(&broadcast(&t.to_kind(kind), factor.dim()));
            let from = centred(&kernel, &tau, self.end.as_ref());
            let mean = tensor(&kernel.mean[k], factor);
            let level = tensor(&kernel.std[k], factor) / &mean;
            let sigma = std_of(&kernel, k, factor) / &mean;
            let data = self.data[k].tensor((kind, device));
            let scales = EdmScales::new(&sigma, &data);
            let y = from.factor(k) / mean;
            scaled.push(&y * scales.input);
            parts.push((y * scales.skip, scales.out));
            // The label: that of the first factor, without the colour.
            label.get_or_insert_with(|| level.log().flatten(0, -1) * (0.25 / self.label_scale));
        }
        let label = label.expect("a frame has at least one factor").expand_as(t);
        let seen = self.coordinates().point(state, &Xi(scaled));
        let raw = self.inner.predict(&seen, &label, train)?;
        let heads = parts.into_iter().zip(&raw.heads[0].0);
        let clean = heads.map(|((skip, out), raw)| skip + out * raw);
        Ok(Prediction::one(PredictionKind::Clean, Xi(clean.collect())))
    }

    fn inner(&self) -> Option<&dyn ScoreModel> {
        Some(self.inner.as_ref())
    }

    fn raw_scale(&self, state: &State, t: &Tensor) -> Result<Option<Xi>> {
        let tau = self.coordinates().unwrapped(state);
        let (kind, device) = tau.options();
        let factors = tau.0.iter().enumerate().map(|(k, factor)| {
            let kernel = self.kernel.tensors(&broadcast(&t.to_kind(kind), factor.dim()));
            let sigma = std_of(&kernel, k, factor) / tensor(&kernel.mean[k], factor);
            let data = self.data[k].tensor((kind, device));
            EdmScales::new(&sigma, &data).out
        });
        Ok(Some(Xi(factors.collect())))
    }
}
