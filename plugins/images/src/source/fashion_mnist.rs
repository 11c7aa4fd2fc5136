//! `runner data fetch fashion-mnist`: through Debian's packages or from a folder.

use super::with_extension;
use crate::reader::idx;
use isotropy_core::{Error, Result};
use isotropy_data::known_file::{KnownFile, complete, write_all};
use isotropy_data::source::{DATA_SOURCES, DataSource, FetchRequest, run, scratch};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The four files of Fashion-MNIST, named as those of MNIST: images and labels for training and testing.
pub const FILES: [KnownFile; 4] = [
    KnownFile {
        name: "train-images-idx3-ubyte",
        bytes: 47_040_016,
        sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    },
    KnownFile {
        name: "train-labels-idx1-ubyte",
        bytes: 60_008,
        sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    },
    KnownFile {
        name: "t10k-images-idx3-ubyte",
        bytes: 7_840_016,
        sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    },
    KnownFile {
        name: "t10k-labels-idx1-ubyte",
        bytes: 10_008,
        sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
];

const PACKAGE: &str = "dataset-fashion-mnist";
const HELP: &str = "on Debian and Ubuntu: sudo apt-get update, then once more; elsewhere give the package \
                            or a folder with the four IDX files (plain or .gz): runner data fetch fashion-mnist \
                            --from FOLDER";
#[isotropy_core::linkme::distributed_slice(DATA_SOURCES)]
#[linkme(crate = isotropy_core::linkme)]
static SOURCE: DataSource = DataSource {
    name: "fashion-mnist",
    summary: "Fashion-MNIST: 60,000 + 10,000 pictures of clothes, 28x28, 55 MB; Debian package dataset-fashion-mnist (31 MB)",
    licence: "MIT (Zalando SE)",
    fetch,
    complete: |folder| complete(folder, &FILES),
};

/// Brings the four files: from a package, from a folder, or through the package manager (nothing is
/// installed).
fn fetch(request: &FetchRequest) -> Result<()> {
    let scratch = scratch(&request.folder)?;
    let folder = match &request.from {
        Some(from) if from.extension().is_some_and(|e| e == "deb") => {
            unpack_debian(from, scratch.path())?
        }
        Some(from) => from.clone(),
        None => {
            let mut command = Command::new("apt-get");
            command.args(["download", "-q", PACKAGE]).current_dir(scratch.path());
            run(&mut command, HELP)?;
            let package = with_extension(scratch.path(), "deb").ok_or_else(|| {
                let message = format!("apt-get download {PACKAGE} left no package");
                Error::data(message, HELP)
            })?;
            unpack_debian(&package, scratch.path())?
        }
    };
    let bytes: Vec<Vec<u8>> = FILES
        .iter()
        .map(|part| {
            let path = idx::find(&folder, part.name).map_err(|e| e.with_help(HELP))?;
            let bytes = idx::read_bytes(&path)?;
            part.check(&path, &bytes)?;
            Ok(bytes)
        })
        .collect::<Result<_>>()?;
    write_all(&request.folder, &FILES, &bytes)
}

fn unpack_debian(package: &Path, folder: &Path) -> Result<PathBuf> {
    run(Command::new("dpkg-deb").arg("-x").arg(package).arg(folder), HELP)?;
    Ok(folder.join("usr/share/datasets/fashion-mnist"))
}
