//! The exact score of Gaussian data: samplers, likelihoods and corrections are tested without a network.
//!
//! Where the data are `GP(m0, k0)`, the law of the values at time `t` is `N(shift m + a m0, a^2 K0 + std^2 K)` with the
//! scales and the limit of the process (geomndp.md 1.1), whatever the limit is.

use crate::claim::{Moved, claims};
use crate::linear_algebra::{JITTER, Points, cholesky, gram};
use crate::posterior::GaussianProcess;
use isotropy_core::representation::as_type;
use isotropy_core::{
    CovarianceKernelConfig, Error, Gram, Invariance, Kernel, KernelLaw, ModelConfig, ModelContext,
    Prediction, PredictionKind, Result, Root, ScoreModel, State, Xi, component, config,
};
use isotropy_groups::representation::Translation;
use std::f64::consts::PI;
use std::sync::Arc;
use tch::{Kind, Tensor};

/// The exact score of data from a Gaussian process.
pub struct Oracle {
    data: GaussianProcess,
    /// The kernel of the process.
    kernel: Arc<dyn KernelLaw>,
    /// The limiting mean, one row.
    limit_mean: Option<Tensor>,
    predicts: PredictionKind,
    claims: bool,
}

/// The law of the values at the times of a batch, in double precision. Rows of padding are multiples of those of the
/// identity.
pub struct Marginal {
    /// Mean `[B, N, d]`.
    pub mean: Tensor,
    /// Covariance `[B, N, N]` or `[B, N d, N d]`.
    pub covariance: Gram,
    /// The factorised covariance.
    root: Root,
    log_determinant: Tensor,
    mask: Option<Tensor>,
    /// The limiting covariance.
    limit: Gram,
    kernel: Kernel,
}

impl Marginal {
    /// Values from the mean, zero at padding.
    fn deviation(&self, values: &Tensor) -> Tensor {
        let deviation = values.to_kind(Kind::Double) - &self.mean;
        match &self.mask {
            Some(mask) => deviation.where_self(&mask.gt(0.5), &deviation.zeros_like()),
            None => deviation,
        }
    }

    /// `-C^-1 (y - mean)` at values `[B, N, d]`.
    pub fn score(&self, values: &Tensor) -> Tensor {
        self.root.solve_transposed(&self.root.solve(&self.deviation(values))).neg()
    }

    /// `K score` with the limiting covariance `K`.
    pub fn covariance_score(&self, values: &Tensor) -> Tensor {
        apply(&self.limit, &self.score(values))
    }

    /// Log-density of values `[B, N, d]` without padding: `[B]`, in nats.
    ///
    /// # Errors
    /// When some points are padding.
    pub fn log_prob(&self, values: &Tensor) -> Result<Tensor> {
        if self.mask.is_some() {
            return Err(Error::Unsupported(
                "the density of a marginal is for fields without padding".into(),
            ));
        }
        let white = self.root.solve(&self.deviation(values)).square().flatten(1, -1);
        let constant = white.size()[1] as f64 * (2.0 * PI).ln();
        let quadratic = white.sum_dim_intlist([1].as_slice(), false, Kind::Double);
        Ok((quadratic + &self.log_determinant + constant) * -0.5)
    }
}

/// A covariance applied to values `[B, N, d]`.
fn apply(gram: &Gram, values: &Tensor) -> Tensor {
    match gram {
        Gram::Scalar(matrix) => matrix.matmul(values),
        Gram::Matrix { matrix, .. } => {
            let size = values.size();
            matrix.matmul(&values.reshape([size[0], -1, 1])).reshape(&size)
        }
    }
}

