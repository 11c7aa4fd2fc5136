//! `cargo xtask reproduce`: the runs behind a page of results, and its tables.
//!
//! Every run is one configuration with one seed, in its own folder below `runs/`. What is there already is not run
//! again, and what was interrupted goes on, so the command can be repeated until it is done.

mod pages;
mod record;
mod table;
mod timed;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::failure::{Failure, Outcome};
use crate::generate;
use crate::project::Project;

/// A page of results.
struct Page {
    name: &'static str,
    /// The configurations lie in this folder of `configs`, the runs in `runs/NAME`.
    configs: &'static str,
    /// The table is written here.
    table: &'static str,
    rows: &'static [Row],
    /// What is appended to the name of a row's configuration, and what the table calls it.
    methods: &'static [(&'static str, &'static str)],
    /// Names in metrics.json, and what the table calls them. The standard error of a single run, where there is one, is
    /// the number of the same name with [`STANDARD_ERROR`] behind it.
    metrics: &'static [(&'static str, &'static str)],
    /// What the published columns are.
    published: &'static str,
}

/// A line of a table for each method.
struct Row {
    title: &'static str,
    config: &'static str,
    /// Figures of others, one for each method; `-` where there is none.
    published: &'static [&'static str],
}

const fn row(title: &'static str, config: &'static str, published: &'static [&'static str]) -> Row {
    Row { title, config, published }
}

/// Released: W1 of the released code as measured in the reference notes (sism.md 5.2); with a star from its README.
const TOYS: Page = Page {
    name: "toys",
    configs: "toys",
    table: "docs/src/results/toys-table.md",
    rows: &[
        row("mixture, 2-D", "mixture-2d", &["2.32", "1.54", "-"]),
        row("circles", "circles", &["1.45", "0.92", "-"]),
        row("line", "line", &["0.57*", "0.39*", "-"]),
        row("C4 Gaussians", "c4-gaussians", &["-", "-", "-"]),
        row("mixture, 3-D", "mixture-3d", &["1.46", "1.09", "-"]),
        row("torus", "torus", &["1.26", "0.49", "-"]),
        row("Moebius strip", "moebius", &["0.38", "0.16*", "-"]),
        row("mixture, 4-D", "mixture-4d", &["-", "-", "-"]),
    ],
    methods: &[("", "group"), ("-fisher", "Fisher"), ("-brownian", "Brownian")],
    metrics: &[
        ("w1", "W1"),
        ("w2", "W2"),
        ("mmd", "MMD"),
        ("nll_nats", "NLL (nats)"),
        ("non_finite", "not finite"),
        ("collapsed", "collapsed"),
        ("w1_floor", "W1, data against data"),
    ],
    published: "W1, released code",
};

const PAGES: &[Page] = &[TOYS];

/// Pages with curves of quality against training time.
const TIMED: &[&timed::Timed] = &[&pages::GP1D, &pages::GP2D, &pages::IMAGES, &pages::BRIDGES];

/// Behind the name of a number in metrics.json: its standard error.
const STANDARD_ERROR: &str = "_standard_error";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The page.
    pub page: String,
    /// Runs of each configuration: seeds 0, 1, ...
    pub seeds: u32,
    /// Runs at the same time.
    pub jobs: usize,
    /// Only the runs whose folder has this in its name.
    pub only: Option<String>,
    /// Only write the table, of what is there.
    pub table_only: bool,
    /// This runner, in place of one that is built now.
    pub runner: Option<PathBuf>,
}

/// The names of the pages.
pub fn pages() -> Vec<&'static str> {
    PAGES.iter().map(|page| page.name).chain(TIMED.iter().map(|page| page.name)).collect()
}

