//! Checkpoints: what is saved comes back, damage is named, a full disk loses nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use runner::checkpoint::{
    Found, Snapshot, latest_valid, load, read_safetensors, save, write_safetensors,
};
use serde_json::json;
use tch::{Device, Kind, Tensor};
use tempfile::tempdir;

fn snapshot(step: u64, metric: Option<f64>) -> Snapshot {
    let values = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([2, 3]) + step as f64;
    Snapshot {
        step,
        model: vec![("layer.weight".into(), values), ("norm.count".into(), Tensor::from(7i64))],
        state: vec![("optimizer.m".into(), Tensor::from_slice(&[0.1, 1.0 / 3.0, f64::NAN]))],
        events_offset: step * 10,
        metric,
        extra: json!({"learning_rate": {"best": 0.1 + 0.2, "factor": 1.0 / 3.0}, "text": "\"ü"}),
    }
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).reshape([-1])).expect("doubles")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("folder");
    let mut names: Vec<_> =
        entries.map(|e| e.expect("entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn find(folder: &Path) -> Found {
    latest_valid(folder).expect("a valid checkpoint")
}

#[test]
fn everything_comes_back_in_the_same_bits() {
    let scratch = tempdir().expect("scratch folder");
    let folder = scratch.path().join("checkpoints");
    assert!(find(&folder).checkpoint.is_none(), "a folder that is not there holds none");
    save(&folder, &snapshot(1000, Some(0.5)), 3).expect("saves");
    assert_eq!(names(&folder), ["step-000001000"]);
    let found = find(&folder);
    assert_eq!((found.step(), found.warnings.len()), (Some(1000), 0));
    let loaded = found.checkpoint.expect("found");
    let expected = snapshot(1000, Some(0.5));
    assert_eq!(
        (loaded.events_offset, loaded.metric, &loaded.extra),
        (10_000, Some(0.5), &expected.extra)
    );
    assert_eq!(loaded.model["layer.weight"].size(), [2, 3]);
    assert_eq!(numbers(&loaded.model["layer.weight"]), numbers(&expected.model[0].1));
    assert_eq!(loaded.model["norm.count"].kind(), Kind::Int64);
    assert_eq!(loaded.model["norm.count"].size(), [0i64; 0]);
    let bits = |t: &Tensor| numbers(t).into_iter().map(f64::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(&loaded.state["optimizer.m"]), bits(&expected.state[0].1));
}

#[test]
fn retention_keeps_the_last_and_the_best() {
    let scratch = tempdir().expect("scratch folder");
    let metrics = [3.0, 1.0, f64::NAN, 2.0, f64::INFINITY, 4.0];
    for (step, metric) in (1..).zip(metrics) {
        save(scratch.path(), &snapshot(step, Some(metric)), 2).expect("saves");
    }
    assert_eq!(names(scratch.path()), ["step-000000002", "step-000000005", "step-000000006"]);
    // Training went on from step 2: what came after it belongs to another history.
    save(scratch.path(), &snapshot(3, None), 2).expect("saves");
    assert_eq!(names(scratch.path()), ["step-000000002", "step-000000003"]);
}

#[test]
fn the_same_step_can_be_saved_again() {
    let scratch = tempdir().expect("scratch folder");
    save(scratch.path(), &snapshot(5, None), 2).expect("saves");
    save(scratch.path(), &Snapshot { events_offset: 1, ..snapshot(5, None) }, 2).expect("replaces");
    assert_eq!(names(scratch.path()), ["step-000000005"]);
    assert_eq!(find(scratch.path()).checkpoint.expect("found").events_offset, 1);
}

#[test]
fn any_damage_is_named_and_the_checkpoint_before_is_used() {
    let scratch = tempdir().expect("scratch folder");
    save(scratch.path(), &snapshot(1, None), 9).expect("saves");
    save(scratch.path(), &snapshot(2, None), 9).expect("saves");
    let newest = scratch.path().join("step-000000002");
    for file in ["model.safetensors", "state.safetensors", "manifest.json"] {
        let path = newest.join(file);
        let whole = fs::read(&path).expect("file");
        let mut flipped: Vec<Vec<u8>> = (0..whole.len())
            .step_by(7)
            .map(|place| {
                let mut bytes = whole.clone();
                bytes[place] ^= 1;
                bytes
            })
            .collect();
        flipped.push(whole[..whole.len() / 2].to_vec());
        flipped.push(Vec::new());
        let mut unnoticed = 0;
        for damaged in &flipped {
            fs::write(&path, damaged).expect("damage");
            let found = find(scratch.path());
            if found.step() == Some(2) {
                unnoticed += 1;
                continue;
            }
            assert_eq!(found.step(), Some(1));
            assert_eq!(found.warnings.len(), 1);
            assert!(found.warnings[0].contains("step-000000002"), "{:?}", found.warnings);
            assert!(found.warnings[0].contains(file), "{:?}", found.warnings);
        }
        assert_eq!(unnoticed, 0, "{file}");
        fs::remove_file(&path).expect("remove");
        assert_eq!(find(scratch.path()).step(), Some(1));
        fs::write(&path, &whole).expect("repair");
        assert_eq!(find(scratch.path()).step(), Some(2));
    }
    for step in ["step-000000001", "step-000000002"] {
        fs::write(scratch.path().join(step).join("model.safetensors"), "").expect("damage");
    }
    let error = latest_valid(scratch.path()).expect_err("none is left").to_string();
    assert!(error.contains("step-000000001") && error.contains("step-000000002"), "{error}");
}

#[test]
fn leftovers_of_a_killed_process_are_ignored_and_removed() {
    let scratch = tempdir().expect("scratch folder");
    save(scratch.path(), &snapshot(1, None), 9).expect("saves");
    // Killed while writing step 2, while removing step 0, and between the two renames of replacing step 3.
    fs::create_dir(scratch.path().join(".partial-step-000000002")).expect("folder");
    fs::create_dir(scratch.path().join(".removed-step-000000000")).expect("folder");
    save(&scratch.path().join("other"), &snapshot(3, None), 9).expect("saves");
    let complete = scratch.path().join("other/step-000000003");
    fs::rename(complete, scratch.path().join(".replaced-step-000000003")).expect("rename");
    assert_eq!(find(scratch.path()).step(), Some(3));
    save(scratch.path(), &snapshot(4, None), 9).expect("saves");
    assert_eq!(
        names(scratch.path()),
        ["other", "step-000000001", "step-000000003", "step-000000004"]
    );
}

#[test]
fn a_single_file_of_weights_round_trips() {
    let scratch = tempdir().expect("scratch folder");
    let path = scratch.path().join("weights.safetensors");
    write_safetensors(&path, &snapshot(1, None).model).expect("writes");
    assert_eq!(names(scratch.path()), ["weights.safetensors"]);
    assert_eq!(read_safetensors(&path).expect("reads").len(), 2);
    fs::write(&path, b"not safetensors").expect("damage");
    assert!(read_safetensors(&path).is_err());
}

/// Runs one of the ignored tests below in a process of its own, through `shell` if that is given.
fn in_child(test: &str, folder: &Path, shell: Option<&str>) -> std::process::Output {
    let program = std::env::current_exe().expect("test binary");
    let mut command = match shell {
        None => Command::new(&program),
        Some(script) => {
            let mut command = Command::new("unshare");
            command.args(["-rm", "sh", "-ec", script, "sh"]).arg(&program);
            command
        }
    };
    command.args(["--exact", test, "--ignored", "--nocapture"]).env("ISOTROPY_TEST_FOLDER", folder);
    command.output().expect("child starts")
}

fn child_folder() -> PathBuf {
    PathBuf::from(std::env::var_os("ISOTROPY_TEST_FOLDER").expect("run by another test"))
}

/// Fails to write a large checkpoint and checks that the small one before it is intact.
fn fails_and_keeps_the_first(folder: &Path) -> String {
    save(folder, &snapshot(1, None), 9).expect("a small checkpoint fits");
    let large = Tensor::zeros([1 << 20], (Kind::Float, Device::Cpu));
    let snapshot = Snapshot { model: vec![("large".into(), large)], ..snapshot(2, None) };
    let error = save(folder, &snapshot, 1).expect_err("4 MiB do not fit").to_string();
    assert_eq!(names(folder), ["step-000000001"], "nothing half-written stays");
    assert_eq!(find(folder).step(), Some(1));
    error
}

#[test]
#[ignore = "run by a_write_limit_loses_no_checkpoint"]
fn child_with_a_write_limit() {
    let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: plain system calls on values of this frame; this process runs nothing else.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
    println!("ERROR: {}", fails_and_keeps_the_first(&child_folder()));
}

#[test]
fn a_write_limit_loses_no_checkpoint() {
    let scratch = tempdir().expect("scratch folder");
    let output = in_child("child_with_a_write_limit", scratch.path(), None);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("limit of this process") && text.contains("bytes"), "{text}");
}

