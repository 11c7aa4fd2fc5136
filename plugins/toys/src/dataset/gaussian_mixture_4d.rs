//! The published mixture of six Gaussians in four dimensions (sism.md 3.1).
//!
//! Means were drawn from `3 N(0, 1)`, standard deviations from `U(0, 0.5)` and weights from the
//! softmax of `N(0, 1)`, with seed 42.

use super::gaussian_mixture;
use isotropy_core::{Result, Stream};
use isotropy_diffusion::{point_law, point_law::PointLaw};
use tch::{Device, Kind, Tensor};

/// The published means.
const MEANS: [[f64; 4]; 6] = [
    [5.780745983123779, 4.461852073669434, 2.7021515369415283, -6.316562652587891],
    [2.0352554321289062, -3.703634738922119, -0.12920242547988892, -4.814001083374023],
    [1.067579746246338, -2.059868812561035, -1.4800690412521362, 0.7244633436203003],
    [-3.332711696624756, 0.27463698387145996, -6.950767993927002, -0.6504141688346863],
    [-0.9291803240776062, -1.1871315240859985, 2.4102280139923096, -1.864786148071289],
    [-1.7760016918182373, -0.18922314047813416, -2.4856629371643066, 0.9926953315734863],
];

/// The published standard deviations of each axis (called `vars` in the released code).
const STD: [[f64; 4]; 6] = [
    [0.3171709179878235, 0.18220514059066772, 0.355214387178421, 0.4732055366039276],
    [0.39451488852500916, 0.140706866979599, 0.394316166639328, 0.2947315573692322],
    [0.3769587576389313, 0.09762373566627502, 0.002522885799407959, 0.15340986847877502],
    [0.058244287967681885, 0.45513471961021423, 0.32200783491134644, 0.3535533845424652],
    [0.3290652930736542, 0.2456510066986084, 0.4456520676612854, 0.07237160205841064],
    [0.26574093103408813, 0.07936495542526245, 0.32708799839019775, 0.16390442848205566],
];

/// The published weights.
const WEIGHTS: [f64; 6] = [
    0.18245376646518707,
    0.37892279028892517,
    0.05783997103571892,
    0.06566764414310455,
    0.18551476299762726,
    0.12960106134414673,
];

point_law! {
    /// A mixture of Gaussians in four dimensions, by default the published one.
    GaussianMixture4dConfig {
        /// Mean of each component.
        #[schemars(length(min = 1))]
        means: Vec<[f64; 4]> = MEANS.to_vec(),
        /// Standard deviation of each component along each axis; positive.
        #[schemars(length(min = 1))]
        std: Vec<[f64; 4]> = STD.to_vec(),
        /// Weight of each component; divided by their sum.
        #[schemars(length(min = 1))]
        weights: Vec<f64> = WEIGHTS.to_vec(),
    }
    "gaussian-mixture-4d", 10_000,
    "a mixture of Gaussians in four dimensions (by default the published six)",
    r#"{"type": "gaussian-mixture-4d"}"#
}

impl PointLaw for GaussianMixture4dConfig {
    fn dimension(&self) -> i64 {
        4
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
        let law = GaussianMixture4dConfig::default();
        gaussian_mixture::tests::moments_match(&law, &law.means, &law.std, &law.weights);
    }
}
