//! Logarithms of batches of matrices: rotations of four and more dimensions, and GL(n)+.
//!
//! Both work in f64 whatever the input is, so that what f32 input loses is its own rounding, and
//! both are made of products and inverses, so that autodiff goes through.

use isotropy_core::{Error, Result};
use std::f64::consts::PI;
use tch::{Device, Kind, Tensor, no_grad};

/// How far from the cut locus, in radians, the logarithms end: an angle above `pi - MARGIN` is
/// refused.
pub const MARGIN: f64 = 1e-3;

/// An angle may exceed `pi - MARGIN` by what f32 input rounds it by.
const SLACK: f64 = 1e-5;

/// Eigenvalues that agree within this, relative to the larger, count as one.
const REAL: f64 = 1e-12;

fn eye_like(a: &Tensor) -> Tensor {
    Tensor::eye(a.size()[a.dim() - 1], (a.kind(), a.device()))
}

fn transposed(a: &Tensor) -> Tensor {
    a.transpose(-1, -2)
}

/// One step of Newton and Schulz towards the nearest orthogonal matrix; squares an error that is
/// already small.
pub fn orthogonalised(r: &Tensor) -> Tensor {
    let gram = transposed(r).matmul(r);
    r.matmul(&(eye_like(r) * 3.0 - gram)) * 0.5
}

/// `sum_k c_k a^k` for matrices.
fn polynomial(a: &Tensor, coefficients: &[f64]) -> Tensor {
    let eye = eye_like(a);
    let (last, rest) = coefficients.split_last().expect("a polynomial has coefficients");
    let mut sum = &eye * *last;
    for coefficient in rest.iter().rev() {
        sum = sum.matmul(a) + &eye * *coefficient;
    }
    sum.expand_as(a)
}

/// Refuses angles beyond `pi - MARGIN`.
fn refuse_beyond(name: &str, largest: f64) -> Result<()> {
    if largest <= PI - MARGIN + SLACK {
        return Ok(());
    }
    Err(Error::Unsupported(format!(
        "the logarithm of {name} is offered for angles up to pi - {MARGIN:.0e}; one of them is \
         {largest:.9} = pi - {:.3e}",
        PI - largest
    )))
}

/// The principal square root of rotations. `(1 + R) = R^(1/2) (R^(-1/2) + R^(1/2))`, and the bracket
/// is symmetric and positive, so the root is the orthogonal polar factor of `1 + R`; Newton's
/// iteration with scaling finds it (Higham 1986).
fn root_of_rotation(r: &Tensor) -> Result<Tensor> {
    // Singular values lie between 1e-3 and 2: scaled, ten steps reach rounding with room to spare.
    let mut x = eye_like(r) + r;
    let size = |a: &Tensor| a.detach().square().sum_dim_intlist([-2, -1].as_slice(), true, None);
    for _ in 0..10 {
        let y = transposed(&Tensor::f_linalg_inv(&x)?);
        let scale = (size(&y) / size(&x)).pow_tensor_scalar(0.25);
        x = (&x * &scale + y / &scale) * 0.5;
    }
    Ok(x)
}

/// As [`root_of_rotation`], for angles up to pi/2, by products alone: the singular values of `1 + R`
/// lie between sqrt 2 and 2, where the iteration of Newton and Schulz converges fast.
fn root_of_small_rotation(r: &Tensor) -> Tensor {
    let mut x = (eye_like(r) + r) / (1.0 + 0.5f64.sqrt());
    for _ in 0..6 {
        x = orthogonalised(&x);
    }
    x
}

/// The largest plane angle of rotations, `[..]`.
fn largest_angle(r: &Tensor) -> Tensor {
    let symmetric = (r + transposed(r)) * 0.5;
    symmetric.linalg_eigvalsh("L").amin(-1, false).clamp(-1.0, 1.0).acos()
}

/// The skew logarithms of rotations `[.., n, n]`.
///
/// With `S = R^(1/4)` of angles `phi <= pi/4`, its skew part `K` has `sin phi` where its symmetric
/// part `1 - Y` has `cos phi`, and `phi / sin phi = sum_k 2^k (k!)^2 / (2k + 1)! (1 - cos phi)^k`, so
/// `log R = 4 K sum_k c_k Y^k`. Small angles keep their digits: they stand in `K` alone.
///
/// # Errors
/// `Unsupported` where an angle exceeds `pi - MARGIN`.
pub fn log_rotation(name: &str, r: &Tensor) -> Result<Tensor> {
    if r.numel() == 0 {
        return Ok(r.shallow_clone());
    }
    let kind = r.kind();
    let r = orthogonalised(&orthogonalised(&r.to_kind(Kind::Double)));
    refuse_beyond(name, no_grad(|| largest_angle(&r).max().double_value(&[])))?;
    let s = root_of_small_rotation(&root_of_rotation(&r)?);
    let skew = (&s - transposed(&s)) * 0.5;
    let y = eye_like(&s) - (&s + transposed(&s)) * 0.5;
    // |Y| <= 1 - cos(pi/4) = 0.293 against a radius of convergence of 2.
    let mut coefficients = vec![1.0];
    for k in 0..19 {
        coefficients.push(coefficients[k] * (k as f64 + 1.0) / (2.0 * k as f64 + 3.0));
    }
    let log = skew.matmul(&polynomial(&y, &coefficients)) * 4.0;
    Ok(log.to_kind(kind))
}

