//! The version of libtorch that this workspace is written against, and how to read that of a folder.

use std::fmt;
use std::fs;
use std::path::Path;

/// The version that `cargo xtask libtorch` installs. The `tch` version in the root Cargo.toml decides it.
pub const WANTED: Version = Version { major: 2, minor: 13, patch: 0 };

/// A release of libtorch, without the local part (`+cu130`, `+cpu`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

impl Version {
    /// Reads `2.13.0` or `2.13.0+cu130`; anything else (`2.13.0a0+git`, `2.13`) is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let release = text.trim().split('+').next()?;
        let mut numbers = release.split('.').map(|n| n.parse::<u32>().ok());
        let version =
            Self { major: numbers.next()??, minor: numbers.next()??, patch: numbers.next()?? };
        numbers.next().is_none().then_some(version)
    }

    /// Whether the C++ interface is the wanted one: the same major and minor number.
    pub fn is_compatible(self) -> bool {
        self.major == WANTED.major && self.minor == WANTED.minor
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The version of the libtorch in `folder` (which holds `lib/` and `include/`), or `None` where nothing tells.
///
/// Looks at what the three kinds of distribution carry: `build-version` (the zip), `version.py` (the wheel),
/// `torch/version.h` (a system package).
pub fn of_folder(folder: &Path) -> Option<Version> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    if let Some(text) = read("build-version") {
        return Version::parse(&text);
    }
    if let Some(text) = read("version.py") {
        return from_version_py(&text);
    }
    [
        "include/torch/version.h",
        "include/torch/headeronly/version.h",
        "include/torch/csrc/api/include/torch/version.h",
    ]
    .iter()
    .filter_map(|name| read(name))
    .find_map(|text| from_version_h(&text))
}

/// Finds `__version__ = '2.13.0+cu130'`.
fn from_version_py(text: &str) -> Option<Version> {
    let line = text.lines().find(|l| l.starts_with("__version__"))?;
    let value = line.split_once('=')?.1.trim();
    Version::parse(value.trim_matches(['\'', '"']))
}

/// Finds the three `#define TORCH_VERSION_MAJOR 2` lines.
fn from_version_h(text: &str) -> Option<Version> {
    let number = |name: &str| {
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("#define") && words.next() == Some(name))
                .then(|| words.next()?.parse().ok())?
        })
    };
    Some(Version {
        major: number("TORCH_VERSION_MAJOR")?,
        minor: number("TORCH_VERSION_MINOR")?,
        patch: number("TORCH_VERSION_PATCH")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_part_is_ignored_and_unreleased_versions_are_not_accepted() {
        assert_eq!(Version::parse("2.13.0+cu130\n"), Some(WANTED));
        assert_eq!(Version::parse("2.13.0"), Some(WANTED));
        for text in ["", "2.13", "2.13.0a0+git123", "2.13.0.1", "v2.13.0"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_the_patch_number_may_differ() {
        let ok = |text| Version::parse(text).expect("valid").is_compatible();
        assert!(ok("2.13.1"));
        assert!(!ok("2.12.0"));
        assert!(!ok("3.13.0"));
    }

    #[test]
    fn each_kind_of_distribution_tells_its_version() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path();
        assert_eq!(of_folder(folder), None);
        fs::create_dir_all(folder.join("include/torch")).expect("folder");
        fs::write(
            folder.join("include/torch/version.h"),
            "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 11\n#define TORCH_VERSION_PATCH 3\n",
        )
        .expect("write");
        assert_eq!(of_folder(folder).expect("header").to_string(), "2.11.3");
        let py = "from typing import Optional\n\n__all__ = ['__version__']\n__version__ = '2.12.1+cu130'\n";
        fs::write(folder.join("version.py"), py).expect("write");
        assert_eq!(of_folder(folder).expect("wheel").to_string(), "2.12.1");
        fs::write(folder.join("build-version"), "2.13.0+cpu\n").expect("write");
        assert_eq!(of_folder(folder), Some(WANTED));
    }
}
