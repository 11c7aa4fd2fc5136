//! Registries: what describes a component in JSON, and the catalogue of everything that is linked.
//!
//! A plugin author writes a struct that JSON describes, one trait `impl` under
//! `#[typetag::serde(name = "...")]`, and one line of [`register!`](crate::register).

use crate::{
    CovarianceKernel, Dataset, Error, Group, LoadContext, Metric, ModelContext, NoisingProcess,
    Objective, Plot, Representation, Result, Sampler, Schedule, ScoreModel, Split, StateSpec,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::Debug;
use std::sync::Arc;

/// Declares a kind of component: the trait that JSON describes, and its place in schemas.
macro_rules! kinds {
    ($($kind:literal $config:ident { $($body:tt)* } $doc:literal;)*) => {
        $(
            #[doc = $doc]
            #[typetag::serde(tag = "type")]
            pub trait $config: Debug + Send + Sync { $($body)* }

            impl JsonSchema for Box<dyn $config> {
                fn schema_name() -> Cow<'static, str> { $kind.into() }
                fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                    slot($kind, generator)
                }
            }
        )*
        /// The kinds of components, sorted.
        pub const KINDS: &[&str] = &[$($kind),*];
    };
}

kinds! {
    "dataset" DatasetConfig {
        /// Shapes of the states, without touching files.
        fn spec(&self) -> Result<StateSpec>;
        /// Number of points in a split where the description alone says it, so that what needs
        /// points is refused while a configuration is checked.
        fn split_size(&self, _split: Split) -> Option<u64> {
            None
        }
        /// Reads or generates the data.
        fn load(&self, context: &LoadContext) -> Result<Box<dyn Dataset>>;
    } "JSON description of a [`Dataset`].";
    "group" GroupConfig {
        /// Builds the group.
        fn build(&self) -> Result<Arc<dyn Group>>;
    } "JSON description of a [`Group`].";
    "kernel" CovarianceKernelConfig {
        /// Builds the covariance kernel.
        fn build(&self) -> Result<Arc<dyn CovarianceKernel>>;
    } "JSON description of a [`CovarianceKernel`] of Gaussian processes.";
    "metric" MetricConfig {
        /// Builds the metric.
        fn build(&self) -> Result<Box<dyn Metric>>;
    } "JSON description of a [`Metric`].";
    "model" ModelConfig {
        /// Builds the model; variables are created under `path`.
        fn build(&self, path: &tch::nn::Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>>;
    } "JSON description of a [`ScoreModel`].";
    "objective" ObjectiveConfig {
        /// Builds the objective.
        fn build(&self) -> Result<Box<dyn Objective>>;
    } "JSON description of an [`Objective`].";
    "plot" PlotConfig {
        /// Builds the plot.
        fn build(&self) -> Result<Box<dyn Plot>>;
    } "JSON description of a [`Plot`].";
    "process" ProcessConfig {
        /// Builds the process on a drive. Errors point into this component's own JSON.
        fn build(&self, drive: Arc<dyn Representation>) -> Result<Box<dyn NoisingProcess>>;
    } "JSON description of a [`NoisingProcess`].";
    "representation" RepresentationConfig {
        /// Builds the representation.
        fn build(&self) -> Result<Arc<dyn Representation>>;
    } "JSON description of a [`Representation`].";
    "sampler" SamplerConfig {
        /// Builds the sampler.
        fn build(&self) -> Result<Box<dyn Sampler>>;
    } "JSON description of a [`Sampler`].";
    "schedule" ScheduleConfig {
        /// Builds the schedule.
        fn build(&self) -> Result<Arc<dyn Schedule>>;
    } "JSON description of a [`Schedule`].";
}

/// One entry of the catalogue.
pub struct Component {
    /// The kind: one of [`KINDS`].
    pub kind: &'static str,
    /// The name in JSON: the value of `"type"`.
    pub name: &'static str,
    /// One line: what it is.
    pub summary: &'static str,
    /// The crate that registered it.
    pub crate_name: &'static str,
    /// That crate's version.
    pub version: &'static str,
    /// The schema of its own properties, without the tag.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// JSON that must build, with the tag.
    pub example: &'static str,
}

inventory::collect!(Component);

/// Registers a component: kind, name, type, summary, example JSON (with `"type"`).
///
/// ```ignore
/// register!("group", "so2", So2Config, "rotations of the plane", r#"{"type": "so2"}"#);
/// ```
#[macro_export]
macro_rules! register {
    ($kind:literal, $name:literal, $config:ty, $summary:literal, $example:expr $(,)?) => {
        $crate::inventory::submit! {
            $crate::Component {
                kind: $kind,
                name: $name,
                summary: $summary,
                crate_name: env!("CARGO_PKG_NAME"),
                version: env!("CARGO_PKG_VERSION"),
                schema: |generator| <$config as $crate::schemars::JsonSchema>::json_schema(generator),
                example: $example,
            }
        }
    };
}

/// A plugin, as the manifest of a run names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plugin {
    /// The crate's name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// One line: what it holds.
    pub summary: &'static str,
}

/// The linked plugins; readable before `main`.
#[linkme::distributed_slice]
pub static PLUGINS: [Plugin];

