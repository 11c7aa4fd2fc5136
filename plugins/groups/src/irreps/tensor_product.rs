//! Tensor products of features.

use super::{Irrep, Irreps, clebsch_gordan};
use isotropy_core::Constant;
use isotropy_core::{Error, Result};
use tch::Tensor;

/// One way for two irreps to make a third.
#[derive(Debug, Clone)]
pub struct Path {
    /// Block of the left features.
    pub left: usize,
    /// Block of the right features.
    pub right: usize,
    /// What comes out.
    pub irrep: Irrep,
    /// How many come out: one for every pair of copies.
    pub multiplicity: i64,
    /// Where the results start among the results of all paths.
    pub start: i64,
    /// Clebsch-Gordan tensor, `[2 l2 + 1, (2 l1 + 1)(2 l3 + 1)]`.
    coupling: Constant,
}

/// The tensor product of two kinds of features, taken apart into irreps.
///
/// Every copy of a left irrep meets every copy of a right one. With single copies on the right
/// (spherical harmonics of an edge) that is the channelwise product of tensor-field networks, and a
/// weight for each result (from the length of the edge) makes their convolution. Results have mean
/// square 1 in every component when independent factors have it: the coupling is isometric.
///
/// The results are ordered by irrep (degree, even before odd), then by path, so that each irrep is
/// one block of [`TensorProduct::irreps_out`].
#[derive(Debug, Clone)]
pub struct TensorProduct {
    left: Irreps,
    right: Irreps,
    out: Irreps,
    paths: Vec<Path>,
}

impl TensorProduct {
    /// All paths to irreps of degree up to `l_max`.
    ///
    /// # Errors
    /// As for [`TensorProduct::filtered`].
    pub fn new(left: &Irreps, right: &Irreps, l_max: i64) -> Result<Self> {
        Self::filtered(left, right, |irrep| irrep.l <= l_max)
    }

    /// All paths to irreps for which `keep` holds.
    ///
    /// # Errors
    /// When there is no path.
    pub fn filtered(left: &Irreps, right: &Irreps, keep: impl Fn(Irrep) -> bool) -> Result<Self> {
        let mut paths = Vec::new();
        for (i, a) in left.blocks().iter().enumerate() {
            for (j, b) in right.blocks().iter().enumerate() {
                for irrep in a.irrep.product(b.irrep).filter(|&irrep| keep(irrep)) {
                    paths.push(Path {
                        left: i,
                        right: j,
                        irrep,
                        multiplicity: a.multiplicity * b.multiplicity,
                        start: 0,
                        coupling: coupling(a.irrep.l, b.irrep.l, irrep.l),
                    });
                }
            }
        }
        if paths.is_empty() {
            return Err(Error::config(
                "",
                format!("no product of {left} and {right} is among the wanted irreps"),
            ));
        }
        paths.sort_by_key(|path| path.irrep);
        let mut start = 0;
        for path in &mut paths {
            path.start = start;
            start += path.multiplicity;
        }
        let out =
            Irreps::new(paths.iter().map(|path| (path.multiplicity, path.irrep))).simplified();
        Ok(Self { left: left.clone(), right: right.clone(), out, paths })
    }

    /// The paths, in the order of their results.
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// The left features.
    pub fn irreps_left(&self) -> &Irreps {
        &self.left
    }

    /// The right features.
    pub fn irreps_right(&self) -> &Irreps {
        &self.right
    }

    /// What comes out.
    pub fn irreps_out(&self) -> &Irreps {
        &self.out
    }

    /// Number of weights that [`TensorProduct::forward`] takes: one for each irrep that comes out.
    pub fn weights(&self) -> i64 {
        self.out.count()
    }

    /// The product of features `[.., left width]` and `[.., right width]` with the same leading
    /// axes, `[.., out width]`. With weights `[.., weights]` (or `[weights]`), each irrep that comes
    /// out is multiplied by its own.
    pub fn forward(&self, x: &Tensor, y: &Tensor, weights: Option<&Tensor>) -> Tensor {
        let (x, y) = (self.left.split(x), self.right.split(y));
        let mut rows = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            let (a, b) = (&x[path.left], &y[path.right]);
            let (size, copies) = (a.size(), b.size()[b.dim() - 2]);
            let (lead, n) = (&size[..size.len() - 2], path.irrep.dimension());
            let (count, l) = (size[size.len() - 2], size[size.len() - 1]);
            let shape = |rest: &[i64]| [lead, rest].concat();
            // The right factor turns the coupling into a matrix for each of its copies.
            let matrix = b.matmul(&path.coupling.tensor((b.kind(), b.device())));
            let matrix = if copies == 1 {
                matrix.reshape(shape(&[l, n]))
            } else {
                let matrix = matrix.reshape(shape(&[copies, l, n])).transpose(-3, -2);
                matrix.reshape(shape(&[l, copies * n]))
            };
            let out = a.matmul(&matrix).reshape(shape(&[count * copies, n]));
            let out = match weights {
                Some(w) => out * w.narrow(-1, path.start, path.multiplicity).unsqueeze(-1),
                None => out,
            };
            rows.push(out.flatten(-2, -1));
        }
        Tensor::cat(&rows, -1)
    }
}

/// `C[a, b, c]` with the right index first.
fn coupling(l1: i64, l2: i64, l3: i64) -> Constant {
    let (n1, n2, n3) = ((2 * l1 + 1) as usize, (2 * l2 + 1) as usize, (2 * l3 + 1) as usize);
    let tensor = clebsch_gordan(l1, l2, l3).expect("the product of two irreps contains the third");
    let mut turned = vec![0.0; tensor.len()];
    for a in 0..n1 {
        for b in 0..n2 {
            for c in 0..n3 {
                turned[(b * n1 + a) * n3 + c] = tensor[(a * n2 + b) * n3 + c];
            }
        }
    }
    Constant::new(turned, &[n2 as i64, (n1 * n3) as i64])
}
