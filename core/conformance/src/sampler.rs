//! Checks of samplers: the law that they reproduce when the score is known, repeatability,
//! equivariance of a whole run, and that they keep their word (to the observer, to the noise, about
//! what they evaluate, about what they accept).

use super::CheckResult;
use super::measure::{Found, Table, broken, cpu, relative};
use isotropy_core::sampler::unobserved;
use isotropy_core::{
    Drive, Error, FreshNoise, Noise, NoiseOperator, NoisingProcess, Prediction, PredictionKind,
    RecordingNoise, Representation, Result, Sampled, Sampler, ScoreModel, State, Streams, Xi,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tch::{Kind, Tensor};

/// Mean and standard deviation of the Gaussian data.
const LAW: (f64, f64) = (0.7, 0.25);

/// What a sampler is tried on: a process and a model with the exact score of Gaussian data.
pub struct SamplerSubject {
    /// The process.
    pub process: Box<dyn NoisingProcess>,
    /// The exact score of `N(mean, std^2)` in every coordinate.
    pub model: Box<dyn ScoreModel>,
    /// A state that gives the shapes.
    pub template: State,
    /// A symmetry of process and model for data with mean 0.
    pub symmetry: Arc<dyn Representation>,
    /// Mean of the data in every coordinate.
    pub mean: f64,
    /// Standard deviation of the data in every coordinate.
    pub std: f64,
}

/// Builds a subject for data with this mean, standard deviation and number of points.
pub type BuildSubject = fn(f64, f64, i64) -> Result<SamplerSubject>;

/// A subject that a plugin contributes.
pub struct SamplerTrial {
    /// Samplers are tried on the first that they accept, by this order.
    pub order: u32,
    /// Builds it.
    pub build: BuildSubject,
}

/// What samplers are tried on, from all linked plugins.
#[linkme::distributed_slice]
pub static SAMPLER_TRIALS: [SamplerTrial];

impl SamplerSubject {
    /// The first of the linked trials that the sampler accepts.
    ///
    /// # Errors
    /// When a trial cannot be built, and the first refusal when the sampler accepts none.
    pub fn accepted_by(sampler: &dyn Sampler, mean: f64, std: f64, batch: i64) -> Result<Self> {
        let mut trials: Vec<&SamplerTrial> = SAMPLER_TRIALS.iter().collect();
        trials.sort_by_key(|trial| trial.order);
        let mut refusal = None;
        for trial in trials {
            let small = (trial.build)(mean, std, 1)?;
            match sampler.accepts(small.process.as_ref(), small.model.as_ref()) {
                Err(error) => {
                    refusal.get_or_insert(error);
                }
                Ok(()) => return (trial.build)(mean, std, batch),
            }
        }
        Err(refusal.unwrap_or_else(|| Error::Other("no plugin brings what to try it on".into())))
    }
}

/// Points of the plane with another end, which nothing but a bridge looks at: what trials are made of.
pub fn plane(batch: i64) -> State {
    let field = isotropy_core::FieldSpec::new(&[2], isotropy_core::Moves::Point);
    State::random(
        &isotropy_core::StateSpec::new(field.clone()).with_context("end", field),
        batch,
        cpu(Kind::Double),
        &mut Streams::new(0).stream("check sampler", 0),
    )
}

/// Checks a sampler on Gaussian data whose score is known ([`SamplerSubject::accepted_by`]), and
/// its equivariance under a symmetry of the data.
pub fn check_sampler(sampler: &dyn Sampler, streams: &Streams) -> Vec<CheckResult> {
    let mut table = Table::default();
    let mut on =
        |name: &str, (mean, batch): (f64, i64), f: &dyn Fn(SamplerSubject) -> Result<Found>| {
            table.check(name, || match SamplerSubject::accepted_by(sampler, mean, LAW.1, batch) {
                Ok(subject) => f(subject),
                Err(Error::Other(why)) => Ok(Found::Skip(why)),
                Err(refused) => Err(refused),
            });
        };
    let (many, few) = ((LAW.0, 10_000), (LAW.0, 16));
    on("Gaussian data through the exact score", many, &|s| moments(sampler, &s, streams));
    on("the same seed gives the same bits", few, &|s| repeated(sampler, &s, streams));
    on("a whole run moves with its start and its noise", (0.0, 16), &|s| {
        equivariance(sampler, &s, s.symmetry.as_ref(), streams)
    });
    on("evaluations of the model are counted", few, &|s| counted(sampler, s, streams));
    on("every draw of noise has its own number", few, &|s| numbered(sampler, &s, streams));
    on("the observer is told of every step and can stop the run", few, &|s| {
        observed(sampler, &s, streams)
    });
    on("a prediction that cannot drive it is refused at once", few, &|s| {
        refused(sampler, s, streams)
    });
    table.results
}

fn start(subject: &SamplerSubject, streams: &Streams) -> Result<State> {
    subject.process.prior(&subject.template, &mut streams.stream("check start", 0))
}

fn run(sampler: &dyn Sampler, subject: &SamplerSubject, streams: &Streams) -> Result<Sampled> {
    let mut noise = FreshNoise::new(streams, "check noise");
    let (process, model) = (subject.process.as_ref(), subject.model.as_ref());
    sampler.run(process, model, start(subject, streams)?, &mut noise, &mut unobserved)
}

/// Mean within 0.03 and standard deviation within 12 % (a hundred steps of Euler's rule widen the
/// law by about 4 %; Monte Carlo adds 0.3 %).
fn moments(sampler: &dyn Sampler, subject: &SamplerSubject, streams: &Streams) -> Result<Found> {
    let samples = run(sampler, subject, streams)?.state;
    let x = samples.x().to_kind(Kind::Double);
    if x.requires_grad() {
        return broken("the samples carry gradients");
    }
    let mean = (x.mean(Kind::Double).double_value(&[]) - subject.mean).abs();
    let spread = (x.std(true).double_value(&[]) / subject.std - 1.0).abs();
    Ok(Found::Error((mean / 0.03).max(spread / 0.12), 1.0))
}

fn repeated(sampler: &dyn Sampler, subject: &SamplerSubject, streams: &Streams) -> Result<Found> {
    let (first, second) = (run(sampler, subject, streams)?, run(sampler, subject, streams)?);
    Ok(Found::Error(relative(first.state.x(), second.state.x()), 0.0))
}

/// Runs from a start and from the moved start with the transported noise: `run(h x) = h run(x)`.
///
/// # Errors
/// When the sampler fails or the noise cannot be transported.
pub fn equivariance_error(
    sampler: &dyn Sampler,
    subject: &SamplerSubject,
    symmetry: &dyn Representation,
    streams: &Streams,
) -> Result<f64> {
    let (process, model) = (subject.process.as_ref(), subject.model.as_ref());
    let start = start(subject, streams)?;
    let mut stream = streams.stream("check element", 0);
    let shape = symmetry.element_shape(&start)?;
    let h = symmetry.group().sample(&shape, start.options(), &mut stream);
    let mut recording = RecordingNoise::new(FreshNoise::new(streams, "check noise"));
    let here = sampler.run(process, model, start.clone(), &mut recording, &mut unobserved)?;
    let mut moved = recording.transported(symmetry, &h);
    let start = symmetry.act(&h, &start)?;
    let there = sampler.run(process, model, start, &mut moved, &mut unobserved)?;
    Ok(relative(there.state.x(), symmetry.act(&h, &here.state)?.x()))
}

fn equivariance(
    sampler: &dyn Sampler,
    subject: &SamplerSubject,
    symmetry: &dyn Representation,
    streams: &Streams,
) -> Result<Found> {
    let error = equivariance_error(sampler, subject, symmetry, streams)?;
    Ok(Found::Error(error, 1e-9))
}

/// Counts how often it is asked; may claim to predict another kind.
struct Counting {
    inner: Box<dyn ScoreModel>,
    claims: PredictionKind,
    asked: AtomicUsize,
}

impl ScoreModel for Counting {
    fn predicts(&self) -> PredictionKind {
        self.claims
    }

    fn predict(&self, state: &State, t: &Tensor, train: bool) -> Result<Prediction> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.inner.predict(state, t, train)
    }

    fn inner(&self) -> Option<&dyn ScoreModel> {
        Some(self.inner.as_ref())
    }
}

