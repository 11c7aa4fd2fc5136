//! Tissue in the layout of LYSTO (Zenodo 3513571): one HDF5 file of images and organs (spdm.md 2.2).

use super::hdf5;
use super::spec;
use super::table::{Images, Part};
use crate::reader::pictures::{PictureFormat, Reading, fitted};
use hdf5_reader::Hdf5File;
use isotropy_core::{
    Dataset, DatasetConfig, Error, LoadContext, Result, StateSpec, Streams, component, config,
};
use isotropy_data::digest::sha256;
use std::path::Path;

/// Images of stained lymphocytes: scaled to `scale` pixels (Lanczos), then one random patch of `size` pixels
/// from each, and the organ as its label.
#[config(default)]
#[derive(Clone)]
pub struct LystoConfig {
    /// The file; relative names start at the data folder.
    pub path: String,
    /// Name of the dataset of images in it, `[N, H, W, 3]`, integers of any kind from 0 to 255.
    pub images: String,
    /// Name of the dataset of organs, `[N]`, integers of any kind, an enumeration, or strings; null
    /// for no labels.
    pub organs: Option<String>,
    /// Names of the organs in the order of their labels, where the file has strings or an
    /// enumeration of such names.
    pub names: Vec<String>,
    /// Rows and columns that an image is scaled to first.
    #[schemars(range(min = 4, max = 2048))]
    pub scale: u32,
    /// Rows and columns of a patch.
    #[schemars(range(min = 4, max = 2048))]
    pub size: u32,
    /// Images: the first so many; null for all.
    #[schemars(inner(range(min = 1)))]
    pub count: Option<u64>,
    /// Images for validation.
    #[schemars(range(min = 0))]
    pub validation: i64,
    /// Images for testing.
    #[schemars(range(min = 0))]
    pub test: i64,
    /// Seed of patches and splits.
    pub seed: u64,
}

impl Default for LystoConfig {
    fn default() -> Self {
        Self {
            path: "lysto/training.h5".into(),
            images: "x".into(),
            organs: Some("organ".into()),
            names: ["colon", "prostate", "breast"].map(String::from).to_vec(),
            scale: 128,
            size: 64,
            count: None,
            validation: 500,
            test: 1000,
            seed: 0,
        }
    }
}

#[component(
    "lysto",
    "tissue with organs from an HDF5 file in the layout of LYSTO",
    r#"{"type": "lysto", "path": "lysto/training.h5"}"#
)]
impl DatasetConfig for LystoConfig {
    fn spec(&self) -> Result<StateSpec> {
        if self.size > self.scale || self.size == 0 {
            let message = format!("a patch of {} pixels in {} of an image", self.size, self.scale);
            return Err(Error::config("/size", message));
        }
        let side = i64::from(self.size);
        Ok(spec([3, side, side], self.organs.is_some()))
    }

    fn load(&self, context: &LoadContext) -> Result<Box<dyn Dataset>> {
        self.spec()?;
        let path = context.data_dir.join(&self.path);
        let (bytes, labels) = self.read(&path)?;
        let file = isotropy_data::digest::file_sha256(&path)?;
        let digests =
            vec![(format!("{} (patches)", self.path), sha256(&bytes)), (self.path.clone(), file)];
        let side = i64::from(self.size);
        let all = Part::new(&bytes, [3, side, side], labels);
        let kept = (self.validation, self.test);
        Ok(Box::new(Images::split(&all, kept, self.seed, digests, context)?))
    }
}

/// Images read at once: 64 of 299x299 are 17 MB.
const SLAB: u64 = 64;
const HELP: &str = "LYSTO is not fetched by a package manager: put its training.h5 (Zenodo 3513571) there, or name \
                    the datasets that the file has with `images` and `organs`";

