//! Rotation matrices of the real irreps.

use super::clebsch_gordan;
use isotropy_core::Constant;
use tch::Tensor;

/// The matrices `D_l(R)` of degrees up to a largest one, with `Y_l(R v) = D_l(R) Y_l(v)`.
///
/// Degree 1 is `R` with its axes in the order `(y, z, x)`. Degree `l` is the part of
/// `D_1 x D_(l-1)` that transforms as `l`, `D_l = C^T (D_1 x D_(l-1)) C` with the isometric
/// Clebsch-Gordan tensor `C` of `1, l-1 -> l`: a few matrix products for a whole batch, no angle,
/// rounding errors of a few units in the last place. The entries are polynomials of degree `l` in
/// those of `R`, so derivatives are finite everywhere.
#[derive(Debug, Clone)]
pub struct Wigner {
    /// For degrees 2 and above: `C` as `[3, 2l - 1, 2l + 1]`.
    couplings: Vec<Constant>,
    l_max: i64,
}

impl Wigner {
    /// Matrices up to that degree.
    pub fn new(l_max: i64) -> Self {
        let couplings = (2..=l_max)
            .map(|l| {
                let tensor = clebsch_gordan(1, l - 1, l).expect("1 and l - 1 couple to l");
                Constant::new(tensor, &[3, 2 * l - 1, 2 * l + 1])
            })
            .collect();
        Self { couplings, l_max }
    }

    /// The largest degree.
    pub fn l_max(&self) -> i64 {
        self.l_max
    }

    /// `D_0, .., D_l_max`, each `[.., 2l + 1, 2l + 1]`, for rotation matrices `[.., 3, 3]`.
    pub fn matrices(&self, r: &Tensor) -> Vec<Tensor> {
        self.up_to(self.l_max, r)
    }

    /// The matrices of one degree.
    ///
    /// # Panics
    /// When `l` is larger than the degree that this was made for.
    pub fn matrix(&self, l: i64, r: &Tensor) -> Tensor {
        assert!((0..=self.l_max).contains(&l), "degree {l} of a Wigner table up to {}", self.l_max);
        self.up_to(l, r).pop().expect("there is at least degree 0")
    }

    fn up_to(&self, l_max: i64, r: &Tensor) -> Vec<Tensor> {
        let mut all = vec![r.narrow(-1, 0, 1).narrow(-2, 0, 1).ones_like()];
        if l_max >= 1 {
            // Rows and columns (x, y, z) become (y, z, x).
            all.push(r.roll([-1, -1], [-2, -1]));
        }
        for l in 2..=l_max {
            let c = self.couplings[l as usize - 2].tensor((r.kind(), r.device()));
            let next = couple(l, &c, &all[1], &all[l as usize - 1]);
            all.push(next);
        }
        all
    }
}

/// `C^T (D_1 x D_(l-1)) C`, one index after the other.
fn couple(l: i64, c: &Tensor, first: &Tensor, before: &Tensor) -> Tensor {
    let (b, n) = (2 * l - 1, 2 * l + 1);
    let size = first.size();
    let lead = &size[..size.len() - 2];
    let shape = |rest: &[i64]| [lead, rest].concat();
    // D_(l-1)[b, b'] C[a', b', c'] -> [.., b, a', c'].
    let right = c.permute([1, 0, 2]).reshape([b, 3 * n]);
    let u = before.matmul(&right).reshape(shape(&[b, 3, n]));
    // D_1[a, a'] -> [.., a, b, c'].
    let u = u.transpose(-3, -2).reshape(shape(&[3, b * n]));
    let v = first.matmul(&u).reshape(shape(&[3 * b, n]));
    c.reshape([3 * b, n]).transpose(0, 1).matmul(&v)
}
