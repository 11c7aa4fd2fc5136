//! Folders of pictures.

use super::spec;
use super::table::{Images, Part};
use isotropy_core::pictures::{PictureFormat, decode, find};
use isotropy_core::{
    Dataset, DatasetConfig, Error, LoadContext, Result, StateSpec,
    data_source::sha256,
    schemars::{self, JsonSchema},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// PNG and JPEG files of a folder, decoded once.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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
    /// Images for validation.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub validation: i64,
    /// Images for testing.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub test: i64,
    /// Seed of the order in which images are assigned to the splits.
    #[serde(default)]
    pub seed: u64,
}

/// Where labels come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
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

#[typetag::serde(name = "image-folder")]
impl DatasetConfig for ImageFolderConfig {
    fn spec(&self) -> Result<StateSpec> {
        if self.channels != 1 && self.channels != 3 {
            let message = format!("{} channels; there can be 1 or 3", self.channels);
            return Err(Error::config("/channels", message));
        }
        if self.size.contains(&0) {
            return Err(Error::config("/size", "images have at least one pixel"));
        }
        Ok(spec(self.shape(), self.labels != LabelsFrom::None))
    }

    fn load(&self, context: &LoadContext) -> Result<Box<dyn Dataset>> {
        self.spec()?;
        let folder = context.data_dir.join(&self.path);
        let files = find(&folder, self.labels == LabelsFrom::Folders)?;
        let labels = match self.labels {
            LabelsFrom::None => None,
            LabelsFrom::Folders => Some(by_folder(&folder, &files)?),
            LabelsFrom::Prefix => Some(files.iter().map(|f| prefix(f)).collect::<Result<_>>()?),
        };
        let [height, width] = self.size;
        let channels = self.channels as usize;
        let format = PictureFormat { channels, height, width, resize: self.resize };
        let bytes = decode(&files, format)?;
        // One digest for all: of the decoded bytes, which is what the run depends on.
        let digests =
            vec![(format!("{} ({} pictures, decoded)", self.path, files.len()), sha256(&bytes))];
        let all = Part::new(&bytes, self.shape(), labels);
        let kept = (self.validation, self.test);
        Ok(Box::new(Images::split(&all, kept, self.seed, digests, context)?))
    }
}

isotropy_core::register!(
    "dataset",
    "image-folder",
    ImageFolderConfig,
    "PNG and JPEG files of a folder",
    r#"{"type": "image-folder", "path": "my-pictures", "size": [64, 64], "test": 100}"#
);

impl ImageFolderConfig {
    fn shape(&self) -> [i64; 3] {
        [self.channels, i64::from(self.size[0]), i64::from(self.size[1])]
    }
}

fn by_folder(folder: &Path, files: &[PathBuf]) -> Result<Vec<i64>> {
    let inside = |file: &PathBuf| -> Result<String> {
        let rest = file.strip_prefix(folder).unwrap_or(file);
        let mut parts = rest.components();
        match (parts.next(), parts.next()) {
            (Some(first), Some(_)) => Ok(first.as_os_str().to_string_lossy().into_owned()),
            _ => Err(Error::data(
                format!("{}: it lies in no folder that could be its label", file.display()),
                "put every picture into a folder for its class",
            )),
        }
    };
    let names: Vec<String> = files.iter().map(inside).collect::<Result<_>>()?;
    let classes: Vec<&String> = names.iter().collect::<BTreeSet<_>>().into_iter().collect();
    let place =
        |name| classes.binary_search(&name).expect("every name is among the classes") as i64;
    Ok(names.iter().map(place).collect())
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
