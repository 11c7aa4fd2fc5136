//! The picture `digit-panel`: what went in, what happened to it, what came out, what it should be.

use crate::dataset::moved_digits::{MOVED, TRUE_SHIFT, pictures};
use crate::dataset::rotated_digits::{TRUE_ANGLE, UPRIGHT};
use isotropy_core::{Evaluation, Plot, PlotConfig, Result, State, component, config};
use isotropy_groups::group::wrap;
use isotropy_images::action::image_motion::ImageMotion;
use isotropy_images::action::image_rotation::ANGLE;
use isotropy_images::action::motion::Motion;
use isotropy_plots::figure::plotters::prelude::{Rectangle, Text};
use isotropy_plots::figure::plotters::style::text_anchor::{HPos, Pos, VPos};
use isotropy_plots::figure::plotters::style::{Color, RGBColor};
use isotropy_plots::figure::{self, Canvas, GRID, INK, MUTED, PAPER, fault, px};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Columns of digits, one or more of each, with rows for the input, a few states along the way, the
/// result and the truth; with the angle (and the length of the shift) that the input was turned (and
/// shifted) by and what is left of it.
#[config]
#[derive(Clone)]
pub struct DigitPanelConfig {
    /// Columns for each of the ten digits.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 4))]
    pub per_digit: usize,
    /// Rows between input and result (as many as `sampling.trajectory` leaves).
    #[serde(default = "three")]
    #[schemars(range(min = 0, max = 12))]
    pub steps: usize,
}

fn one() -> usize {
    1
}

fn three() -> usize {
    3
}

#[component(
    "digit-panel",
    "digits: input, states along the way, result, truth",
    r#"{"type": "digit-panel"}"#
)]
impl PlotConfig for DigitPanelConfig {
    fn build(&self) -> Result<Box<dyn Plot>> {
        Ok(Box::new(self.clone()))
    }
}

/// Pixels of the picture for one pixel of a digit.
const MAGNIFIED: i64 = 2;
/// Distance between cells, and around all.
const GAP: i64 = 8;
/// Width of the column of names.
const NAMES: i64 = 84;
/// Height of the line of angles above and below the cells.
const LINE: i64 = 26;

impl Plot for DigitPanelConfig {
    fn file_stem(&self) -> String {
        "digit_panel".into()
    }

    fn draw(&self, evaluation: &Evaluation, path: &Path) -> Result<()> {
        let samples = evaluation.samples;
        let moved = samples.given(MOVED).ok();
        let truth = motion_of(
            &samples.given(TRUE_ANGLE)?.tensor,
            samples.given(TRUE_SHIFT).ok().map(|field| &field.tensor),
        );
        // Samples that are pixels do not say how they were moved.
        let left = samples
            .lifted(ANGLE)
            .is_ok()
            .then(|| motion_of_lift(samples).after(&truth))
            .map(|left| Motion { angle: wrap(&left.angle), shift: left.shift });
        // Of moved digits as they are judged: between 0 and 1.
        let shown = |state: &State| match moved {
            Some(_) => pictures(state, state.x()),
            None => state.x().shallow_clone(),
        };
        let input = match moved {
            Some(moved) => pictures(samples, &moved.tensor),
            None => evaluation.start.x().shallow_clone(),
        };
        // The trajectory is kept for the first points only.
        let drawn = evaluation.trajectory.iter().map(isotropy_core::State::batch_size).min();
        let count = drawn.unwrap_or(samples.batch_size()).min(samples.batch_size());
        let columns = self.columns(&samples.given(State::LABEL)?.tensor.narrow(0, 0, count))?;
        let mut rows = vec![("input".to_string(), input)];
        rows.extend(
            self.along(evaluation.trajectory.len())
                .into_iter()
                .map(|(k, name)| (name, shown(&evaluation.trajectory[k]))),
        );
        rows.push(("result".into(), shown(samples)));
        let upright = samples.given(UPRIGHT)?.tensor.shallow_clone();
        let side = upright.size()[3] * MAGNIFIED;
        rows.push(("truth".into(), upright));

        let width = NAMES + columns.len() as i64 * (side + GAP) + GAP;
        let height = 2 * LINE + rows.len() as i64 * (side + GAP) + 2 * GAP;
        figure::draw(path, (width as u32, height as u32), |canvas| {
            let x = |column: usize| NAMES + column as i64 * (side + GAP);
            let y = |row: usize| GAP + LINE + row as i64 * (side + GAP);
            let bottom = y(rows.len()) + LINE / 2;
            let name = if moved.is_some() { "moved by" } else { "turned by" };
            write(canvas, name, (GAP, GAP + LINE / 2), HPos::Left, MUTED)?;
            if left.is_some() {
                write(canvas, "left over", (GAP, bottom), HPos::Left, MUTED)?;
            }
            for (row, (name, images)) in rows.iter().enumerate() {
                write(canvas, name, (GAP, y(row) + side / 2), HPos::Left, INK)?;
                for (column, &point) in columns.iter().enumerate() {
                    image(canvas, &images.get(point).get(0), (x(column), y(row)))?;
                }
            }
            for (column, &point) in columns.iter().enumerate() {
                let middle = x(column) + side / 2;
                let words = |motion: &Motion| {
                    let degrees = motion.angle.double_value(&[point, 0]).to_degrees().round();
                    let degrees = format!("{degrees:.0}\u{b0}").replace('-', "\u{2212}");
                    let pixels = motion.shift.get(point).norm().double_value(&[]);
                    if moved.is_some() { format!("{degrees} {pixels:.1} px") } else { degrees }
                };
                write(canvas, &words(&truth), (middle, GAP + LINE / 2), HPos::Center, MUTED)?;
                if let Some(left) = &left {
                    write(canvas, &words(left), (middle, bottom), HPos::Center, MUTED)?;
                }
            }
            Ok(())
        })
    }
}

