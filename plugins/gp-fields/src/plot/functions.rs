//! Functions of one coordinate: what is known, the truth, samples, their mean and band.

use super::panels::{Function, checked_name, extent, head};
use crate::metric::draws::grouped;
use isotropy_core::{Error, Evaluation, Plot, PlotConfig, Result, component, config};
use isotropy_plots::figure::plotters::prelude::{Circle, Color, PathElement, Polygon};
use isotropy_plots::figure::{self, Canvas, DATA, INK, SAMPLES, fault, px};
use std::path::Path;

/// The first test functions, a panel each: known values (black dots), the truth at the asked points (blue), some samples
/// (thin lines), their mean and two standard deviations about it (band). Draw several samples of each function with
/// `sampling.repeats`.
#[config(default)]
#[derive(Clone)]
pub struct FunctionPlotConfig {
    /// Name of the file, without extension.
    pub file: String,
    /// Test functions that are drawn.
    #[schemars(range(min = 1, max = 24))]
    pub functions: u32,
    /// Samples of each that are drawn as lines; mean and band are of all.
    #[schemars(range(min = 0, max = 1000))]
    pub samples: u32,
}

impl Default for FunctionPlotConfig {
    fn default() -> Self {
        Self { file: "functions".into(), functions: 4, samples: 5 }
    }
}

#[component(
    "field-functions",
    "functions of one coordinate: known values, truth, samples, mean and band",
    r#"{"type": "field-functions"}"#
)]
impl PlotConfig for FunctionPlotConfig {
    fn build(&self) -> Result<Box<dyn Plot>> {
        checked_name(&self.file)?;
        if self.functions == 0 {
            return Err(Error::config("/functions", "at least 1"));
        }
        Ok(Box::new(self.clone()))
    }
}

/// Size of a panel in pixels.
const PANEL: (u32, u32) = (760, 400);
/// Space of a panel's heading, in pixels.
const HEADING: f64 = 40.0;

impl Plot for FunctionPlotConfig {
    fn file_stem(&self) -> String {
        self.file.clone()
    }

    fn draw(&self, evaluation: &Evaluation, path: &Path) -> Result<()> {
        let draws = grouped(evaluation)?;
        let count = i64::from(self.functions).min(draws.given.batch_size());
        let functions =
            (0..count).map(|row| Function::of(&draws, row)).collect::<Result<Vec<_>>>()?;
        if functions
            .iter()
            .any(|f| f.index.iter().any(|x| x.len() != 1) || f.truth.iter().any(|y| y.len() != 1))
        {
            return Err(Error::Unsupported(
                "this picture shows functions of one coordinate with one component".into(),
            ));
        }
        let columns = if functions.len() > 1 { 2 } else { 1 };
        let lines = functions.len().div_ceil(columns);
        let size = (PANEL.0 * columns as u32, PANEL.1 * lines as u32);
        figure::draw(path, size, |canvas| {
            for (area, (row, function)) in
                canvas.split_evenly((lines, columns)).iter().zip(functions.iter().enumerate())
            {
                self.panel(area, row, function)?;
            }
            Ok(())
        })
    }
}

impl FunctionPlotConfig {
    fn panel(&self, area: &Canvas, row: usize, function: &Function) -> Result<()> {
        let (heading, below) = area.split_vertically(px(HEADING));
        let mut note =
            format!("{} known, {} samples", function.known.len(), function.samples.len());
        if function.broken > 0 {
            note += &format!(", {} not finite", function.broken);
        }
        head(&heading, &format!("Function {row}"), &note, (58.0, HEADING / 2.0 + 4.0))?;
        // Asked points from left to right.
        let mut order: Vec<usize> = (0..function.index.len()).collect();
        order.sort_by(|&a, &b| function.index[a][0].total_cmp(&function.index[b][0]));
        let x: Vec<f64> = order.iter().map(|&n| function.index[n][0]).collect();
        let (mean, std) = (function.mean(), function.std());
        let shown = function.samples.iter().take(self.samples as usize);
        let all_y = function.truth.iter().chain(&function.known).chain(&mean).map(|y| y[0]);
        let all_x = function.index.iter().chain(&function.known_index).map(|x| x[0]);
        // Where a sample leaves the picture it is cut off.
        let mut axes = figure::axes(&below, extent(all_x, 0.02), extent(all_y, 0.3), ("", ""))?;
        if !mean.is_empty() {
            let edge = |n: usize, sign: f64| mean[n][0] + sign * 2.0 * std[n][0];
            let upper = order.iter().zip(&x).map(|(&n, &x)| (x, edge(n, 1.0)));
            let lower = order.iter().zip(&x).rev().map(|(&n, &x)| (x, edge(n, -1.0)));
            let band: Vec<(f64, f64)> = upper.chain(lower).collect();
            axes.draw_series([Polygon::new(band, SAMPLES.mix(0.16).filled())]).map_err(fault)?;
        }
        let line = |values: &dyn Fn(usize) -> f64| -> Vec<(f64, f64)> {
            order.iter().zip(&x).map(|(&n, &x)| (x, values(n))).collect()
        };
        for sample in shown {
            let path = PathElement::new(line(&|n| sample[n][0]), SAMPLES.mix(0.45).stroke_width(2));
            axes.draw_series([path]).map_err(fault)?;
        }
        if !mean.is_empty() {
            let path = PathElement::new(line(&|n| mean[n][0]), SAMPLES.stroke_width(5));
            axes.draw_series([path]).map_err(fault)?;
        }
        let truth = function.index.iter().zip(&function.truth);
        axes.draw_series(truth.map(|(x, y)| Circle::new((x[0], y[0]), px(3.0), DATA.filled())))
            .map_err(fault)?;
        let known = function.known_index.iter().zip(&function.known);
        axes.draw_series(known.map(|(x, y)| Circle::new((x[0], y[0]), px(5.5), INK.filled())))
            .map_err(fault)?;
        Ok(())
    }
}
