//! The E(n)-equivariant graph network (Satorras et al. 2021) on fields: scalars and one vector at each point
//! (geomndp.md 2.2 (c)).

use crate::embedding::{Layout, sinusoidal};
use crate::layers::{Activation, Linear, Start};
use crate::neighbours::{Edges, Neighbours};
use crate::radial::fading_weight;
use tch::Tensor;
use tch::nn::{Init, Path};

/// Longest period of the time embedding in units of the time label.
const PERIOD: f64 = 1e4;

/// Size of an [`Egnn`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EgnnSize {
    /// Number of layers.
    pub layers: i64,
    /// Width of the scalars of points and edges, and of the time embedding.
    pub width: i64,
    /// Who sends to a point.
    pub neighbours: Neighbours,
    /// Where not all points send: let messages fade to zero at the first point that does not, so that nothing depends on
    /// which of several points at one distance are taken. Without it (published) the choice is sharp.
    pub fade: bool,
    /// Vectors also get sums of displacements between points, each with a gate, beside differences of vectors. Without
    /// (the published network) the output lies in the span of the values.
    pub displacements: bool,
}

/// What the values of a field are for an [`Egnn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EgnnValues {
    /// So many scalars.
    Scalars(i64),
    /// One vector, of the dimension of the index.
    Vector,
}

/// Scalars `h` and vectors `v` at each point, messages between them. In each layer, with `c` the square root of the number
/// of edges of the set (rounded down; where messages fade, of the sum of their weights `w`, which multiply all messages),
///
/// `m_ij = mlp(h_i, h_j, |x_i - x_j|^2, |v_i - v_j|^2)`,
/// `v_i += sum_j (v_i - v_j) / (1 + |v_i - v_j|) a(m_ij) / c` (the same with `x` where displacements are on),
/// `h_i += mlp(sum_j sigmoid(g(m_ij)) m_ij / c, h_i)`.
///
/// The first scalars are made of `|x|^2` from the centre of the set, `|v|^2` (or the scalar values themselves) and the
/// time. The output is what `v` has gained, or a linear map of `h`. Equivariant under rotations, reflections and
/// translations in any dimension. It starts at zero.
#[derive(Debug)]
pub struct Egnn {
    size: EgnnSize,
    values: EgnnValues,
    embedding: [Linear; 2],
    layers: Vec<Layer>,
    scalars: Option<Linear>,
}

#[derive(Debug)]
struct Layer {
    edge: [Linear; 2],
    importance: Linear,
    vectors: Option<Gate>,
    displacements: Option<Gate>,
    node: [Linear; 3],
}

/// A perceptron to one number for each edge, without a last bias; zero at the start.
#[derive(Debug)]
struct Gate {
    hidden: [Linear; 2],
    last: Tensor,
}

const ACTIVATION: Activation = Activation::GeluTanh;

impl Egnn {
    /// Creates the variables under `path`.
    pub fn new(path: &Path, values: EgnnValues, size: EgnnSize) -> Self {
        let width = size.width;
        let linear = |path: Path, inputs, outputs| {
            Linear::starting(&path, inputs, outputs, Start::TruncatedNormal)
        };
        let vectors = values == EgnnValues::Vector;
        let lengths = if vectors { 2 } else { 1 };
        let gate = |path: Path| Gate {
            hidden: [0, 1].map(|k| linear(&path / k, width, width)),
            last: path.var("last", &[1, width], Init::Const(0.0)),
        };
        let layer = |k: i64| {
            let path = path / format!("layer_{k}");
            let edge = &path / "edge";
            let node = &path / "node";
            Layer {
                edge: [
                    linear(&edge / 0, 2 * width + lengths, width),
                    linear(&edge / 1, width, width),
                ],
                importance: linear(&path / "importance", width, 1),
                vectors: vectors.then(|| gate(&path / "vectors")),
                displacements: (vectors && size.displacements)
                    .then(|| gate(&path / "displacements")),
                node: [
                    linear(&node / 0, 2 * width, width),
                    linear(&node / 1, width, width),
                    linear(&node / 2, width, width),
                ],
            }
        };
        let inputs = match values {
            EgnnValues::Scalars(d) => 1 + d,
            EgnnValues::Vector => 2,
        };
        let embedding = path / "embedding";
        Self {
            size,
            values,
            embedding: [
                linear(&embedding / 0, inputs + width, width),
                linear(&embedding / 1, width, width),
            ],
            layers: (0..size.layers).map(layer).collect(),
            scalars: match values {
                EgnnValues::Scalars(d) => {
                    Some(Linear::starting(&(path / "output"), width, d, Start::Zero))
                }
                EgnnValues::Vector => None,
            },
        }
    }

