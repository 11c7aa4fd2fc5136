//! Metrics: what a classifier says about the samples, and how far their angle and shift are off.

mod accuracy;
mod angle;
mod frechet;
mod judged;
mod motion;

pub use accuracy::DigitAccuracyConfig;
pub use angle::AngleErrorConfig;
pub use frechet::FrechetPerDigitConfig;
pub use motion::{By, MotionErrorConfig};

/// Mean and population standard deviation over digits.
fn mean_and_std(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    (mean, variance.sqrt())
}
