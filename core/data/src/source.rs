//! Data that a command can bring: `runner data fetch NAME`.

use isotropy_core::{Error, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

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

/// Runs a program that brings or unpacks data.
///
/// # Errors
/// A data error with `help` when it is not installed or fails, with the first line that it wrote to its standard error.
pub fn run(command: &mut Command, help: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::data(format!("'{program}' is not installed"), help),
        _ => Error::io(&program, source),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let reason = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    Err(Error::data(format!("{program} failed ({}): {reason}", output.status), help))
}

/// An empty folder inside `parent`, so that renaming from it never crosses file systems; it goes away
/// with its owner.
///
/// # Errors
/// `Io` when it cannot be made.
pub fn scratch(parent: &Path) -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(parent)
        .map_err(|source| Error::io(parent, source))
}
