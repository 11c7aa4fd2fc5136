//! Self-attention with several heads over the second-to-last axis.

use crate::layers::{Linear, Start};
use tch::Tensor;
use tch::nn::Path;

/// `softmax(Q K^T / sqrt(depth)) V` with several heads side by side (Vaswani et al. 2017, section 3.2.2), queries, keys
/// and values from one sequence.
///
/// Variables: `input` (queries, keys and values one above the other, `[3 width, inputs]`) and `output`
/// (`[width, width]`), both with a bias.
#[derive(Debug)]
pub struct MultiHeadAttention {
    input: Linear,
    output: Linear,
    width: i64,
    heads: i64,
}

/// What is added to the logits of keys that a mask hides. Weights of hidden keys are exactly zero; where all are hidden,
/// they are equal, and nothing divides by zero.
const HIDDEN: f64 = -1e9;

/// Turns a mask `[B, n]` (1 = there, 0 = hidden) of floating-point numbers into the term `[B, 1, 1, n]` that attention
/// adds to its logits.
pub fn hidden_keys(mask: &Tensor) -> Tensor {
    ((mask - 1.0) * -HIDDEN).unsqueeze(1).unsqueeze(1)
}

impl MultiHeadAttention {
    /// Creates the variables: sequences of width `inputs` to sequences of width `width`, which `heads` divides.
    ///
    /// # Panics
    /// When it does not.
    pub fn new(path: &Path, inputs: i64, width: i64, heads: i64) -> Self {
        assert!(heads >= 1 && width % heads == 0, "{heads} heads do not share width {width}");
        let start = Start::TruncatedNormal;
        Self {
            input: Linear::starting(&(path / "input"), inputs, 3 * width, start),
            output: Linear::starting(&(path / "output"), width, width, start),
            width,
            heads,
        }
    }

    /// Sequences `x` `[S, n, inputs]` to `[S, n, width]`. `hidden` is added to the logits: `[S, 1, 1, n]`, or with one
    /// in place of `S`, from [`hidden_keys`].
    pub fn forward(&self, x: &Tensor, hidden: Option<&Tensor>) -> Tensor {
        let size = x.size();
        let (sequences, n) = (size[0], size[1]);
        let depth = self.width / self.heads;
        // Heads stay views into one buffer: [S, n, 3, heads, depth] seen as 3 times [S, heads, n, depth]. Unbound
        // together, their gradients are written side by side; one by one, each would fill a buffer of its own.
        let all = self.input.forward(x).view([sequences, n, 3, self.heads, depth]);
        let parts = all.transpose(1, 3).unbind(2);
        let mixed = Tensor::scaled_dot_product_attention(
            &parts[0], &parts[1], &parts[2], hidden, 0.0, false, None, false,
        );
        self.output.forward(&mixed.transpose(1, 2).reshape([sequences, n, self.width]))
    }

    /// What [`MultiHeadAttention::forward`] gives for sequences of length 1, `[.., inputs]` to `[.., width]`: a single
    /// key has weight 1, so that values and output are one affine map of the input.
    pub fn forward_alone(&self, x: &Tensor) -> Tensor {
        let ([weight, bias], [output, shift]) = (self.input.variables(), self.output.variables());
        let values = weight.narrow(0, 2 * self.width, self.width);
        let value_bias = bias.narrow(0, 2 * self.width, self.width);
        x.linear(&output.matmul(&values), Some(output.mv(&value_bias) + shift))
    }
}
