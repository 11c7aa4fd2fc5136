//! Score models whose score under Brownian motion is known exactly: samplers, likelihoods and checks
//! run without training error.

mod mixture;
mod orbit;

pub use mixture::{Components, HeatMixture};
pub use orbit::{FiniteOrbitConfig, OrbitGroup};

use isotropy_core::{
    Error, Homogeneous, LieGroup, ModelConfig, ModelContext, PredictionKind, Result, ScoreModel,
    Space, component, config,
};
use isotropy_groups::group::So3;
use tch::Tensor;

fn score() -> PredictionKind {
    PredictionKind::Score
}

/// Rows of equal length as `[K, n]`.
fn rows(pointer: &str, rows: &[Vec<f64>], length: i64) -> Result<Tensor> {
    if let Some(row) = rows.iter().find(|row| row.len() as i64 != length) {
        let message = format!("{} numbers where there should be {length}", row.len());
        return Err(Error::config(pointer, message));
    }
    Ok(Tensor::from_slice(&rows.concat()).view([-1, length]))
}

/// The score of a mixture of wrapped normal laws on a torus.
#[config]
#[derive(Clone)]
pub struct WrappedNormalMixtureConfig {
    /// Mean angles of each component, in radians.
    pub means: Vec<Vec<f64>>,
    /// Standard deviation of each component along each angle before wrapping, in radians;
    /// non-negative.
    pub stds: Vec<Vec<f64>>,
    /// Weight of each component; positive, scaled to sum 1.
    pub weights: Vec<f64>,
    /// The kind of prediction to return: `score`, `noise`, `preconditioned-score` or
    /// `covariance-score`.
    #[serde(default = "score")]
    pub predicts: PredictionKind,
}

impl WrappedNormalMixtureConfig {
    /// The model itself, with its density.
    ///
    /// # Errors
    /// When numbers do not fit each other, the data or the process.
    pub fn mixture(&self, context: &ModelContext) -> Result<HeatMixture> {
        let spaces = context.denoised()?.fields().homogeneous().map(Homogeneous::spaces);
        let ([angles], Some([Space::Circle])) = (&context.spec.value.shape[..], spaces.as_deref())
        else {
            return Err(Error::config(
                "",
                "this oracle needs lists of angles on the drive `torus`",
            ));
        };
        let components = Components {
            centres: rows("/means", &self.means, *angles)?,
            scales: rows("/stds", &self.stds, *angles)?,
            weights: self.weights.clone(),
        };
        HeatMixture::new(&components, self.predicts, context)
    }
}

#[component(
    "wrapped-normal-mixture-oracle",
    "exact score of a mixture of wrapped normal laws on a torus",
    r#"{"type": "wrapped-normal-mixture-oracle", "means": [[0.5, 2.0, 0.0], [-2.0, 3.0, 1.0]], "stds": [[0.3, 0.5, 0.4], [0.2, 0.4, 0.4]], "weights": [0.4, 0.6]}"#
)]
impl ModelConfig for WrappedNormalMixtureConfig {
    fn build(&self, _: &tch::nn::Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        Ok(Box::new(self.mixture(context)?))
    }
}

/// The score of a mixture of IGSO(3) laws on rotation matrices.
#[config]
#[derive(Clone)]
pub struct Igso3MixtureConfig {
    /// Centre of each component as a rotation vector, in radians.
    pub means: Vec<[f64; 3]>,
    /// Scale `eps` of each component, in radians; non-negative.
    pub stds: Vec<f64>,
    /// Weight of each component; positive, scaled to sum 1.
    pub weights: Vec<f64>,
    /// The kind of prediction to return: `score`, `noise`, `preconditioned-score` or
    /// `covariance-score`.
    #[serde(default = "score")]
    pub predicts: PredictionKind,
}

impl Igso3MixtureConfig {
    /// The model itself, with its density.
    ///
    /// # Errors
    /// When numbers do not fit each other, the data or the process.
    pub fn mixture(&self, context: &ModelContext) -> Result<HeatMixture> {
        let vectors: Vec<f64> = self.means.iter().flatten().copied().collect();
        let vectors = Tensor::from_slice(&vectors).view([-1, 3]);
        let components = Components {
            centres: So3.exp(&vectors.into()).single().shallow_clone(),
            scales: Tensor::from_slice(&self.stds).view([-1, 1]),
            weights: self.weights.clone(),
        };
        HeatMixture::new(&components, self.predicts, context)
    }
}

#[component(
    "igso3-mixture-oracle",
    "exact score of a mixture of IGSO(3) laws on rotations",
    r#"{"type": "igso3-mixture-oracle", "means": [[0.5, 0.0, 2.0], [-1.0, 0.4, 0.0]], "stds": [0.3, 0.2], "weights": [0.4, 0.6]}"#
)]
impl ModelConfig for Igso3MixtureConfig {
    fn build(&self, _: &tch::nn::Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        Ok(Box::new(self.mixture(context)?))
    }
}
