//! `runner check`: components against their mathematics, as a table or as JSON.

use crate::catalogue::Catalogue;
use crate::conformance::{Row, check_component, check_experiment};
use crate::output::say;
use crate::resolve::{Refusal, resolve};
use isotropy_conformance::{CheckResult, Status};
use isotropy_core::registry::KINDS;
use isotropy_core::{Component, Error, Result, Streams};
use std::path::PathBuf;

/// What is checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// Every component.
    All,
    /// One component, or all of a kind.
    Component(String, Option<String>),
    /// What an experiment names.
    Experiment(PathBuf),
}

impl Subject {
    /// From the flags of the command line.
    ///
    /// # Errors
    /// When none of them says what to check.
    pub fn from_flags(
        kind: Option<String>,
        name: Option<String>,
        config: Option<PathBuf>,
        all: bool,
    ) -> Result<Self> {
        match (all, config, kind) {
            (true, _, _) => Ok(Self::All),
            (_, Some(file), _) => Ok(Self::Experiment(file)),
            (_, _, Some(kind)) => Ok(Self::Component(kind, name)),
            _ => Err(Error::config("", "nothing to check").with_help(
                "runner check KIND [NAME], runner check --config FILE, or runner check --all",
            )),
        }
    }
}

/// Checks, prints, and fails when a check does.
///
/// # Errors
/// When there is no such component, the experiment is wrong, or a check fails.
pub fn check(subject: &Subject, as_json: bool) -> Result<(), Refusal> {
    // Tensors this small gain nothing from threads, which wait for each other on a busy machine.
    tch::set_num_threads(1);
    let streams = Streams::new(0);
    let mut rows = Vec::new();
    let mut add = |new: Vec<Row>| {
        if !as_json {
            print(&new);
        }
        rows.extend(new);
    };
    match subject {
        Subject::Experiment(file) => {
            let resolved = resolve(file, &[])?;
            let new = check_experiment(&resolved.experiment, &streams)
                .map_err(|error| resolved.locate(error))?;
            add(new);
        }
        Subject::All => {
            let catalogue = Catalogue::new()?;
            for component in catalogue.components() {
                add(check_component(component, &catalogue, &streams));
            }
        }
        Subject::Component(kind, name) => {
            let catalogue = Catalogue::new()?;
            for component in chosen(&catalogue, kind, name.as_deref())? {
                add(check_component(component, &catalogue, &streams));
            }
        }
    }
    let failed = rows.iter().filter(|row| row.result.status == Status::Fail).count();
    let skipped = rows.iter().filter(|row| row.result.status == Status::Skip).count();
    let unchecked: Vec<&Row> =
        rows.iter().filter(|row| row.result.status == Status::Unchecked).collect();
    let checks = rows.len() - unchecked.len();
    if as_json {
        let text = serde_json::to_string_pretty(&rows).map_err(|e| Error::Other(e.to_string()))?;
        say!("{text}");
    } else {
        say!("\n{checks} checks: {failed} failed, {skipped} skipped");
        for row in unchecked {
            say!("nothing was checked of {} {}: {}", row.kind, row.name, row.result.why);
        }
    }
    if failed > 0 {
        return Err(Error::Other(format!("{failed} of {checks} checks failed")).into());
    }
    Ok(())
}

fn chosen(
    catalogue: &Catalogue,
    kind: &str,
    name: Option<&str>,
) -> Result<Vec<&'static Component>> {
    let matches = |c: &&&'static Component| c.kind == kind && name.is_none_or(|n| c.name == n);
    let found: Vec<_> = catalogue.components().iter().filter(matches).copied().collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let of_kind = catalogue.components().iter().filter(|c| c.kind == kind);
    let names: Vec<&str> = of_kind.map(|c| c.name).collect();
    let help = match names.is_empty() {
        true => format!("kinds: {}", KINDS.join(", ")),
        false => format!("components of kind {kind}: {}", names.join(", ")),
    };
    Err(Error::config("", format!("there is no {kind} '{}'", name.unwrap_or(""))).with_help(help))
}

fn print(rows: &[Row]) {
    for group in rows.chunk_by(|a, b| (&a.kind, &a.name) == (&b.kind, &b.name)) {
        say!("\n{} {}", group[0].kind, group[0].name);
        let length = |row: &Row| row.result.check.chars().count();
        let width = group.iter().map(length).max().unwrap_or(0);
        for row in group {
            say!("{}", line(&row.result, width));
        }
    }
}

fn line(r: &CheckResult, width: usize) -> String {
    let status = match r.status {
        Status::Pass => "pass",
        Status::Fail => "FAIL",
        Status::Skip => "skip",
        Status::Unchecked => "NONE",
    };
    let bound = match (r.error, r.tolerance) {
        (Some(error), Some(tolerance)) => format!("{error:>9.1e} <= {tolerance:<9.1e}"),
        _ => String::new(),
    };
    format!("  {status}  {:width$}  {bound}  {}", r.check, r.why).trim_end().to_string()
}
