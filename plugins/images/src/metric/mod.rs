//! Metrics of images: distances in feature space, equivariance of whole runs, quality against a truth.

mod features;
mod frechet;
pub mod frechet_distance;
mod quality;

pub use features::{Features, PixelRange, TorchScript};
pub use frechet::ImageFrechetConfig;
pub use quality::{ImageQualityConfig, psnr, ssim};

use isotropy_core::{Error, Result};
use tch::{Kind, Tensor};

/// Refuses images with numbers that are not finite.
pub fn finite(what: &str, images: &Tensor) -> Result<()> {
    let bad = images.isfinite().logical_not().sum(Kind::Int64).int64_value(&[]);
    if bad > 0 {
        return Err(Error::Numbers(format!("{bad} pixels of the {what} are not finite")));
    }
    Ok(())
}

/// `prefix_name`, or the name alone.
pub fn named(prefix: Option<&String>, name: &str) -> String {
    prefix.map_or_else(|| name.to_string(), |prefix| format!("{prefix}_{name}"))
}
