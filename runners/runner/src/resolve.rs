//! From a file and flags to a configuration that is complete and correct.

use crate::catalogue::Catalogue;
use crate::config::{self, Diagnostic, Diagnostics, Loaded, Source, Span};
use crate::experiment::Experiment;
use crate::run::folder::read_json;
use isotropy_core::registry::marked_schema;
use isotropy_core::{Error, Result};
use schemars::JsonSchema;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a configuration was refused.
#[derive(Debug)]
pub enum Refusal {
    /// Mistakes with their positions.
    Diagnostics(Diagnostics),
    /// Another error.
    Error(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Diagnostics> for Refusal {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Diagnostics(diagnostics)
    }
}

/// A configuration that was read, checked and turned into an [`Experiment`].
pub struct Resolved {
    /// The experiment.
    pub experiment: Experiment,
    /// Where every value came from.
    pub loaded: Loaded,
    /// The folder that relative paths in the configuration start from.
    pub folder: PathBuf,
}

/// Reads an experiment file with `--set` flags.
///
/// # Errors
/// All mistakes of the file at once.
pub fn resolve(path: &Path, sets: &[String]) -> Result<Resolved, Refusal> {
    let source = config::extends::read_source(path, 0).map_err(Diagnostics::one)?;
    if let Some(place) = sweep_key(&source) {
        let message = "this is a sweep file, which stands for many experiments";
        let help = format!(
            "`runner sweep {0} --dry-run` checks it and shows its cells, `runner sweep {0}` runs them",
            path.display()
        );
        return Err(Diagnostics::one(Diagnostic::new(place, message).with_help(help)).into());
    }
    let catalogue = Catalogue::new()?;
    let schema = marked_schema(Experiment::json_schema);
    let loaded = config::load::load_source(path, source, sets, &schema, &catalogue)?;
    let experiment = parse(loaded.value.clone())?;
    let folder = Path::new(".").join(config::extends::folder_of(path));
    let folder = folder.canonicalize().map_err(|e| Error::io(&folder, e))?;
    let folder = origin(path, &folder).unwrap_or(folder);
    Ok(Resolved { experiment, loaded, folder })
}

/// Where a file says that it is a sweep: the name of its base or of its axes, which no experiment
/// has.
fn sweep_key(source: &Arc<Source>) -> Option<Span> {
    let root = config::parse::parse(source).root?;
    let member = root.get("base").or_else(|| root.get("axes"))?;
    Some(member.key_origin.clone())
}

/// The folder of the file that the `config.json` of a run folder, or the `cell.json` of a sweep's
/// cell, was resolved from, if it is still there: relative paths in it keep their meaning.
fn origin(path: &Path, folder: &Path) -> Option<PathBuf> {
    let beside = match path.file_name()?.to_str()? {
        "config.json" => "manifest.json",
        "cell.json" => "origin.json",
        _ => return None,
    };
    let manifest = read_json(&folder.join(beside)).ok()?;
    let origin = PathBuf::from(manifest["config_folder"].as_str()?);
    origin.is_dir().then_some(origin)
}

/// Turns a checked tree into an experiment.
///
/// # Errors
/// When serde refuses what the schema let through.
pub fn parse(value: Value) -> Result<Experiment> {
    serde_json::from_value(value).map_err(|error| Error::config("", error.to_string()))
}

/// The resolved configuration as JSON, all defaults filled in.
///
/// # Errors
/// When a component cannot be written back.
pub fn to_json(experiment: &Experiment) -> Result<Value> {
    serde_json::to_value(experiment).map_err(|error| Error::Other(error.to_string()))
}

impl Resolved {
    /// Gives an error its place in the file.
    pub fn locate(&self, error: Error) -> Refusal {
        match error {
            Error::Config { message, pointer, help } => {
                let help = (!help.is_empty()).then_some(help);
                Refusal::Diagnostics(self.loaded.diagnose(&pointer, message, help))
            }
            other => Refusal::Error(other),
        }
    }
}
