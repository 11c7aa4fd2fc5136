//! Sinusoidal embeddings of a time or noise level.

use tch::{Kind, Tensor};

/// Which half comes first, and how the frequencies are spaced: the two forms that published networks use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Sines, then cosines; frequencies `period^(-i / (h - 1))`, so that the slowest is `1 / period`.
    SinCos,
    /// Cosines, then sines; frequencies `period^(-i / h)`, so that the slowest is faster than `1 / period`.
    CosSin,
}

/// The embedding `[.., width]` of numbers `t` `[..]`: sines and cosines of `t w_i` at `h = width / 2`
/// frequencies between 1 and `1 / period` (Vaswani et al. 2017, section 3.5, with the halves side by side). An odd
/// `width` gets a zero at the end. `t` in `[0, 1]` moves only the fastest few; scale it first where that matters.
///
/// # Panics
/// When `width` is below 2 (4 for [`Layout::SinCos`], whose spacing needs two frequencies).
pub fn sinusoidal(t: &Tensor, width: i64, period: f64, layout: Layout) -> Tensor {
    let half = width / 2;
    let spacing = match layout {
        Layout::SinCos => half - 1,
        Layout::CosSin => half,
    };
    assert!(spacing >= 1, "an embedding of width {width} has no frequencies");
    let kind = if t.is_floating_point() { t.kind() } else { Kind::Float };
    let steps = Tensor::arange(half, (kind, t.device()));
    let frequencies = (steps * (-period.ln() / spacing as f64)).exp();
    let angles = t.to_kind(kind).unsqueeze(-1) * frequencies;
    let halves = match layout {
        Layout::SinCos => [angles.sin(), angles.cos()],
        Layout::CosSin => [angles.cos(), angles.sin()],
    };
    let embedding = Tensor::cat(&halves, -1);
    if width % 2 == 1 { embedding.constant_pad_nd([0, 1]) } else { embedding }
}
