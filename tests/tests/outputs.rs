//! What a run leaves behind, and what can be done with it.

#![allow(clippy::unwrap_used)]

use isotropy_tests::end_to_end::{
    Ended, Scratch, command, event_file, metrics, python, read_json, repository, run, run_tiny,
    tiny,
};
use runner::checkpoint::read_safetensors;
use serde_json::{Value, json};
use std::process::Command;

const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");
const SHORT: [&str; 4] = ["--set", "train.steps=100", "--set", "sampling.count=200"];

#[test]
fn the_run_folder_is_complete_and_its_configuration_runs_again() {
    let scratch = Scratch::new("folder");
    let ended = run_tiny(RUNNER, &scratch, "run", &SHORT).with_code(0);
    for word in ["mmd", "metrics.json", "plots/scatter.png", "tensorboard --logdir"] {
        assert!(ended.stdout.contains(word), "'{word}' is not in: {}", ended.stdout);
    }
    let folder = scratch.join("run");
    let page = std::fs::read_to_string(repository("docs/src/run-folder.md")).unwrap();
    for name in [
        "config.json",
        "manifest.json",
        "checkpoints",
        "weights.safetensors",
        "samples/samples.npz",
        "plots",
        "metrics.json",
        "tensorboard",
        "log.jsonl",
        "lock",
    ] {
        assert!(folder.join(name).exists(), "{name}");
        assert!(page.contains(&format!("| `{name}")), "{name} is not documented");
    }
    let manifest = read_json(&folder.join("manifest.json"));
    for (field, expected) in [
        ("device", json!("cpu")),
        ("threads", json!(1)),
        ("seed", json!(0)),
        ("simulated_steps", json!(0)),
    ] {
        assert_eq!(manifest[field], expected, "{field}");
    }
    assert!(manifest["libtorch"].as_str().is_some_and(|v| v.starts_with("2.13.0")), "{manifest}");
    assert_eq!(manifest["binary_sha256"].as_str().map(str::len), Some(64));
    let plugins = manifest["plugins"].as_array().unwrap();
    assert!(plugins.iter().any(|p| p["name"] == "isotropy-diffusion" && p["version"] == "0.1.0"));
    assert!(manifest["data"].is_array() && manifest["git"].is_string() | manifest["git"].is_null());

    let measured = read_json(&folder.join("metrics.json"));
    assert_eq!(measured["training"]["steps"], 100);
    assert_eq!(measured["samples"]["evaluations_per_sample"], 10);
    assert!(measured["resources"]["peak_memory_bytes"].as_u64().unwrap() > 10_000_000);

    let mut last = 0;
    for line in std::fs::read_to_string(folder.join("log.jsonl")).unwrap().lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let step = entry["step"].as_u64().unwrap();
        assert!(step >= last, "steps go up: {line}");
        last = step;
    }
    assert_eq!(last, 100);

    run(RUNNER, &scratch, &["--config", "run/config.json", "--out", "again"]).with_code(0);
    assert_eq!(metrics(&folder), metrics(&scratch.join("again")));
    assert_eq!(
        read_json(&folder.join("config.json")),
        read_json(&scratch.join("again/config.json"))
    );
}

#[test]
fn simulated_noise_is_told_before_and_after_the_run() {
    let scratch = Scratch::new("simulated");
    let process = r#"process={"type": "langevin", "schedule": {"type": "cosine"}, "steps": 20,
        "invariant": [{"normal-mixture": {"means": [0.0], "stds": [1.0], "weights": [1.0]}}],
        "simulated_steps": 7}"#;
    let simulated = ["--set", process, "--set", "model.predicts=score", "--set", "train.steps=2"];
    let config = tiny().display().to_string();
    let exact = run(RUNNER, &scratch, &["validate", &config]).with_code(0);
    assert!(exact.stdout.contains(" parameters)"), "{}", exact.stdout);
    let told = run(RUNNER, &scratch, &[&["validate", &config], &simulated[..]].concat());
    let told = told.with_code(0).stdout;
    assert!(told.contains("parameters; noise is simulated in 7 steps)"), "{told}");
    // Two steps train nothing, so the samples may be anything.
    let _ = run_tiny(RUNNER, &scratch, "run", &simulated);
    assert_eq!(read_json(&scratch.join("run/manifest.json"))["simulated_steps"], 7);
}