/// Runs what is missing, and writes the table.
pub fn reproduce(project: &Project, request: &Request) -> Outcome<()> {
    let runner = match &request.runner {
        Some(runner) => std::path::absolute(runner)
            .map_err(|e| Failure::io(format!("cannot find {}", runner.display()), &e))?,
        None => project.runner(),
    };
    let build = || if request.runner.is_some() { Ok(()) } else { generate::build().run(project) };
    if let Some(page) = TIMED.iter().find(|page| page.name == request.page) {
        build()?;
        if !request.table_only {
            let mut units = page.units(&project.root, request.seeds);
            let names: Vec<String> = units.iter().map(timed::Unit::name).collect();
            units.retain(|unit| request.only.as_ref().is_none_or(|part| unit.named(part)));
            wanted(request, &units, &names)?;
            let (done, all) = units
                .iter()
                .map(timed::Unit::count)
                .fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
            eprintln!("{done} of {all} runs are there; all take {}", page.budget(request.seeds));
            let missing: Vec<_> = units.iter().filter(|u| u.count().0 < u.count().1).collect();
            let tasks = missing.iter().map(|unit| (unit.name(), *unit));
            run_all(tasks.collect(), request.jobs, |unit| unit.start(project, &runner))?;
        }
        return page.write(project, &runner, request.seeds);
    }
    let page = PAGES.iter().find(|page| page.name == request.page).ok_or_else(|| {
        Failure::new(format!("nothing to reproduce is called `{}`", request.page))
            .help(format!("there is: {}", pages().join(", ")))
    })?;
    let mut runs = page.runs(&project.root, request.seeds);
    let names: Vec<String> = runs.iter().map(|run| run.folder.display().to_string()).collect();
    let named = |run: &Run, part: &String| {
        run.folder.file_name().is_some_and(|name| name.to_string_lossy().contains(part))
    };
    runs.retain(|run| request.only.as_ref().is_none_or(|part| named(run, part)));
    wanted(request, &runs, &names)?;
    if !request.table_only {
        build()?;
        let missing = runs.iter().filter(|run| !run.done());
        let tasks: Vec<_> = missing.map(|run| (run.folder.display().to_string(), run)).collect();
        eprintln!("{} of {} runs are there", runs.len() - tasks.len(), runs.len());
        run_all(tasks, request.jobs, |run| run.start(project, &runner))?;
    }
    let path = project.root.join(page.table);
    fs::write(&path, page.markdown(&project.root, request.seeds))
        .map_err(|e| Failure::io(format!("cannot write {}", path.display()), &e))?;
    eprintln!("{}", path.display());
    Ok(())
}

/// Refuses `--only` where it leaves nothing.
fn wanted<T>(request: &Request, left: &[T], names: &[String]) -> Outcome<()> {
    match &request.only {
        Some(part) if left.is_empty() => {
            let help = format!("there is:\n{}", names.join("\n"));
            Err(Failure::new(format!("no run has `{part}` in its name")).help(help))
        }
        _ => Ok(()),
    }
}

/// One run of one configuration.
struct Run {
    config: PathBuf,
    seed: u32,
    folder: PathBuf,
}

impl Run {
    fn done(&self) -> bool {
        self.folder.join("metrics.json").is_file()
    }

    fn start(&self, project: &Project, runner: &Path) -> Outcome<()> {
        if let Some(parent) = self.folder.parent() {
            fs::create_dir_all(parent)
                .map_err(|e| Failure::io(format!("cannot make {}", parent.display()), &e))?;
        }
        let mut command = project.command(runner);
        command.arg("--config").arg(&self.config).arg("--resume");
        command.arg("--out").arg(&self.folder).arg("--set").arg(format!("seed={}", self.seed));
        let output =
            command.output().map_err(|e| Failure::io("cannot start the runner".to_owned(), &e))?;
        if output.status.success() {
            return Ok(());
        }
        let name = self.folder.display();
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::new(format!("{name} ended with {}\n{said}", output.status)))
    }
}

