//! The conformance suite bites: a process with one deliberate mistake fails the check that is named
//! for it, and without a mistake it passes all.

#![allow(clippy::unwrap_used)]

use isotropy_conformance::process::{check_process, check_process_named};
use isotropy_conformance::{CheckResult, Status};
use isotropy_core::schedule::{Family, Schedule, Table};
use isotropy_core::{
    ClosedForm, ClosedForms, Kernel, KernelLaw, NoiseOperator, NoisingProcess, Perturbed,
    Prediction, PredictionKind, ProcessConfig, Representation, RepresentationConfig, Result, Scale,
    ScheduleConfig, State, StateSpec, Step, Stream, Streams, TerminalMismatch, Terms, TimeDomain,
    Xi,
};
use isotropy_diffusion as _;
use isotropy_diffusion::schedule::conformance::check_schedule;
use isotropy_groups as _;
use std::sync::Arc;
use tch::{Kind, Tensor};

const VP: &str = r#"{"type": "vp", "schedule": {"type": "cosine"}, "steps": 100}"#;
const VE: &str =
    r#"{"type": "ve", "schedule": {"type": "ve-geometric", "sigma_min": 0.01, "sigma_max": 3.0}}"#;
const OU: &str = r#"{"type": "langevin", "schedule": {"type": "linear-beta"}, "steps": null,
    "invariant": [{"normal": {"mean": 0.7, "std": 0.4}}, {"normal": {"mean": 0.0, "std": 1.5}}]}"#;

fn drive(json: &str) -> Arc<dyn Representation> {
    serde_json::from_str::<Box<dyn RepresentationConfig>>(json).unwrap().build().unwrap()
}

fn process(json: &str) -> Box<dyn NoisingProcess> {
    tch::set_num_threads(1);
    let config: Box<dyn ProcessConfig> = serde_json::from_str(json).unwrap();
    config.build(drive(r#"{"type": "polar"}"#)).unwrap()
}

fn failed(results: &[CheckResult]) -> Vec<&str> {
    results.iter().filter(|r| r.status == Status::Fail).map(|r| r.check.as_str()).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    NoiseSign,
    NoiseOfAnotherScale,
    DivergenceInDrift,
    DriftForgotten,
    RateDoubled,
    ScoreDoubled,
    SwappedEndsIgnored,
    PriorWide,
    PriorWideWithItsDensity,
    PriorDensityWithoutJacobian,
    TransitionKeepsTheMean,
    TransitionAddsStd,
    PosteriorVariance,
    CleanWithoutMean,
    KernelOfTimeShifted,
    KernelScoreUnscaled,
    AlwaysDouble,
    MismatchHidden,
    ScoreOfTheValue,
}

/// A process with a mistake.
#[derive(Debug)]
struct Wrong {
    right: Box<dyn NoisingProcess>,
    mistake: Mistake,
}

impl Wrong {
    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == mistake
    }

    /// The prior's coordinates multiplied by 1.3.
    fn widened(&self, state: &State, by: f64) -> State {
        let coordinates = self.right.fields().coordinates().unwrap();
        coordinates.point(state, &coordinates.unwrapped(state).scale(by))
    }
}

fn scaled(scales: Vec<Scale>, by: f64) -> Vec<Scale> {
    let one = |scale| match scale {
        Scale::Same(a) => Scale::Same(a * by),
        Scale::Each(a) => Scale::Each(a * by),
    };
    scales.into_iter().map(one).collect()
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
        self.right.scales(t)
    }
    fn tensors(&self, t: &Tensor) -> Kernel {
        let shifted = self.mistake == Mistake::KernelOfTimeShifted;
        self.right.tensors(&if shifted { t * 0.9 } else { t.shallow_clone() })
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
        let found = self.right.terminal_mismatch()?;
        let hidden = self.mistake == Mistake::MismatchHidden;
        Some(if hidden { TerminalMismatch { mean: 0.0, ..found } } else { found })
    }
}

