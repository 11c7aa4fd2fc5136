//! The networks of neural diffusion processes: blocks of attention over the points, and over the input dimensions where
//! each of them is a sequence of its own (Dutordoir et al. 2023; geomndp.md 2.1 and 2.2 (a)).

use super::{Attended, MultiHeadAttention, hidden_keys};
use crate::embedding::{Layout, sinusoidal};
use crate::layers::{Activation, Linear, Start};
use std::f64::consts::FRAC_1_SQRT_2;
use tch::Tensor;
use tch::nn::Path;

/// Longest period of the time embedding in units of the time label.
const PERIOD: f64 = 1e4;

/// Size of an [`AttentionNetwork`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionSize {
    /// Number of blocks `L`.
    pub layers: i64,
    /// Width `H` of the tokens; attention inside a block is twice as wide.
    pub width: i64,
    /// Heads, which divide `2 H`.
    pub heads: i64,
}

/// Tokens to outputs, one for each point:
///
/// `s = gelu(W token)`; in each of `L` blocks `y = s + W time`, `[r, k] = gelu(points(y) + dimensions(y))`,
/// `s <- (s + r) / sqrt 2`; outputs `W gelu(W sum_blocks k / sqrt L)`, where tokens of one point (its input dimensions)
/// have been averaged before. No layer norm. The last map starts at zero, and so does the network.
///
/// Equivariant under permutations of the points, and invariant under permutations of the dimensions.
#[derive(Debug)]
pub struct AttentionNetwork {
    input: Linear,
    blocks: Vec<Block>,
    hidden: Linear,
    output: Linear,
    width: i64,
}

#[derive(Debug)]
struct Block {
    time: Linear,
    points: MultiHeadAttention,
    dimensions: Option<MultiHeadAttention>,
}

const GELU: Activation = Activation::GeluTanh;

impl AttentionNetwork {
    /// Creates the variables under `path`, for tokens of width `inputs`. With `dimensions`, blocks attend to the
    /// dimensions of each point as well as to the points of each dimension.
    ///
    /// # Panics
    /// When the heads do not divide twice the width, or the width is below 4.
    pub fn new(
        path: &Path,
        inputs: i64,
        outputs: i64,
        size: AttentionSize,
        dimensions: bool,
    ) -> Self {
        let AttentionSize { layers, width, heads } = size;
        let start = Start::TruncatedNormal;
        let attention = |path: Path| MultiHeadAttention::new(&path, width, 2 * width, heads);
        let block = |k: i64| {
            let path = path / format!("block_{k}");
            Block {
                time: Linear::starting(&(&path / "time"), width, width, start),
                points: attention(&path / "points"),
                dimensions: dimensions.then(|| attention(&path / "dimensions")),
            }
        };
        Self {
            input: Linear::starting(&(path / "input"), inputs, width, start),
            blocks: (0..layers).map(block).collect(),
            hidden: Linear::starting(&(path / "hidden"), width, width, start),
            output: Linear::starting(&(path / "output"), width, outputs, Start::Zero),
            width,
        }
    }

    /// Tokens `[B, N, D, inputs]` (`D` of them at each point), time labels `[B]` and a mask `[B, N]` (1 = there) in the
    /// kind of the tokens, to `[B, N, outputs]`. Points that the mask hides influence no other; what comes out for them
    /// has no meaning. `near` `[B D, heads, N, N]` is added to the logits of attention over points ([`super::Windows`]).
    pub fn forward(
        &self,
        tokens: &Tensor,
        time: &Tensor,
        mask: Option<&Tensor>,
        near: Option<&Tensor>,
    ) -> Tensor {
        self.run(tokens, time, mask, near, None)
    }

    /// [`AttentionNetwork::forward`], and the evaluation for [`Evaluated::pull_back`]. Not for training: gradients by
    /// the weights would need the memory twice.
    pub fn evaluated(
        &self,
        tokens: &Tensor,
        time: &Tensor,
        mask: Option<&Tensor>,
        near: Option<&Tensor>,
    ) -> (Tensor, Evaluated<'_>) {
        let mut evaluated = Evaluated {
            network: self,
            dimensions: tokens.size()[2],
            input: Tensor::new(),
            blocks: Vec::with_capacity(self.blocks.len()),
            hidden: Tensor::new(),
        };
        let output = self.run(tokens, time, mask, near, Some(&mut evaluated));
        (output, evaluated)
    }

