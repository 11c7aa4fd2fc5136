//! White noise: values that are independent from point to point.

use super::{one, positive};
use isotropy_core::{
    CovarianceKernel, CovarianceKernelConfig, Gram, Hyperparameter, Invariance, Result, Scale,
    component, config,
};
use std::sync::Arc;
use tch::Tensor;

/// What white noise does where two entries of a list lie at one place.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Repeats {
    /// Every entry has noise of its own: the Gram matrix is `v` times the identity, and entries of two lists are
    /// uncorrelated. Two measurements at one place are two measurements.
    #[default]
    Independent,
    /// Entries with exactly equal coordinates share one value, as in the released code's cross-covariances: the noise of
    /// a measurement is known where the query repeats its point, and a Gram matrix with repeats is singular.
    Shared,
}

/// `v` where the points are the same, 0 elsewhere.
#[derive(Debug, Clone)]
pub struct White {
    variance: f64,
    repeats: Repeats,
}

impl White {
    /// White noise of variance `v` (squared unit of the values).
    ///
    /// # Errors
    /// When the variance is not positive.
    pub fn new(variance: f64, repeats: Repeats) -> Result<Self> {
        Ok(Self { variance: positive("variance", variance)?, repeats })
    }
}

/// 1 where points have exactly the same coordinates, in the kind of the points.
fn same(a: &Tensor, b: &Tensor) -> Tensor {
    let p = a.size()[a.dim() - 1];
    let one = |k| a.select(-1, k).unsqueeze(-1).eq_tensor(&b.select(-1, k).unsqueeze(-2));
    let all = (0..p).map(one).reduce(|a, b| a.logical_and(&b));
    all.expect("points have at least one coordinate").to_kind(a.kind())
}

impl CovarianceKernel for White {
    fn name(&self) -> String {
        format!("white (variance {})", self.variance)
    }

    fn invariance(&self) -> Invariance {
        Invariance::Isometries
    }

    fn hyperparameters(&self) -> Vec<Hyperparameter> {
        vec![Hyperparameter::new("variance", self.variance)]
    }

    fn cross_at(&self, values: &[Scale], a: &Tensor, b: &Tensor) -> Gram {
        let same = same(a, b);
        Gram::Scalar(match self.repeats {
            Repeats::Shared => values[0].times(&same),
            Repeats::Independent => same.zeros_like(),
        })
    }

    fn gram_at(&self, values: &[Scale], a: &Tensor) -> Gram {
        match self.repeats {
            Repeats::Shared => self.cross_at(values, a, a),
            Repeats::Independent => {
                let size = a.size();
                let (lead, n) = (&size[..size.len() - 2], size[size.len() - 2]);
                let one = Tensor::eye(n, (a.kind(), a.device()));
                let one = one.expand([lead, &[n, n]].concat(), false);
                Gram::Scalar(values[0].times(&one))
            }
        }
    }

    fn white_at(&self, values: &[Scale]) -> Option<Scale> {
        (self.repeats == Repeats::Independent).then(|| values[0].clone())
    }
}

/// White noise: variance `v` at each point, no covariance between points.
#[config]
#[derive(Clone)]
pub struct WhiteConfig {
    /// Variance `v`, in the squared unit of the values; positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub variance: f64,
    /// What happens where points repeat.
    #[serde(default)]
    pub repeats: Repeats,
}

#[component(
    "white",
    "independent values: observation noise, or the limit of a diffusion without correlations",
    r#"{"type": "white", "variance": 1.0}"#
)]
impl CovarianceKernelConfig for WhiteConfig {
    fn build(&self) -> Result<Arc<dyn CovarianceKernel>> {
        Ok(Arc::new(White::new(self.variance, self.repeats)?))
    }
}
