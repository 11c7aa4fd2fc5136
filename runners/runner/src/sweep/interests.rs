//! The names of metrics that a sweep speaks of: one that no cell reports is refused before the
//! first.

use super::file::{Interest, Search};
use super::read::Sweep;
use super::rungs::matches_whole;
use super::variants::Variant;
use isotropy_core::{Error, Result};
use std::collections::BTreeSet;

/// What `metrics.json` has beside the metrics.
const OTHERS: &[&str] = &[
    "samples.count",
    "samples.non_finite",
    "samples.evaluations_per_sample",
    "training.steps",
    "training.stopped_early",
    "training.parameters",
    "training.validation_loss",
    "training.best_validation_loss",
    "training.equivariance_error",
    "resources.peak_memory_bytes",
    "resources.seconds",
];

/// Refuses names that no variant reports, each with where it stands and what there is.
///
/// # Errors
/// A configuration error that names all of them.
pub fn check(sweep: &Sweep, variants: &[Variant]) -> Result<()> {
    let reported: BTreeSet<&str> =
        variants.iter().flat_map(|variant| &variant.reports).map(String::as_str).collect();
    let known = |name: &str| {
        let plain = name.strip_prefix("metrics.").unwrap_or(name);
        OTHERS.contains(&name) || reported.iter().any(|pattern| matches_whole(pattern, plain))
    };
    let file = &sweep.file;
    let mut named: Vec<(&str, String)> = Vec::new();
    for (k, interest) in file.metrics.iter().enumerate() {
        named.push((Interest::parts(interest).0, format!("metrics.{k}")));
    }
    if let Search::SuccessiveHalving { metric, .. } = &file.search {
        named.push((metric, "search.metric".into()));
    }
    for (k, picture) in file.pictures.iter().enumerate() {
        if !sweep.axes.iter().any(|axis| axis.name == picture.x) {
            named.push((&picture.x, format!("pictures.{k}.x")));
        }
        named.push((&picture.y, format!("pictures.{k}.y")));
    }
    let unknown: Vec<String> = named
        .into_iter()
        .filter(|(name, _)| !known(name))
        .map(|(name, place)| format!("`{place}`: no cell reports '{name}'"))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let there: Vec<&str> = reported.into_iter().chain(OTHERS.iter().copied()).collect();
    let help = format!("the cells report {}", there.join(", "));
    Err(Error::config("", unknown.join("\n")).with_help(help))
}
