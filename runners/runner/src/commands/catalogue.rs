//! `runner list`, `runner describe`, `runner schema`.

use crate::catalogue::Catalogue;
use crate::config::Lookup;
use crate::experiment::Experiment;
use crate::output::say;
use crate::run::place;
use isotropy_core::registry::KINDS;
use isotropy_core::{Component, Error, Result};
use isotropy_data::write::write_whole;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// Lists components, all or of one kind.
///
/// # Errors
/// When there is no such kind.
pub fn list(kind: Option<&str>, as_json: bool) -> Result<()> {
    let catalogue = Catalogue::new()?;
    if let Some(kind) = kind
        && !KINDS.contains(&kind)
    {
        return Err(Error::config("", format!("there is no kind '{kind}'"))
            .with_help(format!("kinds: {}", KINDS.join(", "))));
    }
    let chosen: Vec<&&Component> =
        catalogue.components().iter().filter(|c| kind.is_none_or(|kind| c.kind == kind)).collect();
    if as_json {
        let array: Vec<Value> = chosen
            .iter()
            .map(|c| {
                json!({"kind": c.kind, "name": c.name, "summary": c.summary,
                       "crate": c.crate_name, "version": c.version})
            })
            .collect();
        say!("{}", pretty(&Value::Array(array))?);
        return Ok(());
    }
    let width = chosen.iter().map(|c| c.name.len()).max().unwrap_or(0);
    let mut last = "";
    for component in chosen {
        if component.kind != last {
            say!("{}{}", if last.is_empty() { "" } else { "\n" }, component.kind);
            last = component.kind;
        }
        say!("  {:width$}  {}", component.name, component.summary);
    }
    Ok(())
}

/// Describes one component.
///
/// # Errors
/// When there is none of that kind and name.
pub fn describe(kind: &str, name: &str) -> Result<()> {
    let catalogue = Catalogue::new()?;
    let component = catalogue.find(kind, name).ok_or_else(|| {
        let names = catalogue.names(kind);
        let help = if names.is_empty() {
            format!("kinds: {}", KINDS.join(", "))
        } else {
            format!("components of kind {kind}: {}", names.join(", "))
        };
        Error::config("", format!("there is no {kind} '{name}'")).with_help(help)
    })?;
    say!("{}", description(component, &catalogue)?.trim_end_matches('\n'));
    Ok(())
}

/// All components as a Markdown page.
///
/// # Errors
/// When a component's example is not JSON.
pub fn describe_all() -> Result<()> {
    let catalogue = Catalogue::new()?;
    say!("# Components\n");
    say!("Made by `runner describe --all` from the components themselves.");
    let mut last = "";
    for component in catalogue.components() {
        if component.kind != last {
            say!("\n## {}", component.kind);
            last = component.kind;
        }
        say!("\n### {}\n", component.name);
        let text = description(component, &catalogue)?;
        // The first line repeats the heading.
        say!("{}", text.split_once('\n').map_or("", |(_, rest)| rest.trim()));
    }
    Ok(())
}

fn description(component: &Component, catalogue: &Catalogue) -> Result<String> {
    let schema = catalogue
        .schema(component.kind, component.name)
        .ok_or_else(|| Error::Other(format!("{} has no schema", component.name)))?;
    let mut text = String::new();
    let mut line = |s: String| {
        let _ = writeln!(text, "{s}");
    };
    line(format!("{} {}", component.kind, component.name));
    line(format!(
        "{}. From `{}` {}.\n",
        capital(component.summary),
        component.crate_name,
        component.version
    ));
    if let Some(long) = schema["description"].as_str() {
        line(format!("{long}\n"));
    }
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object();
    for (name, property) in properties.into_iter().flatten() {
        let mut facts = vec![type_of(property, &schema)];
        match property.get("default") {
            Some(default) => facts.push(format!("default `{default}`")),
            None if required.contains(&name.as_str()) => facts.push("required".into()),
            None => {}
        }
        for (key, sign) in [
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("exclusiveMaximum", "<"),
        ] {
            if let Some(bound) = property.get(key).filter(|b| !b.is_null()) {
                facts.push(format!("{sign} {bound}"));
            }
        }
        let about = property["description"].as_str().unwrap_or("").replace('\n', " ");
        line(format!("- `{name}` ({}): {about}", facts.join(", ")));
    }
    let example: Value = serde_json::from_str(component.example).map_err(|e| {
        Error::Other(format!("example of {} {}: {e}", component.kind, component.name))
    })?;
    line(format!("\n```json\n{}\n```", pretty(&example)?));
    Ok(text)
}

fn type_of(property: &Value, root: &Value) -> String {
    if let Some(kind) = property["x-isotropy-kind"].as_str() {
        return format!("a {kind}");
    }
    if let Some(path) = property["$ref"].as_str() {
        let name = path.trim_start_matches("#/$defs/");
        return type_of(&root["$defs"][name], root);
    }
    if let Some(alternatives) = property["anyOf"].as_array().or(property["oneOf"].as_array()) {
        let names: Vec<String> = alternatives.iter().map(|a| type_of(a, root)).collect();
        return names.join(" or ");
    }
    if let Some(value) = property.get("const") {
        return format!("`{value}`");
    }
    if let Some(values) = property["enum"].as_array() {
        return values.iter().map(|v| format!("`{v}`")).collect::<Vec<_>>().join(" or ");
    }
    match &property["type"] {
        Value::String(name) if name == "array" => {
            format!("list of {}", type_of(&property["items"], root))
        }
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or ")
        }
        _ => "any".into(),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// Prints or writes the JSON schema of experiment files.
///
/// # Errors
/// When the file cannot be written, or is there and may not be replaced.
pub fn schema(out: Option<&Path>, replace: bool) -> Result<()> {
    if let Some(path) = out {
        place::try_file(path, replace)?;
    }
    let generator = SchemaSettings::draft2020_12().into_generator();
    let schema = generator.into_root_schema_for::<Experiment>();
    let mut text = pretty(schema.as_value())?;
    text.push('\n');
    match out {
        Some(path) => write_whole(path, text),
        None => {
            say!("{}", text.trim_end_matches('\n'));
            Ok(())
        }
    }
}

fn pretty(value: &Value) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|error| Error::Other(error.to_string()))
}
