//! Exact samples of a Gaussian process given known values: what conditional samplers are compared with.

use crate::linear_algebra::cholesky;
use crate::metric::GaussianProcessConfig;
use crate::posterior::GaussianProcess;
use isotropy_core::{
    Gram, Noise, NoiseOperator, NoisingProcess, Observer, Purpose, Result, Root, Sampled, Sampler,
    SamplerConfig, ScoreModel, State, Terms, Xi,
    schemars::{self, JsonSchema},
};
use serde::{Deserialize, Serialize};

/// Draws query points from the conditional law of a Gaussian process given the known ones, noise included. The model is
/// never evaluated.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GpPosteriorConfig {
    /// The process that the functions come from.
    pub process: GaussianProcessConfig,
}

#[typetag::serde(name = "gp-posterior")]
impl SamplerConfig for GpPosteriorConfig {
    fn build(&self) -> Result<Box<dyn Sampler>> {
        let process = self.process.build().map_err(|error| error.under("/process"))?;
        Ok(Box::new(GpPosterior { process }))
    }
}

isotropy_core::register!(
    "sampler",
    "gp-posterior",
    GpPosteriorConfig,
    "exact samples of a Gaussian process given known values, to compare with",
    r#"{"type": "gp-posterior", "process": {"kernel": {"type": "rbf", "lengthscale": 0.25}}}"#
);

#[derive(Debug)]
struct GpPosterior {
    process: GaussianProcess,
}

impl Sampler for GpPosterior {
    fn name(&self) -> String {
        format!("exact conditional law of {}", self.process.kernel().name())
    }

    fn purpose(&self) -> Purpose {
        Purpose::ReverseSde
    }

    fn run(
        &self,
        process: &dyn NoisingProcess,
        _model: &dyn ScoreModel,
        start: State,
        noise: &mut dyn Noise,
        observer: &mut Observer,
    ) -> Result<Sampled> {
        let posterior = self.process.condition_on_observed(&start)?;
        let kernel = self.process.kernel().as_ref();
        let lower = cholesky(posterior.covariance().tensor(), kernel, self.process.jitter())?;
        let lower = lower.to_kind(start.options().0);
        let root = match posterior.covariance() {
            Gram::Scalar(_) => Root::lower_of_index(lower),
            Gram::Matrix { .. } => Root::lower_of_all(lower),
        };
        let nothing = Xi::from(start.x().zeros_like());
        let terms = Terms {
            drift: nothing.clone(),
            noise: vec![NoiseOperator::Coloured { scale: 1.0, root }],
            score: None,
            preconditioned: nothing,
            h: None,
        };
        let draw = noise.draw(0, &start, &terms, process.fields())?;
        let value = posterior.mean().to_kind(start.options().0) + draw.single();
        let state = start.with_value(match start.mask() {
            Some(mask) => value * mask.to_kind(start.options().0).unsqueeze(-1),
            None => value,
        });
        observer(0, 1, &state)?;
        Ok(Sampled { state, evaluations: 0 })
    }
}
