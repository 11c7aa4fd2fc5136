//! Every dependency is named by a source of the crate that asks for it.
//!
//! What a crate imports under another name than its own, and the registry says which, stands here.

use std::fs;
use std::path::{Path, PathBuf};

/// Packages whose library has another name.
const RENAMED: [(&str, &str); 2] = [("kamadak-exif", "exif"), ("isotropy-runner", "runner")];

/// The names in the tables of dependencies of a manifest, with and without `dev-`.
fn asked_for(manifest: &str) -> Vec<&str> {
    let (mut inside, mut names) = (false, Vec::new());
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside && let Some(name) = line.split(['.', ' ', '=']).next() {
            names.extend((!name.is_empty() && name != "#").then_some(name));
        }
    }
    names
}

fn named(source: &str, library: &str) -> bool {
    let part_of_a_name = |c: char| c.is_alphanumeric() || c == '_';
    source.match_indices(library).any(|(at, _)| {
        let before = source[..at].chars().next_back();
        let after = source[at + library.len()..].chars().next();
        !before.is_some_and(part_of_a_name) && !after.is_some_and(part_of_a_name)
    })
}

fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            // Crates inside a crate (those of core/) ask for themselves.
            if !path.join("Cargo.toml").is_file() {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            *found += &fs::read_to_string(path).unwrap_or_default();
        }
    }
}

/// The dependencies that a crate asks for and no source of it names.
fn unused(folder: &Path) -> Vec<String> {
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("it is there");
    let mut all = String::new();
    sources(folder, &mut all);
    let library = |name: &str| {
        let renamed = RENAMED.iter().find(|(package, _)| *package == name);
        renamed.map_or_else(|| name.replace('-', "_"), |(_, library)| (*library).to_owned())
    };
    let names = asked_for(&manifest).into_iter().filter(|name| !named(&all, &library(name)));
    names.map(str::to_owned).collect()
}

fn crates(root: &Path) -> Vec<PathBuf> {
    let below = |folder: &str| {
        let entries = fs::read_dir(root.join(folder)).expect("a folder of the checkout");
        entries.flatten().map(|entry| entry.path())
    };
    let all = ["core", "plugins", "runners"].into_iter().flat_map(below);
    let all = all.chain([root.join("core"), root.join("tests")]);
    all.filter(|folder| folder.join("Cargo.toml").is_file()).collect()
}

#[test]
fn every_dependency_is_named_by_a_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let crates = crates(&root);
    assert!(crates.len() > 10, "{crates:?}");
    let of = |folder: &PathBuf| {
        let place = folder.display().to_string();
        unused(folder).into_iter().map(move |name| format!("{place}: {name}")).collect::<Vec<_>>()
    };
    let found: Vec<String> = crates.iter().flat_map(of).collect();
    assert!(found.is_empty(), "no source names these dependencies: {found:#?}");
}

#[test]
fn a_dependency_without_use_is_found() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# why\nserde.workspace = true\n\
                    tch = \"1\"\n[dev-dependencies]\nserde_json = { workspace = true }\n[[bench]]\nname = \"b\"\n";
    assert_eq!(asked_for(manifest), ["serde", "tch", "serde_json"]);
    assert!(named("use tch::Tensor;", "tch") && named("let a = [tch::kind()];", "tch"));
    assert!(!named("use serde_json::Value; batch(watch);", "serde"));
}
