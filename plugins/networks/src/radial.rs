//! Functions of the length of an edge: a basis of smooth bumps, and a weight that ends at a cutoff.

use tch::Tensor;

/// `exp(-1/x)` for positive `x`, else 0: smooth everywhere.
pub fn smooth_step(x: &Tensor) -> Tensor {
    // Below 1e-3 the value is zero in any precision.
    (x.clamp_min(1e-3).reciprocal() * -1.0).exp() * x.gt(0.0)
}

/// `count` bumps `b_i(r) = 1.14136 e^2 s(1 + u_i) s(1 - u_i)` of lengths `r` `[E]`, with `u_i = (r - c_i) / h`, centres
/// `c_i = i h` from 0 to `end` and `s` the [`smooth_step`]: the `smooth_finite` basis of e3nn, whose factor makes the
/// squares of all bumps add up to about 1 between the ends. `[E, count]`.
pub fn smooth_bumps(r: &Tensor, end: f64, count: i64) -> Tensor {
    let spacing = end / (count - 1).max(1) as f64;
    let centres = Tensor::arange(count, (r.kind(), r.device())) * spacing;
    let u = (r.unsqueeze(-1) - centres) * spacing.recip();
    // s(1 + u) s(1 - u) = exp(-2 / (1 - u^2)) inside.
    let inside = (u.square() * -1.0 + 1.0).clamp_min(1e-3);
    ((inside.reciprocal() * -2.0 + 2.0).exp() * 1.14136).masked_fill(&u.abs().ge(1.0), 0.0)
}

/// The weight `1.4 s(10 (1 - r / end))` of an edge of length `r`: about 1.27 at zero, and smoothly 0 from `end` on.
pub fn cutoff_weight(r: &Tensor, end: f64) -> Tensor {
    weight_of_part(&(r * end.recip()))
}

/// The same with an end of its own for each edge, `[E]`.
pub fn fading_weight(r: &Tensor, ends: &Tensor) -> Tensor {
    weight_of_part(&(r / ends))
}

fn weight_of_part(part: &Tensor) -> Tensor {
    smooth_step(&((part * -1.0 + 1.0) * 10.0)) * 1.4
}
