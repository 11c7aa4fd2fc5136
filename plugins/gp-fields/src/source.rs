//! `runner data fetch winds`: monthly surface winds, through Debian's packages or from a file.

use isotropy_core::{Error, Result};
use isotropy_data::known_file::{KnownFile, complete};
use isotropy_data::source::{DATA_SOURCES, DataSource, FetchRequest, run, scratch};
use isotropy_data::write::write_whole;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name of the data set and of its folder.
pub const WINDS: &str = "winds";
/// Its file.
pub const FILE: KnownFile = KnownFile {
    name: "monthly_navy_winds.cdf",
    bytes: 11_104_376,
    sha256: "225a9e4fed7bb1a7b558afb662abbe2dc5e3d3db4100fa019cb994f10b115faa",
};
/// The Debian package that carries it.
const PACKAGE: &str = "ferret-datasets";
/// Where the package puts it.
const IN_PACKAGE: &str = "usr/share/ferret-vis/data";
const HELP: &str = "on Debian and Ubuntu: sudo apt-get update, then once more; elsewhere give the package or the file: \
                    runner data fetch winds --from ferret-datasets_7.6.0-5_all.deb";

#[isotropy_core::linkme::distributed_slice(DATA_SOURCES)]
#[linkme(crate = isotropy_core::linkme)]
static SOURCE: DataSource = DataSource {
    name: WINDS,
    summary: "monthly surface winds 1982-1992 on the globe (2.5 degrees), 11 MB; Debian package ferret-datasets (28 MB)",
    licence: "FNOC analysis, distributed with Ferret by NOAA/PMEL, public domain",
    fetch,
    complete: |folder| complete(folder, &[FILE]),
};

/// Brings the file into the request's folder: from the package manager (nothing is installed, so no rights are needed),
/// from a downloaded package, from a folder that holds the file, or from the file. It is checked by size and SHA-256
/// before it gets its final name.
///
/// # Errors
/// A data error when the package cannot be downloaded or unpacked, or when the file is not the one expected.
pub fn fetch(request: &FetchRequest) -> Result<()> {
    let scratch = scratch(&request.folder)?;
    let source = match &request.from {
        None => unpack(&download(scratch.path())?, scratch.path())?,
        Some(from) if from.is_dir() => from.join(FILE.name),
        Some(from) if from.extension().is_some_and(|extension| extension == "deb") => {
            unpack(from, scratch.path())?
        }
        Some(from) => from.clone(),
    };
    let bytes = std::fs::read(&source)
        .map_err(|reason| Error::data(format!("{}: {reason}", source.display()), HELP))?;
    FILE.check(&source, &bytes)?;
    write_whole(&request.folder.join(FILE.name), &bytes)
}

/// Downloads the package into the folder.
fn download(folder: &Path) -> Result<PathBuf> {
    run(Command::new("apt-get").args(["download", "-q", PACKAGE]).current_dir(folder), HELP)?;
    let entries = std::fs::read_dir(folder).map_err(|source| Error::io(folder, source))?;
    entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| Error::data(format!("apt-get download {PACKAGE} left no package"), HELP))
}

/// Unpacks a package into the folder; the path of the file.
fn unpack(package: &Path, folder: &Path) -> Result<PathBuf> {
    run(Command::new("dpkg-deb").arg("-x").arg(package).arg(folder), HELP)?;
    Ok(folder.join(IN_PACKAGE).join(FILE.name))
}
