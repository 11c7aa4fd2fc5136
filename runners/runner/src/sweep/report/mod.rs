//! `runner sweep report`: what the sweep has found, as tables and pictures.

mod pictures;
pub mod results;
pub mod statistics;
mod table;

use super::cell::State;
use super::file::Direction;
use crate::progress::duration;
use isotropy_core::Result;
pub use isotropy_plots::chart::number;
use results::{Metric, Results};
use std::fmt::Write as _;
use std::path::Path;
pub use table::Format;
use table::{CONFIDENCE, Entry, Table, csv_field};

/// The report as text; pictures go to `report/` in the sweep's folder.
///
/// # Errors
/// When a picture cannot be written.
pub fn report(folder: &Path, format: Format) -> Result<String> {
    let results = Results::read(folder)?;
    if format == Format::Csv {
        return Ok(csv(&results));
    }
    let mut text = String::new();
    heading(&mut text, &results, format);
    for table in tables(&results) {
        text += &table.write(format);
        text.push('\n');
    }
    let pictures = pictures::draw(&results, &folder.join("report"))?;
    match format {
        Format::Table => {
            if !pictures.is_empty() {
                let _ = writeln!(text, "pictures in {}:", folder.join("report").display());
            }
            for name in &pictures {
                let _ = writeln!(text, "  {name}.png  {name}.svg");
            }
        }
        Format::Markdown => {
            for name in &pictures {
                let _ = writeln!(text, "![{name}](report/{name}.png)\n");
            }
        }
        Format::Latex | Format::Csv => {}
    }
    Ok(text)
}

/// Name, question, how many cells stand how, time.
fn heading(text: &mut String, results: &Results, format: Format) {
    let plan = &results.plan;
    let comment = match format {
        Format::Latex => "% ",
        _ => "",
    };
    let title = if format == Format::Markdown { "## " } else { comment };
    let gap = if format == Format::Latex { "" } else { "\n" };
    let _ = writeln!(text, "{title}{}{gap}", plan.name);
    if !plan.description.is_empty() {
        let _ = writeln!(text, "{comment}{}{gap}", plan.description);
    }
    let _ = writeln!(text, "{comment}{}{gap}", counts(results));
}

/// How many cells stand how, and the time they took.
fn counts(results: &Results) -> String {
    let count = |word: &str| results.cells.iter().filter(|c| c.word() == word).count();
    let mut parts =
        vec![format!("{} of {} cells finished", count("finished"), results.cells.len())];
    for word in ["failed", "running", "interrupted", "waiting", "dropped"] {
        if count(word) > 0 {
            parts.push(format!("{} {word}", count(word)));
        }
    }
    // Equal configurations share a cell, which took its time once.
    let mut seen = std::collections::BTreeSet::new();
    let own = results.cells.iter().filter(|c| seen.insert(c.cell.key.clone()));
    let seconds: f64 = own.filter_map(|c| c.seconds()).sum();
    format!("{}; {} of computing", parts.join(", "), duration(seconds))
}

fn tables(results: &Results) -> Vec<Table> {
    let mut tables = Vec::new();
    for metric in results.metrics.iter().filter(|metric| !results.constant(&metric.name)) {
        for axis in 0..results.plan.axes.len() {
            tables.extend(by_axis(results, axis, metric));
        }
    }
    tables.push(combinations(results));
    tables.extend(best(results));
    tables.extend(failed(results));
    tables
}

fn arrow(metric: &Metric) -> &'static str {
    match metric.better {
        Some(Direction::Lower) => " (lower is better)",
        Some(Direction::Higher) => " (higher is better)",
        None => "",
    }
}

