//! Cells as the tasks of Slurm job arrays.
//!
//! The script becomes the runner (`exec`), so that Slurm's signals reach it: USR1 two minutes before
//! the time limit, upon which the cell writes a checkpoint and asks to be queued again, and TERM at
//! preemption, upon which it writes a checkpoint and Slurm queues it again by itself.

use super::cell::{CellFolder, Failure, State};
use super::file::Resources;
use super::plan::{Cell, Plan};
use crate::cli::{DataFlags, RunArgs};
use crate::output::{note, say};
use crate::resolve::Refusal;
use crate::signals::StopFlag;
use isotropy_core::{Error, Result};
use isotropy_data::write::write_whole;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Tasks of one array: Slurm's own default limit is 1001.
const ARRAY: usize = 1000;
/// How long before its time limit a cell is told.
const WARNING_MINUTES: u32 = 2;
/// How often the queue is looked at.
const LOOK: Duration = Duration::from_secs(3);

/// How a sweep is submitted.
pub struct Slurm<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The sweep's folder.
    pub folder: &'a Path,
    /// Tasks of an array that run at once; as many as the cluster allows where none are given.
    pub at_once: Option<usize>,
    /// Where data sets lie.
    pub data_dir: &'a Path,
}

impl Slurm<'_> {
    /// Submits the cells that are not finished and that nobody works on; returns the jobs.
    ///
    /// # Errors
    /// When the script cannot be written or `sbatch` refuses it.
    pub fn submit(&self, cells: &[usize]) -> Result<Vec<String>> {
        let folder = self.folder.canonicalize().map_err(|e| Error::io(self.folder, e))?;
        // The list has a path a line.
        let path = utf8(&folder)?;
        if path.contains(['\n', '\r', '\t']) {
            let message = format!("the folder {path:?} has a line break or a tab in its name");
            return Err(Error::config("", message).with_help(
                "a job array reads its cells from a list of lines; choose another --out",
            ));
        }
        let scripts = folder.join("slurm");
        std::fs::create_dir_all(&scripts).map_err(|e| Error::io(&scripts, e))?;
        let mut keys: Vec<(&Cell, CellFolder)> = Vec::new();
        for &k in cells {
            let cell = &self.plan.cells[k];
            let cell_folder = self.plan.cell_folder(&folder, cell);
            if !matches!(cell_folder.state(), State::Finished | State::Running) {
                cell_folder.forget_failure()?;
                keys.push((cell, cell_folder));
            }
        }
        let stamp = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        let mut jobs = Vec::new();
        for (k, chunk) in keys.chunks(ARRAY).enumerate() {
            let name = format!("array-{stamp}-{k}");
            let list = scripts.join(format!("{name}.txt"));
            let lines: String = chunk
                .iter()
                .map(|(cell, folder)| format!("{}\t{}\n", folder.path().display(), cell.name))
                .collect();
            write_whole(&list, lines)?;
            let script = scripts.join(format!("{name}.sh"));
            let text = self.script(&folder, &list, chunk.len(), chunk[0].0)?;
            write_whole(&script, text)?;
            jobs.push(sbatch(&script)?);
        }
        Ok(jobs)
    }

    /// The script of an array whose tasks work on the lines of `list`.
    fn script(&self, folder: &Path, list: &Path, tasks: usize, cell: &Cell) -> Result<String> {
        let wanted = &self.plan.resources;
        let program = std::env::current_exe().map_err(|e| Error::Other(e.to_string()))?;
        let limit = self.at_once.map(|n| format!("%{n}")).unwrap_or_default();
        let log = folder.join("slurm/%A_%a.log");
        let mut options = vec![
            format!("--job-name={}", self.plan.name),
            format!("--array=0-{}{limit}", tasks - 1),
            "--requeue".into(),
            format!("--signal=B:USR1@{}", 60 * WARNING_MINUTES),
            "--open-mode=append".into(),
            format!(
                "--output={}",
                utf8(&log)?.replace('%', "%%").replace("%%A_%%a.log", "%A_%a.log")
            ),
            "--ntasks=1".into(),
            format!("--cpus-per-task={}", wanted.cpus.unwrap_or(cell.threads)),
        ];
        let text = |name: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("--{name}={value}"))
        };
        options.extend(text("partition", &wanted.partition));
        options.extend(text("account", &wanted.account));
        options.extend(text("qos", &wanted.qos));
        options.extend(text("constraint", &wanted.constraint));
        options.extend(wanted.minutes.map(|minutes| format!("--time={minutes}")));
        options.extend(wanted.memory_gib.map(|gib| format!("--mem={gib}G")));
        if wanted.gpus > 0 {
            options.push(format!("--gpus-per-task={}", wanted.gpus));
        }
        options.extend(wanted.options.iter().cloned());
        let mut script = String::from("#!/bin/sh\n");
        for option in options {
            script += &format!("#SBATCH {}\n", sbatch_word(&option));
        }
        script += &format!("export OMP_NUM_THREADS={0} MKL_NUM_THREADS={0}\n", cell.threads);
        for line in &wanted.setup {
            script += line;
            script.push('\n');
        }
        script += &format!(
            "exec {} sweep cell {} \"$SLURM_ARRAY_TASK_ID\" --data-dir {}\n",
            quoted(&program)?,
            quoted(list)?,
            quoted(&std::path::absolute(self.data_dir).map_err(|e| Error::io(self.data_dir, e))?)?
        );
        Ok(script)
    }

    /// Waits until no task of the jobs is in the queue any more.
    ///
    /// # Errors `Interrupted` upon a signal; the jobs go on.
    pub fn wait(&self, jobs: &[String], stop: &StopFlag) -> Result<()> {
        let mut said = String::new();
        let mut looked: Option<Instant> = None;
        loop {
            if let Some(signal) = stop.received() {
                let message = format!(
                    "stopped waiting ({signal}); the jobs {} go on, look at them with runner sweep status {}",
                    jobs.join(", "),
                    self.folder.display()
                );
                return Err(Error::Interrupted(message));
            }
            if looked.is_some_and(|looked| looked.elapsed() < LOOK) {
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
            looked = Some(Instant::now());
            let left = queued(jobs)?;
            let now = match left.len() {
                0 => return Ok(()),
                n => format!("{n} tasks in the queue"),
            };
            if now != said {
                note!("{now}");
                said = now;
            }
        }
    }
}