    fn run(
        &self,
        tokens: &Tensor,
        time: &Tensor,
        mask: Option<&Tensor>,
        near: Option<&Tensor>,
        mut keep: Option<&mut Evaluated>,
    ) -> Tensor {
        let size = tokens.size();
        let (batch, points, dimensions) = (size[0], size[1], size[2]);
        let time = sinusoidal(&time.to_kind(tokens.kind()), self.width, PERIOD, Layout::SinCos);
        // Each dimension is a sequence of points: its rows of the mask.
        let hidden = mask.map(hidden_keys).map(|hidden| match dimensions {
            1 => hidden,
            _ => hidden.repeat_interleave_self_int(dimensions, 0, batch * dimensions),
        });
        let bias = match (hidden, near) {
            (Some(hidden), Some(near)) => Some(hidden + near),
            (hidden, near) => hidden.or_else(|| near.map(Tensor::shallow_clone)),
        };
        let input = self.input.forward(tokens);
        let mut s = GELU.forward(&input);
        if let Some(kept) = &mut keep {
            kept.input = slope(&input);
        }
        let mut skips: Option<Tensor> = None;
        for block in &self.blocks {
            let y = &s + block.time.forward(&time).view([batch, 1, 1, self.width]);
            let attended = block.attend(&y, bias.as_ref(), keep.as_deref_mut());
            let halves = GELU.forward(&attended).split(self.width, -1);
            s = (s + &halves[0]) * FRAC_1_SQRT_2;
            skips = Some(match skips {
                Some(sum) => sum + &halves[1],
                None => halves[1].shallow_clone(),
            });
        }
        let sum = skips.unwrap_or(s);
        let mean = if dimensions == 1 {
            sum.view([batch, points, self.width])
        } else {
            sum.mean_dim(2, false, None)
        };
        let hidden = self.hidden.forward(&(mean * self.skip_scale()));
        let output = self.output.forward(&GELU.forward(&hidden));
        if let Some(kept) = keep {
            kept.hidden = slope(&hidden);
        }
        output
    }

    /// `1 / sqrt L`.
    fn skip_scale(&self) -> f64 {
        1.0 / (self.blocks.len().max(1) as f64).sqrt()
    }
}

/// The derivative of the nonlinearity at `x`.
fn slope(x: &Tensor) -> Tensor {
    GELU.pull_back(x, x, &x.ones_like()).expect("the derivative has the shape of its input")
}

impl Block {
    /// `[B, N, D, H]` to `[B, N, D, 2 H]`.
    fn attend(&self, y: &Tensor, bias: Option<&Tensor>, keep: Option<&mut Evaluated>) -> Tensor {
        let size = y.size();
        let (batch, points, dimensions, width) = (size[0], size[1], size[2], size[3]);
        let keeps = keep.is_some();
        let attend = |attention: &MultiHeadAttention, x: &Tensor, bias: Option<&Tensor>| {
            if keeps {
                let (output, kept) = attention.forward_kept(x, bias);
                (output, Some(kept))
            } else {
                (attention.forward(x, bias), None)
            }
        };
        let (over_points, of_points) = if dimensions == 1 {
            let (mixed, kept) = attend(&self.points, &y.view([batch, points, width]), bias);
            (mixed.unsqueeze(2), kept)
        } else {
            let sequences = y.transpose(1, 2).reshape([batch * dimensions, points, width]);
            let (mixed, kept) = attend(&self.points, &sequences, bias);
            (mixed.view([batch, dimensions, points, 2 * width]).transpose(1, 2), kept)
        };
        let (attended, of_dimensions) = match &self.dimensions {
            None => (over_points, None),
            Some(attention) if dimensions == 1 => (over_points + attention.forward_alone(y), None),
            Some(attention) => {
                let sequences = y.reshape([batch * points, dimensions, width]);
                let (mixed, kept) = attend(attention, &sequences, None);
                (over_points + mixed.view([batch, points, dimensions, 2 * width]), kept)
            }
        };
        if let (Some(keep), Some(points)) = (keep, of_points) {
            let slope = slope(&attended);
            keep.blocks.push(EvaluatedBlock { slope, points, dimensions: of_dimensions });
        }
        attended
    }

