//! Roots of covariances: how white noise becomes coloured.

use tch::Tensor;

/// A root `L` of a covariance `K = L L^T` that acts on the coefficients of one factor.
///
/// Any root gives the right law. Only the symmetric root moves with the input under a symmetry, so
/// noise is transported *after* colouring, never before.
#[derive(Debug)]
pub struct Root {
    matrix: Tensor,
    flat: bool,
}

impl Clone for Root {
    /// Shallow: the tensor is shared.
    fn clone(&self) -> Self {
        Self { matrix: self.matrix.shallow_clone(), flat: self.flat }
    }
}

impl Root {
    /// A root `[n, n]` or `[B, n, n]` along the index axis of coefficients `[B, n, d]`: the same for
    /// each of the `d` components.
    pub fn of_index(matrix: Tensor) -> Self {
        Self { matrix, flat: false }
    }

    /// A root `[m, m]` or `[B, m, m]` of all `m` coefficients of a point, in the order of their
    /// memory (point-major for `[B, n, d]`): kernels with matrix values.
    pub fn of_all(matrix: Tensor) -> Self {
        Self { matrix, flat: true }
    }

    /// `L z`: white noise to coloured noise.
    pub fn apply(&self, z: &Tensor) -> Tensor {
        self.on_columns(z, |matrix, z| matrix.matmul(z))
    }

    /// `L^T a`.
    pub fn apply_transposed(&self, a: &Tensor) -> Tensor {
        self.on_columns(a, |matrix, a| matrix.transpose(-2, -1).matmul(a))
    }

    /// `K a = L L^T a`.
    pub fn covariance(&self, a: &Tensor) -> Tensor {
        self.apply(&self.apply_transposed(a))
    }

    /// `L^-1 a`: coloured noise to white noise.
    pub fn solve(&self, a: &Tensor) -> Tensor {
        self.on_columns(a, |matrix, a| Tensor::linalg_solve(matrix, a, true))
    }

    /// `L^-T a`.
    pub fn solve_transposed(&self, a: &Tensor) -> Tensor {
        self.on_columns(a, |matrix, a| Tensor::linalg_solve(&matrix.transpose(-2, -1), a, true))
    }

    fn on_columns(&self, a: &Tensor, f: impl Fn(&Tensor, &Tensor) -> Tensor) -> Tensor {
        if !self.flat {
            return f(&self.matrix, a);
        }
        let shape = a.size();
        f(&self.matrix, &a.reshape([shape[0], -1, 1])).reshape(&shape)
    }
}