/// A metric for the values of an axis. The rungs of successive halving compare unequal steps, so only
/// the first one, in which all combinations are, is averaged.
fn by_axis(results: &Results, axis: usize, metric: &Metric) -> Option<Table> {
    let plan_axis = &results.plan.axes[axis];
    if plan_axis.labels.len() < 2 {
        return None;
    }
    let base = &plan_axis.labels[plan_axis.base];
    let asked = results.plan.seeds.len();
    let rows = plan_axis.labels.iter().enumerate().map(|(value, label)| {
        let mean = results.marginal(axis, value, 0, &metric.name);
        let difference = (value != plan_axis.base)
            .then(|| results.marginal_difference(axis, value, 0, &metric.name))
            .flatten();
        let verdict = difference.and_then(|d| {
            let half = d.half_width(CONFIDENCE)?;
            let lower = match metric.better? {
                Direction::Lower => d.mean < 0.0,
                Direction::Higher => d.mean > 0.0,
            };
            (d.mean.abs() > half).then_some(if lower { "better" } else { "worse" })
        });
        vec![
            Entry::text(label),
            Entry::Mean(mean, asked),
            Entry::Difference(difference, asked),
            Entry::text(verdict.unwrap_or("")),
        ]
    });
    Some(Table {
        title: format!(
            "{} by {}{}: mean ± standard error over {}, averaged over the other axes; difference to {base} in pairs of equal cells with its {:.0} % interval",
            metric.name,
            plan_axis.name,
            arrow(metric),
            seeds(results),
            100.0 * CONFIDENCE
        ),
        header: vec![
            plan_axis.name.clone(),
            metric.name.clone(),
            format!("difference to {base}"),
            String::new(),
        ],
        rows: rows.collect(),
    })
}

fn seeds(results: &Results) -> String {
    match results.plan.seeds.len() {
        1 => "1 seed".into(),
        n => format!("{n} seeds"),
    }
}

/// Every combination with every metric, and its difference to the base combination.
fn combinations(results: &Results) -> Table {
    let plan = &results.plan;
    let rungs = plan.rungs();
    let base = results.base();
    let mut header: Vec<String> = plan.axes.iter().map(|axis| axis.name.clone()).collect();
    if rungs > 1 {
        header.push("steps".into());
    }
    header.extend(["parameters".to_string(), "seeds".to_string()]);
    for metric in &results.metrics {
        header.push(metric.name.clone());
        header.push("difference to base".into());
    }
    header.push("time".into());
    let mut rows = Vec::new();
    for rung in 0..rungs {
        for choices in results.combinations(rung) {
            let cells = results.of_combination(&choices, rung);
            let finished = cells.iter().filter(|c| c.metrics.is_some()).count();
            // Cells of a later rung that were not chosen are no news.
            if rung > 0 && finished == 0 {
                continue;
            }
            let mut row: Vec<Entry> = plan.labels(&choices).into_iter().map(Entry::text).collect();
            if rungs > 1 {
                row.push(Entry::text(cells[0].cell.steps.to_string()));
            }
            row.push(Entry::text(cells[0].cell.parameters.to_string()));
            row.push(Entry::text(format!("{finished}/{}", cells.len())));
            for metric in &results.metrics {
                row.push(Entry::Mean(results.mean(&choices, rung, &metric.name), cells.len()));
                let difference = (choices != base)
                    .then(|| results.difference(&choices, &base, rung, &metric.name))
                    .flatten();
                row.push(Entry::Difference(difference, cells.len()));
            }
            let seconds: f64 = cells.iter().filter_map(|c| c.seconds()).sum();
            row.push(Entry::text(duration(seconds)));
            rows.push(row);
        }
    }
    let labels = plan.labels(&base).join(", ");
    let base = if labels.is_empty() { String::new() } else { format!("; the base is {labels}") };
    Table { title: format!("All combinations{base}"), header, rows }
}