    /// Derivatives `[B, K, N, D, m]` by the last `m` columns of what [`Block::attend`] gives, to those by its input.
    fn pull_back(&self, kept: &EvaluatedBlock, g: &Tensor) -> Tensor {
        let size = g.size();
        let &[batch, probes, points, dimensions, columns] = &size[..] else {
            unreachable!("the network made it with five axes")
        };
        let by_points = if dimensions == 1 {
            self.points.pull_back(&kept.points, &g.squeeze_dim(3)).unsqueeze(3)
        } else {
            let rows = g.permute([0, 3, 1, 2, 4]);
            let rows = rows.reshape([batch * dimensions, probes, points, columns]);
            let found = self.points.pull_back(&kept.points, &rows);
            found.view([batch, dimensions, probes, points, -1]).permute([0, 2, 3, 1, 4])
        };
        match (&self.dimensions, &kept.dimensions) {
            (None, _) => by_points,
            (Some(attention), None) => by_points + attention.pull_back_alone(g),
            (Some(attention), Some(kept)) => {
                let rows = g.transpose(1, 2).reshape([batch * points, probes, dimensions, columns]);
                let found = attention.pull_back(kept, &rows);
                by_points + found.view([batch, points, probes, dimensions, -1]).transpose(1, 2)
            }
        }
    }
}

/// An evaluation of an [`AttentionNetwork`]: what products with its Jacobian need. Several of them share it, where a
/// graph would have to be walked for one after the other, or made for as many copies of the batch.
#[derive(Debug)]
pub struct Evaluated<'a> {
    network: &'a AttentionNetwork,
    dimensions: i64,
    /// Derivatives of the nonlinearity after the first map, `[B, N, D, H]`.
    input: Tensor,
    blocks: Vec<EvaluatedBlock>,
    /// Those before the last map, `[B, N, H]`.
    hidden: Tensor,
}

#[derive(Debug)]
struct EvaluatedBlock {
    /// Derivatives of the nonlinearity, `[B, N, D, 2 H]`.
    slope: Tensor,
    points: Attended,
    /// Absent where each point has one dimension.
    dimensions: Option<Attended>,
}

impl Evaluated<'_> {
    /// The derivatives by the tokens, `[B, K, N, D, inputs]`, of `K` linear functions of the outputs of each batch
    /// entry, given by their coefficients `g` (`[B, K, N, outputs]`): products of `K` vectors with the Jacobian.
    pub fn pull_back(&self, g: &Tensor) -> Tensor {
        let network = self.network;
        let [output, hidden, input] =
            [&network.output, &network.hidden, &network.input].map(|map| map.variables()[0]);
        let of_hidden = g.matmul(output) * self.hidden.unsqueeze(1);
        let of_skips = of_hidden.matmul(hidden) * (network.skip_scale() / self.dimensions as f64);
        let of_skips = of_skips.unsqueeze(3).expand([-1, -1, -1, self.dimensions, -1], false);
        // What the last block hands on to a next one is not used.
        let mut of_s: Option<Tensor> = None;
        for (block, kept) in network.blocks.iter().zip(&self.blocks).rev() {
            let slope = kept.slope.unsqueeze(1);
            of_s = Some(match of_s {
                None => {
                    let slope = slope.narrow(-1, network.width, network.width);
                    block.pull_back(kept, &(&of_skips * slope))
                }
                Some(of_s) => {
                    let of_s = of_s * FRAC_1_SQRT_2;
                    let both = Tensor::cat(&[&of_s, &of_skips], -1) * slope;
                    of_s + block.pull_back(kept, &both)
                }
            });
        }
        let of_s = of_s.unwrap_or(of_skips);
        (of_s * self.input.unsqueeze(1)).matmul(input)
    }
}
