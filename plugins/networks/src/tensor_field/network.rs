//! The tensor-field network of geometric neural diffusion processes.

use super::channels::{Channels, Counts, Features, Mix};
use super::convolution::{Convolution, EdgeFrames, TANH_SIZE, gelu_size};
use crate::embedding::{Layout, sinusoidal};
use crate::layers::{Activation, Linear, Start, truncated_normal};
use crate::neighbours::{Edges, Neighbours};
use crate::radial::{cutoff_weight, fading_weight, smooth_bumps};
use isotropy_core::Constant;
use tch::Tensor;
use tch::nn::Path;

/// Longest period of the time embedding in units of the time label.
const PERIOD: f64 = 1e4;

/// Size of a [`TensorFieldNetwork`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TensorFieldSize {
    /// Number of convolutions.
    pub layers: i64,
    /// Scalars of each parity.
    pub scalars: i64,
    /// Vectors of each parity.
    pub vectors: i64,
    /// Width of the scalars of an edge and of the perceptrons that make gates of them.
    pub width: i64,
    /// Functions of the length of an edge.
    pub radial: i64,
    /// Width of the time embedding.
    pub time: i64,
    /// Edges reach less far than this, in units of the index.
    pub cutoff: f64,
    /// At most so many neighbours send to a point; `None`: all within the cutoff.
    pub neighbours: Option<i64>,
    /// Let messages fade to zero at the first point that is no neighbour, so that nothing depends on which of several
    /// points at one distance are taken. Without it (published) they fade at the cutoff alone.
    pub fade: bool,
    /// Add a linear map of a point's own features to what it receives. Without it a point without neighbours forgets
    /// its values (the published network).
    pub self_connection: bool,
    /// Multiply the vectors that come out of a layer by gates `2 sigmoid(W s + b)` of the point's scalars `s` (Weiler et
    /// al. 2018, section 4.4), all 1 at the start. Without it (published) vectors only pass through linear maps whose
    /// coefficients depend on lengths of edges and the time, not on how dense the neighbourhood of a point is.
    pub gated: bool,
}

/// Values at points to values of the same kinds: in each of the layers, features and time embedding go through a linear
/// map, then a [`Convolution`] over the near points, then `gelu` on scalars and `tanh` on pseudoscalars (both scaled to
/// mean square 1). The last linear map starts at zero, and so does the network.
///
/// Equivariant under rotations and reflections, invariant under translations, for points of the line, the plane and
/// space; vectors turn with the points.
#[derive(Debug)]
pub struct TensorFieldNetwork {
    channels: Channels,
    size: TensorFieldSize,
    edge_input: Linear,
    edge_hidden: Linear,
    layers: Vec<Layer>,
    last: Mix,
    couplings: Constant,
}

#[derive(Debug)]
struct Layer {
    up: Mix,
    time: Tensor,
    /// What `up` and the time make together.
    counts: Counts,
    convolution: Convolution,
    own: Option<Mix>,
    /// From the point's scalars to the gates of its vectors.
    gates: Option<Linear>,
}

impl TensorFieldNetwork {
    /// Creates the variables under `path`, for values made of these channels.
    pub fn new(path: &Path, channels: Channels, size: TensorFieldSize) -> Self {
        let TensorFieldSize { scalars, vectors, width, radial, time, .. } = size;
        let hidden = Counts { scalars, pseudoscalars: scalars, axial: vectors, polar: vectors };
        let timed = Counts { scalars: time, ..Counts::default() };
        let none = Counts::default();
        let mut counts = channels.counts();
        // The last layer makes the kinds of the values alone.
        let values = counts.list();
        let wanted =
            Counts::of(std::array::from_fn(|k| hidden.list()[k] * i64::from(values[k] > 0)));
        let layers = (0..size.layers)
            .map(|k| {
                let path = path / format!("layer_{k}");
                let up = Mix::new(&(&path / "up"), counts, hidden, timed, false);
                let std = 1.0 / ((counts.scalars + time) as f64).sqrt();
                let time = truncated_normal(&path, "time", &[scalars, time], std);
                let before = Counts { scalars, ..up.outputs() };
                let after = if k + 1 == size.layers { wanted } else { hidden };
                let convolution = Convolution::new(&path, before, after, width);
                let own = size
                    .self_connection
                    .then(|| Mix::new(&(&path / "own"), before, after, none, false));
                counts = convolution.outputs();
                let vectors = counts.axial + counts.polar;
                let gates = (size.gated && vectors > 0).then(|| {
                    let path = &path / "vector_gates";
                    Linear::starting(&path, before.scalars, vectors, Start::Zero)
                });
                Layer { up, time, counts: before, convolution, own, gates }
            })
            .collect();
        let (edge, start) = (path / "edge", Start::TruncatedNormal);
        Self {
            edge_input: Linear::starting(&(&edge / "input"), radial + time, width, start),
            edge_hidden: Linear::starting(&(&edge / "hidden"), width, width, start),
            layers,
            last: Mix::new(&(path / "last"), counts, channels.counts(), none, true),
            couplings: EdgeFrames::couplings(),
            channels,
            size,
        }
    }

