//! A run is tied to its data: what `manifest.json` says of them against what has been read now.

use super::RunFolder;
use super::folder::read_json;
use isotropy_core::{Dataset, Error, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Names in a message at most.
const NAMED: usize = 5;

/// The keys of the manifest that describe the data.
const KEYS: [&str; 2] = ["data", "data_facts"];

/// What a manifest says of the data: name and digest of every file, in their order, and facts.
pub fn describe(dataset: &dyn Dataset) -> Value {
    let digests = dataset.digests();
    let digests = digests.iter().map(|(name, digest)| json!({"file": name, "sha256": digest}));
    json!({
        "data": digests.collect::<Vec<_>>(),
        "data_facts": dataset.facts().into_iter().collect::<BTreeMap<_, _>>(),
    })
}

/// Data that are not those that a run was made with.
#[derive(Debug)]
pub struct Change {
    dataset: String,
    what: String,
    before: Value,
    after: Value,
}

impl Change {
    /// What has changed since the manifest was written, if anything has; `name` is the data set's.
    pub fn find(manifest: &Value, dataset: &dyn Dataset, name: &str) -> Option<Self> {
        let after = describe(dataset);
        let before: Value =
            KEYS.iter().map(|key| (key.to_string(), manifest[key].clone())).collect();
        let what = differences(&before, &after);
        if what.is_empty() {
            return None;
        }
        Some(Self { dataset: name.to_string(), what: what.join("; "), before, after })
    }

    /// The error that refuses to go on, unless changed data are `accepted`.
    ///
    /// # Errors
    /// A data error that names the data set and what changed.
    pub fn unless(self, accepted: bool, run: &Path) -> Result<Self> {
        if accepted {
            return Ok(self);
        }
        let message = format!(
            "the data of '{}' are not those that {} was made with: {}",
            self.dataset,
            run.display(),
            self.what
        );
        Err(Error::data(
            message,
            "bring the data back, start over in another folder, or go on with \
             --accept-changed-data, which writes the change down in the manifest",
        ))
    }

    /// Writes the change into a manifest; `command` is what goes on with the new data.
    pub fn note(&self, manifest: &mut Value, command: &str) {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let entry = json!({
            "command": command,
            "accepted": seconds,
            "what": self.what,
            "before": self.before,
            "after": self.after,
        });
        match manifest["data_changes"].as_array_mut() {
            Some(changes) => changes.push(entry),
            None => manifest["data_changes"] = json!([entry]),
        }
    }

    /// Writes the change into the manifest of a folder. Where training goes on, the new data are
    /// from now on those of the run.
    ///
    /// # Errors
    /// When the manifest cannot be read or written.
    pub fn note_in(&self, folder: &RunFolder, command: &str, training: bool) -> Result<()> {
        let mut manifest = read_json(&folder.join("manifest.json"))?;
        self.note(&mut manifest, command);
        if training {
            KEYS.iter().for_each(|key| manifest[key] = self.after[key].clone());
        }
        folder.write_json("manifest.json", &manifest)
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "the data of '{}' have changed: {}", self.dataset, self.what)
    }
}

/// What differs, in words. Manifests of older versions have no facts; then nothing is said of them.
fn differences(before: &Value, after: &Value) -> Vec<String> {
    let mut found = files(&before["data"], &after["data"]);
    if let (Some(old), Some(new)) =
        (before["data_facts"].as_object(), after["data_facts"].as_object())
    {
        let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
        for name in names.filter(|name| old.get(*name) != new.get(*name)) {
            let show = |value: Option<&Value>| value.map_or("not counted".into(), Value::to_string);
            let (old, new) = (show(old.get(name)), show(new.get(name)));
            found.push(format!("{name} was {old} and is {new}"));
        }
    }
    found
}

fn files(before: &Value, after: &Value) -> Vec<String> {
    let list = |value: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let entries = value.as_array().into_iter().flatten();
        entries.map(|entry| (text(&entry["file"]), text(&entry["sha256"]))).collect()
    };
    let (old, new) = (list(before), list(after));
    if old == new {
        return Vec::new();
    }
    let names = |a: &[(String, String)], keep: &dyn Fn(&(String, String)) -> bool| -> Vec<String> {
        a.iter().filter(|entry| keep(entry)).map(|(name, _)| name.clone()).collect()
    };
    let has = |all: &[(String, String)], name: &str| all.iter().any(|(other, _)| other == name);
    let parts = [
        ("changed", names(&new, &|entry| has(&old, &entry.0) && !old.contains(entry))),
        ("added", names(&new, &|entry| !has(&old, &entry.0))),
        ("gone", names(&old, &|entry| !has(&new, &entry.0))),
    ];
    let found: Vec<String> = parts
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| {
            let more = names.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{what}: {}{more}", names[..names.len().min(NAMED)].join(", "))
        })
        .collect();
    if found.is_empty() { vec!["the files come in another order".to_string()] } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_named() {
        let data = |files: &[(&str, &str)], missing: f64| {
            let files = files.iter().map(|(file, digest)| json!({"file": file, "sha256": digest}));
            json!({"data": files.collect::<Vec<_>>(), "data_facts": {"missing values": missing}})
        };
        let old = data(&[("a", "1"), ("b", "2")], 0.0);
        assert!(differences(&old, &old).is_empty());
        for (new, words) in [
            (data(&[("a", "1"), ("b", "3")], 0.0), "changed: b"),
            (data(&[("a", "1"), ("b", "2"), ("c", "2")], 0.0), "added: c"),
            (data(&[("a", "1")], 0.0), "gone: b"),
            (data(&[("b", "2"), ("a", "1")], 0.0), "another order"),
            (data(&[("b", "1"), ("a", "2")], 0.0), "changed: b, a"),
            (data(&[("a", "1"), ("b", "2")], 3.0), "missing values was 0.0 and is 3.0"),
        ] {
            assert!(differences(&old, &new).join("; ").contains(words), "{new}");
        }
    }
}
