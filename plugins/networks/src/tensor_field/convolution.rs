//! Messages along edges: products of features with the spherical harmonics of the edge, one gate for each.

use super::channels::{Counts, Features, Mix};
use crate::layers::{Linear, Start, truncated_normal};
use crate::neighbours::Edges;
use isotropy_core::Constant;
use isotropy_groups::irreps::{Normalisation, clebsch_gordan, spherical_harmonics};
use std::f64::consts::PI;
use tch::Tensor;
use tch::nn::Path;

/// What messages need to know of the directions of edges, the same for all layers.
#[derive(Debug)]
pub struct EdgeFrames {
    /// Harmonics of degree 1, `[E, 3, 1]`.
    direction: Tensor,
    /// Products of a vector with harmonics, to a scalar (degree 1), a vector of the other parity (degree 1) and a vector
    /// of the same parity (degree 2), as one matrix for each edge, `[E, 1 + 3 + 3, 3]`.
    products: Tensor,
}

/// Rows of [`EdgeFrames::products`] that belong to each product.
const ROWS: [i64; 3] = [1, 3, 3];

impl EdgeFrames {
    /// The Clebsch-Gordan tensors of all products as one matrix `[3 + 5, 7 * 3]` from the harmonics of degrees 1 and 2.
    pub fn couplings() -> Constant {
        let mut matrix = vec![0.0; 8 * 21];
        let mut row = 0;
        for (l2, l3) in [(1, 0), (1, 1), (2, 1)] {
            let tensor =
                clebsch_gordan(1, l2, l3).expect("the product of two irreps contains the third");
            let (n2, n3) = ((2 * l2 + 1) as usize, (2 * l3 + 1) as usize);
            let first = if l2 == 1 { 0 } else { 3 };
            for a in 0..3 {
                for b in 0..n2 {
                    for c in 0..n3 {
                        matrix[(first + b) * 21 + (row + c) * 3 + a] =
                            tensor[(a * n2 + b) * n3 + c];
                    }
                }
            }
            row += n3;
        }
        Constant::new(matrix, &[8, 21])
    }

    /// For edge vectors `[E, 3]` of space in the order `x, y, z`; `couplings` from [`EdgeFrames::couplings`].
    pub fn new(vectors: &Tensor, couplings: &Constant) -> Self {
        let harmonics = spherical_harmonics(2, vectors, Normalisation::Component);
        let coupling = couplings.tensor((vectors.kind(), vectors.device()));
        let products = harmonics.narrow(-1, 1, 8).matmul(&coupling);
        Self {
            direction: harmonics.narrow(-1, 1, 3).unsqueeze(-1),
            products: products.view([-1, 7, 3]),
        }
    }
}

/// One convolution: a point receives, from each neighbour, its features and their products with the harmonics of degrees
/// 1 and 2 of the edge, as far as they are of a kind that is wanted; each multiplied by a gate that a perceptron makes of the scalars
/// of the edge, and by the weight of the edge. The sum goes through a linear map.
#[derive(Debug)]
pub struct Convolution {
    gates: Gates,
    inputs: Counts,
    messages: Counts,
    down: Mix,
}

impl Convolution {
    /// Creates the variables: features `inputs` to features `outputs`, edge scalars of width `width`.
    pub fn new(path: &Path, inputs: Counts, outputs: Counts, width: i64) -> Self {
        let Counts { scalars, pseudoscalars, axial, polar } = inputs;
        // Only kinds that are wanted are made.
        let wanted = |output: i64, count: i64| if output > 0 { count } else { 0 };
        let messages = Counts {
            scalars: wanted(outputs.scalars, scalars + polar),
            pseudoscalars: wanted(outputs.pseudoscalars, pseudoscalars + axial),
            axial: wanted(outputs.axial, axial + pseudoscalars + polar + axial),
            polar: wanted(outputs.polar, polar + scalars + axial + polar),
        };
        Self {
            gates: Gates::new(&(path / "gates"), width, messages.total()),
            inputs,
            messages,
            down: Mix::new(&(path / "down"), messages, outputs, Counts::default(), false),
        }
    }

    /// The kinds that come out.
    pub fn outputs(&self) -> Counts {
        self.down.outputs()
    }

