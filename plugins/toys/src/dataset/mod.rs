//! Toy densities in two, three and four dimensions (sism.md 3.1), one file each.
//!
//! All of them are laws that can be drawn from without end. A run gets a fixed set of training
//! points (that many are all it ever sees) and fresh, independent points of the same law for
//! validation and test. Which points these are depends on the dataset's own seed alone, so that runs
//! with different seeds learn from the same data.

mod c4_gaussians;
mod concentric_circles;
mod gaussian_mixture;
mod gaussian_mixture_2d;
mod gaussian_mixture_3d;
mod gaussian_mixture_4d;
mod line_rays;
mod moebius;
mod torus;

pub use c4_gaussians::C4GaussiansConfig;
pub use concentric_circles::ConcentricCirclesConfig;
pub use gaussian_mixture_2d::GaussianMixture2dConfig;
pub use gaussian_mixture_3d::GaussianMixture3dConfig;
pub use gaussian_mixture_4d::GaussianMixture4dConfig;
pub use line_rays::LineRaysConfig;
pub use moebius::MoebiusConfig;
pub use torus::TorusConfig;
