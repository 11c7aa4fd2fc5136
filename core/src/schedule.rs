//! Noise schedules: mean factor and standard deviation of a Gaussian kernel as functions of time.

use tch::{Device, Kind, Tensor};

/// Discrete tables of a schedule, index `0 ..= steps`.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Noise variance added in step `t` (variance-preserving: `beta_t`; exploding: the increment of
    /// `std^2`).
    pub beta: Vec<f64>,
    /// Factor of the clean coordinates after step `t`: `sqrt(alpha_bar_t)`, or 1.
    pub mean: Vec<f64>,
    /// Standard deviation after step `t`.
    pub std: Vec<f64>,
}

/// Whether the mean decays or the noise grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `mean^2 + std^2 = 1`.
    VariancePreserving,
    /// `mean = 1`.
    VarianceExploding,
}

/// The kernel `tau_t = mean(u) tau_0 + std(u) z` at relative time `u = t / end` in `[0, 1]`.
pub trait Schedule: Send + Sync + std::fmt::Debug {
    /// Which family it belongs to.
    fn family(&self) -> Family;

    /// `(mean, std)` at relative times `u`, elementwise, on the device of `u`.
    fn mean_std(&self, u: &Tensor) -> (Tensor, Tensor);

    /// Tables for a process of `steps` discrete steps; index 0 is the least noise.
    fn table(&self, steps: usize) -> Table;

    /// `(mean, std)` at one relative time, on the host.
    fn at(&self, u: f64) -> (f64, f64) {
        let (mean, std) = self.mean_std(&Tensor::full([1], u, (Kind::Double, Device::Cpu)));
        (mean.double_value(&[0]), std.double_value(&[0]))
    }

    /// The relative time at which the standard deviation (for a preserving schedule the ratio
    /// `std / mean`) takes a value, by bisection; clamped to `[0, 1]`.
    fn time_of_noise(&self, level: f64) -> f64 {
        let noise = |u: f64| {
            let (mean, std) = self.at(u);
            std / mean
        };
        let (low, high) = crate::bisect(0.0, 1.0, |u| noise(u) < level);
        0.5 * (low + high)
    }
}
