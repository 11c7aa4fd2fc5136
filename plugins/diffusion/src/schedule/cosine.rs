//! The cosine schedule of Nichol and Dhariwal (2021), as the 2-D and 3-D experiments use it.

use super::{preserving, preserving_tensor, table_from_alpha_bar};
use isotropy_core::schedule::{Family, Schedule, Table};
use isotropy_core::{Result, ScheduleConfig, component, config};
use std::f64::consts::FRAC_PI_2;
use std::sync::Arc;
use tch::Tensor;

/// JSON description of [`Cosine`].
#[config]
#[derive(Clone)]
pub struct CosineConfig {
    /// Offset that keeps the first steps from adding too little noise. No unit, in [0, 1].
    #[serde(default = "offset")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub offset: f64,
}

fn offset() -> f64 {
    0.008
}

/// `alpha_bar(u) = cos^2((u + s) / (1 + s) pi/2)`, divided by its value at 0, with offset `s`.
#[derive(Debug, Clone)]
pub struct Cosine {
    offset: f64,
}

impl Cosine {
    fn phase(&self, u: f64) -> f64 {
        (u + self.offset) / (1.0 + self.offset) * FRAC_PI_2
    }
}

#[component(
    "cosine",
    "variance preserving, alpha_bar falls like a squared cosine",
    r#"{"type": "cosine"}"#
)]
impl ScheduleConfig for CosineConfig {
    fn build(&self) -> Result<Arc<dyn Schedule>> {
        if !(0.0..=1.0).contains(&self.offset) {
            return Err(isotropy_core::Error::config(
                "/offset",
                format!("{} is outside [0, 1]", self.offset),
            ));
        }
        Ok(Arc::new(Cosine { offset: self.offset }))
    }
}

impl Schedule for Cosine {
    fn family(&self) -> Family {
        Family::VariancePreserving
    }

    fn mean_std(&self, u: &Tensor) -> (Tensor, Tensor) {
        // cos^2 a - cos^2 b = sin(b - a) sin(b + a): no cancellation near u = 0.
        let start = self.phase(0.0);
        let gain = u * (FRAC_PI_2 / (1.0 + self.offset));
        let product = gain.sin() * (gain + 2.0 * start).sin();
        preserving_tensor(&(product / start.cos().powi(2)))
    }

    fn at(&self, u: f64) -> (f64, f64) {
        let (start, gain) = (self.phase(0.0), u * FRAC_PI_2 / (1.0 + self.offset));
        preserving(gain.sin() * (gain + 2.0 * start).sin() / start.cos().powi(2))
    }

    fn table(&self, steps: usize) -> Table {
        table_from_alpha_bar(steps, |u| (self.phase(u).cos() / self.phase(0.0).cos()).powi(2))
    }
}
