//! Gaussian windows: heads that look at near points first.

use isotropy_core::Constant;
use tch::Tensor;

/// Adds `-r^2 / (2 w^2)` to the logits of the first heads, where `r` is the distance of query and key and `w` the width of
/// the window of that head: its weights are those of attention times a Gaussian of the distance (the relative bias of
/// Press et al. 2022 with a square in place of the absolute value). Other heads see all points alike.
#[derive(Debug)]
pub struct Windows {
    /// `-1 / (2 w^2)` of each head `[heads, 1, 1]`, zero for those without a window.
    factors: Constant,
    any: bool,
}

impl Windows {
    /// Windows of these widths for the first of `heads` heads, in units of the places.
    ///
    /// # Panics
    /// When there are more windows than heads.
    pub fn new(widths: &[f64], heads: i64) -> Self {
        let heads = heads as usize;
        assert!(widths.len() <= heads, "{} windows for {heads} heads", widths.len());
        let mut factors: Vec<f64> = widths.iter().map(|w| -0.5 / (w * w)).collect();
        factors.resize(heads, 0.0);
        Self { factors: Constant::new(factors, &[heads as i64, 1, 1]), any: !widths.is_empty() }
    }

    /// What is added to the logits of sequences at places `[S, n, q]`: `[S, heads, n, n]`, or nothing.
    pub fn logits(&self, places: &Tensor) -> Option<Tensor> {
        self.any.then(|| {
            let steps = places.unsqueeze(-2) - places.unsqueeze(-3);
            let squares = steps.square().sum_dim_intlist(-1, false, None).unsqueeze(1);
            squares * self.factors.tensor((places.kind(), places.device()))
        })
    }
}
