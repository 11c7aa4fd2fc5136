//! Sweeps: mistakes before anything runs, failing cells, what is reused, reports.

#![allow(clippy::unwrap_used)]

mod sweep_support;

use isotropy_tests::end_to_end::{Scratch, finish, run, send, wait_until};
use std::path::Path;
use std::time::{Duration, SystemTime};
use sweep_support::{RUNNER, all_metrics, cells, start_sweep, sweep, sweep_file};

const SHORT: &str = r#""set": {"train.steps": 30, "evaluate.metrics": [{"type": "mmd"}]}"#;

#[track_caller]
fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "'{word}' is not in:\n{text}");
    }
}

fn modified(path: &Path) -> SystemTime {
    std::fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn all_mistakes_of_a_sweep_file_are_shown_with_their_places() {
    let scratch = Scratch::new("sweep-mistakes");
    sweep_file(
        &scratch,
        "wrong",
        r#""axes": [
  {"path": "sampler.steps", "values": [2, 5], "labels": ["two"]},
  {"paths": ["dataset", "drive"], "values": [[1], 2]},
  {"path": "train.batch", "values": [8, 8]},
  {"path": "seed", "values": [1]},
  {"name": "kind", "presets": ["fats"]},
  {"path": "a..b", "values": [1]},
  {"path": "threads"}
],
"presets": {"fast": {"sampler.steps": 1}},
"exclude": [{"stepps": "2"}, {"steps": "7"}],
"seeds": [1, 1],
"budget": {"steps": 3, "minutes": 2},
"pictures": [{"x": "steps", "y": "mmd", "lines": "knd"}]"#,
    );
    let ended = sweep(&scratch, "wrong", &[]).with_code(2);
    has(
        &ended.stderr,
        &[
            "wrong.json:6:57: there are 1 labels for 2 values",
            "wrong.json:7:46: this value has 1 elements, and there are 2 paths",
            "wrong.json:7:51: each value must be a list of 2",
            "wrong.json:8:41: two values of the axis are called `8`",
            "wrong.json:9:12: the seed is not set by a path",
            "wrong.json:10:32: there is no preset `fats`",
            "did you mean `fast`?",
            "wrong.json:11:12: the path has an empty name",
            "wrong.json:12:3: the axis has no `values`",
            "wrong.json:15:14: there is no axis `stepps`",
            "wrong.json:15:40: `steps` has no value `7`",
            "wrong.json:16:10: a seed is listed twice",
            "wrong.json:17:11: a budget is either",
            "wrong.json:18:50: there is no axis `knd`",
        ],
    );
    assert!(!scratch.join("wrong").exists());
    sweep_file(
        &scratch,
        "keys",
        r#""axis": [], "seeds": {"cuont": 3}, "search": {"type": "gird"}"#,
    );
    let ended = sweep(&scratch, "keys", &[]).with_code(2);
    has(&ended.stderr, &["keys.json:5:1", "`axes`", "cuont", "count", "gird", "grid"]);
    scratch.write("orphan.json", r#"{"schema": 1, "name": "a", "base": "nowhere.json"}"#);
    let ended = sweep(&scratch, "orphan", &[]).with_code(2);
    has(&ended.stderr, &["orphan.json:1:36", "nowhere.json"]);
}

#[test]
fn mistakes_of_all_cells_are_shown_together_once_each() {
    let scratch = Scratch::new("sweep-cells");
    sweep_file(
        &scratch,
        "cells",
        r#""set": {"train.btach": 3},
"axes": [
  {"path": "sampler.steps", "values": [2, 0]},
  {"path": "drive", "values": [{"type": "polar"}, {"type": "polr"}, {"type": "trivial"}]},
  {"path": "model.predicts", "values": ["field", "noise"]}
]"#,
    );
    let ended = sweep(&scratch, "cells", &[]).with_code(2);
    has(
        &ended.stderr,
        &[
            "cells.json:5:9: unknown field `btach`",
            "in every cell, 12 combinations",
            "cells.json:7:43",
            "cells.json:8:60: unknown representation `polr`",
            "steps=2,drive=polr,predicts=field",
            "and 1 more",
        ],
    );
    assert_eq!(ended.stderr.matches("unknown representation").count(), 1);
    // What only building finds comes from all cells too, at the place in the sweep or in the base.
    sweep_file(
        &scratch,
        "build",
        r#""axes": [
  {"path": "drive", "values": [{"type": "polar"}, {"type": "trivial"}]},
  {"path": "sampling.ema", "values": [0.99, 0.5]}
]"#,
    );
    let ended = sweep(&scratch, "build", &["--dry-run"]).with_code(2);
    has(&ended.stderr, &["build.json:6:60", "build.json:7:45", "drive=polar,ema=0.5"]);
    assert!(!scratch.join("build").exists());
    // And so does what a sampler says of its process in its first step only.
    sweep_file(&scratch, "steps", r#""axes": [{"path": "sampler.steps", "values": [2, 500]}]"#);
    let ended = sweep(&scratch, "steps", &[]).with_code(2);
    has(&ended.stderr, &["500 sampling steps", "in the cell steps=500"]);
}

#[test]
fn a_dry_run_prints_parameters_and_times_and_writes_nothing() {
    let scratch = Scratch::new("sweep-dry");
    sweep_file(
        &scratch,
        "dry",
        r#""axes": [{"path": "model.hidden", "values": [[8], [16, 16]]}], "seeds": {"count": 2}"#,
    );
    let ended = sweep(&scratch, "dry", &["--dry-run"]).with_code(0);
    has(
        &ended.stdout,
        &["hidden=8,seed=0", "hidden=16-16,seed=1", "4 cells to run", " 404 ", "waiting"],
    );
    assert!(!ended.stdout.contains("could not be measured"), "{}", ended.stdout);
    assert!(!scratch.join("dry").exists());
    let ended = sweep(&scratch, "dry", &["--dry-run", "--only", "hidden=8,*"]).with_code(0);
    has(&ended.stdout, &["2 cells to run"]);
    let ended = sweep(&scratch, "dry", &["--dry-run", "--only", "hidden=9"]).with_code(2);
    has(&ended.stderr, &["--only hidden=9", "hidden=8,seed=0"]);
}

#[test]
fn a_failing_cell_stops_no_other_and_resume_redoes_only_what_is_missing() {
    let scratch = Scratch::new("sweep-fail");
    let axes = |rate: &str| {
        format!(
            r#"{SHORT}, "axes": [
  {{"name": "rate", "path": "train.optimizer.learning_rate", "values": [0.001, {rate}, 0.01]}}]"#
        )
    };
    sweep_file(&scratch, "fail", &axes("1e30"));
    let ended = sweep(&scratch, "fail", &["--jobs", "2"]).with_code(1);
    has(&ended.stderr, &["FAILED    rate=1e30,seed=0  exit code 4", "1 of 3 cells failed"]);
    let before: Vec<_> = cells(&scratch, "fail");
    let times: Vec<_> = [0, 2].map(|k| modified(&before[k].1.join("run/metrics.json"))).to_vec();
    let status = run(RUNNER, &scratch, &["sweep", "status", "fail"]).with_code(0).stdout;
    has(&status, &["2 of 3 cells finished, 1 failed", "exit code 4: error:", "mmd"]);
    let report = run(RUNNER, &scratch, &["sweep", "report", "fail"]).with_code(0).stdout;
    has(&report, &["Failed cells", "rate=1e30,seed=0", "mmd by rate"]);
    // Without --resume nothing is touched; with it only the failed cell runs again.
    sweep(&scratch, "fail", &[]).with_code(2);
    let ended = sweep(&scratch, "fail", &["--resume"]).with_code(1);
    assert_eq!(ended.stderr.matches("started ").count(), 1, "{}", ended.stderr);
    // The changed sweep keeps what it can.
    sweep_file(&scratch, "fail", &axes("0.003"));
    let ended = sweep(&scratch, "fail", &["--resume"]).with_code(0);
    assert_eq!(ended.stderr.matches("started ").count(), 1, "{}", ended.stderr);
    let after = cells(&scratch, "fail");
    assert_eq!((&before[0], &before[2]), (&after[0], &after[2]));
    assert_ne!(before[1].1, after[1].1);
    let again: Vec<_> = [0, 2].map(|k| modified(&after[k].1.join("run/metrics.json"))).to_vec();
    assert_eq!(times, again);
    // A run of the tensorboard folder that belongs to no cell any more is gone.
    let runs = std::fs::read_dir(scratch.join("fail/tensorboard")).unwrap().flatten();
    let names: Vec<String> =
        runs.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(!names.iter().any(|name| name.contains("1e30")), "{names:?}");
}

