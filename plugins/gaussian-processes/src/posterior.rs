//! Gaussian-process regression: density, conditional law, samples.
//!
//! The law of the values at query points given those at observed points comes from one Gram matrix of both lists
//! (observed first), so that noise which every entry has for itself is counted once for each.

use crate::linear_algebra::{Factor, JITTER, Points, cholesky, gram};
use isotropy_core::{CovarianceKernel, Error, Gram, Result, Root, State, Stream};
use isotropy_diffusion::observed;
use std::f64::consts::PI;
use std::sync::Arc;
use tch::{Kind, Tensor};

/// A Gaussian process with a constant mean.
#[derive(Debug, Clone)]
pub struct GaussianProcess {
    kernel: Arc<dyn CovarianceKernel>,
    /// One number for each component, or one for all; empty for zero.
    mean: Vec<f64>,
    jitter: f64,
}

impl GaussianProcess {
    /// Mean zero and the default jitter, [`JITTER`].
    pub fn new(kernel: Arc<dyn CovarianceKernel>) -> Self {
        Self { kernel, mean: Vec::new(), jitter: JITTER }
    }

    /// With a constant mean: one number for each component, or one for all of them.
    #[must_use]
    pub fn with_mean(mut self, mean: Vec<f64>) -> Self {
        self.mean = mean;
        self
    }

    /// With another jitter: what is added to the diagonal, in units of the mean variance; 0 for none.
    #[must_use]
    pub fn with_jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// The kernel.
    pub fn kernel(&self) -> &Arc<dyn CovarianceKernel> {
        &self.kernel
    }

    /// The mean: one number for each component, one for all, or none for zero.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Whether the mean is not zero.
    pub fn has_mean(&self) -> bool {
        self.mean.iter().any(|m| *m != 0.0)
    }

    /// The jitter.
    pub fn jitter(&self) -> f64 {
        self.jitter
    }

    /// Whether values of `d` components at points of `p` coordinates suit kernel and mean.
    ///
    /// # Errors
    /// `Unsupported` with the reason.
    pub fn accepts(&self, p: i64, d: i64) -> Result<()> {
        self.kernel.accepts(p)?;
        if let Some(outputs) = self.kernel.outputs(p)
            && outputs != d
        {
            return Err(Error::Unsupported(format!(
                "the kernel {} gives values of {outputs} components, these have {d}",
                self.kernel.name()
            )));
        }
        match self.mean.len() {
            0 | 1 => Ok(()),
            n if n as i64 == d => Ok(()),
            n => Err(Error::Unsupported(format!("{n} means for values of {d} components"))),
        }
    }

    /// The mean in a shape that broadcasts against values `[B, N, d]`; `None` for zero.
    pub fn mean_like(&self, values: &Tensor) -> Option<Tensor> {
        if !self.has_mean() {
            return None;
        }
        Some(Tensor::from_slice(&self.mean).to_kind(values.kind()).to_device(values.device()))
    }

    pub(crate) fn centred(&self, values: &Tensor) -> Tensor {
        match self.mean_like(values) {
            Some(mean) => values - mean,
            None => values.shallow_clone(),
        }
    }

    /// The factorised covariance at the points of a state.
    ///
    /// # Errors
    /// When the state has no index points, they do not suit the kernel, or the matrix is not positive definite.
    pub fn factor(&self, state: &State) -> Result<Factor> {
        let points = Points::of(state)?;
        self.accepts(points.dimension(), components(state))?;
        Factor::new(self.kernel.as_ref(), points, self.jitter)
    }

    /// Log-density of the values of a state, noise included: `[B]`, in nats and in double precision.
    ///
    /// # Errors
    /// As for [`GaussianProcess::factor`].
    pub fn log_prob(&self, state: &State) -> Result<Tensor> {
        let log = self.factor(state)?.log_prob(&self.centred(state.x()));
        Ok(log.expand([state.batch_size()].as_slice(), false))
    }

    /// Values at the points of a template, in its kind: one draw for each function of the batch, zero at padding.
    ///
    /// # Errors
    /// As for [`GaussianProcess::factor`].
    pub fn sample(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let factor = self.factor(template)?;
        let z = stream.normal(&template.x().size(), template.options());
        let mut values = factor.colour(&z);
        if let Some(mean) = self.mean_like(&values) {
            values = &values + mean;
            if let Some(mask) = template.mask() {
                values = &values * mask.to_kind(template.options().0).unsqueeze(-1);
            }
        }
        Ok(template.with_value(values))
    }

