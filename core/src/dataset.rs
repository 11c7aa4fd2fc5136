//! Datasets: states in splits, batches as a pure function of (seed, step).

use crate::{Result, State, Streams};
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

    /// What was found in the data that a reader of a run should know, for the manifest: a name and a number each
    /// (how many values are missing, how many entries were left out).
    fn facts(&self) -> Vec<(String, f64)> {
        Vec::new()
    }

    /// Name and SHA-256 of every file that was read, for the manifest.
    fn digests(&self) -> Vec<(String, String)> {
        Vec::new()
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
