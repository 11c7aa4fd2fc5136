//! Rejection: samples of the joint law are kept where they agree with what is known.

use super::known::joins;
use crate::observed;
use isotropy_core::{
    Error, Noise, NoiseOperator, NoisingProcess, Observer, Purpose, Result, Sampled, Sampler,
    SamplerConfig, ScoreModel, State, Xi, component, config,
};
use tch::{Kind, Tensor};

/// Draws known and query points together, without regard to what is known, and keeps a draw `(f_c, f)` with probability
/// `exp(-|y_c - f_c|^2 / (2 tolerance^2))`: what is kept follows the law of the query given values that were seen with
/// independent normal noise of that standard deviation. Exact whatever the model is, and dear: the probability falls
/// with every known point. A reference for one or two known points.
///
/// Functions for which no draw was kept in `attempts` rounds come out as NaN, which the run counts. Where nothing is
/// known the first draw is kept. Its draws are not moved with the input: acceptance looks at distances alone, so the law
/// is symmetric, but a run has no transform.
#[config]
pub struct RejectionConfig {
    /// The sampler of the joint law.
    pub sampler: Box<dyn SamplerConfig>,
    /// Standard deviation of the noise that known values are taken to have beside what the model gives them; positive. In
    /// units of the values.
    #[serde(default = "tolerance")]
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub tolerance: f64,
    /// Rounds after which it gives up.
    #[serde(default = "attempts")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub attempts: u32,
}

fn tolerance() -> f64 {
    0.1
}

fn attempts() -> u32 {
    1000
}

#[component(
    "rejection",
    "query points given few known ones: joint samples are kept where they agree",
    r#"{"type": "rejection", "sampler": {"type": "replacement", "steps": 50}}"#
)]
impl SamplerConfig for RejectionConfig {
    fn build(&self) -> Result<Box<dyn Sampler>> {
        if !(self.tolerance.is_finite() && self.tolerance > 0.0) {
            let message = format!("{} must be a positive number", self.tolerance);
            return Err(Error::config("/tolerance", message));
        }
        if self.attempts == 0 {
            return Err(Error::config("/attempts", "at least 1"));
        }
        let sampler = self.sampler.build().map_err(|error| error.under("/sampler"))?;
        Ok(Box::new(Rejection { sampler, tolerance: self.tolerance, attempts: self.attempts }))
    }
}

#[derive(Debug)]
struct Rejection {
    sampler: Box<dyn Sampler>,
    tolerance: f64,
    attempts: u32,
}

/// Numbers each draw of every round anew.
struct Renumbered<'a> {
    inner: &'a mut dyn Noise,
    next: u64,
}

impl Noise for Renumbered<'_> {
    fn draw(
        &mut self,
        _: u64,
        state: &State,
        like: &Xi,
        noise: &[NoiseOperator],
        drive: &dyn isotropy_core::Drive,
    ) -> Result<Xi> {
        self.next += 1;
        self.inner.draw(self.next - 1, state, like, noise, drive)
    }
}

/// A uniform number for each function, from one normal number of white noise.
fn uniform(noise: &mut dyn Noise, state: &State, process: &dyn NoisingProcess) -> Result<Tensor> {
    let like = Xi::from(state.x().zeros_like());
    let white = [NoiseOperator::White(1.0)];
    let z = noise.draw(0, state, &like, &white, process.fields())?;
    let first = z.single().flatten(1, -1).select(1, 0).to_kind(Kind::Double);
    Ok(((first * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0) * 0.5)
}

impl Rejection {
    /// A start of the joint run: the limiting mean with noise of unit scale.
    fn start(
        template: &State,
        process: &dyn NoisingProcess,
        noise: &mut dyn Noise,
    ) -> Result<State> {
        let like = Xi::from(template.x().zeros_like());
        let mut start = noise.unit(0, template, &like, process)?;
        if let Some(end) = process.known_end(template)? {
            start = start.add(&end);
        }
        Ok(template.with_value(start.single().shallow_clone()))
    }
}

impl Sampler for Rejection {
    fn name(&self) -> String {
        format!("rejection ({})", self.sampler.name())
    }

    fn purpose(&self) -> Purpose {
        self.sampler.purpose()
    }

    fn inner(&self) -> Option<(&'static str, &dyn Sampler)> {
        Some(("/sampler", self.sampler.as_ref()))
    }

    fn accepts(&self, process: &dyn NoisingProcess, model: &dyn ScoreModel) -> Result<()> {
        joins(process, model)?;
        self.sampler.accepts(process, model).map_err(|error| error.under("/sampler"))
    }

    fn run(
        &self,
        process: &dyn NoisingProcess,
        model: &dyn ScoreModel,
        start: State,
        noise: &mut dyn Noise,
        observer: &mut Observer,
    ) -> Result<Sampled> {
        let Some(known) = observed::observed(&start)? else {
            return self.sampler.run(process, model, start, noise, observer);
        };
        let _no_grad = tch::no_grad_guard();
        let joint = observed::joint(&start)?;
        let count = observed::count(&start);
        let mut noise = Renumbered { inner: noise, next: 0 };
        let there = known.mask().map(|mask| mask.unsqueeze(-1).gt(0.5));
        let mut open = Tensor::ones([start.batch_size()], (Kind::Bool, start.options().1));
        let mut value = start.x().full_like(f64::NAN);
        let (mut evaluations, mut rounds) = (0, 0);
        while rounds < self.attempts as usize && open.any().int64_value(&[]) != 0 {
            let begin = Self::start(&joint, process, &mut noise)?;
            let mut silent = |_: usize, _: usize, _: &State| Ok(());
            let drawn = self.sampler.run(process, model, begin, &mut noise, &mut silent)?;
            evaluations += drawn.evaluations;
            let apart = (drawn.state.x().narrow(1, 0, count) - known.x()).square();
            let apart = match &there {
                Some(there) => apart.where_self(there, &apart.zeros_like()),
                None => apart,
            };
            let apart = apart.to_kind(Kind::Double).flatten(1, -1);
            let log = apart.sum_dim_intlist([1].as_slice(), false, None)
                * (-0.5 / (self.tolerance * self.tolerance));
            let u = uniform(&mut noise, &joint, process)?;
            let kept = u.log().lt_tensor(&log).logical_and(&open);
            let query = observed::query_part(&drawn.state, count);
            value = query.x().where_self(&kept.view([-1, 1, 1]), &value);
            open = open.logical_and(&kept.logical_not());
            rounds += 1;
            observer(
                (rounds - 1).min(self.attempts as usize - 1),
                self.attempts as usize,
                &start.with_value(value.shallow_clone()),
            )?;
        }
        let state = start.with_value(value);
        if rounds < self.attempts as usize {
            observer(self.attempts as usize - 1, self.attempts as usize, &state)?;
        }
        Ok(Sampled { state, evaluations })
    }
}
