//! What comes through pipes and goes to them, and what the shell's folder and variables mean.

use crate::{RUNNER, SHORT, says, short};
use isotropy_tests::end_to_end::{Ended, Scratch, command, metrics, run, tiny};
use std::io::Write;
use std::process::Stdio;

/// Runs a line of bash in a folder of the scratch folder; `$R` is the runner.
fn bash(scratch: &Scratch, line: &str) -> Ended {
    let mut command = command("bash", scratch);
    command.args(["-c", line]).env("R", RUNNER).env("TINY", tiny());
    command.output().unwrap().into()
}

#[test]
fn a_configuration_comes_through_a_pipe_once() {
    let scratch = Scratch::new("pipes");
    let short = SHORT.join(" ");
    bash(&scratch, r#""$R" validate <(cat "$TINY")"#).with_code(0);
    bash(&scratch, r#""$R" validate /dev/stdin < "$TINY""#).with_code(0);
    bash(&scratch, r#"cat "$TINY" | "$R" validate -"#).with_code(0);
    bash(&scratch, r#"cat "$TINY" | "$R" validate /dev/fd/0"#).with_code(0);
    bash(&scratch, &format!(r#"cat "$TINY" | "$R" --config /dev/stdin --out a {short}"#))
        .with_code(0);
    bash(&scratch, &format!(r#"cat "$TINY" | "$R" --config - --out b {short}"#)).with_code(0);
    assert_eq!(metrics(&scratch.join("a")), metrics(&scratch.join("b")));
    let again = format!(r#""$R" --config <(cat "$TINY") --out a --resume {short}"#);
    says(&bash(&scratch, &again).with_code(0).stdout, &["is finished"]);
    // Mistakes have their places.
    let wrong = bash(&scratch, r#"echo '{"schema": 1, "nam": 2}' | "$R" validate -"#).with_code(2);
    says(&wrong.stderr, &["-:1:", "nam"]);
    bash(&scratch, r#""$R" validate - < /dev/null"#).with_code(2);
    bash(&scratch, r#"head -c 2000000 /dev/zero | "$R" validate -"#).with_code(2);
}

#[test]
fn what_a_piped_configuration_extends_starts_at_the_shells_folder() {
    let scratch = Scratch::new("pipe-extends");
    std::fs::create_dir(scratch.join("sub")).unwrap();
    std::fs::copy(tiny(), scratch.join("base.json")).unwrap();
    std::fs::copy(tiny(), scratch.join("sub/base.json")).unwrap();
    let child = r#"{"extends": "base.json", "seed": 3}"#;
    scratch.write("child.json", child);
    for line in [
        r#""$R" validate <(cat child.json)"#,
        r#""$R" validate - < child.json"#,
        r#"cat child.json | "$R" validate /dev/stdin"#,
        r#"mkfifo sub/pipe.json; cat child.json > sub/pipe.json & "$R" validate sub/pipe.json"#,
        // A file that extends a pipe.
        r#"mkfifo parent; cat base.json > parent & echo '{"extends": "parent"}' > c.json; "$R" validate c.json"#,
        r#""$R" check --config <(cat child.json) | grep -q ' checks: '"#,
    ] {
        bash(&scratch, line).with_code(0);
    }
    let sweep =
        r#"{"schema": 1, "name": "s", "base": "base.json", "axes": [{"path": "seed_of_nothing"}]}"#;
    scratch.write(
        "sweep.json",
        &sweep.replace(
            r#"{"path": "seed_of_nothing"}"#,
            r#"{"path": "train.steps", "values": [10, 20]}"#,
        ),
    );
    let dry = bash(&scratch, r#""$R" sweep <(cat sweep.json) --dry-run"#).with_code(0);
    says(&dry.stdout, &["steps=10", "steps=20"]);
    let dry = bash(&scratch, r#"cat sweep.json | "$R" sweep - --dry-run"#).with_code(0);
    says(&dry.stdout, &["steps=10", "steps=20"]);
}

#[test]
fn a_pipe_that_is_read_twice_would_hang_or_fail() {
    // Written slowly, and closed for good after the first reader: a second reading finds nothing.
    let scratch = Scratch::new("slow-pipe");
    let mut child = command(RUNNER, &scratch)
        .args(["validate", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = std::fs::read(tiny()).unwrap();
    let mut input = child.stdin.take().unwrap();
    for part in text.chunks(200) {
        input.write_all(part).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn output_that_cannot_be_written_is_no_defect() {
    let scratch = Scratch::new("full-output");
    if !std::path::Path::new("/dev/full").exists() {
        println!("SKIPPED: there is no /dev/full");
        return;
    }
    for listing in [
        "list",
        "list --json",
        "describe process vp",
        "describe --all",
        "schema",
        "doctor",
        "completions bash",
        "data list",
        "validate \"$TINY\"",
        "check group so2",
        "sweep schema",
    ] {
        let ended = bash(&scratch, &format!("\"$R\" {listing} > /dev/full"));
        let ended = ended.with_code(1);
        says(&ended.stderr, &["standard output", "No space left"]);
        bash(&scratch, &format!("\"$R\" {listing} >&-"));
        let closed = bash(&scratch, &format!("set -o pipefail; \"$R\" {listing} | true"));
        assert!(!closed.stderr.contains("defect"), "{listing}: {}", closed.stderr);
    }
    // A run is done, whoever listened.
    let line = format!(r#""$R" --config "$TINY" --out run {} > /dev/full"#, SHORT.join(" "));
    says(&bash(&scratch, &line).with_code(0).stderr, &["standard output"]);
    assert!(scratch.join("run/metrics.json").exists());
    let sample = r#""$R" sample --run run --count 2 > /dev/full"#;
    bash(&scratch, sample).with_code(0);
}

#[test]
fn without_a_home_nothing_is_put_into_the_current_folder() {
    let scratch = Scratch::new("no-home");
    let homeless = |line: &str| {
        bash(
            &scratch,
            &format!(
                "unset HOME ISOTROPY_DATA ISOTROPY_CACHE XDG_DATA_HOME XDG_CACHE_HOME; {line}"
            ),
        )
    };
    for line in ["data list", "data fetch mnist", "doctor"] {
        let ended = homeless(&format!("\"$R\" {line}")).with_code(2);
        says(&ended.stderr, &["HOME", "--data-dir", "ISOTROPY_DATA"]);
    }
    let digits = r#"{"schema": 1, "name": "d", "dataset": {"type": "rotated-digits"},
        "model": {"type": "digit-classifier"}, "objective": {"type": "cross-entropy"},
        "train": {"steps": 1}}"#;
    scratch.write("digits.json", digits);
    let ended = homeless(r#""$R" --config digits.json"#).with_code(3);
    says(&ended.stderr, &["set HOME, ISOTROPY_DATA or --data-dir"]);
    let names = std::fs::read_dir(scratch.path()).unwrap().flatten().map(|e| e.file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["digits.json"]);
    // What needs no data needs no home.
    homeless(&format!(r#""$R" --config "$TINY" --out run {}"#, SHORT.join(" "))).with_code(0);
}

#[test]
fn a_relative_path_in_a_flag_starts_at_the_shells_folder() {
    let scratch = Scratch::new("relative-flags");
    short(&scratch, "first", &[]).with_code(0);
    std::fs::create_dir_all(scratch.join("configs")).unwrap();
    std::fs::create_dir_all(scratch.join("work")).unwrap();
    std::fs::copy(tiny(), scratch.join("configs/tiny.json")).unwrap();
    let short = SHORT.join(" ");
    let init = "train.init_from=../first/weights.safetensors";
    let line =
        format!(r#"cd work; "$R" --config ../configs/tiny.json --out run {short} --set {init}"#);
    bash(&scratch, &line).with_code(0);
    // The configuration's own paths start at its folder, as before.
    let text = std::fs::read_to_string(tiny()).unwrap();
    let text = text.replacen(
        "\"train\": {",
        "\"train\": {\"init_from\": \"../first/weights.safetensors\", ",
        1,
    );
    scratch.write("configs/own.json", &text);
    let line = format!(r#""$R" --config configs/own.json --out own {short}"#);
    bash(&scratch, &line).with_code(0);
    assert_eq!(metrics(&scratch.join("own")), metrics(&scratch.join("work/run")));
    run(RUNNER, &scratch, &["--config", "work/run/config.json", "--out", "again"]).with_code(0);
    assert_eq!(metrics(&scratch.join("again")), metrics(&scratch.join("own")));
}
