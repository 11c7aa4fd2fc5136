//! How groups act on states; one file each.
//!
//! | name | group | drives in |
//! |---|---|---|
//! | [`Polar`] | SO(2)xR+ on the plane | `(log r, theta)` |
//! | [`Spherical`] | SO(3)xR+ on space | `(log r, theta, phi)` |
//! | [`Hyperspherical`] | SO(n)xR+ on R^n | `(log r, phi_1, ..)` |
//! | [`Translation`] | T(n) on any value | the components |
//! | [`ImageRotation`](image_rotation::ImageRotation) | SO(2) on images | the total angle |
//! | [`Rotation`] | SO(2), SO(3) on vectors | - |
//! | [`ImagePermutation`] | flips and quarter turns | - |
//! | [`Trivial`] | one element | - |

mod charted;
mod hyperspherical;
mod image_permutation;
pub mod image_rotation;
mod linear;
mod polar;
mod rotation;
mod spherical;
mod translations;
mod trivial;

pub use charted::{Chart, Charted, TAU};
pub use hyperspherical::{Hyperspherical, HypersphericalChart, HypersphericalConfig};
pub use image_permutation::{ImagePermutation, ImagePermutationConfig, PixelGroup};
pub use polar::{Polar, PolarChart, PolarConfig};
pub use rotation::{Rotation, RotationConfig};
pub use spherical::{Spherical, SphericalChart, SphericalConfig};
pub use translations::{Translation, TranslationConfig};
pub use trivial::{Trivial, TrivialConfig};
