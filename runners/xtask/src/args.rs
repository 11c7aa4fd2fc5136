//! The command line: what can be typed, and the help that says so.

use std::ffi::OsString;

use crate::platform::Set;
use crate::reproduce::{self, Request};

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Build the runner and start it with these arguments.
    Run(Vec<OsString>),
    /// Everything that CI runs.
    Test {
        /// Also what takes long.
        slow: bool,
    },
    /// What needs a GPU, alone.
    TestGpu,
    /// Bring libtorch.
    Libtorch(Set),
    /// Write generated files, or compare only.
    Generate {
        /// Only compare.
        check: bool,
    },
    /// `cargo bench` with these arguments.
    Bench(Vec<OsString>),
    /// The runs behind a page of results, and its table.
    Reproduce(Request),
    /// Build the stand-in for CUDA.
    StandIn,
    /// Print this text.
    Help(String),
}

/// One line of the table from which parsing and help come.
struct Entry {
    name: &'static str,
    usage: &'static str,
    summary: &'static str,
    details: &'static str,
    examples: &'static [&'static str],
}

const TASKS: &[Entry] = &[
    Entry {
        name: "run",
        usage: "run ARGS...",
        summary: "Brings libtorch, builds the runner and starts it with ARGS",
        details: "All arguments go to the runner, --help as well. Its exit code is the exit code of this command, and \
                  signals reach it.",
        examples: &["cargo xtask run --config configs/quickstart.json", "cargo xtask run list"],
    },
    Entry {
        name: "test",
        usage: "test [--slow | --gpu]",
        summary: "Everything that CI runs: format, lints, tests, documentation, generated files",
        details: "Every step is run, also after one has failed. With --slow the long tests follow: those marked \
                  #[ignore], with ISOTROPY_SLOW=1. Tests read results back with the Python in ISOTROPY_PYTHON; where \
                  that is not set, an environment is made in the cache folder once. --gpu brings the CUDA set and runs, on \
                  a machine with a GPU, what otherwise runs on the stand-in for CUDA, then takes the times of every \
                  case and adds them to docs/src/results/gpu-runs.jsonl, to be committed.",
        examples: &["cargo xtask test", "cargo xtask test --slow", "cargo xtask test --gpu"],
    },
    Entry {
        name: "libtorch",
        usage: "libtorch [--cuda]",
        summary: "Puts libtorch into the cache folder and links it in as .libtorch",
        details: "The CPU set downloads 0.5 GB and takes 1.2 GB of disk, the CUDA set (--cuda) 2.5 GB and 4.0 GB. The \
                  cache folder is shared by all checkouts: ISOTROPY_CACHE, else $XDG_CACHE_HOME/isotropy, else \
                  ~/.cache/isotropy (macOS: ~/Library/Caches/isotropy). LIBTORCH (a folder with lib/) or \
                  LIBTORCH_USE_PYTORCH=1 wins over it. Linux x86-64 is tested; Linux aarch64 and macOS arm64 are \
                  not.",
        examples: &[
            "cargo xtask libtorch",
            "cargo xtask libtorch --cuda",
            "LIBTORCH=/opt/libtorch cargo xtask libtorch",
        ],
    },
    Entry {
        name: "generate",
        usage: "generate [--check]",
        summary: "Writes the generated files; with --check says which are stale",
        details: "The configuration schema and the reference of components come from the runner, the drawing of the crates \
                  (docs/src/images/crates.svg) from their Cargo.toml files and plugins/README.md.",
        examples: &["cargo xtask generate", "cargo xtask generate --check"],
    },
    Entry {
        name: "bench",
        usage: "bench ARGS...",
        summary: "Brings libtorch and runs `cargo bench ARGS`",
        details: "",
        examples: &["cargo xtask bench", "cargo xtask bench --workspace -- sampler"],
    },
    Entry {
        name: "reproduce",
        usage: "reproduce PAGE [--seeds N] [--only NAME] [--jobs N] [--table] [--runner FILE]",
        summary: "Runs what a page of results reports, and writes its table",
        details: "Each configuration of the page is run with seeds 0 .. N-1 (default 3), --jobs at a time (default 1; \
                  each takes the threads that its configuration says). Runs that are there are kept, interrupted \
                  ones go on. --only takes the runs whose folder has NAME in its name (runs/PAGE/VARIANT-seedN). With \
                  --table the table is written of what is there. With --runner nothing is built, and this runner is \
                  started. What pages with curves measured is kept in docs/src/results/PAGE-runs.jsonl, so tables and \
                  curves hold earlier runs as well; runs that are here replace their lines. Pages: toys, gp1d, gp2d, \
                  equivariant-images, equivariant-bridges.",
        examples: &[
            "cargo xtask reproduce toys --jobs 2",
            "cargo xtask reproduce toys --seeds 1 --table",
            "cargo xtask reproduce equivariant-images --jobs 2",
            "cargo xtask reproduce equivariant-images --only lifted-seed2",
        ],
    },
    Entry {
        name: "stand-in",
        usage: "stand-in",
        summary: "Compiles the stand-in for CUDA, with which `cargo test` runs device code without a GPU",
        details: "It comes into target/cuda-stand-in and needs a C++ compiler (CXX, else c++, g++ or clang++). Where it \
                  is missing, tests that want it are skipped. LD_LIBRARY_PATH=target/cuda-stand-in/torch/lib starts \
                  the runner with it.",
        examples: &["cargo xtask stand-in"],
    },
    Entry {
        name: "help",
        usage: "help [TASK]",
        summary: "This text, or that of one task",
        details: "",
        examples: &["cargo xtask help test"],
    },
];

