//! Noise schedules that every plugin may use.
//!
//! Notation: `u = t / end` in `[0, 1]` is relative time, `alpha_bar` the squared factor of the clean
//! coordinates, `beta` the variance that a discrete step adds. Closed forms and tables agree like
//! this, for `T` steps:
//!
//! | schedule | table index `t` is relative time | beyond that |
//! |---|---|---|
//! | cosine, linear-time, linear-beta | `(t + 1) / (T + 1)` | exact, but for the clip of the last index |
//! | ddpm | `(t + 1) / T` | the table is a product of `1 - beta_i`, the closed form `exp(-integral)`: they differ by `O(1 / T)` |
//! | ve-geometric, karras, ve-linear | `t / T` | exact |

pub mod conformance;
mod cosine;
mod ddim_cosine;
mod ddpm;
mod geometric;
mod karras;
mod linear_beta;
mod linear_sigma;
mod linear_time;

pub use cosine::{Cosine, CosineConfig};
pub use ddim_cosine::DdimCosineConfig;
pub use ddpm::{Ddpm, DdpmConfig};
pub use geometric::{Geometric, GeometricConfig};
pub use karras::{Karras, KarrasConfig};
pub use linear_beta::{LinearBeta, LinearBetaConfig};
pub use linear_sigma::{LinearSigma, LinearSigmaConfig};
pub use linear_time::{LinearTime, LinearTimeConfig};

use isotropy_core::schedule::Table;
use isotropy_core::{Error, Result};
use tch::Tensor;

/// The smallest `alpha_bar` of a closed form: at `u = 1` it would vanish, and with it every estimate
/// that divides by the mean.
const ALPHA_BAR_FLOOR: f64 = 1e-7;

/// `(mean, std)` of a preserving kernel from `1 - alpha_bar`, which keeps its digits near `u = 0`.
fn preserving_tensor(variance: &Tensor) -> (Tensor, Tensor) {
    let variance = variance.clamp(0.0, 1.0 - ALPHA_BAR_FLOOR);
    // In single precision 1 - (1 - floor) is not the floor, hence the second clamp.
    ((1.0_f64 - &variance).clamp_min_(ALPHA_BAR_FLOOR).sqrt_(), variance.sqrt())
}

/// [`preserving_tensor`] for one number.
fn preserving(variance: f64) -> (f64, f64) {
    let variance = variance.clamp(0.0, 1.0 - ALPHA_BAR_FLOOR);
    ((1.0 - variance).max(ALPHA_BAR_FLOOR).sqrt(), variance.sqrt())
}

/// Tables of a preserving schedule from its `beta`.
fn table_from_beta(beta: Vec<f64>) -> Table {
    let mut alpha_bar = 1.0;
    let (mut mean, mut std) = (Vec::with_capacity(beta.len()), Vec::with_capacity(beta.len()));
    for beta in &beta {
        alpha_bar *= 1.0 - beta;
        mean.push(alpha_bar.sqrt());
        std.push((1.0 - alpha_bar).sqrt());
    }
    Table { beta, mean, std }
}

/// Tables of a preserving schedule from `alpha_bar` at `u = k / (T + 1)`, `k = 0 ..= T + 1`: ratios
/// of neighbours, clipped so that no step removes everything (`alpha >= 0.001`).
pub fn table_from_alpha_bar(steps: usize, alpha_bar: impl Fn(f64) -> f64) -> Table {
    let a = |k: usize| alpha_bar(k as f64 / (steps + 1) as f64);
    let beta = (0..=steps).map(|k| (1.0 - (a(k + 1) / a(k)).max(1e-3)).clamp(0.0, 0.999));
    table_from_beta(beta.collect())
}

/// Tables of an exploding schedule with `std(u)` at `u = t / T`; index 0 adds all of `std(0)^2`.
fn table_from_std(steps: usize, std: impl Fn(f64) -> f64) -> Table {
    let std: Vec<f64> = (0..=steps).map(|t| std(t as f64 / steps.max(1) as f64)).collect();
    let before = std::iter::once(0.0).chain(std.iter().copied());
    let beta = std.iter().zip(before).map(|(now, before)| now * now - before * before).collect();
    Table { beta, mean: vec![1.0; steps + 1], std }
}