    /// The law of the values at the points of `query` given those of `observed` (`None`: nothing is known).
    ///
    /// # Errors
    /// As for [`GaussianProcess::factor`].
    pub fn condition(&self, observed: Option<&State>, query: &State) -> Result<Posterior> {
        let joint = match observed {
            Some(observed) => {
                // Fields beside points and mask are of no interest here, and need not fit.
                observed::join(&bare(observed)?, &bare(query)?)?
            }
            None => bare(query)?,
        };
        let points = Points::of(&joint)?;
        let d = components(query);
        self.accepts(points.dimension(), d)?;
        let known = observed.and_then(State::index_size).unwrap_or(0);
        let total = points.len();
        let gram = gram(self.kernel.as_ref(), &self.kernel.values(), &points, self.jitter)?;
        let width = gram.outputs().unwrap_or(1);
        let (first, rest) = (known * width, (total - known) * width);
        let block = |row: i64, rows: i64, column: i64, columns: i64| {
            gram.tensor().narrow(-2, row, rows).narrow(-1, column, columns)
        };
        let mask = query.mask().map(|mask| mask.to_kind(Kind::Double));
        let values = query.x().to_kind(Kind::Double);
        let mut mean = match self.mean_like(&values) {
            Some(mean) => values.zeros_like() + mean,
            None => values.zeros_like(),
        };
        let mut covariance = block(first, rest, first, rest);
        if let Some(observed) = observed.filter(|_| known > 0) {
            let lower = cholesky(&block(0, first, 0, first), self.kernel.as_ref(), self.jitter)?;
            // L^-1 K_oq; then the mean is its transpose times L^-1 y, the covariance K_qq - its square.
            let half = Tensor::linalg_solve_triangular(
                &lower,
                &block(0, first, first, rest),
                false,
                true,
                false,
            );
            let y = self.centred(observed.x()).to_kind(Kind::Double);
            let y = match observed.mask() {
                Some(mask) => {
                    y.where_self(&mask.to_kind(Kind::Double).unsqueeze(-1).gt(0.5), &y.zeros_like())
                }
                None => y,
            };
            let columns = match gram.outputs() {
                None => y,
                Some(_) => y.reshape([y.size()[0], -1, 1]),
            };
            let white = Tensor::linalg_solve_triangular(&lower, &columns, false, true, false);
            mean = &mean + half.transpose(-2, -1).matmul(&white).reshape(values.size());
            covariance = &covariance - half.transpose(-2, -1).matmul(&half);
        }
        let covariance = match gram.outputs() {
            None => Gram::Scalar(covariance),
            Some(outputs) => Gram::Matrix { matrix: covariance, outputs },
        };
        Ok(Posterior { mean, covariance, mask, kernel: self.kernel.clone(), jitter: self.jitter })
    }

    /// [`GaussianProcess::condition`] for a state that carries what is known of it ([`observed`]).
    ///
    /// # Errors
    /// As for [`GaussianProcess::condition`].
    pub fn condition_on_observed(&self, state: &State) -> Result<Posterior> {
        let known = observed::observed(state)?;
        self.condition(known.as_ref(), &observed::query(state))
    }
}

/// Components `d` of the values of a state.
pub(crate) fn components(state: &State) -> i64 {
    let size = state.x().size();
    size[size.len() - 1]
}

/// Value, points and mask alone.
fn bare(state: &State) -> Result<State> {
    let mut bare = State::new(state.value.clone())
        .with_context(State::INDEX, state.given(State::INDEX)?.clone());
    if let Ok(mask) = state.given(State::MASK) {
        bare = bare.with_context(State::MASK, mask.clone());
    }
    Ok(bare)
}

/// The Gaussian law of values at query points, in double precision. The rows of padding are those of the identity.
#[derive(Debug)]
pub struct Posterior {
    /// Mean `[B, N, d]`.
    mean: Tensor,
    covariance: Gram,
    mask: Option<Tensor>,
    kernel: Arc<dyn CovarianceKernel>,
    jitter: f64,
}