/// Reads the arguments after the program's name. The error is a message for the user; exit code 2 belongs to it.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Task, String> {
    let mut args = args.into_iter();
    let Some(first) = args.next() else {
        return Err(format!("which task?\n\n{}", overview()));
    };
    let rest: Vec<OsString> = args.collect();
    let name = match first.to_string_lossy().as_ref() {
        "-h" | "--help" => "help".to_owned(),
        other => other.to_owned(),
    };
    let Some(entry) = TASKS.iter().find(|e| e.name == name) else {
        let names: Vec<_> = TASKS.iter().map(|e| e.name).collect();
        return Err(format!("there is no task `{name}` (there are: {})", names.join(", ")));
    };
    // What is passed on is not looked at.
    match entry.name {
        "run" => return Ok(Task::Run(rest)),
        "bench" => return Ok(Task::Bench(rest)),
        _ => {}
    }
    if rest.iter().any(|a| a == "-h" || a == "--help") {
        return Ok(Task::Help(details(entry)));
    }
    match entry.name {
        "test" if rest.iter().any(|arg| arg == "--gpu") => {
            flag(entry, "--gpu", &rest).map(|_| Task::TestGpu)
        }
        "test" => Ok(Task::Test { slow: flag(entry, "--slow", &rest)? }),
        "libtorch" => {
            Ok(Task::Libtorch(if flag(entry, "--cuda", &rest)? { Set::Cuda } else { Set::Cpu }))
        }
        "stand-in" => nothing(entry, &rest).map(|()| Task::StandIn),
        "reproduce" => request(entry, &rest).map(Task::Reproduce),
        "generate" => Ok(Task::Generate { check: flag(entry, "--check", &rest)? }),
        _ => match rest.as_slice() {
            [] => Ok(Task::Help(overview())),
            [task] => TASKS
                .iter()
                .find(|e| *task == *e.name)
                .map(|e| Task::Help(details(e)))
                .ok_or_else(|| format!("there is no task `{}`", task.display())),
            _ => Err(format!("usage: cargo xtask {}", entry.usage)),
        },
    }
}

/// The arguments of `reproduce`.
fn request(entry: &Entry, rest: &[OsString]) -> Result<Request, String> {
    let usage = |what: String| format!("{what}\n\nusage: cargo xtask {}", entry.usage);
    let mut request = Request {
        page: String::new(),
        seeds: 3,
        jobs: 1,
        only: None,
        table_only: false,
        runner: None,
    };
    let mut words = rest.iter().map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = words.next() {
        let mut count = || {
            let value = words.next().and_then(|value| value.parse::<u32>().ok());
            value
                .filter(|n| *n > 0)
                .ok_or_else(|| usage(format!("`{word}` needs a positive number")))
        };
        match word.as_str() {
            "--seeds" => request.seeds = count()?,
            "--jobs" => request.jobs = count()? as usize,
            "--only" => {
                let name = words.next().filter(|name| !name.starts_with('-'));
                request.only = Some(name.ok_or_else(|| usage("`--only` needs a name".to_owned()))?);
            }
            "--table" => request.table_only = true,
            "--runner" => {
                let file =
                    words.next().ok_or_else(|| usage("`--runner` needs a file".to_owned()))?;
                request.runner = Some(file.into());
            }
            page if reproduce::pages().contains(&page) => request.page = page.to_owned(),
            other => return Err(usage(format!("`reproduce` does not take `{other}`"))),
        }
    }
    if request.page.is_empty() {
        return Err(usage(format!("which page? ({})", reproduce::pages().join(", "))));
    }
    Ok(request)
}

