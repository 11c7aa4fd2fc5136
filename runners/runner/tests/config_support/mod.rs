//! A small experiment with two kinds of components, as the tests of configurations see it.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use runner::config::{self, Diagnostics, Loaded, PlainDiagnostic, Style};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A place for a component of a kind, as the registry will write it.
macro_rules! slot {
    ($name:ident, $kind:literal) => {
        #[derive(Serialize, Deserialize, Debug)]
        pub struct $name(pub Value);
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "object", "x-isotropy-kind": $kind })
            }
        }
    };
}
slot!(Sampler, "sampler");
slot!(Schedule, "schedule");

#[derive(Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    pub schema: u32,
    /// Seed of all random streams.
    pub seed: u64,
    pub sampler: Sampler,
    pub warmup: Option<Schedule>,
    #[serde(default)]
    pub schedules: Vec<Schedule>,
    #[serde(default)]
    pub training: Training,
    #[serde(default)]
    pub named: BTreeMap<String, Schedule>,
    #[serde(default)]
    pub by_step: BTreeMap<u32, f64>,
    pub noise: Option<Noise>,
    pub loose: Option<Loose>,
    pub outer: Option<Outer>,
    #[serde(default)]
    pub anything: Value,
}

#[derive(Serialize, Deserialize, JsonSchema, Debug, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Training {
    /// Steps of the optimizer.
    #[schemars(range(min = 1))]
    pub steps: u32,
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0))]
    pub lr: f64,
    pub clip: Option<f32>,
    pub betas: [f64; 2],
    pub pair: (u8, String),
    #[schemars(length(min = 1))]
    pub rates: Vec<f64>,
    pub kind: FloatKind,
    pub device: Option<Device>,
    pub shuffle: bool,
    #[schemars(length(min = 1))]
    pub name: String,
    pub offset: i64,
}

#[derive(Serialize, Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum FloatKind {
    #[default]
    F32,
    F64,
}

/// Each variant has a description, so that the schema is a `oneOf` of `const`.
#[derive(Serialize, Deserialize, JsonSchema, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The processor.
    Cpu,
    /// The graphics card.
    Cuda,
}

#[derive(Serialize, Deserialize, JsonSchema, Debug)]
#[serde(tag = "law", rename_all = "lowercase", deny_unknown_fields)]
pub enum Noise {
    Gaussian { sigma: f64 },
    Uniform { low: f64, high: f64 },
}

#[derive(Serialize, Deserialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum Loose {
    Count(u32),
    Range { from: f64, to: f64 },
    List(Vec<Loose>),
}

#[derive(Serialize, Deserialize, JsonSchema, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Outer {
    Off,
    Fixed(f64),
    Linear { from: f64, to: f64 },
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Euler {
    /// Number of steps.
    #[schemars(range(min = 1, max = 10_000))]
    steps: u32,
    schedule: Option<Schedule>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Exact;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Cosine {
    #[serde(default)]
    offset: f64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Linear {
    beta_min: f64,
    beta_max: f64,
}

pub struct Catalogue;

impl config::Lookup for Catalogue {
    fn names(&self, kind: &str) -> Vec<String> {
        let names: &[&str] = match kind {
            "sampler" => &["euler", "exact"],
            "schedule" => &["cosine", "linear"],
            _ => &[],
        };
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn schema(&self, kind: &str, name: &str) -> Option<Value> {
        let schema = match (kind, name) {
            ("sampler", "euler") => schemars::schema_for!(Euler),
            ("sampler", "exact") => schemars::schema_for!(Exact),
            ("schedule", "cosine") => schemars::schema_for!(Cosine),
            ("schedule", "linear") => schemars::schema_for!(Linear),
            _ => return None,
        };
        Some(schema.into())
    }
}

/// A folder of its own that goes away with the value.
pub struct Folder(pub tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

pub fn experiment_schema() -> Value {
    schemars::schema_for!(Experiment).into()
}

pub fn load(path: &Path, sets: &[&str]) -> Result<Loaded, Diagnostics> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    config::load(path, &sets, &experiment_schema(), &Catalogue)
}

pub fn load_text(text: &str, sets: &[&str]) -> Result<Loaded, Diagnostics> {
    let folder = Folder::new();
    load(&folder.write("exp.json", text), sets)
}

/// The mistakes of a text, each checked to be shown with its position in both styles.
pub fn mistakes(text: &str, sets: &[&str]) -> Vec<PlainDiagnostic> {
    let problems =
        load_text(text, sets).expect_err(&format!("no mistake was found in {text} {sets:?}"));
    shown(&problems)
}

pub fn shown(problems: &Diagnostics) -> Vec<PlainDiagnostic> {
    let list = problems.plain();
    let (plain, drawn) = (problems.render(Style::Plain), problems.render(Style::Drawn));
    for one in &list {
        let place = format!("{}:{}:{}", one.file, one.line, one.column);
        assert!(plain.contains(&format!("{place}: {}", one.message)), "{place} is not in\n{plain}");
        assert!(drawn.contains(&place), "{place} is not in\n{drawn}");
    }
    assert!(!plain.contains('\u{1b}'), "colours in the plain form:\n{plain}");
    list
}
