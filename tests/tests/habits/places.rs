//! Files that commands write: tried before the work, never in place of others; and what may not be
//! written can still be read.

use crate::{RUNNER, listing, says, short};
use isotropy_tests::end_to_end::{Ended, Scratch, command, run};

#[test]
fn samples_have_a_place_before_they_are_drawn_and_replace_none() {
    let scratch = Scratch::new("sample-places");
    short(&scratch, "run", &[]).with_code(0);
    let sample = |more: &[&str]| {
        run(RUNNER, &scratch, &[&["sample", "--run", "run", "--count", "3"], more].concat())
    };
    let folder = scratch.join("run");
    let before = listing(&folder);
    std::fs::create_dir(scratch.join("folder")).unwrap();
    for (out, words) in [
        ("not/there/x.npz", "there is no folder"),
        ("folder", "no place for a file"),
        ("folder/", "no place for a file"),
        ("new/", "no place for a file"),
        ("run/config.json/x.npz", "there is no folder"),
        ("run/samples/samples.npz", "already exists"),
        ("run/weights.safetensors", "already exists"),
    ] {
        let ended = sample(&["--out", out]).with_code(2);
        says(&ended.stderr, &[words, "--out"]);
        assert!(!ended.stderr.contains("sample 3/3"), "drawn before: {}", ended.stderr);
        assert_eq!(listing(&folder), before, "{out}");
    }
    assert!(!scratch.join("not").exists() && !scratch.join("new").exists());

    // Each seed and count has a file of its own.
    let names = |seed: &[&str]| sample(seed).with_code(0).stdout;
    says(&names(&["--seed", "1"]), &["samples-3-seed-1.npz"]);
    says(&names(&["--seed", "2"]), &["samples-3-seed-2.npz"]);
    let read = |seed: u64| std::fs::read(folder.join(format!("samples/samples-3-seed-{seed}.npz")));
    let (one, two) = (read(1).unwrap(), read(2).unwrap());
    assert!(one != two);
    says(&sample(&["--seed", "1"]).with_code(2).stderr, &["already exists", "--replace"]);
    sample(&["--seed", "7", "--out", "run/samples/samples-3-seed-1.npz", "--replace"]).with_code(0);
    assert!(read(1).unwrap() != one, "it was asked for");
    assert_eq!(read(2).unwrap(), two);
    let samples = std::fs::read_dir(folder.join("samples")).unwrap().count();
    assert_eq!(samples, 3, "no half-written file stays");
    // A name that no file system takes.
    let long = format!("{}.npz", "x".repeat(300));
    let ended = sample(&["--out", &long]).with_code(1);
    assert!(!ended.stderr.contains("sample 3/3"), "{}", ended.stderr);
    sample(&["--count", "3", "--out", ""]).with_code(2);
}

#[test]
fn charts_and_schemas_replace_nothing_unasked() {
    let scratch = Scratch::new("chart-places");
    scratch.write(
        "lines.json",
        r#"{"series": [{"name": "a", "points": [[1, 2, null], [2, 1, null]]}]}"#,
    );
    scratch.write("mine.png", "mine");
    let chart = |more: &[&str]| run(RUNNER, &scratch, &[&["chart", "lines.json"], more].concat());
    says(&chart(&["--out", "mine"]).with_code(2).stderr, &["mine.png already exists"]);
    assert!(!scratch.join("mine.svg").exists());
    chart(&["--out", "mine", "--replace"]).with_code(0);
    assert!(std::fs::read(scratch.join("mine.png")).unwrap() != b"mine");
    chart(&[]).with_code(0);
    says(&chart(&[]).with_code(2).stderr, &["lines.png already exists"]);

    scratch.write("schema.tmp", "mine");
    run(RUNNER, &scratch, &["schema", "--out", "schema.json"]).with_code(0);
    run(RUNNER, &scratch, &["schema", "--out", "schema.json"]).with_code(2);
    run(RUNNER, &scratch, &["schema", "--out", "schema.json", "--replace"]).with_code(0);
    assert_eq!(std::fs::read(scratch.join("schema.tmp")).unwrap(), b"mine");
}