impl Oracle {
    /// The exact score of data from a process, under the process of `context`.
    ///
    /// # Errors
    /// When the states or the process do not suit it, or the prediction is not determined by the score.
    pub fn new(
        data: GaussianProcess,
        predicts: PredictionKind,
        claims: bool,
        context: &ModelContext,
    ) -> Result<Self> {
        let spec = context.spec;
        let index = spec.given(State::INDEX).filter(|index| index.index_axis.is_some());
        let (Some(index), [_, d]) = (index, &spec.value.shape[..]) else {
            return Err(Error::config(
                "",
                "this oracle is for fields: values [B, N, d] with their points in 'index'",
            ));
        };
        let p = index.shape.last().copied().unwrap_or(0);
        data.accepts(p, *d).map_err(|e| e.under("/kernel"))?;
        let process = context.denoised()?;
        process.accepts_prediction(predicts).map_err(|e| e.under("/predicts"))?;
        if matches!(
            predicts,
            PredictionKind::Field
                | PredictionKind::FieldSum
                | PredictionKind::Logits
                | PredictionKind::Velocity
        ) {
            return Err(Error::config("/predicts", "this oracle returns one score, nothing else"));
        }
        let plain = Translation::new(false);
        if as_type::<Translation>(process.drive().as_ref()) != Some(&plain) {
            return Err(Error::config("", "this oracle needs the drive `translations`"));
        }
        let of_state = process.gaussian_kernel().ok_or_else(|| {
            Error::config("", format!("{} has no Gaussian kernel on fields", process.name()))
                .with_help("use the process `gaussian-process`")
        })?;
        Ok(Oracle { data, kernel: of_state, limit_mean: limit_mean(context)?, predicts, claims })
    }

    /// The law of the values at the points of a state and times `t` (`[B]`).
    ///
    /// # Errors
    /// When the state has no index points, or a covariance is not positive definite.
    pub fn marginal(&self, state: &State, t: &Tensor) -> Result<Marginal> {
        let kernel = self.kernel.at_times(state, t)?;
        let points = Points::of(state)?;
        let size = state.x().size();
        let options = (Kind::Double, state.x().device());
        let scale = |scale: &isotropy_core::Scale| {
            scale.times(&Tensor::ones([1, 1, 1], state.options())).to_kind(Kind::Double)
        };
        let (mean, std) = (scale(&kernel.mean[0]), scale(&kernel.std[0]));
        let limit = match &kernel.colour[0] {
            Some(root) => root.gram(size[1], size[2], options),
            None => Gram::Scalar(Tensor::eye(size[1], options)),
        };
        let data_kernel = self.data.kernel();
        let data = gram(data_kernel.as_ref(), &data_kernel.values(), &points, self.data.jitter())?;
        let covariance = data.map(|k| k * mean.square()).add(&limit.map(|k| k * std.square()));
        let lower = cholesky(covariance.tensor(), data_kernel.as_ref(), self.data.jitter())?;
        let log = lower.diagonal(0, -2, -1).log() * 2.0;
        let mut log_determinant = log.sum_dim_intlist([-1].as_slice(), false, Kind::Double);
        let root = match covariance {
            Gram::Scalar(_) => {
                log_determinant = &log_determinant * size[2] as f64;
                Root::lower_of_index(lower)
            }
            Gram::Matrix { .. } => Root::lower_of_all(lower),
        };
        let mut centre = Tensor::zeros(&size, options);
        if let Some(data_mean) = self.data.mean_like(&centre) {
            centre = &centre + mean * data_mean;
        }
        if let (Some(shift), Some(end)) = (&kernel.shift, self.end(&centre)) {
            centre = &centre + scale(&shift[0]) * end;
        }
        let mask = points.mask.map(|mask| mask.unsqueeze(-1));
        Ok(Marginal { mean: centre, covariance, root, log_determinant, mask, limit, kernel })
    }

    /// The limiting mean in the kind and on the device of `like`, `[1, 1, d]`.
    fn end(&self, like: &Tensor) -> Option<Tensor> {
        self.limit_mean.as_ref().map(|mean| mean.to_kind(like.kind()).to_device(like.device()))
    }
}

impl ScoreModel for Oracle {
    fn predicts(&self) -> PredictionKind {
        self.predicts
    }

    fn predict(&self, state: &State, t: &Tensor, _train: bool) -> Result<Prediction> {
        let marginal = self.marginal(state, t)?;
        let kind = state.options().0;
        let (score, covariance_score) = (
            marginal.score(state.x()),
            // Without the detour over the root, which for a stiff limit would cost digits.
            marginal.covariance_score(state.x()).to_kind(kind),
        );
        let kernel = &marginal.kernel;
        if self.predicts == PredictionKind::CovarianceScore {
            let head = kernel.std[0].times(&covariance_score);
            return Ok(Prediction::one(self.predicts, head));
        }
        let values = state.x().shallow_clone();
        let tau = kernel.centred(&values.into(), self.end(state.x()).map(Xi::from).as_ref());
        kernel.prediction_of_score(&score.to_kind(kind).into(), self.predicts, Some(&tau))
    }

