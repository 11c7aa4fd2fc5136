//! Replacement: known values are noised to the present time and put in place of the model's.

use super::langevin::{ConditionalLangevin, ConditionalLangevinConfig};
use crate::stepper_config;
use isotropy_core::{Result, Sampler};

stepper_config! {
    /// `conditional-langevin` without inner steps (Song et al. 2021, appendix I.2; "replacement" after Ho et al. 2022). A
    /// baseline: its law is not the conditional law of the model, whatever the number of steps.
    ReplacementConfig {}
    100, Uniform, "replacement",
    "query points given known ones, which replace the model's at each time (a biased baseline)",
    r#"{"type": "replacement", "steps": 50}"#
}

impl ReplacementConfig {
    fn sampler(&self) -> Result<Box<dyn Sampler>> {
        let config = ConditionalLangevinConfig { inner_steps: 0, ..Default::default() };
        Ok(Box::new(ConditionalLangevin { spacing: self.spacing()?, config }))
    }
}
