//! Hostile input through the front doors: nothing panics, hangs, ends with an exit code that the
//! documentation does not have, or complains without saying of which file. Seeded: a failure is
//! repeated from its number. `ISOTROPY_FUZZ=N` takes N cases in place of the numbers here,
//! `ISOTROPY_FUZZ_FROM=K` begins with case K.

#![allow(clippy::unwrap_used)]

mod data_files;
mod fuzz_support;

use fuzz_support::{Random, damage, mutate_bytes, mutate_value, recombine};
use isotropy_core::{DatasetConfig, LoadContext, Split, Streams};
use isotropy_tests::end_to_end::{Scratch, command, repository, run_tiny, tiny};
use runner::config::Style;
use runner::resolve::{Refusal, resolve};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");
/// Nothing may take longer.
const LONGEST: Duration = Duration::from_secs(10);
/// The exit codes of docs/src/configuration.md that bad input may lead to.
const CODES: [i32; 5] = [0, 1, 2, 3, 4];

fn cases(default: u64) -> u64 {
    std::env::var("ISOTROPY_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// The shipped configurations in a folder of their own, so that mutants lie beside what they
/// extend.
fn shipped(scratch: &Scratch) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        std::fs::create_dir_all(scratch.join("configs").join(&folder)).unwrap();
        let entries = std::fs::read_dir(repository("configs").join(&folder)).unwrap();
        for entry in entries.map(Result::unwrap) {
            let name = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(name);
                continue;
            }
            let copy = scratch.join("configs").join(&name);
            std::fs::copy(entry.path(), &copy).unwrap();
            let sweep = name.starts_with("sweeps");
            if copy.extension().is_some_and(|e| e == "json") && !sweep {
                files.push(copy);
            }
        }
    }
    files.sort();
    files
}

/// How far a case came.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reached {
    Schema,
    Build,
    End,
}

/// What `runner validate` does: how far it came, and what is wrong with how it ended.
fn validated(path: &Path) -> (Reached, Option<String>) {
    let (began, mut reached) = (Instant::now(), Reached::Schema);
    let outcome = resolve(path, &[]).and_then(|resolved| {
        reached = Reached::Build;
        let kind = resolved.experiment.kind.torch();
        runner::build::build(&resolved.experiment, kind, tch::Device::Cpu)
            .map(|_| ())
            .map_err(|error| resolved.locate(error))
    });
    if began.elapsed() > LONGEST {
        return (reached, Some(format!("it took {:?}", began.elapsed())));
    }
    let text = match outcome {
        Ok(()) => return (Reached::End, None),
        Err(Refusal::Diagnostics(found)) => found.render(Style::Plain),
        Err(Refusal::Error(error)) => error.to_string(),
    };
    // Guards turn a panic into an error with the place in the source.
    let of_ours = ["core/", "plugins/", "runners/"];
    if of_ours.iter().any(|ours| text.contains(&format!("(at {ours}"))) {
        return (reached, Some(format!("a panic: {text}")));
    }
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let nameless = (!text.contains(&name)).then(|| format!("the message names no file: {text}"));
    (reached, nameless)
}

#[test]
#[ignore = "minutes; `cargo xtask test --slow` runs it"]
fn mutated_configurations_are_refused_or_built() {
    fuzz_support::limit_memory(12 << 30);
    runner::guard::install_hook();
    tch::set_num_threads(1);
    let scratch = Scratch::new("fuzz-configs");
    let files = shipped(&scratch);
    let values: Vec<Value> = files
        .iter()
        .map(|file| resolve(file, &[]).map_err(|_| file).unwrap().loaded.value)
        .collect();
    let (send, receive) = mpsc::channel();
    let total = cases(10_000);
    let first = std::env::var("ISOTROPY_FUZZ_FROM").map_or(0, |n| n.parse().unwrap());
    let paths = files.clone();
    let worker = std::thread::spawn(move || {
        for seed in first..first + total {
            let mut random = Random(seed);
            let which = random.below(paths.len());
            let bytes = if random.below(4) == 0 {
                let mut bytes = std::fs::read(&paths[which]).unwrap();
                mutate_bytes(&mut bytes, &mut random);
                bytes
            } else {
                let mut value = values[which].clone();
                let other = &values[random.below(values.len())];
                match random.below(3) {
                    0 => mutate_value(&mut value, other, &mut random),
                    _ => recombine(&mut value, other, &mut random),
                }
                serde_json::to_vec_pretty(&value).unwrap()
            };
            let path = paths[which].with_file_name(format!("mutant-{seed}.json"));
            std::fs::write(&path, &bytes).unwrap();
            let (reached, wrong) = validated(&path);
            let wrong = wrong.map(|why| format!("{why}\n{}", String::from_utf8_lossy(&bytes)));
            if wrong.is_none() {
                std::fs::remove_file(&path).unwrap();
            }
            if send.send((seed, reached, wrong)).is_err() {
                return;
            }
        }
    });
    let (mut wrong, mut done, mut far) = (Vec::new(), 0, [0_u64; 3]);
    while done < first + total {
        match receive.recv_timeout(LONGEST * 6) {
            Ok((seed, reached, why)) => {
                done = seed + 1;
                far[reached as usize] += 1;
                wrong.extend(why.map(|why| format!("{seed}: {why}")));
            }
            Err(_) => panic!("case {done} does not end\n{}", wrong.join("\n")),
        }
    }
    worker.join().unwrap();
    println!("refused by the schema, while building, not at all: {far:?}");
    println!("{}", wrong.join("\n"));
    assert!(wrong.is_empty(), "{} of {total}, printed above", wrong.len());
    let few = |n: &u64| total >= 1000 && *n < total / 50;
    assert!(!far.iter().any(few), "the mutants don't come far: {far:?}");
}

