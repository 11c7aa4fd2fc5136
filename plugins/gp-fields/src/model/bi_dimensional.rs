//! Bi-dimensional attention (Dutordoir et al. 2023; geomndp.md 2.1).

use super::{FieldInput, FieldModel, FieldNetwork, Head};
use isotropy_core::{
    Error, ModelConfig, ModelContext, PredictionKind, PullBack, Result, ScoreModel, component,
    config,
};
use isotropy_gaussian_processes::claim::{Moved, claims};
use isotropy_networks::attention::{AttentionNetwork, AttentionSize, Windows};
use isotropy_networks::waves::Waves;
use tch::Tensor;
use tch::nn::Path;

/// Attention over the points and over the dimensions of the index: each dimension of each point is a token of that
/// coordinate and the values. The published network for functions of one or more variables; symmetric under
/// permutations of the points, under exchange of the dimensions, and with `centred` under translations.
#[config]
#[derive(Clone)]
pub struct BiDimensionalAttentionConfig {
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
    /// Count index points from their mean over the points that are there: the network is the same after a translation.
    #[serde(default = "on")]
    pub centred: bool,
    /// What the output stands for: `covariance-score` (K score), `preconditioned-score` (L^T score), `score`, `clean`.
    #[serde(default = "predicts")]
    pub predicts: PredictionKind,
    /// Divide the output by `std + 0.001`, so that the network regresses the noise.
    #[serde(default = "on")]
    pub std_trick: bool,
    /// Subtract the noisy values (from the limiting mean): the zero network is then the K-score of the prior.
    #[serde(default)]
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
    /// The first heads weigh points at the distance `r` (along the dimension that they attend in) by `exp(-r^2 / (2 w^2))` before they compare them, one width `w`
    /// for each: near points are found from the start of the training. None as published. In units of the index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<f64>,
}

pub(super) fn on() -> bool {
    true
}
pub(super) fn one() -> f64 {
    1.0
}
pub(super) fn predicts() -> PredictionKind {
    PredictionKind::CovarianceScore
}
fn layers() -> i64 {
    2
}
fn width() -> i64 {
    128
}
fn heads() -> i64 {
    8
}

#[component(
    "bi-dimensional-attention",
    "attention over points and index dimensions, for functions (709,505 parameters as published)",
    r#"{"type": "bi-dimensional-attention", "layers": 2, "width": 32, "heads": 4}"#
)]
impl ModelConfig for BiDimensionalAttentionConfig {
    fn build(&self, path: &Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        let size = checked(self.layers, self.width, self.heads)?;
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
            let network = AttentionNetwork::new(path, 1 + waves.width() + d, d, size, true);
            let symmetric = symmetric(context, self.centred);
            Ok((
                Box::new(BiDimensional { network, waves, windows, centred: self.centred, p }),
                symmetric,
            ))
        })
    }
}

/// Refuses sizes that no attention network can have.
pub(super) fn checked(layers: i64, width: i64, heads: i64) -> Result<AttentionSize> {
    if !(1..=64).contains(&layers) {
        return Err(Error::config("/layers", format!("expected 1 to 64 blocks, not {layers}")));
    }
    if !(4..=4096).contains(&width) {
        return Err(Error::config(
            "/width",
            format!("expected a width from 4 to 4096, not {width}"),
        ));
    }
    if heads < 1 || (2 * width) % heads != 0 {
        let message = format!("{heads} heads do not share twice the width, {}", 2 * width);
        return Err(
            Error::config("/heads", message).with_help("take a divisor of twice the width: 4 or 8")
        );
    }
    Ok(AttentionSize { layers, width, heads })
}

/// The waves of index coordinates, whose frequencies must be positive numbers.
pub(super) fn waves(frequencies: &[f64]) -> Result<Waves> {
    for (k, w) in frequencies.iter().enumerate() {
        super::require_range(&format!("/frequencies/{k}"), *w, 1e-12, 1e12)?;
    }
    Ok(Waves::new(frequencies))
}

/// The windows of the first heads, whose widths must be positive numbers.
pub(super) fn windows(widths: &[f64], heads: i64) -> Result<Windows> {
    for (k, w) in widths.iter().enumerate() {
        super::require_range(&format!("/windows/{k}"), *w, 1e-12, 1e12)?;
    }
    if widths.len() as i64 > heads {
        let message = format!("{} windows for {heads} heads", widths.len());
        return Err(Error::config("/windows", message).with_help("give at most one for each head"));
    }
    Ok(Windows::new(widths, heads))
}

/// Whether a network that sees index points from their mean has the claimed symmetry: translations.
pub(super) fn symmetric(context: &ModelContext, centred: bool) -> bool {
    let symmetry = context.symmetry.filter(|_| centred);
    symmetry.is_some_and(|symmetry| claims(symmetry.as_ref(), context.spec, Moved::Translations))
}

struct BiDimensional {
    network: AttentionNetwork,
    waves: Waves,
    windows: Windows,
    centred: bool,
    p: i64,
}

impl BiDimensional {
    /// `[B, N, p, inputs]`: of each point and coordinate; the values are last.
    fn tokens(&self, input: &FieldInput) -> Tensor {
        let index = if self.centred { input.centred() } else { input.index.shallow_clone() };
        let values = input.value.unsqueeze(2).expand([-1, -1, self.p, -1], false);
        let index = index.unsqueeze(-1);
        let [sin, cos] = self.waves.of(&index);
        Tensor::cat(&[index, sin, cos, values], -1)
    }

    /// Each dimension is a sequence of numbers, `[B p, N, 1]`.
    fn near(&self, input: &FieldInput) -> Option<Tensor> {
        let places = input.index.transpose(1, 2).flatten(0, 1).unsqueeze(-1);
        self.windows.logits(&places)
    }
}

impl FieldNetwork for BiDimensional {
    fn forward(&self, input: &FieldInput) -> Result<Tensor> {
        let (tokens, near) = (self.tokens(input), self.near(input));
        Ok(self.network.forward(&tokens, &input.time, input.mask.as_ref(), near.as_ref()))
    }

    fn linearised(&self, input: &FieldInput) -> Result<Option<(Tensor, PullBack<'_>)>> {
        let (tokens, near) = (self.tokens(input), self.near(input));
        let mask = input.mask.as_ref();
        let (output, evaluated) = self.network.evaluated(&tokens, &input.time, mask, near.as_ref());
        let pull_back = move |g: &Tensor| {
            let d = g.size()[3];
            let by_tokens = evaluated.pull_back(&g.transpose(0, 1));
            let by_values = by_tokens.narrow(-1, by_tokens.size()[4] - d, d);
            Ok(by_values.sum_dim_intlist(3, false, None).transpose(0, 1))
        };
        Ok(Some((output, Box::new(pull_back))))
    }
}
