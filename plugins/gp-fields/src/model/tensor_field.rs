//! The E(n)-equivariant tensor-field network (geomndp.md 2.2 (b)).

use super::bi_dimensional::{on, one, predicts};
use super::{FieldInput, FieldModel, FieldNetwork, Head, require_range};
use isotropy_core::{
    Error, ModelConfig, ModelContext, Moves, PredictionKind, Result, ScoreModel, component, config,
};
use isotropy_gaussian_processes::claim::{Moved, claims_parts};
use isotropy_groups::irreps::{Irrep, Irreps, Parity};
use isotropy_networks::neighbours::Neighbours;
use isotropy_networks::tensor_field::{Channels, TensorFieldNetwork, TensorFieldSize};
use tch::Tensor;
use tch::nn::Path;

/// Messages between near points, made of spherical harmonics: equivariant under translations, rotations and reflections of
/// points of the line, the plane or space, for fields of scalars and vectors.
#[config]
#[derive(Clone)]
pub struct TensorFieldConfig {
    /// Number of convolutions.
    #[serde(default = "layers")]
    #[schemars(range(min = 1, max = 64))]
    pub layers: i64,
    /// Scalar features of each parity.
    #[serde(default = "scalars")]
    #[schemars(range(min = 1, max = 4096))]
    pub scalars: i64,
    /// Vector features of each parity.
    #[serde(default = "vectors")]
    #[schemars(range(min = 1, max = 4096))]
    pub vectors: i64,
    /// Width of the features of an edge.
    #[serde(default = "width")]
    #[schemars(range(min = 1, max = 4096))]
    pub width: i64,
    /// Number of functions of the length of an edge.
    #[serde(default = "radial")]
    #[schemars(range(min = 2, max = 1024))]
    pub radial: i64,
    /// Width of the time embedding.
    #[serde(default = "time_width")]
    #[schemars(range(min = 4, max = 1024))]
    pub time_width: i64,
    /// Points farther apart than this exchange nothing. In units of the index.
    #[serde(default = "cutoff")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub cutoff: f64,
    /// Only so many of the points within the cutoff send to a point, the nearest (20 as published); `null`: all.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub neighbours: Option<i64>,
    /// Messages fade to zero at the first point that is no neighbour. Without it (as published), of points at equal
    /// distances any may be taken, and on a regular grid the network is not equivariant.
    #[serde(default = "on")]
    pub fade: bool,
    /// A point's own features take part in its next ones. Without (as published) a point with no other within the cutoff
    /// forgets its values.
    #[serde(default = "on")]
    pub self_connection: bool,
    /// Vectors are multiplied by gates that are made of the scalars of their point, so that how much a point listens may
    /// depend on how dense its neighbourhood is. Off as published.
    #[serde(default)]
    pub gated: bool,
    /// What the columns of the values are, as irreps: `"1o"` a vector, `"2x0e + 1x1o"` two scalars, then a vector.
    /// `null`: scalars or one polar vector, as the dataset says. In the plane the published network calls a vector axial
    /// (`"1e"`): that makes use of twice as many features, and restricts it to outputs that change their sign with the
    /// values.
    #[serde(default)]
    pub values: Option<String>,
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
    5
}
fn scalars() -> i64 {
    12
}
fn vectors() -> i64 {
    4
}
fn width() -> i64 {
    64
}
fn radial() -> i64 {
    50
}
fn time_width() -> i64 {
    16
}
fn cutoff() -> f64 {
    2.0
}

#[component(
    "tensor-field",
    "E(n)-equivariant tensor-field network for scalar and vector fields (80,456 parameters as published)",
    r#"{"type": "tensor-field", "layers": 2, "scalars": 4, "vectors": 2, "width": 16, "radial": 10}"#
)]
impl ModelConfig for TensorFieldConfig {
    fn build(&self, path: &Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        let size = self.size()?;
        let head = Head {
            predicts: self.predicts,
            std_trick: self.std_trick,
            residual_trick: self.residual_trick,
            value_scale: self.value_scale,
            output_scale: self.output_scale,
            time_scale: self.time_scale,
        };
        FieldModel::build(context, head, |p, d| {
            let channels = self.channels(context.spec.value.moves, p, d)?;
            let symmetric = context.symmetry.is_some_and(|symmetry| {
                claims_parts(
                    symmetry.as_ref(),
                    context.spec,
                    Moved::Isometries,
                    &channels.vectors(),
                )
            });
            let network = TensorFieldNetwork::new(path, channels, size);
            Ok((Box::new(TensorField { network }), symmetric))
        })
    }
}

impl TensorFieldConfig {
    fn size(&self) -> Result<TensorFieldSize> {
        for (pointer, number, low, high) in [
            ("/layers", self.layers, 1, 64),
            ("/scalars", self.scalars, 1, 4096),
            ("/vectors", self.vectors, 1, 4096),
            ("/width", self.width, 1, 4096),
            ("/radial", self.radial, 2, 1024),
            ("/time_width", self.time_width, 4, 1024),
        ] {
            require_range(pointer, number as f64, f64::from(low), f64::from(high))?;
        }
        let reach = Neighbours { count: self.neighbours, cutoff: Some(self.cutoff) };
        reach.check()?;
        Ok(TensorFieldSize {
            layers: self.layers,
            scalars: self.scalars,
            vectors: self.vectors,
            width: self.width,
            radial: self.radial,
            time: self.time_width,
            cutoff: self.cutoff,
            neighbours: self.neighbours,
            fade: self.fade,
            self_connection: self.self_connection,
            gated: self.gated,
        })
    }

    /// What the `d` columns of values at points of dimension `p` are.
    fn channels(&self, moves: Moves, p: i64, d: i64) -> Result<Channels> {
        let given = |error: Error| match &self.values {
            Some(_) => error.under("/values"),
            None => error,
        };
        let irreps: Irreps = match (&self.values, moves) {
            (Some(text), _) => text.parse().map_err(given)?,
            (None, Moves::Vector) => Irreps::new([(1, Irrep { l: 1, parity: Parity::Odd })]),
            (None, _) => Irreps::new([(d, Irrep { l: 0, parity: Parity::Even })]),
        };
        let axial = irreps.multiplicity(Irrep { l: 1, parity: Parity::Even });
        if p == 3 && axial > 0 && moves == Moves::Vector {
            let message = "vectors of space that turn with the points are polar, `1o`";
            return Err(Error::config("/values", message));
        }
        let channels = Channels::new(irreps, p).map_err(given)?;
        if channels.columns() != d {
            let message = format!(
                "{} columns do not fit values of {d} columns at points of {p} dimensions",
                channels.columns()
            );
            return Err(Error::config("/values", message)
                .with_help("give the irreps of all columns in order, as in \"2x0e + 1x1o\""));
        }
        Ok(channels)
    }
}

struct TensorField {
    network: TensorFieldNetwork,
}

impl FieldNetwork for TensorField {
    fn forward(&self, input: &FieldInput) -> Result<Tensor> {
        let mask = input.mask.as_ref();
        Ok(self.network.forward(&input.index, &input.value, &input.time, mask))
    }
}