/// The tasks of the jobs that are still in the queue.
fn queued(jobs: &[String]) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for job in jobs {
        let arguments = ["--noheader", "--array", "--format=%i", "--jobs", job.as_str()];
        let output = Command::new("squeue").args(arguments).output();
        let output = output.map_err(|e| Error::Other(format!("squeue: {e}")))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        // A job that ended some minutes ago is forgotten.
        if !output.status.success() && !errors.contains("Invalid job id") {
            note!("warning: squeue: {}", errors.trim());
            left.push(job.clone());
        }
        left.extend(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned));
    }
    Ok(left)
}

fn sbatch(script: &Path) -> Result<String> {
    let output = Command::new("sbatch").arg("--parsable").arg(script).output();
    let output = output.map_err(|e| {
        Error::Other(format!("sbatch: {e}; submit {} where there is Slurm", script.display()))
    })?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Other(format!("sbatch {}: {}", script.display(), errors.trim())));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    // With several clusters the answer is JOB;CLUSTER.
    Ok(text.trim().split(';').next().unwrap_or_default().to_owned())
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::config("", format!("{} is not UTF-8, which the job script is", path.display()))
    })
}

/// A path as a shell takes it: nothing but the quote itself has a meaning between single quotes.
fn quoted(path: &Path) -> Result<String> {
    Ok(format!("'{}'", utf8(path)?.replace('\'', r"'\''")))
}

/// An option as sbatch reads it from a script: a backslash takes the meaning of blanks, quotes and
/// `#`.
fn sbatch_word(option: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=./:,+@%^~".contains(c);
    option.chars().fold(String::new(), |mut word, c| {
        if !plain(c) {
            word.push('\\');
        }
        word.push(c);
        word
    })
}

/// Options that the script has for itself, and what would be lost.
const OWN: &[(&str, &str)] = &[
    (
        "--signal",
        "the cell is told by USR1, two minutes before the time limit, to write a checkpoint",
    ),
    ("--requeue", "a preempted cell is queued again"),
    ("--no-requeue", "a preempted cell is queued again"),
    ("--array", "each task is a cell"),
    ("-a", "each task is a cell"),
    ("--open-mode", "a cell that is queued again goes on in its log"),
    ("--output", "logs lie in the sweep's folder"),
    ("-o", "logs lie in the sweep's folder"),
    ("--error", "logs lie in the sweep's folder"),
    ("-e", "logs lie in the sweep's folder"),
    ("--ntasks", "a cell is one process, which gets the signals"),
    ("-n", "a cell is one process, which gets the signals"),
    ("--wrap", "the script becomes the cell, which gets the signals"),
    ("--time", "write `minutes`, which is checked against the warning two minutes before the end"),
    ("-t", "write `minutes`, which is checked against the warning two minutes before the end"),
    (
        "--time-min",
        "write `minutes`, which is checked against the warning two minutes before the end",
    ),
];

