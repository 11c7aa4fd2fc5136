//! Short names of axes and of their values.

use super::file::Axis;
use crate::config::suggest;
use crate::config::tree::{Node, Value};

/// The name of an axis: its own, else the shortest end of its path that no other axis has.
pub fn axis_name(axis: &Axis, all: &[Axis]) -> String {
    if let Some(name) = &axis.name {
        return name.clone();
    }
    let full = |axis: &Axis| match (&axis.path, &axis.paths, &axis.presets) {
        (Some(path), _, _) => path.clone(),
        (_, Some(paths), _) => paths.first().cloned().unwrap_or_default(),
        _ => "preset".to_owned(),
    };
    let short = |axis: &Axis| {
        let path = full(axis);
        let path = path.strip_suffix(".type").unwrap_or(&path);
        path.rsplit('.').next().unwrap_or(path).to_owned()
    };
    let same = all.iter().filter(|a| a.name.is_none() && short(a) == short(axis)).count();
    if same > 1 { full(axis) } else { short(axis) }
}

/// A short name for a value: its text, the name of the component, or its elements.
pub fn label_of(node: &Node) -> String {
    let text = match &node.value {
        Value::String(text) | Value::Number(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Null | Value::Invalid => "null".into(),
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Array(items) => items.iter().map(label_of).collect::<Vec<_>>().join("-"),
        Value::Object(_) => match node.get("type").and_then(|tag| tag.node.as_str()) {
            Some(name) => name.to_owned(),
            None => "object".into(),
        },
    };
    let keep = |c: char| if is_label_character(c) { c } else { '-' };
    suggest::shorten(&text, 40).chars().map(keep).collect()
}

/// The number that a value is.
pub fn number_of(node: &Node) -> Option<f64> {
    match &node.value {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
}

fn is_label_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._+-".contains(c)
}

/// Whether a text can be a label: letters, digits and `._+-`, not beginning with a point.
pub fn is_label(text: &str) -> bool {
    let first = text.chars().next();
    first.is_some_and(|c| c != '.') && text.chars().all(is_label_character)
}
