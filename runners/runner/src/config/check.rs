//! Checks a configuration against the schemas of the experiment and of the components that it names.
//!
//! The walk goes along the tree and the schemas (as schemars 1.2 writes them) together and does not stop at a mistake.
//! Where a schema is marked with [`KIND_KEYWORD`], the value must be an object whose `"type"`, wherever it stands in
//! the object, names a component of that kind, and the walk goes on in the component's own schema.
//!
//! Checked are `type`, `properties`, `required`, `additionalProperties` and `unevaluatedProperties`,
//! `patternProperties` of integer keys, `items`, `prefixItems`, `minItems`, `maxItems`, `enum`, `const`, the four
//! bounds of numbers and those of the integer formats and `f32`, `minLength`, `maxLength`,
//! `pattern`, `$ref`, `allOf`, `anyOf` and `oneOf` (read like `anyOf`). Other keywords are left to
//! serde.

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::Value as Json;

use super::diagnose::{Diagnostic, MOST_SHOWN};
use super::suggest::{self, shorten};
use super::tree::{self, Member, Node, Value};
use super::view::{self, Component, Scoped, View};

pub use super::view::KIND_KEYWORD;

mod choice;
mod scalar;

/// The catalogue of components as the check sees it.
pub trait Lookup {
    /// The names of all components of a kind, sorted.
    fn names(&self, kind: &str) -> Vec<String>;

    /// The schema of a component's fields; the tag `"type"` may be among them or not.
    fn schema(&self, kind: &str, name: &str) -> Option<Json>;
}

/// How many values are looked at before the check gives up and leaves the rest to serde: alternatives within alternatives
/// multiply, and an answer must come at once.
const BUDGET: usize = 200_000;

/// What an alternative takes out of the budget.
const ALTERNATIVE_COST: usize = 10;

/// Checks a whole configuration. The fields `schema` and `$schema` of the outermost object are left out.
///
/// Numbers beyond `f64` are not reported here (see [`overflows`]).
pub fn check(root: &Node, schema: &Json, lookup: &dyn Lookup) -> Vec<Diagnostic> {
    check_and_find_paths(root, schema, lookup).0
}

/// As [`check`]; also tells where strings stand that the schemas mark as paths.
pub(crate) fn check_and_find_paths(
    root: &Node,
    schema: &Json,
    lookup: &dyn Lookup,
) -> (Vec<Diagnostic>, Vec<Vec<String>>) {
    let mut checker = Checker {
        lookup,
        schemas: HashMap::new(),
        path: Vec::new(),
        found: Vec::new(),
        paths: Vec::new(),
        budget: BUDGET,
    };
    checker.node(root, &View::of(Scoped { document: schema, schema }));
    (checker.found, checker.paths)
}

/// Numbers that do not fit into 64-bit floats, anywhere in the tree.
pub fn overflows(node: &Node, found: &mut Vec<Diagnostic>) {
    match &node.value {
        Value::Number(text) if !text.parse::<f64>().is_ok_and(f64::is_finite) => {
            let message = format!("the number {} is too large: beyond 1.8e308", shorten(text, 40));
            found.push(Diagnostic::new(node.origin.clone(), message));
        }
        Value::Array(items) => items.iter().for_each(|item| overflows(item, found)),
        Value::Object(members) => members.iter().for_each(|member| overflows(&member.node, found)),
        _ => {}
    }
}

struct Checker<'l> {
    lookup: &'l dyn Lookup,
    schemas: HashMap<(String, String), Option<Rc<Json>>>,
    path: Vec<String>,
    found: Vec<Diagnostic>,
    /// Where strings stand that are paths.
    paths: Vec<Vec<String>>,
    budget: usize,
}

