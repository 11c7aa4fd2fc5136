//! MNIST and Fashion-MNIST, each image turned once (spdm.md 2.2, `c4_mnist_N`).

use super::spec;
use super::table::{Images, Part};
use crate::action::{ImagePermutation, PixelGroup, image_rotation::rotate};
use crate::reader::idx;
use isotropy_core::{
    Dataset, DatasetConfig, Element, Error, LoadContext, Result, StateSpec, Streams, component,
    config,
};
use isotropy_data::source as data_source;
use std::f64::consts::TAU;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Digits or clothes of 28x28 pixels, each turned once by a random angle, which stays the same in all
/// epochs: a law that is symmetric under the turns, seen through few images.
#[config(default)]
#[derive(Clone)]
pub struct TurnedDigitsConfig {
    /// Which set.
    pub source: Source,
    /// Training images: the first so many of the training file (600, 3000 and 6000 are 1, 5 and 10 %);
    /// null for all but those kept for validation.
    #[schemars(inner(range(min = 1, max = 60_000)))]
    pub count: Option<i64>,
    /// Images at the end of the training file that are kept for validation.
    #[schemars(range(min = 0, max = 59_999))]
    pub validation: i64,
    /// Where the test images, which metrics compare with, come from.
    pub test_from: TestFrom,
    /// Test images: the first so many of that file.
    #[schemars(range(min = 1, max = 60_000))]
    pub test: i64,
    /// How images are turned.
    pub turns: Turns,
    /// Seed of the turns. Image `k` of a file is turned by the same angle however many are used.
    pub seed: u64,
    /// 1, or 3 equal channels as in the released experiments.
    pub channels: i64,
    /// Black pixels added on every side: 2 gives 32x32.
    #[schemars(range(min = 0, max = 64))]
    pub padding: i64,
}

/// Which set of 28x28 images.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Source {
    /// Handwritten digits.
    #[default]
    Mnist,
    /// Clothes.
    FashionMnist,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
        }
    }
}

/// The file that test images come from.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum TestFrom {
    /// The 10,000 test images, which training never sees.
    #[default]
    TestFile,
    /// The training file, as in the released experiments (50,000): the training images are among them.
    TrainingFile,
}

/// How images are turned.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Turns {
    /// Not at all.
    None,
    /// By a multiple of 90 degrees, exactly.
    #[default]
    Quarter,
    /// By any angle, with bilinear interpolation, rounded to bytes.
    Any,
}

impl Default for TurnedDigitsConfig {
    fn default() -> Self {
        Self {
            source: Source::Mnist,
            count: None,
            validation: 5000,
            test_from: TestFrom::TestFile,
            test: 10_000,
            turns: Turns::Quarter,
            seed: 42,
            channels: 1,
            padding: 0,
        }
    }
}

const SIDE: i64 = 28;
const TRAIN: (&str, &str) = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
const TEST: (&str, &str) = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte");

#[component(
    "turned-digits",
    "MNIST or Fashion-MNIST, each image turned once: by right angles or by any",
    r#"{"type": "turned-digits", "count": 600, "turns": "quarter"}"#
)]
impl DatasetConfig for TurnedDigitsConfig {
    fn spec(&self) -> Result<StateSpec> {
        if self.channels != 1 && self.channels != 3 {
            let message = format!("{} channels; there can be 1 or 3", self.channels);
            return Err(Error::config("/channels", message));
        }
        let side = SIDE + 2 * self.padding;
        Ok(spec([self.channels, side, side], true))
    }

    fn load(&self, context: &LoadContext) -> Result<Box<dyn Dataset>> {
        self.spec()?;
        let folder = context.data_dir.join(self.source.name());
        if idx::find(&folder, TRAIN.0).is_err() {
            // Nothing there: the error that names the command. A damaged file is named by reading.
            data_source::folder(&context.data_dir, self.source.name())?;
        }
        Ok(Box::new(self.read(&folder, context)?))
    }
}

impl TurnedDigitsConfig {
    /// Reads the four files in a folder (plain or `.gz`).
    ///
    /// # Errors
    /// A data error that names the file; a configuration error when the splits do not fit the files.
    pub fn read(&self, folder: &Path, context: &LoadContext) -> Result<Images> {
        let mut digests = Vec::new();
        let mut part = |names: (&str, &str)| -> Result<Part> {
            let (images, labels) = idx::pair(folder, names, SIDE as usize, &mut digests)?;
            let labels = labels.into_iter().map(i64::from).collect();
            let all = Part::new(&images.pixels, [1, SIDE, SIDE], Some(labels));
            let images = self.turned(&all.images, names.0);
            Ok(Part { images: self.framed(&images), ..all })
        };
        let train = part(TRAIN)?;
        let left = train.len() - self.validation;
        let count = self.count.unwrap_or(left);
        if count > left || count < 1 {
            let message = format!(
                "{count} training and {} validation images do not fit into {}",
                self.validation,
                train.len()
            );
            return Err(Error::config("/count", message));
        }
        let tests = match self.test_from {
            TestFrom::TestFile => &part(TEST)?,
            TestFrom::TrainingFile => &train,
        };
        if self.test > tests.len() || self.test < 1 {
            let message = format!("{} test images of {}", self.test, tests.len());
            return Err(Error::config("/test", message));
        }
        let parts = [
            train.narrow(0, count),
            train.narrow(left, self.validation),
            tests.narrow(0, self.test),
        ];
        Ok(Images::new(parts, digests, context))
    }

    /// Each image under its own turn.
    fn turned(&self, images: &Tensor, file: &str) -> Tensor {
        let count = images.size()[0];
        let mut stream = Streams::new(self.seed).stream(&format!("turns/{file}"), 0);
        match self.turns {
            Turns::None => images.shallow_clone(),
            Turns::Quarter => {
                let quarters = stream.integers(4, &[count], Device::Cpu);
                let action = ImagePermutation::new(PixelGroup::QuarterTurns);
                action.permute(&Element::from(quarters), images).expect("28x28 pixels are a square")
            }
            Turns::Any => {
                let angles = stream.uniform(&[count], (Kind::Double, Device::Cpu)) * TAU;
                // In parts, so that the floating-point copy stays small.
                let part = |start: i64| {
                    let length = 5000.min(count - start);
                    let angle = angles.narrow(0, start, length).to_kind(Kind::Float);
                    let turned =
                        rotate(&images.narrow(0, start, length).to_kind(Kind::Float), &angle);
                    turned.round().clamp(0.0, 255.0).to_kind(Kind::Uint8)
                };
                let parts: Vec<Tensor> = (0..count).step_by(5000).map(part).collect();
                Tensor::cat(&parts, 0)
            }
        }
    }

    /// With black pixels around, and in as many channels as wanted.
    fn framed(&self, images: &Tensor) -> Tensor {
        let padded = match self.padding {
            0 => images.shallow_clone(),
            p => images.constant_pad_nd([p, p, p, p]),
        };
        padded.repeat([1, self.channels, 1, 1])
    }
}
