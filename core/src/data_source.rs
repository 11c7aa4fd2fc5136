//! Data that a command can bring: `runner data fetch NAME`.

use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of a file, in hexadecimal; it is never held whole.
///
/// # Errors
/// A data error when it cannot be read.
pub fn file_sha256(path: &Path) -> Result<String> {
    let digest = || -> std::io::Result<Sha256> {
        let mut digest = Sha256::new();
        std::io::copy(&mut std::fs::File::open(path)?, &mut digest)?;
        Ok(digest)
    };
    let digest = digest().map_err(|reason| {
        Error::data(format!("{}: {reason}", path.display()), "give a file that can be read")
    })?;
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file whole or not at all: to a temporary name beside the target, synced, renamed.
///
/// # Errors
/// `Io` with the name of the file.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)
    };
    write().map_err(|source| {
        // The first reason is the one to report; the leftover may not even exist.
        let _ = std::fs::remove_file(&partial);
        Error::io(path, source)
    })
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

/// A folder that goes away with its owner.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// An empty folder inside `parent`, so that renaming from it never crosses file systems.
    ///
    /// # Errors
    /// `Io` when it cannot be made.
    pub fn new(parent: &Path) -> Result<Self> {
        let path = parent.join(format!(".fetch-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|source| Error::io(&path, source))?;
        Ok(Self(path))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing can be done about a leftover here, and it does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
