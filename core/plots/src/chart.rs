//! Lines with error bars on two axes, as a [`Scene`].

use crate::figure::{GRID, INK, MUTED, PALETTE};
use crate::scene::{Anchor, Mark, Scene};
use serde::Deserialize;

/// Width and height of a picture.
const SIZE: (u32, u32) = (880, 520);
/// Space left, above, right (for the legend), below.
const FRAME: (f64, f64, f64, f64) = (84.0, 84.0, 230.0, 64.0);

/// Horizontal, vertical, and the standard error.
pub type Point = (f64, f64, Option<f64>);

/// A line or a cloud of points.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// The points.
    pub points: Vec<Point>,
    /// Whether points get a disc: not for curves of many points.
    #[serde(default = "yes")]
    pub discs: bool,
}

fn yes() -> bool {
    true
}

/// A picture to be.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// Name of the horizontal axis.
    pub x_name: String,
    /// Name of the vertical axis.
    pub y_name: String,
    /// Names of the values 0, 1, ... of a horizontal axis without numbers.
    pub categories: Option<Vec<String>>,
    /// Whether the horizontal axis is logarithmic.
    pub log_x: bool,
    /// Whether the vertical axis is logarithmic.
    pub log_y: bool,
    /// What the names of the lines are values of.
    pub legend: String,
    /// The lines; more than seven share colours.
    pub series: Vec<Series>,
}

/// A number in four digits.
pub fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let size = value.abs().log10().floor();
    if !(-4.0..6.0).contains(&size) {
        return format!("{value:.3e}");
    }
    let digits = (3.0 - size).clamp(0.0, 8.0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// A numbered axis.
struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    /// Covers the values with a margin; logarithmic only where all are positive.
    fn over(values: &[f64], log: bool, margin: f64) -> Self {
        let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        let log = log && finite.iter().all(|v| *v > 0.0);
        let inner = |v: f64| if log { v.log10() } else { v };
        let low = finite.iter().copied().map(inner).fold(f64::INFINITY, f64::min);
        let high = finite.iter().copied().map(inner).fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            return Self { low: 0.0, high: 1.0, log: false };
        }
        let space = if high > low { margin * (high - low) } else { 0.5 * low.abs().max(1e-9) };
        Self { low: low - space, high: high + space, log }
    }

    /// From 0 at the low end to 1.
    fn share(&self, value: f64) -> f64 {
        let inner = if self.log { value.max(f64::MIN_POSITIVE).log10() } else { value };
        (inner - self.low) / (self.high - self.low)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let powers: Vec<f64> = decade_ticks(self.low, self.high, &[1.0]);
            if powers.len() >= 3 {
                return powers;
            }
            let more = decade_ticks(self.low, self.high, &[1.0, 2.0, 5.0]);
            if more.len() >= 2 {
                return more;
            }
        }
        let (low, high) = if self.log {
            (10f64.powf(self.low), 10f64.powf(self.high))
        } else {
            (self.low, self.high)
        };
        let raw = (high - low) / 7.0;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].iter().map(|m| m * power).find(|step| *step >= raw);
        let step = step.unwrap_or(10.0 * power);
        let first = (low / step).ceil() as i64;
        let last = (high / step).floor() as i64;
        (first..=last).take(50).map(|k| k as f64 * step).collect()
    }
}

fn decade_ticks(low: f64, high: f64, within: &[f64]) -> Vec<f64> {
    let decades = (low.floor() as i32)..=(high.ceil() as i32);
    let all = decades.flat_map(|d| within.iter().map(move |m| m * 10f64.powi(d)));
    all.filter(|tick| (low..=high).contains(&tick.log10())).collect()
}

