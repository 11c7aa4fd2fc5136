//! From a sweep file to axes and a base, every part of it with its place in the file.

use super::file::{Axis, Base, Search, SweepFile};
use super::labels::{axis_name, is_label, label_of, number_of};
use crate::config::extends::{folder_of, read_chain, read_source};
use crate::config::load::check_tree;
use crate::config::overrides::Override;
use crate::config::parse;
use crate::config::suggest;
use crate::config::tree::{Node, Value};
use crate::config::{Diagnostic, Diagnostics, Lookup};
use crate::resolve::Refusal;
use isotropy_core::Error;
use isotropy_core::registry::marked_schema;
use schemars::JsonSchema;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// More combinations than this are refused: the product of the axes is surely a slip.
const MOST_COMBINATIONS: usize = 100_000;

/// A sweep file that has no mistake in itself; whether its values fit the base is not known yet.
pub struct Sweep {
    /// The file as data.
    pub file: SweepFile,
    /// The base experiment.
    pub base: Node,
    /// The files that the base was read from.
    pub base_files: Vec<PathBuf>,
    /// The folder that relative paths of the base start from.
    pub folder: PathBuf,
    /// What is set in every cell.
    pub settings: Vec<Setting>,
    /// The axes.
    pub axes: Vec<ReadAxis>,
    /// Where the search is described, else the beginning of the file.
    pub search_place: Node,
    /// The steps of the budget with their place.
    pub budget_steps: Option<Node>,
}

/// A path and what it is set to.
#[derive(Debug, Clone)]
pub struct Setting {
    path: String,
    place: Node,
    value: Node,
}

impl Setting {
    fn new(path: &str, place: &Node, value: &Node) -> Self {
        Self { path: path.to_owned(), place: place.clone(), value: value.clone() }
    }

    /// The setting as it is applied to a tree.
    ///
    /// # Errors
    /// When the path cannot be read.
    pub(crate) fn to_override(&self) -> Result<Override, Diagnostic> {
        Override::at(&self.path, &self.place.origin, self.value.clone())
    }
}

/// An axis with the settings of each of its values.
#[derive(Debug, Clone)]
pub struct ReadAxis {
    /// Its name.
    pub name: String,
    /// The values.
    pub values: Vec<AxisValue>,
    /// The value that the others are compared with.
    pub base: usize,
}

/// A value of an axis.
#[derive(Debug, Clone)]
pub struct AxisValue {
    /// Its short name.
    pub label: String,
    /// The number that it is, if it is one.
    pub number: Option<f64>,
    /// What it sets.
    pub settings: Vec<Setting>,
}

/// Reads a sweep file.
///
/// # Errors
/// All mistakes of the file and of the files of its base at once, with their places.
pub fn read(path: &Path, lookup: &dyn Lookup) -> Result<Sweep, Refusal> {
    let source = read_source(path, 0).map_err(Diagnostics::one)?;
    let parsed = parse::parse(&source);
    let mut problems = parsed.problems;
    let Some(mut root) = parsed.root else { return Err(refuse(problems, path)) };
    problems.extend(check_tree(&mut root, &marked_schema(SweepFile::json_schema), lookup));
    if !problems.is_empty() {
        return Err(refuse(problems, path));
    }
    let file: SweepFile = serde_json::from_value(root.to_json())
        .map_err(|error| Error::config("", format!("{}: {error}", path.display())))?;
    let mut reader = Reader { file: &file, root: &root, problems };
    reader.name();
    let (base, base_files, folder) = reader.base(path);
    let settings = reader.bundle(&root, "set");
    let axes = reader.axes();
    reader.seeds();
    reader.exclusions(&axes);
    let budget_steps = reader.budget();
    reader.search(&axes);
    reader.pictures(&axes);
    let problems = reader.problems;
    let (Some(base), true) = (base, problems.is_empty()) else {
        return Err(refuse(problems, path));
    };
    let search_place = root.get("search").map_or_else(|| root.clone(), |m| m.node.clone());
    Ok(Sweep { base, base_files, folder, settings, axes, search_place, budget_steps, file })
}

fn refuse(problems: Vec<Diagnostic>, path: &Path) -> Refusal {
    match Diagnostics::new(problems) {
        Some(problems) => problems.into(),
        None => Error::config("", format!("{} cannot be read", path.display())).into(),
    }
}

