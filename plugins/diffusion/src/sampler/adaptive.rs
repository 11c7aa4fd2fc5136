//! The probability flow with steps chosen by an estimate of the error (Dormand-Prince 5(4)).

use super::axis::Axis;
use super::runge_kutta::Slope;
use crate::integrate::FlowMethod;
pub use crate::integrate::adaptive::ErrorNorm;
pub(crate) use crate::integrate::adaptive::{Tolerance, integrate};
use isotropy_core::{
    Noise, NoisingProcess, Observer, Purpose, Result, Sampled, Sampler, ScoreModel, State, Step,
    sampler::{accept, times},
};

/// Parts of a run that an observer is told about.
const PARTS: usize = 100;

/// The adaptive sampler.
#[derive(Debug)]
pub(super) struct Adaptive {
    pub tolerance: Tolerance,
}

impl Sampler for Adaptive {
    fn name(&self) -> String {
        "probability flow (Dormand-Prince)".into()
    }

    fn purpose(&self) -> Purpose {
        Purpose::ProbabilityFlow
    }

    fn accepts(&self, process: &dyn NoisingProcess, model: &dyn ScoreModel) -> Result<()> {
        accept(process, model, self.purpose())?;
        FlowMethod::DormandPrince.accepts(process)
    }

    fn run(
        &self,
        process: &dyn NoisingProcess,
        model: &dyn ScoreModel,
        start: State,
        _noise: &mut dyn Noise,
        observer: &mut Observer,
    ) -> Result<Sampled> {
        self.accepts(process, model)?;
        let (axis, time) = (Axis::of(process), process.time());
        let (from, to) = (axis.at(process, time.prior), axis.at(process, time.start));
        let mut evaluations = 0;
        let mut slope = |state: &State, value: f64| -> Result<Slope> {
            evaluations += 1;
            let step = Step::at(axis.time(process, value));
            let prediction = model.predict(state, &times(state, step), false)?;
            let terms = process.terms(state, step, &prediction)?;
            // The variable falls: a reverse rate is minus the velocity.
            Ok(axis.rate(&terms, value, 0.5).scale(-1.0).into())
        };
        let mut observe = |at: f64, state: &State| {
            let part = ((at - from) / (to - from) * PARTS as f64).floor() as usize;
            observer(part.clamp(1, PARTS) - 1, PARTS, state)
        };
        let drive = process.fields();
        let end = tch::no_grad(|| {
            integrate(&self.tolerance, drive, start, (from, to), &mut slope, &mut observe)
        })?;
        Ok(Sampled { state: end.state, evaluations })
    }
}