#[test]
fn sample_evaluate_and_reproduce_agree_with_the_run() {
    let scratch = Scratch::new("rerun");
    run_tiny(RUNNER, &scratch, "run", &SHORT).with_code(0);
    let folder = scratch.join("run");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let (before, weights) = (metrics(&folder), read("weights.safetensors"));

    let sampled = run(RUNNER, &scratch, &["sample", "--run", "run", "--count", "50"]).with_code(0);
    assert!(sampled.stdout.contains("50 samples"), "{}", sampled.stdout);
    let samples = tch::Tensor::read_npz(folder.join("samples/samples-50-seed-1.npz")).unwrap();
    let value = &samples.iter().find(|(name, _)| name == "value").expect("value").1;
    assert_eq!(value.size(), [50, 2]);
    // The seed of the run gives its own samples again, since a batch depends on nothing else.
    let again = ["sample", "--run", "run", "--count", "200", "--seed", "0", "--out", "again.npz"];
    run(RUNNER, &scratch, &again).with_code(0);
    let points = |path| {
        let all = tch::Tensor::read_npz(path).unwrap();
        all.into_iter().find(|(name, _)| name == "value").expect("value").1
    };
    assert_eq!(points(scratch.join("again.npz")), points(folder.join("samples/samples.npz")));
    run(RUNNER, &scratch, &["sample", "--run", "run", "--count", "0"]).with_code(2);

    let points_before = runner::tensorboard::read_events(&event_file(&folder)).unwrap().len();
    let evaluated = run(RUNNER, &scratch, &["evaluate", "--run", "run"]).with_code(0);
    assert!(evaluated.stdout.contains("mmd"), "{}", evaluated.stdout);
    assert_eq!((metrics(&folder), read("weights.safetensors")), (before, weights));
    let points_after = runner::tensorboard::read_events(&event_file(&folder)).unwrap().len();
    assert_eq!(points_before, points_after, "evaluating again repeats no point");

    let reproduced = run(RUNNER, &scratch, &["reproduce", "--run", "run"]).with_code(0);
    assert!(reproduced.stdout.contains("reproduced bit for bit"), "{}", reproduced.stdout);
    assert!(!reproduced.stdout.contains("DIFFERENT"));
    // A second reproduction must not find the first one and call that a reproduction.
    run(RUNNER, &scratch, &["reproduce", "--run", "run"]).with_code(2);
    std::fs::remove_dir_all(scratch.join("run-reproduced")).unwrap();
    let mut changed = read_json(&folder.join("metrics.json"));
    changed["metrics"]["mmd"] = json!(0.125);
    std::fs::write(folder.join("metrics.json"), changed.to_string()).unwrap();
    let differs = run(RUNNER, &scratch, &["reproduce", "--run", "run"]).with_code(1);
    assert!(differs.stderr.contains("mmd differ"), "{}", differs.stderr);
}

#[test]
fn a_checkpoint_on_the_way_is_measured_in_a_folder_of_its_own() {
    let scratch = Scratch::new("on-the-way");
    let every = [&SHORT[..], &["--set", "train.checkpoint.every=50"]].concat();
    run_tiny(RUNNER, &scratch, "run", &every).with_code(0);
    let folder = scratch.join("run");
    let before = metrics(&folder);
    run(RUNNER, &scratch, &["evaluate", "--run", "run", "--step", "50"]).with_code(0);
    let half = folder.join("evaluations/step-50");
    assert_eq!(read_json(&half.join("metrics.json"))["training"]["steps"], 50);
    assert!(half.join("weights.safetensors").exists());
    // The run itself is untouched, and its last step measured aside is the run.
    assert_eq!(metrics(&folder), before);
    let last = ["evaluate", "--run", "run", "--step", "100", "--out", "end"];
    run(RUNNER, &scratch, &last).with_code(0);
    assert_eq!(metrics(&scratch.join("end")), before);
    assert!(metrics(&half) != before);
    let missing = run(RUNNER, &scratch, &["evaluate", "--run", "run", "--step", "70"]).with_code(3);
    assert!(missing.stderr.contains("keeps no checkpoint of step 70"), "{}", missing.stderr);
}