impl NoisingProcess for Wrong {
    fn name(&self) -> String {
        format!("{}, {:?}", self.right.name(), self.mistake)
    }
    fn drive(&self) -> &Arc<dyn Representation> {
        self.right.drive()
    }
    fn time(&self) -> &TimeDomain {
        self.right.time()
    }
    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let mut found = self.right.perturb(clean, t, stream)?;
        match self.mistake {
            Mistake::NoiseSign => found.noise = Some(found.noise()?.scale(-1.0)),
            Mistake::NoiseOfAnotherScale => {
                let scaled = found.noise()?.0.iter().zip(&found.kernel.std);
                found.noise = Some(Xi(scaled.map(|(z, std)| std.times(z)).collect()));
            }
            Mistake::KernelScoreUnscaled => found.kernel.std = scaled(found.kernel.std, 2.0),
            Mistake::AlwaysDouble => {
                found.noisy = found.noisy.with_value(found.noisy.x().to_kind(Kind::Double));
            }
            _ => {}
        }
        Ok(found)
    }
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let state = self.right.prior(template, stream)?;
        if self.is(Mistake::PriorWide) || self.is(Mistake::PriorWideWithItsDensity) {
            return Ok(self.widened(&state, 1.3));
        }
        Ok(state)
    }
    fn prior_log_prob(&self, state: &State) -> Result<Option<Tensor>> {
        let coordinates = self.right.fields().coordinates().unwrap();
        match self.mistake {
            Mistake::PriorWideWithItsDensity => {
                let narrow = self.widened(state, 1.0 / 1.3);
                let log = self.right.prior_log_prob(&narrow)?.unwrap();
                let tau = log + coordinates.log_abs_det(&narrow);
                Ok(Some(tau - 2.0 * 1.3_f64.ln() - coordinates.log_abs_det(state)))
            }
            Mistake::PriorDensityWithoutJacobian => {
                let log = self.right.prior_log_prob(state)?.unwrap();
                Ok(Some(log + coordinates.log_abs_det(state)))
            }
            _ => self.right.prior_log_prob(state),
        }
    }
    fn accepts_prediction(&self, kind: PredictionKind) -> Result<()> {
        self.right.accepts_prediction(kind)
    }
    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let step = if self.is(Mistake::SwappedEndsIgnored) && step.from < step.to {
            // The length of a swapped step is negative: its rate is that of the step itself.
            Step { from: step.to, to: step.from }
        } else {
            step
        };
        let mut terms = self.right.terms(state, step, prediction)?;
        match self.mistake {
            Mistake::DivergenceInDrift => {
                let rate = terms.noise[0].scale().powi(2);
                let divergences = self.fields().divergences(state);
                terms.drift = terms.drift.add_scaled(&divergences, rate);
            }
            Mistake::DriftForgotten => terms.drift = terms.drift.zeros_like(),
            Mistake::RateDoubled => {
                terms.preconditioned = terms.preconditioned.scale(2.0);
                terms.noise = terms
                    .noise
                    .into_iter()
                    .map(|noise| match noise {
                        NoiseOperator::White(g) => NoiseOperator::White(g * 2.0_f64.sqrt()),
                        NoiseOperator::Coloured { scale, root } => {
                            NoiseOperator::Coloured { scale: scale * 2.0_f64.sqrt(), root }
                        }
                    })
                    .collect();
            }
            Mistake::ScoreOfTheValue => {
                let divergences = self.fields().divergences(state);
                terms.score = terms.score.map(|score| score.sub(&divergences));
            }
            Mistake::ScoreDoubled => terms.preconditioned = terms.preconditioned.scale(2.0),
            _ => {}
        }
        Ok(terms)
    }
    fn kernel(&self) -> Option<Arc<dyn KernelLaw>> {
        let (right, mistake) = (self.right.kernel()?, self.mistake);
        Some(Arc::new(WrongLaw { right, mistake }))
    }
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
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
        let found = self.right.clean(state, t, prediction)?;
        if self.is(Mistake::CleanWithoutMean) {
            return Ok(self.widened(&found, self.right.level(t).unwrap().hypot(1.0).recip()));
        }
        Ok(found)
    }
    fn posterior(&self, state: &State, step: Step, of: &Prediction, z: &Xi) -> Result<State> {
        let z = if self.is(Mistake::PosteriorVariance) { &z.scale(1.1) } else { z };
        self.right.posterior(state, step, of, z)
    }
    fn transition(&self, state: &State, from: f64, to: f64, z: &Xi) -> Result<State> {
        match self.mistake {
            Mistake::TransitionKeepsTheMean => {
                let still = self.right.transition(state, from, to, &z.zeros_like())?;
                let moved = self.right.transition(state, from, to, z)?;
                let coordinates = self.right.fields().coordinates().unwrap();
                let noise = coordinates.unwrapped(&moved).sub(&coordinates.unwrapped(&still));
                Ok(self.fields().flow(state, &noise))
            }
            // Standard deviations add up only as squares.
            Mistake::TransitionAddsStd => {
                let std = |t| match self.right.kernel().unwrap().scales(t).std[0] {
                    Scale::Same(std) => std,
                    Scale::Each(_) => unreachable!("the kernel of one time has one scale"),
                };
                let still = self.right.transition(state, from, to, &z.zeros_like())?;
                Ok(self.fields().flow(&still, &z.scale(std(to) - std(from))))
            }
            _ => self.right.transition(state, from, to, z),
        }
    }
}