impl Chart {
    /// The marks.
    pub fn scene(&self) -> Scene {
        let points = || self.series.iter().flat_map(|series| series.points.iter());
        let xs: Vec<f64> = match &self.categories {
            Some(names) => vec![-0.4, names.len() as f64 - 0.6],
            None => points().map(|point| point.0).collect(),
        };
        let ys: Vec<f64> = points()
            .flat_map(|&(_, y, error)| {
                let error = error.unwrap_or(0.0);
                let below = if self.log_y && y - error <= 0.0 { y } else { y - error };
                [below, y + error]
            })
            .collect();
        let log_x = self.log_x && self.categories.is_none();
        let x = Scale::over(&xs, log_x, if self.categories.is_some() { 0.0 } else { 0.04 });
        let y = Scale::over(&ys, self.log_y, 0.06);
        let (left, top) = (FRAME.0, FRAME.1);
        let right = f64::from(SIZE.0) - if self.series.len() > 1 { FRAME.2 } else { 36.0 };
        let bottom = f64::from(SIZE.1) - FRAME.3;
        let at = |px: f64, py: f64| {
            let (u, v) = (x.share(px), y.share(py).clamp(-0.02, 1.02));
            (left + u * (right - left), bottom - v * (bottom - top))
        };
        let mut marks = Vec::new();
        let text = |at, text: &str, size, colour, anchor, bold| Mark::Text {
            at,
            text: text.to_owned(),
            size,
            colour,
            anchor,
            bold,
        };
        marks.push(text((left - 60.0, 26.0), &self.title, 19.0, INK, Anchor::Start, true));
        marks.push(text((left - 60.0, top - 24.0), &self.y_name, 15.0, INK, Anchor::Start, false));
        let middle = (0.5 * (left + right), bottom + 44.0);
        marks.push(text(middle, &self.x_name, 15.0, INK, Anchor::Middle, false));
        for tick in y.ticks() {
            let (_, v) = at(xs.first().copied().unwrap_or(0.0), tick);
            let points = vec![(left, v), (right, v)];
            marks.push(Mark::Line { points, colour: GRID, width: 1.0 });
            marks.push(text((left - 8.0, v), &number(tick), 13.0, MUTED, Anchor::End, false));
        }
        let x_ticks: Vec<(f64, String)> = match &self.categories {
            Some(names) => names.iter().enumerate().map(|(k, n)| (k as f64, n.clone())).collect(),
            None => x.ticks().into_iter().map(|tick| (tick, number(tick))).collect(),
        };
        for (tick, name) in &x_ticks {
            let u = left + x.share(*tick) * (right - left);
            let points = vec![(u, top), (u, bottom)];
            marks.push(Mark::Line { points, colour: GRID, width: 1.0 });
            marks.push(text((u, bottom + 18.0), name, 13.0, MUTED, Anchor::Middle, false));
        }
        if self.series.len() > 1 {
            let at = (right + 16.0, top - 24.0);
            marks.push(text(at, &self.legend, 13.0, MUTED, Anchor::Start, false));
        }
        for (k, series) in self.series.iter().enumerate() {
            let colour = PALETTE[k % PALETTE.len()];
            // Side by side where several series share a category.
            let shift = match &self.categories {
                Some(_) => (k as f64 - 0.5 * (self.series.len() as f64 - 1.0)) * 9.0,
                None => 0.0,
            };
            let place = |px: f64, py: f64| {
                let (u, v) = at(px, py);
                (u + shift, v)
            };
            let line: Vec<(f64, f64)> =
                series.points.iter().map(|&(px, py, _)| place(px, py)).collect();
            if self.categories.is_none() && line.len() > 1 {
                marks.push(Mark::Line { points: line.clone(), colour, width: 2.0 });
            }
            if series.discs {
                for (&(px, py, error), &centre) in series.points.iter().zip(&line) {
                    if let Some(error) = error {
                        let points = vec![place(px, py - error), place(px, py + error)];
                        marks.push(Mark::Line { points, colour, width: 2.0 });
                    }
                    marks.push(Mark::Disc { at: centre, radius: 4.5, colour });
                }
            }
            if self.series.len() > 1 {
                let v = top + 8.0 + 24.0 * k as f64;
                let points = vec![(right + 16.0, v), (right + 38.0, v)];
                marks.push(Mark::Line { points, colour, width: 3.0 });
                marks.push(text((right + 46.0, v), &series.name, 13.0, INK, Anchor::Start, false));
            }
        }
        Scene { size: SIZE, marks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_lie_on_round_numbers_within_the_axis() {
        let scale = Scale::over(&[0.0, 9.3], false, 0.0);
        assert_eq!(scale.ticks(), [0.0, 2.0, 4.0, 6.0, 8.0]);
        let scale = Scale::over(&[1.0, 1000.0], true, 0.0);
        let ticks: Vec<String> = scale.ticks().into_iter().map(number).collect();
        assert_eq!(ticks, ["1", "10", "100", "1000"]);
        let scale = Scale::over(&[2.0, 2.0], false, 0.1);
        assert!(scale.ticks().len() >= 2 && scale.share(2.0) == 0.5);
        // A logarithm of something negative is not drawn.
        assert!(!Scale::over(&[-1.0, 10.0], true, 0.0).log);
        assert_eq!(Scale::over(&[], true, 0.0).share(0.5), 0.5);
    }
}
