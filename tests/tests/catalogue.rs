//! The catalogue, the plugins and the shipped configurations hold together.

#![allow(clippy::unwrap_used)]

use isotropy_core::{
    CovarianceKernelConfig, DatasetConfig, GroupConfig, MetricConfig, ModelConfig, ObjectiveConfig,
    PlotConfig, ProcessConfig, RepresentationConfig, SamplerConfig, ScheduleConfig,
};
use isotropy_tests::end_to_end::{Scratch, repository, run};
use runner::catalogue::Catalogue;
use runner::config::Lookup;
use runner::resolve;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");

#[test]
fn the_json_list_has_the_documented_shape() {
    let scratch = Scratch::new("list");
    let all = run(RUNNER, &scratch, &["list", "--json"]).with_code(0).stdout;
    let all: Vec<Value> = serde_json::from_str(&all).unwrap();
    assert!(all.len() > 30, "{}", all.len());
    for component in &all {
        let keys: Vec<&String> = component.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["kind", "name", "summary", "crate", "version"]);
        assert!(
            component
                .as_object()
                .unwrap()
                .values()
                .all(|v| v.as_str().is_some_and(|s| !s.is_empty()))
        );
    }
    let place = |c: &Value| (c["kind"].to_string(), c["name"].to_string());
    assert!(all.is_sorted_by_key(place), "the list is sorted");
    let some = run(RUNNER, &scratch, &["list", "process", "--json"]).with_code(0).stdout;
    let some: Vec<Value> = serde_json::from_str(&some).unwrap();
    let processes: Vec<&Value> = all.iter().filter(|c| c["kind"] == "process").collect();
    assert_eq!(some.iter().collect::<Vec<_>>(), processes);
}

/// Constructors run while a model is initialised, which holds libtorch's generator: one that draws
/// from a stream has no place there.
#[test]
#[allow(clippy::borrowed_box, reason = "typetag reads boxes")]
fn no_constructor_draws() {
    fn build<C: serde::de::DeserializeOwned, T>(
        example: &str,
        f: impl FnOnce(&C) -> isotropy_core::Result<T>,
    ) {
        let config: C = serde_json::from_str(example).unwrap();
        // A refusal is an answer, too.
        let _ = f(&config);
    }
    let drives: Vec<_> = Catalogue::new()
        .unwrap()
        .components()
        .iter()
        .filter(|component| component.kind == "representation")
        .map(|component| {
            let config: Box<dyn RepresentationConfig> =
                serde_json::from_str(component.example).unwrap();
            config.build().unwrap()
        })
        .filter(|built| built.drive().is_some())
        .collect();
    for component in Catalogue::new().unwrap().components() {
        let example = component.example;
        let construct = || match component.kind {
            "group" => build(example, |c: &Box<dyn GroupConfig>| c.build()),
            "representation" => build(example, |c: &Box<dyn RepresentationConfig>| c.build()),
            "process" => drives.iter().for_each(|drive| {
                build(example, |c: &Box<dyn ProcessConfig>| c.build(drive.clone()));
            }),
            "sampler" => build(example, |c: &Box<dyn SamplerConfig>| c.build()),
            "schedule" => build(example, |c: &Box<dyn ScheduleConfig>| c.build()),
            "kernel" => build(example, |c: &Box<dyn CovarianceKernelConfig>| c.build()),
            "objective" => build(example, |c: &Box<dyn ObjectiveConfig>| c.build()),
            "metric" => build(example, |c: &Box<dyn MetricConfig>| c.build()),
            "plot" => build(example, |c: &Box<dyn PlotConfig>| c.build()),
            "dataset" => build(example, |c: &Box<dyn DatasetConfig>| c.spec()),
            // The suite builds each on a dataset that suits it, inside of a scope.
            "model" => {}
            other => panic!("{other} has no constructor here"),
        };
        let scoped = || isotropy_core::Streams::new(0).scope("init", 0, construct);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(scoped));
        assert!(outcome.is_ok(), "{} {} draws", component.kind, component.name);
    }
}

