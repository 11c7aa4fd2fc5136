//! What a process declares to have in closed form against what it answers.

use super::Subject;
use crate::measure::{Found, broken};
use isotropy_core::{ClosedForm, Prediction, PredictionKind, Result, Step};
use tch::{Kind, Tensor};

impl Subject<'_> {
    /// A sampler is accepted or refused by the declaration alone, so both ways of being wrong
    /// count.
    pub(super) fn closed_forms(&self) -> Result<Found> {
        let kinds = [PredictionKind::Score, PredictionKind::Noise, PredictionKind::Clean];
        let accepted = |kind: &PredictionKind| self.process.accepts_prediction(*kind).is_ok();
        let Some(kind) = kinds.into_iter().find(accepted) else {
            return Ok(Found::Skip("it takes neither score, noise nor clean coordinates".into()));
        };
        let (clean, to, from) =
            (self.clean_state(4, Kind::Double)?, self.time(0.4), self.time(0.6));
        let times = Tensor::full([4], from, clean.options());
        let mut stream = self.streams.stream("check closed forms", 0);
        let noisy = self.process.perturb(&clean, &times, &mut stream)?.noisy;
        let zero = self.process.fields().zeros(&noisy);
        let prediction = Prediction::one(kind, zero.clone());
        let step = Step { from, to };
        let forms = self.process.closed_forms();
        let declared = forms.map_or(&[][..], |forms| forms.forms());
        for form in
            [ClosedForm::Clean, ClosedForm::Posterior, ClosedForm::Transition, ClosedForm::HTerm]
        {
            let answered = match form {
                ClosedForm::Clean => {
                    forms.is_some_and(|f| f.clean(&noisy, from, &prediction).is_ok())
                }
                ClosedForm::Posterior => {
                    forms.is_some_and(|f| f.posterior(&noisy, step, &prediction, &zero).is_ok())
                }
                ClosedForm::Transition => {
                    forms.is_some_and(|f| f.transition(&clean, to, from, &zero).is_ok())
                }
                ClosedForm::HTerm => self.process.terms(&noisy, step, &prediction)?.h.is_some(),
            };
            match (declared.contains(&form), answered) {
                (true, false) => return broken(format!("{form:?} is declared, and refused")),
                (false, true) => return broken(format!("{form:?} is there, and not declared")),
                _ => {}
            }
        }
        Ok(Found::Error(0.0, 0.0))
    }
}
