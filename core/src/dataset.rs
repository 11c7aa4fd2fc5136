//! Datasets: states in splits, batches as a pure function of (seed, step).

use crate::{Error, Result, State, Streams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tch::{Device, Kind};

/// The parts of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// For gradients.
    Train,
    /// For the validation loss and early stopping.
    Validation,
    /// For metrics.
    Test,
}

/// Where and as what data are loaded.
#[derive(Debug, Clone)]
pub struct LoadContext {
    /// The folder that `runner data fetch` fills.
    pub data_dir: PathBuf,
    /// Kind of floating-point tensors.
    pub kind: Kind,
    /// Device of the batches.
    pub device: Device,
    /// The run's random numbers.
    pub streams: Streams,
}

/// Loaded data.
pub trait Dataset: Send {
    /// Number of points in a split; `None` when they are drawn without end.
    fn len(&self, split: Split) -> Option<u64>;

    /// Whether the split has no points.
    fn is_empty(&self, split: Split) -> bool {
        self.len(split) == Some(0)
    }

    /// Batch number `step` of `size` points. Training batches are shuffled by (seed, epoch), with
    /// every point once an epoch; the other splits are visited in order and the last batch may be
    /// smaller; an index beyond the end gives an empty batch. Nothing depends on what was drawn
    /// before.
    ///
    /// # Errors
    /// When the data cannot be read.
    fn batch(&self, split: Split, step: u64, size: i64, streams: &Streams) -> Result<State>;

    /// The data that this set makes its own from. Whatever it does not answer itself is asked of them.
    fn inner(&self) -> Option<&dyn Dataset> {
        None
    }

    /// What was found in the data that a reader of a run should know, for the manifest: a name and a number each
    /// (how many values are missing, how many entries were left out).
    fn facts(&self) -> Vec<(String, f64)> {
        self.inner().map(|inner| inner.facts()).unwrap_or_default()
    }

    /// Name and SHA-256 of every file that was read, for the manifest.
    fn digests(&self) -> Vec<(String, String)> {
        self.inner().map(|inner| inner.digests()).unwrap_or_default()
    }
}

/// The points of a split from the first, `count` of them (fewer when the split is smaller).
///
/// # Errors
/// When the data cannot be read.
pub fn first(dataset: &dyn Dataset, split: Split, count: i64, streams: &Streams) -> Result<State> {
    let count = dataset.len(split).map_or(count, |len| count.min(len as i64));
    dataset.batch(split, 0, count, streams)
}

/// How many of `count` items are kept for validation and for testing: as many as are asked for, or
/// a tenth each where nothing is said (at least one, as long as one is left for training).
///
/// # Errors
/// A configuration error at `/validation` or `/test` for a negative number and where none is left
/// for training.
pub fn kept_apart(
    count: i64,
    validation: Option<i64>,
    test: Option<i64>,
    items: &str,
) -> Result<(i64, i64)> {
    for (pointer, number) in [("/validation", validation), ("/test", test)] {
        if number.is_some_and(|number| number < 0) {
            let message = format!("a number of {items} is not negative");
            return Err(Error::config(pointer, message));
        }
    }
    let tenth = ((count + 5) / 10).max(1);
    let share = |others: i64| tenth.min(count.saturating_sub(others) - 1).max(0);
    let tested = test.unwrap_or_else(|| share(validation.unwrap_or(0)));
    let kept = validation.unwrap_or_else(|| share(tested));
    if kept.saturating_add(tested) < count {
        return Ok((kept, tested));
    }
    let message =
        format!("{kept} validation and {tested} test {items} leave none of {count} for training");
    let pointer = if tested > 0 { "/test" } else { "/validation" };
    Err(Error::config(pointer, message).with_help(format!(
        "ask for less than {count} together, or leave both out for a tenth each"
    )))
}

/// Row numbers of training batch `step`: every row once an epoch, in an order that depends on the
/// seed and the epoch alone. A batch may cross the end of an epoch.
pub fn shuffled_rows(len: i64, step: u64, size: i64, streams: &Streams) -> tch::Tensor {
    let first = step as i128 * size as i128;
    let (mut epoch, mut offset) = ((first / len as i128) as u64, (first % len as i128) as i64);
    let mut parts = Vec::new();
    let mut left = size;
    while left > 0 {
        let order = streams.stream("shuffle", epoch).permutation(len);
        let take = left.min(len - offset);
        parts.push(order.narrow(0, offset, take));
        (epoch, offset, left) = (epoch + 1, 0, left - take);
    }
    if parts.len() == 1 { parts.remove(0) } else { tch::Tensor::cat(&parts, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_kept_where_nothing_is_said() {
        let kept = |count, validation, test| kept_apart(count, validation, test, "images");
        assert_eq!(kept(12, None, Some(4)).unwrap(), (1, 4));
        assert_eq!(kept(3, None, None).unwrap(), (1, 1));
        assert_eq!(kept(1000, None, None).unwrap(), (100, 100));
        assert_eq!(kept(5, Some(0), Some(0)).unwrap(), (0, 0));
        assert_eq!(kept(2, None, None).unwrap(), (0, 1));
        assert_eq!(kept(2, None, Some(1)).unwrap(), (0, 1));
        assert_eq!(kept(1, None, None).unwrap(), (0, 0));
        for (count, validation, test, pointer) in [
            (12, None, Some(12), "/test"),
            (12, Some(12), None, "/validation"),
            (12, Some(-1), None, "/validation"),
            (12, Some(i64::MAX), Some(i64::MAX), "/test"),
        ] {
            let error = kept(count, validation, test).unwrap_err();
            assert!(matches!(&error, Error::Config { pointer: p, .. } if p == pointer), "{error}");
        }
    }
}
