//! Images drawn by a rule, for tests of symmetry that need no files (spdm.md 2.2).

use isotropy_core::{
    Dataset, DatasetConfig, Error, LoadContext, Result, Split, StateSpec, Streams, component,
    config,
};
use isotropy_images::dataset::spec;
use isotropy_images::dataset::{Images, Part};
use tch::{Device, Kind, Tensor};

/// Images of 28x28 pixels by a rule. Train on one orientation and see which ones a model draws.
#[config(default)]
#[derive(Clone)]
pub struct ToyImagesConfig {
    /// What is drawn.
    pub image: ToyImage,
    /// Quarter turns, counter-clockwise, of all images; null turns each by a random number of them.
    #[schemars(inner(range(min = 0, max = 3)))]
    pub quarter_turns: Option<i64>,
    /// Training images; validation and test splits have as many.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub count: i64,
    /// 1, or 3 equal channels as in the released experiments.
    pub channels: i64,
    /// Seed of grey levels, labels and turns.
    pub seed: u64,
}

/// The rules.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum ToyImage {
    /// A white pattern on black without any symmetry: columns 0-6 of rows 0-13 and columns 7-13 of rows
    /// 7-13.
    #[default]
    L,
    /// Two quarters of 14x14 pixels (top left and bottom right) in one grey, uniform over the integers from
    /// 178 to 254.
    Checkerboard,
    /// The left half in such a grey.
    LeftHalf,
}

impl Default for ToyImagesConfig {
    fn default() -> Self {
        Self { image: ToyImage::L, quarter_turns: Some(0), count: 512, channels: 1, seed: 0 }
    }
}

const SIDE: i64 = 28;
/// Labels are uniform over 0 to 8.
const LABELS: i64 = 9;
/// Greys are uniform over `LOW .. LOW + GREYS`.
const LOW: i64 = 178;
const GREYS: i64 = 77;

#[component(
    "toy-images",
    "an L, a checkerboard or a half-filled square, in one orientation or in all",
    r#"{"type": "toy-images", "image": "l"}"#
)]
impl DatasetConfig for ToyImagesConfig {
    fn spec(&self) -> Result<StateSpec> {
        if self.channels != 1 && self.channels != 3 {
            let message = format!("{} channels; there can be 1 or 3", self.channels);
            return Err(Error::config("/channels", message));
        }
        if self.count < 1 {
            return Err(Error::config("/count", "there must be at least one image"));
        }
        Ok(spec([self.channels, SIDE, SIDE], true))
    }

    fn split_size(&self, _split: Split) -> Option<u64> {
        u64::try_from(self.count).ok()
    }

    fn load(&self, context: &LoadContext) -> Result<Box<dyn Dataset>> {
        self.spec()?;
        let parts = ["train", "validation", "test"].map(|name| self.part(name));
        Ok(Box::new(Images::new(parts, Vec::new(), context)))
    }
}

impl ToyImagesConfig {
    fn part(&self, name: &str) -> Part {
        let streams = Streams::new(self.seed).named(name);
        let draw = |what: &str, high: i64| {
            streams.stream(what, 0).integers(high, &[self.count], Device::Cpu)
        };
        let shape = self.shape();
        let grey = match self.image {
            ToyImage::L => Tensor::full([self.count], 255, (Kind::Int64, Device::Cpu)),
            ToyImage::Checkerboard | ToyImage::LeftHalf => draw("grey", GREYS) + LOW,
        };
        let images = (grey.reshape([-1, 1, 1, 1]) * shape).to_kind(Kind::Uint8);
        let turns = match self.quarter_turns {
            Some(turns) => Tensor::full([self.count], turns, (Kind::Int64, Device::Cpu)),
            None => draw("turns", 4),
        };
        let all: Vec<Tensor> = (0..4).map(|k| images.rot90(k, [-2, -1])).collect();
        let rows = Tensor::arange(self.count, (Kind::Int64, Device::Cpu)) + turns * self.count;
        let turned = Tensor::cat(&all, 0).index_select(0, &rows);
        Part {
            images: turned.repeat([1, self.channels, 1, 1]),
            labels: Some(draw("labels", LABELS)),
        }
    }

    /// 1 where there is paint.
    fn shape(&self) -> Tensor {
        let shape = Tensor::zeros([SIDE, SIDE], (Kind::Int64, Device::Cpu));
        let fill = |rows: (i64, i64), columns: (i64, i64)| {
            let _ = shape.narrow(0, rows.0, rows.1).narrow(1, columns.0, columns.1).fill_(1);
        };
        match self.image {
            ToyImage::L => {
                fill((0, 14), (0, 7));
                fill((7, 7), (7, 7));
            }
            ToyImage::Checkerboard => {
                fill((0, 14), (0, 14));
                fill((14, 14), (14, 14));
            }
            ToyImage::LeftHalf => fill((0, SIDE), (0, SIDE / 2)),
        }
        shape
    }
}
