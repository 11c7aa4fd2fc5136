//! Pairs of picture files.

use super::{Augmentation, pair, pair_spec};
use isotropy_core::dataset::{kept_apart, shuffled_rows};
use isotropy_core::{
    Dataset, DatasetConfig, Error, LoadContext, RepresentationConfig, Result, Split, State,
    StateSpec, Streams, component, config, upload,
};
use isotropy_data::digest::sha256;
use isotropy_images::reader::pictures::{
    BACKGROUND, PictureFormat, Pictures, Reading, decode, find,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// Pairs of pictures (PNG, JPEG), decoded once, in parallel, and held as bytes; values in [-1, 1].
/// They are turned as their EXIF orientation says and laid over `background` where they are
/// transparent; hidden and system files are no data.
#[config]
pub struct PairedFoldersConfig {
    /// Where the two ends of a pair lie.
    pub pairs: PairLayout,
    /// Rows and columns of an end.
    pub size: [u32; 2],
    /// 1 (grey) or 3 (colours).
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 3))]
    pub channels: i64,
    /// Whether pictures of another size are cut to the right proportions and scaled (Lanczos); else they
    /// are refused.
    #[serde(default)]
    pub resize: bool,
    /// Red, green and blue that transparent pictures are laid over: white by default.
    #[serde(default = "white")]
    pub background: [u8; 3],
    /// Bits that pictures of 16 bits use (12 for many cameras and microscopes); null for all of
    /// them, which is refused where no picture uses the upper two.
    #[serde(default)]
    #[schemars(inner(range(min = 1, max = 16)))]
    pub bits: Option<u8>,
    /// Pairs for validation; null for a tenth of all.
    #[serde(default)]
    #[schemars(inner(range(min = 0)))]
    pub validation: Option<i64>,
    /// Pairs for testing; null for a tenth of all.
    #[serde(default)]
    #[schemars(inner(range(min = 0)))]
    pub test: Option<i64>,
    /// Seed of the order in which pairs are assigned to the splits.
    #[serde(default)]
    pub seed: u64,
    /// The action of a finite group by which both ends of training pairs are moved at random; `null`
    /// for none.
    #[serde(default)]
    pub augment: Option<Box<dyn RepresentationConfig>>,
}

/// Where the two ends of a pair lie. Relative names start at the data folder.
#[config]
#[derive(Clone, PartialEq, Eq)]
pub enum PairLayout {
    /// In files of the same name (endings apart) in two folders.
    Folders(TwoFolders),
    /// In the halves of one picture, as the released loaders have it.
    SideBySide(Halves),
}

/// Two folders.
#[config]
#[derive(Clone, PartialEq, Eq)]
pub struct TwoFolders {
    /// The folder of the clean ends.
    pub clean: String,
    /// The folder of the other ends.
    pub end: String,
}

/// Pictures of two halves.
#[config]
#[derive(Clone, PartialEq, Eq)]
pub struct Halves {
    /// The folder.
    pub path: String,
    /// Whether the clean end is on the left; else it is on the right, as published.
    #[serde(default)]
    pub clean_left: bool,
}

fn three() -> i64 {
    3
}

fn white() -> [u8; 3] {
    BACKGROUND
}

impl PairedFoldersConfig {
    fn shape(&self) -> [i64; 3] {
        [self.channels, i64::from(self.size[0]), i64::from(self.size[1])]
    }

    fn parts(&self) -> Result<(StateSpec, Augmentation)> {
        if self.channels != 1 && self.channels != 3 {
            let message = format!("{} channels; there can be 1 or 3", self.channels);
            return Err(Error::config("/channels", message));
        }
        if self.size.contains(&0) {
            return Err(Error::config("/size", "images have at least one pixel"));
        }
        if self.bits.is_some_and(|bits| !(1..=16).contains(&bits)) {
            return Err(Error::config("/bits", "a picture has 1 to 16 bits"));
        }
        let spec = pair_spec(&self.shape());
        let augmentation = Augmentation::new(self.augment.as_deref(), &spec)?;
        Ok((spec, augmentation))
    }

    /// Reads all pictures.
    fn read(&self, data: &Path) -> Result<Ends> {
        let [channels, height, width] = self.shape();
        let format = |width: u32| PictureFormat {
            channels: channels as usize,
            height: self.size[0],
            width,
            resize: self.resize,
            reading: Reading { background: self.background, bits: self.bits },
        };
        let tensor = |pictures: &Pictures, width: i64| {
            Tensor::from_slice(&pictures.bytes).reshape([-1, channels, height, width])
        };
        let named = |folder: &str, pictures: &Pictures, files: usize| {
            let name = format!("{folder} (names and contents of {files} files)");
            (name, pictures.digest.clone())
        };
        match &self.pairs {
            PairLayout::Folders(folders) => {
                let roots = [&folders.clean, &folders.end].map(|name| data.join(name));
                let (clean, end) = matched(&roots[0], &roots[1])?;
                let first = decode(&roots[0], &clean, format(self.size[1]))?;
                let second = decode(&roots[1], &end, format(self.size[1]))?;
                let both = [("clean", &first), ("end", &second)].into_iter();
                let facts = both.flat_map(|(end, pictures)| {
                    pictures.facts.iter().map(move |(name, n)| (format!("{end}: {name}"), *n))
                });
                Ok(Ends {
                    clean: tensor(&first, width),
                    end: tensor(&second, width),
                    digests: vec![
                        named(&folders.clean, &first, clean.len()),
                        named(&folders.end, &second, end.len()),
                    ],
                    facts: facts.collect(),
                })
            }
            PairLayout::SideBySide(halves) => {
                let root = data.join(&halves.path);
                let files = find(&root, false)?.files;
                let pictures = decode(&root, &files, format(2 * self.size[1]))?;
                let both = tensor(&pictures, 2 * width);
                let half = |right: bool| both.narrow(3, if right { width } else { 0 }, width);
                Ok(Ends {
                    clean: half(!halves.clean_left),
                    end: half(halves.clean_left),
                    digests: vec![named(&halves.path, &pictures, files.len())],
                    facts: pictures.facts,
                })
            }
        }
    }
}

