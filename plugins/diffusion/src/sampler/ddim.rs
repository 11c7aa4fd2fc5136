//! DDIM: deterministic steps between kernels, or with a part of the posterior's noise.

use super::LastStep;
use super::ancestral::Ancestral;
use super::rule::Stepper;
use crate::stepper_config;
use isotropy_core::{Result, Sampler};

stepper_config! {
    /// `tau_s = mean_s E[tau_0] + sqrt(std_s^2 - eta^2 c^2) E[noise] + eta c z`, with `c` the
    /// standard deviation of the posterior: DDIM (Song, Meng, Ermon 2021). Without noise (`eta` 0)
    /// it is a first-order rule for the probability flow that is exact for data that are one point.
    /// The same as `ancestral` with that `eta`.
    DdimConfig {
        /// Noise of a step as a fraction of the posterior's; in [0, 1].
        #[schemars(range(min = 0.0, max = 1.0))]
        eta: f64 = 0.0,
        /// What happens on the last step.
        last_step: LastStep = LastStep::Clean,
    }
    500, Auto, "ddim",
    "deterministic steps between kernels (DDIM), with noise eta",
    r#"{"type": "ddim", "steps": 50}"#
}

impl DdimConfig {
    fn sampler(&self) -> Result<Box<dyn Sampler>> {
        let rule = Ancestral::new(self.eta, self.last_step)?;
        Ok(Box::new(Stepper { spacing: self.spacing()?, rule }))
    }
}
