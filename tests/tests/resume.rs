//! Runs that are killed, interrupted or damaged, and go on.

#![allow(clippy::unwrap_used)]

use isotropy_tests::end_to_end::{
    Outcome, Scratch, checkpoint, checkpoints, finish, run_tiny, send, start, wait_until,
};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");
/// No checkpoint but the one that a signal asks for, and the last.
const NO_CHECKPOINTS: [&str; 2] = ["--set", "train.checkpoint.every=100000"];

/// What the tiny experiment leaves when nothing happens to it.
fn uninterrupted() -> &'static Outcome {
    static OUTCOME: OnceLock<Outcome> = OnceLock::new();
    OUTCOME.get_or_init(|| {
        let scratch = Scratch::new("uninterrupted");
        run_tiny(RUNNER, &scratch, "run", &[]).with_code(0);
        Outcome::read(&scratch.join("run"))
    })
}

/// A small generator (SplitMix64): the moments are the same in every run of the test.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[test]
fn ten_kills_at_random_moments_leave_no_trace() {
    let scratch = Scratch::new("kill");
    let run = scratch.join("run");
    let mut random = Random(2);
    // The first moment lies in the set-up, the last after training; between them there are eight
    // steps from which on some milliseconds pass, into further steps or into a checkpoint.
    let mut steps: Vec<u64> = (0..8).map(|_| 20 + random.below(440)).collect();
    steps.sort_unstable();
    for moment in 0..10_usize {
        let mut child = start(RUNNER, &scratch, "run", &["--resume"]);
        let reached = |step: u64| checkpoints(&run).last().is_some_and(|last| *last >= step);
        let alive = wait_until(&mut child, || match moment {
            0 => run.join("config.json").exists(),
            9 => reached(500),
            k => reached(steps[k - 1]),
        });
        assert!(alive, "the process ended before moment {moment}: {}", finish(child).1);
        if moment < 9 {
            std::thread::sleep(Duration::from_micros(random.below(30_000)));
        }
        send(&child, libc::SIGKILL);
        let (status, errors) = finish(child);
        assert_eq!(status.signal(), Some(libc::SIGKILL), "moment {moment}: {status}, {errors}");
        assert!(!run.join("metrics.json").exists(), "moment {moment} came too late");
    }
    run_tiny(RUNNER, &scratch, "run", &["--resume"]).with_code(0);
    Outcome::read(&run).assert_same(uninterrupted());
}

#[test]
fn a_signal_ends_with_a_checkpoint_of_the_very_step_and_code_75() {
    let scratch = Scratch::new("signal");
    run_tiny(RUNNER, &scratch, "whole", &NO_CHECKPOINTS).with_code(0);
    let whole = Outcome::read(&scratch.join("whole"));
    let signals =
        [("SIGTERM", libc::SIGTERM), ("SIGUSR1", libc::SIGUSR1), ("SIGINT", libc::SIGINT)];
    for (name, signal) in signals {
        let run = scratch.join(name);
        let mut child = start(RUNNER, &scratch, name, &NO_CHECKPOINTS);
        assert!(wait_until(&mut child, || lines(&run.join("log.jsonl")) > 3));
        send(&child, signal);
        let (status, errors) = finish(child);
        assert_eq!(status.code(), Some(75), "{name}: {errors}");
        assert!(errors.contains(name) && errors.contains("--resume"), "{errors}");
        let steps = checkpoints(&run);
        assert!(steps.len() == 1 && (1..500).contains(&steps[0]), "{name}: {steps:?}");
        let stands = format!("train {}/500 ", steps[0]);
        assert!(errors.contains(&stands), "{name}: the progress stays where it is: {errors}");
        run_tiny(RUNNER, &scratch, name, &[&NO_CHECKPOINTS[..], &["--resume"]].concat())
            .with_code(0);
        Outcome::read(&run).assert_same(&whole);
    }
}