#[test]
fn without_a_mistake_all_checks_pass() {
    for json in [VP, VE, OU] {
        let process = Wrong { right: process(json), mistake: Mistake::None };
        let results = check_process(&process, &Streams::new(1));
        assert!(failed(&results).is_empty(), "{json}: {results:#?}");
        assert!(results.iter().all(|r| r.status == Status::Pass), "{json}: {results:#?}");
    }
}

#[test]
fn each_mistake_fails_the_check_named_for_it() {
    let cases = [
        (Mistake::NoiseSign, "perturb follows the kernel", &[VP, VE, OU][..]),
        (Mistake::NoiseOfAnotherScale, "perturb follows the kernel", &[VP, VE, OU]),
        (Mistake::DivergenceInDrift, "drift of a step follows the kernel's mean", &[VP, VE, OU]),
        (Mistake::DivergenceInDrift, "kernel against the simulated equation", &[VP, VE, OU]),
        (Mistake::DriftForgotten, "drift of a step follows the kernel's mean", &[VP, OU]),
        (Mistake::DriftForgotten, "kernel against the simulated equation", &[VP, OU]),
        (Mistake::RateDoubled, "noise of a step is what the kernel adds", &[VP, VE, OU]),
        (Mistake::RateDoubled, "kernel against the simulated equation", &[VP, VE, OU]),
        (Mistake::ScoreDoubled, "terms: g^2 times the score", &[VP, VE, OU]),
        (Mistake::ScoreOfTheValue, "score of the fields", &[VP, VE, OU]),
        (Mistake::SwappedEndsIgnored, "rates of the two ends", &[VP, OU]),
        (Mistake::PriorWide, "prior log-density integrates to 1", &[VP, VE, OU]),
        (Mistake::PriorWide, "the end of the process is its prior", &[VP, VE, OU]),
        (Mistake::PriorWideWithItsDensity, "the end of the process is its prior", &[VP, VE, OU]),
        (Mistake::PriorDensityWithoutJacobian, "prior log-density integrates to 1", &[VP, OU]),
        (Mistake::TransitionKeepsTheMean, "transition composes", &[VP, OU]),
        (Mistake::TransitionAddsStd, "transition composes", &[VP, VE, OU]),
        (Mistake::PosteriorVariance, "posterior obeys Bayes' rule", &[VP, VE, OU]),
        (Mistake::CleanWithoutMean, "clean estimate of the true noise", &[VP, VE, OU]),
        (Mistake::KernelOfTimeShifted, "kernel of a batch agrees", &[VP, VE, OU]),
        (Mistake::KernelScoreUnscaled, "score against autodiff", &[VP, VE, OU]),
        (Mistake::AlwaysDouble, "perturb keeps kind", &[VP, VE, OU]),
        (Mistake::MismatchHidden, "the end of the process is its prior", &[VP, VE, OU]),
    ];
    for (mistake, check, on) in cases {
        for json in on {
            let process = Wrong { right: process(json), mistake };
            let results = check_process_named(&process, &Streams::new(1), check);
            assert!(!results.is_empty(), "there is no check '{check}'");
            let bites = !failed(&results).is_empty();
            assert!(bites, "{mistake:?} on {json}: '{check}' does not bite: {results:#?}");
        }
    }
}

