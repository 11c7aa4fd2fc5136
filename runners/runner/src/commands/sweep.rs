//! `runner sweep`.

use crate::catalogue::Catalogue;
use crate::cli::{Launch, SweepAction, SweepArgs};
use crate::output::{note, say};
use crate::progress::duration;
use crate::resolve::Refusal;
use crate::services::data_folder_or_none;
use crate::signals::StopFlag;
use crate::sweep::cell::State;
use crate::sweep::estimate::{Rates, steps_for_minutes};
use crate::sweep::file::SweepFile;
use crate::sweep::interests;
use crate::sweep::local::{Local, Tally, default_jobs};
use crate::sweep::plan::{Plan, Planned, plan};
use crate::sweep::read::{Sweep, read};
use crate::sweep::report::results::Results;
use crate::sweep::report::{report, status};
use crate::sweep::rungs;
use crate::sweep::sessions::{self, Sessions};
use crate::sweep::slurm::{Slurm, check_options, run_cell};
use crate::sweep::variants::{Variant, combinations, resolve};
use isotropy_core::{Error, Result};
use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// Runs, shows or reports a sweep.
///
/// # Errors
/// All mistakes of the file and its cells before anything runs; afterwards when cells have failed or
/// a signal has stopped them.
pub fn sweep(args: &SweepArgs) -> Result<(), Refusal> {
    match &args.action {
        Some(SweepAction::Status { folder }) => {
            sessions::gather(&Plan::read(folder)?, folder)?;
            say!("{}", status(folder)?.trim_end());
            Ok(())
        }
        Some(SweepAction::Report { folder, format }) => {
            sessions::gather(&Plan::read(folder)?, folder)?;
            say!("{}", report(folder, *format)?.trim_end());
            Ok(())
        }
        Some(SweepAction::Schema) => schema(),
        Some(SweepAction::Cell { list, index, data_dir }) => {
            run_cell(list, *index, &data_folder_or_none(data_dir.clone()))
        }
        None => match &args.file {
            Some(file) => run(file, args),
            None => Err(Error::config("", "name a sweep file").into()),
        },
    }
}

fn schema() -> Result<(), Refusal> {
    let schema = schemars::schema_for!(SweepFile);
    let text = serde_json::to_string_pretty(&schema).map_err(|e| Error::Other(e.to_string()))?;
    say!("{text}");
    Ok(())
}

/// Where a sweep and its cells lie.
struct Places {
    folder: PathBuf,
    /// As the plan names it.
    cells: PathBuf,
    data: PathBuf,
}

impl Places {
    fn of(args: &SweepArgs, name: &str) -> Result<Self> {
        let absolute = |path: &Path| std::path::absolute(path).map_err(|e| Error::io(path, e));
        let folder = match &args.out {
            Some(out) => out.clone(),
            None => PathBuf::from("runs/sweeps").join(name),
        };
        let cells = match (&args.cells, &args.out) {
            (Some(cells), _) => absolute(cells)?,
            (None, Some(_)) => PathBuf::from("cells"),
            (None, None) => PathBuf::from("../../cells"),
        };
        let data = absolute(&data_folder_or_none(args.data_dir.clone()))?;
        Ok(Self { folder, cells, data })
    }
}

fn run(file: &Path, args: &SweepArgs) -> Result<(), Refusal> {
    let catalogue = Catalogue::new()?;
    let sweep = read(file, &catalogue)?;
    let combinations = combinations(&sweep)?;
    let mut variants = resolve(&sweep, &combinations)?;
    interests::check(&sweep, &variants)?;
    check_options(&sweep.file.resources)?;
    let places = Places::of(args, &sweep.file.name)?;
    let on_cluster = args.launch == Launch::Slurm;
    let make = |variants: &mut Vec<Variant>| {
        plan(&sweep, file, variants, places.cells.clone(), on_cluster)
    };
    let mut planned = make(&mut variants)?;
    let exists = places.folder.join("plan.json").exists();
    if exists && !args.resume && !args.dry_run {
        let message = format!("{} already exists", places.folder.display());
        return Err(Error::config("", message)
            .with_help("go on with --resume, which keeps what is finished, or choose another --out")
            .into());
    }
    let only = Only::new(args, &planned.plan, &sweep)?;
    if !args.dry_run {
        std::fs::create_dir_all(&places.folder).map_err(|e| Error::io(&places.folder, e))?;
    }
    let lock = if args.dry_run { None } else { Some(lock(&places.folder)?) };
    if let Some(minutes) = sweep.file.budget.as_ref().and_then(|budget| budget.minutes) {
        let mut rates = Rates::new(&places.data);
        let keep = (!args.dry_run).then_some(places.folder.as_path());
        steps_for_minutes(minutes, &mut variants, &planned, &mut rates, keep)?;
        planned = make(&mut variants)?;
    }
    if args.dry_run {
        dry_run(&planned, &places, args, &only);
        return Ok(());
    }
    planned.plan.write(&places.folder)?;
    for (cell, config) in planned.plan.cells.iter().zip(&planned.configs) {
        planned.plan.cell_folder(&places.folder, cell).prepare(config, &planned.origin)?;
    }
    warn_of_other_builds(&planned.plan, &places.folder);
    let outcome = launch(&planned.plan, &places, args, &only);
    drop(lock);
    outcome
}

