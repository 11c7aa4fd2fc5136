//! The networks of neural diffusion processes: blocks of attention over the points, and over the input dimensions where
//! each of them is a sequence of its own (Dutordoir et al. 2023; geomndp.md 2.1 and 2.2 (a)).

use super::{MultiHeadAttention, hidden_keys};
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
    /// has no meaning.
    pub fn forward(&self, tokens: &Tensor, time: &Tensor, mask: Option<&Tensor>) -> Tensor {
        let size = tokens.size();
        let (batch, points, dimensions) = (size[0], size[1], size[2]);
        let time = sinusoidal(&time.to_kind(tokens.kind()), self.width, PERIOD, Layout::SinCos);
        // Each dimension is a sequence of points: its rows of the mask.
        let hidden = mask.map(hidden_keys).map(|hidden| match dimensions {
            1 => hidden,
            _ => hidden.repeat_interleave_self_int(dimensions, 0, batch * dimensions),
        });
        let mut s = GELU.forward(&self.input.forward(tokens));
        let mut skips: Option<Tensor> = None;
        for block in &self.blocks {
            let y = &s + block.time.forward(&time).view([batch, 1, 1, self.width]);
            let attended = GELU.forward(&block.attend(&y, hidden.as_ref()));
            let halves = attended.split(self.width, -1);
            s = (s + &halves[0]) * FRAC_1_SQRT_2;
            skips = Some(match skips {
                Some(sum) => sum + &halves[1],
                None => halves[1].shallow_clone(),
            });
        }
        let scale = 1.0 / (self.blocks.len().max(1) as f64).sqrt();
        let sum = skips.unwrap_or(s);
        let mean = if dimensions == 1 {
            sum.view([batch, points, self.width])
        } else {
            sum.mean_dim(2, false, None)
        };
        self.output.forward(&GELU.forward(&self.hidden.forward(&(mean * scale))))
    }
}

impl Block {
    /// `[B, N, D, H]` to `[B, N, D, 2 H]`.
    fn attend(&self, y: &Tensor, hidden: Option<&Tensor>) -> Tensor {
        let size = y.size();
        let (batch, points, dimensions, width) = (size[0], size[1], size[2], size[3]);
        let over_points = if dimensions == 1 {
            let sequences = y.view([batch, points, width]);
            self.points.forward(&sequences, hidden).unsqueeze(2)
        } else {
            let sequences = y.transpose(1, 2).reshape([batch * dimensions, points, width]);
            let mixed = self.points.forward(&sequences, hidden);
            mixed.view([batch, dimensions, points, 2 * width]).transpose(1, 2)
        };
        match &self.dimensions {
            None => over_points,
            Some(attention) if dimensions == 1 => over_points + attention.forward_alone(y),
            Some(attention) => {
                let sequences = y.reshape([batch * points, dimensions, width]);
                let mixed = attention.forward(&sequences, None);
                over_points + mixed.view([batch, points, dimensions, 2 * width])
            }
        }
    }
}
