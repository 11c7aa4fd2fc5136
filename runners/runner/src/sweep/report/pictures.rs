//! Pictures of a sweep: every metric against every axis, those that the file asks for, and the
//! curves of training.

use super::results::{Metric, Results, direction};
use super::statistics::Mean;
use crate::sweep::file::{Direction, Picture};
use isotropy_core::{Error, Result};
use isotropy_plots::chart::{Chart, Point, Series};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// More lines than this cannot be told apart.
const MOST_LINES: usize = 7;
/// Points of a curve of training.
const CURVE_POINTS: usize = 400;

/// Draws all pictures; returns their names without extension.
///
/// # Errors
/// When a picture cannot be written.
pub fn draw(results: &Results, folder: &Path) -> Result<Vec<String>> {
    let mut charts: Vec<(String, Chart)> = Vec::new();
    for metric in results.metrics.iter().filter(|metric| !results.constant(&metric.name)) {
        for axis in 0..results.plan.axes.len() {
            let name = format!("{}-by-{}", metric.name, results.plan.axes[axis].name);
            charts.extend(by_axis(results, metric, axis).map(|chart| (name, chart)));
        }
    }
    for picture in &results.plan.pictures {
        charts.extend(asked_for(results, picture));
    }
    for (field, name) in [("loss", "training loss"), ("validation_loss", "validation loss")] {
        charts.extend(curves(results, field, name).map(|c| (format!("curves-{field}"), c)));
    }
    if charts.is_empty() {
        return Ok(Vec::new());
    }
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let mut names = BTreeSet::new();
    for (name, chart) in charts {
        let name: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-=,._+".contains(c) { c } else { '-' })
            .collect();
        chart.scene().write(folder, &name)?;
        names.insert(name);
    }
    Ok(names.into_iter().collect())
}

fn with_direction(metric: &str, better: Option<Direction>) -> String {
    match better {
        Some(Direction::Lower) => format!("{metric} (lower is better)"),
        Some(Direction::Higher) => format!("{metric} (higher is better)"),
        None => metric.to_owned(),
    }
}

/// Whether numbers spread so far that a logarithmic axis shows them better.
fn spread(numbers: &[f64]) -> bool {
    let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    low > 0.0 && high / low >= 8.0
}

/// A metric against an axis: a line for each combination of the other axes, or, where these are too
/// many, the mean over them.
fn by_axis(results: &Results, metric: &Metric, axis: usize) -> Option<Chart> {
    let plan_axis = &results.plan.axes[axis];
    if plan_axis.labels.len() < 2 {
        return None;
    }
    let x = |value: usize| plan_axis.numbers.as_ref().map_or(value as f64, |n| n[value]);
    let combinations = results.combinations(0);
    let mut rests: Vec<Vec<usize>> = Vec::new();
    for choices in &combinations {
        let mut rest = choices.clone();
        rest[axis] = 0;
        if !rests.contains(&rest) {
            rests.push(rest);
        }
    }
    let point = |value: usize, mean: Option<Mean>| mean.map(|m| (x(value), m.mean, m.error));
    let values = || 0..plan_axis.labels.len();
    let mut series: Vec<Series> = if rests.len() <= MOST_LINES {
        let lines = rests.iter().map(|rest| {
            let points = values().filter_map(|value| {
                let mut choices = rest.clone();
                choices[axis] = value;
                point(value, results.mean(&choices, 0, &metric.name))
            });
            let points = sorted(points.collect());
            Series { name: others(results, axis, rest), points, discs: true }
        });
        lines.collect()
    } else {
        let points = values().filter_map(|v| point(v, results.marginal(axis, v, 0, &metric.name)));
        let name = "mean over the other axes".into();
        vec![Series { name, points: sorted(points.collect()), discs: true }]
    };
    series.retain(|series| !series.points.is_empty());
    if series.is_empty() {
        return None;
    }
    Some(Chart {
        title: format!("{}: {} by {}", results.plan.name, metric.name, plan_axis.name),
        x_name: plan_axis.name.clone(),
        y_name: with_direction(&metric.name, metric.better),
        log_x: plan_axis.numbers.as_deref().is_some_and(spread),
        log_y: false,
        categories: plan_axis.numbers.is_none().then(|| plan_axis.labels.clone()),
        legend: other_names(results, axis),
        series,
    })
}