struct Reader<'a> {
    file: &'a SweepFile,
    root: &'a Node,
    problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn report(&mut self, place: &Node, message: impl Into<String>) {
        self.problems.push(Diagnostic::new(place.mark(), message));
    }

    fn report_with(&mut self, place: &Node, message: String, help: impl Into<String>) {
        self.problems.push(Diagnostic::new(place.mark(), message).with_help(help));
    }

    fn node(&self, field: &str) -> &Node {
        self.root.get(field).map_or(self.root, |member| &member.node)
    }

    fn name(&mut self) {
        if !is_label(&self.file.name) {
            let place = self.node("name").clone();
            self.report(&place, "the name may have letters, digits and the characters ._+- only");
        }
    }

    /// The base with its files and folder.
    fn base(&mut self, path: &Path) -> (Option<Node>, Vec<PathBuf>, PathBuf) {
        let here = Path::new(".").join(folder_of(path));
        let whole = |folder: &Path| folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
        let place = self.node("base").clone();
        match &self.file.base {
            Base::Inline(_) => (Some(place), vec![path.to_path_buf()], whole(&here)),
            Base::Path(name) => {
                let base = here.join(name);
                let chain = read_chain(&base, 1);
                if chain.files.is_empty() {
                    // Nothing was read: the place to mend is this file.
                    for mut problem in chain.problems {
                        problem.origin = place.mark();
                        self.problems.push(problem);
                    }
                } else {
                    self.problems.extend(chain.problems);
                }
                let folder = base.parent().map_or(here.clone(), Path::to_path_buf);
                (chain.root, chain.files, whole(&folder))
            }
        }
    }

    /// The settings in the object `field` of `node`: path and value.
    fn bundle(&mut self, node: &Node, field: &str) -> Vec<Setting> {
        let members = node.get(field).and_then(|m| m.node.members()).unwrap_or_default();
        let mut settings = Vec::new();
        for member in members {
            let key = Node {
                value: Value::String(member.key.clone()),
                origin: member.key_origin.clone(),
            };
            self.check_path(&member.key, &key, &member.node);
            settings.push(Setting::new(&member.key, &key, &member.node));
        }
        settings
    }

    fn check_path(&mut self, path: &str, place: &Node, value: &Node) {
        match Override::at(path, &place.origin, value.clone()) {
            Err(problem) => self.problems.push(problem),
            Ok(setting) => match setting.root_name() {
                "seed" => self.report_with(
                    place,
                    "the seed is not set by a path".into(),
                    "list them: \"seeds\": [0, 1, 2]",
                ),
                name @ ("schema" | "extends" | "name" | "description") => {
                    let message = format!("`{name}` cannot be varied by a sweep");
                    self.report(place, message);
                }
                _ => {}
            },
        }
    }

    fn axes(&mut self) -> Vec<ReadAxis> {
        let Some(member) = self.root.get("axes") else { return Vec::new() };
        let Value::Array(nodes) = &member.node.value else { return Vec::new() };
        let mut axes: Vec<ReadAxis> = Vec::new();
        for (axis, node) in self.file.axes.iter().zip(nodes) {
            let name = axis_name(axis, &self.file.axes);
            if !is_label(&name) || name == "seed" {
                let place = node.get("name").map_or(node, |m| &m.node).clone();
                let message = format!("`{}` cannot be the name of an axis", shown(&name));
                let help = "give the axis a \"name\" of letters, digits and ._+-, and not `seed`";
                self.report_with(&place, message, help);
            }
            if axes.iter().any(|other| other.name == name) {
                let message = format!("two axes are called `{}`", shown(&name));
                self.report_with(node, message, "give one of them another \"name\"");
            }
            let values = self.axis_values(axis, node);
            let labels: Vec<&str> = values.iter().map(|value| value.label.as_str()).collect();
            let base = axis.base.as_deref().map_or(Some(0), |base| {
                let found = labels.iter().position(|label| *label == base);
                if found.is_none() {
                    let place = node.get("base").map_or(node, |m| &m.node).clone();
                    let message = format!("the axis has no value `{}`", shown(base));
                    let help = suggest::help(base, "labels", &labels);
                    self.problems.push(Diagnostic::new(place.mark(), message).with_help(help));
                }
                found
            });
            axes.push(ReadAxis { name, base: base.unwrap_or(0), values });
        }
        axes
    }

    fn axis_values(&mut self, axis: &Axis, node: &Node) -> Vec<AxisValue> {
        let given = [axis.path.is_some(), axis.paths.is_some(), axis.presets.is_some()];
        if given.iter().filter(|given| **given).count() != 1 {
            let message = "an axis has exactly one of `path`, `paths` and `presets`";
            let help = "for example {\"path\": \"sampler.steps\", \"values\": [10, 100]}";
            self.report_with(node, message.into(), help);
            return Vec::new();
        }
        if axis.presets.is_some() == axis.values.is_some() {
            let message = match axis.presets {
                Some(_) => "an axis of `presets` has no `values`",
                None => "the axis has no `values`",
            };
            self.report(node, message);
            return Vec::new();
        }
        let field = if axis.presets.is_some() { "presets" } else { "values" };
        let list = &node.get(field).expect("the field was found above").node;
        let Value::Array(nodes) = &list.value else { return Vec::new() };
        if nodes.is_empty() {
            self.report(list, "the axis has no value");
        }
        let mut values: Vec<AxisValue> = nodes
            .iter()
            .map(|value| {
                let settings = match field {
                    "presets" => self.preset(value),
                    _ => self.value_settings(axis, node, value),
                };
                AxisValue { label: label_of(value), number: number_of(value), settings }
            })
            .collect();
        self.labels(axis, node, nodes, &mut values);
        values
    }

    fn preset(&mut self, value: &Node) -> Vec<Setting> {
        let name = value.as_str().unwrap_or_default();
        let root = self.root;
        let presets = root.get("presets").map(|m| &m.node);
        let Some(presets) = presets.filter(|presets| presets.get(name).is_some()) else {
            let names: Vec<&str> = self.file.presets.keys().map(String::as_str).collect();
            let help = suggest::help(name, "presets", &names);
            self.report_with(value, format!("there is no preset `{}`", shown(name)), help);
            return Vec::new();
        };
        self.bundle(presets, name)
    }

    fn value_settings(&mut self, axis: &Axis, node: &Node, value: &Node) -> Vec<Setting> {
        if let (Some(path), Some(place)) = (&axis.path, node.get("path")) {
            self.check_path(path, &place.node, value);
            return vec![Setting::new(path, &place.node, value)];
        }
        let (Some(paths), Some(place)) = (&axis.paths, node.get("paths")) else {
            return Vec::new();
        };
        let Value::Array(places) = &place.node.value else { return Vec::new() };
        let Value::Array(parts) = &value.value else {
            let message =
                format!("each value must be a list of {}, one for each path", paths.len());
            self.report(value, message);
            return Vec::new();
        };
        if parts.len() != paths.len() {
            let message = format!(
                "this value has {} elements, and there are {} paths",
                parts.len(),
                paths.len()
            );
            self.report(value, message);
            return Vec::new();
        }
        let mut settings = Vec::new();
        for ((path, place), part) in paths.iter().zip(places).zip(parts) {
            self.check_path(path, place, part);
            settings.push(Setting::new(path, place, part));
        }
        settings
    }

    fn labels(&mut self, axis: &Axis, node: &Node, nodes: &[Node], values: &mut [AxisValue]) {
        let mut places: Vec<&Node> = nodes.iter().collect();
        if let (Some(labels), Some(member)) = (&axis.labels, node.get("labels")) {
            let Value::Array(given) = &member.node.value else { return };
            if labels.len() != values.len() {
                let message =
                    format!("there are {} labels for {} values", labels.len(), values.len());
                return self.report(&member.node, message);
            }
            for ((value, label), place) in values.iter_mut().zip(labels).zip(given) {
                value.label.clone_from(label);
                value.number = label.parse().ok().filter(|n: &f64| n.is_finite());
                if !is_label(label) {
                    let message = "a label has letters, digits and the characters ._+- only";
                    self.report(place, message);
                }
            }
            places = given.iter().collect();
        }
        let mut seen = BTreeSet::new();
        for (value, place) in values.iter().zip(places) {
            if !seen.insert(value.label.clone()) {
                let message = format!("two values of the axis are called `{}`", value.label);
                let help = "tell them apart with \"labels\": [...] in the axis";
                self.report_with(place, message, help);
            }
        }
        // A picture needs a number for every value, or none.
        if values.iter().any(|value| value.number.is_none()) {
            values.iter_mut().for_each(|value| value.number = None);
        }
    }

    fn seeds(&mut self) {
        let seeds = self.file.seeds.list();
        let place = self.node("seeds").clone();
        let distinct: BTreeSet<u64> = seeds.iter().copied().collect();
        if seeds.is_empty() {
            self.report(&place, "there is no seed");
        } else if distinct.len() < seeds.len() {
            self.report(&place, "a seed is listed twice");
        }
    }

    fn exclusions(&mut self, axes: &[ReadAxis]) {
        let Some(member) = self.root.get("exclude") else { return };
        let Value::Array(nodes) = &member.node.value else { return };
        for node in nodes {
            if node.members().is_some_and(<[_]>::is_empty) {
                self.report(node, "an exclusion without an axis would leave out everything");
            }
            for field in node.members().unwrap_or_default() {
                let key = Node { value: Value::Null, origin: field.key_origin.clone() };
                let Some(axis) = self.axis_named(axes, &field.key, &key) else { continue };
                let labels: Vec<&str> = axis.values.iter().map(|v| v.label.as_str()).collect();
                let given: Vec<&Node> = match &field.node.value {
                    Value::Array(items) => items.iter().collect(),
                    _ => vec![&field.node],
                };
                for label in given {
                    let text = label.as_str().unwrap_or_default();
                    if !labels.contains(&text) {
                        let message = format!("`{}` has no value `{}`", axis.name, shown(text));
                        let help = suggest::help(text, "labels", &labels);
                        self.report_with(label, message, help);
                    }
                }
            }
        }
    }

    fn axis_named<'a>(
        &mut self,
        axes: &'a [ReadAxis],
        name: &str,
        place: &Node,
    ) -> Option<&'a ReadAxis> {
        let found = axes.iter().find(|axis| axis.name == name);
        if found.is_none() {
            let names: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
            let help = suggest::help(name, "axes", &names);
            self.report_with(place, format!("there is no axis `{}`", shown(name)), help);
        }
        found
    }

    fn budget(&mut self) -> Option<Node> {
        let budget = self.file.budget.as_ref()?;
        let place = self.node("budget").clone();
        if budget.steps.is_some() == budget.minutes.is_some() {
            let help = "for example \"budget\": {\"steps\": 5000}";
            self.report_with(&place, "a budget is either `steps` or `minutes`".into(), help);
        }
        budget.steps?;
        place.get("steps").map(|member| member.node.clone())
    }

    fn search(&mut self, axes: &[ReadAxis]) {
        let place = self.node("search").clone();
        let sizes = axes.iter().map(|axis| axis.values.len());
        let all = sizes.fold(1usize, |product, size| product.saturating_mul(size));
        if all > MOST_COMBINATIONS {
            let message =
                format!("the axes have {all} combinations; {MOST_COMBINATIONS} is the most");
            let axes = self.node("axes").clone();
            self.report(&axes, message);
        }
        let minutes = self.file.budget.as_ref().is_some_and(|budget| budget.minutes.is_some());
        match &self.file.search {
            Search::Random { count, .. } if *count as usize > all => {
                let message = format!("{count} combinations are asked for, and there are {all}");
                self.report(&place, message);
            }
            Search::SuccessiveHalving { .. } if minutes => {
                self.report(&place, "successive halving needs a budget in steps, not in minutes");
            }
            _ => {}
        }
    }

    fn pictures(&mut self, axes: &[ReadAxis]) {
        let Some(member) = self.root.get("pictures") else { return };
        let Value::Array(nodes) = &member.node.value else { return };
        for (picture, node) in self.file.pictures.iter().zip(nodes) {
            if let (Some(name), Some(place)) = (&picture.lines, node.get("lines")) {
                self.axis_named(axes, name, &place.node);
            }
            if let Some(Value::Array(places)) = node.get("each").map(|m| &m.node.value) {
                for (name, place) in picture.each.iter().zip(places) {
                    self.axis_named(axes, name, place);
                }
            }
        }
    }
}

fn shown(text: &str) -> String {
    suggest::shorten(text, 60)
}
