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

/// What is kept of an evaluation: scaled queries, keys and values `[S heads, n, depth]`, weights `[S heads, n, n]`.
#[derive(Debug)]
pub struct Attended {
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    weights: Tensor,
    sequences: i64,
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

    /// Sequences `x` `[S, n, inputs]` to `[S, n, width]`. `bias` is added to the logits: `[S, heads, n, n]`, or with one in
    /// place of any of the first three, from [`hidden_keys`] or [`super::Windows`].
    pub fn forward(&self, x: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let parts = self.parts(x);
        let mixed = Tensor::scaled_dot_product_attention(
            &parts[0], &parts[1], &parts[2], bias, 0.0, false, None, false,
        );
        self.joined(&mixed)
    }

    /// Queries, keys and values of all heads, `[S, heads, n, depth]`.
    fn parts(&self, x: &Tensor) -> Vec<Tensor> {
        let size = x.size();
        // Heads stay views into one buffer: [S, n, 3, heads, depth] seen as 3 times [S, heads, n, depth]. Unbound
        // together, their gradients are written side by side; one by one, each would fill a buffer of its own.
        let all = self.input.forward(x).view([size[0], size[1], 3, self.heads, self.depth()]);
        all.transpose(1, 3).unbind(2)
    }

    /// The output for what the heads have mixed, `[S, heads, n, depth]`.
    fn joined(&self, mixed: &Tensor) -> Tensor {
        let size = mixed.size();
        self.output.forward(&mixed.transpose(1, 2).reshape([size[0], size[2], self.width]))
    }

    fn depth(&self) -> i64 {
        self.width / self.heads
    }

    /// [`MultiHeadAttention::forward`] with what [`MultiHeadAttention::pull_back`] needs of it.
    pub fn forward_kept(&self, x: &Tensor, bias: Option<&Tensor>) -> (Tensor, Attended) {
        let [queries, keys, values]: [Tensor; 3] =
            self.parts(x).try_into().expect("the axis has three entries");
        let queries = queries * (self.depth() as f64).sqrt().recip();
        let logits = queries.matmul(&keys.transpose(-2, -1));
        let logits = match bias {
            Some(bias) => logits + bias,
            None => logits,
        };
        let weights = logits.softmax(-1, logits.kind());
        let output = self.joined(&weights.matmul(&values));
        let flat = |a: &Tensor| a.flatten(0, 1);
        let kept = Attended {
            queries: flat(&queries),
            keys: flat(&keys),
            values: flat(&values),
            weights: flat(&weights),
            sequences: x.size()[0],
        };
        (output, kept)
    }

    /// The derivatives by the input, `[S, K, n, inputs]`, of `K` linear functions of the output: `g` (`[S, K, n, m]`)
    /// holds their derivatives by its last `m` columns; they do not depend on others.
    ///
    /// With `P = softmax(A)` and `A = Q K^T / sqrt(depth)`: `dV = P^T dO`, `dP = dO V^T`, `dA = P (dP - sum P dP)` along
    /// the keys, `dQ = dA K / sqrt(depth)`, `dK = dA^T Q / sqrt(depth)`.
    pub fn pull_back(&self, kept: &Attended, g: &Tensor) -> Tensor {
        let size = g.size();
        let (sequences, probes, n, columns) = (kept.sequences, size[1], size[2], size[3]);
        let (heads, depth) = (self.heads, self.depth());
        let [output, _] = self.output.variables();
        // dO of all heads, [S heads, K n, depth]: one product serves all K functions.
        let mixed = g.matmul(&output.narrow(0, self.width - columns, columns));
        let mixed = mixed.view([sequences, probes * n, heads, depth]).transpose(1, 2);
        let mixed = mixed.reshape([sequences * heads, probes * n, depth]);
        let weights = kept.weights.unsqueeze(1);
        let of_weights = mixed.bmm(&kept.values.transpose(1, 2)).view([-1, probes, n, n]);
        let product = of_weights * &weights;
        let of_logits = &product - &weights * product.sum_dim_intlist(-1, true, None);
        let of_queries =
            of_logits.view([-1, probes * n, n]).bmm(&kept.keys) * (depth as f64).sqrt().recip();
        // Queries are kept with their scale.
        let turned = of_logits.transpose(2, 3).reshape([-1, probes * n, n]);
        let of_keys = turned.bmm(&kept.queries);
        let turned = weights.transpose(2, 3).expand([-1, probes, -1, -1], false);
        let of_values = turned.reshape([-1, n, n]).bmm(&mixed.view([-1, n, depth])).view([
            -1,
            probes * n,
            depth,
        ]);
        let by_token = |a: &Tensor| a.view([sequences, heads, probes * n, depth]).transpose(1, 2);
        let parts = [&of_queries, &of_keys, &of_values].map(by_token);
        let parts = Tensor::stack(&parts, 2).view([sequences, probes, n, 3 * self.width]);
        parts.matmul(self.input.variables()[0])
    }

    /// As [`MultiHeadAttention::pull_back`] for [`MultiHeadAttention::forward_alone`]: `g` (`[.., m]`) to `[.., inputs]`.
    pub fn pull_back_alone(&self, g: &Tensor) -> Tensor {
        let columns = g.size()[g.dim() - 1];
        let ([weight, _], [output, _]) = (self.input.variables(), self.output.variables());
        let values = weight.narrow(0, 2 * self.width, self.width);
        g.matmul(&output.narrow(0, self.width - columns, columns).matmul(&values))
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
