//! Pages that show quality against training time: every run is measured at its checkpoints as well as in the end.
//!
//! A checkpoint is measured by `runner evaluate --step`, in `evaluations/step-N` of the run's folder. Which there are
//! says the configuration (`train.checkpoint`). A variant that only draws differently ([`Variant::weights_of`]) is not
//! trained: it takes the weights of another one, at the same checkpoints.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Measured, cell, measured, number};
use crate::failure::{Failure, Outcome};
use crate::project::Project;

/// A page of results.
pub(super) struct Timed {
    /// The runs lie in `runs/NAME`, the pages in `docs/src/results`.
    pub(super) name: &'static str,
    /// The configurations lie in this folder of `configs`.
    pub(super) configs: &'static str,
    /// What is run.
    pub(super) variants: &'static [Variant],
    /// Names in metrics.json, and what the table calls them.
    pub(super) metrics: &'static [(&'static str, &'static str)],
    /// What the published columns are.
    pub(super) published: &'static str,
    /// What the curves show: name in metrics.json, what it is called.
    pub(super) curve: (&'static str, &'static str),
    /// Whether curves have a logarithmic axis.
    pub(super) log: bool,
    /// The sets ([`Variant::set`]) that get a picture of curves, and the end of its name; the empty set is all of them.
    pub(super) pictures: &'static [(&'static str, &'static str)],
    /// Minutes that a training and its measurements take on one core, and those of a variant that is not trained.
    pub(super) minutes: (u32, u32),
}

/// One line of the table.
pub(super) struct Variant {
    /// What lines have in common that are compared with one another.
    pub(super) set: &'static str,
    /// Its name in the table and the legend.
    pub(super) title: &'static str,
    /// Its folder, without the seed.
    pub(super) folder: &'static str,
    /// The configuration.
    pub(super) config: &'static str,
    /// Values that are changed in it.
    pub(super) sets: &'static [&'static str],
    /// The folder of the variant whose weights it takes.
    pub(super) weights_of: Option<&'static str>,
    /// Figures of others.
    pub(super) published: &'static str,
}

/// One variant with one seed.
struct Run<'a> {
    page: &'a Timed,
    variant: &'a Variant,
    seed: u32,
    root: &'a Path,
}

/// A trained variant, and those that take its weights.
pub(super) struct Unit<'a> {
    runs: Vec<Run<'a>>,
}

impl Unit<'_> {
    /// How many of its runs are there, and how many there are.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.runs.iter().filter(|run| run.done()).count(), self.runs.len())
    }

    /// The folder of the trained run.
    pub(super) fn name(&self) -> String {
        self.runs[0].folder().display().to_string()
    }

    /// Trains and measures what is missing.
    pub(super) fn start(&self, project: &Project, runner: &Path) -> Outcome<()> {
        for run in self.runs.iter().filter(|run| !run.done()) {
            run.start(project, runner)?;
        }
        Ok(())
    }
}

