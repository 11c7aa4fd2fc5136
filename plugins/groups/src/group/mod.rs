//! The groups; one file each.
//!
//! | name | element (after the leading axes) | algebra coordinates |
//! |---|---|---|
//! | [`So2`] | angle in `[-pi, pi]`, `[1]` | angle, `[1]` |
//! | [`Dilations`] (R+) | logarithm of the factor, `[1]` | the same |
//! | [`Translations`] (T(n)) | the vector, `[n]` | the same |
//! | [`So3`] | rotation matrix, `[3, 3]` | rotation vector, `[3]` |
//! | [`SoN`] | rotation matrix, `[n, n]` | plane angles, `[n (n - 1) / 2]` |
//! | [`Su2`] | unit quaternion `(w, x, y, z)`, `[4]` | rotation vector, `[3]` |
//! | [`Se2`], [`Se3`] | homogeneous matrix, `[3, 3]`, `[4, 4]` | `(omega, v)`, `[3]`, `[6]` |
//! | [`Euclidean`] (E(2), E(3)) | homogeneous matrix, of either determinant | `(omega, v)`, `[3]`, `[6]` |
//! | [`Torus`] (T^n) | angles in `[-pi, pi]`, `[n]` | the same |
//! | [`GlN`] (GL(n)+) | matrix, `[n, n]` | its entries, `[n^2]` |
//! | [`Heisenberg`] | `(x, y, z)`, `[3]` | `(a, b, c)`, `[3]` |
//! | [`Cyclic`], [`Dihedral`] | index, `[]` | - |
//! | [`Product`] | the factors' tensors one after another | likewise |
//! | [`Power`] | the base's tensors behind an index axis | likewise |

mod cyclic;
mod dihedral;
mod dilations;
mod euclidean;
mod gl_n;
mod heisenberg;
mod matrix_log;
mod power;
mod product;
pub mod rotation_math;
mod se2;
mod se3;
mod so2;
mod so3;
mod so_n;
mod su2;
mod tori;
mod translations;

pub use cyclic::{Cyclic, CyclicConfig};
pub use dihedral::{Dihedral, DihedralConfig};
pub use dilations::{Dilations, DilationsConfig};
pub use euclidean::{Euclidean, EuclideanConfig};
pub use gl_n::{GlN, GlNConfig};
pub use heisenberg::{Heisenberg, HeisenbergConfig};
pub use power::{Power, PowerConfig};
pub use product::{Product, ProductConfig};
pub use se2::{Se2, Se2Config};
pub use se3::{Se3, Se3Config};
pub use so_n::{SoN, SoNConfig};
pub use so2::{So2, So2Config, wrap};
pub use so3::{So3, So3Config};
pub use su2::{Su2, Su2Config};
pub use tori::{ToriConfig, Torus};
pub use translations::{Translations, TranslationsConfig};

use tch::Tensor;

/// The leading axes with a last axis of `size`.
fn with_axis(lead: &[i64], size: i64) -> Vec<Vec<i64>> {
    let mut shape = lead.to_vec();
    shape.push(size);
    vec![shape]
}

/// The leading axes of coefficients whose last axis is one group's own.
fn lead(xi_shape: &[Vec<i64>]) -> &[i64] {
    let shape = &xi_shape[0];
    &shape[..shape.len().saturating_sub(1)]
}

/// Zero where a number is finite, infinite where it is not; summed over the last axis.
fn non_finite(a: &Tensor) -> Tensor {
    // 0 * x is 0 for finite x and NaN otherwise.
    (a * 0.0).sum_dim_intlist(-1, false, None).nan_to_num(f64::INFINITY, None, None)
}
