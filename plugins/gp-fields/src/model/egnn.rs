//! The E(n)-equivariant graph network (geomndp.md 2.2 (c)).

use super::bi_dimensional::{on, one, predicts};
use super::{FieldInput, FieldModel, FieldNetwork, Head, require_range};
use isotropy_core::{
    Error, ModelConfig, ModelContext, Moves, PredictionKind, Result, ScoreModel, component, config,
};
use isotropy_gaussian_processes::claim::{Moved, claims};
use isotropy_networks::egnn::{Egnn, EgnnSize, EgnnValues};
use isotropy_networks::neighbours::Neighbours;
use tch::Tensor;
use tch::nn::Path;

/// Messages between points that see lengths alone: equivariant under translations, rotations and reflections in any
/// dimension, for fields of scalars or of one vector. Simpler and weaker than `tensor-field`.
#[config]
#[derive(Clone)]
pub struct EgnnConfig {
    /// Number of layers.
    #[serde(default = "layers")]
    #[schemars(range(min = 1, max = 64))]
    pub layers: i64,
    /// Width of the scalars of points and edges, and of the time embedding.
    #[serde(default = "width")]
    #[schemars(range(min = 4, max = 4096))]
    pub width: i64,
    /// So many nearest points send to a point (50 as published); `null`: all.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub neighbours: Option<i64>,
    /// Points farther apart than this exchange nothing; `null`: no limit. In units of the index.
    #[serde(default)]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub cutoff: Option<f64>,
    /// Messages fade to zero at the first point that does not send, where not all do. Without it (as published), of points
    /// at equal distances any may be taken, and on a regular grid the network is not equivariant.
    #[serde(default = "on")]
    pub fade: bool,
    /// Vectors are also made of displacements between points. Without (as published) the output lies in the span of the
    /// values.
    #[serde(default = "on")]
    pub displacements: bool,
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
}

fn layers() -> i64 {
    4
}
fn width() -> i64 {
    64
}

#[component(
    "egnn",
    "E(n)-equivariant graph network for fields of scalars or one vector",
    r#"{"type": "egnn", "layers": 2, "width": 16}"#
)]
impl ModelConfig for EgnnConfig {
    fn build(&self, path: &Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        require_range("/layers", self.layers as f64, 1.0, 64.0)?;
        require_range("/width", self.width as f64, 4.0, 4096.0)?;
        require_range("/index_scale", self.index_scale, 1e-12, 1e12)?;
        let scale = self.index_scale;
        let cutoff = self.cutoff.map(|cutoff| cutoff / scale);
        let neighbours = Neighbours { count: self.neighbours, cutoff };
        neighbours.check()?;
        let (layers, width) = (self.layers, self.width);
        let (fade, displacements) = (self.fade, self.displacements);
        let size = EgnnSize { layers, width, neighbours, fade, displacements };
        let head = Head {
            predicts: self.predicts,
            std_trick: self.std_trick,
            residual_trick: self.residual_trick,
            value_scale: self.value_scale,
            output_scale: self.output_scale,
            time_scale: self.time_scale,
        };
        FieldModel::build(context, head, |p, d| {
            let values = match context.spec.value.moves {
                Moves::Vector if d == p => EgnnValues::Vector,
                Moves::Vector => {
                    let message = format!("vectors of {d} components at points of {p} dimensions");
                    return Err(Error::config("", message));
                }
                _ => EgnnValues::Scalars(d),
            };
            let symmetric = context
                .symmetry
                .is_some_and(|symmetry| claims(symmetry.as_ref(), context.spec, Moved::Isometries));
            Ok((Box::new(Graph { network: Egnn::new(path, values, size), scale }), symmetric))
        })
    }
}

struct Graph {
    network: Egnn,
    scale: f64,
}

impl FieldNetwork for Graph {
    fn forward(&self, input: &FieldInput) -> Result<Tensor> {
        let index = input.centred() * self.scale.recip();
        Ok(self.network.forward(&index, &input.value, &input.time, input.mask.as_ref()))
    }
}