/// Declares the plugin that a crate is: one line in its `lib.rs`.
#[macro_export]
macro_rules! plugin {
    ($summary:literal) => {
        #[$crate::linkme::distributed_slice($crate::PLUGINS)]
        #[linkme(crate = $crate::linkme)]
        static PLUGIN: $crate::Plugin = $crate::Plugin {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            summary: $summary,
        };
    };
}

/// All components, sorted by kind and name (link order is not defined).
///
/// # Errors
/// When two components of a kind share a name; the message names both crates.
pub fn catalogue() -> Result<Vec<&'static Component>> {
    let mut all: Vec<&Component> = inventory::iter::<Component>.into_iter().collect();
    all.sort_by_key(|c| (c.kind, c.name, c.crate_name));
    for pair in all.windows(2) {
        if (pair[0].kind, pair[0].name) == (pair[1].kind, pair[1].name) {
            return Err(Error::Other(format!(
                "two components of kind '{}' are called '{}': one in crate {}, one in crate {}; rename one",
                pair[0].kind, pair[0].name, pair[0].crate_name, pair[1].crate_name
            )));
        }
    }
    Ok(all)
}

thread_local! {
    /// Whether a slot for components is written as a mark alone (for the walk that checks a file)
    /// or with the schemas of all components (for editors).
    static MARKS_ONLY: Cell<bool> = const { Cell::new(false) };
}

/// The key that marks a slot for a component in a schema; its value is the kind.
pub const KIND_KEY: &str = "x-isotropy-kind";

/// The key that marks a string as a path relative to the configuration's folder: given by a flag of
/// the command line it starts at the folder of the shell instead.
pub const PATH_KEY: &str = "x-isotropy-path";

/// The kinds of which an experiment takes several: each may say a label, which tells two of one
/// sort apart.
pub const LABELLED_KINDS: [&str; 2] = ["metric", "plot"];

/// The field of the label, which the component itself never sees.
pub const LABEL_FIELD: &str = "label";

/// A label: it becomes part of the names of numbers and files.
pub const LABEL_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._+-]*$";

/// Schema of a component's own properties, without the tag, with the label of a metric or a plot.
pub fn properties(component: &Component, generator: &mut SchemaGenerator) -> Schema {
    let mut schema = (component.schema)(generator);
    if !LABELLED_KINDS.contains(&component.kind) {
        return schema;
    }
    let label = serde_json::json!({
        "description": "Put before the names of its numbers or of its file, which tells two of one sort apart.",
        "type": ["string", "null"],
        "pattern": LABEL_PATTERN,
        "default": null,
    });
    // A component without fields has the schema `null`.
    if schema.get("type").is_some_and(|name| name == "null") {
        schema.insert("type".into(), "object".into());
        schema.insert("additionalProperties".into(), false.into());
    }
    let object = schema.ensure_object();
    let properties = object.entry("properties").or_insert_with(|| serde_json::json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert(LABEL_FIELD.into(), label);
    }
    schema
}

/// Schema of a type whose slots are marks only: `{"x-isotropy-kind": "group"}`.
pub fn marked_schema(build: impl FnOnce(&mut SchemaGenerator) -> Schema) -> serde_json::Value {
    MARKS_ONLY.set(true);
    let mut generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
    let mut schema = build(&mut generator).to_value();
    let definitions = generator.take_definitions(false);
    MARKS_ONLY.set(false);
    if let (Some(object), false) = (schema.as_object_mut(), definitions.is_empty()) {
        object.insert("$defs".into(), definitions.into());
    }
    schema
}

/// The schema of a slot that takes any component of a kind.
fn slot(kind: &str, generator: &mut SchemaGenerator) -> Schema {
    let mut schema = json_schema!({"type": "object", "required": ["type"]});
    schema.insert(KIND_KEY.into(), kind.into());
    if MARKS_ONLY.get() {
        return schema;
    }
    let mut alternatives: Vec<&Component> =
        inventory::iter::<Component>.into_iter().filter(|c| c.kind == kind).collect();
    alternatives.sort_by_key(|c| c.name);
    let schemas: Vec<serde_json::Value> =
        alternatives.iter().map(|component| tagged(component, generator).to_value()).collect();
    schema.insert("oneOf".into(), schemas.into());
    schema
}

/// A component's schema with its tag among its own properties (an `allOf` next to a schema that
/// forbids further properties would reject every tag).
pub fn tagged(component: &Component, generator: &mut SchemaGenerator) -> Schema {
    let mut value = properties(component, generator).to_value();
    if let Some(object) = value.as_object_mut() {
        object.insert("type".into(), "object".into());
        object.entry("description").or_insert_with(|| component.summary.into());
        let properties = object.entry("properties").or_insert_with(|| serde_json::json!({}));
        if let Some(properties) = properties.as_object_mut() {
            properties.insert("type".into(), serde_json::json!({"const": component.name}));
        }
        let required = object.entry("required").or_insert_with(|| serde_json::json!([]));
        if let Some(required) = required.as_array_mut() {
            required.insert(0, "type".into());
        }
    }
    Schema::try_from(value).expect("an object is a schema")
}
