//! The groups; one file each.
//!
//! | name | element (after the leading axes) | algebra coordinates |
//! |---|---|---|
//! | [`So2`] | angle in `[-pi, pi]`, `[1]` | angle, `[1]` |
//! | [`Dilations`] (R+) | logarithm of the factor, `[1]` | the same |
//! | [`Translations`] (T(n)) | the vector, `[n]` | the same |
//! | [`So3`] | rotation matrix, `[3, 3]` | rotation vector, `[3]` |
//! | [`SoN`] (n >= 4) | rotation matrix, `[n, n]` | - (not yet) |
//! | [`Su2`] | unit quaternion `(w, x, y, z)`, `[4]` | rotation vector, `[3]` |
//! | [`Se2`], [`Se3`] | homogeneous matrix, `[3, 3]`, `[4, 4]` | `(omega, v)`, `[3]`, `[6]` |
//! | [`Cyclic`], [`Dihedral`] | index, `[]` | - |
//! | [`Product`] | the factors' tensors one after another | likewise |

mod cyclic;
mod dihedral;
mod dilations;
mod product;
pub(crate) mod rotation_math;
mod se2;
mod se3;
mod so2;
mod so3;
mod so_n;
mod su2;
mod translations;

pub use cyclic::{Cyclic, CyclicConfig};
pub use dihedral::{Dihedral, DihedralConfig};
pub use dilations::{Dilations, DilationsConfig};
pub use product::{Product, ProductConfig};
pub use se2::{Se2, Se2Config};
pub use se3::{Se3, Se3Config};
pub use so_n::{SoN, SoNConfig};
pub use so2::{So2, So2Config, wrap};
pub use so3::{So3, So3Config};
pub use su2::{Su2, Su2Config};
pub use translations::{Translations, TranslationsConfig};

use isotropy_core::{Error, Result};
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

/// Refuses elements that left the group.
///
/// # Errors
/// `Numbers` with the size of the largest violation.
fn require_member(name: &str, violation: &Tensor) -> Result<()> {
    if violation.numel() == 0 {
        return Ok(());
    }
    // Single precision loses about 1e-6 in a long chain of products; a matrix that is not a
    // rotation at all is off by far more.
    let allowed = if violation.kind() == tch::Kind::Double { 1e-8 } else { 1e-4 };
    let worst = violation.max().double_value(&[]);
    if worst <= allowed {
        return Ok(());
    }
    Err(Error::Numbers(format!(
        "not an element of {name}: the defining equations are violated by {worst:.3e} (allowed: {allowed:.0e})"
    )))
}