#[test]
fn evaluating_changes_what_it_announces_and_nothing_else() {
    let scratch = Scratch::new("evaluate-reads");
    short(&scratch, "run", &[]).with_code(0);
    let folder = scratch.join("run");
    // A last line that was cut off, and a record that is half there: nothing that a reader mends.
    let log = folder.join("log.jsonl");
    let mut text = std::fs::read_to_string(&log).unwrap();
    text.push_str("{\"step\": 21, \"lo");
    std::fs::write(&log, text).unwrap();
    let events = isotropy_tests::end_to_end::event_file(&folder);
    let mut bytes = std::fs::read(&events).unwrap();
    bytes.extend([1, 2, 3]);
    std::fs::write(&events, bytes).unwrap();
    let kept = |all: Vec<(String, Vec<u8>)>| -> Vec<(String, Vec<u8>)> {
        let announced = ["metrics.json", "weights.safetensors", "samples.npz", ".png"];
        all.into_iter()
            .filter(|(name, _)| !announced.iter().any(|end| name.ends_with(end)))
            .collect()
    };
    let before = kept(listing(&folder));
    run(RUNNER, &scratch, &["evaluate", "--run", "run"]).with_code(0);
    assert_eq!(kept(listing(&folder)), before);
    // With a place of its own nothing at all is changed.
    let before = listing(&folder);
    run(RUNNER, &scratch, &["evaluate", "--run", "run", "--out", "aside"]).with_code(0);
    assert_eq!(listing(&folder), before);
    let metrics = isotropy_tests::end_to_end::metrics;
    assert_eq!(metrics(&scratch.join("aside")), metrics(&folder));
    // The same again is the same; another run's folder is not written over.
    run(RUNNER, &scratch, &["evaluate", "--run", "run", "--out", "aside"]).with_code(0);
    short(&scratch, "other", &[]).with_code(0);
    let other = listing(&scratch.join("other"));
    run(RUNNER, &scratch, &["evaluate", "--run", "run", "--out", "other"]).with_code(2);
    assert_eq!(listing(&scratch.join("other")), other);
}

#[test]
fn a_run_that_may_only_be_read_is_read() {
    let scratch = Scratch::new("read-only");
    std::fs::create_dir(scratch.join("archive")).unwrap();
    let config = isotropy_tests::end_to_end::tiny();
    // A file system of our own, in a name space that ends with the command, made read-only.
    let script = r#"
        mount -t tmpfs tmpfs archive || exit 99
        "$R" --config "$CONFIG" --out archive/run --set train.steps=20 --set sampling.count=20 \
            --set train.checkpoint.every=10 --set sampling.batch=20 > /dev/null 2>&1 || exit 98
        cp "$CHART" archive/chart.json
        mount -o remount,ro archive || exit 99
        "$R" sample --run archive/run --count 3 --out x.npz || exit 1
        "$R" evaluate --run archive/run --out measured || exit 2
        "$R" evaluate --run archive/run --step 10 --out halfway || exit 3
        "$R" reproduce --run archive/run --out again || exit 4
        "$R" chart archive/chart.json --out chart || exit 5
        "$R" --config archive/run/config.json --out third || exit 6
        "$R" --config archive/run/config.json --out archive/run --resume || exit 7
        "$R" sample --run archive/run --count 3; [ $? = 1 ] || exit 8
        "$R" evaluate --run archive/run; [ $? = 1 ] || exit 9
        "$R" reproduce --run archive/run; [ $? = 1 ] || exit 10
        exit 0"#;
    let chart = scratch.write(
        "chart.json",
        r#"{"series": [{"name": "a", "points": [[1, 2, null], [2, 1, null]]}]}"#,
    );
    let output = command("unshare", &scratch)
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .env("R", RUNNER)
        .env("CONFIG", config)
        .env("CHART", chart)
        .output();
    let ended: Ended = match output {
        Ok(output)
            if !matches!(output.status.code(), Some(99) | None)
                && !String::from_utf8_lossy(&output.stderr).starts_with("unshare:") =>
        {
            output.into()
        }
        other => {
            println!("SKIPPED: no file system can be mounted here ({other:?})");
            return;
        }
    };
    let ended = ended.with_code(0);
    for file in ["x.npz", "measured/metrics.json", "halfway/metrics.json", "again/metrics.json"] {
        assert!(scratch.join(file).exists(), "{file}");
    }
    assert_eq!(ended.stderr.matches("with --out").count(), 3, "{}", ended.stderr);
}

#[test]
fn a_reproduction_lies_beside_the_run_however_it_is_named() {
    let scratch = Scratch::new("beside");
    short(&scratch, "run", &[]).with_code(0);
    run(RUNNER, &scratch, &["reproduce", "--run", "run/"]).with_code(0);
    assert!(scratch.join("run-reproduced/metrics.json").exists());
    assert!(!scratch.join("run/-reproduced").exists());
    let mut inside = command(RUNNER, &scratch);
    inside.current_dir(scratch.join("run"));
    let ended = Ended::from(inside.args(["reproduce", "--run", "."]).output().unwrap());
    says(&ended.with_code(2).stderr, &["run-reproduced", "--out"]);
}
