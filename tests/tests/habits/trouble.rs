//! Limits that contradict each other, parts that are empty, and sizes that no memory holds: found
//! before the first step, and by `validate`.

use crate::{RUNNER, says, short};
use isotropy_tests::end_to_end::{Scratch, checkpoints, metrics, run, tiny};

/// Refused by `validate` and by a run, which leaves no folder.
#[track_caller]
fn refused(sets: &[&str], words: &[&str]) {
    let scratch = Scratch::new(&format!("trouble-{}", std::panic::Location::caller().line()));
    let config = tiny();
    let flags: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let validate = [&["validate", config.to_str().unwrap()], &flags[..]].concat();
    for ended in [run(RUNNER, &scratch, &validate), short(&scratch, "run", &flags)] {
        says(&ended.with_code(2).stderr, words);
    }
    assert!(!scratch.join("run").exists(), "{sets:?} left a run folder");
}

#[test]
fn a_run_without_validation_points_trains_to_its_end() {
    for every in ["0", "1", "7", "1000"] {
        let scratch = Scratch::new(&format!("no-validation-{every}"));
        let every = format!("train.validate_every={every}");
        let constant = r#"train.learning_rate={"type": "constant"}"#;
        let sets = ["--set", "dataset.validation_points=0", "--set", &every, "--set", constant];
        short(&scratch, "run", &sets).with_code(0);
        let folder = scratch.join("run");
        assert_eq!(checkpoints(&folder).last(), Some(&20));
        let training = metrics(&folder)["training"].clone();
        assert!(training["validation_loss"].is_null(), "{training}");
        let again = short(&scratch, "run", &[&sets[..], &["--resume"]].concat()).with_code(0);
        says(&again.stdout, &["is finished"]);
        run(RUNNER, &scratch, &["evaluate", "--run", "run"]).with_code(0);
    }
}

#[test]
fn what_goes_by_an_empty_split_is_refused_before_the_first_step() {
    let none = "dataset.validation_points=0";
    let words = ["validation split is empty", "validation points"];
    refused(
        &[none, r#"train.early_stop={"patience": 2}"#],
        &[&words[..], &["early_stop"]].concat(),
    );
    // The configuration has a plateau schedule.
    refused(&[none], &[&words[..], &["plateau"]].concat());
    let none = "dataset.test_points=0";
    refused(&[none], &["test split is empty", "samples"]);
    refused(&[none, "sampler=null"], &["test split is empty", "metrics"]);
    refused(
        &["sampling.start=input", "sampling.count=800", "sampling.batch=800"],
        &["800 inputs", "test split has 400"],
    );
}

#[test]
fn metrics_of_nothing_are_refused() {
    refused(&["sampling.count=0"], &["of nothing", "sampling.count=0"]);
    refused(&["evaluate.reference=0"], &["evaluate.reference=0"]);
    refused(&["evaluate.reference=-3"], &["evaluate.reference=-3"]);
    // Nothing is measured, nothing is drawn: that is a training run.
    let scratch = Scratch::new("only-training");
    let sets = ["--set", "sampling.count=0", "--set", "evaluate={}"];
    short(&scratch, "run", &sets).with_code(0);
    let sets = ["--set", "sampler=null", "--set", "sampling={}", "--set", "evaluate={}"];
    short(&scratch, "second", &[&sets[..], &["--set", "dataset.test_points=0"]].concat())
        .with_code(0);
}

#[test]
fn a_stop_that_never_looks_is_refused() {
    refused(
        &["train.validate_every=0", r#"train.early_stop={"patience": 2}"#],
        &["early_stop", "train.validate_every"],
    );
}

#[test]
fn what_no_memory_holds_is_refused_with_an_estimate() {
    let scratch = Scratch::new("too-many-samples");
    short(&scratch, "run", &[]).with_code(0);
    let count = ["sample", "--run", "run", "--count", "1000000000000000"];
    let ended = run(RUNNER, &scratch, &count).with_code(2);
    says(&ended.stderr, &["1000000000000000 samples", "memory", "PB"]);
    let most = ["sample", "--run", "run", "--count", "9223372036854775807"];
    run(RUNNER, &scratch, &most).with_code(2);
    // A long way between two log entries is no list of that length.
    let wide = ["--set", "train.log_every=1000000000000"];
    short(&scratch, "wide", &wide).with_code(0);
}

#[test]
fn what_cannot_change_the_result_may_change_on_the_way() {
    let scratch = Scratch::new("free-fields");
    short(&scratch, "whole", &[]).with_code(0);
    short(&scratch, "run", &[]).with_code(0);
    let folder = scratch.join("run");
    for step in checkpoints(&folder).into_iter().filter(|step| *step > 10) {
        std::fs::remove_dir_all(isotropy_tests::end_to_end::checkpoint(&folder, step)).unwrap();
    }
    std::fs::remove_file(folder.join("metrics.json")).unwrap();
    let free = [
        "--resume",
        "--set",
        "description=other words",
        "--set",
        "train.log_every=3",
        "--set",
        "train.histogram_every=5",
        "--set",
        "train.checkpoint.every=4",
        "--set",
        "train.checkpoint.keep=2",
        "--set",
        "name=another",
    ];
    short(&scratch, "run", &free).with_code(0);
    assert_eq!(metrics(&folder), metrics(&scratch.join("whole")));
    let config = isotropy_tests::end_to_end::read_json(&folder.join("config.json"));
    assert_eq!(config["description"], "other words", "written down as it is now");
    let other = ["--resume", "--set", "train.validate_every=3"];
    says(&short(&scratch, "run", &other).with_code(2).stderr, &["/train/validate_every"]);
}

#[test]
fn a_sampler_inside_a_metric_is_checked_like_that_of_the_experiment() {
    let nll = r#"evaluate.metrics=[{"type": "nll", "method": "rk4"}]"#;
    refused(&[nll], &["rk4"]);
}
