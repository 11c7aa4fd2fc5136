//! The probability-flow ODE by the flow of the drive.

use super::adaptive::{Adaptive, ErrorNorm, Tolerance};
use super::axis::Axis;
use super::rule::{Rule, Stepper, Walk};
use super::runge_kutta::{Slope, Tableau, combine, stages};
use crate::stepper_config;
use isotropy_core::{
    ClosedForm, NoisingProcess, Purpose, Result, Sampler, ScoreModel, State, Step, config,
};

pub use crate::integrate::FlowMethod;

/// What happens on the last step of a rule with several evaluations.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum FlowEnd {
    /// A step of Euler's rule. The slope at the far end divides by the least noise level, which
    /// magnifies the errors of a long last step.
    #[default]
    Euler,
    /// A step like the others. Needed for the full order of `rk4`; use a grid with short last
    /// steps.
    Ordinary,
    /// Go to the model's estimate of the clean state.
    Clean,
}

stepper_config! {
    /// `x <- flow(x, (g^2 S / 2 - f) dt)`, integrated in the arc length of the kernel's curve
    /// `(mean, std)` (the angle of a variance-preserving kernel, the noise level of an exploding
    /// one; `euler` steps in time). It ends at the last time of the process, with the little noise that is left there.
    ProbabilityFlowConfig {
        /// The rule.
        method: FlowMethod = FlowMethod::Heun,
        /// What happens on the last step.
        last_step: FlowEnd = FlowEnd::Euler,
        /// Relative tolerance of `dormand-prince`, as a fraction of the coordinates; non-negative.
        #[schemars(range(min = 0.0, max = 1.0))]
        rtol: f64 = 1e-4,
        /// Absolute tolerance of `dormand-prince`, in the unit of the coordinates; non-negative.
        #[schemars(range(min = 0.0, max = 1.0))]
        atol: f64 = 1e-4,
        /// Which error `dormand-prince` holds below the tolerance.
        error_norm: ErrorNorm = ErrorNorm::Sample,
        /// Evaluations of the model after which `dormand-prince` gives up.
        #[schemars(range(min = 1, max = 100_000_000))]
        max_evaluations: u32 = 10_000,
    }
    100, Auto, "probability-flow",
    "probability-flow ODE by the flow of the drive: Euler, Heun, RK4, Dormand-Prince",
    r#"{"type": "probability-flow", "steps": 50, "method": "heun"}"#
}

impl ProbabilityFlowConfig {
    fn sampler(&self) -> Result<Box<dyn Sampler>> {
        let spacing = self.spacing()?;
        let tolerance =
            Tolerance::new(self.rtol, self.atol, self.error_norm, self.max_evaluations)?;
        Ok(match self.method {
            FlowMethod::DormandPrince => Box::new(Adaptive { tolerance }),
            method => {
                let rule = ProbabilityFlow { method, last_step: self.last_step };
                Box::new(Stepper { spacing, rule })
            }
        })
    }
}

/// A Runge-Kutta rule with fixed steps.
#[derive(Debug)]
pub(super) struct ProbabilityFlow {
    pub method: FlowMethod,
    pub last_step: FlowEnd,
}

impl Rule for ProbabilityFlow {
    fn name(&self) -> String {
        format!("probability flow ({:?})", self.method)
    }

    fn purpose(&self) -> Purpose {
        Purpose::ProbabilityFlow
    }

    fn accepts(&self, process: &dyn NoisingProcess, _: &dyn ScoreModel) -> Result<()> {
        if self.last_step == FlowEnd::Clean {
            ClosedForm::Clean.of(process).map_err(|error| error.under("/last_step"))?;
        }
        self.method.accepts(process)
    }

    fn step(&self, walk: &mut Walk, state: &State) -> Result<State> {
        let method = match self.last_step {
            FlowEnd::Clean if walk.last => return walk.clean(state),
            FlowEnd::Euler if walk.last => FlowMethod::Euler,
            _ if walk.beyond => FlowMethod::Euler,
            _ => self.method,
        };
        // Euler's rule alone is the published kind of step: in time, with the exact variance that the
        // step adds (sism.md 1.4).
        let axis = if self.method == FlowMethod::Euler { Axis::Time } else { walk.axis() };
        along(walk, axis, state, walk.step, method.tableau())
    }
}

/// One step of the probability flow by a rule.
pub(super) fn along(
    walk: &mut Walk,
    axis: Axis,
    state: &State,
    step: Step,
    tableau: &Tableau,
) -> Result<State> {
    let (process, drive) = (walk.process, walk.drive);
    let (from, to) = (axis.at(process, step.from), axis.at(process, step.to));
    let first = axis.instant(process, step.from, from);
    let averaged = tableau.nodes.len() <= 2;
    let mut slope = |state: &State, node: f64| -> Result<Slope> {
        // The ends are met exactly; only the points within have to be looked up.
        let (value, here, other) = if node == 0.0 {
            (from, first, step.to)
        } else if node == 1.0 {
            (to, step.to, step.from)
        } else {
            let value = from + node * (to - from);
            let here = axis.time(process, value);
            (value, here, here)
        };
        let terms = walk.terms(state, axis.step(here, other, averaged))?;
        Ok(axis.rate(&terms, value, 0.5).into())
    };
    let length = from - to;
    let slopes = stages(tableau, drive, state, length, None, &mut slope)?;
    Ok(drive.flow(state, &combine(tableau.weights, &slopes, length).xi))
}