impl Run<'_> {
    fn folder(&self) -> PathBuf {
        let name = format!("{}-seed{}", self.variant.folder, self.seed);
        self.root.join("runs").join(self.page.name).join(name)
    }

    /// The folder that was trained.
    fn trained(&self) -> PathBuf {
        let name =
            format!("{}-seed{}", self.variant.weights_of.unwrap_or(self.variant.folder), self.seed);
        self.root.join("runs").join(self.page.name).join(name)
    }

    fn at(folder: &Path, step: u64) -> PathBuf {
        folder.join(format!("evaluations/step-{step}"))
    }

    /// The steps at which it is measured: those of the checkpoints that are kept, the last one being the end. None before
    /// it has begun.
    fn steps(&self) -> Vec<u64> {
        let Ok(config) = fs::read_to_string(self.trained().join("config.json")) else {
            return Vec::new();
        };
        let whole = |name: &str| number(&config, name).map(|value| value as u64).filter(|n| *n > 0);
        let (Some(last), Some(every)) = (training_steps(&config), whole("every")) else {
            return Vec::new();
        };
        let mut steps: Vec<u64> =
            (1..).map(|k| k * every).take_while(|step| *step < last).chain([last]).collect();
        // The older ones are gone.
        let kept = whole("keep").map_or(steps.len(), |kept| kept as usize);
        steps.split_off(steps.len().saturating_sub(kept))
    }

    /// Where the numbers of a step are.
    fn measured(&self, step: u64) -> PathBuf {
        let last = self.steps().last() == Some(&step);
        if last { self.folder() } else { Self::at(&self.folder(), step) }
    }

    fn metrics(&self, step: u64) -> Option<String> {
        fs::read_to_string(self.measured(step).join("metrics.json")).ok()
    }

    fn done(&self) -> bool {
        let steps = self.steps();
        !steps.is_empty() && steps.iter().all(|step| self.metrics(*step).is_some())
    }

    fn start(&self, project: &Project, runner: &Path) -> Outcome<()> {
        if self.variant.weights_of.is_none() {
            let folder = self.folder();
            if !folder.join("metrics.json").is_file() {
                self.run(project, runner, &folder, &[])?;
            }
            for step in self.steps() {
                if self.metrics(step).is_none() {
                    let mut command = project.command(runner);
                    command.arg("evaluate").arg("--run").arg(&folder);
                    command
                        .arg("--step")
                        .arg(step.to_string())
                        .arg("--out")
                        .arg(self.measured(step));
                    finished(command, &folder)?;
                }
            }
            return Ok(());
        }
        // The averaged weights lie beside the metrics of the trained run. The last step first: its folder holds
        // those of the others, and only an empty one can become a run folder.
        for step in self.steps().into_iter().rev() {
            let folder = self.measured(step);
            if folder.join("metrics.json").is_file() {
                continue;
            }
            let last = self.steps().last() == Some(&step);
            let source = if last { self.trained() } else { Self::at(&self.trained(), step) };
            let weights = source.join("weights.safetensors");
            let from = format!("train.init_from=\"{}\"", weights.display());
            let sets = ["train.steps=0", "train.ema=[]", "sampling.ema=null", &from];
            self.run(project, runner, &folder, &sets)?;
        }
        Ok(())
    }

    fn run(&self, project: &Project, runner: &Path, folder: &Path, sets: &[&str]) -> Outcome<()> {
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent)
                .map_err(|e| Failure::io(format!("cannot make {}", parent.display()), &e))?;
        }
        let config = self.root.join("configs").join(self.page.configs);
        let mut command = project.command(runner);
        command.arg("--config").arg(config.join(format!("{}.json", self.variant.config)));
        command.arg("--resume").arg("--out").arg(folder);
        let seed = format!("seed={}", self.seed);
        let own = self.variant.sets.iter().copied();
        for set in ["threads=1", &seed].into_iter().chain(own).chain(sets.iter().copied()) {
            command.arg("--set").arg(set);
        }
        finished(command, folder)
    }

    /// Seconds that a step takes on a free core: the mean of the fastest quarter of the log, since a step that others
    /// held up tells nothing about the network.
    fn seconds_of_a_step(&self) -> Option<f64> {
        let log = fs::read_to_string(self.trained().join("log.jsonl")).ok()?;
        let mut seconds: Vec<f64> = log
            .lines()
            .filter_map(|line| number(line, "steps_per_second"))
            .filter(|speed| *speed > 0.0)
            .map(|speed| 1.0 / speed)
            .collect();
        seconds.sort_by(f64::total_cmp);
        seconds.truncate(seconds.len().div_ceil(4));
        (!seconds.is_empty()).then(|| seconds.iter().sum::<f64>() / seconds.len() as f64)
    }
}

/// `train.steps` of a resolved configuration.
fn training_steps(config: &str) -> Option<u64> {
    let (_, train) = config.split_once("\"train\":")?;
    number(train, "steps").map(|steps| steps as u64)
}

/// Waits for the runner; an error names the folder and says what was said.
fn finished(mut command: std::process::Command, folder: &Path) -> Outcome<()> {
    let output =
        command.output().map_err(|e| Failure::io("cannot start the runner".to_owned(), &e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("{} ended with {}\n{said}", folder.display(), output.status)))
}

