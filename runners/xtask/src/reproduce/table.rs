//! The table and the curves of a page, made of its records.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::record::Record;
use super::timed::{Timed, Variant};
use super::{Measured, cell};

/// What a table is made of.
pub(super) struct Table<'a> {
    pub(super) page: &'a Timed,
    pub(super) records: &'a [Record],
    /// Those with seeds below this one.
    pub(super) seeds: u32,
}

impl Table<'_> {
    /// The records of a variant, at all steps.
    fn of(&self, variant: &Variant) -> Vec<&Record> {
        let ours = |r: &&Record| r.variant == variant.folder && r.seed < self.seeds;
        self.records.iter().filter(ours).collect()
    }

    /// The records of the seeds that were measured on the way ([`Timed::curve_seeds`]): the points of a curve are means
    /// over the same runs.
    fn on_the_way(&self, variant: &Variant) -> Vec<&Record> {
        self.of(variant).into_iter().filter(|r| r.seed < self.page.curve_seeds).collect()
    }

    /// The values of the metric of the curve, by step.
    fn course(&self, variant: &Variant) -> BTreeMap<u64, Vec<Measured>> {
        let mut course: BTreeMap<u64, Vec<Measured>> = BTreeMap::new();
        for record in self.on_the_way(variant) {
            if let Some(value) = record.value(self.page.curve.0) {
                course.entry(record.step).or_default().push(value);
            }
        }
        course
    }

    /// Both tables.
    pub(super) fn markdown(&self) -> String {
        let mut text =
            format!("<!-- Written by `cargo xtask reproduce {}`. -->\n\n", self.page.name);
        let lines: Vec<(&Variant, Vec<&Record>)> = self
            .page
            .variants
            .iter()
            .map(|v| (v, self.of(v).into_iter().filter(|r| r.last()).collect::<Vec<_>>()))
            .filter(|(_, found)| !found.is_empty())
            .collect();
        if lines.is_empty() {
            return text + "No run is finished yet.\n";
        }
        let measured_by_one = |name: &str| {
            lines.iter().any(|(_, found)| found.iter().any(|r| r.value(name).is_some()))
        };
        let present: Vec<_> =
            self.page.metrics.iter().filter(|(name, _)| measured_by_one(name)).collect();
        text += "| set | variant |";
        let mut rule = "|---|---|".to_owned();
        for (_, title) in &present {
            // Writing to a String cannot fail.
            let _ = write!(text, " {title} |");
            rule += "---|";
        }
        let _ = writeln!(
            text,
            " parameters | steps | ms a step | minutes | {} | seeds |\n{rule}---|---|---|---|---|---|",
            self.page.published
        );
        for (variant, found) in &lines {
            let _ = write!(text, "| {} | {} |", variant.set, variant.title);
            for (name, _) in &present {
                let values: Vec<_> = found.iter().filter_map(|r| r.value(name)).collect();
                let _ = write!(text, " {} |", cell(&values));
            }
            let steps = found[0].step;
            let parameters = found.iter().find_map(|r| r.parameters()).unwrap_or(0.0);
            let _ = write!(text, " {parameters} | {steps} |");
            // As on the curve, where it has one.
            match mean_step(&self.on_the_way(variant)).or_else(|| mean_step(found)) {
                Some(step) => {
                    let _ =
                        write!(text, " {:.0} | {:.1} |", step * 1e3, step * steps as f64 / 60.0);
                }
                None => text += " - | - |",
            }
            let _ = writeln!(text, " {} | {} |", variant.published, found.len());
        }
        text + &self.courses()
    }

    /// The table of the curve, with the minutes of training that each value took.
    fn courses(&self) -> String {
        let seeds = match self.page.curve_seeds {
            seeds if seeds >= self.seeds => String::new(),
            1 => " (seed 0)".to_owned(),
            seeds => format!(" (the first {seeds} seeds)"),
        };
        let mut text = format!("\n{} on the way{seeds}:\n\n| set | variant |", self.page.curve.1);
        let courses: Vec<_> = self
            .page
            .variants
            .iter()
            .map(|variant| (variant, self.course(variant), mean_step(&self.on_the_way(variant))))
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
    pub(super) fn chart(&self, set: &str) -> Option<String> {
        let mut series = Vec::new();
        let drawn = |variant: &&Variant| set.is_empty() || variant.set == set;
        for variant in self.page.variants.iter().filter(drawn) {
            let Some(step) = mean_step(&self.on_the_way(variant)) else { continue };
            let points: Vec<String> = self
                .course(variant)
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
        let (_, name) = self.page.curve;
        let of = if set.is_empty() { String::new() } else { format!("{set}: ") };
        (!series.is_empty()).then(|| {
            format!(
                "{{\"title\": \"{of}{name} against training time\", \"x_name\": \"minutes of training on one core\", \"y_name\": \"{name}\", \"log_y\": {}, \"legend\": \"\", \"series\": [{}]}}",
                self.page.log,
                series.join(", ")
            )
        })
    }
}

/// Seconds of a step: the mean over runs, each counted once.
fn mean_step(records: &[&Record]) -> Option<f64> {
    let by_run: BTreeMap<u32, f64> =
        records.iter().filter_map(|r| Some((r.seed, r.seconds_a_step()?))).collect();
    (!by_run.is_empty()).then(|| by_run.values().sum::<f64>() / by_run.len() as f64)
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
