//! Images of three splits as bytes on the device; a batch is converted when it is asked for.

use isotropy_core::{
    Dataset, Field, LoadContext, Moves, Result, Split, State, Streams,
    dataset::{kept_apart, shuffled_rows},
    upload,
};
use tch::{Device, Kind, Tensor};

/// Images and the labels that belong to them.
#[derive(Debug)]
pub struct Part {
    /// `[N, C, H, W]`, bytes.
    pub images: Tensor,
    /// `[N]`, `Int64`.
    pub labels: Option<Tensor>,
}

impl Part {
    /// Images from bytes in the order `[N, C, H, W]`.
    pub fn new(
        bytes: &[u8],
        [channels, height, width]: [i64; 3],
        labels: Option<Vec<i64>>,
    ) -> Self {
        let images = Tensor::from_slice(bytes).reshape([-1, channels, height, width]);
        Self { images, labels: labels.map(|labels| Tensor::from_slice(&labels)) }
    }

    /// Number of images.
    pub fn len(&self) -> i64 {
        self.images.size()[0]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn map(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        Self { images: f(&self.images), labels: self.labels.as_ref().map(f) }
    }

    /// The images at these rows.
    #[must_use]
    pub fn select(&self, rows: &Tensor) -> Self {
        self.map(|a| a.index_select(0, rows))
    }

    /// The images `start .. start + length`.
    #[must_use]
    pub fn narrow(&self, start: i64, length: i64) -> Self {
        self.map(|a| a.narrow(0, start, length))
    }
}

/// The loaded dataset.
#[derive(Debug)]
pub struct Images {
    train: Part,
    validation: Part,
    test: Part,
    digests: Vec<(String, String)>,
    facts: Vec<(String, f64)>,
    options: (Kind, Device),
}

impl Images {
    /// Three splits, moved to the device.
    pub fn new(
        [train, validation, test]: [Part; 3],
        digests: Vec<(String, String)>,
        context: &LoadContext,
    ) -> Self {
        let moved = |part: Part| part.map(|a| a.to_device(context.device));
        Self {
            train: moved(train),
            validation: moved(validation),
            test: moved(test),
            digests,
            facts: Vec::new(),
            options: (context.kind, context.device),
        }
    }

    /// The same, with what was found in the files.
    #[must_use]
    pub fn with_facts(self, facts: Vec<(String, f64)>) -> Self {
        Self { facts, ..self }
    }

    /// One set in an order that depends on a seed alone: its first `test` images are the test split, the
    /// next `validation` the validation split, the rest is for training.
    ///
    /// # Errors
    /// A configuration error when none is left for training.
    pub fn split(
        all: &Part,
        (validation, test): (i64, i64),
        seed: u64,
        digests: Vec<(String, String)>,
        context: &LoadContext,
    ) -> Result<Self> {
        let count = all.len();
        let (validation, test) = kept_apart(count, Some(validation), Some(test), "images")?;
        let order = Streams::new(seed).stream("split", 0).permutation(count);
        let part = |start: i64, length: i64| all.select(&order.narrow(0, start, length));
        let rest = count - validation - test;
        let parts = [part(validation + test, rest), part(test, validation), part(0, test)];
        Ok(Self::new(parts, digests, context))
    }

    fn part(&self, split: Split) -> &Part {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

impl Dataset for Images {
    fn len(&self, split: Split) -> Option<u64> {
        u64::try_from(self.part(split).len()).ok()
    }

    fn batch(&self, split: Split, step: u64, size: i64, streams: &Streams) -> Result<State> {
        let (kind, device) = self.options;
        let part = self.part(split);
        let chosen = match split {
            Split::Train => {
                let rows = shuffled_rows(part.len(), step, size, streams);
                part.select(&upload(&rows, device))
            }
            Split::Validation | Split::Test => {
                let start = i64::try_from(step).unwrap_or(i64::MAX).saturating_mul(size);
                let start = start.min(part.len());
                part.narrow(start, size.min(part.len() - start))
            }
        };
        let value = chosen.images.to_kind(kind) / 127.5 - 1.0;
        let state = State::new(Field::new(value, Moves::Image));
        Ok(match chosen.labels {
            Some(labels) => state.with_context(State::LABEL, Field::new(labels, Moves::Fixed)),
            None => state,
        })
    }

    fn facts(&self) -> Vec<(String, f64)> {
        self.facts.clone()
    }

    fn digests(&self) -> Vec<(String, String)> {
        self.digests.clone()
    }
}
