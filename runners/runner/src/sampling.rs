//! Draws samples: batches of starting points, each taken to data by the sampler.

use crate::build::Built;
use crate::experiment::{NoiseOf, Sampling, Start};
use crate::guard::guard;
use crate::needs;
use crate::progress::Progress;
use crate::signals::StopFlag;
use isotropy_core::{
    Dataset, Error, FreshNoise, Noise, Result, ScoreModel, Split, State, Streams, late_errors,
};
use isotropy_diffusion::{coupled_noise as coupled, coupled_noise::CoupledNoise};
use tch::{Kind, Tensor};

/// Samples with where they came from.
pub struct Samples {
    /// The samples.
    pub state: State,
    /// Where each started.
    pub start: State,
    /// States along the way of the first batch.
    pub trajectory: Vec<State>,
    /// Evaluations of the model for each sample.
    pub evaluations: usize,
}

/// Draws `options.count` samples with the weights that the model holds. Batch `k` depends on the
/// seed, `k` and the batch size alone.
///
/// # Errors
/// When the sampler fails, the input split is too small, or a signal arrives.
pub fn sample(
    built: &Built,
    dataset: &dyn Dataset,
    options: &Sampling,
    streams: &Streams,
    stop: &StopFlag,
) -> Result<Samples> {
    let sampler = built
        .sampler
        .as_deref()
        .ok_or_else(|| Error::config("/sampler", "nothing can be sampled without a `sampler`"))?;
    let process = built.process.as_deref().expect("a sampler is only built beside a process");
    let repeats = repeats(options)?;
    needs::inputs(options, dataset.len(Split::Test))?;
    // The symmetry that noise is coupled to.
    let symmetry = built.symmetry.as_deref().filter(|_| options.noise == NoiseOf::Coupled);
    let _no_grad = tch::no_grad_guard();
    let _held = Held::new(built.model.as_ref());
    let (mut states, mut starts, mut trajectory) = (Vec::new(), Vec::new(), Vec::new());
    let mut evaluations = 0;
    let batches = (options.count as u64).div_ceil(options.batch as u64).max(1);
    let mut progress = Progress::new("sample", options.count as u64, 0);
    for k in 0..batches {
        let size = options.batch.min(options.count - k as i64 * options.batch);
        let points = dataset.batch(Split::Test, k, options.batch / repeats, streams)?;
        let start = match options.start {
            Start::Input => {
                let points = repeated(&points.narrow(0, size / repeats), repeats);
                process.fields().lift(points)?
            }
            Start::Prior => {
                let template = at_least(dataset, points, size / repeats, streams)?;
                let template = repeated(&template, repeats);
                let mut stream = streams.stream("prior", k);
                guard("process", || match symmetry {
                    Some(symmetry) => coupled::prior(process, symmetry, &template, &mut stream),
                    None => process.prior(&template, &mut stream),
                })?
            }
        };
        let fresh = FreshNoise::new(streams, &format!("sampler/{k}"));
        let mut noise: Box<dyn Noise + '_> = match symmetry {
            Some(symmetry) => Box::new(CoupledNoise::new(fresh, symmetry, &start)?),
            None => Box::new(fresh),
        };
        let done = (k as i64 * options.batch) as u64;
        let mut kept = 0;
        let mut observer = |index: usize, steps: usize, state: &State| {
            let step = (index + 1).min(steps);
            let share = (size as f64 * step as f64 / steps as f64) as u64;
            progress.at(done + share, || format!("step {step}/{steps}"));
            // Evenly spread, the last state among them; adaptive methods may leave steps out.
            let due = options.trajectory * step / steps;
            if k == 0 && due > kept {
                kept = due;
                trajectory.push(state.clone());
            }
            stop.check()
        };
        let sampled = guard("sampler", || {
            sampler.run(process, built.model.as_ref(), start.clone(), noise.as_mut(), &mut observer)
        })?;
        late_errors()?;
        evaluations = sampled.evaluations;
        states.push(sampled.state);
        starts.push(start);
    }
    progress.finish(options.count as u64, &format!("{evaluations} evaluations a sample"));
    Ok(Samples {
        state: State::cat(&states)?,
        start: State::cat(&starts)?,
        trajectory,
        evaluations,
    })
}

/// The promise that a model's weights stay as they are; it ends with this value.
struct Held<'a>(&'a dyn ScoreModel);

impl<'a> Held<'a> {
    fn new(model: &'a dyn ScoreModel) -> Self {
        model.hold(true);
        Self(model)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.hold(false);
    }
}

/// Samples of each test point.
///
/// # Errors
/// When the samples, or those of a batch, are no multiple of them.
pub(crate) fn repeats(options: &Sampling) -> Result<i64> {
    let repeats = options.repeats.max(1);
    for (pointer, number) in [("count", options.count), ("batch", options.batch)] {
        if number % repeats != 0 {
            let message = format!("{number} is no multiple of the {repeats} repeats of each point");
            return Err(Error::config(format!("/sampling/{pointer}"), message));
        }
    }
    Ok(repeats)
}

/// Each point of a batch so many times, one after the other.
fn repeated(points: &State, repeats: i64) -> State {
    if repeats == 1 {
        return points.clone();
    }
    points.map_batched(|tensor| tensor.repeat_interleave_self_int(repeats, 0, None))
}

/// A template of `size` points: the test split from the start as often as it takes.
fn at_least(dataset: &dyn Dataset, points: State, size: i64, streams: &Streams) -> Result<State> {
    let points = if points.batch_size() == 0 {
        dataset.batch(Split::Test, 0, size, streams)?
    } else {
        points
    };
    let have = points.batch_size();
    if have == 0 {
        return Err(Error::data("the test split is empty", "it gives samples their shapes"));
    }
    if have >= size {
        return Ok(points.narrow(0, size));
    }
    let rows = Tensor::arange(size, (Kind::Int64, points.x().device())).remainder(have);
    Ok(points.map_batched(|tensor| tensor.index_select(0, &rows)))
}

/// How many points have a number that is not finite.
pub fn non_finite(state: &State) -> i64 {
    let finite = state.x().isfinite().flatten(1, -1).all_dim(1, false);
    finite.logical_not().sum(Kind::Int64).int64_value(&[])
}