/// A motion in double precision; without a shift where there is none.
fn motion_of(angle: &Tensor, shift: Option<&Tensor>) -> Motion {
    let angle = angle.to_kind(Kind::Double);
    let mut motion = Motion::identity(angle.size()[0], (Kind::Double, angle.device()));
    if let Some(shift) = shift {
        motion.shift = shift.to_kind(Kind::Double);
    }
    motion.angle = angle;
    motion
}

/// The total motion of samples.
fn motion_of_lift(samples: &State) -> Motion {
    let (motion, _) = ImageMotion::lifted(samples);
    motion_of(&motion.angle, Some(&motion.shift))
}

impl DigitPanelConfig {
    /// Points to draw: the first `per_digit` of each digit, in the order of the digits.
    fn columns(&self, labels: &Tensor) -> Result<Vec<i64>> {
        let labels: Vec<i64> = Vec::try_from(labels.to_device(Device::Cpu))?;
        let of = |digit| {
            let points = labels.iter().enumerate().filter(move |(_, label)| **label == digit);
            points.map(|(point, _)| point as i64).take(self.per_digit)
        };
        Ok((0..10).flat_map(of).collect())
    }

    /// Which states of a trajectory are drawn, evenly spaced, with their names. The last state is
    /// the result and has its own row.
    fn along(&self, states: usize) -> Vec<(usize, String)> {
        let inner = states.saturating_sub(1);
        let rows = self.steps.min(inner);
        let at = |row: usize| (row + 1) * states / (rows + 1) - 1;
        (0..rows).map(|row| (at(row), format!("{:.0} %", share(at(row), states)))).collect()
    }
}

/// How much of the way lies behind state `k`, percent.
fn share(k: usize, states: usize) -> f64 {
    100.0 * (k + 1) as f64 / states as f64
}

fn write(canvas: &Canvas, words: &str, at: (i64, i64), h: HPos, colour: RGBColor) -> Result<()> {
    let style = figure::text(14.0, colour).pos(Pos::new(h, VPos::Center));
    let at = (px(at.0 as f64), px(at.1 as f64));
    canvas.draw(&Text::new(words.to_string(), at, style)).map_err(fault)
}

/// A digit in ink on paper, with a fine frame.
fn image(canvas: &Canvas, pixels: &Tensor, at: (i64, i64)) -> Result<()> {
    let (rows, columns) = pixels.size2()?;
    let flat = pixels.to_device(Device::Cpu).to_kind(Kind::Double).reshape([-1]);
    let values: Vec<f64> = Vec::try_from(flat)?;
    let corner = |row: i64, column: i64| {
        (px((at.0 + column * MAGNIFIED) as f64), px((at.1 + row * MAGNIFIED) as f64))
    };
    for (k, value) in values.iter().enumerate() {
        let (row, column) = (k as i64 / columns, k as i64 % columns);
        let shade = |paper: u8, ink: u8| {
            let value = value.clamp(0.0, 1.0);
            (f64::from(paper) * (1.0 - value) + f64::from(ink) * value).round() as u8
        };
        let colour = RGBColor(shade(PAPER.0, INK.0), shade(PAPER.1, INK.1), shade(PAPER.2, INK.2));
        let area = [corner(row, column), corner(row + 1, column + 1)];
        canvas.draw(&Rectangle::new(area, colour.filled())).map_err(fault)?;
    }
    let frame = [corner(0, 0), corner(rows, columns)];
    canvas.draw(&Rectangle::new(frame, GRID.stroke_width(2))).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_along_the_way_are_spread_and_leave_out_the_result() {
        let panel = DigitPanelConfig { per_digit: 1, steps: 3 };
        let along = |states| panel.along(states).into_iter().map(|(k, _)| k).collect::<Vec<_>>();
        assert_eq!(along(8), [1, 3, 5]);
        assert_eq!(along(2), [0]);
        assert_eq!(along(0), [0_usize; 0]);
        assert_eq!(panel.along(8)[0].1, "25 %");
    }

    #[test]
    fn columns_are_the_first_of_each_digit() {
        let panel = DigitPanelConfig { per_digit: 2, steps: 3 };
        let labels = Tensor::from_slice(&[3_i64, 1, 3, 3, 1, 0]);
        assert_eq!(panel.columns(&labels).unwrap(), [5, 1, 4, 0, 2]);
    }
}
