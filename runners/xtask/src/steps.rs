//! A list of steps, each timed, each with the command that repeats it alone, and a summary at the end.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Outcome};
use crate::project::Project;

/// What one step came to.
struct Done {
    name: String,
    took: Duration,
    /// For a step that failed, how to repeat it.
    repeat: Option<String>,
}

/// Runs steps and remembers how they ended.
#[derive(Default)]
pub struct Steps {
    done: Vec<Done>,
}

/// A cargo command with the variables that it needs.
pub struct Cargo {
    args: Vec<String>,
    vars: Vec<(&'static str, String)>,
}

impl Cargo {
    /// `args` are separated by spaces: none of ours contains one.
    pub fn new(args: &str) -> Self {
        Self { args: args.split_whitespace().map(str::to_owned).collect(), vars: Vec::new() }
    }

    /// Sets an environment variable.
    pub fn var(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.vars.push((name, value.into()));
        self
    }

    /// The line that a person can type to do the same.
    fn line(&self) -> String {
        let mut line = String::new();
        for (name, value) in &self.vars {
            line += &format!("{name}={} ", quoted(value));
        }
        line + "cargo " + &self.args.join(" ")
    }

    /// Runs it in the root of the checkout.
    pub fn run(&self, project: &Project) -> Outcome<()> {
        let mut command = project.cargo();
        command.args(&self.args).current_dir(&project.root);
        command.envs(self.vars.iter().map(|(name, value)| (name, value)));
        succeed(&mut command, "cargo")
    }
}

/// Runs a command to its end; anything but success is a failure.
pub fn succeed(command: &mut Command, name: &str) -> Outcome<()> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(format!("{name} ended with {status}"))),
        Err(e) => Err(Failure::io(format!("cannot start {name}"), &e)),
    }
}

impl Steps {
    /// A step that is a cargo command.
    pub fn cargo(&mut self, project: &Project, name: &str, cargo: &Cargo) {
        self.step(name, &cargo.line(), || cargo.run(project));
    }

    /// Any step; `repeat` is the command that does the same alone.
    pub fn step(&mut self, name: &str, repeat: &str, run: impl FnOnce() -> Outcome<()>) {
        eprintln!("\n==> {name}: {repeat}");
        let start = Instant::now();
        let outcome = run();
        let took = start.elapsed();
        let repeat = outcome.is_err().then(|| repeat.to_owned());
        match outcome {
            Ok(()) => eprintln!("==> {name}: ok, {}", seconds(took)),
            Err(failure) => {
                eprintln!("==> {name}: FAILED, {}\n{failure}", seconds(took));
            }
        }
        self.done.push(Done { name: name.to_owned(), took, repeat });
    }

    /// Prints what came out; an error when a step failed.
    pub fn finish(self) -> Outcome<()> {
        eprint!("\n{}", self.summary());
        match self.done.iter().filter(|d| d.repeat.is_some()).count() {
            0 => Ok(()),
            failed => Err(Failure::new(format!("{failed} of {} steps failed", self.done.len()))),
        }
    }

    fn summary(&self) -> String {
        let width = self.done.iter().map(|d| d.name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for done in &self.done {
            let word = if done.repeat.is_some() { "FAILED" } else { "ok" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{word:<6}  {:<width$}  {:>8}", done.name, seconds(done.took));
            if let Some(repeat) = &done.repeat {
                let _ = writeln!(text, "        repeat: {repeat}");
            }
        }
        text
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Quotes a value for a shell where that is needed.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_to_repeat_is_valid_in_a_shell() {
        let cargo =
            Cargo::new("doc --no-deps").var("RUSTDOCFLAGS", "-D warnings").var("A", "/x/y-1.0");
        assert_eq!(cargo.line(), "RUSTDOCFLAGS='-D warnings' A=/x/y-1.0 cargo doc --no-deps");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn later_steps_run_and_the_summary_names_the_failed_one() {
        let mut steps = Steps::default();
        let mut ran = 0;
        steps.step("first", "cargo first", || Err(Failure::new("no")));
        steps.step("second", "cargo second", || {
            ran += 1;
            Ok(())
        });
        assert_eq!(ran, 1);
        let text = steps.summary();
        assert!(text.contains("FAILED  first") && text.contains("repeat: cargo first"), "{text}");
        assert!(!text.contains("repeat: cargo second"), "{text}");
        assert!(steps.finish().expect_err("one failed").to_string().contains("1 of 2"));
    }

    #[test]
    fn exit_code_and_missing_program_are_failures() {
        assert!(succeed(&mut Command::new("true"), "true").is_ok());
        assert!(succeed(&mut Command::new("false"), "false").is_err());
        assert!(succeed(&mut Command::new("/nowhere/program"), "program").is_err());
    }
}