impl Timed {
    fn run<'a>(&'a self, root: &'a Path, variant: &'a Variant, seed: u32) -> Run<'a> {
        Run { page: self, variant, seed, root }
    }

    /// What there is to do, seed by seed, so that a table of fewer seeds is complete early.
    pub(super) fn units<'a>(&'a self, root: &'a Path, seeds: u32) -> Vec<Unit<'a>> {
        let trained = || self.variants.iter().filter(|variant| variant.weights_of.is_none());
        let unit = |variant: &'a Variant, seed| {
            let others = self.variants.iter().filter(|v| v.weights_of == Some(variant.folder));
            let runs = [variant].into_iter().chain(others).map(|v| self.run(root, v, seed));
            Unit { runs: runs.collect() }
        };
        (0..seeds).flat_map(|seed| trained().map(move |v| unit(v, seed))).collect()
    }

    /// What all of it takes, in words.
    pub(super) fn budget(&self, seeds: u32) -> String {
        let untrained = self.variants.iter().filter(|v| v.weights_of.is_some()).count() as u32;
        let trained = self.variants.len() as u32 - untrained;
        let minutes = seeds * (trained * self.minutes.0 + untrained * self.minutes.1);
        format!(
            "{} trainings of {} minutes and {} of {} that only draw, each on one core: {:.1} core-hours",
            seeds * trained,
            self.minutes.0,
            seeds * untrained,
            self.minutes.1,
            f64::from(minutes) / 60.0
        )
    }

    /// Writes the table and draws the curves.
    pub(super) fn write(&self, project: &Project, runner: &Path, seeds: u32) -> Outcome<()> {
        let results = project.root.join("docs/src/results");
        let table = results.join(format!("{}-table.md", self.name));
        let failed = |path: &Path, e: &std::io::Error| {
            Failure::io(format!("cannot write {}", path.display()), e)
        };
        fs::write(&table, self.markdown(&project.root, seeds)).map_err(|e| failed(&table, &e))?;
        eprintln!("{}", table.display());
        let scratch = project.scratch("charts")?;
        for (set, end) in self.pictures {
            let Some(chart) = self.chart(&project.root, set, seeds) else { continue };
            let name = format!("{}-{end}", self.name);
            let file = scratch.join(format!("{name}.json"));
            fs::write(&file, chart).map_err(|e| failed(&file, &e))?;
            let mut command = project.command(runner);
            command.arg("chart").arg(&file).arg("--out").arg(scratch.join(&name));
            finished(command, &scratch)?;
            let picture = project.root.join(format!("docs/src/images/{name}.png"));
            fs::copy(scratch.join(format!("{name}.png")), &picture)
                .map_err(|e| failed(&picture, &e))?;
            eprintln!("{}", picture.display());
        }
        Ok(())
    }

    fn all<'a>(&'a self, root: &'a Path, variant: &'a Variant, seeds: u32) -> Vec<Run<'a>> {
        (0..seeds).map(|seed| self.run(root, variant, seed)).collect()
    }

    /// The values of a metric of the curve, by step, of all seeds.
    fn course(&self, runs: &[Run]) -> BTreeMap<u64, Vec<Measured>> {
        let mut course: BTreeMap<u64, Vec<Measured>> = BTreeMap::new();
        for run in runs {
            for step in run.steps() {
                let value = run.metrics(step).and_then(|text| measured(&text, self.curve.0));
                if let Some(value) = value {
                    course.entry(step).or_default().push(value);
                }
            }
        }
        course
    }

    fn markdown(&self, root: &Path, seeds: u32) -> String {
        let mut text = format!("<!-- Written by `cargo xtask reproduce {}`. -->\n\n", self.name);
        let present: Vec<_> = self
            .metrics
            .iter()
            .filter(|(name, _)| {
                self.variants.iter().any(|v| {
                    self.all(root, v, seeds).iter().any(|run| {
                        last_metrics(run).is_some_and(|text| number(&text, name).is_some())
                    })
                })
            })
            .collect();
        let finished_one =
            |v: &Variant| self.all(root, v, seeds).iter().any(|run| last_metrics(run).is_some());
        if !self.variants.iter().any(finished_one) {
            return text + "No run is finished yet.\n";
        }
        text += "| set | variant |";
        let mut rule = "|---|---|".to_owned();
        for (_, title) in &present {
            let _ = write!(text, " {title} |");
            rule += "---|";
        }
        let _ = writeln!(
            text,
            " parameters | steps | ms a step | minutes | {} | seeds |\n{rule}---|---|---|---|---|---|",
            self.published
        );
        for variant in self.variants {
            let runs = self.all(root, variant, seeds);
            let found: Vec<String> = runs.iter().filter_map(last_metrics).collect();
            if found.is_empty() {
                continue;
            }
            let _ = write!(text, "| {} | {} |", variant.set, variant.title);
            for (name, _) in &present {
                let values: Vec<_> = found.iter().filter_map(|t| measured(t, name)).collect();
                let _ = write!(text, " {} |", cell(&values));
            }
            let steps = runs.iter().find_map(|run| run.steps().last().copied()).unwrap_or(0);
            let parameters = found.iter().find_map(|t| number(t, "parameters")).unwrap_or(0.0);
            let _ = write!(text, " {parameters} | {steps} |");
            match mean_step(&runs) {
                Some(step) => {
                    let _ =
                        write!(text, " {:.0} | {:.1} |", step * 1e3, step * steps as f64 / 60.0);
                }
                None => text += " - | - |",
            }
            let _ = writeln!(text, " {} | {} |", variant.published, found.len());
        }
        text + &self.courses(root, seeds)
    }

    /// The table of the curve, with the minutes of training that each value took.
    fn courses(&self, root: &Path, seeds: u32) -> String {
        let mut text = format!("\n{} on the way:\n\n| set | variant |", self.curve.1);
        let courses: Vec<_> = self
            .variants
            .iter()
            .map(|variant| {
                let runs = self.all(root, variant, seeds);
                (variant, self.course(&runs), mean_step(&runs))
            })
            .filter(|(_, course, _)| !course.is_empty())
            .collect();
        let width = courses.iter().map(|(_, course, _)| course.len()).max().unwrap_or(0);
        for k in 1..=width {
            let _ = write!(text, " {k} |");
        }
        let _ = writeln!(text, "\n|---|---|{}", "---|".repeat(width));
        for (variant, course, step) in courses {
            let _ = write!(text, "| {} | {} |", variant.set, variant.title);
            for (at, values) in &course {
                let minutes = step.map_or_else(
                    || format!("{at} steps"),
                    |step| format!("{:.1} min", step * *at as f64 / 60.0),
                );
                let _ = write!(text, " {} ({minutes}) |", cell(values));
            }
            text += &" |".repeat(width - course.len());
            text.push('\n');
        }
        text
    }

    /// The curves of a set, as `runner chart` reads them.
    fn chart(&self, root: &Path, set: &str, seeds: u32) -> Option<String> {
        let mut series = Vec::new();
        let drawn = |variant: &&Variant| set.is_empty() || variant.set == set;
        for variant in self.variants.iter().filter(drawn) {
            let runs = self.all(root, variant, seeds);
            let Some(step) = mean_step(&runs) else { continue };
            let points: Vec<String> = self
                .course(&runs)
                .iter()
                .map(|(at, values)| {
                    let (mean, error) = mean_and_standard_error(values);
                    let error = error.map_or_else(|| "null".to_owned(), |e| e.to_string());
                    format!("[{}, {mean}, {error}]", step * *at as f64 / 60.0)
                })
                .collect();
            if !points.is_empty() {
                let name = if set.is_empty() { variant.set } else { variant.title };
                series
                    .push(format!("{{\"name\": \"{name}\", \"points\": [{}]}}", points.join(", ")));
            }
        }
        (!series.is_empty()).then(|| {
            format!(
                "{{\"title\": \"{}{} against training time\", \"x_name\": \"minutes of training on one core\", \"y_name\": \"{}\", \"log_y\": {}, \"legend\": \"\", \"series\": [{}]}}",
                if set.is_empty() { String::new() } else { format!("{set}: ") },
                self.curve.1,
                self.curve.1, self.log, series.join(", ")
            )
        })
    }
}

