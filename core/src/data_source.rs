//! Data that a command can bring: `runner data fetch NAME`.

use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// What the user asks for.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// The folder to fill: `DATA_DIR/NAME`. It exists.
    pub folder: PathBuf,
    /// A file or folder that the user gives instead of the package manager.
    pub from: Option<PathBuf>,
}

/// Data that can be fetched.
pub struct DataSource {
    /// Name on the command line and folder name under the data folder.
    pub name: &'static str,
    /// One line: what it is, how large, through which package manager it comes.
    pub summary: &'static str,
    /// Licence of the data.
    pub licence: &'static str,
    /// Brings the files into the folder, each checked by size and digest before it gets its final
    /// name.
    pub fetch: fn(&FetchRequest) -> Result<()>,
    /// Whether the folder holds everything, checked cheaply (names and sizes).
    pub complete: fn(&Path) -> bool,
}

/// All data that linked plugins can bring.
#[linkme::distributed_slice]
pub static DATA_SOURCES: [DataSource];

/// The folder of a data set, checked to be complete.
///
/// # Errors
/// A data error that names the command which brings it.
pub fn folder(data_dir: &Path, name: &str) -> Result<PathBuf> {
    let folder = data_dir.join(name);
    let source = DATA_SOURCES.iter().find(|source| source.name == name).ok_or_else(|| {
        Error::data(format!("no data set is called '{name}'"), "runner data list")
    })?;
    if (source.complete)(&folder) {
        return Ok(folder);
    }
    Err(Error::data(
        format!("the data set '{name}' is not in {}", folder.display()),
        format!("bring it with: runner data fetch {name}"),
    ))
}