    /// Points `index` `[B, N, p]`, counted from the centre of their set and zero where hidden, values `[B, N, d]`, time
    /// labels `[B]` and a mask `[B, N]` (1 = there) in the kind of the values, to outputs of the shape of the values.
    /// Hidden points influence no other; what comes out for them has no meaning.
    pub fn forward(
        &self,
        index: &Tensor,
        values: &Tensor,
        time: &Tensor,
        mask: Option<&Tensor>,
    ) -> Tensor {
        let size = values.size();
        let (batch, points, d) = (size[0], size[1], size[2]);
        let rows = batch * points;
        let edges = Edges::find(index, mask, &self.size.neighbours);
        let time =
            sinusoidal(&time.to_kind(values.kind()), self.size.width, PERIOD, Layout::SinCos);
        let time = time.unsqueeze(1).expand([-1, points, -1], false);
        let square = |a: &Tensor| a.square().sum_dim_intlist(-1, true, None);
        let of_values = match self.values {
            EgnnValues::Scalars(_) => values.shallow_clone(),
            EgnnValues::Vector => square(values),
        };
        let start = Tensor::cat(&[square(index), of_values, time], -1);
        let h = self.embedding[0].forward(&start.reshape([rows, -1]));
        let mut h = self.embedding[1].forward(&ACTIVATION.forward(&h));
        let mut gained: Option<Tensor> = None;
        let given = values.reshape([rows, d]);

        let weight = self.fades().then(|| fading_weight(&edges.lengths(), &edges.reaches));
        let weight = edges.weights(weight);
        let inverse = self.inverse_size(&edges, weight.as_ref(), batch, points, values);
        let faded = |message: Tensor| match &weight {
            Some(weight) => message * weight.unsqueeze(-1),
            None => message,
        };
        let distance = square(&edges.vectors);
        for layer in &self.layers {
            let vectors = match (&gained, self.values) {
                (_, EgnnValues::Scalars(_)) => None,
                (None, EgnnValues::Vector) => Some(given.shallow_clone()),
                (Some(gained), EgnnValues::Vector) => Some(&given + gained),
            };
            let apart = vectors
                .map(|v| v.index_select(0, &edges.receivers) - v.index_select(0, &edges.senders));
            let m = layer.message(&h, &edges, &distance, apart.as_ref().map(square).as_ref());
            let mut moves = Vec::new();
            if let (Some(gate), Some(apart)) = (&layer.vectors, &apart) {
                moves.push(bounded(apart) * gate.forward(&m));
            }
            if let Some(gate) = &layer.displacements {
                moves.push(bounded(&edges.vectors) * gate.forward(&m));
            }
            if let Some(sum) = moves.into_iter().reduce(|a, b| a + b) {
                let step = edges.sum(&faded(sum)) * &inverse;
                gained = Some(match gained {
                    Some(gained) => gained + step,
                    None => step,
                });
            }
            let importance = layer.importance.forward(&m).sigmoid();
            let received = edges.sum(&faded(m * importance)) * &inverse;
            h = &h + layer.update(&Tensor::cat(&[&received, &h], -1));
        }
        let output = match &self.scalars {
            Some(last) => last.forward(&h),
            None => gained.unwrap_or_else(|| given.zeros_like()),
        };
        output.reshape(&size)
    }

    /// Whether messages fade: where all points send there is nothing to fade to.
    fn fades(&self) -> bool {
        let Neighbours { count, cutoff } = self.size.neighbours;
        self.size.fade && (count.is_some() || cutoff.is_some())
    }

    /// One over `floor(sqrt(edges of the set))`, at least over 1, for each point, `[B N, 1]`; with weights over the root
    /// of their sum.
    fn inverse_size(
        &self,
        edges: &Edges,
        weight: Option<&Tensor>,
        batch: i64,
        points: i64,
        like: &Tensor,
    ) -> Tensor {
        let options = (like.kind(), like.device());
        let sum = |each: &Tensor| Tensor::zeros([batch], options).index_add(0, &edges.sets, each);
        let size = match weight {
            Some(weight) => sum(weight).sqrt(),
            None => sum(&Tensor::ones([edges.len()], options)).sqrt(),
        };
        let size = if self.fades() { size } else { size.floor() };
        let inverse = size.clamp_min(1.0).reciprocal();
        inverse.unsqueeze(1).expand([-1, points], false).reshape([batch * points, 1])
    }
}

/// `v / (1 + |v|)`, with a finite derivative at zero.
fn bounded(v: &Tensor) -> Tensor {
    let square = v.square().sum_dim_intlist(-1, true, None);
    v / ((square + 1e-8).sqrt() + 1.0)
}

impl Layer {
    fn message(
        &self,
        h: &Tensor,
        edges: &Edges,
        distance: &Tensor,
        apart: Option<&Tensor>,
    ) -> Tensor {
        // The first map of the concatenation, point by point before points meet: N products in place of E.
        let [weight, bias] = self.edge[0].variables();
        let width = h.size()[1];
        let receiving = h.linear(&weight.narrow(1, 0, width), Some(bias));
        let sending = h.linear(&weight.narrow(1, width, width), None::<&Tensor>);
        let lengths = match apart {
            Some(apart) => Tensor::cat(&[distance, apart], -1),
            None => distance.shallow_clone(),
        };
        let of_lengths =
            lengths.linear(&weight.narrow(1, 2 * width, lengths.size()[1]), None::<&Tensor>);
        let sum = receiving.index_select(0, &edges.receivers)
            + sending.index_select(0, &edges.senders)
            + of_lengths;
        ACTIVATION.forward(&self.edge[1].forward(&ACTIVATION.forward(&sum)))
    }

    fn update(&self, x: &Tensor) -> Tensor {
        let h = ACTIVATION.forward(&self.node[0].forward(x));
        self.node[2].forward(&ACTIVATION.forward(&self.node[1].forward(&h)))
    }
}

impl Gate {
    fn forward(&self, m: &Tensor) -> Tensor {
        let h = ACTIVATION.forward(&self.hidden[0].forward(m));
        ACTIVATION.forward(&self.hidden[1].forward(&h)).linear(&self.last, None::<&Tensor>)
    }
}
