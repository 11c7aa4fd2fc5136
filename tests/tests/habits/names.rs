//! Names of devices and runs, and where they lead.

use crate::{RUNNER, SHORT, listing, says, short};
use isotropy_tests::end_to_end::{Scratch, run, tiny};

#[test]
fn only_names_of_devices_are_devices() {
    let scratch = Scratch::new("devices");
    let config = tiny();
    let config = config.to_str().unwrap();
    let long = "cuda:9999999999999999999999";
    for name in [
        "CPU", " CPU", "cpu ", "Cuda", "gpu", "mps", "True", "cud", "cudax", "cuda:", "cuda:-1",
        "cuda:+1", "cuda:1x", "cuda: 1", "cuda:0:1", "cuda1", "", "cpu\n", long,
    ] {
        let set = format!("device={}", serde_json::to_string(name).unwrap());
        for arguments in
            [&["validate", config, "--set", &set] as &[&str], &["--config", config, "--set", &set]]
        {
            let ended = run(RUNNER, &scratch, arguments).with_code(2);
            says(&ended.stderr, &["device", "`auto`", "`cpu`", "`cuda`", "`cuda:N`"]);
            assert!(!ended.stderr.contains("libtorch_cuda"), "{name:?}: {}", ended.stderr);
        }
    }
    for name in ["auto", "cpu", "cuda", "cuda:0", "cuda:15"] {
        let set = format!("device={name}");
        run(RUNNER, &scratch, &["validate", config, "--set", &set]).with_code(0);
    }
    // The cell of a sweep is an experiment like any other.
    let sweep = format!(
        r#"{{"schema": 1, "name": "s", "base": {config:?}, "axes": [{{"path": "device", "values": ["cpu", "CPU"]}}]}}"#
    );
    scratch.write("sweep.json", &sweep);
    let ended = run(RUNNER, &scratch, &["sweep", "sweep.json", "--dry-run"]).with_code(2);
    says(&ended.stderr, &["CPU", "`cuda:N`"]);
    assert!(!scratch.join("runs").exists());
}

#[test]
fn a_device_is_no_other_one_to_the_library_either() {
    for name in ["CPU", "gpu", "cuda:+1", "cuda:-1", "cuda:1x", "cudagpu", "", "cuda:"] {
        let error = runner::device::resolve(name).unwrap_err();
        assert!(error.to_string().contains(&format!("no device '{name}'")), "{error}");
    }
    assert_eq!(runner::device::resolve("cpu").unwrap(), tch::Device::Cpu);
}

#[test]
fn a_run_is_called_by_one_plain_name() {
    let scratch = Scratch::new("run-names");
    std::fs::create_dir_all(scratch.join("mine")).unwrap();
    scratch.write("mine/metrics.json", "{\"mine\": true}");
    std::fs::copy(tiny(), scratch.join("mine/tiny.json")).unwrap();
    let before = listing(&scratch.join("mine"));
    let config = scratch.join("mine/tiny.json");
    let config = config.to_str().unwrap();
    let absolute = scratch.join("abs").display().to_string();
    let long = "x".repeat(300);
    for name in [
        "..",
        ".",
        "",
        " ",
        "../esc",
        "a/b",
        "a/",
        "/",
        "\\..\\x",
        &absolute,
        "a\nb",
        "a\u{0}b",
        "a\u{1b}[31m",
        "-x",
        ".hidden",
        "a b",
        "~",
        &long,
        "é",
    ] {
        let set = format!("name={}", serde_json::to_string(name).unwrap());
        let arguments = [&["--config", config, "--set", &set], &SHORT[..]].concat();
        let mut command = isotropy_tests::end_to_end::command(RUNNER, &scratch);
        let output = command.current_dir(scratch.join("mine")).args(&arguments).output().unwrap();
        let ended = isotropy_tests::end_to_end::Ended::from(output).with_code(2);
        says(&ended.stderr, &["name"]);
        assert!(!ended.stderr.contains('\u{1b}'), "{:?}", ended.stderr);
        run(RUNNER, &scratch, &["validate", config, "--set", &set]).with_code(2);
        assert_eq!(listing(&scratch.join("mine")), before, "{name:?}");
    }
    run(RUNNER, &scratch, &["validate", config, "--set", "name=A-1_b.c+d"]).with_code(0);
}

#[test]
fn a_run_folder_is_a_folder_and_nothing_is_written_around_it() {
    let scratch = Scratch::new("out-names");
    scratch.write("file", "mine");
    scratch.write("metrics.json", "mine");
    let before = listing(scratch.path());
    for (out, words) in [
        ("file", "it is a file"),
        ("file/run", "a part of it is a file"),
        ("new/..", "a folder that is not there"),
        ("new/../run", "a folder that is not there"),
        (".", "already exists"),
    ] {
        let ended = short(&scratch, out, &[]).with_code(2);
        says(&ended.stderr, &[words, "--out"]);
        assert_eq!(listing(scratch.path()), before, "{out}");
    }
    assert!(!scratch.join("new").exists());
}

#[test]
fn pictures_stay_in_their_folder() {
    let scratch = Scratch::new("picture-names");
    for file in ["../../x", "/tmp/x", "a/b", "..", "", "a\nb"] {
        let plot = format!("evaluate.plots=[{{\"type\": \"scatter\", \"file\": {file:?}}}]");
        let ended = short(&scratch, "run", &["--set", &plot]).with_code(2);
        says(&ended.stderr, &["name"]);
        assert!(!scratch.join("run").exists(), "{file:?}");
    }
}
