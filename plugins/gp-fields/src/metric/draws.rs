//! Samples sorted by the test function that they belong to.

use isotropy_core::{Error, Evaluation, Result, State};
use tch::{Device, Kind, Tensor};

/// Several samples of each test function, in double precision.
#[derive(Debug)]
pub(crate) struct Draws {
    /// `[G, r, N, d]`.
    pub samples: Tensor,
    /// The true values, `[G, N, d]`.
    pub truth: Tensor,
    /// `[G, N]`, 1 where there is a point.
    pub mask: Option<Tensor>,
    /// The test functions with what is known of them.
    pub given: State,
    /// Samples of each function, `r`.
    pub repeats: i64,
}

/// Whether two rows of a batch hold the same context (index points, what is known).
fn same_context(a: &State, row: i64, b: &State, other: i64) -> bool {
    a.context.iter().all(|(name, field)| match b.given(name) {
        Ok(there) if field.batched && there.batched => {
            let (mine, yours) = (field.tensor.get(row), there.tensor.get(other));
            mine.size() == yours.size() && mine.equal(&yours.to_kind(mine.kind()))
        }
        Ok(_) => true,
        Err(_) => false,
    })
}

/// Samples in a row with one context are those of one test function; the first function is the first of the test split.
///
/// # Errors
/// When functions have different numbers of samples, or the test functions at hand are others.
pub(crate) fn grouped(evaluation: &Evaluation) -> Result<Draws> {
    let (samples, reference) = (evaluation.samples, evaluation.reference);
    let count = samples.batch_size();
    if samples.value.index_axis != Some(1) || samples.x().dim() != 3 {
        return Err(Error::Unsupported("this metric is about fields, values [B, N, d]".into()));
    }
    if count == 0 {
        return Err(Error::config("", "there are no samples").with_help("raise `sampling.count`"));
    }
    // Compared on the CPU: a device would be waited for with each pair of rows.
    let on_host = |state: &State| state.to(state.x().kind(), Device::Cpu);
    let (sampled, asked) = (on_host(samples), on_host(reference));
    let first = (1..count).find(|&row| !same_context(&sampled, row, &sampled, 0));
    let repeats = first.unwrap_or(count);
    let groups = count / repeats;
    if groups * repeats != count {
        return Err(Error::config(
            "",
            format!(
                "{count} samples are no multiple of the {repeats} samples of the first function"
            ),
        )
        .with_help("make `sampling.count` a multiple of `sampling.repeats`"));
    }
    if reference.batch_size() < groups {
        return Err(Error::config(
            "",
            format!(
                "samples of {groups} functions, but {} test functions to compare with",
                reference.batch_size()
            ),
        )
        .with_help("raise `evaluate.reference`"));
    }
    for group in 0..groups {
        if !same_context(&sampled, group * repeats, &asked, group) {
            return Err(Error::config(
                "",
                format!("sample {} does not belong to test function {group}", group * repeats),
            )
            .with_help(
                "samples start from the test functions in order: `sampling.batch` must be a multiple of \
                 `sampling.repeats`, and the test split must not be endless",
            ));
        }
    }
    let given = reference.narrow(0, groups);
    let size = samples.x().size();
    let samples = samples.x().to_kind(Kind::Double).view([groups, repeats, size[1], size[2]]);
    let truth = given.x().to_kind(Kind::Double);
    let mask = given.mask().map(|mask| mask.to_kind(Kind::Double));
    Ok(Draws { samples, truth, mask, given, repeats })
}