/// The best combination for every metric that has a direction.
fn best(results: &Results) -> Option<Table> {
    let rung = results.last_rung();
    let plan = &results.plan;
    let rows: Vec<Vec<Entry>> = results
        .metrics
        .iter()
        .filter(|metric| !results.constant(&metric.name))
        .filter_map(|metric| {
            let (choices, mean) = results.best(rung, metric)?;
            let mut row = vec![Entry::text(&metric.name), Entry::Mean(Some(mean), mean.count)];
            row.extend(plan.labels(&choices).into_iter().map(Entry::text));
            Some(row)
        })
        .collect();
    if rows.is_empty() {
        return None;
    }
    let mut header = vec!["metric".to_string(), "best".to_string()];
    header.extend(plan.axes.iter().map(|axis| axis.name.clone()));
    let title = "Best in the mean, of the combinations that are finished for every seed".into();
    Some(Table { title, header, rows })
}

fn failed(results: &Results) -> Option<Table> {
    let rows: Vec<Vec<Entry>> = results
        .cells
        .iter()
        .filter_map(|c| {
            let State::Failed(failure) = &c.state else { return None };
            let entries = [&c.cell.name, &failure.ended, &failure.error];
            Some(entries.into_iter().map(Entry::text).collect())
        })
        .collect();
    let header = ["cell", "ended with", "last error"].map(String::from).to_vec();
    (!rows.is_empty()).then(|| Table { title: "Failed cells".into(), header, rows })
}

/// One line for every cell: axes, seed, state, metrics, time, folder.
fn csv(results: &Results) -> String {
    let plan = &results.plan;
    let mut header: Vec<String> = plan.axes.iter().map(|axis| axis.name.clone()).collect();
    header.extend(["seed", "rung", "steps", "parameters", "state"].map(String::from));
    header.extend(results.metrics.iter().map(|metric| metric.name.clone()));
    header.extend(["seconds", "error", "run"].map(String::from));
    let mut text = line(header);
    for c in &results.cells {
        let mut row: Vec<String> =
            plan.labels(&c.cell.choices).into_iter().map(String::from).collect();
        row.push(c.cell.seed.to_string());
        row.push(c.cell.rung.to_string());
        row.push(c.cell.steps.to_string());
        row.push(c.cell.parameters.to_string());
        row.push(c.word().to_string());
        let plain = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
        row.extend(results.metrics.iter().map(|metric| plain(c.number(&metric.name))));
        row.push(plain(c.seconds()));
        let error = match &c.state {
            State::Failed(failure) => format!("{}: {}", failure.ended, failure.error),
            _ => String::new(),
        };
        row.push(error);
        row.push(c.run.display().to_string());
        text += &line(row);
    }
    text
}

fn line(fields: Vec<String>) -> String {
    fields.iter().map(|field| csv_field(field)).collect::<Vec<_>>().join(",") + "\n"
}

/// The state of every cell, and the counts.
///
/// # Errors
/// When the folder holds no sweep.
pub fn status(folder: &Path) -> Result<String> {
    let results = Results::read(folder)?;
    let rows = results.cells.iter().map(|c| {
        let cell_folder = results.plan.cell_folder(folder, &c.cell);
        let step = match (&c.state, cell_folder.progress()) {
            (State::Finished, _) => c.cell.steps.to_string(),
            (State::Waiting, _) | (_, None) => String::new(),
            (_, Some((step, _))) => format!("{step}/{}", c.cell.steps),
        };
        let note = match &c.state {
            State::Failed(failure) => format!("{}: {}", failure.ended, failure.error),
            State::Finished => results.metrics.first().map_or(String::new(), |metric| {
                let value = c.number(&metric.name).map_or("-".into(), number);
                format!("{} {value}", metric.name)
            }),
            _ => String::new(),
        };
        let time = c.seconds().map(duration).unwrap_or_default();
        let entries = [c.cell.name.clone(), c.word().into(), step, time, note, c.cell.key.clone()];
        entries.into_iter().map(Entry::text).collect()
    });
    let table = Table {
        title: results.plan.name.clone(),
        header: ["cell", "state", "step", "time", "", "folder"].map(String::from).to_vec(),
        rows: rows.collect(),
    };
    let cells = results.plan.cells(folder);
    Ok(format!(
        "{}{}; folders in {}\n",
        table.write(Format::Table),
        counts(&results),
        cells.display()
    ))
}
