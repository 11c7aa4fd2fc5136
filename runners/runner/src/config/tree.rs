//! The tree of a configuration: JSON whose every node knows where it was written.

use super::source::Span;

/// Objects and arrays may be nested this deep.
pub const MAX_DEPTH: usize = 128;

/// A file may hold this many values; it is what keeps a check within milliseconds whatever the file holds.
pub const MAX_VALUES: usize = 20_000;

/// A value and where it was written.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Its bytes in a file or flag.
    pub origin: Span,
}

/// A JSON value that keeps numbers as they were written.
#[derive(Clone, Debug)]
pub enum Value {
    /// Something that could not be read and has been reported already: no further complaint is made about it.
    Invalid,
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number in the grammar of JSON, as written.
    Number(String),
    /// A string with its escapes resolved.
    String(String),
    /// An array.
    Array(Vec<Node>),
    /// An object in the order in which it was written, without duplicates.
    Object(Vec<Member>),
}

/// A field of an object.
#[derive(Clone, Debug)]
pub struct Member {
    /// The name.
    pub key: String,
    /// Where the name was written.
    pub key_origin: Span,
    /// The value.
    pub node: Node,
}

impl Node {
    /// The field `key`, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Member> {
        self.members()?.iter().find(|member| member.key == key)
    }

    /// The fields, if this is an object.
    pub fn members(&self) -> Option<&[Member]> {
        match &self.value {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The node at a path of names and array indices, or the deepest one on the way that exists.
    ///
    /// The second result says whether the whole path was found.
    pub fn descend<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> (&Node, bool) {
        let mut node = self;
        for step in path {
            let next = match &node.value {
                Value::Object(_) => node.get(step).map(|member| &member.node),
                Value::Array(items) => step.parse::<usize>().ok().and_then(|i| items.get(i)),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => return (node, false),
            }
        }
        (node, true)
    }

    /// The node at a path of names and array indices, to change it.
    pub(crate) fn descend_mut<'a>(
        &mut self,
        path: impl IntoIterator<Item = &'a str>,
    ) -> Option<&mut Node> {
        path.into_iter().try_fold(self, |node, step| match &mut node.value {
            Value::Object(members) => {
                members.iter_mut().find(|member| member.key == step).map(|member| &mut member.node)
            }
            Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Whether this node or one below it was written in a `--set` flag.
    pub(crate) fn touched_by_flag(&self) -> bool {
        self.origin.source.is_flag()
            || match &self.value {
                Value::Array(items) => items.iter().any(Node::touched_by_flag),
                Value::Object(members) => members.iter().any(|m| m.node.touched_by_flag()),
                _ => false,
            }
    }

    /// How deep objects and arrays are nested in this node (0 for a scalar).
    pub(crate) fn depth(&self) -> usize {
        match &self.value {
            Value::Array(items) => 1 + items.iter().map(Node::depth).max().unwrap_or(0),
            Value::Object(members) => 1 + members.iter().map(|m| m.node.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// The same value for serde. Integers of 64 bits stay exact, other numbers become the nearest `f64`.
    ///
    /// The field `"type"` comes first in its object: typetag reads the fields before it into a buffer, and the paths
    /// of its errors end there.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Invalid | Value::Null => serde_json::Value::Null,
            Value::Bool(value) => serde_json::Value::Bool(*value),
            Value::Number(text) => number_to_json(text),
            Value::String(text) => serde_json::Value::String(text.clone()),
            Value::Array(items) => {
                serde_json::Value::Array(items.iter().map(Node::to_json).collect())
            }
            Value::Object(members) => {
                let (tag, others): (Vec<_>, Vec<_>) = members.iter().partition(|m| m.key == "type");
                let fields = tag.into_iter().chain(others);
                serde_json::Value::Object(
                    fields.map(|m| (m.key.clone(), m.node.to_json())).collect(),
                )
            }
        }
    }

    /// The value in words for a message: "the string `abc`", "an array of 3".
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Invalid => "something unreadable".into(),
            Value::Null => "null".into(),
            Value::Bool(value) => value.to_string(),
            Value::Number(text) => format!("the number {}", super::suggest::shorten(text, 40)),
            Value::String(text) => format!("the string \"{}\"", super::suggest::shorten(text, 40)),
            Value::Array(items) if items.is_empty() => "an empty array".into(),
            Value::Array(items) => format!("an array of {}", items.len()),
            Value::Object(_) => "an object".into(),
        }
    }

    /// What to underline: a scalar whole, of objects and arrays the bracket.
    pub(crate) fn mark(&self) -> Span {
        match &self.value {
            Value::Array(_) | Value::Object(_) => self.origin.first(),
            _ => self.origin.clone(),
        }
    }
}

/// Whether the text of a number is an integer as JSON libraries see it: no point and no exponent.
pub(crate) fn is_integer_literal(text: &str) -> bool {
    !text.contains(['.', 'e', 'E'])
}

fn number_to_json(text: &str) -> serde_json::Value {
    // -0 is the float negative zero, as in serde_json.
    if is_integer_literal(text) && text != "-0" {
        if let Ok(value) = text.parse::<u64>() {
            return value.into();
        }
        if let Ok(value) = text.parse::<i64>() {
            return value.into();
        }
    }
    // Numbers beyond f64 are refused before a tree is turned into a value, so Null stands for nothing here.
    text.parse::<f64>()
        .ok()
        .and_then(serde_json::Number::from_f64)
        .map_or(serde_json::Value::Null, Into::into)
}
