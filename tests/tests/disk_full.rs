//! Runs on a disk that fills up.

#![allow(clippy::unwrap_used)]

use isotropy_tests::end_to_end::{Ended, Scratch, command, tiny};
use runner::checkpoint::latest_valid;

const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");
/// Histograms at every step fill the event file fast.
const GROW: &str = "train.histogram_every=1";

fn earlier_checkpoints_load(folder: &std::path::Path) {
    let found = latest_valid(folder).unwrap();
    assert_eq!(found.warnings, Vec::<String>::new());
    let step = found.checkpoint.expect("there is an earlier checkpoint").step;
    assert!((10..500).contains(&step), "{step}");
}

#[test]
fn a_full_disk_says_so_and_loses_no_checkpoint() {
    let scratch = Scratch::new("disk");
    std::fs::create_dir(scratch.join("small")).unwrap();
    // A small file system of our own, in a name space that ends with the command.
    let script = r#"
        mount -t tmpfs -o size=1m tmpfs small || exit 99
        "$@"; code=$?
        cp -r small/run/checkpoints copy
        exit $code"#;
    let output = command("unshare", &scratch)
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", RUNNER])
        .arg("--config")
        .arg(tiny())
        .args(["--out", "small/run", "--set", GROW])
        .output();
    let made = output.as_ref().is_ok_and(|o| !matches!(o.status.code(), Some(99) | None));
    let ended: Ended = match output {
        Ok(output) if made && !String::from_utf8_lossy(&output.stderr).starts_with("unshare:") => {
            output.into()
        }
        other => {
            println!(
                "SKIPPED: no small file system can be mounted here, so a full disk was not tried ({other:?})"
            );
            return;
        }
    };
    let ended = ended.with_code(1);
    assert!(
        ended.stderr.contains("disk is full") || ended.stderr.contains("No space left"),
        "{}",
        ended.stderr
    );
    earlier_checkpoints_load(&scratch.join("copy"));
}

#[test]
fn a_file_that_may_not_grow_says_so_and_loses_no_checkpoint() {
    let scratch = Scratch::new("limit");
    // 300 KB a file (the unit is 512 bytes); the write fails instead of the signal that kills.
    let script = r#"ulimit -f 600; trap '' XFSZ; exec "$@""#;
    let ended: Ended = command("sh", &scratch)
        .args(["-c", script, "sh", RUNNER, "--config"])
        .arg(tiny())
        .args(["--out", "run", "--set", GROW])
        .output()
        .expect("there is a shell")
        .into();
    let ended = ended.with_code(1);
    assert!(
        ended.stderr.contains("too large") && ended.stderr.contains("tfevents"),
        "{}",
        ended.stderr
    );
    earlier_checkpoints_load(&scratch.join("run/checkpoints"));
}