impl Posterior {
    /// The mean `[B, N, d]`.
    pub fn mean(&self) -> &Tensor {
        &self.mean
    }

    /// The covariance, noise included (jitter too): `[.., N, N]` for all components alike, or `[.., N d, N d]`. Without
    /// a batch axis where it is the same for all functions.
    pub fn covariance(&self) -> &Gram {
        &self.covariance
    }

    /// The variance of each component at each point: `[B, N, d]`.
    pub fn variance(&self) -> Tensor {
        let diagonal = self.covariance.tensor().diagonal(0, -2, -1);
        let size = self.mean.size();
        match self.covariance {
            Gram::Scalar(_) => diagonal.unsqueeze(-1).expand(size, false),
            Gram::Matrix { .. } => diagonal.reshape([-1, size[1], size[2]]).expand(size, false),
        }
    }

    fn lower(&self) -> Result<Tensor> {
        cholesky(self.covariance.tensor(), self.kernel.as_ref(), self.jitter)
    }

    fn factor(&self) -> Result<(Root, Tensor)> {
        let lower = self.lower()?;
        let log = lower.diagonal(0, -2, -1).log() * 2.0;
        let mut log = log.sum_dim_intlist([-1].as_slice(), false, Kind::Double);
        let root = match self.covariance {
            Gram::Scalar(_) => {
                log = &log * self.mean.size()[2] as f64;
                Root::lower_of_index(lower)
            }
            Gram::Matrix { .. } => Root::lower_of_all(lower),
        };
        Ok((root, log))
    }

    /// Deviation of values `[B, N, d]` from the mean, zero at padding.
    fn deviation(&self, values: &Tensor) -> Tensor {
        let deviation = values.to_kind(Kind::Double) - &self.mean;
        match &self.mask {
            Some(mask) => {
                deviation.where_self(&mask.unsqueeze(-1).gt(0.5), &deviation.zeros_like())
            }
            None => deviation,
        }
    }

    /// Number of points that are there, `[B]` or without axes.
    pub fn count(&self) -> Tensor {
        match &self.mask {
            Some(mask) => mask.sum_dim_intlist([-1].as_slice(), false, Kind::Double),
            None => Tensor::full([], self.mean.size()[1], (Kind::Double, self.mean.device())),
        }
    }

    /// Log-density of values `[B, N, d]` at the points that are there: `[B]`, in nats for all points of a function
    /// together. Divided by [`Posterior::count`] it is the published metric (nats a target point).
    ///
    /// # Errors
    /// When the covariance is not positive definite.
    pub fn log_prob(&self, values: &Tensor) -> Result<Tensor> {
        let (root, log_determinant) = self.factor()?;
        let white = root.solve(&self.deviation(values)).square().flatten(1, -1);
        let constant = self.count() * (self.mean.size()[2] as f64 * (2.0 * PI).ln());
        let quadratic = white.sum_dim_intlist([1].as_slice(), false, Kind::Double);
        Ok((quadratic + log_determinant + constant) * -0.5)
    }

    /// As [`Posterior::log_prob`] without the covariances between points and components.
    pub fn log_prob_diagonal(&self, values: &Tensor) -> Tensor {
        let variance = self.variance();
        let each = self.deviation(values).square() / &variance + (variance * (2.0 * PI)).log();
        let each = match &self.mask {
            Some(mask) => each * mask.unsqueeze(-1),
            None => each,
        };
        each.flatten(1, -1).sum_dim_intlist([1].as_slice(), false, Kind::Double) * -0.5
    }

    /// Draws `[count, B, N, d]`, zero at padding.
    ///
    /// # Errors
    /// When the covariance is not positive definite.
    pub fn sample(&self, count: i64, stream: &mut Stream) -> Result<Tensor> {
        let (root, _) = self.factor()?;
        let size = self.mean.size();
        let options = (Kind::Double, self.mean.device());
        let draws: Vec<Tensor> = (0..count)
            .map(|_| {
                let draw = root.apply(&stream.normal(&size, options)) + &self.mean;
                match &self.mask {
                    Some(mask) => draw * mask.unsqueeze(-1),
                    None => draw,
                }
            })
            .collect();
        Ok(Tensor::stack(&draws, 0))
    }
}