/// Its constructor used to draw while the model was initialised, and waited for itself for ever.
#[test]
fn models_are_averaged_over_any_finite_group_that_acts() {
    let scratch = Scratch::new("averaged");
    let model = |symmetry: &str| {
        format!(
            r#"model={{"type": "group-averaged"{symmetry}, "inner": {{"type": "mlp", "predicts": "noise"}}}}"#
        )
    };
    let cyclic = r#"{"type": "defining", "group": {"type": "cyclic", "order": 4}}"#;
    let validate = |model: &str, symmetry: Option<&str>, drive: &str| {
        let config = repository("configs/quickstart.json");
        let drive = format!(r#"drive={{"type": "{drive}"}}"#);
        let symmetry = symmetry.map(|symmetry| format!("symmetry={symmetry}"));
        let mut arguments = vec!["validate", config.to_str().unwrap(), "--set", &drive];
        arguments.extend(["--set", model]);
        if let Some(symmetry) = &symmetry {
            arguments.extend(["--set", symmetry]);
        }
        run(RUNNER, &scratch, &arguments)
    };
    let own = model(&format!(r#", "symmetry": {cyclic}"#));
    validate(&own, None, "translations").with_code(0);
    // The experiment's, whatever it is.
    validate(&model(""), Some(cyclic), "translations").with_code(0);
    let infinite = r#"{"type": "rotation", "dimension": 2}"#;
    for (model, symmetry, drive, words) in [
        (model(""), Some(infinite), "translations", "infinitely many elements"),
        (model(""), None, "translations", "no action to average over"),
        // What the drive cannot move is known before anything is trained.
        (own, None, "polar", "C_4 on R^2"),
    ] {
        let ended = validate(&model, symmetry, drive).with_code(2);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
}

#[test]
fn every_plugin_folder_is_linked_into_the_runner() {
    let text = std::fs::read_to_string(repository("runners/runner/src/plugins.rs")).unwrap();
    let named: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("use isotropy_")?.strip_suffix(" as _;"))
        .map(|name| name.replace('_', "-"))
        .collect();
    let folders: BTreeSet<String> = std::fs::read_dir(repository("plugins"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(named, folders, "runners/runner/src/plugins.rs and the folders under plugins/");
    // Naming a crate is not enough if it never says what it is.
    let declared: BTreeSet<&str> = isotropy_core::PLUGINS.iter().map(|p| p.name).collect();
    for folder in folders {
        assert!(declared.contains(format!("isotropy-{folder}").as_str()), "{folder}: no plugin!");
    }
}

/// Through serde and back, as the trait object of the kind.
fn round_trip(kind: &str, value: Value) -> Result<Value, serde_json::Error> {
    macro_rules! through {
        ($($name:literal $trait:ident),*) => {
            match kind {
                $($name => serde_json::to_value(serde_json::from_value::<Box<dyn $trait>>(value)?),)*
                other => panic!("the kind '{other}' is not in this test"),
            }
        };
    }
    through!(
        "dataset" DatasetConfig, "group" GroupConfig, "kernel" CovarianceKernelConfig, "metric" MetricConfig, "model" ModelConfig,
        "objective" ObjectiveConfig, "plot" PlotConfig, "process" ProcessConfig,
        "representation" RepresentationConfig, "sampler" SamplerConfig, "schedule" ScheduleConfig
    )
}

#[test]
fn a_component_has_the_same_name_in_the_catalogue_and_in_json() {
    for component in Catalogue::new().unwrap().components() {
        let place = format!("{} {}", component.kind, component.name);
        let example: Value = serde_json::from_str(component.example).unwrap();
        assert_eq!(example["type"], component.name, "{place}");
        let back = round_trip(component.kind, example).unwrap_or_else(|e| panic!("{place}: {e}"));
        assert_eq!(back["type"], component.name, "{place}");
        // What is written back, with all defaults, is read again as the same.
        assert_eq!(round_trip(component.kind, back.clone()).unwrap(), back, "{place}");
    }
}

/// Objects in a schema that list properties but let unknown ones pass.
fn open_objects(schema: &Value, place: &str, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if map.get("properties").is_some_and(Value::is_object)
                && map.get("additionalProperties") != Some(&Value::Bool(false))
            {
                found.push(place.to_string());
            }
            for (key, value) in map.iter().filter(|(key, _)| *key != "default") {
                open_objects(value, &format!("{place}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (k, item) in items.iter().enumerate() {
                open_objects(item, &format!("{place}/{k}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn no_component_ignores_a_field_that_it_does_not_know() {
    let catalogue = Catalogue::new().unwrap();
    for component in catalogue.components() {
        let place = format!("{} {}", component.kind, component.name);
        let schema = catalogue.schema(component.kind, component.name).unwrap();
        let mut found = Vec::new();
        open_objects(&schema, "", &mut found);
        assert_eq!(found, Vec::<String>::new(), "{place}: deny_unknown_fields is missing");
        let mut example: Value = serde_json::from_str(component.example).unwrap();
        example["a_field_that_nobody_has"] = Value::from(1);
        assert!(round_trip(component.kind, example).is_err(), "{place} ignores unknown fields");
    }
}

/// Every JSON file below a folder.
fn json_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(json_files(&path));
        } else if path.extension().is_some_and(|e| e == "json") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn every_shipped_configuration_is_valid() {
    let scratch = Scratch::new("shipped");
    run(RUNNER, &scratch, &["schema", "--out", "schema.json"]).with_code(0);
    let schema = isotropy_tests::end_to_end::read_json(&scratch.join("schema.json"));
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let files = json_files(&repository("configs"));
    assert!(!files.is_empty());
    // Sweeps have their own test.
    let experiments = files.iter().filter(|file| !file.starts_with(repository("configs/sweeps")));
    for file in experiments.chain([&isotropy_tests::end_to_end::tiny()]) {
        let name = file.display().to_string();
        run(RUNNER, &scratch, &["validate", &name]).with_code(0);
        let resolved = resolve::resolve(file, &[]).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        // As it is written (with what it extends), and with all defaults.
        for value in [resolved.loaded.value, resolve::to_json(&resolved.experiment).unwrap()] {
            let errors: Vec<String> = validator
                .iter_errors(&value)
                .map(|e| format!("{}: {e}", e.instance_path()))
                .collect();
            assert_eq!(errors, Vec::<String>::new(), "{name}");
        }
    }
    // The schema refuses what the runner refuses.
    for wrong in
        [r#"{"schema": 1}"#, r#"{"schema": 1, "name": "a", "dataset": {"type": "nowhere"}}"#]
    {
        assert!(!validator.is_valid(&serde_json::from_str(wrong).unwrap()), "{wrong}");
    }
}

#[test]
fn every_component_can_be_described() {
    let scratch = Scratch::new("describe");
    let page = run(RUNNER, &scratch, &["describe", "--all"]).with_code(0).stdout;
    for component in Catalogue::new().unwrap().components() {
        assert!(page.contains(&format!("\n### {}\n", component.name)), "{}", component.name);
    }
    let one = run(RUNNER, &scratch, &["describe", "process", "vp"]).with_code(0).stdout;
    assert!(one.contains("`schedule` (a schedule, required)"), "{one}");
}
