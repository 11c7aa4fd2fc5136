//! The cosine schedule of the released image experiments (spdm.md 1.4, "ddim").

use crate::schedule::table_from_alpha_bar;
use isotropy_core::schedule::{Family, Schedule, Table};
use isotropy_core::{Error, Result, ScheduleConfig, component, config};
use std::f64::consts::FRAC_PI_2;
use std::sync::Arc;
use tch::Tensor;

/// `alpha_bar(u) = cos^2((u + shift) / (1 + stretch) pi/2)`: not quite 1 at the start (1 - 1e-7 for the
/// published numbers) and not quite 0 at the end (6e-9).
#[config(default)]
#[derive(Clone, Copy)]
pub struct DdimCosineConfig {
    /// Shift of relative time; no unit, in [0, 1) and not above `stretch`.
    #[schemars(range(min = 0.0, max = 0.999))]
    pub shift: f64,
    /// What relative time is stretched by; no unit, in [0, 1).
    #[schemars(range(min = 0.0, max = 0.999))]
    pub stretch: f64,
}

impl Default for DdimCosineConfig {
    fn default() -> Self {
        Self { shift: 0.0002, stretch: 0.000_25 }
    }
}

#[component(
    "ddim-cosine",
    "variance preserving, the squared cosine of the released image experiments",
    r#"{"type": "ddim-cosine"}"#
)]
impl ScheduleConfig for DdimCosineConfig {
    fn build(&self) -> Result<Arc<dyn Schedule>> {
        for (pointer, value) in [("/shift", self.shift), ("/stretch", self.stretch)] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::config(pointer, format!("{value} is outside [0, 1)")));
            }
        }
        if self.shift >= self.stretch {
            let message = format!(
                "a shift of {} is not below the stretch of {}: nothing would be left of the image at \
                 the end, and no noise level would be finite",
                self.shift, self.stretch
            );
            return Err(Error::config("/shift", message));
        }
        Ok(Arc::new(DdimCosine(*self)))
    }
}

/// The running schedule.
#[derive(Debug, Clone, Copy)]
struct DdimCosine(DdimCosineConfig);

impl DdimCosine {
    /// Angles of which mean and standard deviation are the sines: counted from the end, so that the
    /// mean keeps its digits there, and from the start.
    fn angles(self) -> (f64, f64) {
        let whole = FRAC_PI_2 / (1.0 + self.0.stretch);
        (whole, whole * (1.0 + self.0.stretch - self.0.shift))
    }
}

impl Schedule for DdimCosine {
    fn family(&self) -> Family {
        Family::VariancePreserving
    }

    fn mean_std(&self, u: &Tensor) -> (Tensor, Tensor) {
        let (rate, _) = self.angles();
        let mean = ((1.0_f64 - u + (self.0.stretch - self.0.shift)) * rate).sin();
        (mean, ((u + self.0.shift) * rate).sin())
    }

    fn at(&self, u: f64) -> (f64, f64) {
        let (rate, start) = self.angles();
        ((start - u * rate).sin(), ((u + self.0.shift) * rate).sin())
    }

    fn table(&self, steps: usize) -> Table {
        table_from_alpha_bar(steps, |u| self.at(u).0.powi(2))
    }
}
