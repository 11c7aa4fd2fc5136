//! Checks of samplers: the law that they reproduce when the score is known, repeatability, and
//! equivariance of a whole run.

use super::CheckResult;
use super::measure::{Found, Table, broken, cpu, relative};
use crate::{
    FreshNoise, ModelConfig, ModelContext, NoisingProcess, ProcessConfig, RecordingNoise,
    Representation, RepresentationConfig, Result, Sampled, Sampler, ScoreModel, State, Streams,
};
use tch::{Device, Kind, nn::VarStore};

/// Mean and standard deviation of the Gaussian data.
const LAW: (f64, f64) = (0.7, 0.25);

/// A process on translations of the plane and a model with the exact score of Gaussian data.
pub struct SamplerSubject {
    /// The process.
    pub process: Box<dyn NoisingProcess>,
    /// The exact score of `N(mean, std^2)` in every coordinate.
    pub model: Box<dyn ScoreModel>,
    /// A state that gives the shapes.
    pub template: State,
    /// Mean of the data in every coordinate.
    pub mean: f64,
    /// Standard deviation of the data in every coordinate.
    pub std: f64,
}

impl SamplerSubject {
    /// Built by name from the catalogue: `vp` with the cosine schedule in 100 steps on
    /// `translations`, and `gaussian-tau-oracle`.
    ///
    /// # Errors
    /// When one of them is not linked.
    pub fn from_catalogue(mean: f64, std: f64, batch: i64) -> Result<Self> {
        let drive: Box<dyn RepresentationConfig> = named(r#"{"type": "translations"}"#)?;
        let process: Box<dyn ProcessConfig> =
            named(r#"{"type": "vp", "schedule": {"type": "cosine"}, "steps": 100}"#)?;
        let model: Box<dyn ModelConfig> = named(&format!(
            r#"{{"type": "gaussian-tau-oracle", "mean": [{mean}], "std": [{std}]}}"#
        ))?;
        let template = State::random(
            &crate::StateSpec::new(crate::FieldSpec::new(&[2], crate::Moves::Point)),
            batch,
            cpu(Kind::Double),
            &mut Streams::new(0).stream("check sampler", 0),
        );
        let process = process.build(drive.build()?)?;
        let spec = template.spec();
        let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
        let model = model.build(&VarStore::new(Device::Cpu).root(), &context)?;
        Ok(Self { process, model, template, mean, std })
    }
}

fn named<T: serde::de::DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json)
        .map_err(|error| crate::Error::Unsupported(format!("not linked: {error}")))
}

/// Checks a sampler on Gaussian data whose score is known ([`SamplerSubject::from_catalogue`]), and
/// its equivariance under rotations of the plane for data that are symmetric.
pub fn check_sampler(sampler: &dyn Sampler, streams: &Streams) -> Vec<CheckResult> {
    let mut table = Table::default();
    table.check("Gaussian data through the exact score", || {
        match SamplerSubject::from_catalogue(LAW.0, LAW.1, 10_000) {
            Ok(subject) => moments(sampler, &subject, streams),
            Err(error) => Ok(Found::Skip(error.to_string())),
        }
    });
    table.check("the same seed gives the same bits", || {
        match SamplerSubject::from_catalogue(LAW.0, LAW.1, 16) {
            Ok(subject) => repeated(sampler, &subject, streams),
            Err(error) => Ok(Found::Skip(error.to_string())),
        }
    });
    table.check("a whole run moves with its start and its noise", || {
        let symmetry: Result<Box<dyn RepresentationConfig>> =
            named(r#"{"type": "rotation", "dimension": 2}"#);
        match (SamplerSubject::from_catalogue(0.0, LAW.1, 16), symmetry) {
            (Ok(subject), Ok(symmetry)) => {
                equivariance(sampler, &subject, symmetry.build()?.as_ref(), streams)
            }
            (Err(error), _) | (_, Err(error)) => Ok(Found::Skip(error.to_string())),
        }
    });
    table.results
}

fn run(sampler: &dyn Sampler, subject: &SamplerSubject, streams: &Streams) -> Result<Sampled> {
    let start = subject.process.prior(&subject.template, &mut streams.stream("check start", 0))?;
    let mut noise = FreshNoise::new(streams, "check noise");
    sampler.run(
        subject.process.as_ref(),
        subject.model.as_ref(),
        start,
        &mut noise,
        &mut |_, _, _| {},
    )
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
    if first.evaluations == 0 {
        return broken("it counts no evaluations of the model");
    }
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
    let start = process.prior(&subject.template, &mut streams.stream("check start", 0))?;
    let mut stream = streams.stream("check element", 0);
    let shape = symmetry.element_shape(&start)?;
    let h = symmetry.group().sample(&shape, start.options(), &mut stream);
    let mut recording = RecordingNoise::new(FreshNoise::new(streams, "check noise"));
    let here = sampler.run(process, model, start.clone(), &mut recording, &mut |_, _, _| {})?;
    let mut moved = recording.transported(symmetry, &h);
    let start = symmetry.act(&h, &start)?;
    let there = sampler.run(process, model, start, &mut moved, &mut |_, _, _| {})?;
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
