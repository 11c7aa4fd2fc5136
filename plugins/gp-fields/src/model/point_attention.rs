//! Attention over the points alone, the published network for vector fields that knows no symmetry of the plane
//! (geomndp.md 2.2 (a)).

use super::bi_dimensional::{checked, on, one, predicts, symmetric, waves, windows};
use super::{FieldInput, FieldModel, FieldNetwork, Head};
use isotropy_core::{
    ModelConfig, ModelContext, PredictionKind, PullBack, Result, ScoreModel, component, config,
};
use isotropy_networks::attention::{AttentionNetwork, Windows};
use isotropy_networks::waves::Waves;
use tch::Tensor;
use tch::nn::Path;

/// Attention over the points: each point is one token of its place and its values. Symmetric under permutations of the
/// points, and with `centred` under translations; not under rotations.
#[config]
#[derive(Clone)]
pub struct PointAttentionConfig {
    /// Number of blocks.
    #[serde(default = "layers")]
    #[schemars(range(min = 1, max = 64))]
    pub layers: i64,
    /// Width of the tokens (and of the time embedding); attention is twice as wide.
    #[serde(default = "width")]
    #[schemars(range(min = 4, max = 4096))]
    pub width: i64,
    /// Heads; twice the width must be a multiple of it.
    #[serde(default = "heads")]
    #[schemars(range(min = 1, max = 1024))]
    pub heads: i64,
    /// Count index points from their mean over the points that are there. Off as published.
    #[serde(default)]
    pub centred: bool,
    /// The network sees index points over this: take half the width of the domain. In units of the index.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub index_scale: f64,
    /// What the output stands for: `covariance-score` (K score), `preconditioned-score` (L^T score), `score`, `clean`.
    #[serde(default = "predicts")]
    pub predicts: PredictionKind,
    /// Divide the output by `std + 0.001`, so that the network regresses the noise.
    #[serde(default)]
    pub std_trick: bool,
    /// Subtract the noisy values (from the limiting mean): the zero network is then the K-score of the prior. Set it to
    /// false when the prediction is `clean`.
    #[serde(default = "on")]
    pub residual_trick: bool,
    /// The network sees values over this; take the standard deviation of the data. In units of the values.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub value_scale: f64,
    /// The output is multiplied by this before the tricks. In units of what is predicted.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub output_scale: f64,
    /// The network sees the time times this. Embeddings of times below 1 hardly tell small times apart: with 1000 (1 is
    /// published) they do. No unit.
    #[serde(default = "one")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub time_scale: f64,
    /// Beside each index coordinate `x` the network sees `sin(w x)` and `cos(w x)` for each of these `w`: functions that
    /// vary fast are learned sooner. None as published. In radians per unit of the index, after `centred`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frequencies: Vec<f64>,
    /// The first heads weigh points at the distance `r` by `exp(-r^2 / (2 w^2))` before they compare them, one width `w`
    /// for each: near points are found from the start of the training. None as published. In units of the index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<f64>,
}

fn layers() -> i64 {
    5
}
fn width() -> i64 {
    128
}
fn heads() -> i64 {
    4
}

#[component(
    "point-attention",
    "attention over points, for vector fields without symmetry (924,290 parameters as published)",
    r#"{"type": "point-attention", "layers": 2, "width": 32, "heads": 4}"#
)]
impl ModelConfig for PointAttentionConfig {
    fn build(&self, path: &Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        let size = checked(self.layers, self.width, self.heads)?;
        super::require_range("/index_scale", self.index_scale, 1e-12, 1e12)?;
        let head = Head {
            predicts: self.predicts,
            std_trick: self.std_trick,
            residual_trick: self.residual_trick,
            value_scale: self.value_scale,
            output_scale: self.output_scale,
            time_scale: self.time_scale,
        };
        FieldModel::build(context, head, |p, d| {
            let waves = waves(&self.frequencies)?;
            let windows = windows(&self.windows, self.heads)?;
            let inputs = p * (1 + waves.width()) + d;
            let network = AttentionNetwork::new(path, inputs, d, size, false);
            let symmetric = symmetric(context, self.centred);
            let (centred, index_scale) = (self.centred, self.index_scale);
            Ok((
                Box::new(PointAttention { network, waves, windows, centred, index_scale }),
                symmetric,
            ))
        })
    }
}

struct PointAttention {
    network: AttentionNetwork,
    waves: Waves,
    windows: Windows,
    centred: bool,
    index_scale: f64,
}

impl PointAttention {
    /// `[B, N, 1, inputs]`; the values are last.
    fn tokens(&self, input: &FieldInput) -> Tensor {
        let index = if self.centred { input.centred() } else { input.index.shallow_clone() };
        let [sin, cos] = self.waves.of(&index);
        let index = index * self.index_scale.recip();
        Tensor::cat(&[index, sin, cos, input.value.shallow_clone()], -1).unsqueeze(2)
    }
}

impl FieldNetwork for PointAttention {
    fn forward(&self, input: &FieldInput) -> Result<Tensor> {
        let (tokens, near) = (self.tokens(input), self.windows.logits(&input.index));
        Ok(self.network.forward(&tokens, &input.time, input.mask.as_ref(), near.as_ref()))
    }

    fn linearised(&self, input: &FieldInput) -> Result<Option<(Tensor, PullBack<'_>)>> {
        let (tokens, near) = (self.tokens(input), self.windows.logits(&input.index));
        let mask = input.mask.as_ref();
        let (output, evaluated) = self.network.evaluated(&tokens, &input.time, mask, near.as_ref());
        let pull_back = move |g: &Tensor| {
            let d = g.size()[3];
            let by_tokens = evaluated.pull_back(&g.transpose(0, 1)).squeeze_dim(3);
            Ok(by_tokens.narrow(-1, by_tokens.size()[3] - d, d).transpose(0, 1))
        };
        Ok(Some((output, Box::new(pull_back))))
    }
}
