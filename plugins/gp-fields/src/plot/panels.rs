//! What pictures of fields share: the numbers of a test function on the host, a grid of panels with headings.

use crate::metric::draws::Draws;
use isotropy_core::{Error, Result, State};
use isotropy_diffusion::observed;
use isotropy_plots::figure::plotters::prelude::Text;
use isotropy_plots::figure::plotters::style::text_anchor::{HPos, Pos, VPos};
use isotropy_plots::figure::{self, Canvas, INK, MUTED, fault, px};
use tch::{Device, Kind, Tensor};

/// Rows of numbers.
pub(super) type Rows = Vec<Vec<f64>>;

/// One test function: where it is asked for, the truth and the samples there, and what is known of it.
#[derive(Debug)]
pub(super) struct Function {
    /// Asked points, `N` rows of `p` coordinates.
    pub index: Rows,
    /// True values, `N` rows of `d` components.
    pub truth: Rows,
    /// Samples: each `N` rows of `d` components.
    pub samples: Vec<Rows>,
    /// Known points.
    pub known_index: Rows,
    /// Known values.
    pub known: Rows,
    /// Samples that hold a number that is not finite; they are not among `samples`.
    pub broken: usize,
}

fn rows(tensor: &Tensor) -> Result<Rows> {
    Ok(Vec::try_from(tensor.to_kind(Kind::Double).to_device(Device::Cpu))?)
}

/// The rows of a list that a mask (`[N]`) keeps.
fn kept(list: Rows, mask: Option<Tensor>) -> Result<Rows> {
    let Some(mask) = mask else { return Ok(list) };
    let there: Vec<f64> = Vec::try_from(mask.to_kind(Kind::Double).to_device(Device::Cpu))?;
    Ok(list.into_iter().zip(there).filter(|(_, there)| *there > 0.5).map(|(row, _)| row).collect())
}

impl Function {
    /// Test function number `row` of what was drawn.
    pub fn of(draws: &Draws, row: i64) -> Result<Self> {
        let given: &State = &draws.given;
        let mask = || draws.mask.as_ref().map(|mask| mask.get(row));
        let index = &given.given("index")?.tensor;
        let index = if index.dim() == 3 { index.get(row) } else { index.shallow_clone() };
        let mut samples = Vec::new();
        let mut broken = 0;
        for k in 0..draws.repeats {
            let sample = kept(rows(&draws.samples.get(row).get(k))?, mask())?;
            if sample.iter().flatten().all(|number| number.is_finite()) {
                samples.push(sample);
            } else {
                broken += 1;
            }
        }
        let (mut known_index, mut known) = (Vec::new(), Vec::new());
        if let Some(state) = observed::observed(given)? {
            let mask = || state.mask().map(|mask| mask.get(row));
            known_index = kept(rows(&state.given("index")?.tensor.get(row))?, mask())?;
            known = kept(rows(&state.x().get(row))?, mask())?;
        }
        Ok(Self {
            index: kept(rows(&index)?, mask())?,
            truth: kept(rows(&draws.truth.get(row))?, mask())?,
            samples,
            known_index,
            known,
            broken,
        })
    }

    /// Mean over the samples, `N` rows of `d` components; empty without samples.
    pub fn mean(&self) -> Rows {
        self.over_samples(|values| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// Standard deviation over the samples; zero for a single one.
    pub fn std(&self) -> Rows {
        self.over_samples(|values| {
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let square = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
            (square / (n - 1.0).max(1.0)).sqrt()
        })
    }

    fn over_samples(&self, f: impl Fn(&[f64]) -> f64) -> Rows {
        let Some(first) = self.samples.first() else { return Vec::new() };
        let of = |n: usize, c: usize| {
            f(&self.samples.iter().map(|sample| sample[n][c]).collect::<Vec<_>>())
        };
        let components = |n: usize, row: &Vec<f64>| (0..row.len()).map(|c| of(n, c)).collect();
        first.iter().enumerate().map(|(n, row)| components(n, row)).collect()
    }
}

/// Writes a heading with a note beside it.
pub(super) fn head(area: &Canvas, name: &str, note: &str, at: (f64, f64)) -> Result<()> {
    let anchor = Pos::new(HPos::Left, VPos::Center);
    let (x, y) = (px(at.0), px(at.1));
    let style = figure::bold(20.0, INK).pos(anchor);
    let (width, _) = area.estimate_text_size(name, &style).map_err(fault)?;
    area.draw(&Text::new(name.to_string(), (x, y), style)).map_err(fault)?;
    let style = figure::text(16.0, MUTED).pos(anchor);
    area.draw(&Text::new(note.to_string(), (x + width as i32 + px(12.0), y + px(1.0)), style))
        .map_err(fault)
}

/// A file name without folders.
///
/// # Errors
/// `Config` at `/file`.
pub(super) fn checked_name(file: &str) -> Result<()> {
    if file.is_empty() || file.contains(['/', '\\']) {
        return Err(Error::config("/file", "this must be a file name without folders"));
    }
    Ok(())
}

/// The smallest range that holds all finite numbers, with a margin; `-1 .. 1` for none.
pub(super) fn extent(numbers: impl Iterator<Item = f64>, margin: f64) -> std::ops::Range<f64> {
    let (low, high) = numbers
        .filter(|number| number.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    if low > high {
        return -1.0..1.0;
    }
    let wide = if high > low { margin * (high - low) } else { 1.0 };
    low - wide..high + wide
}
