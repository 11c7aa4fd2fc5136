//! Every mistake ends with its documented exit code and a message, never with a panic.

#![allow(clippy::unwrap_used)]

use isotropy_tests::end_to_end::{Ended, Scratch, command, repository, run, run_tiny, start, tiny};
use std::process::Stdio;

const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");

/// Runs the tiny experiment with `--set` flags that make it wrong.
#[track_caller]
fn refused(sets: &[&str], words: &[&str]) {
    let scratch = Scratch::new(&format!("refused-{}", std::panic::Location::caller().line()));
    let flags: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let ended = run_tiny(RUNNER, &scratch, "run", &flags).with_code(2);
    for word in words {
        assert!(ended.stderr.contains(word), "'{word}' is not in: {}", ended.stderr);
    }
    assert!(!scratch.join("run").exists(), "{sets:?} left a run folder");
}

#[test]
fn values_that_no_schema_allows_are_configuration_mistakes() {
    refused(&["train.batch=0"], &["train.batch=0", "1"]);
    refused(&["train.steps=many"], &["train.steps=many"]);
    refused(&["train.stepz=3"], &["train.stepz", "steps"]);
    refused(&["no-equals-sign"], &["no-equals-sign"]);
    refused(&["sampler.type=group-stop"], &["group-stop", "group-step"]);
    refused(&["device=gpu"], &["gpu"]);
    refused(&["train.ema=[0.9, 0.9]"], &["named twice"]);
    refused(&["sampling.ema=0.5"], &["0.5", "0.99"]);
}

