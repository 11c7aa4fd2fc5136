//! Replacement: known values are noised to the present time and put in place of the model's.

use super::langevin::{ConditionalLangevin, ConditionalLangevinConfig};
use crate::integrate::grid::{Grid, Spacing};
use isotropy_core::{Result, Sampler, SamplerConfig, component, config};

/// `conditional-langevin` without inner steps (Song et al. 2021, appendix I.2; "replacement" after Ho et al. 2022). A
/// baseline: its law is not the conditional law of the model, whatever the number of steps.
#[config(default)]
#[derive(Clone)]
pub struct ReplacementConfig {
    /// Number of steps; null for all steps of a discrete process, 100 in continuous time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: Option<u32>,
    /// How the times are spaced.
    pub grid: Grid,
    /// Exponent of the `karras` grid; positive.
    #[schemars(range(min = 1e-3, max = 1e3))]
    pub rho: f64,
}

impl Default for ReplacementConfig {
    fn default() -> Self {
        Self { steps: None, grid: Grid::Uniform, rho: 7.0 }
    }
}

#[component(
    "replacement",
    "query points given known ones, which replace the model's at each time (a biased baseline)",
    r#"{"type": "replacement", "steps": 50}"#
)]
impl SamplerConfig for ReplacementConfig {
    fn build(&self) -> Result<Box<dyn Sampler>> {
        let spacing = Spacing::new(self.steps, self.grid, self.rho)?;
        let config = ConditionalLangevinConfig { inner_steps: 0, ..Default::default() };
        Ok(Box::new(ConditionalLangevin { spacing, config }))
    }
}
