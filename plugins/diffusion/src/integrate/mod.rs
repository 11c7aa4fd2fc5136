//! Integration of the flow of a drive: the variable of integration, grids of times, Runge-Kutta rules
//! with fixed steps and with steps chosen by an estimate of the error.

pub mod adaptive;
pub mod axis;
pub mod grid;
pub mod runge_kutta;

use isotropy_core::{Error, NoisingProcess, Result, config};
use runge_kutta::{EULER, HEUN, RK4, Tableau};

/// The rule that integrates the ODE.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum FlowMethod {
    /// One evaluation a step, order 1. It steps in time.
    Euler,
    /// Two evaluations a step, order 2.
    #[default]
    Heun,
    /// Four evaluations a step, order 4. Needs continuous time.
    Rk4,
    /// Dormand-Prince 5(4), six evaluations a step: chooses its own steps by `rtol` and `atol`;
    /// numbers and grids of steps are not used. Needs continuous time.
    DormandPrince,
}

impl FlowMethod {
    /// The rule's coefficients (those of Heun's for the adaptive rule, which is not a rule of fixed
    /// steps).
    pub fn tableau(self) -> &'static Tableau {
        match self {
            Self::Euler => &EULER,
            Self::Rk4 => &RK4,
            Self::Heun | Self::DormandPrince => &HEUN,
        }
    }

    /// The order of a rule with fixed steps; `None` for one that chooses its own.
    pub fn order(self) -> Option<i32> {
        match self {
            Self::Euler => Some(1),
            Self::Heun => Some(2),
            Self::Rk4 => Some(4),
            Self::DormandPrince => None,
        }
    }

    /// Refuses rules that look within a step on a process that has no time there.
    ///
    /// # Errors
    /// The reason.
    pub fn accepts(self, process: &dyn NoisingProcess) -> Result<()> {
        if process.time().discrete && matches!(self, Self::Rk4 | Self::DormandPrince) {
            let message = format!(
                "{} has discrete steps, and this method evaluates the model between them",
                process.name()
            );
            return Err(Error::config("/method", message).with_help(
                "use \"method\": \"heun\", or a process in continuous time (\"steps\": null)",
            ));
        }
        Ok(())
    }
}
