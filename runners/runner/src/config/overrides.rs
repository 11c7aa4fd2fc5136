//! The flags `--set path=value`.
//!
//! The path is made of field names and array indices (counted from 0) with points between them: `sampler.steps`,
//! `metrics.0.kernel`. A name that holds a point itself is put in double quotes: `rates."0.999"`. Objects that are
//! missing on the way are created. The value is read as JSON; what is not JSON is taken as a string, so
//! `--set device=cpu` needs no quotes. Flags are applied in their order.
//!
//! Setting a `"type"` to another name makes another component of the object, as in `extends`: the fields that the
//! files gave to the old one are dropped, those that flags gave stay.

use std::sync::Arc;

use super::diagnose::{Diagnostic, Label};
use super::parse;
use super::source::{Source, Span};
use super::suggest::shorten;
use super::tree::{MAX_DEPTH, Member, Node, Value};

/// One step of a path and its bytes in the flag.
struct Step {
    name: String,
    origin: Span,
}

/// A flag that has been read but not applied.
pub struct Override {
    steps: Vec<Step>,
    value: Node,
}

impl Override {
    /// Reads the argument of a `--set`; `order` sorts it among all sources.
    ///
    /// # Errors
    /// A missing `=`, an empty path or name, a quoted name that is not closed, an object or array with mistakes in it.
    pub fn parse(argument: &str, order: usize) -> Result<Self, Vec<Diagnostic>> {
        let source = Source::flag(argument, order);
        let start = Source::FLAG_PREFIX.len();
        let (steps, value_start) = read_path(&source, start).map_err(|problem| vec![problem])?;
        let written = &source.text()[value_start..];
        let parsed = parse::parse_value(&source, value_start);
        let value = match parsed.root {
            Some(node) if parsed.problems.is_empty() => node,
            // A list or object with a slip in it was surely not meant as a string.
            Some(_) if written.starts_with(['{', '[']) => return Err(parsed.problems),
            _ => Node {
                value: Value::String(written.to_owned()),
                origin: Span::new(&source, value_start, source.text().len()),
            },
        };
        if steps.len() + value.depth() > MAX_DEPTH {
            let origin = Span::new(&source, start, value_start);
            return Err(vec![Diagnostic::new(
                origin,
                format!("the path and its value are nested more than {MAX_DEPTH} deep"),
            )]);
        }
        if steps[0].name == "extends" {
            let message = "`extends` belongs into a file, it cannot be set by a flag";
            return Err(vec![Diagnostic::new(steps[0].origin.clone(), message)]);
        }
        Ok(Self { steps, value })
    }

    /// A setting that a file makes (the axis of a sweep): a path in the form of `--set`, written in
    /// the string at `origin`, and a value with its own place.
    ///
    /// # Errors
    /// An empty path or name, a quoted name that is not closed.
    pub(crate) fn at(path: &str, origin: &Span, value: Node) -> Result<Self, Diagnostic> {
        let fail = |message: &str| {
            Diagnostic::new(origin.clone(), message)
                .with_help("a path is made of names with points between them: \"sampler.steps\"")
        };
        let mut steps = Vec::new();
        let mut rest = path;
        loop {
            let (name, after) = match rest.strip_prefix('"') {
                Some(quoted) => {
                    quoted.split_once('"').ok_or_else(|| fail("a quoted name is not closed"))?
                }
                None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
            };
            if name.trim().is_empty() {
                return Err(fail(if path.is_empty() {
                    "the path is empty"
                } else {
                    "the path has an empty name"
                }));
            }
            steps.push(Step { name: name.trim().to_owned(), origin: origin.clone() });
            match after.strip_prefix('.') {
                Some(next) => rest = next,
                None if after.is_empty() => break,
                None => return Err(fail("expected `.` after the quoted name")),
            }
        }
        if steps.len() + value.depth() > MAX_DEPTH {
            return Err(fail(&format!(
                "the path and its value are nested more than {MAX_DEPTH} deep"
            )));
        }
        Ok(Self { steps, value })
    }

    /// The first name of the path.
    pub(crate) fn root_name(&self) -> &str {
        &self.steps[0].name
    }

    /// Whether it changes which component an object is.
    pub(crate) fn sets_type(&self) -> bool {
        self.steps.last().is_some_and(|step| step.name == "type")
    }