/// Holds the sweep's folder: two processes would overwrite each other's plan.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::options().create(true).write(true).truncate(false).open(&path);
    let file = file.map_err(|e| Error::io(&path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("another process is running the sweep in {}", folder.display());
            Err(Error::Other(message))
        }
        Err(TryLockError::Error(error)) => Err(Error::io(&path, error)),
    }
}

/// Which cells `--only` leaves.
struct Only(Option<String>);

impl Only {
    fn new(args: &SweepArgs, plan: &Plan, sweep: &Sweep) -> Result<Self> {
        let Some(pattern) = &args.only else { return Ok(Self(None)) };
        if plan.rungs() > 1 {
            let message = "--only cannot be used with successive halving, which compares all cells";
            return Err(Error::config("", message));
        }
        let only = Self(Some(pattern.clone()));
        if !plan.cells.iter().any(|cell| only.takes(&cell.name)) {
            let message = format!("no cell of {} matches --only {pattern}", sweep.file.name);
            let names = plan.cells.iter().take(3).map(|cell| cell.name.as_str());
            let help = format!("cells are called {}", names.collect::<Vec<_>>().join(" or "));
            return Err(Error::config("", message).with_help(help));
        }
        Ok(only)
    }

    fn takes(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|pattern| rungs::matches(pattern, name))
    }
}

/// The cells of a rung that are to be run, each folder once.
fn cells_of(plan: &Plan, folder: &Path, rung: usize, only: &Only) -> Result<Vec<usize>> {
    let mut seen = BTreeSet::new();
    let mut cells = rungs::cells(plan, folder, rung)?;
    cells.retain(|&k| only.takes(&plan.cells[k].name) && seen.insert(plan.cells[k].key.clone()));
    Ok(cells)
}

fn launch(plan: &Plan, places: &Places, args: &SweepArgs, only: &Only) -> Result<(), Refusal> {
    let stop = StopFlag::listen()?;
    let mut all = Tally::default();
    for rung in 0..plan.rungs() {
        let cells = cells_of(plan, &places.folder, rung, only)?;
        if plan.rungs() > 1 {
            note!("rung {rung}: {} cells of {} steps", cells.len(), plan.cells[cells[0]].steps);
        }
        match args.launch {
            Launch::Local => {
                let tally = run_local(plan, places, args, &stop, &cells)?;
                all.finished += tally.finished;
                all.failed += tally.failed;
                all.interrupted += tally.interrupted;
            }
            Launch::Slurm => {
                let at_once = args.jobs.map(usize::from);
                let slurm = Slurm { plan, folder: &places.folder, at_once, data_dir: &places.data };
                let jobs = slurm.submit(&cells)?;
                sessions::gather(plan, &places.folder)?;
                if jobs.is_empty() {
                    say!("nothing to submit");
                } else if args.wait {
                    say!("submitted {}", jobs.join(", "));
                    slurm.wait(&jobs, &stop)?;
                } else {
                    say!("submitted {}", jobs.join(", "));
                    say!("how it stands: runner sweep status {}", places.folder.display());
                    if rung + 1 < plan.rungs() {
                        say!(
                            "when the rung has ended, the same command with --resume submits the next"
                        );
                    }
                    return Ok(());
                }
                all = count(plan, &places.folder, &cells, all);
            }
        }
        if stop.received().is_some() || all.interrupted > 0 {
            break;
        }
    }
    sessions::gather(plan, &places.folder)?;
    conclude(&all, places, &stop)
}

/// What has become of cells that ran elsewhere.
fn count(plan: &Plan, folder: &Path, cells: &[usize], mut tally: Tally) -> Tally {
    for &k in cells {
        match plan.cell_folder(folder, &plan.cells[k]).state() {
            State::Finished => tally.finished += 1,
            State::Failed(_) => tally.failed += 1,
            State::Running | State::Interrupted | State::Waiting => tally.interrupted += 1,
        }
    }
    tally
}