#[test]
fn two_sweeps_share_their_cells() {
    let scratch = Scratch::new("sweep-share");
    let axis = |values: &str| {
        format!(r#"{SHORT}, "axes": [{{"path": "sampler.steps", "values": {values}}}]"#)
    };
    sweep_file(&scratch, "one", &axis("[2, 5]"));
    sweep_file(&scratch, "two", &axis("[5, 3]"));
    let shared = ["--cells", "shared", "--jobs", "2"];
    sweep(&scratch, "one", &shared).with_code(0);
    let ended = sweep(&scratch, "two", &shared).with_code(0);
    has(&ended.stderr, &["finished  steps=5,seed=0", "(before)"]);
    assert_eq!(ended.stderr.matches("started ").count(), 1, "{}", ended.stderr);
    assert_eq!(std::fs::read_dir(scratch.join("shared")).unwrap().count(), 3);
    assert_eq!(
        all_metrics(&scratch, "one")["steps=5,seed=0"],
        all_metrics(&scratch, "two")["steps=5,seed=0"]
    );
    // A cell is an ordinary run: from its file alone it comes out the same.
    let cell = cells(&scratch, "one")[0].1.join("cell.json");
    let arguments = ["--config", cell.to_str().unwrap(), "--out", "alone"];
    run(RUNNER, &scratch, &arguments).with_code(0);
    let alone = isotropy_tests::end_to_end::metrics(&scratch.join("alone"));
    assert_eq!(all_metrics(&scratch, "one")["steps=2,seed=0"], alone);
}

#[test]
fn a_cell_that_another_process_works_on_is_not_entered() {
    let scratch = Scratch::new("sweep-lock");
    sweep_file(
        &scratch,
        "lock",
        &format!(r#"{SHORT}, "axes": [{{"path": "sampler.steps", "values": [2, 3]}}]"#),
    );
    // The plan is made by a sweep that only runs the other cell.
    sweep(&scratch, "lock", &["--only", "steps=3"]).with_code(0);
    let folder = cells(&scratch, "lock")[0].1.clone();
    let held = std::fs::File::create(folder.join("lock")).unwrap();
    held.try_lock().unwrap();
    let mut child = start_sweep(&scratch, "lock", &["--resume"]);
    let started = SystemTime::now();
    let early = wait_until(&mut child, || started.elapsed().unwrap() > Duration::from_millis(2500));
    assert!(early && !folder.join("run").exists());
    let status = run(RUNNER, &scratch, &["sweep", "status", "lock"]).with_code(0).stdout;
    has(&status, &["running"]);
    drop(held);
    let (status, errors) = finish(child);
    assert!(status.success(), "{errors}");
    has(&errors, &["elsewhere steps=2,seed=0"]);
    assert!(folder.join("run/metrics.json").exists());
}

#[test]
fn a_signal_checkpoints_every_cell_and_the_sweep_goes_on_from_there() {
    let scratch = Scratch::new("sweep-signal");
    let rest = r#""set": {"train.checkpoint.every": 100000, "evaluate.metrics": [{"type": "mmd"}]},
        "axes": [{"path": "train.batch", "values": [16, 32, 64]}]"#;
    sweep_file(&scratch, "whole", rest);
    sweep(&scratch, "whole", &["--jobs", "2"]).with_code(0);
    let name = "interrupted";
    sweep_file(&scratch, name, rest);
    let mut child = start_sweep(&scratch, name, &["--jobs", "2"]);
    let begun = || {
        scratch.join(name).join("plan.json").exists()
            && cells(&scratch, name).iter().take(2).all(|(_, c)| c.join("run/log.jsonl").exists())
    };
    assert!(wait_until(&mut child, begun));
    std::thread::sleep(Duration::from_millis(100));
    send(&child, libc::SIGINT);
    let (status, errors) = finish(child);
    assert_eq!(status.code(), Some(75), "{errors}");
    has(&errors, &["--resume", "checkpoint written"]);
    let begun = cells(&scratch, name);
    let checkpointed = begun.iter().filter(|(_, c)| c.join("run/checkpoints").exists()).count();
    assert!(checkpointed >= 2, "{errors}");
    sweep(&scratch, name, &["--resume", "--jobs", "2"]).with_code(0);
    assert_eq!(all_metrics(&scratch, name), all_metrics(&scratch, "whole"));
}

#[test]
fn random_search_and_successive_halving_run_the_cells_they_should() {
    let scratch = Scratch::new("sweep-search");
    let axes = r#""axes": [{"path": "sampler.steps", "values": [2, 4, 8]}, {"path": "model.hidden", "values": [[4], [8]]}]"#;
    sweep_file(
        &scratch,
        "random",
        &format!(
            r#"{SHORT}, {axes}, "search": {{"type": "random", "count": 3, "seed": 1}},
            "exclude": [{{"steps": ["2", "4"], "hidden": "8"}}]"#
        ),
    );
    let dry = |name: &str| sweep(&scratch, name, &["--dry-run"]).with_code(0).stdout;
    let text = dry("random");
    has(&text, &["3 cells to run"]);
    assert!(!text.contains("steps=2,hidden=8") && !text.contains("steps=4,hidden=8"), "{text}");
    let names = |text: &str| -> Vec<String> {
        text.lines().filter_map(|l| l.split_whitespace().next().map(String::from)).collect()
    };
    assert_eq!(names(&text)[..4], names(&dry("random"))[..4]);
    sweep_file(
        &scratch,
        "halving",
        &format!(
            r#"{axes}, "set": {{"evaluate.metrics": [{{"type": "mmd"}}]}}, "budget": {{"steps": 60}}, 
            "search": {{"type": "successive-halving", "metric": "training.validation_loss", "first_steps": 10, "factor": 3}}"#
        ),
    );
    let ended = sweep(&scratch, "halving", &["--jobs", "2"]).with_code(0);
    has(
        &ended.stderr,
        &[
            "rung 0: 6 cells of 10 steps",
            "rung 1: 2 cells of 30 steps",
            "rung 2: 1 cells of 60 steps",
        ],
    );
    let report = run(RUNNER, &scratch, &["sweep", "report", "halving"]).with_code(0).stdout;
    has(&report, &["Best in the mean", "9 of 18 cells finished", "9 dropped"]);
    // What the first rung has left behind is shown as such, and is not asked for again.
    let status = run(RUNNER, &scratch, &["sweep", "status", "halving"]).with_code(0).stdout;
    let dropped = status.lines().filter(|line| line.contains(" dropped ")).count();
    assert_eq!(dropped, 9, "{status}");
    let again = sweep(&scratch, "halving", &["--dry-run", "--resume"]).with_code(0).stdout;
    has(&again, &["dropped", "0 cells to run"]);
    let ended = sweep(&scratch, "halving", &["--resume"]).with_code(0);
    assert!(!ended.stderr.contains("started "), "{}", ended.stderr);
}

#[test]
fn a_metric_that_no_cell_reports_is_refused_before_the_first_cell() {
    let scratch = Scratch::new("sweep-unknown-metric");
    let axes = r#""axes": [{"path": "sampler.steps", "values": [2, 4]}]"#;
    let set = r#""set": {"evaluate.metrics": [{"type": "mmd"}]}"#;
    for (k, (rest, words)) in [
        (r#""metrics": ["mmd", "w3"]"#, ["`metrics.1`", "'w3'", "mmd_multi_scale"]),
        (r#""metrics": ["training.seconds"]"#, ["`metrics.0`", "training.seconds", "validation"]),
        (
            r#""search": {"type": "successive-halving", "metric": "w1", "first_steps": 10}"#,
            ["`search.metric`", "'w1'", "mmd"],
        ),
        (r#""pictures": [{"x": "steps", "y": "mmdd"}]"#, ["`pictures.0.y`", "'mmdd'", "mmd"]),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("unknown-{k}");
        sweep_file(&scratch, &name, &format!("{axes}, {set}, {rest}"));
        let ended = sweep(&scratch, &name, &[]).with_code(2);
        has(&ended.stderr, &words);
        assert!(!scratch.join(&name).exists(), "{name} has begun");
    }
    let known = r#""metrics": ["mmd", "metrics.mmd", "training.validation_loss"],
        "pictures": [{"x": "steps", "y": "resources.seconds"}]"#;
    sweep_file(&scratch, "known", &format!("{axes}, {set}, {known}"));
    sweep(&scratch, "known", &["--dry-run"]).with_code(0);
}

#[test]
fn what_a_cluster_is_asked_for_leaves_a_cell_its_signals() {
    let scratch = Scratch::new("sweep-resources");
    for (k, (resources, words)) in [
        (r#"{"minutes": 2}"#, ["minutes", "3"]),
        (r#"{"options": ["--signal=TERM@30"]}"#, ["--signal", "checkpoint"]),
        (r#"{"options": ["--no-requeue"]}"#, ["--no-requeue", "queued again"]),
        (r#"{"options": ["--time=1"]}"#, ["--time", "`minutes`"]),
        (r#"{"options": ["-t1"]}"#, ["-t1", "`minutes`"]),
        (r#"{"options": ["--exclude=a\nrm"]}"#, ["one line", "exclude"]),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("resources-{k}");
        sweep_file(&scratch, &name, &format!(r#"{SHORT}, "resources": {resources}"#));
        let ended = sweep(&scratch, &name, &["--launch", "slurm"]).with_code(2);
        has(&ended.stderr, &words);
        assert!(!scratch.join(&name).exists(), "{name} has begun");
    }
}

/// A stand-in for sbatch runs the first task of the script that it is given.
#[test]
fn the_script_of_a_job_finds_folders_of_any_name() {
    let scratch = Scratch::new("sweep-script");
    let bin = scratch.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let sbatch = scratch
        .write("bin/sbatch", "#!/bin/sh\nSLURM_ARRAY_TASK_ID=0 sh \"$2\" >&2 || exit 1\necho 7\n");
    std::fs::set_permissions(&sbatch, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    sweep_file(&scratch, "quoted", &format!(r#"{SHORT}, "resources": {{"partition": "big one"}}"#));
    let out = "it's $HOME, \"a\" `b` #1 100%";
    let mut command = isotropy_tests::end_to_end::command(RUNNER, &scratch);
    command.args(["sweep", "quoted.json", "--out", out, "--launch", "slurm", "--data-dir", out]);
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let status = run(RUNNER, &scratch, &["sweep", "status", out]).with_code(0).stdout;
    has(&status, &["1 of 1 cells finished"]);
    let scripts = std::fs::read_dir(scratch.join(out).join("slurm")).unwrap().flatten();
    let script = scripts.map(|e| e.path()).find(|p| p.extension().is_some_and(|e| e == "sh"));
    let text = std::fs::read_to_string(script.unwrap()).unwrap();
    let log = r#"it\'s\ \$HOME,\ \"a\"\ \`b\`\ \#1\ 100%%/slurm/%A_%a.log"#;
    has(&text, &[r"--partition=big\ one", log]);
    // A line break would end the line of the list.
    sweep_file(&scratch, "broken", SHORT);
    let mut command = isotropy_tests::end_to_end::command(RUNNER, &scratch);
    command.args(["sweep", "broken.json", "--out", "a\nb", "--launch", "slurm"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    has(&String::from_utf8_lossy(&output.stderr), &["line break"]);
}

#[test]
fn the_report_is_written_in_every_format_with_pictures() {
    let scratch = Scratch::new("sweep-report");
    sweep_file(
        &scratch,
        "report",
        &format!(
            r#"{SHORT}, "axes": [{{"path": "train.batch", "values": [16, 32]}}, {{"name": "net", "path": "model.hidden", "values": [[4], [8]]}}],
            "seeds": {{"count": 3}},
            "metrics": ["training.validation_loss", {{"name": "training.parameters", "better": "lower"}}],
            "pictures": [{{"x": "training.parameters", "y": "training.validation_loss", "lines": "batch"}}]"#
        ),
    );
    sweep(&scratch, "report", &["--jobs", "2"]).with_code(0);
    let report = |format: &str| {
        run(RUNNER, &scratch, &["sweep", "report", "report", "--format", format])
            .with_code(0)
            .stdout
    };
    let csv = report("csv");
    assert_eq!(csv.lines().count(), 13, "{csv}");
    has(
        &csv,
        &["batch,net,seed,rung,steps", "finished", "training.validation_loss,training.parameters"],
    );
    // Mean, standard error, and the paired interval with 2 degrees of freedom, computed from the CSV.
    let rows: Vec<Vec<&str>> = csv.lines().skip(1).map(|l| l.split(',').collect()).collect();
    let of = |batch: &str, net: &str| -> Vec<f64> {
        let mine = rows.iter().filter(|row| row[0] == batch && row[1] == net);
        mine.map(|row| row[7].parse().unwrap()).collect()
    };
    let (a, b) = (of("16", "4"), of("32", "4"));
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let error = |v: &[f64]| {
        (v.iter().map(|x| (x - mean(v)).powi(2)).sum::<f64>()
            / (v.len() - 1) as f64
            / v.len() as f64)
            .sqrt()
    };
    let differences: Vec<f64> = b.iter().zip(&a).map(|(b, a)| b - a).collect();
    let half = 4.302_653 * error(&differences);
    let digits = |x: f64| (1.0 - x.log10().floor()).max(0.0) as usize;
    let (d, e) = (digits(error(&b)), digits(half));
    let expected = [
        format!("{:.d$} ± {:.d$}", mean(&b), error(&b)),
        format!(
            "{:+.e$} [{:+.e$}, {:+.e$}]",
            mean(&differences),
            mean(&differences) - half,
            mean(&differences) + half
        ),
    ];
    has(&report("table"), &[&expected[0], &expected[1], "Best in the mean", "of computing"]);
    has(
        &report("markdown"),
        &[
            "| batch |",
            "![training.validation_loss-by-batch](report/training.validation_loss-by-batch.png)",
            &expected[1],
        ],
    );
    has(&report("latex"), &["\\toprule", "training.validation\\_loss", "\\pm"]);
    for name in [
        "training.validation_loss-by-batch",
        "training.parameters-by-net",
        "curves-loss",
        "training.validation_loss-against-training.parameters",
    ] {
        let png = std::fs::read(scratch.join(&format!("report/report/{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG"), "{name}");
        let svg =
            std::fs::read_to_string(scratch.join(&format!("report/report/{name}.svg"))).unwrap();
        has(&svg, &["<svg", "polyline", "</svg>"]);
    }
}

#[test]
fn a_budget_in_minutes_becomes_steps_that_stay() {
    let scratch = Scratch::new("sweep-minutes");
    sweep_file(
        &scratch,
        "minutes",
        r#""set": {"evaluate.metrics": [{"type": "mmd"}]}, "budget": {"minutes": 0.002},
        "axes": [{"path": "model.hidden", "values": [[4], [64, 64]]}]"#,
    );
    sweep(&scratch, "minutes", &["--jobs", "1"]).with_code(0);
    let first = cells(&scratch, "minutes");
    let ended = sweep(&scratch, "minutes", &["--resume"]).with_code(0);
    assert_eq!(first, cells(&scratch, "minutes"));
    assert!(!ended.stderr.contains("started "), "{}", ended.stderr);
}

#[test]
fn shipped_sweeps_have_no_mistake() {
    let scratch = Scratch::new("sweep-shipped");
    let folder = isotropy_tests::end_to_end::repository("configs/sweeps");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().map(|e| e.path()).collect();
    assert!(!files.is_empty());
    for file in files {
        // All cells are resolved and built before it is found that none is asked for.
        let arguments = ["sweep", file.to_str().unwrap(), "--dry-run", "--only", "no cell"];
        let ended = run(RUNNER, &scratch, &arguments).with_code(2);
        has(&ended.stderr, &["matches --only no cell"]);
    }
}
