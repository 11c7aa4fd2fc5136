//! What was measured, kept beside the page, so that a table can be made where the runs are not.
//!
//! `docs/src/results/PAGE-runs.jsonl` has a line for each run and each of its steps that was measured. A run that is done again
//! here replaces its lines; lines of runs whose configuration has changed since are to be deleted by hand.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::timed::Timed;
use super::{Measured, STANDARD_ERROR, measured, number};
use crate::failure::{Failure, Outcome};

/// Runs with seeds beyond these are not looked for.
pub(super) const SEEDS: Range<u32> = 0..100;

/// One step of one run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    /// The folder of the variant, without the seed.
    pub(super) variant: String,
    pub(super) seed: u32,
    /// The step that was measured.
    pub(super) step: u64,
    /// The steps of the whole training.
    steps: u64,
    line: String,
}

impl Record {
    /// From the text of metrics.json, of which the numbers that the page reports are kept. `step` is that which was
    /// measured, and the last one.
    pub(super) fn new(
        page: &Timed,
        variant: &str,
        seed: u32,
        step: (u64, u64),
        seconds_a_step: Option<f64>,
        metrics: &str,
    ) -> Self {
        let (step, steps) = step;
        let mut line = format!(
            "{{\"variant\": \"{variant}\", \"seed\": {seed}, \"step\": {step}, \"steps\": {steps}"
        );
        let mut put = |name: &str, value: Option<f64>| {
            if let Some(value) = value {
                // Writing to a String cannot fail.
                let _ = write!(line, ", \"{name}\": {value}");
            }
        };
        put(SECONDS, seconds_a_step);
        put(PARAMETERS, number(metrics, PARAMETERS));
        let columns = page.metrics.iter().chain([&page.curve]);
        let mut names: Vec<&str> = columns.flat_map(|(name, _)| name.split('/')).collect();
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(*name));
        for name in names {
            put(name, number(metrics, name));
            let error = format!("{name}{STANDARD_ERROR}");
            put(&error, number(metrics, &error));
        }
        line.push('}');
        Self { variant: variant.to_owned(), seed, step, steps, line }
    }

    fn parsed(line: &str) -> Option<Self> {
        let text = |name: &str| {
            let after = line.split_once(&format!("\"{name}\": \""))?.1;
            Some(after.split_once('"')?.0.to_owned())
        };
        let whole = |name: &str| number(line, name).map(|value| value as u64);
        Some(Self {
            variant: text("variant")?,
            seed: u32::try_from(whole("seed")?).ok()?,
            step: whole("step")?,
            steps: whole("steps")?,
            line: line.to_owned(),
        })
    }

    /// A number, with its standard error where it has one; `a/b` is the ratio of two numbers.
    pub(super) fn value(&self, name: &str) -> Option<Measured> {
        match name.split_once('/') {
            Some((of, over)) => Some((number(&self.line, of)? / number(&self.line, over)?, None)),
            None => measured(&self.line, name),
        }
    }

    /// Seconds that a step of training takes on a free core.
    pub(super) fn seconds_a_step(&self) -> Option<f64> {
        number(&self.line, SECONDS)
    }

    /// The parameters of the network.
    pub(super) fn parameters(&self) -> Option<f64> {
        number(&self.line, PARAMETERS)
    }

    /// Whether training had ended.
    pub(super) fn last(&self) -> bool {
        self.step == self.steps
    }
}

const SECONDS: &str = "seconds_a_step";
const PARAMETERS: &str = "parameters";

/// Where the records of a page are.
pub(super) fn file(root: &Path, page: &str) -> PathBuf {
    root.join(format!("docs/src/results/{page}-runs.jsonl"))
}

/// The records of a file; none where there is no file.
pub(super) fn read(path: &Path) -> Outcome<Vec<Record>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path)
        .map_err(|e| Failure::io(format!("cannot read {}", path.display()), &e))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(k, line)| {
            Record::parsed(line).ok_or_else(|| {
                let place = format!("{}:{}", path.display(), k + 1);
                Failure::new(format!("{place}: no record: {line}"))
                    .help("a record has \"variant\", \"seed\", \"step\", \"steps\"; delete the line to leave the run out")
            })
        })
        .collect()
}

