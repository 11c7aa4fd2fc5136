//! Folders of pictures.

use super::spec;
use super::table::{Images, Part};
use crate::reader::pictures::{BACKGROUND, PictureFormat, Reading, decode, find};
use isotropy_core::{
    Dataset, DatasetConfig, Error, LoadContext, Result, StateSpec, component, config,
    dataset::kept_apart,
};
use isotropy_data::digest::sha256;
use std::path::{Path, PathBuf};

/// PNG and JPEG files of a folder, decoded once: turned as their EXIF orientation says and laid
/// over `background` where they are transparent. Hidden and system files are no data.
#[config]
#[derive(Clone)]
pub struct ImageFolderConfig {
    /// The folder; relative names start at the data folder.
    pub path: String,
    /// Rows and columns of the images.
    pub size: [u32; 2],
    /// 1 (grey) or 3 (colours).
    #[serde(default = "three")]
    pub channels: i64,
    /// Whether pictures of another size are cut to the right proportions and scaled (Lanczos); else they
    /// are refused.
    #[serde(default)]
    pub resize: bool,
    /// Where labels come from.
    #[serde(default)]
    pub labels: LabelsFrom,
    /// The folders inside in the order of their labels, with `"labels": "folders"`; null for the
    /// order of their names.
    #[serde(default)]
    pub classes: Option<Vec<String>>,
    /// Red, green and blue that transparent pictures are laid over: white by default.
    #[serde(default = "white")]
    pub background: [u8; 3],
    /// Bits that pictures of 16 bits use (12 for many cameras and microscopes); null for all of
    /// them, which is refused where no picture uses the upper two.
    #[serde(default)]
    #[schemars(inner(range(min = 1, max = 16)))]
    pub bits: Option<u8>,
    /// Images for validation; null for a tenth of all.
    #[serde(default)]
    #[schemars(inner(range(min = 0)))]
    pub validation: Option<i64>,
    /// Images for testing; null for a tenth of all.
    #[serde(default)]
    #[schemars(inner(range(min = 0)))]
    pub test: Option<i64>,
    /// Seed of the order in which images are assigned to the splits.
    #[serde(default)]
    pub seed: u64,
}

/// Where labels come from.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum LabelsFrom {
    /// There are none; folders inside are not looked at.
    #[default]
    None,
    /// The folder inside that a file lies in; labels count from 0 in the order of their names.
    Folders,
    /// The number before the first `_` of a file's name, as the released code writes them.
    Prefix,
}

fn three() -> i64 {
    3
}

fn white() -> [u8; 3] {
    BACKGROUND
}

#[component(
    "image-folder",
    "PNG and JPEG files of a folder",
    r#"{"type": "image-folder", "path": "my-pictures", "size": [64, 64], "resize": true}"#
)]
impl DatasetConfig for ImageFolderConfig {
    fn spec(&self) -> Result<StateSpec> {
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
        if let Some(classes) = &self.classes {
            self.check_classes(classes)?;
        }
        Ok(spec(self.shape(), self.labels != LabelsFrom::None))
    }

    fn load(&self, context: &LoadContext) -> Result<Box<dyn Dataset>> {
        self.spec()?;
        let folder = context.data_dir.join(&self.path);
        let found = find(&folder, self.labels == LabelsFrom::Folders)?;
        let files = &found.files;
        let mut facts = Vec::new();
        let labels = match self.labels {
            LabelsFrom::None => None,
            LabelsFrom::Folders => {
                let classes = self.classes_of(&folder, &found.folders)?;
                facts = classes.iter().enumerate().map(|(k, c)| (fact(c), k as f64)).collect();
                Some(by_folder(&folder, files, &classes)?)
            }
            LabelsFrom::Prefix => Some(files.iter().map(|f| prefix(f)).collect::<Result<_>>()?),
        };
        let count = files.len() as i64;
        let kept = kept_apart(count, self.validation, self.test, "images")?;
        let pictures = decode(&folder, files, self.format())?;
        facts.extend(pictures.facts);
        if found.others > 0 {
            facts.push(("files left out that are no PNG or JPEG".into(), found.others as f64));
        }
        // The decoded bytes are what the run depends on; the files say what was changed when they
        // differ.
        let digests = vec![
            (format!("{} ({count} pictures, decoded)", self.path), sha256(&pictures.bytes)),
            (format!("{} (names and contents of {count} files)", self.path), pictures.digest),
        ];
        let all = Part::new(&pictures.bytes, self.shape(), labels);
        let images = Images::split(&all, kept, self.seed, digests, context)?;
        Ok(Box::new(images.with_facts(facts)))
    }
}