impl Checker<'_> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    /// The path of the current value as `--set` takes it, in backquotes.
    fn place(&self) -> String {
        if self.path.is_empty() {
            "the configuration".into()
        } else {
            format!("`{}`", shorten(&self.path.join("."), 100))
        }
    }

    /// Notes that an alternative is tried, which costs more than a look at a value.
    fn spend_alternative(&mut self) {
        self.budget = self.budget.saturating_sub(ALTERNATIVE_COST);
    }

    /// Whether to stop: enough mistakes to show, or the budget is spent.
    fn exhausted(&mut self) -> bool {
        self.budget = self.budget.saturating_sub(1);
        self.budget == 0 || self.found.len() > 2 * MOST_SHOWN
    }

    fn node(&mut self, node: &Node, view: &View<'_>) {
        if matches!(node.value, Value::Invalid) || self.exhausted() {
            return;
        }
        if view.never {
            let message = format!("nothing may stand at {}", self.place());
            return self.report(Diagnostic::new(node.mark(), message));
        }
        if let Some(kind) = view.kind {
            if !(view.nullable && matches!(node.value, Value::Null)) {
                self.component(node, kind);
            }
            return;
        }
        if !view.groups.is_empty() {
            return self.alternatives(node, view);
        }
        let types = view.types();
        if view.component.is_none() && !self.type_holds(node, view, &types) {
            return;
        }
        self.constants(node, view);
        match &node.value {
            Value::Number(text) => self.number(node, text, view),
            Value::String(text) => self.string(node, text, view),
            Value::Array(items) => self.items(node, items, view),
            Value::Object(members) => self.fields(node, members, view),
            Value::Invalid | Value::Null | Value::Bool(_) => {}
        }
    }

    /// An object whose `"type"` names a component.
    fn component(&mut self, node: &Node, kind: &str) {
        let names = self.lookup.names(kind);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let what = format!("{kind} names");
        if !matches!(node.value, Value::Object(_)) {
            let message = format!(
                "{} must be a {kind}, an object with a \"type\", found {}",
                self.place(),
                node.describe()
            );
            let help = match node.as_str() {
                Some(name) if names.contains(&name) => format!("write {{ \"type\": \"{name}\" }}"),
                Some(name) => suggest::help(name, &what, &names),
                None => format!("valid {what}: {}", suggest::list(&names)),
            };
            return self.report(Diagnostic::new(node.mark(), message).with_help(help));
        }
        let Some(tag) = node.get("type") else {
            let message = format!("missing \"type\" in {}: which {kind}?", self.place());
            let help = format!("add \"type\": one of {}", suggest::list(&names));
            return self.report(Diagnostic::new(node.mark(), message).with_help(help));
        };
        let Some(name) = tag.node.as_str() else {
            if !matches!(tag.node.value, Value::Invalid) {
                let message =
                    format!("\"type\" must be the name of a {kind}, found {}", tag.node.describe());
                let help = format!("valid {what}: {}", suggest::list(&names));
                self.report(Diagnostic::new(tag.node.mark(), message).with_help(help));
            }
            return;
        };
        let Some(schema) = self.schema(kind, name, &names) else {
            let message = format!("unknown {kind} `{}`", shorten(name, 60));
            let help = suggest::help(name, &what, &names);
            return self.report(Diagnostic::new(tag.node.origin.clone(), message).with_help(help));
        };
        self.node(node, &View::of_component(&schema, Component { kind, name }));
    }

    /// The schema of a component, built once.
    fn schema(&mut self, kind: &str, name: &str, names: &[&str]) -> Option<Rc<Json>> {
        if !names.contains(&name) {
            return None;
        }
        let key = (kind.to_owned(), name.to_owned());
        let lookup = self.lookup;
        self.schemas.entry(key).or_insert_with(|| lookup.schema(kind, name).map(Rc::new)).clone()
    }

    fn fields(&mut self, node: &Node, members: &[Member], view: &View<'_>) {
        let is_root = self.path.is_empty();
        let left_out = |name: &str| {
            (view.component.is_some() && name == "type")
                || (is_root && (name == "schema" || name == "$schema"))
        };
        let owner = match view.component {
            Some(component) => format!("{} `{}`", component.kind, component.name),
            None => self.place(),
        };
        for member in members {
            if left_out(&member.key) {
                continue;
            }
            if self.exhausted() {
                break;
            }
            let mut schemas = view.field(&member.key);
            if schemas.is_empty() {
                match view.undeclared(&member.key) {
                    Some(others) => schemas = others,
                    None => {
                        self.unknown_field(member, view, &owner, &left_out);
                        continue;
                    }
                }
            }
            self.path.push(member.key.clone());
            self.node(&member.node, &View::of_all(&schemas));
            self.path.pop();
        }
        let missing: Vec<&str> = view
            .required()
            .into_iter()
            .filter(|name| !left_out(name) && node.get(name).is_none())
            .collect();
        if !missing.is_empty() {
            let plural = if missing.len() == 1 { "field" } else { "fields" };
            let message = format!("missing {plural} {} in {owner}", suggest::list(&missing));
            let help = missing
                .iter()
                .map(|name| explain(name, &view.field(name)))
                .collect::<Vec<_>>()
                .join("; ");
            // In a component its name says best which object is meant.
            let place = match node.get("type") {
                Some(tag) if view.component.is_some() => tag.node.origin.clone(),
                _ => node.mark(),
            };
            self.report(Diagnostic::new(place, message).with_help(help));
        }
    }

    fn unknown_field(
        &mut self,
        member: &Member,
        view: &View<'_>,
        owner: &str,
        left_out: &dyn Fn(&str) -> bool,
    ) {
        let names: Vec<&str> =
            view.field_names().into_iter().filter(|name| !left_out(name)).collect();
        let message = format!("unknown field `{}` in {owner}", shorten(&member.key, 60));
        let help = match names.as_slice() {
            [] => format!("{owner} has no fields"),
            names => suggest::help(&member.key, "fields", names),
        };
        self.report(Diagnostic::new(member.key_origin.clone(), message).with_help(help));
    }

    fn items(&mut self, node: &Node, items: &[Node], view: &View<'_>) {
        let bound =
            |keyword: &str| view.parts.iter().find_map(|(part, _)| part.get(keyword)?.as_u64());
        let (least, most) = (bound("minItems"), bound("maxItems"));
        let count = items.len() as u64;
        if least.is_some_and(|least| count < least) || most.is_some_and(|most| count > most) {
            let range = match (least, most) {
                (Some(least), Some(most)) if least == most => format!("exactly {least}"),
                (Some(least), Some(most)) => format!("{least} to {most}"),
                (Some(least), None) => format!("at least {least}"),
                (None, most) => format!("at most {}", most.unwrap_or_default()),
            };
            let message = format!("{} must have {range} elements, found {count}", self.place());
            self.report(Diagnostic::new(node.mark(), message));
        }
        let tuple = view
            .parts
            .iter()
            .map(|(part, _)| view::array(part, "prefixItems").len())
            .max()
            .unwrap_or(0);
        let rest = view.item(usize::MAX);
        for (i, item) in items.iter().enumerate() {
            if self.exhausted() {
                return;
            }
            self.path.push(i.to_string());
            if i < tuple {
                self.node(item, &view.item(i))
            } else {
                self.node(item, &rest)
            }
            self.path.pop();
        }
    }
}

/// What a field takes, with the first sentence of its description: `` `steps` (an integer): Number of steps ``.
fn explain(name: &str, schemas: &[Scoped<'_>]) -> String {
    let view = View::of_all(schemas);
    let expected = choice::expected(&view);
    let description = view.parts.iter().find_map(|(part, _)| part.get("description")?.as_str());
    let first = description
        .and_then(|text| text.split(['\n']).next())
        .unwrap_or("")
        .trim()
        .trim_end_matches('.');
    match (expected.as_str(), first) {
        ("", "") => format!("add \"{name}\""),
        ("", first) => format!("add \"{name}\": {first}"),
        (expected, "") => format!("add \"{name}\": {expected}"),
        (expected, first) => format!("add \"{name}\": {expected} ({first})"),
    }
}

/// Whether the text of a number is an integer, and which; `None` beyond 128 bits.
fn integer(text: &str) -> Option<i128> {
    if tree::is_integer_literal(text) { text.parse().ok() } else { None }
}
