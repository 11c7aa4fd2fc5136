//! Roots of covariances: how white noise becomes coloured.

use tch::Tensor;

/// A root `L` of a covariance `K = L L^T` that acts on the coefficients of one factor.
///
/// Any root gives the right law. Only the symmetric root moves with the input under a symmetry, so
/// noise is transported *after* colouring, never before.
#[derive(Debug)]
pub struct Root(Form);

#[derive(Debug)]
enum Form {
    /// A matrix along the index axis.
    Index(Tensor),
    /// A matrix over all coefficients of a point.
    All(Tensor),
    /// One factor for each coefficient.
    Diagonal(Tensor),
}

impl Clone for Root {
    /// Shallow: the tensor is shared.
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Form::Index(matrix) => Form::Index(matrix.shallow_clone()),
            Form::All(matrix) => Form::All(matrix.shallow_clone()),
            Form::Diagonal(scale) => Form::Diagonal(scale.shallow_clone()),
        })
    }
}

impl Root {
    /// A root `[n, n]` or `[B, n, n]` along the index axis of coefficients `[B, n, d]`: the same for
    /// each of the `d` components.
    pub fn of_index(matrix: Tensor) -> Self {
        Self(Form::Index(matrix))
    }

    /// A root `[m, m]` or `[B, m, m]` of all `m` coefficients of a point, in the order of their
    /// memory (point-major for `[B, n, d]`): kernels with matrix values.
    pub fn of_all(matrix: Tensor) -> Self {
        Self(Form::All(matrix))
    }

    /// Independent coefficients with a standard deviation each: positive numbers in a shape that
    /// broadcasts against the coefficients (`[d]` for `[B, d]` and `[B, n, d]`). They follow the
    /// kind and the device of what they are applied to.
    pub fn diagonal(std: Tensor) -> Self {
        Self(Form::Diagonal(std))
    }

    /// `L z`: white noise to coloured noise.
    pub fn apply(&self, z: &Tensor) -> Tensor {
        self.on_columns(z, |matrix, z| matrix.matmul(z), |std, z| z * std)
    }

    /// `L^T a`.
    pub fn apply_transposed(&self, a: &Tensor) -> Tensor {
        self.on_columns(a, |matrix, a| matrix.transpose(-2, -1).matmul(a), |std, a| a * std)
    }

    /// `K a = L L^T a`.
    pub fn covariance(&self, a: &Tensor) -> Tensor {
        self.apply(&self.apply_transposed(a))
    }

    /// `L^-1 a`: coloured noise to white noise.
    pub fn solve(&self, a: &Tensor) -> Tensor {
        let matrix = |matrix: &Tensor, a: &Tensor| Tensor::linalg_solve(matrix, a, true);
        self.on_columns(a, matrix, |std, a| a / std)
    }

    /// `L^-T a`.
    pub fn solve_transposed(&self, a: &Tensor) -> Tensor {
        let matrix =
            |matrix: &Tensor, a: &Tensor| Tensor::linalg_solve(&matrix.transpose(-2, -1), a, true);
        self.on_columns(a, matrix, |std, a| a / std)
    }

    fn on_columns(
        &self,
        a: &Tensor,
        matrix: impl Fn(&Tensor, &Tensor) -> Tensor,
        diagonal: impl Fn(&Tensor, &Tensor) -> Tensor,
    ) -> Tensor {
        match &self.0 {
            Form::Index(root) => matrix(root, a),
            Form::All(root) => {
                let shape = a.size();
                matrix(root, &a.reshape([shape[0], -1, 1])).reshape(&shape)
            }
            Form::Diagonal(std) => diagonal(&std.to_kind(a.kind()).to_device(a.device()), a),
        }
    }
}
