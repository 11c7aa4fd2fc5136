//! Samplers: from prior to data, blind to the geometry.

use crate::{
    Drive, Element, Error, NoiseOperator, NoisingProcess, Purpose, Representation, Result,
    ScoreModel, State, Step, Streams, Terms, Xi,
};

/// What a sampler returns.
#[derive(Debug)]
pub struct Sampled {
    /// The samples.
    pub state: State,
    /// Evaluations of the model for each sample (NFE).
    pub evaluations: usize,
}

/// Told about each step: index, number of steps, the state after it. An error ends the run with
/// that error: this is how a signal stops a long batch. A method that chooses its own steps reports
/// its progress in parts of a fixed number; an index may then come twice or be left out, the last
/// one never.
pub type Observer<'a> = dyn FnMut(usize, usize, &State) -> Result<()> + 'a;

/// An observer that looks at nothing.
///
/// # Errors
/// None.
pub fn unobserved(_index: usize, _steps: usize, _state: &State) -> Result<()> {
    Ok(())
}

/// Integrates a process with a model from prior to data. It never knows which geometry it moves in:
/// it asks the process for [`Terms`] and the drive for its flow.
pub trait Sampler: Send + std::fmt::Debug {
    /// Short name for messages.
    fn name(&self) -> String;

    /// What it needs from a prediction.
    fn purpose(&self) -> Purpose;

    /// Whether it can integrate this process with this model: the only gate. What it refuses is
    /// refused while a configuration is checked, and what it accepts [`Sampler::run`] carries out.
    /// It evaluates no model. The default asks for a prediction that can drive
    /// [`Sampler::purpose`], and asks the sampler inside one that has one; who writes another calls
    /// [`accept`] first.
    ///
    /// # Errors
    /// The reason, with a pointer into the sampler's configuration.
    fn accepts(&self, process: &dyn NoisingProcess, model: &dyn ScoreModel) -> Result<()> {
        match self.inner() {
            Some((field, inner)) => {
                inner.accepts(process, model).map_err(|error| error.under(field))
            }
            None => accept(process, model, self.purpose()),
        }
    }

    /// The sampler that this one runs, with the pointer to its configuration (`/inner`).
    fn inner(&self) -> Option<(&'static str, &dyn Sampler)> {
        None
    }

    /// Runs from `start` to data.
    ///
    /// # Errors
    /// What [`Sampler::accepts`] refuses (before the first evaluation), when the model fails, and
    /// what the observer returns.
    fn run(
        &self,
        process: &dyn NoisingProcess,
        model: &dyn ScoreModel,
        start: State,
        noise: &mut dyn Noise,
        observer: &mut Observer,
    ) -> Result<Sampled>;
}

/// Where a sampler's noise comes from. Every draw goes through here, *after* colouring, so that the
/// noise of a run can be moved with its input.
pub trait Noise {
    /// The noise of draw number `index` (unique in a run) at `state`, with the shapes of `like`:
    /// standard normal, scaled and coloured by one operator a factor ([`Terms::noise`], or
    /// [`KernelLaw::unit_noise`](crate::KernelLaw::unit_noise) for steps that scale it themselves),
    /// horizontal.
    ///
    /// # Errors
    /// When the noise cannot be transported.
    fn draw(
        &mut self,
        index: u64,
        state: &State,
        like: &Xi,
        noise: &[NoiseOperator],
        drive: &dyn Drive,
    ) -> Result<Xi>;

    /// Noise of unit scale in the colour of a process, for steps that scale their noise themselves
    /// ([`ClosedForms::posterior`](crate::ClosedForms::posterior)).
    /// It is a draw: nothing but [`Noise::draw`] is ever written.
    ///
    /// # Errors
    /// When the noise cannot be coloured or transported.
    fn unit(
        &mut self,
        index: u64,
        state: &State,
        like: &Xi,
        process: &dyn NoisingProcess,
    ) -> Result<Xi> {
        self.draw(index, state, like, &process.unit_noise(state)?, process.fields())
    }
}

/// Noise from the run's streams.
pub struct FreshNoise {
    streams: Streams,
    name: String,
}

impl FreshNoise {
    /// Noise from the stream `name`.
    pub fn new(streams: &Streams, name: &str) -> Self {
        Self { streams: streams.clone(), name: name.to_string() }
    }
}

fn normal_like(streams: &Streams, name: &str, index: u64, like: &Xi) -> Xi {
    let mut stream = streams.stream(name, index);
    like.map(|a| stream.normal(&a.size(), (a.kind(), a.device())))
}

