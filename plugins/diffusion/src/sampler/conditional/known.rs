//! What the conditional samplers share: known points beside query points, and noise for both.

use crate::observed;
use crate::sampler::rule::Walk;
use isotropy_core::{Aliasing, ClosedForm, Error, NoisingProcess, Result, ScoreModel, State, Xi};
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
    if ClosedForm::HTerm.of(process).is_ok() {
        return Err(Error::Unsupported(format!(
            "{} is pinned at another end, which known points do not have",
            process.name()
        )));
    }
    if model.any_number_of_points() {
        return Ok(());
    }
    let message = "the model takes one number of points, and known points are put beside the query";
    Err(Error::config("", message)
        .with_help("use a network over points, such as `point-attention`"))
}

/// What is known in a run, beside the query.
pub(super) struct Known {
    /// What the run started from, with everything that is known.
    start: State,
    /// The known points with their values; `None` where nothing is known.
    pub values: Option<State>,
    /// Both sets of points, made once: a process keeps what it found out about them.
    joint: State,
    /// Number of known points.
    count: i64,
}

impl Known {
    /// Known and query points of a starting state; the second is the query.
    ///
    /// # Errors
    /// When the observed fields do not fit one another.
    pub fn of(process: &dyn NoisingProcess, start: State) -> Result<(Self, State)> {
        let query = observed::query(&start);
        let values = match observed::observed(&start)? {
            Some(known) => Some(process.fields().lift(known)?),
            None => None,
        };
        let joint = match &values {
            Some(known) => observed::join(known, &query)?,
            None => query.clone(),
        };
        let count = observed::count(&start);
        Ok((Self { start, values, joint, count }, query))
    }

    /// The known points at time `t`, with fresh noise: a draw from `p_t(. | y_c)`. Time 0 is before all noise.
    pub fn noised(&self, walk: &mut Walk, t: f64) -> Result<Option<State>> {
        self.values.as_ref().map(|known| noised(walk, known, 0.0, t)).transpose()
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
        if self.values.is_none() {
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
        if self.values.is_none() {
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

    /// The query with everything that is known, as a sampler hands it out.
    pub fn shown(&self, query: &State) -> State {
        let mut state = self.start.with_value(query.x().shallow_clone());
        state.lift.clone_from(&query.lift);
        state
    }
}

/// A state of known or query points taken from time `from` up to `to` by fresh noise.
pub(super) fn noised(walk: &mut Walk, state: &State, from: f64, to: f64) -> Result<State> {
    let z = walk.unit(state, &walk.drive.zeros(state))?;
    walk.process.transition(state, from, to, &z)
}
