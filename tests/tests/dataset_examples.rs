//! The examples of data sets, as `runner describe` and the book print them, load from files of a
//! plausible size.

#![allow(clippy::unwrap_used)]

mod data_files;

use data_files::{files, pictures};
use isotropy_core::{DatasetConfig, LoadContext, Split, Streams};
use isotropy_tests::end_to_end::{Scratch, read_json, repository, run};
use serde_json::{Value, json};
use tch::{Device, Kind};

const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");

/// Every object in a text that names a type among `names`, as the value of `"dataset"` or `"inner"`
/// or by itself.
fn objects(text: &str, names: &[String]) -> Vec<Value> {
    let starts = text.match_indices("{\"type\":").map(|(at, _)| at);
    let read = |at: usize| {
        let mut stream = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        stream.next()?.ok()
    };
    let known = |value: &Value| names.iter().any(|name| value["type"] == **name);
    starts.filter_map(read).filter(known).collect()
}

#[test]
fn every_example_of_a_data_set_loads_and_no_split_is_empty() {
    let scratch = Scratch::new("dataset-examples");
    let data = scratch.join("files");
    files(&data);
    let context = LoadContext {
        data_dir: data,
        kind: Kind::Float,
        device: Device::Cpu,
        streams: Streams::new(1),
    };
    let list = run(RUNNER, &scratch, &["list", "dataset", "--json"]).with_code(0).stdout;
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    let names: Vec<String> =
        list.iter().map(|row| row["name"].as_str().unwrap().to_string()).collect();
    assert!(names.len() > 15, "{names:?}");
    let mut examples: Vec<(String, Value)> = Vec::new();
    for name in &names {
        let page = run(RUNNER, &scratch, &["describe", "dataset", name]).with_code(0).stdout;
        let block = page.split("```json").nth(1).and_then(|rest| rest.split("```").next());
        let example = serde_json::from_str(block.unwrap_or_else(|| panic!("{name}: {page}")));
        examples.push((format!("describe dataset {name}"), example.unwrap()));
    }
    let mut pages = Vec::new();
    for folder in ["docs/src", "docs/src/plugins"] {
        for entry in std::fs::read_dir(repository(folder)).unwrap().flatten() {
            if entry.path().extension().is_some_and(|ending| ending == "md") {
                pages.push(entry.path());
            }
        }
    }
    pages.sort();
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let found = objects(&text, &names).into_iter();
        examples.extend(found.map(|value| (page.display().to_string(), value)));
    }
    for (place, example) in examples {
        let place = format!("{place}: {example}");
        let config: Box<dyn DatasetConfig> = serde_json::from_value(example).unwrap();
        let spec = config.spec().unwrap_or_else(|error| panic!("{place}: {error}"));
        let loaded = config.load(&context).unwrap_or_else(|error| panic!("{place}: {error}"));
        for split in [Split::Train, Split::Validation, Split::Test] {
            assert!(!loaded.is_empty(split), "{place}: {split:?} is empty");
            let batch = loaded.batch(split, 0, 2, &Streams::new(1)).unwrap();
            assert!(batch.batch_size() > 0, "{place}: {split:?} gives no batch");
            // -1 stands for a number of points that varies.
            let (found, declared) = (batch.spec().value, &spec.value);
            assert_eq!(found.shape.len(), declared.shape.len(), "{place}");
            let sizes = found.shape.iter().zip(&declared.shape);
            assert!(sizes.into_iter().all(|(a, b)| a == b || *b == -1), "{place}: {found:?}");
            assert_eq!(found.moves, declared.moves, "{place}");
        }
    }
}

#[test]
fn the_documented_folder_of_pictures_trains_as_it_stands() {
    let scratch = Scratch::new("folder-example");
    pictures(&scratch.join("data"));
    let page = run(RUNNER, &scratch, &["describe", "dataset", "image-folder"]).with_code(0).stdout;
    let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let dataset: Value = serde_json::from_str(block).unwrap();
    let config = json!({
        "schema": 1, "name": "pictures", "threads": 1, "device": "cpu", "dataset": dataset,
        "drive": {"type": "translations"},
        "process": {
            "type": "vp", "schedule": {"type": "ddim-cosine"}, "steps": null, "start": 1e-3
        },
        "model": {
            "type": "unet", "channels": 8, "multipliers": [1, 2], "attention": [],
            "head_channels": 8, "dropout": 0.0, "symmetry_by": "none", "predicts": "clean"
        },
        "objective": {"type": "denoising", "weighting": "unit"},
        "sampler": {"type": "image-ddim", "steps": 2, "clamp": [-1.0, 1.0]},
        "train": {
            "steps": 2, "batch": 2, "optimizer": {"type": "adam", "learning_rate": 1e-3},
            "clip_norm": null
        },
        "sampling": {"count": 1, "batch": 1},
        "evaluate": {"metrics": [], "plots": []}
    });
    scratch.write("pictures.json", &config.to_string());
    run(RUNNER, &scratch, &["--config", "pictures.json", "--out", "out"]).with_code(0);
    let manifest = read_json(&scratch.join("out/manifest.json"));
    assert_eq!(manifest["data"].as_array().unwrap().len(), 2, "{manifest}");
}
