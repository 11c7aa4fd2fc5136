//! The plot `bridge-panel`: pictures on their way from the other end.

use crate::process::END;
use isotropy_core::{Error, Evaluation, Plot, PlotConfig, Result, component, config};
use isotropy_plots::figure::plotters::prelude::*;
use isotropy_plots::figure::plotters::style::text_anchor::{HPos, Pos, VPos};
use isotropy_plots::figure::{self, Canvas, GRID, INK, fault, px};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Columns of pictures: the other end, a few states along the way, the result, and the clean picture
/// of the test split. Values in [-1, 1]; one channel is drawn in grey, three in colours.
#[config(default)]
#[derive(Clone)]
pub struct BridgePanelConfig {
    /// Columns: the first so many samples.
    #[schemars(range(min = 1, max = 32))]
    pub columns: i64,
    /// Rows between other end and result (at most as many as `sampling.trajectory` leaves).
    #[schemars(range(min = 0, max = 12))]
    pub steps: usize,
}

impl Default for BridgePanelConfig {
    fn default() -> Self {
        Self { columns: 10, steps: 3 }
    }
}

#[component(
    "bridge-panel",
    "pictures: other end, states along the way, result, truth",
    r#"{"type": "bridge-panel", "columns": 10}"#
)]
impl PlotConfig for BridgePanelConfig {
    fn build(&self) -> Result<Box<dyn Plot>> {
        Ok(Box::new(self.clone()))
    }
}

/// Distance between pictures, and around all.
const GAP: i64 = 8;
/// Width of the column of names.
const NAMES: i64 = 84;
/// Least side of a picture on the page.
const SIDE: i64 = 56;

impl Plot for BridgePanelConfig {
    fn file_stem(&self) -> String {
        "bridge_panel".into()
    }

    fn draw(&self, evaluation: &Evaluation, path: &Path) -> Result<()> {
        let samples = evaluation.samples;
        let end = &samples.given(END)?.tensor;
        let size = end.size();
        let (&[_, channels, height, width], true) = (size.as_slice(), size.len() == 4) else {
            return Err(Error::Unsupported(format!("no pictures of shape {size:?}")));
        };
        if channels != 1 && channels != 3 {
            return Err(Error::Unsupported(format!("pictures of {channels} channels")));
        }
        let mut rows = vec![("other end".to_string(), end)];
        let states = evaluation.trajectory;
        for row in 0..self.steps.min(states.len().saturating_sub(1)) {
            let inner = self.steps.min(states.len() - 1);
            let at = (row + 1) * states.len() / (inner + 1) - 1;
            let share = 100 * (at + 1) / states.len();
            rows.push((format!("{share} %"), states[at].x()));
        }
        rows.push(("result".into(), samples.x()));
        rows.push(("truth".into(), evaluation.reference.x()));
        let most = rows.iter().map(|(_, pictures)| pictures.size()[0]).min().unwrap_or(0);
        let columns = self.columns.min(most);
        let scale = (SIDE + height.max(width) - 1) / height.max(width);
        let (cell_height, cell_width) = (height * scale, width * scale);
        let page = (
            NAMES + columns * (cell_width + GAP) + GAP,
            GAP + rows.len() as i64 * (cell_height + GAP),
        );
        figure::draw(path, (page.0 as u32, page.1 as u32), |canvas| {
            for (row, (name, pictures)) in rows.iter().enumerate() {
                let top = GAP + row as i64 * (cell_height + GAP);
                let style = figure::text(14.0, INK).pos(Pos::new(HPos::Left, VPos::Center));
                let at = (px(GAP as f64), px((top + cell_height / 2) as f64));
                canvas.draw(&Text::new(name.clone(), at, style)).map_err(fault)?;
                for column in 0..columns {
                    let left = NAMES + column * (cell_width + GAP);
                    picture(canvas, &pictures.get(column), (left, top), scale)?;
                }
            }
            Ok(())
        })
    }
}

/// A picture `[C, H, W]` with values in [-1, 1] and a fine frame.
fn picture(canvas: &Canvas, pixels: &Tensor, at: (i64, i64), scale: i64) -> Result<()> {
    let (height, width) = (pixels.size()[1], pixels.size()[2]);
    let bytes = ((pixels.to_device(Device::Cpu).to_kind(Kind::Double) + 1.0) * 127.5)
        .nan_to_num(0.0, 0.0, 0.0)
        .round()
        .clamp(0.0, 255.0)
        .expand([3, height, width], false)
        .permute([1, 2, 0])
        .to_kind(Kind::Uint8)
        .contiguous();
    let bytes: Vec<u8> = Vec::try_from(bytes.view([-1]))?;
    let corner = |row: i64, column: i64| {
        (px((at.0 + column * scale) as f64), px((at.1 + row * scale) as f64))
    };
    for (k, rgb) in bytes.chunks_exact(3).enumerate() {
        let (row, column) = (k as i64 / width, k as i64 % width);
        let colour = RGBColor(rgb[0], rgb[1], rgb[2]);
        let area = [corner(row, column), corner(row + 1, column + 1)];
        canvas.draw(&Rectangle::new(area, colour.filled())).map_err(fault)?;
    }
    let frame = [corner(0, 0), corner(height, width)];
    canvas.draw(&Rectangle::new(frame, GRID.stroke_width(2))).map_err(fault)
}
