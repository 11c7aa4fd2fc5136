//! The checks bite: processes with one deliberate mistake each fail the check that is named for it,
//! and the right ones pass.

#![allow(clippy::unwrap_used)]

mod common;

use common::{drive, failures, process};
use isotropy_brownian::conformance::check_heat_process;
use isotropy_conformance::Status;
use isotropy_core::{
    ClosedForms, KernelLaw, NoiseOperator, NoisingProcess, Perturbed, Prediction, Representation,
    Result, State, StateSpec, Step, Stream, Streams, Terms, TimeDomain,
};
use serde_json::json;
use std::sync::Arc;
use tch::Tensor;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    /// Draws with the standard deviation where the variance belongs: at the wrong time.
    EpsForItsSquare,
    /// `+score` for the noise.
    SignOfTheScore,
    /// A component along the stabiliser.
    VerticalTarget,
    /// The forward noise is too large by the root of two (generator `Laplacian` for half of it).
    WholeLaplacian,
}

#[derive(Debug)]
struct Wrong {
    inner: Box<dyn NoisingProcess>,
    mistake: Mistake,
}

impl NoisingProcess for Wrong {
    fn name(&self) -> String {
        format!("{:?}", self.mistake)
    }
    fn drive(&self) -> &Arc<dyn Representation> {
        self.inner.drive()
    }
    fn time(&self) -> &TimeDomain {
        self.inner.time()
    }
    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let t = match self.mistake {
            Mistake::EpsForItsSquare => {
                let eps = self.inner.level(t.double_value(&[0])).unwrap();
                t.full_like(self.inner.time_of_level(eps * eps).unwrap().round())
            }
            _ => t.shallow_clone(),
        };
        let mut perturbed = self.inner.perturb(clean, &t, stream)?;
        match self.mistake {
            Mistake::SignOfTheScore => perturbed.noise = Some(perturbed.noise()?.scale(-1.0)),
            Mistake::VerticalTarget => {
                let x = perturbed.noisy.x();
                let unit = x / x.norm_scalaropt_dim(2, [-1], true);
                let tilted = perturbed.noise()?.map(|noise| noise + &unit * 0.3);
                perturbed.noise = Some(tilted);
            }
            _ => {}
        }
        Ok(perturbed)
    }
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        self.inner.prior(template, stream)
    }
    fn prior_log_prob(&self, state: &State) -> Result<Option<Tensor>> {
        self.inner.prior_log_prob(state)
    }
    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let mut terms = self.inner.terms(state, step, prediction)?;
        if self.mistake == Mistake::WholeLaplacian {
            terms.noise[0] = NoiseOperator::White(terms.noise[0].scale() * 2f64.sqrt());
        }
        Ok(terms)
    }
    fn kernel(&self) -> Option<Arc<dyn KernelLaw>> {
        self.inner.kernel()
    }
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        self.inner.symmetric_under(symmetry, spec)
    }
    fn closed_forms(&self) -> Option<&dyn ClosedForms> {
        self.inner.closed_forms()
    }
}

#[test]
fn wrong_processes_fail_the_check_named_for_them() {
    tch::set_num_threads(1);
    let table = [
        (Mistake::EpsForItsSquare, "heat kernel against the simulated equation"),
        (Mistake::WholeLaplacian, "heat kernel against the simulated equation"),
        (Mistake::SignOfTheScore, "score of the heat kernel"),
        (Mistake::VerticalTarget, "targets are horizontal"),
    ];
    for (mistake, check) in table {
        let drive = drive(json!({"type": "generators", "dimension": 3}));
        let wrong = Wrong { inner: process(drive, json!({})), mistake };
        let results = check_heat_process(&wrong, &Streams::new(11));
        let named: Vec<_> = results.iter().filter(|r| r.check.starts_with(check)).collect();
        assert_eq!(named.len(), 1, "there is no check '{check}'");
        assert_eq!(
            named[0].status,
            Status::Fail,
            "{mistake:?}: '{check}' does not bite: {named:?}"
        );
    }
}

#[test]
fn right_processes_pass() {
    tch::set_num_threads(1);
    for json in [
        json!({"type": "torus"}),
        json!({"type": "rotation-matrices"}),
        json!({"type": "generators", "dimension": 2}),
        json!({"type": "generators", "dimension": 3}),
        json!({"type": "generators", "dimension": 4}),
    ] {
        for settings in [json!({}), json!({"schedule": {"type": "cosine"}, "steps": null})] {
            let process = process(drive(json.clone()), settings);
            let results = check_heat_process(process.as_ref(), &Streams::new(12));
            assert_eq!(results.len(), 3);
            assert!(failures(&results).is_empty(), "{json}: {:#?}", failures(&results));
        }
    }
}
