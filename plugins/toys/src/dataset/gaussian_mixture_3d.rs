//! The published mixture of six Gaussians in three dimensions (sism.md 3.1).
//!
//! Means were drawn from `3 N(0, 1)`, standard deviations from `U(0, 0.5)` and weights from the
//! softmax of `N(0, 1)`, with seed 42.

use super::gaussian_mixture;
use isotropy_core::{Result, Stream};
use isotropy_diffusion::{point_law, point_law::PointLaw};
use tch::{Device, Kind, Tensor};

/// The published means.
const MEANS: [[f64; 3]; 6] = [
    [5.780745983123779, 4.461852073669434, -1.4921926259994507],
    [1.318767786026001, -2.2743935585021973, 3.234952926635742],
    [2.4024016857147217, 5.041861534118652, 1.067579746246338],
    [-2.059868812561035, 1.8313994407653809, 4.004213333129883],
    [-0.6948729753494263, 0.12527847290039062, -0.7547258734703064],
    [2.579575538635254, -0.9291803240776062, -1.1871315240859985],
];

/// The published standard deviations of each axis (called `vars` in the released code).
const STD: [[f64; 3]; 6] = [
    [0.16882386803627014, 0.4044874906539917, 0.2889626920223236],
    [0.45199084281921387, 0.2773299217224121, 0.17115670442581177],
    [0.3171709179878235, 0.18220514059066772, 0.355214387178421],
    [0.4732055366039276, 0.39451488852500916, 0.140706866979599],
    [0.394316166639328, 0.2947315573692322, 0.3769587576389313],
    [0.09762373566627502, 0.002522885799407959, 0.15340986847877502],
];

/// The published weights.
const WEIGHTS: [f64; 6] = [
    0.2061046063899994,
    0.09628484398126602,
    0.11625248938798904,
    0.2068522572517395,
    0.1211668998003006,
    0.2533389627933502,
];

point_law! {
    /// A mixture of Gaussians in three dimensions, by default the published one.
    GaussianMixture3dConfig {
        /// Mean of each component.
        #[schemars(length(min = 1))]
        means: Vec<[f64; 3]> = MEANS.to_vec(),
        /// Standard deviation of each component along each axis; positive.
        #[schemars(length(min = 1))]
        std: Vec<[f64; 3]> = STD.to_vec(),
        /// Weight of each component; divided by their sum.
        #[schemars(length(min = 1))]
        weights: Vec<f64> = WEIGHTS.to_vec(),
    }
    "gaussian-mixture-3d", 10_000,
    "a mixture of Gaussians in three dimensions (by default the published six)",
    r#"{"type": "gaussian-mixture-3d"}"#
}

impl PointLaw for GaussianMixture3dConfig {
    fn dimension(&self) -> i64 {
        3
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
        let law = GaussianMixture3dConfig::default();
        gaussian_mixture::tests::moments_match(&law, &law.means, &law.std, &law.weights);
    }
}