#[test]
fn charts_are_drawn_and_mistakes_in_them_named() {
    let scratch = Scratch::new("chart");
    let write = |name: &str, text: &str| std::fs::write(scratch.join(name), text).unwrap();
    write(
        "lines.json",
        r#"{"title": "t", "series": [{"name": "a", "points": [[1, 2, 0.5], [2, 1, null]]}]}"#,
    );
    run(RUNNER, &scratch, &["chart", "lines.json", "--out", "pictures/lines"]).with_code(0);
    for end in ["png", "svg"] {
        assert!(scratch.join("pictures/lines").with_extension(end).exists(), "{end}");
    }
    for (text, expected) in [
        (r#"{"series": [{"nam": "a"}]}"#, "unknown field `nam`"),
        (r#"{"series": []}"#, "there are no points"),
    ] {
        write("wrong.json", text);
        let ended = run(RUNNER, &scratch, &["chart", "wrong.json"]).with_code(3);
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
        assert!(ended.stderr.contains("wrong.json"), "{}", ended.stderr);
    }
}

#[test]
fn training_stops_early_when_asked() {
    let scratch = Scratch::new("early");
    let stop = r#"train.early_stop={"patience": 2, "min_improvement": 1.0}"#;
    run_tiny(RUNNER, &scratch, "run", &["--set", stop]).with_code(0);
    let training = &metrics(&scratch.join("run"))["training"];
    // Validation 1 is the best, 2 and 3 improve on it by less than all of it.
    assert_eq!((&training["steps"], &training["stopped_early"]), (&json!(60), &json!(true)));
    let again = run_tiny(RUNNER, &scratch, "run", &["--set", stop, "--resume"]).with_code(0);
    assert!(again.stdout.contains("is finished"), "{}", again.stdout);
}

#[test]
fn a_run_starts_from_given_weights() {
    let scratch = Scratch::new("init");
    run_tiny(RUNNER, &scratch, "first", &SHORT).with_code(0);
    let weights = scratch.join("first/weights.safetensors");
    let init = format!("train.init_from={}", serde_json::to_string(&weights).unwrap());
    // Without a step, and without an average in between, the weights come out as they went in.
    let none = ["--set", "train.steps=0", "--set", "train.ema=[]", "--set", "sampling.ema=null"];
    run_tiny(RUNNER, &scratch, "second", &[&none[..], &["--set", &init]].concat()).with_code(0);
    let read = |name: &str| read_safetensors(&scratch.join(name)).unwrap();
    assert_eq!(read("first/weights.safetensors"), read("second/weights.safetensors"));
    // Weights of another network are refused before there is a folder.
    let other = ["--set", "model.hidden=[8]", "--set", &init];
    let ended = run_tiny(RUNNER, &scratch, "third", &other).with_code(2);
    assert!(ended.stderr.contains("do not fit the model"), "{}", ended.stderr);
    assert!(!scratch.join("third").exists());
}

#[test]
fn a_resolved_configuration_keeps_its_relative_paths() {
    let scratch = Scratch::new("relative");
    run_tiny(RUNNER, &scratch, "first", &SHORT).with_code(0);
    std::fs::create_dir(scratch.join("configs")).unwrap();
    let mut config = read_json(&tiny());
    config["train"]["steps"] = json!(20);
    config["train"]["init_from"] = json!("../first/weights.safetensors");
    scratch.write("configs/next.json", &config.to_string());
    run(RUNNER, &scratch, &["--config", "configs/next.json", "--out", "a/b/next"]).with_code(0);
    run(RUNNER, &scratch, &["--config", "a/b/next/config.json", "--out", "again"]).with_code(0);
    assert_eq!(metrics(&scratch.join("a/b/next")), metrics(&scratch.join("again")));
}

#[test]
fn lines_in_a_pipe_are_plain() {
    let scratch = Scratch::new("plain");
    let ended = run_tiny(RUNNER, &scratch, "run", &SHORT).with_code(0);
    for text in [&ended.stdout, &ended.stderr] {
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
    assert!(ended.stderr.lines().any(|line| line.starts_with("train 100/100")), "{}", ended.stderr);
    let wrong = run_tiny(RUNNER, &scratch, "wrong", &["--set", "train.batch=0"]).with_code(2);
    assert!(!wrong.stderr.contains('\u{1b}'), "{:?}", wrong.stderr);
}

#[test]
fn no_color_is_honoured_on_a_terminal() {
    let scratch = Scratch::new("terminal");
    let on_terminal = |no_color: Option<&str>| {
        let out = no_color.map_or("coloured", |_| "plain");
        let line =
            format!("{RUNNER} --config {} --out {out} --set train.steps=200", tiny().display());
        let mut script = command("script", &scratch);
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        script.env("TERM", "xterm").env_remove("NO_COLOR");
        script.envs(no_color.map(|value| ("NO_COLOR", value))).output()
    };
    let (Ok(plain), Ok(coloured)) = (on_terminal(Some("1")), on_terminal(None)) else {
        println!("SKIPPED: there is no `script` to run a command on a terminal");
        return;
    };
    let (plain, coloured) = (Ended::from(plain).with_code(0), Ended::from(coloured).with_code(0));
    // A colour is ESC [ 3x m; moving the cursor is allowed.
    let colours = |text: &str| {
        let colour = |s: &&str| matches!(s.as_bytes(), [b'3', b'0'..=b'7', b'm', ..]);
        text.split("\u{1b}[").skip(1).filter(colour).count()
    };
    assert!(plain.stdout.contains("/200 "), "the bar is there: {:?}", plain.stdout);
    assert_eq!(colours(&plain.stdout), 0, "{:?}", plain.stdout);
    assert!(colours(&coloured.stdout) > 0, "{:?}", coloured.stdout);
}

#[test]
fn python_reads_samples_and_weights_as_the_page_says() {
    let Some(python) = python("the snippet of docs/src/run-folder.md") else { return };
    let scratch = Scratch::new("python");
    run_tiny(RUNNER, &scratch, "runs/quickstart", &SHORT).with_code(0);
    let page = std::fs::read_to_string(repository("docs/src/run-folder.md")).unwrap();
    let snippet = page.split_once("```python\n").unwrap().1.split_once("```").unwrap().0;
    let output = Command::new(python).current_dir(scratch.path()).args(["-c", snippet]).output();
    let ended = Ended::from(output.unwrap()).with_code(0);
    assert!(ended.stdout.contains("(200, 2)"), "{}", ended.stdout);
    assert!(ended.stdout.contains("'0.weight': (16, "), "{}", ended.stdout);
}

/// Prints what the official package finds: tags, and the training steps of the loss.
const OFFICIAL: &str = "
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={'tensors': 0, 'scalars': 0, 'images': 0, 'histograms': 0})
events.Reload()
tags = events.Tags()
print(json.dumps({
    'scalars': tags['scalars'], 'images': tags['images'], 'histograms': tags['histograms'], 'tensors': tags['tensors'],
    'loss': [e.step for e in events.Scalars('train/loss')],
    'weights': [e.step for e in events.Histograms('weights/0.weight')],
    'image': [[e.step, e.width > 0, len(e.encoded_image_string)] for e in events.Images('plots/scatter')],
    'text': events.Tensors('configuration')[0].tensor_proto.string_val[0].decode(),
}))
";

#[test]
fn the_official_tensorboard_package_reads_a_run() {
    let Some(python) = python("the event file, with the tensorboard package") else { return };
    let scratch = Scratch::new("official");
    run_tiny(RUNNER, &scratch, "run", &SHORT).with_code(0);
    let folder = scratch.join("run");
    let output =
        Command::new(python).args(["-c", OFFICIAL]).arg(folder.join("tensorboard")).output();
    let read: Value =
        serde_json::from_str(&Ended::from(output.unwrap()).with_code(0).stdout).unwrap();
    let tags = |kind: &str| read[kind].as_array().unwrap().clone();
    for tag in [
        "train/loss",
        "train/gradient_norm",
        "train/learning_rate",
        "validation/loss",
        "metrics/mmd",
    ] {
        assert!(tags("scalars").contains(&json!(tag)), "{tag}: {read}");
    }
    let steps: Vec<u64> = (1..=14).map(|k| 7 * k).chain([100]).collect();
    assert_eq!(read["loss"], json!(steps));
    assert_eq!(read["weights"], json!([50, 100]));
    assert!(tags("histograms").contains(&json!("gradients/0.weight")));
    let png = std::fs::metadata(folder.join("plots/scatter.png")).unwrap().len();
    assert_eq!(read["image"], json!([[100, true, png]]));
    let text = read["text"].as_str().unwrap();
    let config = text.trim_start_matches("```json\n").trim_end_matches("\n```");
    assert_eq!(
        serde_json::from_str::<Value>(config).unwrap(),
        read_json(&folder.join("config.json"))
    );
}