    fn claims_symmetry(&self) -> bool {
        self.claims
    }
}

/// The exact score of data `GP(mean, kernel)` under a process with a Gaussian kernel on the values of a field:
/// `gaussian-process` with any limit, or a plain one such as `vp`.
#[config]
pub struct OracleConfig {
    /// The kernel of the data, observation noise included.
    pub kernel: Box<dyn CovarianceKernelConfig>,
    /// The mean of the data: one number for each component, or one for all; empty for 0.
    #[serde(default)]
    pub mean: Vec<f64>,
    /// The kind of prediction to return: `covariance-score`, `preconditioned-score`, `score`, `noise` or `clean`.
    #[serde(default = "covariance_score")]
    pub predicts: PredictionKind,
    /// What is added to the diagonal of the data's Gram matrix, in units of its mean; not negative.
    #[serde(default = "jitter")]
    #[schemars(range(min = 0.0, max = 0.1))]
    pub jitter: f64,
}

fn covariance_score() -> PredictionKind {
    PredictionKind::CovarianceScore
}

fn jitter() -> f64 {
    JITTER
}

impl OracleConfig {
    /// The oracle itself, with its marginal laws.
    ///
    /// # Errors
    /// When the kernel cannot be built, the states or the process do not suit it, or the prediction is not determined by
    /// the score.
    pub fn oracle(&self, context: &ModelContext) -> Result<Oracle> {
        let kernel = self.kernel.build().map_err(|e| e.under("/kernel"))?;
        if self.jitter.is_nan() || self.jitter < 0.0 {
            let message = format!("jitter = {} must be 0 or above", self.jitter);
            return Err(Error::config("/jitter", message));
        }
        let data =
            GaussianProcess::new(kernel).with_mean(self.mean.clone()).with_jitter(self.jitter);
        let claims = self.claims(context);
        Oracle::new(data, self.predicts, claims, context)
    }

    /// Data without a mean under a kernel that is declared equivariant have an equivariant score.
    fn claims(&self, context: &ModelContext) -> bool {
        let (Some(symmetry), Ok(kernel)) = (context.symmetry, self.kernel.build()) else {
            return false;
        };
        let moved = match kernel.invariance() {
            Invariance::Nothing => return false,
            Invariance::Translations => Moved::Translations,
            Invariance::Isometries => Moved::Isometries,
        };
        self.mean.iter().all(|m| *m == 0.0) && claims(symmetry.as_ref(), context.spec, moved)
    }
}

/// The limiting mean of the process as `[1, 1, d]`, if there is one; it is the same at all points.
fn limit_mean(context: &ModelContext) -> Result<Option<Tensor>> {
    let spec = context.spec;
    // No number is drawn: models are built while the generator is in use.
    let zeros = |shape: &[i64], batched: bool| {
        let lead: &[i64] = if batched { &[1] } else { &[] };
        let shape: Vec<i64> = shape.iter().map(|&n| if n < 0 { 1 } else { n }).collect();
        Tensor::zeros([lead, &shape].concat(), (Kind::Double, tch::Device::Cpu))
    };
    let field = |spec: &isotropy_core::FieldSpec, tensor: Tensor| isotropy_core::Field {
        tensor,
        batched: spec.batched,
        index_axis: spec.index_axis,
        moves: spec.moves,
    };
    let mut state = State::new(field(&spec.value, zeros(&spec.value.shape, true)));
    if let Some(index) = spec.given(State::INDEX) {
        state = state.with_context(State::INDEX, field(index, zeros(&index.shape, index.batched)));
    }
    let end = context.denoised()?.known_end(&state)?;
    Ok(end.map(|end| end.single().narrow(1, 0, 1)))
}

#[component(
    "gaussian-process-oracle",
    "exact score of data from a Gaussian process",
    r#"{"type": "gaussian-process-oracle", "kernel": {"type": "sum", "kernels": [{"type": "rbf", "lengthscale": 0.25}, {"type": "white", "variance": 0.0025}]}}"#
)]
impl ModelConfig for OracleConfig {
    fn build(&self, _: &tch::nn::Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        Ok(Box::new(self.oracle(context)?))
    }
}
