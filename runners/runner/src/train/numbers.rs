//! Numbers that go wrong: what stops a run, and what it says.

use super::flat::FlatParameters;
use super::window::Summary;
use isotropy_core::{Error, Result};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Tensors that a message names at most.
const NAMED: usize = 5;
const REMEDY: &str = "earlier checkpoints are kept. Try a smaller learning rate, or kind f64";

/// Refuses a window in which a loss or a gradient was not finite. `step` is the last step of the
/// window; `parts` are the named parts of its loss.
///
/// # Errors
/// `Numbers`, with the first step that was wrong and the tensors that are wrong now.
pub fn check_steps(
    summary: &Summary,
    step: u64,
    parts: &[(String, Tensor)],
    parameters: &FlatParameters,
) -> Result<()> {
    let Some(bad) = summary.first_bad else { return Ok(()) };
    let first = step - summary.steps as u64 + bad as u64 + 1;
    let what = if summary.bad_loss { "the loss" } else { "the gradient (the loss was finite)" };
    let weights = parameters.named()?;
    let list = not_finite(parts.iter().chain(&weights));
    let now = if list.is_empty() {
        String::new()
    } else {
        format!("; not finite now at step {step}: {}", list.join("; "))
    };
    Err(Error::Numbers(format!("{what} is not finite, first at step {first}{now}; {REMEDY}")))
}

/// Refuses weights that are not finite after `step`.
///
/// # Errors
/// `Numbers`, with the names of the tensors.
pub fn check_weights(step: u64, parameters: &FlatParameters) -> Result<()> {
    let buffers = parameters.buffers().iter();
    if count_not_finite(parameters.buffer()) == 0 && not_finite(buffers.clone()).is_empty() {
        return Ok(());
    }
    let list = not_finite(parameters.named()?.iter().chain(buffers)).join("; ");
    Err(Error::Numbers(format!(
        "weights are not finite after step {step} (its loss and gradient were): {list}; {REMEDY}"
    )))
}

/// Refuses tensors that are not finite.
///
/// # Errors
/// `Numbers`, with their names.
pub fn check_tensors(tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let list = tensors.iter().filter_map(|(name, tensor)| describe(name, tensor));
    let list: Vec<String> = list.take(NAMED).collect();
    if list.is_empty() {
        return Ok(());
    }
    Err(Error::Numbers(format!("not finite: {}", list.join("; "))))
}

/// The first few tensors that are not finite: name, shape, how many of how many.
fn not_finite<'a>(tensors: impl Iterator<Item = &'a (String, Tensor)>) -> Vec<String> {
    tensors.filter_map(|(name, tensor)| describe(name, tensor)).take(NAMED).collect()
}

/// A tensor that is not finite: name, shape, how many of how many.
pub(super) fn describe(name: &str, tensor: &Tensor) -> Option<String> {
    let bad = count_not_finite(tensor);
    (bad > 0).then(|| format!("{name} {:?}: {bad} of {}", tensor.size(), tensor.numel()))
}

fn count_not_finite(tensor: &Tensor) -> i64 {
    tensor.isfinite().logical_not().sum(Kind::Int64).int64_value(&[])
}
