//! At length (`cargo xtask test --slow`): every configuration with its own metrics and plots at
//! reduced size, runs that are interrupted, and both generators of random numbers.

use crate::cases::same;
use crate::data_files;
use crate::machine::{Cuda, RUNNER, configurations, cuda};
use isotropy_tests::end_to_end::{
    Ended, Outcome, Scratch, command, finish, read_json, send, tiny, wait_until,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A configuration with everything that it extends.
fn resolved(path: &Path) -> Value {
    let mut own = read_json(path);
    let Some(parent) = own.as_object_mut().and_then(|all| all.remove("extends")) else {
        return own;
    };
    let parent = path.parent().unwrap().join(parent.as_str().unwrap());
    let mut whole = resolved(&parent);
    merge(&mut whole, own);
    whole
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            // Another component shares no fields with the one before.
            if from.get("type").is_some_and(|kind| into.get("type") != Some(kind)) {
                *into = from;
                return;
            }
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Sets what makes a metric take long to a small number, wherever it stands in it.
fn reduce(value: &mut Value, classifier: &Path) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "functions" | "count" | "steps" | "rounds" => *value = json!(2),
                    "floor" if value.is_number() => *value = json!(4),
                    "points" if value.is_number() => *value = json!(4),
                    "probes" => *value = json!(1),
                    "repeats" => *value = json!(1),
                    "classifier" => *value = json!(classifier),
                    _ => reduce(value, classifier),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| reduce(value, classifier)),
        _ => {}
    }
}

/// Digits of noise in files of the published size: no feature is the same everywhere.
fn digits(folder: &Path) {
    for (name, count) in [("train", 60_000_u32), ("t10k", 10_000)] {
        let mut state = 1_u64;
        let pixels = (0..784 * count).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        });
        let head = [2051_u32, count, 28, 28].map(u32::to_be_bytes).concat();
        let images: Vec<u8> = head.into_iter().chain(pixels).collect();
        std::fs::write(folder.join(format!("{name}-images-idx3-ubyte")), images).unwrap();
        let head = [2049_u32, count].map(u32::to_be_bytes).concat();
        let labels: Vec<u8> = head.into_iter().chain((0..count).map(|k| (k % 10) as u8)).collect();
        std::fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), labels).unwrap();
    }
}

/// The configuration at a size that takes seconds, in a file of its own.
fn small(path: &Path, scratch: &Scratch) -> PathBuf {
    let mut config = resolved(path);
    let name = path.file_stem().unwrap().to_str().unwrap().to_string();
    config["threads"] = json!(1);
    if let Some(train) = config.get_mut("train").filter(|train| train["steps"] != json!(0)) {
        train["steps"] = json!(2);
        train["batch"] = json!(4);
        train["validation_batches"] = json!(1);
    }
    if config.get("sampler").is_some_and(|sampler| !sampler.is_null()) {
        for (field, number) in [("count", 8), ("batch", 8), ("repeats", 2), ("trajectory", 2)] {
            config["sampling"][field] = json!(number);
        }
        for field in ["steps", "inner_steps"] {
            if config["sampler"].get(field).is_some_and(Value::is_number) {
                config["sampler"][field] = json!(3);
            }
        }
    }
    // Where a Brownian motion ends depends on the number of its steps.
    let process = config.get_mut("process").filter(|process| process["type"] != "brownian");
    if let Some(process) = process.filter(|process| process["steps"].is_number()) {
        process["steps"] = json!(4);
    }
    config["evaluate"]["reference"] = json!(8);
    let folder = path.parent().unwrap();
    let classifier = folder.read_dir().unwrap().flatten().map(|entry| entry.path());
    let mut classifier: Vec<PathBuf> =
        classifier.filter(|path| path.to_string_lossy().contains("classifier")).collect();
    if let Some(judge) = classifier.pop() {
        let mut judge = resolved(&judge);
        judge["train"]["steps"] = json!(2);
        judge["train"]["batch"] = json!(4);
        scratch.write("judge.json", &judge.to_string());
    }
    if let Some(metrics) = config["evaluate"].get_mut("metrics") {
        reduce(metrics, &scratch.join("judge.json"));
    }
    scratch.write(&format!("{name}-small.json"), &config.to_string())
}

