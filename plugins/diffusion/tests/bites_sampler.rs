//! The conformance suite of samplers must see samplers that are wrong, each in the check that is
//! named for its mistake, and only what is wrong.

#![allow(clippy::unwrap_used)]

mod support;

use isotropy_conformance::{Status, sampler::check_sampler};
use isotropy_core::{
    Error, FreshNoise, Noise, NoisingProcess, Observer, Purpose, Result, Sampled, Sampler,
    ScoreModel, State, Streams, sampler::times,
};
use tch::Tensor;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mistake {
    None,
    HalfTheScore,
    OneNumberForAllDraws,
    NoiseOfItsOwn,
    NoiseBeforeTransport,
    MiscountsEvaluations,
    DeafToTheObserver,
    TakesAnyPrediction,
    SilentAboutTheLastStep,
}

/// Lie-Euler with a mistake.
#[derive(Debug)]
struct Wrong(Mistake);

impl Sampler for Wrong {
    fn name(&self) -> String {
        format!("{:?}", self.0)
    }

    fn purpose(&self) -> Purpose {
        Purpose::ReverseSde
    }

    fn run(
        &self,
        process: &dyn NoisingProcess,
        model: &dyn ScoreModel,
        start: State,
        noise: &mut dyn Noise,
        observer: &mut Observer,
    ) -> Result<Sampled> {
        let mistake = self.0;
        if mistake != Mistake::TakesAnyPrediction && !model.predicts().can_drive(self.purpose()) {
            return Err(Error::config("", "it cannot drive"));
        }
        let drive = process.fields();
        let steps = process
            .time()
            .grid(100)
            .or_else(|_| process.time().grid(process.time().all_steps().unwrap_or(100)))?;
        let mut own = FreshNoise::new(&Streams::new(77), "own");
        let mut state = start;
        for (k, &step) in steps.iter().enumerate() {
            let prediction = model.predict(&state, &times(&state, step), false)?;
            let terms = process.terms(&state, step, &prediction)?;
            let weight = if mistake == Mistake::HalfTheScore { 0.5 } else { 1.0 };
            let rate = terms.preconditioned.scale(weight).sub(&terms.drift);
            let number = if mistake == Mistake::OneNumberForAllDraws { 0 } else { k as u64 };
            let z = match mistake {
                Mistake::NoiseOfItsOwn => {
                    own.draw(number, &state, &terms.drift, &terms.noise, drive)?
                }
                // A colour in fixed axes, put on after the noise has been moved.
                Mistake::NoiseBeforeTransport => noise
                    .draw(number, &state, &terms.drift, &terms.noise, drive)?
                    .map(|z| z * Tensor::from_slice(&[1.05, 0.95])),
                _ => noise.draw(number, &state, &terms.drift, &terms.noise, drive)?,
            };
            state = if k + 1 == steps.len() {
                process.clean(&state, step.from, &prediction)?
            } else {
                let xi = rate.scale(step.length()).add_scaled(&z, step.length().sqrt());
                drive.flow(&state, &xi)
            };
            if mistake == Mistake::SilentAboutTheLastStep && k + 1 == steps.len() {
                break;
            }
            let told = observer(k, steps.len(), &state);
            if mistake != Mistake::DeafToTheObserver {
                told?;
            }
        }
        let lie = usize::from(mistake == Mistake::MiscountsEvaluations);
        Ok(Sampled { state, evaluations: steps.len() - lie })
    }
}

fn failed(mistake: Mistake) -> Vec<String> {
    tch::set_num_threads(1);
    check_sampler(&Wrong(mistake), &Streams::new(3))
        .into_iter()
        .filter(|result| result.status != Status::Pass)
        .map(|result| result.check)
        .collect()
}

#[test]
fn a_right_sampler_passes_everything() {
    assert_eq!(failed(Mistake::None), Vec::<String>::new());
}

#[test]
fn each_mistake_fails_the_check_that_is_named_for_it() {
    let cases = [
        (Mistake::HalfTheScore, "Gaussian data through the exact score"),
        (Mistake::OneNumberForAllDraws, "every draw of noise has its own number"),
        (Mistake::NoiseOfItsOwn, "a whole run moves with its start and its noise"),
        (Mistake::NoiseBeforeTransport, "a whole run moves with its start and its noise"),
        (Mistake::MiscountsEvaluations, "evaluations of the model are counted"),
        (Mistake::DeafToTheObserver, "the observer is told of every step and can stop the run"),
        (
            Mistake::SilentAboutTheLastStep,
            "the observer is told of every step and can stop the run",
        ),
        (Mistake::TakesAnyPrediction, "a prediction that cannot drive it is refused at once"),
    ];
    for (mistake, check) in cases {
        let failed = failed(mistake);
        assert!(failed.iter().any(|name| name == check), "{mistake:?} fails only {failed:?}");
    }
}

/// A mistake that is not about the law does not fail the check of the law.
#[test]
fn the_checks_tell_mistakes_apart() {
    for (mistake, fails) in [
        (Mistake::MiscountsEvaluations, 1),
        (Mistake::DeafToTheObserver, 1),
        (Mistake::NoiseBeforeTransport, 1),
    ] {
        let failed = failed(mistake);
        assert_eq!(failed.len(), fails, "{mistake:?}: {failed:?}");
    }
}