/// Refuses numbers that are not positive and finite.
fn positive(pointer: &str, value: f64) -> Result<f64> {
    if value > 0.0 && value.is_finite() {
        return Ok(value);
    }
    Err(Error::config(pointer, format!("{value} must be a positive number")))
}

/// Refuses an upper end that is not above the lower one.
fn above(pointer: &str, value: f64, low: f64) -> Result<f64> {
    if value > low && value.is_finite() {
        return Ok(value);
    }
    Err(Error::config(pointer, format!("{value} must be above {low}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotropy_core::schedule::{Family, Schedule};
    use isotropy_core::{ScheduleConfig, registry};
    use std::sync::Arc;
    use tch::{Device, Kind};

    fn all() -> Vec<(&'static str, Arc<dyn Schedule>)> {
        let catalogue = registry::catalogue().unwrap();
        let schedules = catalogue.iter().filter(|c| c.kind == "schedule");
        schedules
            .map(|c| {
                let config: Box<dyn ScheduleConfig> = serde_json::from_str(c.example).unwrap();
                (c.name, config.build().unwrap())
            })
            .collect()
    }

    #[test]
    fn the_seven_schedules_are_registered_from_core() {
        let names: Vec<_> = all().into_iter().map(|(name, _)| name).collect();
        for name in
            ["cosine", "ddpm", "karras", "linear-beta", "linear-time", "ve-geometric", "ve-linear"]
        {
            assert!(names.contains(&name), "{name} is missing from {names:?}");
        }
    }

    #[test]
    fn tensors_and_host_numbers_agree_and_noise_grows() {
        for (name, schedule) in all() {
            for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 5e-5)] {
                let u = Tensor::linspace(0.0, 1.0, 101, (kind, Device::Cpu));
                let (mean, std) = schedule.mean_std(&u);
                assert_eq!((mean.kind(), std.kind()), (kind, kind), "{name}");
                let mut last = -1.0;
                for k in 0..101 {
                    let (m, s) = schedule.at(k as f64 / 100.0);
                    let (dm, ds) = (mean.double_value(&[k]) - m, std.double_value(&[k]) - s);
                    let scale = 1.0_f64.max(s);
                    assert!(dm.abs() < tolerance, "{name}: mean at {k} off by {dm:e}");
                    assert!(ds.abs() < tolerance * scale, "{name}: std at {k} off by {ds:e}");
                    let ratio = s / m;
                    assert!(ratio >= last, "{name}: the noise falls at {k}");
                    last = ratio;
                    if schedule.family() == Family::VariancePreserving {
                        assert!((m * m + s * s - 1.0).abs() < 1e-12, "{name} at {k}");
                    }
                }
            }
        }
    }

    /// The statement in the module documentation.
    #[test]
    fn tables_agree_with_closed_forms_as_documented() {
        let steps = 1000;
        for (name, schedule) in all() {
            let table = schedule.table(steps);
            assert_eq!(table.beta.len(), steps + 1, "{name}");
            let (shift, total, tolerance, least) = match name {
                "ddpm" => (1.0, steps as f64, 0.02, 0.1),
                "cosine" | "linear-time" | "linear-beta" => (1.0, (steps + 1) as f64, 1e-9, 1e-3),
                // The table divides by its alpha_bar at 0, which is 1 - 1e-7.
                "ddim-cosine" => (1.0, (steps + 1) as f64, 1e-3, 0.1),
                _ => (0.0, steps as f64, 1e-12, 1e-3),
            };
            // The last index is clipped, and for ddpm lies beyond u = 1.
            for t in 0..steps {
                let (mean, std) = schedule.at((t as f64 + shift) / total);
                let close = |a: f64, b: f64| (a - b).abs() <= tolerance * b.abs().max(least);
                assert!(close(table.mean[t], mean), "{name} t={t}: {} {mean}", table.mean[t]);
                assert!(close(table.std[t], std), "{name} t={t}: {} {std}", table.std[t]);
            }
        }
    }

    #[test]
    fn the_time_of_a_noise_level_is_found() {
        for (name, schedule) in all() {
            let (mean, std) = schedule.at(0.37);
            let u = schedule.time_of_noise(std / mean);
            assert!((u - 0.37).abs() < 1e-9, "{name}: {u}");
        }
    }
}
