//! The Frechet distance of normal laws, and of features as if they were normal.
//!
//! Between `N(m1, S1)` and `N(m2, S2)` its square is
//! `|m1 - m2|^2 + Tr S1 + Tr S2 - 2 Tr (S1^1/2 S2 S1^1/2)^1/2` (Dowson and Landau 1982); the square
//! is what is called the Frechet inception distance.

use isotropy_core::{Error, Result};
use tch::{Kind, Tensor};

/// The (squared) Frechet distance of two normal laws with means `[d]` and covariances `[d, d]`. The
/// root is taken through symmetric eigendecompositions, in double precision.
///
/// # Errors
/// When libtorch refuses a decomposition.
pub fn frechet_of_moments(m1: &Tensor, s1: &Tensor, m2: &Tensor, s2: &Tensor) -> Result<f64> {
    let double = |a: &Tensor| a.to_kind(Kind::Double);
    let (m1, s1, m2, s2) = (double(m1), double(s1), double(m2), double(s2));
    let (values, vectors) = s1.f_linalg_eigh("L")?;
    // Rounding makes null directions slightly negative.
    let root = (&vectors * values.clamp_min(0.0).sqrt()).f_matmul(&vectors.tr())?;
    let inner = root.f_matmul(&s2)?.f_matmul(&root)?;
    let cross = ((&inner + inner.tr()) * 0.5).f_linalg_eigvalsh("L")?.clamp_min(0.0).sqrt();
    let trace = s1.trace() + s2.trace() - cross.sum(Kind::Double) * 2.0;
    Ok(((m1 - m2).square().sum(Kind::Double) + trace).double_value(&[]))
}

/// The (squared) Frechet distance of two sets of features `[n, d]`, with unbiased covariances.
///
/// Where both sets have more points than dimensions, by the moments. Else with centred features `A = X1/sqrt(n1-1)`, `B = X2/sqrt(n2-1)` the eigenvalues of `S1 S2` are the
/// squared singular values of `A B^T`, so `Tr (S1^1/2 S2 S1^1/2)^1/2` is its nuclear norm. That needs
/// an `n1 x n2` matrix instead of three of `d x d`, and is exact when `n < d` makes the covariances
/// singular.
///
/// # Errors
/// When a set has fewer than two points, or libtorch refuses a decomposition.
pub fn frechet_distance(x1: &Tensor, x2: &Tensor) -> Result<f64> {
    let (n1, n2) = (x1.size()[0], x2.size()[0]);
    if n1 < 2 || n2 < 2 {
        return Err(Error::Unsupported(format!(
            "a Frechet distance needs at least two points on each side, not {n1} and {n2}"
        )));
    }
    if n1.min(n2) > x1.size()[1] {
        let moments = |x: &Tensor| {
            let x = x.to_kind(Kind::Double);
            (x.mean_dim(0, false, None), x.tr().cov(1, None::<&Tensor>, None::<&Tensor>))
        };
        let ((m1, s1), (m2, s2)) = (moments(x1), moments(x2));
        return frechet_of_moments(&m1, &s1, &m2, &s2);
    }
    let split = |x: &Tensor, n: i64| {
        let x = x.to_kind(Kind::Double);
        let mean = x.mean_dim(0, true, None);
        ((x - &mean) / ((n - 1) as f64).sqrt(), mean)
    };
    let ((a, m1), (b, m2)) = (split(x1, n1), split(x2, n2));
    let trace = a.square().sum(Kind::Double) + b.square().sum(Kind::Double);
    let cross = a.f_matmul(&b.tr())?;
    let nuclear = cross.f_linalg_norm_ord_str("nuc", [0_i64, 1].as_slice(), false, Kind::Double)?;
    let means = (m1 - m2).square().sum(Kind::Double);
    Ok((means + trace - nuclear * 2.0).double_value(&[]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn random(n: i64, d: i64) -> Tensor {
        Tensor::randn([n, d], (Kind::Double, Device::Cpu))
    }

    fn moments(x: &Tensor) -> (Tensor, Tensor) {
        (x.mean_dim(0, false, None), x.tr().cov(1, None::<&Tensor>, None::<&Tensor>))
    }

    #[test]
    fn both_formulas_agree_with_more_and_with_fewer_points_than_dimensions() {
        for (n1, n2, d) in [(50, 40, 6), (7, 9, 30), (5, 60, 6)] {
            let (x, y) = (random(n1, d), random(n2, d) * 1.5 + 0.3);
            let ((m1, s1), (m2, s2)) = (moments(&x), moments(&y));
            let expected = frechet_of_moments(&m1, &s1, &m2, &s2).unwrap();
            let found = frechet_distance(&x, &y).unwrap();
            // Roots of null eigenvalues cost the moments' formula half the digits.
            assert!((found - expected).abs() < 1e-5 * expected, "{found} {expected}");
        }
    }

    #[test]
    fn a_shift_counts_its_square() {
        let x = random(20, 50);
        let found = frechet_distance(&x, &(&x + 0.5)).unwrap();
        assert!((found - 50.0 * 0.25).abs() < 1e-8, "{found}");
        assert!(frechet_distance(&x, &random(1, 50)).is_err());
    }
}
