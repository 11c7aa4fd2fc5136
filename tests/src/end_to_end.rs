//! Running the real binary in a scratch folder, and comparing what two runs left behind.

use isotropy_data::digest::sha256;
use runner::tensorboard::{EventValue, read_events};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest time that anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// An empty folder of its own for a test, removed at the end.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// Makes the folder; `name` tells a reader of the temporary folder whose it is.
    pub fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix(&format!("isotropy-{name}-")).tempdir();
        Self(folder.expect("the temporary folder is writable"))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file into it.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, text).expect("the scratch folder is writable");
        path
    }
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository");
    root.join(path)
}

/// The small experiment that most tests run.
pub fn tiny() -> PathBuf {
    repository("tests/configs/tiny.json")
}

/// A command that starts the binary, away from the user's data, cache and terminal.
pub fn command(binary: &str, scratch: &Scratch) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(scratch.path()).stdin(Stdio::null());
    command.env("ISOTROPY_CACHE", scratch.join("cache")).env("ISOTROPY_DATA", scratch.join("data"));
    command
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ended {
    /// The same, after a check of the exit code and that nothing panicked.
    #[track_caller]
    pub fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        for text in [&self.stdout, &self.stderr] {
            assert!(!text.contains("panicked") && !text.contains("RUST_BACKTRACE"), "{text}");
            assert!(!text.contains("a defect of the program"), "{text}");
        }
        self
    }
}

/// Runs the binary to its end.
pub fn run(binary: &str, scratch: &Scratch, arguments: &[&str]) -> Ended {
    command(binary, scratch).args(arguments).output().expect("the binary starts").into()
}

/// Starts an experiment in the run folder `out` of the scratch folder.
pub fn start(binary: &str, scratch: &Scratch, out: &str, more: &[&str]) -> Child {
    let mut command = command(binary, scratch);
    command.arg("--config").arg(tiny()).args(["--out", out]).args(more);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("the binary starts")
}

/// Runs the tiny experiment to its end.
pub fn run_tiny(binary: &str, scratch: &Scratch, out: &str, more: &[&str]) -> Ended {
    let tiny = tiny();
    let config = tiny.to_str().expect("the repository's path is UTF-8");
    run(binary, scratch, &[&["--config", config, "--out", out], more].concat())
}

/// Waits until `condition` holds while the process lives; false when the process ended first.
pub fn wait_until(child: &mut Child, condition: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while !condition() {
        if child.try_wait().expect("the process can be waited for").is_some() {
            return condition();
        }
        assert!(started.elapsed() < PATIENCE, "nothing happened in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Sends a signal.
pub fn send(child: &Child, signal: i32) {
    // SAFETY: kill has no memory effects; the process is our child and has not been waited for.
    let sent = unsafe { libc::kill(child.id() as libc::pid_t, signal) };
    assert_eq!(sent, 0, "signal {signal} was not delivered");
}

/// Waits for the end, and returns the status with what was written to standard error.
pub fn finish(child: Child) -> (ExitStatus, String) {
    let output = child.wait_with_output().expect("the process can be waited for");
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Steps of the checkpoints in a run folder, ascending.
pub fn checkpoints(run: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(run.join("checkpoints")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut steps: Vec<u64> =
        names.filter_map(|name| name.strip_prefix("step-")?.parse().ok()).collect();
    steps.sort_unstable();
    steps
}

/// The folder of a checkpoint.
pub fn checkpoint(run: &Path, step: u64) -> PathBuf {
    run.join(format!("checkpoints/step-{step:09}"))
}

/// Reads a JSON file.
pub fn read_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `metrics.json` without times and memory.
pub fn metrics(run: &Path) -> Value {
    let mut metrics = read_json(&run.join("metrics.json"));
    metrics.as_object_mut().expect("metrics are an object").remove("resources");
    metrics
}

/// The one event file of a run.
pub fn event_file(run: &Path) -> PathBuf {
    let entries =
        std::fs::read_dir(run.join("tensorboard")).expect("there is a tensorboard folder");
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    assert_eq!(files.len(), 1, "one event file: {files:?}");
    files.remove(0)
}

/// What must be equal for equal runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// SHA-256 of `weights.safetensors`.
    pub weights: String,
    /// `metrics.json` without times and memory.
    pub metrics: Value,
    /// Step, tag and value of every point that TensorBoard shows, except times.
    pub points: Vec<(i64, String, EventValue)>,
}

impl Outcome {
    /// Reads a finished run.
    pub fn read(run: &Path) -> Self {
        let weights = std::fs::read(run.join("weights.safetensors")).expect("the run has weights");
        let points = read_events(&event_file(run)).expect("the event file is whole");
        let points = points.into_iter().filter(|p| !p.tag.starts_with("time/"));
        Self {
            weights: sha256(weights),
            metrics: metrics(run),
            points: points.map(|p| (p.step, p.tag, p.value)).collect(),
        }
    }

    /// Fails with the first difference.
    #[track_caller]
    pub fn assert_same(&self, other: &Self) {
        for (a, b) in self.points.iter().zip(&other.points) {
            assert_eq!((a.0, &a.1), (b.0, &b.1), "the order of points");
            assert!(a.2 == b.2, "step {} {}: {:?} and {:?}", a.0, a.1, a.2, b.2);
        }
        assert_eq!(self.points.len(), other.points.len(), "points");
        assert_eq!(self.metrics, other.metrics);
        assert_eq!(self.weights, other.weights, "weights");
    }
}

/// The Python of `ISOTROPY_PYTHON`; without it a line says what was not tested.
pub fn python(what: &str) -> Option<PathBuf> {
    let python = std::env::var_os("ISOTROPY_PYTHON").map(PathBuf::from);
    if python.is_none() {
        println!("SKIPPED: {what}: ISOTROPY_PYTHON names no interpreter");
    }
    python
}