impl LystoConfig {
    /// All patches as bytes `[N, 3, size, size]`, and the labels.
    fn read(&self, path: &Path) -> Result<(Vec<u8>, Option<Vec<i64>>)> {
        let fault = |what: String| Error::data(format!("{}: {what}", path.display()), HELP);
        if !path.is_file() {
            return Err(fault("there is no such file".into()));
        }
        let file = Hdf5File::open(path).map_err(|e| fault(format!("no HDF5 file: {e}")))?;
        let open = |name: &str| {
            file.dataset(name).map_err(|e| fault(format!("it has no dataset '{name}' ({e})")))
        };
        let images = open(&self.images)?;
        let &[available, height, width, 3] = images.shape() else {
            let shape = images.shape();
            let message = format!("'{}' has the shape {shape:?}, not [N, H, W, 3]", self.images);
            return Err(fault(message));
        };
        let count = self.count.map_or(available, |count| count.min(available));
        let labels = match &self.organs {
            None => None,
            Some(name) => {
                let labels = hdf5::labels(&open(name)?, &self.names);
                let labels = labels.map_err(|what| fault(format!("'{name}' {what}")))?;
                if labels.len() as u64 != available {
                    let message = format!("{available} images, but {} organs", labels.len());
                    return Err(fault(message));
                }
                Some(labels[..count as usize].to_vec())
            }
        };
        let mut bytes = Vec::with_capacity((count * 3) as usize * (self.size * self.size) as usize);
        for start in (0..count).step_by(SLAB as usize) {
            let end = (start + SLAB).min(count);
            let slab = hdf5::slab(&images, start, end).map_err(|what| {
                fault(format!("'{}' (images {start} to {}) {what}", self.images, end - 1))
            })?;
            let size = (height * width * 3) as usize;
            let pictures: Vec<&[u8]> = slab.chunks_exact(size).collect();
            let patches = self.patches(path, start, &pictures, (width as u32, height as u32));
            patches?.into_iter().for_each(|patch| bytes.extend(patch));
        }
        Ok((bytes, labels))
    }

    /// One patch of each picture of a slab, on all processors.
    fn patches(
        &self,
        path: &Path,
        start: u64,
        pictures: &[&[u8]],
        (width, height): (u32, u32),
    ) -> Result<Vec<Vec<u8>>> {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let part = pictures.len().div_ceil(workers).max(1);
        let one = |k: usize, pixels: &[u8]| -> Result<Vec<u8>> {
            let picture = image::RgbImage::from_raw(width, height, pixels.to_vec())
                .ok_or_else(|| Error::Other("a picture has the bytes of its size".into()))?;
            let format = PictureFormat {
                channels: 3,
                height: self.scale,
                width: self.scale,
                resize: true,
                reading: Reading::default(),
            };
            let scaled = fitted(path, picture.into(), format)?;
            let (row, column) = self.place(start + k as u64);
            Ok(cut(&scaled, self.scale as usize, (row, column), self.size as usize))
        };
        std::thread::scope(|scope| {
            let handles: Vec<_> = pictures
                .chunks(part)
                .enumerate()
                .map(|(chunk, pictures)| {
                    scope.spawn(move || {
                        let rows = pictures.iter().enumerate();
                        rows.map(|(k, p)| one(chunk * part + k, p)).collect::<Result<Vec<_>>>()
                    })
                })
                .collect();
            let mut all = Vec::with_capacity(pictures.len());
            for handle in handles {
                let part = handle.join().map_err(|_| Error::Other("a worker panicked".into()))?;
                all.extend(part?);
            }
            Ok(all)
        })
    }

    /// Row and column of image `k`'s patch, uniform, by the seed and `k` alone.
    fn place(&self, k: u64) -> (usize, usize) {
        let places = u64::from(self.scale - self.size + 1);
        let mut stream = Streams::new(self.seed).stream("patch", k);
        ((stream.seed() % places) as usize, (stream.seed() % places) as usize)
    }
}

/// A square of planes `[3, side, side]`.
fn cut(planes: &[u8], side: usize, (row, column): (usize, usize), size: usize) -> Vec<u8> {
    let lines = planes.chunks_exact(side).enumerate();
    lines
        .filter(|(line, _)| (row..row + size).contains(&(line % side)))
        .flat_map(|(_, line)| line[column..column + size].iter().copied())
        .collect()
}
