//! Irreducible representations of SO(3) and O(3): real spherical harmonics, their rotation matrices
//! (Wigner D), Clebsch-Gordan tensors, and features that are made of irreps. The base of
//! equivariant networks.
//!
//! # Conventions
//!
//! The representation of degree `l` has `2l + 1` real components in the order `m = -l .. l`, those
//! of the real spherical harmonics with the polar axis `z` and without the Condon-Shortley sign:
//!
//! `Y_l^m = sqrt((2l+1)/(4 pi) (l-|m|)!/(l+|m|)!) P_l^|m|(cos theta) (sqrt2 cos(m phi), 1, sqrt2
//! sin(|m| phi))` for `m > 0`, `m = 0`, `m < 0`.
//!
//! So degree 1 is `(y, z, x)` up to a factor, degree 2 is `(xy, yz, 2z^2-x^2-y^2, xz, x^2-y^2)`.
//! The library e3nn has the same components with the axes named differently (its polar axis is `y`):
//! `Y_ours(x, y, z) = Y_e3nn(y, z, x)`, so its degree 1 reads `(x, y, z)`.
//!
//! Matrices obey `Y_l(R v) = D_l(R) Y_l(v)` and are orthogonal. Clebsch-Gordan tensors are isometric:
//! `sum_ab C[a,b,c] C[a,b,c'] = delta_cc'`; `1 x 1 -> 0` is `a.b / sqrt3`, `1 x 1 -> 1` is
//! `a x b / sqrt2` ([`clebsch_gordan`] says how the sign is chosen in general).
//!
//! Under inversion an irrep is even (`e`) or odd (`o`); the harmonics of degree `l` have the parity
//! `(-1)^l`. Features `"16x0e + 8x1o"` are stored block after block, each block as
//! `[multiplicity, 2l + 1]` with the components running fastest.

mod clebsch_gordan;
mod features;
mod harmonics;
mod tensor_product;
mod wigner;

pub use clebsch_gordan::{clebsch_gordan, clebsch_gordan_complex};
pub use features::{Block, Irrep, Irreps, Parity};
pub use harmonics::{Normalisation, solid_harmonics, spherical_harmonics};
pub use tensor_product::{Path, TensorProduct};
pub use wigner::Wigner;
