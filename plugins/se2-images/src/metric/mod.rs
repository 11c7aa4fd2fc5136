//! Metrics: what a classifier says about the samples, and how far their angle and shift are off.

mod angle_error;
mod digit_accuracy;
mod frechet_per_digit;
mod judged;
mod motion_error;
mod registration;

pub use angle_error::AngleErrorConfig;
pub use digit_accuracy::DigitAccuracyConfig;
pub use frechet_per_digit::FrechetPerDigitConfig;
pub use motion_error::{By, MotionErrorConfig};

/// Mean and population standard deviation over digits.
fn mean_and_std(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    (mean, variance.sqrt())
}