/// The binary on its own: exit code, time, and no word of a defect.
fn ended(scratch: &Scratch, arguments: &[&str]) -> Option<String> {
    let began = Instant::now();
    let mut child = command(RUNNER, scratch)
        .args(arguments)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > LONGEST * 2 {
            child.kill().unwrap();
            child.wait().unwrap();
            return Some("it does not end".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        None => return Some(format!("it was killed by a signal: {text}")),
        Some(code) if !CODES.contains(&code) => return Some(format!("exit code {code}: {text}")),
        Some(0) => return None,
        Some(_) => {}
    }
    let ours = ["panicked", "RUST_BACKTRACE", "a defect of the program", "(at core/src", "(at plu"];
    if ours.iter().any(|word| text.contains(word)) {
        return Some(text);
    }
    (text.trim().is_empty()).then(|| "it fails without a word".into())
}

#[test]
#[ignore = "minutes; `cargo xtask test --slow` runs it"]
fn mutated_experiments_end_with_a_documented_code() {
    let scratch = Scratch::new("fuzz-runs");
    let value = resolve(&tiny(), &[]).map_err(|_| "tiny").unwrap().loaded.value;
    let others: Vec<Value> = shipped(&scratch)
        .iter()
        .map(|file| resolve(file, &[]).map_err(|_| file).unwrap().loaded.value)
        .collect();
    let mut wrong = Vec::new();
    for seed in 0..cases(200) {
        let mut random = Random(seed ^ 0xF00D);
        let mut mutant = value.clone();
        mutant["train"]["steps"] = 4.into();
        mutant["sampling"]["count"] = 20.into();
        let other = &others[random.below(others.len())];
        match random.below(2) {
            0 => mutate_value(&mut mutant, other, &mut random),
            _ => recombine(&mut mutant, other, &mut random),
        }
        let file = scratch.write("mutant.json", &mutant.to_string());
        let out = scratch.join(&format!("out-{seed}")).to_string_lossy().into_owned();
        let arguments = ["--config", &file.to_string_lossy(), "--out", &out];
        if let Some(why) = ended(&scratch, &arguments) {
            wrong.push(format!("{seed}: {why}\n{mutant}"));
        }
        let _ = std::fs::remove_dir_all(&out);
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
#[ignore = "minutes; `cargo xtask test --slow` runs it"]
fn damaged_run_folders_are_refused_or_used() {
    let scratch = Scratch::new("fuzz-folders");
    let short = ["--set", "train.steps=40", "--set", "train.checkpoint.every=10"];
    let few = ["--set", "sampling.count=20", "--set", "sampling.batch=20"];
    run_tiny(RUNNER, &scratch, "whole", &[short, few].concat()).with_code(0);
    let files = fuzz_support::files_of(&scratch.join("whole"));
    let mut wrong = Vec::new();
    for seed in 0..cases(600) {
        let mut random = Random(seed ^ 0xBAD);
        let folder = scratch.join("damaged");
        let _ = std::fs::remove_dir_all(&folder);
        fuzz_support::copy(&scratch.join("whole"), &folder);
        let file = &files[random.below(files.len())];
        let how = damage(&folder.join(file), &mut random);
        let run = folder.to_string_lossy().into_owned();
        let (tiny, drawn) = (tiny(), scratch.join("drawn.npz"));
        let (tiny, drawn) = (tiny.to_string_lossy(), drawn.to_string_lossy());
        let _ = std::fs::remove_file(&*drawn);
        let resumed = ["--config", &tiny, "--out", &run, "--resume"];
        let resumed = [&resumed[..], &short, &few].concat();
        let arguments: Vec<&str> = match random.below(5) {
            0 => vec!["sample", "--run", &run, "--count", "3", "--out", &drawn],
            1 => vec!["evaluate", "--run", &run],
            2 => resumed,
            3 => vec!["chart", "--run", &run],
            _ => vec!["reproduce", "--run", &run],
        };
        if let Some(why) = ended(&scratch, &arguments) {
            wrong.push(format!("{seed}: {} {how}, {}: {why}", file.display(), arguments[0]));
        }
        let _ = std::fs::remove_dir_all(scratch.join("damaged-reproduced"));
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

/// Loads a data set and draws from it; what is wrong with how that ended.
fn loaded(config: &dyn DatasetConfig, data: &Path, file: &Path) -> Option<String> {
    let began = Instant::now();
    let context = LoadContext {
        data_dir: data.to_path_buf(),
        kind: tch::Kind::Float,
        device: tch::Device::Cpu,
        streams: Streams::new(1),
    };
    let outcome = runner::guard::guard("dataset", || {
        let set = config.load(&context)?;
        for split in [Split::Train, Split::Validation, Split::Test] {
            if !set.is_empty(split) {
                set.batch(split, 0, 2, &Streams::new(1))?;
            }
        }
        Ok(())
    });
    if began.elapsed() > LONGEST {
        return Some(format!("it took {:?}", began.elapsed()));
    }
    let error = outcome.err()?;
    let text = error.to_string();
    if text.contains(".rs:") {
        return Some(format!("a panic: {text}"));
    }
    let folder = file.parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let named = text.contains(&name) || text.contains(&folder);
    (!named).then(|| format!("the message names no file: {text}"))
}

/// The data sets of the catalogue that read files below each folder, found by taking it away.
fn readers(data: &Path) -> Vec<(PathBuf, Vec<Box<dyn DatasetConfig>>)> {
    let catalogue = isotropy_core::registry::catalogue().unwrap();
    let sets = || {
        catalogue
            .iter()
            .filter(|c| c.kind == "dataset")
            .map(|c| serde_json::from_str::<Box<dyn DatasetConfig>>(c.example).unwrap())
    };
    let mut all = Vec::new();
    for folder in std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()) {
        let away = folder.with_extension("away");
        std::fs::rename(&folder, &away).unwrap();
        let context = LoadContext {
            data_dir: data.to_path_buf(),
            kind: tch::Kind::Float,
            device: tch::Device::Cpu,
            streams: Streams::new(1),
        };
        let of_it: Vec<_> = sets().filter(|set| set.load(&context).is_err()).collect();
        std::fs::rename(&away, &folder).unwrap();
        all.push((folder, of_it));
    }
    all
}

#[test]
#[ignore = "minutes; `cargo xtask test --slow` runs it"]
fn damaged_data_are_refused_or_read() {
    fuzz_support::limit_memory(12 << 30);
    runner::guard::install_hook();
    tch::set_num_threads(1);
    let scratch = Scratch::new("fuzz-data");
    let data = scratch.join("data");
    data_files::files(&data);
    let readers = readers(&data);
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for seed in 0..cases(400) {
        let mut random = Random(seed ^ 0xDA7A);
        let (folder, sets) = &readers[random.below(readers.len())];
        if sets.is_empty() {
            continue;
        }
        let files = fuzz_support::files_of(folder);
        let file = folder.join(&files[random.below(files.len())]);
        let whole = std::fs::read(&file).unwrap();
        let how = damage(&file, &mut random);
        let set = &sets[random.below(sets.len())];
        tried += 1;
        if let Some(why) = loaded(set.as_ref(), &data, &file) {
            wrong.push(format!("{seed}: {} {how}, {set:?}: {why}", file.display()));
        }
        if file.is_dir() {
            std::fs::remove_dir(&file).unwrap();
        }
        std::fs::write(&file, whole).unwrap();
    }
    println!("{tried} damaged files\n{}", wrong.join("\n"));
    assert!(wrong.is_empty(), "{} of {tried}, printed above", wrong.len());
}
