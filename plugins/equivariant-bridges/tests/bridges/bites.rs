//! The conformance suite bites: a bridge with one deliberate mistake fails the check that is named for
//! it.

use super::{images, pixels, process};
use isotropy_conformance::Status;
use isotropy_conformance::process::{check_process, check_process_symmetry};
use isotropy_core::schedule::Family;
use isotropy_core::{
    ClosedForm, ClosedForms, Field, Kernel, KernelLaw, Moves, NoisingProcess, Perturbed,
    Prediction, Representation, Result, State, StateSpec, Step, Stream, Streams, TerminalMismatch,
    Terms, TimeDomain, Xi,
};
use isotropy_equivariant_bridges::process::END;
use serde_json::json;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    /// Its other end is not told to move, and it claims every symmetry.
    OneEndMoves,
    /// The h-term has the wrong sign.
    HTurned,
    /// The h-term is forgotten.
    HForgotten,
    /// The posterior mixes the other end in once more.
    PosteriorOfTheEnd,
    /// The posterior has the variance of the free process.
    PosteriorVariance,
    /// The transition runs to the origin.
    TransitionToTheOrigin,
    /// The kernel forgets its shift.
    Unshifted,
    /// The prior is the clean point.
    PriorIsTheData,
}

/// A bridge on images, with a mistake.
#[derive(Debug)]
struct Wrong {
    right: Box<dyn NoisingProcess>,
    mistake: Mistake,
}

impl Wrong {
    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == mistake
    }

    fn end(&self, state: &State) -> Result<Tensor> {
        Ok(state.given(END)?.tensor.shallow_clone())
    }
}

/// The law of a kernel with something else in its place.
#[derive(Debug)]
struct WrongLaw {
    right: Arc<dyn KernelLaw>,
    mistake: Mistake,
}

impl KernelLaw for WrongLaw {
    fn time(&self) -> &TimeDomain {
        self.right.time()
    }
    fn scales(&self, t: f64) -> Kernel {
        let kernel = self.right.scales(t);
        let unshifted = self.mistake == Mistake::Unshifted;
        if unshifted { Kernel { shift: None, ..kernel } } else { kernel }
    }
    fn tensors(&self, t: &Tensor) -> Kernel {
        self.right.tensors(t)
    }
    fn family(&self) -> Option<Family> {
        self.right.family()
    }
    fn known_end(&self, state: &State) -> Result<Option<Xi>> {
        self.right.known_end(state)
    }
    fn level(&self, t: f64) -> Option<f64> {
        self.right.level(t)
    }
    fn terminal_mismatch(&self) -> Option<TerminalMismatch> {
        self.right.terminal_mismatch()
    }
}

impl NoisingProcess for Wrong {
    fn name(&self) -> String {
        format!("{}, {:?}", self.right.name(), self.mistake)
    }
    fn drive(&self) -> &Arc<dyn Representation> {
        self.right.drive()
    }
    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        self.right.accepts(spec)
    }
    fn sample_state(
        &self,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        let image = |stream: &mut Stream| stream.normal(&[batch, 1, 3, 3], options);
        let moves = if self.is(Mistake::OneEndMoves) { Moves::Fixed } else { Moves::Image };
        let value = Field::new(image(stream), Moves::Image);
        Some(State::new(value).with_context(END, Field::new(image(stream), moves)))
    }
    fn time(&self) -> &TimeDomain {
        self.right.time()
    }
    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        self.right.perturb(clean, t, stream)
    }
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        match self.mistake {
            Mistake::PriorIsTheData => Ok(template.with_value(template.x() * 0.3)),
            _ => self.right.prior(template, stream),
        }
    }
    fn prior_log_prob(&self, _: &State) -> Result<Option<Tensor>> {
        Ok(None)
    }
    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let mut terms = self.right.terms(state, step, prediction)?;
        match self.mistake {
            Mistake::HTurned => terms.h = terms.h.map(|h| h.scale(-1.0)),
            Mistake::HForgotten => terms.h = None,
            _ => {}
        }
        Ok(terms)
    }
    fn kernel(&self) -> Option<Arc<dyn KernelLaw>> {
        let (right, mistake) = (self.right.kernel()?, self.mistake);
        Some(Arc::new(WrongLaw { right, mistake }))
    }
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        if self.is(Mistake::OneEndMoves) {
            return Ok(());
        }
        self.right.symmetric_under(symmetry, spec)
    }
    fn closed_forms(&self) -> Option<&dyn ClosedForms> {
        self.right.closed_forms().map(|_| self as &dyn ClosedForms)
    }
}

