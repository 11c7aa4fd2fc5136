//! The published mixture of six Gaussians in two dimensions (sism.md 3.1).
//!
//! Means are chosen; standard deviations were drawn from `U(0.5, 1.5)` and weights from the
//! softmax of `N(0, 1)`, with seed 42.

use super::gaussian_mixture;
use isotropy_core::{Result, Stream};
use isotropy_diffusion::{point_law, point_law::PointLaw};
use tch::{Device, Kind, Tensor};

/// The published means.
const MEANS: [[f64; 2]; 6] =
    [[-6.5, -6.0], [-2.5, 2.5], [-0.5, -0.1], [5.5, -5.5], [6.0, 6.0], [-10.0, 10.0]];

/// The published standard deviations of each axis (called `vars` in the released code).
const STD: [[f64; 2]; 6] = [
    [1.382269263267517, 1.415004014968872],
    [0.8828637599945068, 1.4593056440353394],
    [0.8904482126235962, 1.1008954048156738],
    [0.7565724849700928, 1.2936413288116455],
    [1.440771460533142, 0.6331859230995178],
    [1.4345980882644653, 1.093579649925232],
];

/// The published weights.
const WEIGHTS: [f64; 6] = [
    0.5523239374160767,
    0.03207048773765564,
    0.0963117703795433,
    0.07930365204811096,
    0.1036311537027359,
    0.13635891675949097,
];

point_law! {
    /// A mixture of Gaussians in two dimensions, by default the published one.
    GaussianMixture2dConfig {
        /// Mean of each component.
        #[schemars(length(min = 1))]
        means: Vec<[f64; 2]> = MEANS.to_vec(),
        /// Standard deviation of each component along each axis; positive.
        #[schemars(length(min = 1))]
        std: Vec<[f64; 2]> = STD.to_vec(),
        /// Weight of each component; divided by their sum.
        #[schemars(length(min = 1))]
        weights: Vec<f64> = WEIGHTS.to_vec(),
    }
    "gaussian-mixture-2d", 10_000,
    "a mixture of Gaussians in two dimensions (by default the published six)",
    r#"{"type": "gaussian-mixture-2d"}"#
}

impl PointLaw for GaussianMixture2dConfig {
    fn dimension(&self) -> i64 {
        2
    }

    fn check(&self) -> Result<()> {
        gaussian_mixture::check(&self.means, &self.std, &self.weights)
    }

    fn draw(&self, count: i64, options: (Kind, Device), stream: &mut Stream) -> Tensor {
        gaussian_mixture::draw(&self.means, &self.std, &self.weights, count, options, stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_mixture_has_its_mean_and_covariance() {
        let law = GaussianMixture2dConfig::default();
        gaussian_mixture::tests::moments_match(&law, &law.means, &law.std, &law.weights);
    }
}
