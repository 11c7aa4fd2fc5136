//! The preconditioning of DDBM around any network.

use super::scales::{BridgeScales, DataMoments};
use isotropy_core::{
    Error, FlowCoordinates, KernelLaw, ModelConfig, ModelContext, NoisingProcess, Prediction,
    PredictionKind, Representation, Result, ScoreModel, State, Xi, broadcast, component, config,
};
use std::sync::Arc;
use tch::Tensor;

/// How the network is scaled.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Scaling {
    /// [`BridgeScales`].
    #[default]
    Bridge,
    /// None: the network sees `x_t` and returns the clean point. The published baselines `ve_simple`
    /// and `vp_simple` (of which the first could not be sampled) are this on `ve-bridge` and
    /// `vp-bridge`; train them with the weighting `unit`.
    Simple,
}

/// The preconditioning of DDBM: `D = c_skip x_t + c_out F(c_in x_t, c_noise, x_T)`. The wrapper predicts
/// clean coordinates; the network inside sees the scaled point, the other end as it is (the context
/// field `end`, which it must be built to look at), and the time label `label_factor ln t`. Train it
/// with the objective `bridge-denoising` and the same moments.
#[config]
pub struct BridgePreconditionedConfig {
    /// Second moments of the two ends.
    #[serde(default)]
    pub moments: DataMoments,
    /// Whether the network is scaled at all.
    #[serde(default)]
    pub scaling: Scaling,
    /// The label is this times the logarithm of time. 0.25 is that of EDM; the released code has
    /// 250, the same for a network that multiplies its label by 1000.
    #[serde(default = "quarter")]
    pub label_factor: f64,
    /// The network. It needs one head; which prediction it names makes no difference, its output is
    /// taken for `F`.
    pub inner: Box<dyn ModelConfig>,
}

fn quarter() -> f64 {
    0.25
}

#[component(
    "bridge-preconditioned",
    "preconditioning of a bridge around a network (DDBM)",
    r#"{"type": "bridge-preconditioned", "inner": {"type": "mlp", "hidden": [32, 32], "inputs": ["x", "end", "time"], "predicts": "clean"}}"#
)]
impl ModelConfig for BridgePreconditionedConfig {
    fn build(&self, path: &tch::nn::Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        let process = context.denoised()?;
        // The variables are those of the network alone, so its checkpoints fit without the wrapper.
        let inner = self.inner.build(path, context).map_err(|error| error.under("/inner"))?;
        let moments = self.moments.checked().map_err(|error| error.under("/moments"))?;
        Ok(Box::new(Preconditioned::new(inner, process, moments, self.scaling, self.label_factor)?))
    }
}

/// A network with its scalings.
pub struct Preconditioned {
    inner: Box<dyn ScoreModel>,
    drive: Arc<dyn Representation>,
    kernel: Arc<dyn KernelLaw>,
    moments: DataMoments,
    scaling: Scaling,
    /// What the label of the process multiplies the logarithm of time by.
    label: f64,
    start: f64,
}

impl Preconditioned {
    /// Wraps a network.
    ///
    /// # Errors
    /// When the process is no bridge, has whole times (a logarithm of which says little), or the
    /// network has not one head.
    pub fn new(
        inner: Box<dyn ScoreModel>,
        process: &dyn NoisingProcess,
        moments: DataMoments,
        scaling: Scaling,
        label_factor: f64,
    ) -> Result<Self> {
        let time = process.time();
        let kernel = process.kernel().filter(|kernel| {
            let probe = kernel.tensors(&Tensor::full([1, 1], time.start, tch::kind::DOUBLE_CPU));
            BridgeScales::new(&probe, &moments).is_ok()
        });
        let kernel = kernel.ok_or_else(|| {
            Error::config("", format!("{} is no bridge on translations", process.name()))
                .with_help("use the process `ve-bridge`, `vp-bridge` or `brownian-bridge`")
        })?;
        if !(label_factor.is_finite() && label_factor > 0.0) {
            return Err(Error::config("/label_factor", "the factor must be a positive number"));
        }
        if inner.predicts().heads() != 1 || inner.predicts() == PredictionKind::Logits {
            return Err(Error::config(
                "/inner/predicts",
                "preconditioning wraps a network with one head, such as `clean`",
            ));
        }
        Ok(Self {
            inner,
            drive: process.drive().clone(),
            kernel,
            moments,
            scaling,
            label: label_factor / time.label_scale,
            start: time.start,
        })
    }
}

impl Preconditioned {
    fn coordinates(&self) -> &dyn FlowCoordinates {
        let coordinates = self.drive.drive().and_then(isotropy_core::Drive::coordinates);
        coordinates.expect("a bridge is on translations, which have coordinates")
    }

    /// The scalings at times `[B]`, in a shape that broadcasts against `x`.
    fn scales(&self, x: &Tensor, t: &Tensor) -> Result<BridgeScales> {
        let kernel = self.kernel.tensors(&broadcast(&t.to_kind(x.kind()), x.dim()));
        BridgeScales::new(&kernel, &self.moments)
    }
}

impl ScoreModel for Preconditioned {
    fn predicts(&self) -> PredictionKind {
        PredictionKind::Clean
    }

    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction> {
        // Below the first time the label would run away.
        let label = t.clamp_min(self.start).log() * self.label;
        if self.scaling == Scaling::Simple {
            let raw = self.inner.predict(state, &label, train)?;
            return Ok(Prediction { kind: PredictionKind::Clean, heads: raw.heads });
        }
        let coordinates = self.coordinates();
        let tau = coordinates.unwrapped(state);
        let x = tau.single();
        let scales = self.scales(x, t)?;
        let seen = coordinates.point(state, &Xi::from(x * scales.input));
        let raw = self.inner.predict(&seen, &label, train)?;
        let clean = (x * scales.skip).addcmul(raw.heads[0].single(), &scales.out);
        Ok(Prediction::one(PredictionKind::Clean, clean))
    }

    fn inner(&self) -> Option<&dyn ScoreModel> {
        Some(self.inner.as_ref())
    }

    fn raw_scale(&self, state: &State, t: &Tensor) -> Result<Option<Xi>> {
        Ok(match self.scaling {
            Scaling::Simple => None,
            Scaling::Bridge => Some(self.scales(state.x(), t)?.out.into()),
        })
    }
}