/// What was read.
struct Ends {
    /// Bytes `[N, C, H, W]` of the clean ends.
    clean: Tensor,
    /// Bytes of the other ends.
    end: Tensor,
    digests: Vec<(String, String)>,
    facts: Vec<(String, f64)>,
}

/// The files of both folders, pair by pair.
fn matched(clean: &Path, end: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let by_stem = |folder: &Path| -> Result<BTreeMap<String, PathBuf>> {
        let mut stems = BTreeMap::new();
        for file in find(folder, false)?.files {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(other) = stems.insert(stem, file.clone()) {
                let message = format!("{} and {} have one name", other.display(), file.display());
                return Err(Error::data(message, "keep one of them: pairs are found by name"));
            }
        }
        Ok(stems)
    };
    let (first, second) = (by_stem(clean)?, by_stem(end)?);
    for (here, there, other) in [(&first, &second, end), (&second, &first, clean)] {
        let alone: Vec<&PathBuf> =
            here.iter().filter(|(stem, _)| !there.contains_key(*stem)).map(|(_, f)| f).collect();
        if let Some(file) = alone.first() {
            let message = format!(
                "{} has no partner in {}, and so have {} more of {}",
                file.display(),
                other.display(),
                alone.len() - 1,
                here.len()
            );
            return Err(Error::data(
                message,
                "both ends of a pair have the same name, endings apart",
            ));
        }
    }
    Ok((first.into_values().collect(), second.into_values().collect()))
}

#[component(
    "paired-folders",
    "pairs of PNG and JPEG files for bridges: in two folders, or side by side",
    r#"{"type": "paired-folders", "pairs": {"folders": {"clean": "photos", "end": "edges"}}, "size": [64, 64], "resize": true}"#
)]
impl DatasetConfig for PairedFoldersConfig {
    fn spec(&self) -> Result<StateSpec> {
        Ok(self.parts()?.0)
    }

    fn load(&self, context: &LoadContext) -> Result<Box<dyn Dataset>> {
        let (_, augmentation) = self.parts()?;
        let ends = self.read(&context.data_dir)?;
        let both = Tensor::cat(&[ends.clean, ends.end], 1);
        let count = both.size()[0];
        let (validation, test) = kept_apart(count, self.validation, self.test, "pairs")?;
        let bytes: Vec<u8> = Vec::try_from(both.reshape([-1]))?;
        let mut digests = vec![(format!("{count} pairs of pictures, decoded"), sha256(&bytes))];
        digests.extend(ends.digests);
        let order = Streams::new(self.seed).stream("split", 0).permutation(count);
        let part = |start: i64, length: i64| {
            both.index_select(0, &order.narrow(0, start, length)).to_device(context.device)
        };
        let kept = validation + test;
        Ok(Box::new(Pairs {
            splits: [part(kept, count - kept), part(test, validation), part(0, test)],
            channels: self.channels,
            augmentation,
            digests,
            facts: ends.facts,
            options: (context.kind, context.device),
        }))
    }
}

struct Pairs {
    /// Bytes `[N, 2 C, H, W]`, the clean end first: for training, validation and testing.
    splits: [Tensor; 3],
    channels: i64,
    augmentation: Augmentation,
    digests: Vec<(String, String)>,
    facts: Vec<(String, f64)>,
    options: (Kind, Device),
}

impl Pairs {
    fn part(&self, split: Split) -> &Tensor {
        match split {
            Split::Train => &self.splits[0],
            Split::Validation => &self.splits[1],
            Split::Test => &self.splits[2],
        }
    }
}

impl Dataset for Pairs {
    fn len(&self, split: Split) -> Option<u64> {
        u64::try_from(self.part(split).size()[0]).ok()
    }

    fn batch(&self, split: Split, step: u64, size: i64, streams: &Streams) -> Result<State> {
        let part = self.part(split);
        let len = part.size()[0];
        let bytes = if split == Split::Train {
            part.index_select(0, &upload(&shuffled_rows(len, step, size, streams), self.options.1))
        } else {
            let start = i64::try_from(step).unwrap_or(i64::MAX).saturating_mul(size).min(len);
            part.narrow(0, start, size.min(len - start))
        };
        let both = bytes.to_kind(self.options.0) / 127.5 - 1.0;
        let end = |k: i64| both.narrow(1, k * self.channels, self.channels);
        self.augmentation.apply(pair(end(0), end(1)), split, step, streams)
    }

    fn facts(&self) -> Vec<(String, f64)> {
        self.facts.clone()
    }

    fn digests(&self) -> Vec<(String, String)> {
        self.digests.clone()
    }
}