impl ClosedForms for Wrong {
    fn forms(&self) -> &'static [ClosedForm] {
        self.right.closed_forms().expect("asked for above").forms()
    }
    fn clean(&self, state: &State, t: f64, prediction: &Prediction) -> Result<State> {
        self.right.clean(state, t, prediction)
    }
    fn posterior(&self, x: &State, step: Step, prediction: &Prediction, z: &Xi) -> Result<State> {
        match self.mistake {
            Mistake::PosteriorOfTheEnd => {
                let drawn = self.right.posterior(x, step, prediction, z)?;
                Ok(drawn.with_value(drawn.x() + self.end(x)? * 0.01))
            }
            Mistake::PosteriorVariance => self.right.posterior(x, step, prediction, &z.scale(1.1)),
            _ => self.right.posterior(x, step, prediction, z),
        }
    }
    fn transition(&self, state: &State, from: f64, to: f64, z: &Xi) -> Result<State> {
        if !self.is(Mistake::TransitionToTheOrigin) {
            return self.right.transition(state, from, to, z);
        }
        let origin = Field::new(self.end(state)?.zeros_like(), Moves::Image);
        let moved = self.right.transition(&state.clone().with_context(END, origin), from, to, z)?;
        Ok(state.with_value(moved.x().shallow_clone()))
    }
}

fn failed(bridge: &serde_json::Value, mistake: Mistake) -> Vec<String> {
    let wrong = Wrong { right: process(bridge), mistake };
    let mut results = check_process(&wrong, &Streams::new(1));
    results.extend(check_process_symmetry(&wrong, pixels("square").as_ref(), &Streams::new(2)));
    assert!(results.iter().any(|r| r.check.starts_with("symmetry") && r.status != Status::Skip));
    let failed = results.into_iter().filter(|r| r.status == Status::Fail);
    failed.map(|r| r.check).collect()
}

#[test]
fn each_mistake_fails_the_check_that_is_named_for_it() {
    for bridge in [
        json!({"type": "ve-bridge", "sigma_max": 1.0, "margin": 0.001}),
        json!({"type": "vp-bridge"}),
        json!({"type": "brownian-bridge", "steps": null}),
    ] {
        assert_eq!(failed(&bridge, Mistake::None), Vec::<String>::new(), "{bridge}");
        for (mistake, check) in [
            (Mistake::OneEndMoves, "symmetry of transition and prior"),
            (Mistake::HTurned, "drift of a step follows the kernel's mean"),
            (Mistake::HForgotten, "kernel against the simulated equation"),
            (Mistake::PosteriorOfTheEnd, "posterior obeys Bayes' rule"),
            (Mistake::PosteriorVariance, "posterior obeys Bayes' rule"),
            (Mistake::TransitionToTheOrigin, "transition composes"),
            (Mistake::Unshifted, "perturb follows the kernel"),
            (Mistake::PriorIsTheData, "the end of the process is its prior"),
        ] {
            let failed = failed(&bridge, mistake);
            let found = failed.iter().any(|name| name.starts_with(check));
            assert!(found, "{bridge}, {mistake:?} fails only {failed:?}");
        }
    }
}

/// Before any check: a claim of symmetry for an end that is not told to move is refused with the reason.
#[test]
fn a_claim_for_one_end_alone_is_refused() {
    let pairs = images(2, 4);
    for json in super::bridges() {
        let process = process(&json);
        for group in super::GROUPS {
            process.symmetric_under(pixels(group).as_ref(), &pairs.spec()).unwrap();
            let end = pairs.given(END).unwrap().tensor.shallow_clone();
            let fixed = pairs.clone().with_context(END, Field::new(end, Moves::Fixed));
            let why =
                super::refusal(process.symmetric_under(pixels(group).as_ref(), &fixed.spec()));
            assert!(why.contains("both ends"), "{why}");
        }
    }
}