/// Whether the only flag that a task knows was given.
fn flag(entry: &Entry, name: &str, rest: &[OsString]) -> Result<bool, String> {
    let others: Vec<OsString> = rest.iter().filter(|arg| *arg != name).cloned().collect();
    nothing(entry, &others).map(|()| !rest.is_empty())
}

fn nothing(entry: &Entry, rest: &[OsString]) -> Result<(), String> {
    match rest.first() {
        Some(other) => Err(format!(
            "`{}` does not take `{}`\n\nusage: cargo xtask {}",
            entry.name,
            other.display(),
            entry.usage
        )),
        None => Ok(()),
    }
}

fn overview() -> String {
    let mut text =
        "Sets up libtorch, builds, runs and tests.\n\nusage: cargo xtask TASK\n\n".to_owned();
    for entry in TASKS {
        text += &format!("  {:<20} {}\n", entry.usage, entry.summary);
    }
    text += "\nexit codes: 0 done, 1 something failed, 2 wrong command line; `run` ends with the runner's own\n";
    text + "example: cargo xtask run --config configs/quickstart.json"
}

fn details(entry: &Entry) -> String {
    let mut text = format!("{}\n\nusage: cargo xtask {}\n", entry.summary, entry.usage);
    if !entry.details.is_empty() {
        text += &format!("\n{}\n", wrap(entry.details, 100));
    }
    text += "\nexamples:";
    for example in entry.examples {
        text += &format!("\n  {example}");
    }
    text
}

/// Breaks a paragraph into lines of at most `width` characters.
fn wrap(text: &str, width: usize) -> String {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("starts with one line and only grows");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Task, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn arguments_of_the_runner_are_passed_on_untouched() {
        let args = ["--config", "a.json", "--help", "--set", "a=b"].map(OsString::from);
        let line = format!("run {}", args.map(|a| a.into_string().expect("text")).join(" "));
        let Ok(Task::Run(rest)) = parsed(&line) else { panic!("not run") };
        assert_eq!(rest, ["--config", "a.json", "--help", "--set", "a=b"]);
        assert_eq!(parsed("bench -- x"), Ok(Task::Bench(vec!["--".into(), "x".into()])));
    }

    #[test]
    fn flags_are_read_and_unknown_ones_are_errors() {
        assert_eq!(parsed("test"), Ok(Task::Test { slow: false }));
        assert_eq!(parsed("test --slow"), Ok(Task::Test { slow: true }));
        assert_eq!(parsed("test --gpu"), Ok(Task::TestGpu));
        assert_eq!(parsed("libtorch"), Ok(Task::Libtorch(Set::Cpu)));
        assert_eq!(parsed("libtorch --cuda"), Ok(Task::Libtorch(Set::Cuda)));
        assert_eq!(parsed("stand-in"), Ok(Task::StandIn));
        assert_eq!(parsed("generate --check"), Ok(Task::Generate { check: true }));
        let request = Request {
            page: "toys".into(),
            seeds: 2,
            jobs: 4,
            only: Some("torus".into()),
            table_only: false,
            runner: None,
        };
        let line = "reproduce toys --seeds 2 --jobs 4 --only torus";
        assert_eq!(parsed(line), Ok(Task::Reproduce(request)));
        for line in [
            "",
            "reproduce",
            "reproduce nothing",
            "reproduce toys --seeds",
            "reproduce toys --jobs 0",
            "reproduce toys --only",
            "reproduce toys --only --table",
            "tset",
            "test --cuda",
            "stand-in --cuda",
            "test --slow --gpu",
            "libtorch cuda",
            "generate --check x",
            "help nothing",
            "help a b",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
        assert!(parsed("test --slwo").expect_err("unknown").contains("--slow"));
    }

    #[test]
    fn every_task_has_help_with_examples_that_parse() {
        for entry in TASKS {
            assert!(overview().contains(entry.usage));
            let Ok(Task::Help(text)) = parsed(&format!("help {}", entry.name)) else {
                panic!("no help for {}", entry.name)
            };
            assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
            for example in entry.examples {
                let line = example.split_once("cargo xtask ").expect("an example calls xtask").1;
                assert!(parsed(line).is_ok(), "{example}");
            }
        }
        assert!(matches!(parsed("--help"), Ok(Task::Help(_))));
        assert!(matches!(parsed("test --help"), Ok(Task::Help(_))));
    }
}