impl ImageFolderConfig {
    fn shape(&self) -> [i64; 3] {
        [self.channels, i64::from(self.size[0]), i64::from(self.size[1])]
    }

    fn format(&self) -> PictureFormat {
        let [height, width] = self.size;
        let reading = Reading { background: self.background, bits: self.bits };
        let channels = self.channels as usize;
        PictureFormat { channels, height, width, resize: self.resize, reading }
    }

    fn check_classes(&self, classes: &[String]) -> Result<()> {
        if self.labels != LabelsFrom::Folders {
            let message = "classes are folders, and labels do not come from folders";
            return Err(Error::config("/classes", message)
                .with_help("set `labels` to \"folders\", or leave `classes` out"));
        }
        if classes.is_empty() {
            return Err(Error::config("/classes", "there must be at least one class"));
        }
        for (k, class) in classes.iter().enumerate() {
            if classes[..k].contains(class) {
                let message = format!("the class '{class}' is listed twice");
                return Err(Error::config(format!("/classes/{k}"), message));
            }
        }
        Ok(())
    }

    /// The classes in the order of their labels: those that the configuration lists, or the folders
    /// inside.
    fn classes_of(&self, folder: &Path, inside: &[String]) -> Result<Vec<String>> {
        let Some(classes) = &self.classes else { return Ok(inside.to_vec()) };
        if let Some(class) = classes.iter().find(|class| !inside.contains(class)) {
            let message = format!("{}: there is no folder '{class}' in it", folder.display());
            return Err(Error::data(message, format!("there are: {}", inside.join(", "))));
        }
        if let Some(other) = inside.iter().find(|name| !classes.contains(name)) {
            let message = format!("{}: it is none of `classes`", folder.join(other).display());
            return Err(Error::data(message, "list it or take the folder out"));
        }
        Ok(classes.clone())
    }
}

/// How a class is called among the facts of a run.
fn fact(class: &str) -> String {
    format!("label of the folder '{class}'")
}

/// The label of each file: the place of its folder among the classes.
fn by_folder(folder: &Path, files: &[PathBuf], classes: &[String]) -> Result<Vec<i64>> {
    let mut counts = vec![0_usize; classes.len()];
    let mut label = |file: &PathBuf| -> Result<i64> {
        let mut parts = file.strip_prefix(folder).unwrap_or(file).components();
        let (Some(first), Some(_)) = (parts.next(), parts.next()) else {
            return Err(Error::data(
                format!("{}: it lies in no folder that could be its label", file.display()),
                "put every picture into a folder for its class",
            ));
        };
        let name = first.as_os_str().to_string_lossy();
        let place = classes.iter().position(|class| *class == name);
        let place = place.expect("the classes are the folders");
        counts[place] += 1;
        Ok(place as i64)
    };
    let labels = files.iter().map(&mut label).collect::<Result<_>>()?;
    match counts.iter().position(|&count| count == 0) {
        None => Ok(labels),
        Some(empty) => Err(Error::data(
            format!("{}: the class has no picture", folder.join(&classes[empty]).display()),
            "put pictures into it or take the folder out",
        )),
    }
}

fn prefix(file: &Path) -> Result<i64> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let number = name.split('_').next().and_then(|number| number.parse::<u32>().ok());
    number.map(i64::from).ok_or_else(|| {
        Error::data(
            format!("{}: its name does not begin with a label and `_`", file.display()),
            "call pictures LABEL_NUMBER.png, or choose other `labels`",
        )
    })
}
