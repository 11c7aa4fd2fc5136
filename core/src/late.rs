//! Errors that the device knows first. Asking it at once would hold up every step, so they are read
//! where numbers are read anyway: when scalars are logged, after a batch of samples, after a
//! metric.

use crate::{Error, Result};
use std::cell::RefCell;
use tch::Tensor;

struct Open {
    /// One number, not zero when something is wrong.
    failed: Tensor,
    error: Box<dyn FnOnce() -> Error>,
}

/// So many wait at most; then they are read whatever it costs.
const MOST: usize = 1024;

thread_local! {
    static OPEN: RefCell<Vec<Open>> = const { RefCell::new(Vec::new()) };
}

/// Ends with `error` when `failed` (one number) is not zero: now on the CPU, at the next
/// [`late_errors`] on a device.
///
/// # Errors
/// That error, or an earlier one.
pub fn refuse_if(failed: Tensor, error: impl FnOnce() -> Error + 'static) -> Result<()> {
    if !failed.device().is_cuda() {
        return if failed.double_value(&[]) == 0.0 { Ok(()) } else { Err(error()) };
    }
    let waiting = OPEN.with_borrow_mut(|open| {
        open.push(Open { failed, error: Box::new(error) });
        open.len()
    });
    if waiting < MOST { Ok(()) } else { late_errors() }
}

/// Reads what [`refuse_if`] left for later; waits for the device where there is anything.
///
/// # Errors
/// The first error.
pub fn late_errors() -> Result<()> {
    let open = OPEN.take();
    if open.is_empty() {
        return Ok(());
    }
    let failed: Vec<Tensor> = open.iter().map(|open| open.failed.reshape([1])).collect();
    let failed = Vec::<f64>::try_from(Tensor::cat(&failed, 0).to_kind(tch::Kind::Double))?;
    let first = open.into_iter().zip(failed).find(|(_, failed)| *failed != 0.0);
    first.map_or(Ok(()), |(open, _)| Err((open.error)()))
}
