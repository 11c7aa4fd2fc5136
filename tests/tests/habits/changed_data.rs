//! A run is tied to its data.

use crate::{RUNNER, listing, says};
use image::GrayImage;
use isotropy_tests::end_to_end::{Ended, Scratch, read_json, run};
use serde_json::json;
use std::path::Path;

const CONFIG: &str = r#"{
  "schema": 1, "name": "pictures", "threads": 1, "device": "cpu",
  "dataset": {"type": "image-folder", "path": "pictures", "size": [8, 8], "channels": 1,
    "validation": 2, "test": 2},
  "drive": {"type": "translations"},
  "process": {"type": "vp", "schedule": {"type": "ddim-cosine"}, "steps": null, "start": 1e-3},
  "model": {"type": "unet", "channels": 8, "multipliers": [1, 2], "attention": [],
    "head_channels": 8, "dropout": 0.0, "symmetry_by": "none", "predicts": "clean"},
  "objective": {"type": "denoising", "weighting": "unit"},
  "sampler": {"type": "image-ddim", "steps": 2, "clamp": [-1.0, 1.0]},
  "train": {"steps": 4, "batch": 2, "checkpoint": {"every": 2},
    "optimizer": {"type": "adam", "learning_rate": 1e-3}},
  "sampling": {"count": 2, "batch": 2}
}"#;

fn picture(folder: &Path, name: &str, grey: u8) {
    let image =
        GrayImage::from_fn(8, 8, |x, y| image::Luma([grey.wrapping_add((x * 8 + y) as u8)]));
    image.save(folder.join(name)).unwrap();
}

/// A finished run of a folder with eight pictures.
fn finished(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    let folder = scratch.join("data/pictures");
    std::fs::create_dir_all(&folder).unwrap();
    (0..8).for_each(|k| picture(&folder, &format!("{k}.png"), 20 * k));
    scratch.write("config.json", CONFIG);
    start(&scratch, &[]).with_code(0);
    scratch
}

fn start(scratch: &Scratch, more: &[&str]) -> Ended {
    run(RUNNER, scratch, &[&["--config", "config.json", "--out", "run"], more].concat())
}

/// Takes the end of the run away, so that it can go on.
fn interrupt(scratch: &Scratch) {
    let folder = scratch.join("run");
    std::fs::remove_dir_all(folder.join("checkpoints/step-000000004")).unwrap();
    std::fs::remove_file(folder.join("metrics.json")).unwrap();
}

#[track_caller]
fn refused(ended: Ended) {
    let ended = ended.with_code(3);
    says(&ended.stderr, &["image-folder", "--accept-changed-data", "manifest"]);
}

#[test]
fn nothing_goes_on_with_other_data_unasked() {
    let scratch = finished("changed");
    let folder = scratch.join("run");
    let all = |more: &[&str]| {
        [
            run(RUNNER, &scratch, &[&["sample", "--run", "run", "--count", "2"], more].concat()),
            run(RUNNER, &scratch, &[&["evaluate", "--run", "run"], more].concat()),
            run(RUNNER, &scratch, &[&["reproduce", "--run", "run"], more].concat()),
        ]
    };
    picture(&scratch.join("data/pictures"), "9.png", 3);
    let before = listing(&folder);
    all(&[]).into_iter().for_each(refused);
    assert_eq!(listing(&folder), before);
    assert!(!scratch.join("run-reproduced").exists());
    interrupt(&scratch);
    let before = listing(&folder);
    refused(start(&scratch, &["--resume"]));
    assert_eq!(listing(&folder), before, "a refusal changes nothing");
    // Back to what it was: no flag is needed.
    std::fs::remove_file(scratch.join("data/pictures/9.png")).unwrap();
    start(&scratch, &["--resume"]).with_code(0);
    assert!(read_json(&folder.join("manifest.json"))["data_changes"].is_null());
}

#[test]
fn content_counts_where_names_stay() {
    let scratch = finished("changed-content");
    picture(&scratch.join("data/pictures"), "3.png", 200);
    refused(run(RUNNER, &scratch, &["evaluate", "--run", "run"]));
    interrupt(&scratch);
    refused(start(&scratch, &["--resume"]));
}

#[test]
fn what_is_accepted_is_written_down() {
    let scratch = finished("accepted");
    let manifest = || read_json(&scratch.join("run/manifest.json"));
    let before = manifest()["data"].clone();
    interrupt(&scratch);
    picture(&scratch.join("data/pictures"), "9.png", 3);
    let ended = start(&scratch, &["--resume", "--accept-changed-data"]).with_code(0);
    says(&ended.stderr, &["warning", "image-folder"]);
    let change = manifest()["data_changes"][0].clone();
    assert_eq!((&change["command"], &change["before"]["data"]), (&json!("resume"), &before));
    assert_eq!(change["after"]["data"], manifest()["data"]);
    assert!(manifest()["data"] != before);
    // From now on these are the data of the run.
    let accept = "--accept-changed-data";
    run(RUNNER, &scratch, &["sample", "--run", "run", "--count", "2"]).with_code(0);
    assert!(!scratch.join("run/samples/samples-2-seed-1.manifest.json").exists());
    picture(&scratch.join("data/pictures"), "8.png", 9);
    let sample = ["sample", "--run", "run", "--count", "2", "--out", "one.npz", accept];
    run(RUNNER, &scratch, &sample).with_code(0);
    let beside = read_json(&scratch.join("one.manifest.json"));
    assert_eq!(beside["data_changes"][0]["command"], "sample");
    run(RUNNER, &scratch, &["evaluate", "--run", "run", accept]).with_code(0);
    assert_eq!(manifest()["data_changes"][1]["command"], "evaluate");
    assert_eq!(manifest()["data"], change["after"]["data"], "the run was trained on these");
    let evaluate = ["evaluate", "--run", "run", "--out", "aside", accept];
    run(RUNNER, &scratch, &evaluate).with_code(0);
    let aside = read_json(&scratch.join("aside/manifest.json"));
    assert_eq!(aside["data_changes"][2]["command"], "evaluate");
}