/// Runs named tasks, `jobs` at a time. The first failure stops what has not begun.
fn run_all<T: Sync>(
    tasks: Vec<(String, T)>,
    jobs: usize,
    start: impl Fn(&T) -> Outcome<()> + Sync,
) -> Outcome<()> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, tasks.len().max(1)) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((name, task)) = tasks.get(index) else { return };
                    let began = std::time::Instant::now();
                    match start(task) {
                        Ok(()) => eprintln!(
                            "{}/{} {name} ({:.0} s)",
                            index + 1,
                            tasks.len(),
                            began.elapsed().as_secs_f64()
                        ),
                        Err(error) => {
                            stop.store(true, Ordering::Relaxed);
                            if let Ok(mut slot) = failure.lock() {
                                slot.get_or_insert(error);
                            }
                        }
                    }
                }
            });
        }
    });
    match failure.into_inner() {
        Ok(Some(error)) => Err(error.help("the same command goes on where it stopped")),
        _ => Ok(()),
    }
}

impl Page {
    fn run(&self, root: &Path, config: &str, seed: u32) -> Run {
        Run {
            config: root.join("configs").join(self.configs).join(format!("{config}.json")),
            seed,
            folder: root.join("runs").join(self.name).join(format!("{config}-seed{seed}")),
        }
    }

    fn configs(&self) -> impl Iterator<Item = (&Row, usize, String)> {
        self.rows.iter().flat_map(|row| {
            let methods = self.methods.iter().enumerate();
            methods.map(move |(k, (suffix, _))| (row, k, format!("{}{suffix}", row.config)))
        })
    }

    /// Seed by seed, so that a table of fewer seeds is complete early.
    fn runs(&self, root: &Path, seeds: u32) -> Vec<Run> {
        (0..seeds)
            .flat_map(|seed| self.configs().map(move |(_, _, config)| (seed, config)))
            .map(|(seed, config)| self.run(root, &config, seed))
            .filter(|run| run.config.is_file())
            .collect()
    }

    fn markdown(&self, root: &Path, seeds: u32) -> String {
        let mut text = format!(
            "<!-- Written by `cargo xtask reproduce {}`. -->\n\n| set | method |",
            self.name
        );
        let (mut rule, mut lines) = ("|---|---|".to_owned(), String::new());
        let metrics: Vec<_> = self.metrics.iter().filter(|m| self.has(root, m.0, seeds)).collect();
        for (_, title) in &metrics {
            // Writing to a String cannot fail.
            let _ = write!(text, " {title} |");
            rule += "---|";
        }
        let _ = writeln!(text, " {} | seeds |\n{rule}---|---|", self.published);
        for (row, k, config) in self.configs() {
            let found: Vec<String> = (0..seeds)
                .filter_map(|seed| {
                    fs::read_to_string(self.run(root, &config, seed).folder.join("metrics.json"))
                        .ok()
                })
                .collect();
            if found.is_empty() {
                continue;
            }
            let _ = write!(lines, "| {} | {} |", row.title, self.methods[k].1);
            for (name, _) in &metrics {
                let values: Vec<_> = found.iter().filter_map(|t| measured(t, name)).collect();
                let cell = cell(&values);
                let _ = write!(lines, " {cell} |");
            }
            let published = row.published.get(k).unwrap_or(&"-");
            let _ = writeln!(lines, " {published} | {} |", found.len());
        }
        text + &lines
    }

    /// Whether any run has this metric.
    fn has(&self, root: &Path, metric: &str, seeds: u32) -> bool {
        let mut runs = self
            .configs()
            .flat_map(|(_, _, config)| (0..seeds).map(move |seed| (config.clone(), seed)));
        runs.any(|(config, seed)| {
            fs::read_to_string(self.run(root, &config, seed).folder.join("metrics.json"))
                .is_ok_and(|text| number(&text, metric).is_some())
        })
    }
}

/// The number after `"name":`; names in metrics.json are unique.
fn number(text: &str, name: &str) -> Option<f64> {
    let after = text.split_once(&format!("\"{name}\":"))?.1.trim_start();
    let end = after.find([',', '\n', '}']).unwrap_or(after.len());
    after[..end].trim().parse().ok()
}

/// A number of metrics.json, and its own standard error where there is one.
type Measured = (f64, Option<f64>);

fn measured(text: &str, name: &str) -> Option<Measured> {
    Some((number(text, name)?, number(text, &format!("{name}{STANDARD_ERROR}"))))
}

