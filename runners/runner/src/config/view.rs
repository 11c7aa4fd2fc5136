//! What a JSON schema says about one value, with `$ref` and `allOf` resolved.

use serde_json::{Map, Value as Json};

use super::tree::{self, Node, Value};

/// The keyword that marks a place for a component of a kind.
pub const KIND_KEYWORD: &str = "x-isotropy-kind";

/// References are followed this far before a schema is taken to go in circles.
const MOST_HOPS: usize = 32;

/// A schema and the document that its references point into.
#[derive(Clone, Copy)]
pub(crate) struct Scoped<'s> {
    pub document: &'s Json,
    pub schema: &'s Json,
}

/// A component: its kind and name.
#[derive(Clone, Copy)]
pub(crate) struct Component<'s> {
    pub kind: &'s str,
    pub name: &'s str,
}

/// Everything that must hold of one value.
#[derive(Clone, Default)]
pub(crate) struct View<'s> {
    /// Schemas that all apply; their `anyOf` and `oneOf` are in `groups`, their references have been resolved.
    pub parts: Vec<(&'s Map<String, Json>, &'s Json)>,
    /// Of each group one alternative must hold.
    pub groups: Vec<Vec<Scoped<'s>>>,
    /// The value is a component of this kind.
    pub kind: Option<&'s str>,
    /// The component may be left out as null.
    pub nullable: bool,
    /// Nothing is allowed here.
    pub never: bool,
    /// These are the fields of a component, beside its `"type"`.
    pub component: Option<Component<'s>>,
}

impl<'s> View<'s> {
    /// What a schema says.
    pub fn of(schema: Scoped<'s>) -> Self {
        let mut view = Self::default();
        view.add(schema, 0, true);
        view
    }

    /// What several schemas say together.
    pub fn of_all(schemas: &[Scoped<'s>]) -> Self {
        let mut view = Self::default();
        for schema in schemas {
            view.add(*schema, 0, true);
        }
        view
    }

    /// What a component's own schema says of its fields.
    pub fn of_component(document: &'s Json, component: Component<'s>) -> Self {
        let mut view = Self { component: Some(component), ..Self::default() };
        // A mark on the component's own schema would lead back here for ever.
        view.add(Scoped { document, schema: document }, 0, false);
        view
    }

    /// The view in which one alternative of the first group has been chosen.
    pub fn choose(&self, alternative: Scoped<'s>) -> Self {
        let mut view = self.clone();
        view.groups.remove(0);
        view.add(alternative, 0, true);
        view
    }

    fn add(&mut self, Scoped { document, schema }: Scoped<'s>, hops: usize, heed_kind: bool) {
        if hops > MOST_HOPS {
            return;
        }
        let map = match schema {
            Json::Bool(false) => {
                self.never = true;
                return;
            }
            Json::Object(map) => map,
            _ => return,
        };
        if let (true, Some(kind)) = (heed_kind, map.get(KIND_KEYWORD).and_then(Json::as_str)) {
            self.kind = Some(kind);
            self.nullable |= allows_null(map);
            return;
        }
        self.parts.push((map, document));
        let target = map
            .get("$ref")
            .and_then(Json::as_str)
            .and_then(|reference| resolve(document, reference));
        if let Some(schema) = target {
            self.add(Scoped { document, schema }, hops + 1, heed_kind);
        }
        for schema in array(map, "allOf") {
            self.add(Scoped { document, schema }, hops + 1, heed_kind);
        }
        for keyword in ["anyOf", "oneOf"] {
            match array(map, keyword) {
                [] => {}
                [schema] => self.add(Scoped { document, schema }, hops + 1, heed_kind),
                several => self
                    .groups
                    .push(several.iter().map(|schema| Scoped { document, schema }).collect()),
            }
        }
    }

    /// The names of the JSON types that are allowed; empty if the schema does not say.
    pub fn types(&self) -> Vec<&'s str> {
        if self.kind.is_some() {
            return if self.nullable { vec!["object", "null"] } else { vec!["object"] };
        }
        if self.component.is_some() {
            return vec!["object"];
        }
        for (part, _) in &self.parts {
            match part.get("type") {
                Some(Json::String(name)) => return vec![name],
                Some(Json::Array(names)) => return names.iter().filter_map(Json::as_str).collect(),
                _ => {}
            }
        }
        let values = self.parts.iter().flat_map(|(part, _)| constants(part));
        let mut types: Vec<&str> = values.map(type_of_json).collect();
        types.dedup();
        if types.is_empty() && self.parts.iter().any(|(part, _)| part.contains_key("properties")) {
            types.push("object");
        }
        types
    }