fn counted(sampler: &dyn Sampler, subject: SamplerSubject, streams: &Streams) -> Result<Found> {
    let start = start(&subject, streams)?;
    let claims = subject.model.predicts();
    let model = Counting { inner: subject.model, claims, asked: AtomicUsize::new(0) };
    let mut noise = FreshNoise::new(streams, "check noise");
    let process = subject.process.as_ref();
    let said = sampler.run(process, &model, start, &mut noise, &mut unobserved)?.evaluations;
    let asked = model.asked.load(Ordering::Relaxed);
    if said != asked {
        return broken(format!("it reports {said} evaluations of the model and made {asked}"));
    }
    if said == 0 {
        return broken("it never asked the model");
    }
    Ok(Found::Error(0.0, 0.0))
}

/// Notes the numbers of the draws.
struct Numbered {
    inner: FreshNoise,
    seen: BTreeSet<u64>,
    twice: Option<u64>,
}

impl Numbered {
    fn note(&mut self, index: u64) {
        if !self.seen.insert(index) {
            self.twice = Some(index);
        }
    }
}

impl Noise for Numbered {
    fn draw(
        &mut self,
        index: u64,
        state: &State,
        like: &Xi,
        noise: &[NoiseOperator],
        drive: &dyn Drive,
    ) -> Result<Xi> {
        self.note(index);
        self.inner.draw(index, state, like, noise, drive)
    }
}

