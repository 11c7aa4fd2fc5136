//! `runner data fetch histology`: pictures out of two Python packages, or from a folder.

use super::with_extension;
use isotropy_core::{Error, Result};
use isotropy_data::known_file::{KnownFile, complete, write_all};
use isotropy_data::source::{DATA_SOURCES, DataSource, FetchRequest, run, scratch};
use std::path::PathBuf;
use std::process::Command;

/// Microscope pictures: stained tissue, and others of no preferred orientation.
pub const FILES: [KnownFile; 4] = [
    KnownFile {
        name: "ihc.png",
        bytes: 477_916,
        sha256: "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
    },
    KnownFile {
        name: "histo.jpg",
        bytes: 35_505,
        sha256: "1b4f4cf440f22438d114ac629d102d2b403ff1d22ae8b00b1c674bfbca410a02",
    },
    KnownFile {
        name: "retina.jpg",
        bytes: 269_564,
        sha256: "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
    },
    KnownFile {
        name: "cell.png",
        bytes: 74_183,
        sha256: "8d23a7fb81f7cc877cd09f330357fc7f595651306e84e17252f6e0a1b3f61515",
    },
];

const HELP: &str = "install Python with pip, or give a folder with ihc.png, histo.jpg, retina.jpg and \
                              cell.png: runner data fetch histology --from FOLDER";

#[isotropy_core::linkme::distributed_slice(DATA_SOURCES)]
#[linkme(crate = isotropy_core::linkme)]
static SOURCE: DataSource = DataSource {
    name: "histology",
    summary: "four microscope pictures (two of stained tissue), 0.9 MB; Python packages scikit-image 0.26.0 (14 MB) and stardist 0.9.2 (3 MB)",
    licence: "BSD-3-Clause (both packages)",
    fetch,
    complete: |folder| complete(folder, &FILES),
};

/// Brings the four pictures: from a folder, or out of two Python packages (nothing is installed).
fn fetch(request: &FetchRequest) -> Result<()> {
    let scratch = scratch(&request.folder)?;
    let paths: Vec<PathBuf> = match &request.from {
        Some(from) => FILES.iter().map(|part| from.join(part.name)).collect(),
        None => {
            for package in ["scikit-image==0.26.0", "stardist==0.9.2"] {
                let mut command = Command::new("python3");
                // The pictures are the same in the files for all versions and machines; one that exists
                // is named, so that the user's own Python does not matter.
                command
                    .args(["-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"])
                    .args(["--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"])
                    .args(["-d", "."])
                    .arg(package)
                    .current_dir(scratch.path());
                run(&mut command, HELP)?;
                let wheel = with_extension(scratch.path(), "whl").ok_or_else(|| {
                    let message = format!("pip download {package} left no package");
                    Error::data(message, HELP)
                })?;
                let mut command = Command::new("python3");
                command.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(".");
                run(command.current_dir(scratch.path()), HELP)?;
                std::fs::remove_file(&wheel).map_err(|source| Error::io(&wheel, source))?;
            }
            let folder = |part: &KnownFile| match part.name {
                "histo.jpg" => scratch.path().join("stardist/data/images"),
                _ => scratch.path().join("skimage/data"),
            };
            FILES.iter().map(|part| folder(part).join(part.name)).collect()
        }
    };
    let bytes: Vec<Vec<u8>> = FILES
        .iter()
        .zip(&paths)
        .map(|(part, path)| {
            let bytes = std::fs::read(path)
                .map_err(|reason| Error::data(format!("{}: {reason}", path.display()), HELP))?;
            part.check(path, &bytes)?;
            Ok(bytes)
        })
        .collect::<Result<_>>()?;
    write_all(&request.folder, &FILES, &bytes)
}