/// One value with its own standard error, several with that of their mean.
fn cell(values: &[Measured]) -> String {
    match values {
        [(value, Some(error))] => shown(*value, Some(*error)),
        _ => mean_and_error(&values.iter().map(|(value, _)| *value).collect::<Vec<_>>()),
    }
}

/// Mean, and its standard error where there are at least two values.
fn mean_and_error(values: &[f64]) -> String {
    let n = values.len() as f64;
    if values.is_empty() {
        return "-".to_owned();
    }
    let mean = values.iter().sum::<f64>() / n;
    let whole = values.iter().all(|v| v.fract() == 0.0);
    if whole && values.iter().all(|v| *v == mean) {
        return format!("{mean}");
    }
    if values.len() == 1 {
        return shown(mean, None);
    }
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    shown(mean, Some((variance / n).sqrt()))
}

/// With three decimals; a power of ten where those would hide the value.
fn shown(value: f64, error: Option<f64>) -> String {
    let one = |number: f64| {
        if value.abs() < 1e-3 && value != 0.0 {
            format!("{number:.1e}")
        } else {
            format!("{number:.3}")
        }
    };
    match error {
        Some(error) => format!("{} ± {}", one(value), one(error)),
        None => one(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_every_page_has_its_configuration() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for page in PAGES {
            for (_, _, config) in page.configs() {
                let file = page.run(&root, &config, 0).config;
                assert!(file.is_file(), "{}", file.display());
            }
            assert!(page.rows.iter().all(|row| row.published.len() == page.methods.len()));
        }
    }

    #[test]
    fn numbers_are_read_by_their_whole_name() {
        let text = "{\n  \"w1\": 1.25,\n  \"w1_floor\": 2,\n  \"bad\": null\n}";
        assert_eq!(number(text, "w1"), Some(1.25));
        assert_eq!(number(text, "w1_floor"), Some(2.0));
        assert_eq!(number(text, "bad"), None);
        assert_eq!(number(text, "floor"), None);
    }

    #[test]
    fn a_single_run_shows_its_own_standard_error() {
        let text = r#"{"gap": 0.0312, "gap_standard_error": 0.0101}"#;
        let gap = measured(text, "gap").expect("a number");
        assert_eq!(cell(&[gap]), "0.031 ± 0.010");
        assert_eq!(cell(&[gap, (0.0412, Some(0.01))]), "0.036 ± 0.005");
        assert_eq!(measured(text, "absent"), None);
    }

    #[test]
    fn the_error_is_that_of_the_mean() {
        assert_eq!(mean_and_error(&[1.0, 2.0, 3.0]), "2.000 ± 0.577");
        assert_eq!(mean_and_error(&[0.5]), "0.500");
        assert_eq!(mean_and_error(&[0.0, 0.0]), "0");
        assert_eq!(mean_and_error(&[]), "-");
    }

    #[test]
    fn small_numbers_are_seen() {
        assert_eq!(cell(&[(1.326e-7, None)]), "1.3e-7");
        assert_eq!(cell(&[(2e-5, None), (4e-5, None)]), "3.0e-5 ± 1.0e-5");
        assert_eq!(cell(&[(-4e-4, Some(0.02))]), "-4.0e-4 ± 2.0e-2");
        assert_eq!(cell(&[(0.001, None)]), "0.001");
    }

    #[test]
    fn the_table_holds_what_was_run_and_says_how_often() {
        let scratch = tempfile::tempdir().unwrap();
        let page = &TOYS;
        for seed in 0..2 {
            let folder = page.run(scratch.path(), "torus", seed).folder;
            fs::create_dir_all(&folder).expect("a folder");
            let text = format!("{{\"metrics\": {{\"w1\": {}.5}}}}", seed + 1);
            fs::write(folder.join("metrics.json"), text).expect("a file");
        }
        let table = page.markdown(scratch.path(), 3);
        assert!(!table.contains("circles"), "{table}");
        assert!(table.contains("| torus | group | 2.000 ± 0.500 | 1.26 | 2 |"), "{table}");
    }
}