#[test]
fn components_that_do_not_fit_together_are_configuration_mistakes() {
    refused(
        &["model.predicts=field-sum", r#"sampler={"type": "probability-flow"}"#],
        &["field-sum", "cannot drive", "probability-flow"],
    );
    refused(&[r#"drive={"type": "trivial"}"#], &["drive"]);
    refused(&["drive=null"], &["drive"]);
    refused(&[r#"symmetry={"type": "rotation"}"#], &["symmetry"]);
    refused(&[r#"symmetry={"type": "image-rotation"}"#], &["symmetry"]);
    refused(&[r#"dataset={"type": "torus"}"#], &["drive"]);
    refused(&["objective=null"], &["objective"]);
    refused(&[r#"evaluate.plots=[{"type": "scatter"}, {"type": "scatter"}]"#], &["scatter.png"]);
    refused(&["train.init_from=nowhere.safetensors"], &["nowhere.safetensors"]);
    refused(&["sampling.repeats=3", "sampling.count=10"], &["10 is no multiple"]);
    // What a sampler demands of the process is known before the first step.
    let rk4 = r#"sampler={"type": "probability-flow", "method": "rk4"}"#;
    refused(&[rk4], &["\"rk4\"", "discrete steps", "heun"]);
    refused(&[r#"sampler={"type": "group-step", "steps": 5000}"#], &["5000 sampling steps"]);
}

#[test]
fn a_missing_gpu_is_explained() {
    if std::path::Path::new("/dev/nvidiactl").exists() {
        println!("SKIPPED: this machine has a GPU");
        return;
    }
    refused(&["device=cuda"], &["cuda", "cargo xtask libtorch --cuda", "runner doctor"]);
    refused(&["device=cuda:7"], &["cuda", "cpu"]);
}

#[test]
fn files_that_cannot_be_read_are_configuration_mistakes() {
    let scratch = Scratch::new("files");
    for (name, text) in [
        ("broken.json", "{\"schema\": 1,\n \"name\": }"),
        ("empty.json", ""),
        ("orphan.json", r#"{"extends": "missing-parent.json"}"#),
        ("no-model.json", r#"{"schema": 1, "name": "a", "dataset": {"type": "torus"}}"#),
    ] {
        scratch.write(name, text);
        let ended = run(RUNNER, &scratch, &["--config", name]).with_code(2);
        assert!(ended.stderr.contains(name), "{}", ended.stderr);
        let ended = run(RUNNER, &scratch, &["validate", name]).with_code(2);
        assert!(ended.stderr.contains(name), "{}", ended.stderr);
    }
    // A sweep is no experiment, and the place says why.
    scratch.write("sweep.json", r#"{"schema": 1, "name": "s", "base": "a.json", "axes": []}"#);
    for arguments in [["validate", "sweep.json"], ["--config", "sweep.json"]] {
        let ended = run(RUNNER, &scratch, &arguments).with_code(2);
        for words in ["sweep.json:1:", "sweep file", "runner sweep sweep.json --dry-run"] {
            assert!(ended.stderr.contains(words), "{}", ended.stderr);
        }
    }
    let ended = run(RUNNER, &scratch, &["--config", "nowhere.json"]).with_code(2);
    assert!(ended.stderr.contains("nowhere.json"), "{}", ended.stderr);
    let orphan = run(RUNNER, &scratch, &["--config", "orphan.json"]);
    assert!(orphan.stderr.contains("missing-parent.json"), "{}", orphan.stderr);
    assert!(!scratch.join("runs").exists());
}

#[test]
fn a_wrong_command_line_is_a_configuration_mistake() {
    let scratch = Scratch::new("usage");
    scratch.write("a-file", "");
    for arguments in [
        &["bogus"] as &[&str],
        &[],
        &["--set", "a=1"],
        &["list", "bogus"],
        &["describe", "process", "bogus"],
        &["describe", "bogus", "vp"],
        &["completions", "bogus"],
        &["data", "fetch", "bogus"],
        &["sample", "--run", "nowhere", "--count", "3"],
        &["evaluate", "--run", "nowhere"],
        &["reproduce", "--run", "nowhere"],
    ] {
        let ended = run(RUNNER, &scratch, arguments).with_code(2);
        assert!(!ended.stderr.is_empty(), "{arguments:?} says nothing");
    }
}

#[test]
fn missing_data_name_the_command_that_brings_them() {
    let scratch = Scratch::new("data");
    std::fs::create_dir(scratch.join("empty")).unwrap();
    let config = scratch.write(
        "digits.json",
        r#"{"schema": 1, "name": "digits", "dataset": {"type": "rotated-digits"},
            "model": {"type": "digit-classifier"}, "objective": {"type": "cross-entropy"},
            "train": {"steps": 1}}"#,
    );
    let config = config.to_str().unwrap();
    run(RUNNER, &scratch, &["validate", config]).with_code(0);
    let arguments = ["--config", config, "--data-dir", "empty", "--out", "run"];
    let ended = run(RUNNER, &scratch, &arguments).with_code(3);
    assert!(ended.stderr.contains("runner data fetch mnist"), "{}", ended.stderr);
    assert!(!scratch.join("run").exists(), "once the data are there, the same command must work");
    // The folder is given, but holds no data.
    let arguments = ["data", "fetch", "mnist", "--from", "empty", "--data-dir", "d"];
    assert!(run(RUNNER, &scratch, &arguments).with_code(3).stderr.contains("error:"));
}

#[test]
fn unfinished_runs_are_not_taken_for_finished_ones() {
    let scratch = Scratch::new("unfinished");
    let mut child = start(RUNNER, &scratch, "run", &[]);
    let steps = || isotropy_tests::end_to_end::checkpoints(&scratch.join("run"));
    assert!(isotropy_tests::end_to_end::wait_until(&mut child, || !steps().is_empty()));
    isotropy_tests::end_to_end::send(&child, libc::SIGKILL);
    isotropy_tests::end_to_end::finish(child);
    let ended = run(RUNNER, &scratch, &["reproduce", "--run", "run"]).with_code(3);
    assert!(ended.stderr.contains("--resume"), "{}", ended.stderr);
    run(RUNNER, &scratch, &["sample", "--run", "run", "--count", "5"]).with_code(3);
}

#[test]
fn a_closed_pipe_ends_a_listing_quietly() {
    let scratch = Scratch::new("pipe");
    for listing in ["list", "describe --all", "schema", "completions bash"] {
        let script = format!("{RUNNER} {listing} | head -n 1");
        let output = command("sh", &scratch).args(["-c", &script]).output().unwrap();
        let ended = Ended::from(output).with_code(0);
        assert_eq!(ended.stderr, "", "{listing}");
        assert_eq!(ended.stdout.lines().count(), 1, "{listing}");
    }
}

#[test]
fn a_run_survives_the_terminal_that_watched_it() {
    let scratch = Scratch::new("closed");
    let mut child = command(RUNNER, &scratch)
        .arg("--config")
        .arg(tiny())
        .args(["--out", "run", "--set", "train.steps=100"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
    assert!(scratch.join("run/metrics.json").exists());
}

#[test]
fn help_and_completions_are_there() {
    let scratch = Scratch::new("help");
    let help = run(RUNNER, &scratch, &["--help"]).with_code(0).stdout;
    for word in ["--config configs/quickstart.json", "--resume", "Exit codes", "75"] {
        assert!(help.contains(word), "'{word}' is not in the help");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = run(RUNNER, &scratch, &["completions", shell]).with_code(0).stdout;
        assert!(script.contains("reproduce"), "{shell}");
    }
    let doctor = run(RUNNER, &scratch, &["doctor"]).with_code(0).stdout;
    for word in ["libtorch", "2.13.0", "isotropy-diffusion", "runner data fetch mnist"] {
        assert!(doctor.contains(word), "'{word}' is not in: {doctor}");
    }
}

#[test]
fn the_documented_exit_codes_are_those_of_the_help() {
    let scratch = Scratch::new("codes");
    let help = run(RUNNER, &scratch, &["--help"]).stdout;
    let page = std::fs::read_to_string(repository("docs/src/configuration.md")).unwrap();
    for code in ["0", "1", "2", "3", "4", "75"] {
        assert!(page.contains(&format!("| {code} |")), "{code} is not in the page");
        assert!(help.contains(&format!("{code} ")), "{code} is not in the help");
    }
}