    /// Points `index` `[B, N, p]`, values `[B, N, columns]`, time labels `[B]` and a mask `[B, N]` (1 = there) in the
    /// kind of the values, to outputs of the shape of the values. Hidden points influence no other; what comes out for
    /// them has no meaning.
    pub fn forward(
        &self,
        index: &Tensor,
        values: &Tensor,
        time: &Tensor,
        mask: Option<&Tensor>,
    ) -> Tensor {
        let size = values.size();
        let (batch, points) = (size[0], size[1]);
        let reach = Neighbours { count: self.size.neighbours, cutoff: Some(self.size.cutoff) };
        let edges = Edges::find(index, mask, &reach);
        let p = index.size()[2];
        let frames = EdgeFrames::new(&edges.vectors.constant_pad_nd([0, 3 - p]), &self.couplings);
        let time = sinusoidal(&time.to_kind(values.kind()), self.size.time, PERIOD, Layout::SinCos);
        let lengths = edges.lengths();
        let weight = match self.size.fade {
            true => fading_weight(&lengths, &edges.reaches),
            false => cutoff_weight(&lengths, self.size.cutoff),
        };
        let weight = edges.weights(Some(weight)).expect("there were weights").unsqueeze(-1);
        let scalars = self.edge_scalars(&edges, &lengths, &weight, &time);

        let mut features = self.channels.features(&values.reshape([batch * points, size[2]]));
        for layer in &self.layers {
            let [even0, odd0, even1, odd1] = layer.up.parts(&features);
            // The time is the same at all points of a set.
            let timed = time.linear(&layer.time, None::<&Tensor>).unsqueeze(1);
            let timed = timed.expand([-1, points, -1], false).reshape([batch * points, -1]);
            let even0 = match even0 {
                Some(even0) => even0 + timed,
                None => timed,
            };
            features = Features::join([Some(even0), odd0, even1, odd1], layer.counts);
            let mut parts =
                layer.convolution.forward(&features, &edges, &frames, &scalars, &weight);
            if let Some(own) = &layer.own {
                for (part, own) in parts.iter_mut().zip(own.parts(&features)) {
                    *part = match (part.take(), own) {
                        (Some(a), Some(b)) => Some(a + b),
                        (a, b) => a.or(b),
                    };
                }
            }
            if let Some(gates) = &layer.gates {
                let scalars = features.degree0.narrow(-1, 0, layer.counts.scalars);
                let gates = (gates.forward(&scalars).sigmoid() * 2.0).unsqueeze(1);
                let Counts { axial, polar, .. } = layer.convolution.outputs();
                let gates = gates.split_with_sizes([axial, polar], -1);
                for (part, gate) in parts[2..].iter_mut().zip(gates) {
                    *part = part.take().map(|part| part * gate);
                }
            }
            let [even0, odd0, even1, odd1] = parts;
            let even0 = even0.map(|x| Activation::GeluTanh.forward(&x) * gelu_size().recip());
            let odd0 = odd0.map(|x| x.tanh() * TANH_SIZE.recip());
            features = Features::join([even0, odd0, even1, odd1], layer.convolution.outputs());
        }
        self.channels.values(&self.last.forward(&features)).reshape(&size)
    }

    /// The scalars of an edge, `[E, width]`: a perceptron on functions of its length and on the time of its set.
    fn edge_scalars(
        &self,
        edges: &Edges,
        lengths: &Tensor,
        weight: &Tensor,
        time: &Tensor,
    ) -> Tensor {
        let TensorFieldSize { radial, time: width, cutoff, .. } = self.size;
        // 0.95 sqrt(count) makes the functions of order one.
        let scale = 0.95 * (radial as f64).sqrt();
        let bumps = smooth_bumps(lengths, cutoff, radial) * (weight * scale);
        let [matrix, bias] = self.edge_input.variables();
        let of_time = time.linear(&matrix.narrow(1, radial, width), Some(bias));
        let of_length = bumps.linear(&matrix.narrow(1, 0, radial), None::<&Tensor>);
        let h = of_length + of_time.index_select(0, &edges.sets);
        self.edge_hidden.forward(&Activation::GeluTanh.forward(&h))
    }
}
