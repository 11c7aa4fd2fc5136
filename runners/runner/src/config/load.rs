//! The whole way from a path and flags to a checked value.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use super::check::{self, Lookup};
use super::diagnose::{Diagnostic, Diagnostics};
use super::extends;
use super::overrides::Override;
use super::source::{Source, Span};
use super::tree::{Node, Value};

/// The version of the configuration that this runner reads.
pub const SCHEMA_VERSION: u32 = 1;

/// The field that holds the version.
const VERSION_FIELD: &str = "schema";

/// A configuration without a mistake that its schemas can see.
#[derive(Debug)]
pub struct Loaded {
    /// The value for serde: files and flags joined, without `extends` and `$schema`.
    pub value: Json,
    /// The files that were read, the configuration first.
    pub files: Vec<PathBuf>,
    tree: Node,
}

/// Reads the configuration `path` with everything that it extends, applies the `--set` flags, and checks the result
/// against the schema of the experiment and the components that `lookup` knows.
///
/// # Errors
/// All mistakes that could be found, sorted by position.
pub fn load(
    path: &Path,
    sets: &[String],
    schema: &Json,
    lookup: &dyn Lookup,
) -> Result<Loaded, Diagnostics> {
    load_chain(path, extends::read_chain(path, 0), sets, schema, lookup)
}

/// As [`load`], of a file whose text has been read.
pub(crate) fn load_source(
    path: &Path,
    source: Arc<Source>,
    sets: &[String],
    schema: &Json,
    lookup: &dyn Lookup,
) -> Result<Loaded, Diagnostics> {
    load_chain(path, extends::chain_above(path, source, 0), sets, schema, lookup)
}

fn load_chain(
    path: &Path,
    chain: extends::Chain,
    sets: &[String],
    schema: &Json,
    lookup: &dyn Lookup,
) -> Result<Loaded, Diagnostics> {
    let mut problems = chain.problems;
    let mut root = chain.root;
    for (i, set) in sets.iter().enumerate() {
        // Flags come after all files.
        let applied = match (Override::parse(set, FLAG_ORDER + i), &mut root) {
            (Ok(flag), Some(root)) => flag.apply(root).map_err(|problem| vec![problem]),
            (Ok(_), None) => Ok(()),
            (Err(problems), _) => Err(problems),
        };
        problems.extend(applied.err().into_iter().flatten());
    }
    if let Some(root) = &mut root {
        problems.extend(check_tree(root, schema, lookup));
    }
    match (Diagnostics::new(problems), root) {
        (Some(problems), _) => Err(problems),
        (None, Some(tree)) => Ok(Loaded { value: tree.to_json(), files: chain.files, tree }),
        // A chain without a root has at least one problem; should that ever fail, it is said here.
        (None, None) => {
            let source = Source::file(path.display().to_string(), "", 0);
            Err(Diagnostics::one(Diagnostic::new(
                Span::beginning(&source),
                "the configuration cannot be read",
            )))
        }
    }
}

/// Checks a tree that was put together elsewhere (the cell of a sweep), as [`load`] checks what it
/// has read.
///
/// # Errors
/// All mistakes that could be found, sorted by position.
pub(crate) fn load_tree(
    mut root: Node,
    files: Vec<PathBuf>,
    schema: &Json,
    lookup: &dyn Lookup,
) -> Result<Loaded, Diagnostics> {
    match Diagnostics::new(check_tree(&mut root, schema, lookup)) {
        Some(problems) => Err(problems),
        None => Ok(Loaded { value: root.to_json(), files, tree: root }),
    }
}

/// The mistakes of a joined tree; drops the field for editors.
pub(crate) fn check_tree(root: &mut Node, schema: &Json, lookup: &dyn Lookup) -> Vec<Diagnostic> {
    if let Value::Object(members) = &mut root.value {
        members.retain(|member| member.key != "$schema");
    }
    let mut problems: Vec<Diagnostic> = check_version(root).into_iter().collect();
    check::overflows(root, &mut problems);
    let (found, paths) = check::check_and_find_paths(root, schema, lookup);
    problems.extend(found);
    for path in paths {
        if let Some(node) = root.descend_mut(path.iter().map(String::as_str)) {
            from_the_shell(node);
        }
    }
    problems
}

/// A relative path that a flag gives starts where the flag was written: in the folder of the shell.
fn from_the_shell(node: &mut Node) {
    if let (true, Value::String(text)) = (node.origin.source.is_flag(), &mut node.value)
        && let Ok(path) = std::path::absolute(&*text)
    {
        *text = path.to_string_lossy().into_owned();
    }
}

/// Files of a chain are counted from 0, flags from here.
const FLAG_ORDER: usize = 1000;

fn check_version(root: &Node) -> Option<Diagnostic> {
    let line = format!("\"{VERSION_FIELD}\": {SCHEMA_VERSION}");
    let Some(member) = root.get(VERSION_FIELD) else {
        let message = format!(
            "the configuration does not say which version it is written for: \"{VERSION_FIELD}\" is missing"
        );
        return Some(
            Diagnostic::new(root.mark(), message).with_help(format!("add the line {line},")),
        );
    };
    let written = match &member.node.value {
        Value::Invalid => return None,
        Value::Number(text) => text.parse::<u64>().ok(),
        _ => None,
    };
    let place = member.node.mark();
    match written {
        Some(version) if version == u64::from(SCHEMA_VERSION) => None,
        Some(version) if version > u64::from(SCHEMA_VERSION) => {
            let message = format!(
                "the configuration is written for version {version}; this runner reads up to {SCHEMA_VERSION}"
            );
            Some(
                Diagnostic::new(place, message)
                    .with_help(format!("use a newer runner, or write {line}")),
            )
        }
        _ => {
            let message = format!(
                "\"{VERSION_FIELD}\" must be the version {SCHEMA_VERSION}, found {}",
                member.node.describe()
            );
            Some(Diagnostic::new(place, message).with_help(format!("write {line}")))
        }
    }
}

impl Loaded {
    /// Where the value at a path was written: of the value itself or, if it is a default that no file names, of the
    /// nearest object around it.
    ///
    /// The path is a JSON pointer (`/metrics/0/kernel`) or in the form of serde_path_to_error (`metrics[0].kernel`).
    pub fn origin(&self, path: &str) -> Span {
        self.find(path).mark()
    }

    fn find(&self, path: &str) -> &Node {
        let steps: Vec<String> = match path.strip_prefix('/') {
            Some(pointer) => {
                pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
            }
            None => path
                .split(['.', '[', ']'])
                .filter(|step| !step.is_empty())
                .map(str::to_owned)
                .collect(),
        };
        self.tree.descend(steps.iter().map(String::as_str)).0
    }

    /// A mistake that was found after the check, by serde or while building, shown where its value was written.
    pub fn diagnose(
        &self,
        path: &str,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Diagnostics {
        let node = self.find(path);
        // Of a component its name is the best place.
        let place = node.get("type").map_or_else(|| node.mark(), |tag| tag.node.mark());
        let mut diagnostic = Diagnostic::new(place, message);
        diagnostic.help = help;
        Diagnostics::one(diagnostic)
    }
}