    /// Features of points to features of points, the four kinds apart ([`Features::join`] joins them). `scalars`
    /// `[E, width]` are those of the edges, `weight` `[E, 1]`.
    pub fn forward(
        &self,
        features: &Features,
        edges: &Edges,
        frames: &EdgeFrames,
        scalars: &Tensor,
        weight: &Tensor,
    ) -> [Option<Tensor>; 4] {
        let gates = self.gates.forward(scalars) * weight;
        let messages = self.messages(features, edges, frames);
        let count0 = self.messages.scalars + self.messages.pseudoscalars;
        let count1 = self.messages.axial + self.messages.polar;
        let gates = gates.split_with_sizes([count0, count1], -1);
        let sum = Features {
            degree0: edges.sum(&(messages.degree0 * &gates[0])),
            degree1: edges.sum(&(messages.degree1 * gates[1].unsqueeze(1))),
            counts: self.messages,
        };
        self.down.parts(&sum)
    }

    /// The features of the senders and their products with the harmonics, without gates.
    pub fn messages(&self, features: &Features, edges: &Edges, frames: &EdgeFrames) -> Features {
        let sent = Features {
            degree0: edges.from_senders(&features.degree0),
            degree1: edges.from_senders(&features.degree1),
            counts: self.inputs,
        };
        let [even0, odd0, even1, odd1] = sent.split();
        // 0 x 1 -> 1: a scalar times the direction, which changes the parity.
        let along = &frames.direction * sent.degree0.unsqueeze(1);
        let along = along.split_with_sizes([self.inputs.scalars, self.inputs.pseudoscalars], -1);
        // 1 x 1 -> 0, 1 x 1 -> 1 (other parity), 1 x 2 -> 1 (same parity).
        let products = frames.products.bmm(&sent.degree1).split_with_sizes(ROWS, 1);
        let sizes = [self.inputs.axial, self.inputs.polar];
        let dot = products[0].squeeze_dim(1).split_with_sizes(sizes, -1);
        let cross = products[1].split_with_sizes(sizes, -1);
        let quadratic = products[2].split_with_sizes(sizes, -1);
        let (even, odd) = (0, 1);
        let list = [
            vec![&even0, &dot[odd]],
            vec![&odd0, &dot[even]],
            vec![&even1, &along[odd], &cross[odd], &quadratic[even]],
            vec![&odd1, &along[even], &cross[even], &quadratic[odd]],
        ];
        // One copy for each degree: kinds that are not wanted are left out.
        let degree = |range: std::ops::Range<usize>| {
            let kept = range.filter(|&k| self.messages.list()[k] > 0);
            let parts: Vec<&Tensor> = kept.flat_map(|k| list[k].iter().copied()).collect();
            (!parts.is_empty()).then(|| Tensor::cat(&parts, -1))
        };
        Features::join([degree(0..2), None, degree(2..4), None], self.messages)
    }
}

/// The root mean square of `gelu(z)` over normal `z`: the square of `z Phi(z)` has the mean
/// `1/3 + 1/(2 pi sqrt 3)`. Dividing by it keeps features of order one through the layers.
pub(super) fn gelu_size() -> f64 {
    (1.0 / 3.0 + 1.0 / (2.0 * PI * 3f64.sqrt())).sqrt()
}

/// The same of `tanh(z)`, by quadrature.
pub(super) const TANH_SIZE: f64 = 0.627_928_418_6;

/// A perceptron of two hidden layers from the scalars of an edge to a gate for each message, without bias but in the
/// first layer.
#[derive(Debug)]
struct Gates {
    first: Linear,
    second: Tensor,
    third: Tensor,
}

impl Gates {
    fn new(path: &Path, width: i64, count: i64) -> Self {
        let std = 1.0 / (width as f64).sqrt();
        Self {
            first: Linear::starting(&(path / "first"), width, width, Start::TruncatedNormal),
            second: truncated_normal(path, "second", &[width, width], std),
            third: truncated_normal(path, "third", &[count, width], std),
        }
    }

    fn forward(&self, scalars: &Tensor) -> Tensor {
        let scale = gelu_size().recip();
        let h = self.first.forward(scalars).gelu("tanh");
        // The scale goes into the small matrix, not over all edges.
        let h = h.linear(&(&self.second * scale), None::<&Tensor>).gelu("tanh");
        h.linear(&(&self.third * scale), None::<&Tensor>)
    }
}
