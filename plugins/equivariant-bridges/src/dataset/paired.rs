//! Pairs made from any dataset of pictures.

use super::relation::{DRAWN, OtherEnd};
use super::{Augmentation, pair, pair_spec};
use crate::process::END;
use isotropy_core::{
    Dataset, DatasetConfig, Error, FieldSpec, LoadContext, Moves, RepresentationConfig, Result,
    Split, State, StateSpec, Streams, component, config,
};
use tch::Tensor;

/// Pairs from a dataset of pictures: the picture is the clean end, the other end is made from it.
/// Numbers that belong to a picture (its label) stay; lifts and further pictures are left out.
#[config]
pub struct PairedConfig {
    /// The pictures.
    pub inner: Box<dyn DatasetConfig>,
    /// What the other end is.
    pub other_end: OtherEnd,
    /// Least and largest value of the pictures as the dataset gives them; pairs have [-1, 1].
    #[serde(default = "signed")]
    pub range: [f64; 2],
    /// The action of a finite group by which both ends of training pairs are moved at random; `null`
    /// for none.
    #[serde(default)]
    pub augment: Option<Box<dyn RepresentationConfig>>,
}

fn signed() -> [f64; 2] {
    [-1.0, 1.0]
}

/// Random numbers of validation and test pairs belong to blocks of so many pictures, so that a pair
/// does not depend on how many are asked for.
const BLOCK: i64 = 64;

impl PairedConfig {
    fn parts(&self) -> Result<(StateSpec, Augmentation)> {
        let inner = self.inner.spec().map_err(|error| error.under("/inner"))?;
        if inner.value.moves != Moves::Image {
            let message =
                format!("pairs are made of pictures; these values are {:?}", inner.value.moves);
            return Err(Error::config("/inner", message));
        }
        self.other_end.accepts(&inner.value.shape)?;
        let [low, high] = self.range;
        if !(low < high && low.is_finite() && high.is_finite()) {
            return Err(Error::config("/range", format!("[{low}, {high}] is no range")));
        }
        let mut spec = pair_spec(&inner.value.shape);
        for (name, field) in inner.context.iter().filter(|(name, field)| kept(name, field)) {
            spec = spec.with_context(name, field.clone());
        }
        let augmentation = Augmentation::new(self.augment.as_deref(), &spec)?;
        Ok((spec, augmentation))
    }
}

/// Whether a context field is a few numbers of a picture.
fn kept(name: &str, field: &FieldSpec) -> bool {
    field.moves == Moves::Fixed && field.batched && field.shape.len() < 2 && name != END
}

#[component(
    "paired",
    "pairs for bridges from pictures: noisy, coarse, edges, or another stain",
    r#"{"type": "paired", "inner": {"type": "turned-digits", "count": 1000}, "range": [0, 1], "other_end": {"noise": {"std": 0.7}}}"#
)]
impl DatasetConfig for PairedConfig {
    fn spec(&self) -> Result<StateSpec> {
        Ok(self.parts()?.0)
    }

    fn split_size(&self, split: Split) -> Option<u64> {
        self.inner.split_size(split)
    }

    fn load(&self, context: &LoadContext) -> Result<Box<dyn Dataset>> {
        let (spec, augmentation) = self.parts()?;
        let inner = self.inner.load(context).map_err(|error| error.under("/inner"))?;
        let names = spec.context.into_iter().map(|(name, _)| name);
        Ok(Box::new(Paired {
            inner,
            other_end: self.other_end,
            range: self.range,
            augmentation,
            kept: names.filter(|name| name != END).collect(),
        }))
    }
}

struct Paired {
    inner: Box<dyn Dataset>,
    other_end: OtherEnd,
    range: [f64; 2],
    augmentation: Augmentation,
    kept: Vec<String>,
}

impl Paired {
    /// Standard normal numbers of the pictures of a batch whose first one has number `first`.
    fn numbers(
        &self,
        like: &Tensor,
        split: Split,
        step: u64,
        first: i64,
        streams: &Streams,
    ) -> Tensor {
        let (size, device) = (like.size(), like.device());
        let name = match split {
            Split::Train => return streams.stream("pairs", step).normal(&size, (DRAWN, device)),
            Split::Validation => "pairs/validation",
            Split::Test => "pairs/test",
        };
        let blocks: Vec<Tensor> = (first / BLOCK..=(first + size[0]) / BLOCK)
            .map(|block| {
                let shape = [&[BLOCK], &size[1..]].concat();
                streams.stream(name, block as u64).normal(&shape, (DRAWN, device))
            })
            .collect();
        Tensor::cat(&blocks, 0).narrow(0, first % BLOCK, size[0])
    }
}

impl Dataset for Paired {
    fn len(&self, split: Split) -> Option<u64> {
        self.inner.len(split)
    }

    fn batch(&self, split: Split, step: u64, size: i64, streams: &Streams) -> Result<State> {
        let pictures = self.inner.batch(split, step, size, streams)?;
        let [low, high] = self.range;
        let clean = match (low, high) {
            (-1.0, 1.0) => pictures.x().shallow_clone(),
            _ => (pictures.x() - low) * (2.0 / (high - low)) - 1.0,
        };
        let z = self.other_end.draws().then(|| {
            let first = i64::try_from(step).unwrap_or(i64::MAX / size.max(1)).saturating_mul(size);
            self.numbers(&clean, split, step, first, streams).to_kind(clean.kind())
        });
        let end = self.other_end.apply(&clean, z.as_ref())?;
        let mut state = pair(clean, end);
        for name in &self.kept {
            state = state.with_context(name, pictures.given(name)?.clone());
        }
        self.augmentation.apply(state, split, step, streams)
    }

    fn inner(&self) -> Option<&dyn Dataset> {
        Some(self.inner.as_ref())
    }
}