fn last_metrics(run: &Run) -> Option<String> {
    run.steps().last().and_then(|step| run.metrics(*step))
}

fn mean_step(runs: &[Run]) -> Option<f64> {
    let all: Vec<f64> = runs.iter().filter_map(Run::seconds_of_a_step).collect();
    (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
}

fn mean_and_standard_error(values: &[Measured]) -> Measured {
    if let [one] = values {
        return *one;
    }
    let n = values.len() as f64;
    let mean = values.iter().map(|(v, _)| v).sum::<f64>() / n;
    let variance = values.iter().map(|(v, _)| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, Some((variance / n).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    const PAGE: Timed = Timed {
        name: "page",
        configs: "images",
        variants: &[
            Variant {
                set: "10 %",
                title: "plain",
                folder: "plain",
                config: "a",
                sets: &[],
                weights_of: None,
                published: "4",
            },
            Variant {
                set: "10 %",
                title: "FA",
                folder: "averaged",
                config: "b",
                sets: &[],
                weights_of: Some("plain"),
                published: "-",
            },
        ],
        metrics: &[("frechet", "Frechet"), ("absent", "absent")],
        published: "published",
        curve: ("frechet", "Frechet distance"),
        log: true,
        pictures: &[("10 %", "10")],
        minutes: (10, 4),
    };

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    /// A run of 300 steps with checkpoints every 100, of which two are measured.
    fn run(root: &Path, seed: u32, last: f64) {
        let folder = root.join(format!("runs/page/plain-seed{seed}"));
        write(
            &folder.join("config.json"),
            "{\"sampler\": {\"steps\": 20}, \"train\": {\"steps\": 300, \"checkpoint\": {\"every\": 100, \"keep\": 9}}}",
        );
        let log = "{\"step\":1,\"steps_per_second\":1.0}\n{\"step\":2,\"steps_per_second\":4.0}\n{\"step\":3,\"validation_loss\":1}\n";
        write(&folder.join("log.jsonl"), log);
        write(&folder.join("evaluations/step-100/metrics.json"), "{\"frechet\": 30.0}");
        let text = format!("{{\"frechet\": {last}, \"parameters\": 17}}");
        write(&folder.join("metrics.json"), &text);
    }

    #[test]
    fn a_run_is_measured_at_its_checkpoints_and_in_the_end() {
        let scratch = Scratch::new("timed");
        run(scratch.path(), 0, 2.0);
        let plain = PAGE.run(scratch.path(), &PAGE.variants[0], 0);
        assert_eq!(plain.steps(), [100, 200, 300]);
        assert_eq!(plain.seconds_of_a_step(), Some(0.25));
        let config = plain.folder().join("config.json");
        let whole = fs::read_to_string(&config).expect("a file");
        write(&config, &whole.replace("\"keep\": 9", "\"keep\": 2"));
        assert_eq!(plain.steps(), [200, 300], "the first one is not kept");
        write(&config, &whole);
        assert!(!plain.done(), "step 200 is missing");
        let two_hundred = plain.measured(200).join("metrics.json");
        write(&two_hundred, "{\"frechet\": 5.0}");
        assert!(plain.done());
        let averaged = PAGE.run(scratch.path(), &PAGE.variants[1], 0);
        assert_eq!(averaged.steps(), [100, 200, 300], "as the one whose weights it takes");
        assert!(!averaged.done());
        let units = PAGE.units(scratch.path(), 1);
        assert_eq!(units.iter().map(Unit::count).collect::<Vec<_>>(), [(1, 2)]);
    }

    #[test]
    fn tables_have_the_mean_over_seeds_and_the_time() {
        let scratch = Scratch::new("timed-table");
        run(scratch.path(), 0, 2.0);
        run(scratch.path(), 1, 4.0);
        let table = PAGE.markdown(scratch.path(), 3);
        let line = "| 10 % | plain | 3.000 ± 1.000 | 17 | 300 | 250 | 1.2 | 4 | 2 |";
        assert!(table.contains(line), "{table}");
        assert!(!table.contains("FA") && !table.contains("absent"), "{table}");
        assert!(
            table.contains("| 30.000 (0.4 min) | 3.000 ± 1.000 (1.2 min) |")
                || table.contains("| 30 (0.4 min) | 3.000 ± 1.000 (1.2 min) |"),
            "{table}"
        );
        let chart = PAGE.chart(scratch.path(), "10 %", 3).expect("there are points");
        assert!(chart.contains("\"points\": [[0.41"), "{chart}");
        assert!(chart.contains("[1.25, 3, 1]"), "{chart}");
        assert!(PAGE.chart(scratch.path(), "5 %", 3).is_none());
        assert!(PAGE.budget(3).ends_with("0.7 core-hours"), "{}", PAGE.budget(3));
    }
}