fn run_local(
    plan: &Plan,
    places: &Places,
    args: &SweepArgs,
    stop: &StopFlag,
    cells: &[usize],
) -> Result<Tally> {
    let jobs = args.jobs.map_or_else(|| default_jobs(plan), usize::from);
    let mut sessions = Sessions::open(plan, &places.folder)?;
    let local = Local { plan, folder: &places.folder, jobs, data_dir: &places.data, stop };
    local.run(cells, &mut sessions)
}

fn conclude(tally: &Tally, places: &Places, stop: &StopFlag) -> Result<(), Refusal> {
    let folder = places.folder.display();
    let all = tally.finished + tally.failed + tally.interrupted;
    say!("\n{} of {all} cells finished", tally.finished);
    say!("tables and pictures: runner sweep report {folder}");
    say!(
        "curves and HParams: tensorboard --logdir {}",
        places.folder.join("tensorboard").display()
    );
    if tally.interrupted > 0 {
        let signal = stop.received().unwrap_or("a signal to a cell");
        let message = format!(
            "{} cells were stopped or not begun ({signal}); go on with --resume",
            tally.interrupted
        );
        return Err(Error::Interrupted(message).into());
    }
    if tally.failed > 0 {
        let message = format!(
            "{} of {all} cells failed; runner sweep status {folder} shows why, --resume runs them again",
            tally.failed
        );
        return Err(Error::Other(message).into());
    }
    Ok(())
}

/// Finished cells of the same versions that another build of the program has made: they are used, as
/// the versions say, but whoever changes the code without its version must know.
fn warn_of_other_builds(plan: &Plan, folder: &Path) {
    let Some(mine) = crate::run::manifest::binary_digest() else { return };
    let other = plan.cells.iter().filter(|cell| {
        let run = plan.cell_folder(folder, cell).run();
        let manifest = crate::run::folder::read_json(&run.join("manifest.json"));
        manifest.is_ok_and(|manifest| manifest["binary_sha256"] != mine.as_str())
    });
    let count = other.count();
    if count > 0 {
        note!(
            "warning: {count} cells were begun by another build of the same versions and are used as they are; \
             to have them anew, remove their folders (runner sweep status {} names them)",
            folder.display()
        );
    }
}

fn dry_run(planned: &Planned, places: &Places, args: &SweepArgs, only: &Only) {
    let plan = &planned.plan;
    let mut rates = Rates::new(&places.data);
    let mut reasons = BTreeSet::new();
    let width = plan.cells.iter().map(|cell| cell.name.chars().count()).max().unwrap_or(4).max(4);
    say!("{:width$}  parameters     steps  threads  device  time    state", "cell");
    let (mut total, mut unknown, mut missing) = (0.0, 0, 0);
    let mut seen = BTreeSet::new();
    let results = Results::of(plan.clone(), &places.folder);
    for (k, cell) in plan.cells.iter().enumerate().filter(|(_, cell)| only.takes(&cell.name)) {
        let folder = plan.cell_folder(&places.folder, cell);
        let state = folder.state();
        let done = state == State::Finished || results.cells[k].dropped;
        let known = folder.metrics().and_then(|metrics| metrics["resources"]["seconds"].as_f64());
        let seconds = match known.filter(|_| done) {
            Some(seconds) => Some(seconds),
            None => match rates.rate(planned, k) {
                Ok(rate) => Some(cell.steps as f64 / rate),
                Err(reason) => {
                    reasons.insert(reason);
                    None
                }
            },
        };
        if !done && seen.insert(cell.key.clone()) {
            missing += 1;
            match seconds {
                Some(seconds) => total += seconds,
                None => unknown += 1,
            }
        }
        say!(
            "{:width$}  {:>10}  {:>8}  {:>7}  {:6}  {:6}  {}",
            cell.name,
            cell.parameters,
            cell.steps,
            cell.threads,
            if cell.cuda { "cuda" } else { "cpu" },
            seconds.map_or("?".into(), duration),
            results.cells[k].word()
        );
    }
    let jobs = args.jobs.map_or_else(|| default_jobs(plan), usize::from);
    say!(
        "\n{missing} cells to run; training takes about {} with {jobs} at once",
        duration(total / jobs as f64)
    );
    say!("times: training only, from 20 steps measured alone; sampling and metrics come on top");
    if unknown > 0 {
        let reasons: Vec<String> = reasons.into_iter().collect();
        say!("{unknown} cells could not be measured: {}", reasons.join("; "));
    }
    if plan.rungs() > 1 {
        say!("of the later rungs only the best part is run");
    }
}