/// Whether what a cell asks for leaves it the signals that the script asks for.
///
/// # Errors
/// A configuration error that names the option and what it would take away.
pub fn check_options(wanted: &Resources) -> Result<()> {
    let place = "/resources/options";
    for option in &wanted.options {
        let refuse = |why: &str| {
            Err(Error::config(place, format!("`resources.options`: {option:?}: {why}")))
        };
        if !option.starts_with('-') || option.contains(['\n', '\r']) {
            return refuse("an option of sbatch is one line that starts with `-`");
        }
        let name = option.split(['=', ' ']).next().unwrap_or(option);
        let own = OWN.iter().find(|(own, _)| {
            // Short options may have their value without a blank.
            *own == name || (own.len() == 2 && name.starts_with(own))
        });
        if let Some((_, why)) = own {
            return refuse(why);
        }
    }
    let named = [&wanted.partition, &wanted.account, &wanted.qos, &wanted.constraint];
    if named.into_iter().flatten().any(|text| text.contains(['\n', '\r'])) {
        return Err(Error::config("/resources", "`resources`: a name with a line break"));
    }
    if wanted.minutes.is_some_and(|minutes| minutes <= WARNING_MINUTES) {
        let message = format!(
            "`resources.minutes`: the warning comes {WARNING_MINUTES} minutes before the time limit, \
             so a limit of {WARNING_MINUTES} or fewer leaves no time to train"
        );
        return Err(Error::config("/resources/minutes", message).with_help("at least 3 minutes"));
    }
    Ok(())
}

/// Runs the cell of line `index` of a list in this process: what a task of an array does.
///
/// # Errors
/// What ends the run; it is noted in the cell's folder.
pub fn run_cell(list: &Path, index: usize, data_dir: &Path) -> Result<(), Refusal> {
    let text = std::fs::read_to_string(list).map_err(|e| Error::io(list, e))?;
    let Some((path, name)) = text.lines().nth(index).and_then(|line| line.split_once('\t')) else {
        return Err(Error::config("", format!("{} has no line {index}", list.display())).into());
    };
    let path = Path::new(path);
    let key = path.file_name().unwrap_or_default().to_string_lossy();
    let cell = CellFolder::new(path.parent().unwrap_or(Path::new(".")), &key);
    say!("{name}");
    let Some(_lock) = cell.claim()? else {
        let message = format!("another process is working on {}", cell.path().display());
        return Err(Error::Other(message).into());
    };
    cell.forget_failure()?;
    let config = cell.config();
    let arguments = RunArgs {
        config: Some(config.clone()),
        sets: Vec::new(),
        out: Some(cell.run()),
        resume: true,
        data: DataFlags { data_dir: Some(data_dir.to_path_buf()), ..DataFlags::default() },
    };
    let outcome = crate::commands::run::run(&config, &arguments);
    match &outcome {
        Ok(()) => {}
        Err(Refusal::Error(Error::Interrupted(message))) => {
            if message.contains("SIGUSR1") {
                requeue();
            }
        }
        Err(refusal) => {
            let (code, error) = match refusal {
                Refusal::Diagnostics(diagnostics) => (2, diagnostics.to_string()),
                Refusal::Error(error) => (error.exit_code(), format!("error: {error}")),
            };
            let error = crate::config::suggest::shorten(&error, 400);
            cell.note_failure(&Failure { ended: format!("exit code {code}"), error })?;
        }
    }
    outcome
}

/// Asks Slurm to queue this task again: its time is over, and Slurm would take it for ended.
fn requeue() {
    let variable = |name: &str| std::env::var(name).ok();
    let task = match (variable("SLURM_ARRAY_JOB_ID"), variable("SLURM_ARRAY_TASK_ID")) {
        (Some(job), Some(task)) => format!("{job}_{task}"),
        _ => match variable("SLURM_JOB_ID") {
            Some(job) => job,
            None => return,
        },
    };
    let outcome = Command::new("scontrol").args(["requeue", &task]).status();
    if !outcome.as_ref().is_ok_and(std::process::ExitStatus::success) {
        note!(
            "warning: scontrol requeue {task} did not work; submit the sweep again with --resume"
        );
    }
}
