//! Pages that show quality against training time: every run is measured at its checkpoints as well as in the end.
//!
//! A checkpoint is measured by `runner evaluate --step`, in `evaluations/step-N` of the run's folder. Which there are
//! says the configuration (`train.checkpoint`). A variant that only draws differently ([`Variant::weights_of`]) is not
//! trained: it takes the weights of another one, at the same checkpoints. What was measured is kept beside the page
//! ([`super::record`]), and the table is made of that ([`super::table`]).

use std::fs;
use std::path::{Path, PathBuf};

use super::number;
use super::record::{self, Record};
use super::table::Table;
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
    /// Names in metrics.json, `a/b` for a ratio of two, and what the table calls them.
    pub(super) metrics: &'static [(&'static str, &'static str)],
    /// What the published columns are.
    pub(super) published: &'static str,
    /// What the curves show: name in metrics.json, what it is called.
    pub(super) curve: (&'static str, &'static str),
    /// Whether curves have a logarithmic axis.
    pub(super) log: bool,
    /// The sets ([`Variant::set`]) that get a picture of curves, and the end of its name; the empty set is all of them.
    pub(super) pictures: &'static [(&'static str, &'static str)],
    /// So many seeds are measured on the way, the others in the end alone.
    pub(super) curve_seeds: u32,
    /// Minutes that a training and its measurements take on one core, and those of a variant that is not trained: of a
    /// seed that is measured on the way, and of one that is not.
    pub(super) minutes: [(u32, u32); 2],
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

    /// Whether the folder of one of its runs has this in its name.
    pub(super) fn named(&self, part: &str) -> bool {
        self.runs.iter().any(|run| run.name().contains(part))
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
    fn name(&self) -> String {
        format!("{}-seed{}", self.variant.folder, self.seed)
    }

    fn folder(&self) -> PathBuf {
        self.root.join("runs").join(self.page.name).join(self.name())
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

    /// The steps at which it is measured: those of the checkpoints that are kept, the last one being the end, or only that
    /// ([`Timed::curve_seeds`]). None before it has begun.
    fn steps(&self) -> Vec<u64> {
        let Ok(config) = fs::read_to_string(self.trained().join("config.json")) else {
            return Vec::new();
        };
        let whole = |name: &str| number(&config, name).map(|value| value as u64).filter(|n| *n > 0);
        let (Some(last), Some(every)) = (training_steps(&config), whole("every")) else {
            return Vec::new();
        };
        if self.seed >= self.page.curve_seeds {
            return vec![last];
        }
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

    /// What it has measured so far.
    fn records(&self) -> Vec<Record> {
        let (steps, seconds) = (self.steps(), self.seconds_of_a_step());
        let Some(last) = steps.last().copied() else { return Vec::new() };
        let record = |step: u64| {
            let text = self.metrics(step)?;
            Some(Record::new(
                self.page,
                self.variant.folder,
                self.seed,
                (step, last),
                seconds,
                &text,
            ))
        };
        steps.into_iter().filter_map(record).collect()
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
        let curves = seeds.min(self.curve_seeds);
        let of = |(training, drawing): (u32, u32)| trained * training + untrained * drawing;
        let [whole, end] = self.minutes.map(of);
        let minutes = curves * whole + (seeds - curves) * end;
        format!(
            "{} trainings and {} runs that only draw, each on one core: {:.1} core-hours",
            seeds * trained,
            seeds * untrained,
            f64::from(minutes) / 60.0
        )
    }

    /// What is kept beside the page, and in its place what the runs that are here measured.
    fn records(&self, root: &Path) -> Outcome<Vec<Record>> {
        let seeds = || record::SEEDS;
        let runs =
            self.variants.iter().flat_map(|v| seeds().map(move |seed| self.run(root, v, seed)));
        let fresh = runs.flat_map(|run| run.records()).collect();
        Ok(record::merged(self, record::read(&record::file(root, self.name))?, fresh))
    }

    /// Keeps what was measured, writes the table and draws the curves.
    pub(super) fn write(&self, project: &Project, runner: &Path, seeds: u32) -> Outcome<()> {
        let results = project.root.join("docs/src/results");
        let failed = |path: &Path, e: &std::io::Error| {
            Failure::io(format!("cannot write {}", path.display()), e)
        };
        let put = |path: &Path, text: String| -> Outcome<()> {
            fs::write(path, text).map_err(|e| failed(path, &e))?;
            eprintln!("{}", path.display());
            Ok(())
        };
        let records = self.records(&project.root)?;
        put(&record::file(&project.root, self.name), record::written(&records))?;
        let table = Table { page: self, records: &records, seeds };
        put(&results.join(format!("{}-table.md", self.name)), table.markdown())?;
        let scratch = project.scratch("charts")?;
        for (set, end) in self.pictures {
            let Some(chart) = table.chart(set) else { continue };
            let name = format!("{}-{end}", self.name);
            let file = scratch.join(format!("{name}.json"));
            fs::write(&file, chart).map_err(|e| failed(&file, &e))?;
            let mut command = project.command(runner);
            command.arg("chart").arg(&file).arg("--out").arg(scratch.join(&name)).arg("--replace");
            finished(command, &scratch)?;
            let picture = project.root.join(format!("docs/src/images/{name}.png"));
            fs::copy(scratch.join(format!("{name}.png")), &picture)
                .map_err(|e| failed(&picture, &e))?;
            eprintln!("{}", picture.display());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Timed = Timed {
        name: "page",
        configs: "equivariant-images",
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
        curve_seeds: 2,
        minutes: [(10, 4), (6, 2)],
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
        let scratch = tempfile::tempdir().unwrap();
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
        run(scratch.path(), 2, 2.0);
        let third = PAGE.run(scratch.path(), &PAGE.variants[0], 2);
        assert!(third.steps() == [300] && third.done(), "two seeds have curves");
        let averaged = PAGE.run(scratch.path(), &PAGE.variants[1], 0);
        assert_eq!(averaged.steps(), [100, 200, 300], "as the one whose weights it takes");
        assert!(!averaged.done());
        let units = PAGE.units(scratch.path(), 1);
        assert_eq!(units.iter().map(Unit::count).collect::<Vec<_>>(), [(1, 2)]);
    }

    #[test]
    fn tables_have_the_mean_over_seeds_and_the_time() {
        let scratch = tempfile::tempdir().unwrap();
        run(scratch.path(), 0, 2.0);
        run(scratch.path(), 1, 4.0);
        let records = PAGE.records(scratch.path()).expect("records");
        assert_eq!(records.len(), 4, "two steps each: {records:?}");
        let table = Table { page: &PAGE, records: &records, seeds: 3 };
        let text = table.markdown();
        let line = "| 10 % | plain | 3.000 ± 1.000 | 17 | 300 | 250 | 1.2 | 4 | 2 |";
        assert!(text.contains(line), "{text}");
        assert!(!text.contains("FA") && !text.contains("absent"), "{text}");
        assert!(
            text.contains("| 30.000 (0.4 min) | 3.000 ± 1.000 (1.2 min) |")
                || text.contains("| 30 (0.4 min) | 3.000 ± 1.000 (1.2 min) |"),
            "{text}"
        );
        assert!(text.contains("on the way (the first 2 seeds):"), "{text}");
        let chart = table.chart("10 %").expect("there are points");
        assert!(chart.contains("\"points\": [[0.41"), "{chart}");
        assert!(chart.contains("[1.25, 3, 1]"), "{chart}");
        assert!(table.chart("5 %").is_none());
        let first = Table { seeds: 1, ..table }.markdown();
        assert!(first.contains("| 10 % | plain | 2 | 17 |"), "only seed 0: {first}");
        assert!(first.contains("on the way:"), "{first}");
        // A third seed is measured in the end alone: it counts there, and does not bend the curve.
        run(scratch.path(), 2, 9.0);
        let records = PAGE.records(scratch.path()).expect("records");
        let third = Table { page: &PAGE, records: &records, seeds: 3 };
        assert!(third.markdown().contains("| 10 % | plain | 5.000 ± 2.082 | 17 |"));
        assert!(third.markdown().contains("3.000 ± 1.000 (1.2 min)"));
        assert_eq!(third.chart("10 %").as_deref(), Some(chart.as_str()));
        // Two seeds of 14 minutes, one of 8.
        assert!(PAGE.budget(3).ends_with(": 0.6 core-hours"), "{}", PAGE.budget(3));
    }

    #[test]
    fn what_was_measured_outlives_the_runs() {
        let scratch = tempfile::tempdir().unwrap();
        run(scratch.path(), 0, 2.0);
        let path = record::file(scratch.path(), PAGE.name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let before = PAGE.records(scratch.path()).expect("records");
        fs::write(&path, record::written(&before)).expect("a file");
        fs::remove_dir_all(scratch.path().join("runs")).expect("the runs");
        assert_eq!(PAGE.records(scratch.path()).expect("records"), before);
        run(scratch.path(), 1, 4.0);
        assert_eq!(PAGE.records(scratch.path()).expect("records").len(), 4);
    }
}