#[test]
#[ignore = "minutes: every configuration, with metrics and plots"]
fn every_configuration_gives_the_same_as_on_the_cpu() {
    let Some(cuda) = cuda("every configuration on CUDA") else { return };
    let scratch = Scratch::new("cuda-every");
    data_files::files(&scratch.join("data"));
    for name in ["mnist", "fashion-mnist"] {
        digits(&scratch.join("data").join(name));
    }
    let only = std::env::var("ISOTROPY_ONLY").unwrap_or_default();
    let mut wrong = Vec::new();
    let all: Vec<PathBuf> = configurations()
        .into_iter()
        .filter(|path| path.file_stem().unwrap().to_string_lossy().contains(&only))
        .collect();
    for path in &all {
        let file = small(path, &scratch).display().to_string();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let started = std::time::Instant::now();
        let arguments = ["--config".to_string(), file];
        let host = crate::machine::on_cpu(&scratch, &format!("{name}-cpu"), &arguments);
        let device = cuda.run(&scratch, &format!("{name}-cuda"), &arguments, &[]).ended;
        println!("{name}: {:.1} s", started.elapsed().as_secs_f64());
        let place = |end: &str| scratch.join(&format!("{name}-{end}"));
        // Some metrics refuse so few samples, on either device in the same words.
        let last = |ended: &Ended| ended.stderr.lines().last().map(str::to_string);
        if host.code != Some(0) && host.code == device.code && last(&host) == last(&device) {
            println!("{name}: not compared, {:?}", last(&host));
            continue;
        }
        if host.code != Some(0) || device.code != Some(0) {
            let what = if host.code == Some(0) { &device } else { &host };
            wrong.push(format!("{name}: {:?} {}", (host.code, device.code), what.stderr));
            continue;
        }
        // Layers that the CPU has of its own differ in rounding, and networks after two steps by
        // what Adam makes of it.
        let compared = std::panic::catch_unwind(|| same(name, &place("cpu"), &place("cuda"), 1e-2));
        if let Err(payload) = compared {
            wrong.push(payload.downcast_ref::<String>().cloned().unwrap_or_default());
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}

/// A run of the tiny experiment on the device.
fn tiny_run(cuda: &Cuda, scratch: &Scratch, name: &str, more: &[&str], own: bool) -> Ended {
    let mut command = tiny_command(cuda, scratch, name, more, own);
    command.output().expect("the binary starts").into()
}

fn tiny_command(
    cuda: &Cuda,
    scratch: &Scratch,
    name: &str,
    more: &[&str],
    own: bool,
) -> std::process::Command {
    let mut command = command(RUNNER, scratch);
    command.arg("--config").arg(tiny()).args(["--out", name, "--set", "device=cuda"]).args(more);
    if own {
        command.env("ISOTROPY_CUDA_STAND_IN_OWN_GENERATOR", "1");
    }
    cuda.give_to(&mut command);
    command
}

#[test]
#[ignore = "a minute: interrupted runs on the device"]
fn interrupted_runs_end_like_uninterrupted_ones_with_either_generator() {
    let Some(cuda) = cuda("interrupted runs on CUDA") else { return };
    let scratch = Scratch::new("cuda-resume");
    let mut outcomes = Vec::new();
    for own in [false, true] {
        let name = |what: &str| format!("{what}-{own}");
        for again in ["whole", "again"] {
            tiny_run(&cuda, &scratch, &name(again), &[], own).with_code(0);
        }
        let whole = Outcome::read(&scratch.join(&name("whole")));
        Outcome::read(&scratch.join(&name("again"))).assert_same(&whole);

        let mut command = tiny_command(&cuda, &scratch, &name("cut"), &[], own);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = scratch.join(&name("cut")).join("log.jsonl");
        let lines = || std::fs::read_to_string(&log).map_or(0, |text| text.lines().count());
        assert!(wait_until(&mut child, || lines() > 3));
        send(&child, libc::SIGTERM);
        let (status, errors) = finish(child);
        assert_eq!(status.code(), Some(75), "{errors}");
        tiny_run(&cuda, &scratch, &name("cut"), &["--resume"], own).with_code(0);
        Outcome::read(&scratch.join(&name("cut"))).assert_same(&whole);
        outcomes.push(whole);
    }
    if cuda != Cuda::Gpu {
        assert_ne!(outcomes[0].weights, outcomes[1].weights, "the generators give other numbers");
        let mut command = command(RUNNER, &scratch);
        command.arg("--config").arg(tiny()).args(["--out", "cpu"]);
        Ended::from(command.output().unwrap()).with_code(0);
        assert_eq!(Outcome::read(&scratch.join("cpu")).weights, outcomes[0].weights);
    }
}