/// The principal square root of matrices without eigenvalues on the negative real axis: the product
/// form of the iteration of Denman and Beavers, scaled by determinants (Cheng, Higham, Kenney and
/// Laub 2001, equation 4.2).
fn root(a: &Tensor) -> Result<Tensor> {
    let eye = eye_like(a);
    let n = a.size()[a.dim() - 1] as f64;
    let (mut m, mut x) = (a.shallow_clone(), a.shallow_clone());
    let mut last = f64::INFINITY;
    for _ in 0..60 {
        let inverse = Tensor::f_linalg_inv(&m)?;
        // Scaling helps far from the limit and would disturb the last steps.
        let (square, now) = no_grad(|| {
            let off = (&m - &eye).square().sum_dim_intlist([-2, -1].as_slice(), true, None).sqrt();
            let (_, log_det) = Tensor::linalg_slogdet(&m);
            let square = (log_det / -n).exp().unsqueeze(-1).unsqueeze(-1);
            let square = square.where_self(&off.gt(0.05), &square.ones_like());
            (square, off.max().double_value(&[]))
        });
        if now < 1e-14 || (now < 1e-10 && now >= 0.5 * last) {
            return Ok(x);
        }
        if !now.is_finite() {
            break;
        }
        last = now;
        let back = &inverse / &square;
        x = x.matmul(&(&eye + &back)) * square.sqrt() * 0.5;
        m = (&eye + (&m * &square + back) * 0.5) * 0.5;
    }
    Err(Error::Numbers("the square root of a matrix did not converge".into()))
}

/// The principal logarithms of matrices `[.., n, n]` by inverse scaling and squaring: square roots
/// until all are near 1, then `log Y = 2 artanh((Y - 1)(Y + 1)^-1)` by its series.
///
/// # Errors
/// `Unsupported` where an eigenvalue lies on the negative real axis or closer to it than `MARGIN`
/// radians; `Numbers` where the matrix is too ill-conditioned for the square roots to converge.
pub fn log_general(name: &str, g: &Tensor) -> Result<Tensor> {
    if g.numel() == 0 {
        return Ok(g.shallow_clone());
    }
    let kind = g.kind();
    let mut y = g.to_kind(Kind::Double);
    // On the CPU: not every build of libtorch for CUDA has this decomposition.
    let values = no_grad(|| y.to_device(Device::Cpu).f_linalg_eigvals())?;
    let (re, im) = (values.real(), values.imag());
    let negative = re.lt(0.0).logical_and(&im.abs().le_tensor(&(re.abs() * REAL)));
    if negative.any().int64_value(&[]) != 0 {
        let least = re.where_self(&negative, &re.zeros_like()).min().double_value(&[]);
        return Err(Error::Unsupported(format!(
            "the matrix has the negative real eigenvalue {least:.6e}, so {name} has no principal \
             logarithm for it (and, unless such eigenvalues come in equal pairs, exp does not \
             reach it)"
        )));
    }
    refuse_beyond(name, im.atan2(&re).abs().max().double_value(&[]))?;
    let eye = eye_like(&y);
    let mut roots = 0;
    loop {
        let off = no_grad(|| (&y - &eye).abs().sum_dim_intlist(-1, false, None).max());
        if off.double_value(&[]) < 0.3 {
            break;
        }
        if roots == 40 {
            return Err(Error::Numbers(format!("the logarithm of {name} did not converge")));
        }
        y = root(&y)?;
        roots += 1;
    }
    // |C| < 0.18, so that 11 terms leave 1e-17.
    let c = Tensor::f_linalg_solve(&(&y + &eye), &(&y - &eye), true)?;
    let coefficients: Vec<f64> = (0..11).map(|k| 1.0 / (2 * k + 1) as f64).collect();
    let log = c.matmul(&polynomial(&c.matmul(&c), &coefficients)) * 2f64.powi(roots + 1);
    Ok(log.to_kind(kind))
}