/// The text of the file.
pub(super) fn written(records: &[Record]) -> String {
    records.iter().fold(String::new(), |text, record| text + &record.line + "\n")
}

/// The kept records but for those of runs that were measured again, in the order of the page's variants. What belongs to no
/// variant is dropped.
pub(super) fn merged(page: &Timed, kept: Vec<Record>, fresh: Vec<Record>) -> Vec<Record> {
    let again: Vec<_> = fresh.iter().map(|r| (r.variant.clone(), r.seed)).collect();
    let mut all: Vec<Record> = kept
        .into_iter()
        .filter(|r| !again.iter().any(|(variant, seed)| *variant == r.variant && *seed == r.seed))
        .chain(fresh)
        .collect();
    let place = |r: &Record| page.variants.iter().position(|v| v.folder == r.variant);
    all.retain(|record| place(record).is_some());
    all.sort_by_key(|record| (place(record), record.seed, record.step));
    all
}

#[cfg(test)]
mod tests {
    use super::super::pages::IMAGES;
    use super::*;

    fn record(variant: &str, seed: u32, step: u64, frechet: f64) -> Record {
        let text = format!(
            "{{\n  \"parameters\": 17,\n  \"metrics\": {{\"frechet\": {frechet}, \"frechet_standard_error\": 0.5, \"frechet_floor\": 2.0, \"other\": 1}}\n}}"
        );
        Record::new(&IMAGES, variant, seed, (step, 300), Some(0.25), &text)
    }

    #[test]
    fn a_line_has_what_the_page_reports_and_is_read_back() {
        let scratch = tempfile::tempdir().unwrap();
        let one = record("plain", 1, 300, 2.5);
        assert_eq!(
            one.line,
            "{\"variant\": \"plain\", \"seed\": 1, \"step\": 300, \"steps\": 300, \"seconds_a_step\": 0.25, \
             \"parameters\": 17, \"frechet\": 2.5, \"frechet_standard_error\": 0.5, \"frechet_floor\": 2}"
        );
        assert!(one.last() && !record("plain", 1, 200, 2.5).last());
        assert_eq!(one.value("frechet"), Some((2.5, Some(0.5))));
        assert_eq!((one.seconds_a_step(), one.parameters()), (Some(0.25), Some(17.0)));
        assert_eq!(one.value("other"), None);
        assert_eq!(one.value("frechet/frechet_floor"), Some((1.25, None)));
        assert_eq!(one.value("frechet/other"), None);
        let path = file(scratch.path(), "images");
        assert_eq!(read(&path).expect("no file is no record"), []);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, written(std::slice::from_ref(&one))).expect("a file");
        assert_eq!(read(&path).expect("a record"), [one]);
        fs::write(&path, "\n{\"variant\": \"plain\"}\n").expect("a file");
        let error = read(&path).expect_err("half a line").to_string();
        assert!(error.contains("images-runs.jsonl:2: no record"), "{error}");
    }

    #[test]
    fn a_run_measured_again_replaces_all_its_lines() {
        let kept = vec![
            record("gone", 0, 300, 1.0),
            record("tied-s", 0, 300, 1.0),
            record("plain", 1, 300, 1.0),
            record("plain", 0, 300, 1.0),
            record("plain", 0, 100, 1.0),
        ];
        let all = merged(&IMAGES, kept, vec![record("plain", 0, 300, 9.0)]);
        let found: Vec<_> =
            all.iter().map(|r| (r.variant.as_str(), r.seed, r.step, r.value("frechet"))).collect();
        let is = |value| Some((value, Some(0.5)));
        assert_eq!(
            found,
            [("plain", 0, 300, is(9.0)), ("plain", 1, 300, is(1.0)), ("tied-s", 0, 300, is(1.0))]
        );
    }
}
