//! Where CUDA comes from, and how the runner is started with it.

use isotropy_tests::end_to_end::{Ended, Scratch, command, read_json, repository};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");
/// Set by `cargo xtask test --gpu`.
const GPU: &str = "ISOTROPY_GPU";
/// What the stand-in writes when a process ends.
const COUNTS: &str = "ISOTROPY_CUDA_STAND_IN_COUNTS";

/// The device that tests run on.
#[derive(Debug, Clone, PartialEq)]
pub enum Cuda {
    /// The libraries of the stand-in.
    StandIn(PathBuf),
    /// A real one.
    Gpu,
}

/// The device; without one a line says what was not tested.
pub fn cuda(what: &str) -> Option<Cuda> {
    if std::env::var_os(GPU).is_some() {
        return Some(Cuda::Gpu);
    }
    let target = Path::new(RUNNER).ancestors().nth(2).expect("target/release/RUNNER");
    let folder = target.join("cuda-stand-in");
    let source = std::fs::read_to_string(folder.join("stand_in.cpp"));
    let current = source.is_ok_and(|text| text == include_str!("../../cuda_stand_in/stand_in.cpp"));
    if !current {
        println!("SKIPPED: {what}: {} is missing or old (cargo xtask stand-in)", folder.display());
        return None;
    }
    Some(Cuda::StandIn(folder.join("torch/lib")))
}

/// What a process asked of the device.
#[derive(Debug, Clone)]
pub struct Counts(Value);

impl Counts {
    pub fn of(&self, what: &str) -> i64 {
        self.0[what].as_i64().unwrap_or_else(|| panic!("{what} is not in {}", self.0))
    }

    /// The operations that waited, or copied to the device, more often than in `before`.
    pub fn blame(&self, before: &Self, what: &str) -> Vec<String> {
        let count =
            |counts: &Self, name: &str| counts.0["operations"][name][what].as_i64().unwrap_or(0);
        let names = self.0["operations"].as_object().expect("counts by name").keys();
        let more = names.map(|name| (name, count(self, name) - count(before, name)));
        more.filter(|(_, more)| *more > 0).map(|(name, more)| format!("{name} ({more})")).collect()
    }
}

/// How a process with CUDA ended.
pub struct OnDevice {
    pub ended: Ended,
    /// None on a GPU.
    pub counts: Option<Counts>,
}

impl Cuda {
    /// Lets a command find CUDA.
    pub fn give_to(&self, command: &mut Command) {
        if let Self::StandIn(library) = self {
            command.env("LD_LIBRARY_PATH", library);
        }
    }

    /// Runs the binary on the device. `name` is that of the run, and of the file with its counts.
    pub fn run(
        &self,
        scratch: &Scratch,
        name: &str,
        arguments: &[String],
        variables: &[(&str, &str)],
    ) -> OnDevice {
        let mut command = command(RUNNER, scratch);
        let file = scratch.join(&format!("{name}-counts.json"));
        command.args(arguments).args(["--out", name, "--set", "device=cuda"]);
        command.env(COUNTS, &file).envs(variables.iter().copied());
        self.give_to(&mut command);
        let ended = Ended::from(command.output().expect("the binary starts"));
        let counts = (*self != Self::Gpu).then(|| Counts(read_json(&file)));
        OnDevice { ended, counts }
    }
}

/// The same run on the CPU.
pub fn on_cpu(scratch: &Scratch, name: &str, arguments: &[String]) -> Ended {
    let mut command = command(RUNNER, scratch);
    command.args(arguments).args(["--out", name, "--set", "device=cpu"]);
    command.output().expect("the binary starts").into()
}

/// Every configuration that the repository ships, sweeps left out.
pub fn configurations() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![repository("configs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "sweeps") {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "json") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// `--config FILE` and `--set` for each of `set`, with what every short run here has in common.
pub fn arguments(configuration: &str, set: &[&str]) -> Vec<String> {
    let name = format!("{configuration}.json");
    let all = configurations();
    let found: Vec<&PathBuf> = all.iter().filter(|path| path.ends_with(&name)).collect();
    assert_eq!(found.len(), 1, "one configuration {name}: {found:?}");
    let common = [
        "threads=1",
        "train.log_every=1000000",
        "train.validate_every=0",
        "train.checkpoint.every=1000000",
        "evaluate.plots=[]",
    ];
    let mut arguments = vec!["--config".to_string(), found[0].display().to_string()];
    for value in common.iter().chain(set) {
        arguments.extend(["--set".to_string(), (*value).to_string()]);
    }
    arguments
}
