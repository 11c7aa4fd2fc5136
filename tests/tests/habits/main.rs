//! What people's files, folders, pipes and habits do to a run.

#![allow(clippy::unwrap_used)]

mod changed_data;
mod labels;
mod names;
mod places;
mod streams;
mod trouble;
mod weights;

use isotropy_tests::end_to_end::{Ended, Scratch, run_tiny};

pub const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");

/// A tiny experiment that is over at once.
pub const SHORT: [&str; 8] = [
    "--set",
    "train.steps=20",
    "--set",
    "sampling.count=20",
    "--set",
    "sampling.batch=20",
    "--set",
    "train.histogram_every=0",
];

/// Runs it in `out`.
#[track_caller]
pub fn short(scratch: &Scratch, out: &str, more: &[&str]) -> Ended {
    run_tiny(RUNNER, scratch, out, &[&SHORT, more].concat())
}

/// Whether every word is in a text.
#[track_caller]
pub fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "'{word}' is not in: {text}");
    }
}

/// Name, size and content of everything in a folder, to see that nothing changes.
pub fn listing(folder: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(listing(&path));
        } else {
            all.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}