/// Damages the newest checkpoint of an interrupted run, and checks that the one before it is used.
fn damaged(name: &str, complaint: &str, damage: impl Fn(&Path)) {
    let scratch = Scratch::new(name);
    let run = scratch.join("run");
    let mut child = start(RUNNER, &scratch, "run", &[]);
    assert!(wait_until(&mut child, || checkpoints(&run).len() >= 3));
    send(&child, libc::SIGKILL);
    finish(child);
    let newest = *checkpoints(&run).last().expect("there are three");
    let folder = checkpoint(&run, newest);
    damage(&folder);
    let ended = run_tiny(RUNNER, &scratch, "run", &["--resume"]).with_code(0);
    let place = folder.file_name().expect("a name").to_string_lossy().into_owned();
    for word in [place.as_str(), complaint, "warning"] {
        assert!(ended.stderr.contains(word), "'{word}' is not in: {}", ended.stderr);
    }
    Outcome::read(&run).assert_same(uninterrupted());
}

#[test]
fn a_flipped_bit_in_a_checkpoint_is_found_and_the_one_before_is_used() {
    damaged("flip", "model.safetensors", |folder| {
        let path = folder.join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    });
}

#[test]
fn a_truncated_checkpoint_is_found_and_the_one_before_is_used() {
    damaged("truncate", "state.safetensors", |folder| {
        let path = folder.join("state.safetensors");
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    });
}

#[test]
fn a_checkpoint_without_manifest_is_found_and_the_one_before_is_used() {
    damaged("unlisted", "manifest.json", |folder| {
        std::fs::remove_file(folder.join("manifest.json")).unwrap();
    });
}

/// Name, size and time of change of everything in a folder.
fn listing(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let data = entry.metadata().unwrap();
        all.push(format!("{:?} {} {:?}", entry.path(), data.len(), data.modified().unwrap()));
        if data.is_dir() {
            all.extend(listing(&entry.path()));
        }
    }
    all.sort();
    all
}

#[test]
fn an_existing_folder_is_refused_and_left_untouched() {
    let scratch = Scratch::new("existing");
    let short = ["--set", "train.steps=30"];
    run_tiny(RUNNER, &scratch, "run", &short).with_code(0);
    let before = listing(&scratch.join("run"));
    let again = run_tiny(RUNNER, &scratch, "run", &short).with_code(2);
    assert!(
        again.stderr.contains("already exists") && again.stderr.contains("--resume"),
        "{}",
        again.stderr
    );
    let other = ["--resume", "--set", "train.steps=30", "--set", "train.batch=16"];
    let other = run_tiny(RUNNER, &scratch, "run", &other).with_code(2);
    assert!(other.stderr.contains("/train/batch is 32 there and 16 here"), "{}", other.stderr);
    let done =
        run_tiny(RUNNER, &scratch, "run", &[&short[..], &["--resume"]].concat()).with_code(0);
    assert!(done.stdout.contains("is finished"), "{}", done.stdout);
    assert_eq!(before, listing(&scratch.join("run")));
    // A folder that is no run folder stays what it is, too.
    std::fs::create_dir(scratch.join("photos")).unwrap();
    scratch.write("photos/cat.txt", "miaow");
    run_tiny(RUNNER, &scratch, "photos", &["--resume"]).with_code(2);
    assert_eq!(listing(&scratch.join("photos")).len(), 1);
}

#[test]
fn two_processes_cannot_write_to_one_folder() {
    let scratch = Scratch::new("lock");
    let run = scratch.join("run");
    let mut first = start(RUNNER, &scratch, "run", &["--set", "train.steps=1000000"]);
    assert!(wait_until(&mut first, || !checkpoints(&run).is_empty()));
    let second = ["--resume", "--set", "train.steps=1000000"];
    let second = run_tiny(RUNNER, &scratch, "run", &second).with_code(1);
    assert!(second.stderr.contains("another process is writing"), "{}", second.stderr);
    assert!(first.try_wait().unwrap().is_none(), "the first process goes on");
    send(&first, libc::SIGKILL);
    finish(first);
}

#[test]
fn an_evaluation_halfway_does_not_count_as_the_end() {
    let scratch = Scratch::new("halfway");
    let run = scratch.join("run");
    let mut child = start(RUNNER, &scratch, "run", &[]);
    assert!(wait_until(&mut child, || !checkpoints(&run).is_empty()));
    send(&child, libc::SIGTERM);
    assert_eq!(finish(child).0.code(), Some(75));
    isotropy_tests::end_to_end::run(RUNNER, &scratch, &["evaluate", "--run", "run"]).with_code(0);
    run_tiny(RUNNER, &scratch, "run", &["--resume"]).with_code(0);
    Outcome::read(&run).assert_same(uninterrupted());
}
