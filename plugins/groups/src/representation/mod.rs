//! How groups act on states; one file each.
//!
//! | name | group | drives in |
//! |---|---|---|
//! | [`Polar`] | SO(2)xR+ on the plane | `(log r, theta)` |
//! | [`Spherical`] | SO(3)xR+ on space | `(log r, theta, phi)` |
//! | [`Hyperspherical`] | SO(n)xR+ on R^n | `(log r, phi_1, ..)` |
//! | [`Translation`] | T(n) on any value | the components |
//! | [`Torus`] | SO(2)^n on angles | the generators |
//! | [`RotationMatrices`] | SO(3) on rotation matrices | the generators |
//! | [`Generators`] | SO(n)xR+ on R^n, n = 2, 3, 4 | the generators and `log r` |
//! | [`Rotation`] | SO(2), SO(3) on vectors | - |
//! | [`Defining`] | any group of matrices on points and vectors | - |
//! | [`Rotated`] | SO(3) on irreps | - |
//! | [`Permutation`], [`PointPermutation`] | finite groups on cosets; regular | - |
//! | [`DirectSum`], [`TensorProduct`], [`Dual`] | of [`Linear`] representations | - |
//! | [`Trivial`] | one element | - |

mod charted;
mod combined;
mod defining;
mod generators;
mod hyperspherical;
mod irrep;
pub mod linear;
mod matrices;
mod permutation;
mod polar;
mod rotation;
mod rotation_matrices;
mod spherical;
mod torus;
mod translations;
mod trivial;

pub use charted::{Chart, Charted, TAU, spherical_branches};
pub use combined::{
    DirectSum, DirectSumConfig, Dual, DualConfig, TensorProduct, TensorProductConfig,
};
pub use defining::{Defining, DefiningConfig};
pub use generators::{Generators, GeneratorsConfig};
pub use hyperspherical::{Hyperspherical, HypersphericalChart, HypersphericalConfig};
pub use irrep::{IrrepConfig, IrrepsConfig, Rotated};
pub use linear::Linear;
pub use matrices::{LinearRepresentation, as_linear};
pub use permutation::{Permutation, PermutationConfig, Permuted, PointPermutation, RegularConfig};
pub use polar::{Polar, PolarChart, PolarConfig};
pub use rotation::{Rotation, RotationConfig};
pub use rotation_matrices::{RotationMatrices, RotationMatricesConfig};
pub use spherical::{Spherical, SphericalChart, SphericalConfig};
pub use torus::{Torus, TorusConfig};
pub use translations::{Translation, TranslationConfig};
pub use trivial::{Trivial, TrivialConfig};