    /// The strings that are allowed, if only certain strings are.
    pub fn strings(&self) -> Option<Vec<&'s str>> {
        let values =
            self.parts.iter().map(|(part, _)| constants(part)).find(|values| !values.is_empty())?;
        values.into_iter().map(Json::as_str).collect()
    }

    /// The schemas of a field, and whether it is declared at all.
    pub fn field(&self, name: &str) -> Vec<Scoped<'s>> {
        let declared = |(part, document): &(&'s Map<String, Json>, &'s Json)| {
            let schema = part.get("properties")?.as_object()?.get(name)?;
            Some(Scoped { document, schema })
        };
        self.parts.iter().filter_map(declared).collect()
    }

    /// The names of the declared fields, in their order.
    pub fn field_names(&self) -> Vec<&'s str> {
        let mut names: Vec<&str> = Vec::new();
        for (part, _) in &self.parts {
            for name in
                part.get("properties").and_then(Json::as_object).into_iter().flat_map(Map::keys)
            {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// The names of the fields that must be there.
    pub fn required(&self) -> Vec<&'s str> {
        let mut names: Vec<&str> = Vec::new();
        for (part, _) in &self.parts {
            for name in array(part, "required").iter().filter_map(Json::as_str) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// What holds of a field that is not declared: `None` if it is forbidden.
    pub fn undeclared(&self, name: &str) -> Option<Vec<Scoped<'s>>> {
        let mut schemas = Vec::new();
        let mut closed = false;
        for (part, document) in &self.parts {
            for (pattern, schema) in
                part.get("patternProperties").and_then(Json::as_object).into_iter().flatten()
            {
                if matches_pattern(pattern, name) {
                    return Some(vec![Scoped { document, schema }]);
                }
            }
            for keyword in ["additionalProperties", "unevaluatedProperties"] {
                match part.get(keyword) {
                    Some(Json::Bool(false)) => closed = true,
                    Some(schema @ Json::Object(_)) => schemas.push(Scoped { document, schema }),
                    _ => {}
                }
            }
        }
        // A component without fields has the schema `{"type": "null"}`, which says nothing about fields.
        let unit = self.component.is_some()
            && self.parts.iter().any(|(part, _)| part.get("type") == Some(&"null".into()));
        if closed || unit { None } else { Some(schemas) }
    }

    /// What holds of an element of an array.
    pub fn item(&self, index: usize) -> View<'s> {
        let mut schemas = Vec::new();
        for (part, document) in &self.parts {
            let schema = array(part, "prefixItems").get(index).or_else(|| part.get("items"));
            // `items: false` after a tuple says the same as `maxItems`, which is reported better.
            schemas.extend(
                schema
                    .filter(|s| **s != Json::Bool(false))
                    .map(|schema| Scoped { document, schema }),
            );
        }
        View::of_all(&schemas)
    }

    /// The one string that a field must have, if the schema fixes it: the tag of a variant.
    pub fn constant(&self, field: &str) -> Option<&'s str> {
        self.field(field).into_iter().find_map(|scoped| {
            match View::of(scoped).strings()?.as_slice() {
                [one] => Some(*one),
                _ => None,
            }
        })
    }
}

/// Whether a value of these types may be this node; a whole number counts as an integer however it is written.
pub(crate) fn type_fits(types: &[&str], node: &Node) -> bool {
    types.is_empty()
        || match &node.value {
            Value::Invalid => true,
            Value::Null => types.contains(&"null"),
            Value::Bool(_) => types.contains(&"boolean"),
            Value::Number(_) => types.contains(&"number") || types.contains(&"integer"),
            Value::String(_) => types.contains(&"string"),
            Value::Array(_) => types.contains(&"array"),
            Value::Object(_) => types.contains(&"object"),
        }
}

/// The values of `const` and `enum`.
pub(crate) fn constants(part: &Map<String, Json>) -> Vec<&Json> {
    part.get("const").into_iter().chain(array(part, "enum")).collect()
}

/// The elements of a keyword that holds an array.
pub(crate) fn array<'s>(part: &'s Map<String, Json>, keyword: &str) -> &'s [Json] {
    part.get(keyword).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

/// Whether a written value is the value of a schema.
pub(crate) fn equals(node: &Node, value: &Json) -> bool {
    match (&node.value, value) {
        (Value::Number(text), Json::Number(number)) => {
            text.parse::<f64>().ok() == number.as_f64()
                && (!tree::is_integer_literal(text)
                    || number.to_string() == *text
                    || number.is_f64())
        }
        _ => node.to_json() == *value,
    }
}

fn type_of_json(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(number) if number.is_f64() => "number",
        Json::Number(_) => "integer",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

fn allows_null(map: &Map<String, Json>) -> bool {
    let is_null = |value: &Json| value.as_str() == Some("null");
    let by_type = map
        .get("type")
        .is_some_and(|t| is_null(t) || t.as_array().is_some_and(|list| list.iter().any(is_null)));
    let by_choice = ["anyOf", "oneOf"].iter().any(|keyword| {
        array(map, keyword).iter().any(|choice| choice.get("type").is_some_and(is_null))
    });
    by_type || by_choice
}

/// The schema that `#/...` points to.
fn resolve<'s>(document: &'s Json, reference: &str) -> Option<&'s Json> {
    let pointer = reference.strip_prefix('#')?;
    document.pointer(pointer).or_else(|| {
        document.pointer(&pointer.replace("%20", " ").replace("%3C", "<").replace("%3E", ">"))
    })
}

/// The patterns that schemars writes for maps with integers as keys; any other pattern matches everything.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match pattern {
        r"^\d+$" => digits(name),
        r"^-?\d+$" => digits(name.strip_prefix('-').unwrap_or(name)),
        _ => true,
    }
}
