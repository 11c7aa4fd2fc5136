//! The likelihood of query points given known values of the same function: `log p(y | y_c) = log p(y_c, y) - log
//! p(y_c)`, two solves of the probability flow (geomndp.md 1.4).
//!
//! Both solves use the same probes at the known points, so that what the estimates of the divergence get wrong there
//! partly cancels.

use super::{LikelihoodOptions, LogLikelihood, probes, solve};
use crate::observed;
use isotropy_core::{NoisingProcess, Result, ScoreModel, State, Streams};
use tch::{Kind, Tensor};

/// Log-densities of query points given known ones.
#[derive(Debug)]
pub struct ConditionalLogLikelihood {
    /// `log p(query | known)` in nats, `[B]`: the log-density of the query where nothing is known.
    pub log_prob: Tensor,
    /// `log p(known, query)`, `[B]`.
    pub joint: Tensor,
    /// `log p(known)`, `[B]`; zero where nothing is known.
    pub known: Tensor,
    /// Query points that are there (not padding) for each function, `[B]`.
    pub points: Tensor,
    /// Evaluations of the model for each function, both solves together.
    pub evaluations: usize,
}

/// Log-densities of the query points of states that carry known values ([`crate::observed`]), under a model of the
/// joint law. The estimates of the divergence draw from `streams`.
///
/// # Errors
/// As for [`log_likelihood`](super::log_likelihood), and when the observed fields do not fit one another.
pub fn conditional_log_likelihood(
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    state: &State,
    options: &LikelihoodOptions,
    streams: &Streams,
) -> Result<ConditionalLogLikelihood> {
    let (drive, batch) = (process.fields(), state.batch_size());
    let double = (Kind::Double, state.options().1);
    let query = observed::query(state);
    let points = match (query.mask(), query.index_size()) {
        (Some(mask), _) => mask.to_kind(Kind::Double).sum_dim_intlist(1, false, None),
        (None, points) => Tensor::full([batch], points.unwrap_or(1), double),
    };
    let joint = drive.lift(observed::joint(state)?)?;
    let drawn = probes(process, &joint, options, streams)?;
    let of_known = match observed::observed(state)? {
        Some(known) => {
            let known = drive.lift(known)?;
            let drawn = drawn.narrowed(drive, &known, 0, options.at_once)?;
            Some(solve(process, model, known, options, &drawn)?)
        }
        None => None,
    };
    let LogLikelihood { log_prob: joint, mut evaluations, .. } =
        solve(process, model, joint, options, &drawn)?;
    let known = match of_known {
        Some(found) => {
            evaluations += found.evaluations;
            found.log_prob
        }
        None => Tensor::zeros([batch], double),
    };
    Ok(ConditionalLogLikelihood { log_prob: &joint - &known, joint, known, points, evaluations })
}