#[test]
#[ignore = "run by a_full_disk_says_so_and_loses_no_checkpoint"]
fn child_on_a_small_disk() {
    println!("ERROR: {}", fails_and_keeps_the_first(&child_folder()));
}

#[test]
fn a_full_disk_says_so_and_loses_no_checkpoint() {
    let scratch = tempdir().expect("scratch folder");
    let mount = "mount -t tmpfs -o size=1m tmpfs \"$ISOTROPY_TEST_FOLDER\" || exit 77; exec \"$@\"";
    let usable = Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|s| s.success());
    let output = usable.then(|| in_child("child_on_a_small_disk", scratch.path(), Some(mount)));
    let Some(output) = output.filter(|o| o.status.code() != Some(77)) else {
        println!(
            "SKIPPED: this machine lets no test mount a small disk; the write-limit test ran instead"
        );
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("the disk is full") && text.contains("bytes"), "{text}");
    assert!(text.contains(&*scratch.path().to_string_lossy()), "names the folder: {text}");
}

#[test]
fn python_reads_the_weights() {
    let Some(python) = std::env::var_os("ISOTROPY_PYTHON") else {
        println!("SKIPPED: ISOTROPY_PYTHON names no interpreter with numpy and safetensors");
        return;
    };
    let scratch = tempdir().expect("scratch folder");
    save(scratch.path(), &snapshot(1, None), 1).expect("saves");
    let script = "import sys, json\nfrom safetensors.numpy import load_file\n\
        t = load_file(sys.argv[1])\nprint(json.dumps({k: [str(v.dtype), v.tolist()] for k, v in t.items()}))";
    let file = scratch.path().join("step-000000001/model.safetensors");
    let output = Command::new(python).args(["-c", script]).arg(file).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(read["layer.weight"], json!(["float32", [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]));
    assert_eq!(read["norm.count"], json!(["int64", 7]));
}

#[test]
fn one_folder_can_be_loaded_by_name() {
    let scratch = tempdir().expect("scratch folder");
    save(scratch.path(), &snapshot(1, Some(0.25)), 2).expect("saves");
    save(scratch.path(), &snapshot(2, None), 2).expect("saves");
    let loaded = load(&scratch.path().join("step-000000001")).expect("loads");
    assert_eq!((loaded.step, loaded.metric), (1, Some(0.25)));
    assert!(load(&scratch.path().join("step-000000009")).is_err());
}