impl Noise for FreshNoise {
    fn draw(
        &mut self,
        index: u64,
        state: &State,
        like: &Xi,
        noise: &[NoiseOperator],
        drive: &dyn Drive,
    ) -> Result<Xi> {
        let z = normal_like(&self.streams, &self.name, index, like);
        let coloured = z.0.iter().zip(noise).map(|(z, noise)| noise.apply(z));
        Ok(drive.horizontal(state, &Xi(coloured.collect())))
    }
}

/// Keeps the noise of a run and the state at which each draw was made.
pub struct RecordingNoise<N> {
    inner: N,
    draws: Vec<(State, Xi)>,
}

impl<N: Noise> RecordingNoise<N> {
    /// Records what `inner` draws.
    pub fn new(inner: N) -> Self {
        Self { inner, draws: Vec::new() }
    }

    /// Replays the recorded noise as `symmetry` moves it by `h`.
    pub fn transported<'a>(
        self,
        symmetry: &'a dyn Representation,
        h: &'a Element,
    ) -> TransportedNoise<'a> {
        TransportedNoise { draws: self.draws.into_iter(), symmetry, h }
    }
}

impl<N: Noise> Noise for RecordingNoise<N> {
    fn draw(
        &mut self,
        index: u64,
        state: &State,
        like: &Xi,
        noise: &[NoiseOperator],
        drive: &dyn Drive,
    ) -> Result<Xi> {
        let xi = self.inner.draw(index, state, like, noise, drive)?;
        self.draws.push((state.clone(), xi.clone()));
        Ok(xi)
    }
}

/// Runs a sampler from a start, and once more from the start moved by an element with the noise moved along: the ends of
/// both. Equivariance of every single run says that the second is the first one moved.
///
/// # Errors
/// As for [`Sampler::run`]; when start or noise cannot be moved.
pub fn run_and_moved(
    sampler: &dyn Sampler,
    (process, model): (&dyn NoisingProcess, &dyn ScoreModel),
    start: &State,
    (symmetry, h): (&dyn Representation, &Element),
    noise: impl Noise,
) -> Result<(State, State)> {
    let mut noise = RecordingNoise::new(noise);
    let here = sampler.run(process, model, start.clone(), &mut noise, &mut unobserved)?.state;
    let moved = symmetry.act(h, start)?;
    let mut noise = noise.transported(symmetry, h);
    let there = sampler.run(process, model, moved, &mut noise, &mut unobserved)?.state;
    Ok((here, there))
}

/// The noise of a recorded run, moved by a symmetry: with it the run from `h . start` must end in
/// `h . end`.
pub struct TransportedNoise<'a> {
    draws: std::vec::IntoIter<(State, Xi)>,
    symmetry: &'a dyn Representation,
    h: &'a Element,
}

impl Noise for TransportedNoise<'_> {
    fn draw(
        &mut self,
        _: u64,
        _: &State,
        _: &Xi,
        _: &[NoiseOperator],
        drive: &dyn Drive,
    ) -> Result<Xi> {
        let (state, xi) = self.draws.next().ok_or_else(|| {
            Error::Other("the second run drew more noise than the recorded one".into())
        })?;
        drive.transport(self.symmetry, self.h, &state, &xi)
    }
}

/// Refuses models whose prediction cannot drive a purpose on this process.
///
/// # Errors
/// The reason.
pub fn accept(
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    purpose: Purpose,
) -> Result<()> {
    let kind = model.predicts();
    process.accepts_prediction(kind)?;
    if kind.can_drive(purpose) {
        return Ok(());
    }
    let name = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| Some(value.as_str()?.to_string())).unwrap_or_default()
    };
    let (kind, purpose) = (name(serde_json::to_value(kind)), name(serde_json::to_value(purpose)));
    Err(Error::config("", format!("the model predicts {kind}, which cannot drive {purpose}"))
        .with_help("choose another `predicts` in the model, or another sampler"))
}

/// `weight g^2 S - f - h`: the rate of a reverse step (`weight` 1) or of the probability flow
/// (1/2), per unit of time.
pub fn reverse_rate(terms: &Terms, weight: f64) -> Xi {
    let score = if weight == 1.0 {
        terms.preconditioned.clone()
    } else {
        terms.preconditioned.scale(weight)
    };
    let rate = score.sub(&terms.drift);
    match &terms.h {
        Some(h) => rate.sub(h),
        None => rate,
    }
}

/// The label tensor `[B]` for a step: all points share the time.
pub fn times(state: &State, step: Step) -> tch::Tensor {
    tch::Tensor::full([state.batch_size()], step.from, state.options())
}
