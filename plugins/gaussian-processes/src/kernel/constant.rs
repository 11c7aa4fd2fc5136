//! Functions that are the same everywhere.

use super::{differences, one, positive};
use isotropy_core::{
    CovarianceKernel, CovarianceKernelConfig, Gram, Hyperparameter, Invariance, Result, Scale,
    component, config,
};
use std::sync::Arc;
use tch::Tensor;

/// `v` for all pairs of points: a random constant. In a sum it stands for an unknown mean.
#[derive(Debug, Clone)]
pub struct Constant {
    variance: f64,
}

impl CovarianceKernel for Constant {
    fn name(&self) -> String {
        format!("constant (variance {})", self.variance)
    }

    fn invariance(&self) -> Invariance {
        Invariance::Isometries
    }

    fn hyperparameters(&self) -> Vec<Hyperparameter> {
        vec![Hyperparameter::new("variance", self.variance)]
    }

    fn cross_at(&self, values: &[Scale], a: &Tensor, b: &Tensor) -> Gram {
        let like = &differences(&a.narrow(-1, 0, 1), &b.narrow(-1, 0, 1))[0];
        Gram::Scalar(values[0].times(&like.ones_like()))
    }
}

/// Constant functions: covariance `v` for all pairs of points.
#[config]
#[derive(Clone)]
pub struct ConstantConfig {
    /// Variance `v`, in the squared unit of the values; positive.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub variance: f64,
}

#[component(
    "constant",
    "functions that are the same everywhere: an unknown mean",
    r#"{"type": "constant", "variance": 1.0}"#
)]
impl CovarianceKernelConfig for ConstantConfig {
    fn build(&self) -> Result<Arc<dyn CovarianceKernel>> {
        Ok(Arc::new(Constant { variance: positive("variance", self.variance)? }))
    }
}