/// The published slip (sism.md, pitfall 2): `alpha_bar` where `sqrt(alpha_bar)` is right.
#[test]
fn the_published_mean_factor_fails_by_design() {
    let json = r#"{"type": "vp", "schedule": {"type": "cosine"}, "mean": "alpha-bar"}"#;
    let results = check_process(process(json).as_ref(), &Streams::new(1));
    let failed = failed(&results);
    for check in ["kernel against the simulated equation", "drift of a step follows"] {
        assert!(failed.iter().any(|name| name.starts_with(check)), "{check}: {failed:?}");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScheduleMistake {
    MeanForStd,
    BetaOfTheNextStep,
    TableCoarse,
    Falls,
}

/// The cosine schedule with a mistake.
#[derive(Debug)]
struct WrongSchedule(Arc<dyn Schedule>, ScheduleMistake);

impl Schedule for WrongSchedule {
    fn family(&self) -> Family {
        self.0.family()
    }
    fn mean_std(&self, u: &Tensor) -> (Tensor, Tensor) {
        match self.1 {
            ScheduleMistake::MeanForStd => {
                let (mean, std) = self.0.mean_std(u);
                (mean.square(), std)
            }
            ScheduleMistake::Falls => self.0.mean_std(&(1.0 - u)),
            _ => self.0.mean_std(u),
        }
    }
    fn table(&self, steps: usize) -> Table {
        let mut table = self.0.table(steps);
        match self.1 {
            ScheduleMistake::BetaOfTheNextStep => table.beta.rotate_left(1),
            // Half the steps, each taken twice as long.
            ScheduleMistake::TableCoarse => {
                let beta = table.beta.iter().map(|beta| (2.0 * beta).min(0.99));
                let mut alpha_bar = 1.0;
                (table.mean, table.std) = beta
                    .clone()
                    .map(|beta| {
                        alpha_bar *= 1.0 - beta;
                        (f64::sqrt(alpha_bar), f64::sqrt(1.0 - alpha_bar))
                    })
                    .unzip();
                table.beta = beta.collect();
            }
            _ => {}
        }
        table
    }
}

#[test]
fn wrong_schedules_fail_the_check_named_for_the_mistake() {
    let cases = [
        (ScheduleMistake::MeanForStd, "mean and std obey the family's law"),
        (ScheduleMistake::BetaOfTheNextStep, "the tables obey the law too"),
        (ScheduleMistake::TableCoarse, "discrete rates approach continuous ones"),
        (ScheduleMistake::Falls, "the noise never falls"),
    ];
    for (mistake, check) in cases {
        let config: Box<dyn ScheduleConfig> =
            serde_json::from_str(r#"{"type": "cosine"}"#).unwrap();
        let schedule: Arc<dyn Schedule> = Arc::new(WrongSchedule(config.build().unwrap(), mistake));
        let results = check_schedule(&schedule);
        let failed = failed(&results);
        assert!(failed.contains(&check), "{mistake:?}: '{check}' does not bite; {failed:?}");
    }
}

#[test]
fn registered_schedules_pass_all() {
    let catalogue = isotropy_core::registry::catalogue().unwrap();
    for component in catalogue.iter().filter(|c| c.kind == "schedule") {
        let config: Box<dyn ScheduleConfig> = serde_json::from_str(component.example).unwrap();
        let results = check_schedule(&config.build().unwrap());
        assert!(failed(&results).is_empty(), "{}: {results:#?}", component.name);
    }
}