fn sorted(mut points: Vec<Point>) -> Vec<Point> {
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// The labels of all axes but one, and of those that have a single value.
fn others(results: &Results, axis: usize, choices: &[usize]) -> String {
    let axes = results.plan.axes.iter().enumerate();
    let named = axes.zip(choices).filter(|((k, a), _)| *k != axis && a.labels.len() > 1);
    named.map(|((_, a), &k)| a.labels[k].as_str()).collect::<Vec<_>>().join(", ")
}

/// The names of the axes whose labels [`others`] gives.
fn other_names(results: &Results, axis: usize) -> String {
    let axes = results.plan.axes.iter().enumerate();
    let named = axes.filter(|(k, a)| *k != axis && a.labels.len() > 1);
    named.map(|(_, a)| a.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The pictures that an entry of the file asks for.
fn asked_for(results: &Results, picture: &Picture) -> Vec<(String, Chart)> {
    let axes = &results.plan.axes;
    let position = |name: &String| axes.iter().position(|axis| axis.name == *name);
    let each: Vec<usize> = picture.each.iter().filter_map(position).collect();
    let lines = picture.lines.as_ref().and_then(position);
    let rung = results.last_rung();
    let x_axis = position(&picture.x);
    let x = |choices: &Vec<usize>| match x_axis {
        Some(k) => {
            let value = choices[k];
            Some(axes[k].numbers.as_ref().map_or(value as f64, |numbers| numbers[value]))
        }
        None => results.mean(choices, rung, &picture.x).map(|mean| mean.mean),
    };
    let mut pictures: BTreeMap<Vec<usize>, BTreeMap<Option<usize>, Vec<Point>>> = BTreeMap::new();
    for choices in results.combinations(rung) {
        let (Some(x), Some(y)) = (x(&choices), results.mean(&choices, rung, &picture.y)) else {
            continue;
        };
        let key: Vec<usize> = each.iter().map(|&k| choices[k]).collect();
        let line = lines.map(|k| choices[k]);
        let points = pictures.entry(key).or_default().entry(line).or_default();
        points.push((x, y.mean, y.error));
    }
    let better = results.cells.iter().find_map(|c| direction(c.metrics.as_ref()?, &picture.y));
    let charts = pictures.into_iter().map(|(key, series)| {
        let labels = each.iter().zip(&key);
        let suffix: Vec<String> =
            labels.map(|(&k, &v)| format!("{}={}", axes[k].name, axes[k].labels[v])).collect();
        let suffix = suffix.join(",");
        let series = series.into_iter().map(|(line, points)| {
            let name = lines.zip(line).map_or(String::new(), |(k, v)| axes[k].labels[v].clone());
            Series { name, points: sorted(points), discs: true }
        });
        let chart = Chart {
            title: format!("{} {suffix}", results.plan.name),
            x_name: picture.x.clone(),
            y_name: with_direction(&picture.y, better),
            log_x: picture.log_x,
            log_y: picture.log_y,
            categories: x_axis
                .filter(|&k| axes[k].numbers.is_none())
                .map(|k| axes[k].labels.clone()),
            legend: picture.lines.clone().unwrap_or_default(),
            series: series.collect(),
        };
        let stem = format!("{}-against-{}", picture.y, picture.x);
        (if suffix.is_empty() { stem } else { format!("{stem}-{suffix}") }, chart)
    });
    charts.collect()
}

/// A logged number against the step, the mean over seeds for each combination; of many combinations
/// the best ones.
fn curves(results: &Results, field: &str, name: &str) -> Option<Chart> {
    let rung = results.last_rung();
    let mut combinations = results.combinations(rung);
    if let Some(metric) = results.metrics.iter().find(|metric| metric.better.is_some()) {
        let rank = |choices: &Vec<usize>| {
            let mean = results.mean(choices, rung, &metric.name).map(|mean| mean.mean);
            let sign = if metric.better == Some(Direction::Higher) { -1.0 } else { 1.0 };
            mean.map_or(f64::INFINITY, |mean| sign * mean)
        };
        if combinations.len() > MOST_LINES {
            combinations.sort_by(|a, b| rank(a).total_cmp(&rank(b)));
        }
    }
    let shown = combinations.len().min(MOST_LINES);
    let omitted = combinations.len() - shown;
    combinations.truncate(MOST_LINES);
    let mut series = Vec::new();
    for choices in &combinations {
        let mut sums: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for cell in results.of_combination(choices, rung) {
            for (step, value) in logged(&cell.run.join("log.jsonl"), field) {
                sums.entry(step).or_default().push(value);
            }
        }
        let points: Vec<Point> = sums
            .into_iter()
            .filter_map(|(step, values)| Some((step as f64, Mean::of(&values)?.mean, None)))
            .collect();
        let every = points.len().div_ceil(CURVE_POINTS).max(1);
        let points: Vec<_> = points.into_iter().step_by(every).collect();
        if !points.is_empty() {
            let discs = points.len() <= 12;
            series.push(Series { name: others(results, usize::MAX, choices), points, discs });
        }
    }
    if series.is_empty() {
        return None;
    }
    let positive = series.iter().flat_map(|s| &s.points).all(|point| point.1 > 0.0);
    let best = if omitted > 0 { format!(", the best {shown} combinations") } else { String::new() };
    Some(Chart {
        title: format!("{}: {name}, mean over {}{best}", results.plan.name, super::seeds(results)),
        x_name: "step".into(),
        y_name: name.into(),
        log_y: positive,
        legend: other_names(results, usize::MAX),
        series,
        ..Chart::default()
    })
}

/// Steps and values of a field in `log.jsonl`.
fn logged(path: &Path, field: &str) -> Vec<(u64, f64)> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    entries.filter_map(|entry| Some((entry["step"].as_u64()?, entry[field].as_f64()?))).collect()
}
