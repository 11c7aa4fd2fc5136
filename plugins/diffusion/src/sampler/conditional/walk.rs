//! What the conditional samplers share: known points beside query points, noise for both, and a count of evaluations.

use crate::observed;
use isotropy_core::{
    Aliasing, Drive, Error, Noise, NoisingProcess, Observer, Result, Sampled, ScoreModel, State,
    Step, Terms, Xi, sampler::times,
};
use tch::Tensor;

/// Refuses what cannot have known points put beside the query: models that see no other number of
/// points than they were built for, and drives whose points carry unwrapped coordinates.
pub(super) fn joins(process: &dyn NoisingProcess, model: &dyn ScoreModel) -> Result<()> {
    let coordinates = process.fields().coordinates();
    if coordinates.is_some_and(|c| c.aliasing() == Aliasing::Carried) {
        return Err(Error::Unsupported(format!(
            "known points have no unwrapped coordinates, which points of {} carry",
            process.drive().name()
        )));
    }
    if model.any_number_of_points() {
        return Ok(());
    }
    let message = "the model takes one number of points, and known points are put beside the query";
    Err(Error::config("", message)
        .with_help("use a network over points, such as `point-attention`"))
}

/// A run: where it is evaluated, and with what.
pub(super) struct Walk<'a> {
    pub process: &'a dyn NoisingProcess,
    pub drive: &'a dyn Drive,
    model: &'a dyn ScoreModel,
    noise: &'a mut dyn Noise,
    /// What the run started from, with everything that is known.
    start: State,
    /// The known points with their values; `None` where nothing is known.
    known: Option<State>,
    /// Both sets of points, made once: a process keeps what it found out about them.
    joint: State,
    /// Number of known points.
    count: i64,
    evaluations: usize,
    draws: u64,
}

impl<'a> Walk<'a> {
    /// Known and query points of a starting state; the second is the query.
    ///
    /// # Errors
    /// When the observed fields do not fit one another.
    pub fn new(
        process: &'a dyn NoisingProcess,
        model: &'a dyn ScoreModel,
        noise: &'a mut dyn Noise,
        start: State,
    ) -> Result<(Self, State)> {
        let drive = process.fields();
        let query = observed::query(&start);
        let known = match observed::observed(&start)? {
            Some(known) => Some(drive.lift(known)?),
            None => None,
        };
        let joint = match &known {
            Some(known) => observed::join(known, &query)?,
            None => query.clone(),
        };
        let count = observed::count(&start);
        let walk = Self {
            process,
            drive,
            model,
            noise,
            start,
            known,
            joint,
            count,
            evaluations: 0,
            draws: 0,
        };
        Ok((walk, query))
    }

    /// Zero coefficients at a state, whose shapes its noise has.
    fn shapes(&self, state: &State) -> Xi {
        let zeros = |shape: Vec<i64>| {
            let size: Vec<i64> = std::iter::once(state.batch_size()).chain(shape).collect();
            Tensor::zeros(size, state.options())
        };
        Xi(self.drive.xi_shape(&state.spec()).into_iter().map(zeros).collect())
    }

    /// Noise of unit scale, coloured by the process.
    fn unit(&mut self, state: &State) -> Result<Xi> {
        let like = self.shapes(state);
        self.draws += 1;
        self.noise.unit(self.draws - 1, state, &like, self.process)
    }

    /// Noise scaled and coloured by terms, per square root of unit time.
    pub fn draw(&mut self, state: &State, terms: &Terms) -> Result<Xi> {
        self.draws += 1;
        self.noise.draw(self.draws - 1, state, &terms.drift, &terms.noise, self.drive)
    }

    /// The known points at time `t`, with fresh noise: a draw from `p_t(. | y_c)`. Time 0 is before all noise.
    pub fn noised(&mut self, t: f64) -> Result<Option<State>> {
        let Some(known) = self.known.clone() else { return Ok(None) };
        let z = self.unit(&known)?;
        self.process.transition(&known, 0.0, t, &z).map(Some)
    }

    /// A state of known or query points taken from time `from` up to `to` by fresh noise.
    pub fn noised_from(&mut self, state: &State, from: f64, to: f64) -> Result<State> {
        let z = self.unit(state)?;
        self.process.transition(state, from, to, &z)
    }

    /// The known points as they are.
    pub fn known(&self) -> Option<State> {
        self.known.clone()
    }

    /// Known and query points in one state.
    pub fn join(&self, known: Option<&State>, query: &State) -> Result<State> {
        let Some(known) = known else { return Ok(query.clone()) };
        let mut joint = self.joint.clone();
        let axis = query.value.index_axis.ok_or_else(|| {
            Error::Unsupported("known and query points need an index axis of the value".into())
        })?;
        joint.value.tensor = Tensor::cat(&[known.x(), query.x()], axis as i64);
        for (name, field) in &mut joint.lift {
            let axis = field.index_axis.ok_or_else(|| {
                Error::Unsupported(format!("the lift '{name}' does not belong to the index set"))
            })?;
            let parts = [&known.lifted(name)?.tensor, &query.lifted(name)?.tensor];
            field.tensor = Tensor::cat(&parts, axis as i64);
        }
        Ok(joint)
    }

    /// The query part of a joint state, with the query's own context.
    pub fn query(&self, joint: &State, like: &State) -> State {
        if self.known.is_none() {
            return joint.clone();
        }
        let mut query = observed::query_part(joint, self.count);
        query.context.clone_from(&like.context);
        query
    }

    /// Coefficients at a joint state with zeros at the known points.
    ///
    /// # Errors
    /// When the coefficients do not belong to the index set.
    pub fn without_known(&self, joint: &Xi) -> Result<Xi> {
        if self.known.is_none() {
            return Ok(joint.clone());
        }
        let axis = self.joint.value.index_axis.unwrap_or(1);
        let points = self.joint.index_size();
        let clear = |a: &Tensor| {
            if a.size().get(axis).copied() != points {
                return Err(Error::Unsupported(
                    "known and query points need coefficients along the index set".into(),
                ));
            }
            let known = a.narrow(axis as i64, 0, self.count);
            let rest = a.narrow(axis as i64, self.count, a.size()[axis] - self.count);
            Ok(Tensor::cat(&[&known.zeros_like(), &rest], axis as i64))
        };
        Ok(Xi(joint.0.iter().map(clear).collect::<Result<_>>()?))
    }

    /// What moves the points at an instant, by the model's prediction there.
    pub fn terms(&mut self, state: &State, step: Step) -> Result<Terms> {
        self.evaluations += 1;
        let prediction = self.model.predict(state, &times(state, step), false)?;
        self.process.terms(state, step, &prediction)
    }

    /// The query with everything that is known, as a sampler hands it out.
    pub fn shown(&self, query: &State) -> State {
        let mut state = self.start.with_value(query.x().shallow_clone());
        state.lift.clone_from(&query.lift);
        state
    }

    /// Tells an observer about a step.
    pub fn tell(
        &self,
        observer: &mut Observer,
        index: usize,
        steps: usize,
        query: &State,
    ) -> Result<()> {
        observer(index, steps, &self.shown(query))
    }

    /// The end of a run.
    pub fn end(self, query: &State) -> Sampled {
        Sampled { state: self.shown(query), evaluations: self.evaluations }
    }
}

/// `score g^2 K S - f`, with a factor on the score alone.
pub(super) fn reverse_rate(terms: &Terms, score: f64) -> Xi {
    let rate = terms.preconditioned.scale(score).sub(&terms.drift);
    match &terms.h {
        Some(h) => rate.sub(h),
        None => rate,
    }
}
