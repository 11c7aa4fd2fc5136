//! `alpha_bar` that falls linearly in time: the schedule of the released molecule experiments.

use super::{preserving, preserving_tensor, table_from_alpha_bar};
use isotropy_core::schedule::{Family, Schedule, Table};
use isotropy_core::{Result, ScheduleConfig, component, config};
use std::sync::Arc;
use tch::Tensor;

/// JSON description of [`LinearTime`].
#[config]
#[derive(Clone)]
pub struct LinearTimeConfig {}

/// `alpha_bar(u) = 1 - u`.
#[derive(Debug, Clone)]
pub struct LinearTime;

#[component(
    "linear-time",
    "variance preserving, alpha_bar falls linearly in time",
    r#"{"type": "linear-time"}"#
)]
impl ScheduleConfig for LinearTimeConfig {
    fn build(&self) -> Result<Arc<dyn Schedule>> {
        Ok(Arc::new(LinearTime))
    }
}

impl Schedule for LinearTime {
    fn family(&self) -> Family {
        Family::VariancePreserving
    }

    fn mean_std(&self, u: &Tensor) -> (Tensor, Tensor) {
        preserving_tensor(u)
    }

    fn at(&self, u: f64) -> (f64, f64) {
        preserving(u)
    }

    fn table(&self, steps: usize) -> Table {
        table_from_alpha_bar(steps, |u| 1.0 - u)
    }
}