    /// Puts the value into the tree.
    ///
    /// # Errors
    /// The path leads into a number, string or boolean, or to an element that an array does not have.
    pub fn apply(self, root: &mut Node) -> Result<(), Diagnostic> {
        let last = self.steps.len() - 1;
        let mut node = root;
        let mut walked = String::new();
        for (i, step) in self.steps.into_iter().enumerate() {
            if i == last {
                forget_other_type(node, &step.name, &self.value);
            }
            node = enter(node, step, &mut walked)?;
        }
        *node = self.value;
        Ok(())
    }
}

/// The steps of a path and the offset after its `=`.
fn read_path(source: &Arc<Source>, start: usize) -> Result<(Vec<Step>, usize), Diagnostic> {
    let text = source.text();
    let form = "the form is --set path=value, for example --set sampler.steps=100";
    let fail = |from: usize, to: usize, message: String| {
        Err(Diagnostic::new(Span::new(source, from, to), message).with_help(form))
    };
    let mut steps = Vec::new();
    let mut at = start;
    loop {
        let begin = at;
        let name = if text[at..].starts_with('"') {
            let Some(length) = text[at + 1..].find('"') else {
                return fail(begin, text.len(), "this quoted name is not closed".into());
            };
            at += length + 2;
            text[begin + 1..at - 1].to_owned()
        } else {
            at += text[at..].find(['.', '=']).unwrap_or(text.len() - at);
            text[begin..at].trim().to_owned()
        };
        let next = text[at..].chars().next();
        if next.is_none() {
            return fail(
                start,
                text.len(),
                format!("`{}` has no `=`", shorten(&text[start..], 60)),
            );
        }
        if name.is_empty() {
            let message = if steps.is_empty() && next == Some('=') {
                "there is no path before `=`"
            } else {
                "the path has an empty name"
            };
            return fail(begin, at + 1, message.into());
        }
        steps.push(Step { name, origin: Span::new(source, begin, at) });
        at += next.map_or(0, char::len_utf8);
        match next {
            Some('=') => return Ok((steps, at)),
            Some('.') => {}
            _ => return fail(begin, at, "expected `.` or `=` after the quoted name".into()),
        }
    }
}

/// The node one step below; fields that are missing are created.
fn enter<'a>(
    node: &'a mut Node,
    step: Step,
    walked: &mut String,
) -> Result<&'a mut Node, Diagnostic> {
    let whole =
        if walked.is_empty() { "the configuration".to_owned() } else { format!("`{walked}`") };
    let found = node.describe();
    let place = node.mark();
    if !walked.is_empty() {
        walked.push('.');
    }
    walked.push_str(&shorten(&step.name, 40));
    // An optional field that is switched off, and what could not be read, become objects.
    if matches!(node.value, Value::Null | Value::Invalid) {
        *node = Node { value: Value::Object(Vec::new()), origin: step.origin.clone() };
    }
    let refuse = |message: String| {
        let mut diagnostic = Diagnostic::new(step.origin.clone(), message);
        diagnostic
            .labels
            .push(Label { span: place.clone(), text: format!("{whole} is written here") });
        Err(diagnostic)
    };
    match &mut node.value {
        Value::Object(members) => {
            let at = match members.iter().position(|member| member.key == step.name) {
                Some(at) => at,
                None => {
                    let empty = Node { value: Value::Null, origin: step.origin.clone() };
                    members.push(Member {
                        key: step.name,
                        key_origin: step.origin.clone(),
                        node: empty,
                    });
                    members.len() - 1
                }
            };
            Ok(&mut members[at].node)
        }
        Value::Array(items) => {
            let count = items.len();
            match step.name.parse::<usize>() {
                Ok(index) if index < count => Ok(&mut items[index]),
                Ok(index) => refuse(match count {
                    0 => format!("{whole} is an empty array, it has no element {index}"),
                    1 => format!("{whole} has one element, index 0; there is no index {index}"),
                    _ => format!(
                        "{whole} has {count} elements, index 0 to {}; there is no index {index}",
                        count - 1
                    ),
                }),
                Err(_) => refuse(format!(
                    "{whole} is an array; `{}` is not an index",
                    shorten(&step.name, 40)
                )),
            }
        }
        _ => refuse(format!("{whole} is {found} and has no field `{}`", shorten(&step.name, 40))),
    }
}

/// Drops what the files say about a component when a flag makes another one of it.
fn forget_other_type(node: &mut Node, field: &str, value: &Node) {
    let (Value::Object(members), "type", Some(new)) = (&mut node.value, field, value.as_str())
    else {
        return;
    };
    let old =
        members.iter().find(|member| member.key == "type").and_then(|member| member.node.as_str());
    if old.is_some_and(|old| old != new) {
        members.retain(|member| member.key == "type" || member.node.touched_by_flag());
    }
}
