//! Patches cut from microscope pictures: tissue has no up and no left, so their law is symmetric under
//! the whole square up to what few pictures show.

use super::spec;
use super::table::{Images, Part};
use crate::reader::pictures::{open, planes};
use isotropy_core::{
    Dataset, DatasetConfig, Error, LoadContext, Result, StateSpec, Streams, component, config,
};
use isotropy_data::{digest::sha256, source as data_source};
use tch::{Device, Tensor};

/// Square patches at random places of one microscope picture. Training patches come from its left part,
/// validation and test patches from the rest; they share no pixel.
#[config(default)]
#[derive(Clone)]
pub struct HistologyPatchesConfig {
    /// The picture.
    pub picture: Picture,
    /// Rows and columns of a patch.
    #[schemars(range(min = 4, max = 512))]
    pub size: i64,
    /// The picture is made smaller by this factor first (averages of so many pixels squared).
    #[schemars(range(min = 1, max = 8))]
    pub reduce: i64,
    /// Training patches.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub count: i64,
    /// Validation patches.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub validation: i64,
    /// Test patches.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub test: i64,
    /// Part of the picture's width that training patches come from.
    #[schemars(range(min = 0.1, max = 0.9))]
    pub training_width: f64,
    /// Seed of the places.
    pub seed: u64,
}

/// The pictures of the data set `histology`.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Picture {
    /// Immunohistochemistry of colon, 512x512.
    #[default]
    Immunohistochemistry,
    /// Haematoxylin and eosin, 500x300.
    HaematoxylinEosin,
    /// A retina, 1411x1411.
    Retina,
    /// A cell, 660x550, grey.
    Cell,
}

impl Picture {
    fn file(self) -> &'static str {
        match self {
            Self::Immunohistochemistry => "ihc.png",
            Self::HaematoxylinEosin => "histo.jpg",
            Self::Retina => "retina.jpg",
            Self::Cell => "cell.png",
        }
    }
}

impl Default for HistologyPatchesConfig {
    fn default() -> Self {
        Self {
            picture: Picture::Immunohistochemistry,
            size: 32,
            reduce: 1,
            count: 10_000,
            validation: 500,
            test: 1000,
            training_width: 0.7,
            seed: 0,
        }
    }
}

#[component(
    "histology-patches",
    "patches at random places of a microscope picture",
    r#"{"type": "histology-patches", "picture": "immunohistochemistry", "size": 32}"#
)]
impl DatasetConfig for HistologyPatchesConfig {
    fn spec(&self) -> Result<StateSpec> {
        if self.size < 1 || self.reduce < 1 {
            return Err(Error::config("/size", "a patch has at least one pixel"));
        }
        if !(0.0..=1.0).contains(&self.training_width) {
            let message = format!("{} is no part of a width", self.training_width);
            return Err(Error::config("/training_width", message));
        }
        Ok(spec([3, self.size, self.size], false))
    }

    fn load(&self, context: &LoadContext) -> Result<Box<dyn Dataset>> {
        self.spec()?;
        let path = data_source::folder(&context.data_dir, "histology")?.join(self.picture.file());
        let (picture, file) = open(&path)?;
        let (width, height) = (picture.width() as i64, picture.height() as i64);
        let bytes = planes(picture, 3);
        let name = self.picture.file();
        let digests = vec![(format!("{name} (decoded)"), sha256(&bytes)), (name.into(), file)];
        let picture = Tensor::from_slice(&bytes).reshape([3, height, width]);
        let parts = self.cut(&picture)?;
        Ok(Box::new(Images::new(parts, digests, context)))
    }
}

impl HistologyPatchesConfig {
    /// The patches of the three splits from a picture `[3, H, W]` of bytes.
    ///
    /// # Errors
    /// A configuration error when a part of the picture is smaller than a patch.
    pub fn cut(&self, picture: &Tensor) -> Result<[Part; 3]> {
        let picture = if self.reduce == 1 {
            picture.shallow_clone()
        } else {
            let step = [self.reduce, self.reduce];
            let floats = picture.to_kind(tch::Kind::Float).unsqueeze(0);
            let smaller = floats.avg_pool2d(step, step, [0, 0], false, true, None);
            smaller.squeeze_dim(0).round().to_kind(tch::Kind::Uint8)
        };
        let (height, width) = (picture.size()[1], picture.size()[2]);
        let border = (width as f64 * self.training_width).round() as i64;
        if self.size > height || self.size > border || self.size > width - border {
            let message = format!(
                "patches of {0}x{0} do not fit into parts of {border} and {1} columns and {height} rows",
                self.size,
                width - border
            );
            return Err(Error::config("/size", message));
        }
        let streams = Streams::new(self.seed);
        let of = |name: &str, count: i64, columns: (i64, i64)| {
            let mut stream = streams.stream(name, 0);
            let rows = stream.integers(height - self.size + 1, &[count], Device::Cpu);
            let first =
                stream.integers(columns.1 - columns.0 - self.size + 1, &[count], Device::Cpu);
            let first = first + columns.0;
            let offsets = Tensor::arange(self.size, (tch::Kind::Int64, Device::Cpu));
            // [count, size, size] places of a flat picture.
            let row = (rows.unsqueeze(1) + &offsets).unsqueeze(2) * width;
            let place = row + (first.unsqueeze(1) + &offsets).unsqueeze(1);
            let flat = picture.reshape([3, -1]).index_select(1, &place.reshape([-1]));
            let images = flat.reshape([3, count, self.size, self.size]).transpose(0, 1);
            Part { images: images.contiguous(), labels: None }
        };
        Ok([
            of("train", self.count, (0, border)),
            of("validation", self.validation, (border, width)),
            of("test", self.test, (border, width)),
        ])
    }
}