/// A number that comes twice gives the same noise twice.
fn numbered(sampler: &dyn Sampler, subject: &SamplerSubject, streams: &Streams) -> Result<Found> {
    let inner = FreshNoise::new(streams, "check noise");
    let mut noise = Numbered { inner, seen: BTreeSet::new(), twice: None };
    let (process, model) = (subject.process.as_ref(), subject.model.as_ref());
    sampler.run(process, model, start(subject, streams)?, &mut noise, &mut unobserved)?;
    match noise.twice {
        Some(index) => broken(format!("noise number {index} is drawn twice in a run")),
        None => Ok(Found::Error(0.0, 0.0)),
    }
}

/// Steps are reported in order up to the last, and an error of the observer ends the run there.
fn observed(sampler: &dyn Sampler, subject: &SamplerSubject, streams: &Streams) -> Result<Found> {
    let (process, model) = (subject.process.as_ref(), subject.model.as_ref());
    let mut told: Vec<(usize, usize)> = Vec::new();
    let mut noise = FreshNoise::new(streams, "check noise");
    sampler.run(process, model, start(subject, streams)?, &mut noise, &mut |index, steps, _| {
        told.push((index, steps));
        Ok(())
    })?;
    if told.windows(2).any(|pair| pair[1].0 < pair[0].0) {
        return broken("the steps are not reported in order");
    }
    if told.last().is_none_or(|(index, steps)| index + 1 != *steps) {
        return broken("the last step is not reported");
    }
    let mut calls = 0;
    let mut noise = FreshNoise::new(streams, "check noise");
    let mut stop = |_: usize, _: usize, _: &State| {
        calls += 1;
        Err(Error::Interrupted("enough".into()))
    };
    match sampler.run(process, model, start(subject, streams)?, &mut noise, &mut stop) {
        Err(Error::Interrupted(_)) if calls == 1 => Ok(Found::Error(0.0, 0.0)),
        Err(Error::Interrupted(_)) => broken(format!("it went on: stopped {calls} times")),
        Err(other) => broken(format!("stopped by the observer, it fails otherwise: {other}")),
        Ok(_) => broken("the observer asked it to stop, and it went on"),
    }
}

fn refused(sampler: &dyn Sampler, subject: SamplerSubject, streams: &Streams) -> Result<Found> {
    let start = start(&subject, streams)?;
    let claims = PredictionKind::Logits;
    let model = Counting { inner: subject.model, claims, asked: AtomicUsize::new(0) };
    let mut noise = FreshNoise::new(streams, "check noise");
    if sampler.accepts(subject.process.as_ref(), &model).is_ok() {
        return broken("it accepts a model that predicts class logits");
    }
    let outcome = sampler.run(subject.process.as_ref(), &model, start, &mut noise, &mut unobserved);
    if outcome.is_ok() || model.asked.load(Ordering::Relaxed) > 0 {
        return broken("it runs with a model that predicts class logits");
    }
    Ok(Found::Error(0.0, 0.0))
}
