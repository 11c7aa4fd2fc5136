//! Roots of covariances: how white noise becomes coloured.

use crate::Gram;
use tch::{Device, Kind, Tensor};

/// A root `L` of a covariance `K = L L^T` that acts on the coefficients of one factor.
///
/// Any root gives the right law. Only the symmetric root moves with the input under a symmetry, so
/// noise is transported *after* colouring, never before.
#[derive(Debug)]
pub struct Root(Form);

#[derive(Debug)]
enum Form {
    /// A matrix along the index axis.
    Index(Matrix),
    /// A matrix over all coefficients of a point.
    All(Matrix),
    /// One factor for each coefficient.
    Diagonal(Tensor),
}

#[derive(Debug)]
struct Matrix {
    root: Tensor,
    /// Whether it is lower triangular, so that systems are solved by substitution.
    lower: bool,
}

impl Matrix {
    fn shallow_clone(&self) -> Self {
        Self { root: self.root.shallow_clone(), lower: self.lower }
    }

    /// `L^-1 a`.
    fn solve(&self, a: &Tensor) -> Tensor {
        if self.lower {
            return Tensor::linalg_solve_triangular(&self.root, a, false, true, false);
        }
        Tensor::linalg_solve(&self.root, a, true)
    }

    /// `L^-T a`.
    fn solve_transposed(&self, a: &Tensor) -> Tensor {
        let transposed = self.root.transpose(-2, -1);
        if self.lower {
            return Tensor::linalg_solve_triangular(&transposed, a, true, true, false);
        }
        Tensor::linalg_solve(&transposed, a, true)
    }
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
        Self(Form::Index(Matrix { root: matrix, lower: false }))
    }

    /// [`Root::of_index`] with a lower triangular matrix, as Cholesky gives it: systems are solved by
    /// substitution. What stands above the diagonal must be zero.
    pub fn lower_of_index(matrix: Tensor) -> Self {
        Self(Form::Index(Matrix { root: matrix, lower: true }))
    }

    /// A root `[m, m]` or `[B, m, m]` of all `m` coefficients of a point, in the order of their
    /// memory (point-major for `[B, n, d]`): kernels with matrix values.
    pub fn of_all(matrix: Tensor) -> Self {
        Self(Form::All(Matrix { root: matrix, lower: false }))
    }

    /// [`Root::of_all`] with a lower triangular matrix, as for [`Root::lower_of_index`].
    pub fn lower_of_all(matrix: Tensor) -> Self {
        Self(Form::All(Matrix { root: matrix, lower: true }))
    }

    /// Independent coefficients with a standard deviation each: positive numbers in a shape that
    /// broadcasts against the coefficients (`[d]` for `[B, d]` and `[B, n, d]`). They follow the
    /// kind and the device of what they are applied to.
    pub fn diagonal(std: Tensor) -> Self {
        Self(Form::Diagonal(std))
    }

    /// `L z`: white noise to coloured noise.
    pub fn apply(&self, z: &Tensor) -> Tensor {
        self.on_columns(z, |matrix, z| matrix.root.matmul(z), |std, z| z * std)
    }

    /// `L^T a`.
    pub fn apply_transposed(&self, a: &Tensor) -> Tensor {
        self.on_columns(a, |matrix, a| matrix.root.transpose(-2, -1).matmul(a), |std, a| a * std)
    }

    /// `K a = L L^T a`.
    pub fn covariance(&self, a: &Tensor) -> Tensor {
        self.apply(&self.apply_transposed(a))
    }

    /// `L^-1 a`: coloured noise to white noise.
    pub fn solve(&self, a: &Tensor) -> Tensor {
        self.on_columns(a, Matrix::solve, |std, a| a / std)
    }

    /// `L^-T a`.
    pub fn solve_transposed(&self, a: &Tensor) -> Tensor {
        self.on_columns(a, Matrix::solve_transposed, |std, a| a / std)
    }

    /// `K = L L^T` as a covariance of coefficients `[B, n, d]` (a batch axis only where the root has one).
    pub fn gram(&self, points: i64, outputs: i64, options: (Kind, Device)) -> Gram {
        let square = |m: &Matrix| {
            let root = m.root.to_kind(options.0).to_device(options.1);
            root.matmul(&root.transpose(-2, -1))
        };
        match &self.0 {
            Form::Index(root) => Gram::Scalar(square(root)),
            Form::All(root) => Gram::Matrix { matrix: square(root), outputs },
            Form::Diagonal(std) => {
                let variance = std.to_kind(options.0).to_device(options.1).square();
                if variance.numel() == 1 {
                    return Gram::Scalar(Tensor::eye(points, options) * variance.reshape([1, 1]));
                }
                let all = variance.expand([points, outputs].as_slice(), false).reshape([-1]);
                Gram::Matrix { matrix: all.diag_embed(0, -2, -1), outputs }
            }
        }
    }

    fn on_columns(
        &self,
        a: &Tensor,
        matrix: impl Fn(&Matrix, &Tensor) -> Tensor,
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

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn the_covariance_as_a_matrix_is_that_of_the_coefficients() {
        let options = (Kind::Double, Device::Cpu);
        let a = Tensor::arange(12, options).view([2, 3, 2]) * 0.3 - 1.0;
        let index = Tensor::arange(9, options).view([3, 3]) * 0.1 + Tensor::eye(3, options);
        let all = Tensor::arange(36, options).view([6, 6]) * 0.1 + Tensor::eye(6, options);
        let std = Tensor::from_slice(&[0.5, 2.0]);
        let one = Tensor::from_slice(&[0.5]);
        let roots =
            [Root::of_index(index), Root::of_all(all), Root::diagonal(std), Root::diagonal(one)];
        for root in roots {
            let full = root.gram(3, 2, options).full(2);
            let product = full.matmul(&a.reshape([2, 6, 1])).reshape([2, 3, 2]);
            assert!((product - root.covariance(&a)).abs().max().double_value(&[]) < 1e-12);
        }
    }

    #[test]
    fn substitution_solves_what_elimination_solves() {
        let options = (Kind::Double, Device::Cpu);
        let lower =
            Tensor::from_slice(&[2.0, 0.0, 0.0, 0.5, 1.0, 0.0, -1.0, 0.3, 0.7]).view([3, 3]);
        let a = Tensor::arange(12, options).view([2, 3, 2]) * 0.3 - 1.0;
        let (general, fast) = (Root::of_index(lower.copy()), Root::lower_of_index(lower.copy()));
        for f in [Root::solve, Root::solve_transposed, Root::apply, Root::apply_transposed] {
            assert!((f(&general, &a) - f(&fast, &a)).abs().max().double_value(&[]) < 1e-14);
        }
        let a = a.reshape([4, 3, 1]);
        let batch = lower.unsqueeze(0).expand([4, 3, 3], false);
        let (general, fast) = (Root::of_all(batch.copy()), Root::lower_of_all(batch.copy()));
        for f in [Root::solve, Root::solve_transposed] {
            assert!((f(&general, &a) - f(&fast, &a)).abs().max().double_value(&[]) < 1e-14);
        }
    }
}
