//! The picture `image-grid`: samples, and test images below them.

use isotropy_core::{Error, Evaluation, Plot, PlotConfig, Result, component, config};
use isotropy_plots::figure::plotters::prelude::{Rectangle, Text};
use isotropy_plots::figure::plotters::style::text_anchor::{HPos, Pos, VPos};
use isotropy_plots::figure::plotters::style::{Color, RGBColor};
use isotropy_plots::figure::{self, Canvas, GRID, INK, fault, px};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// A grid of samples and a grid of test images, from -1 (black) to 1 (white, or the full colour).
#[config(default)]
#[derive(Clone)]
pub struct ImageGridConfig {
    /// Images beside one another.
    #[schemars(range(min = 1, max = 64))]
    pub columns: i64,
    /// Rows of samples.
    #[schemars(range(min = 1, max = 64))]
    pub rows: i64,
    /// Rows of test images; 0 for none.
    #[schemars(range(min = 0, max = 64))]
    pub reference_rows: i64,
    /// Pixels of the picture for one pixel of an image.
    #[schemars(range(min = 1, max = 16))]
    pub magnify: i64,
}

impl Default for ImageGridConfig {
    fn default() -> Self {
        Self { columns: 12, rows: 4, reference_rows: 2, magnify: 2 }
    }
}

#[component("image-grid", "samples and test images", r#"{"type": "image-grid"}"#)]
impl PlotConfig for ImageGridConfig {
    fn build(&self) -> Result<Box<dyn Plot>> {
        Ok(Box::new(self.clone()))
    }
}

/// Distance between images, and around all.
const GAP: i64 = 4;
/// Height of the line above a grid.
const LINE: i64 = 24;

impl Plot for ImageGridConfig {
    fn file_stem(&self) -> String {
        "image_grid".into()
    }

    fn draw(&self, evaluation: &Evaluation, path: &Path) -> Result<()> {
        let mut parts = vec![("samples", evaluation.samples.x(), self.rows)];
        if self.reference_rows > 0 {
            parts.push(("test images", evaluation.reference.x(), self.reference_rows));
        }
        let size = parts[0].1.size();
        let &[_, 1 | 3, height, width] = size.as_slice() else {
            let message = format!("a grid shows images of 1 or 3 channels, not {size:?}");
            return Err(Error::Unsupported(message));
        };
        let cell = (width * self.magnify + GAP, height * self.magnify + GAP);
        let shown = |images: &Tensor, rows: i64| images.size()[0].min(rows * self.columns);
        let rows = |images: &Tensor, rows: i64| {
            (shown(images, rows) as u64).div_ceil(self.columns as u64) as i64
        };
        let total: i64 = parts.iter().map(|(_, x, n)| rows(x, *n) * cell.1 + LINE).sum();
        let whole = (self.columns * cell.0 + GAP, total + GAP);
        figure::draw(path, (whole.0 as u32, whole.1 as u32), |canvas| {
            let mut top = 0;
            for (name, images, wanted) in &parts {
                let style = figure::text(14.0, INK).pos(Pos::new(HPos::Left, VPos::Center));
                let at = (px(GAP as f64), px((top + LINE / 2) as f64));
                canvas.draw(&Text::new((*name).to_string(), at, style)).map_err(fault)?;
                for k in 0..shown(images, *wanted) {
                    let x = GAP + k % self.columns * cell.0;
                    let y = top + LINE + k / self.columns * cell.1;
                    self.image(canvas, &images.get(k), (x, y))?;
                }
                top += LINE + rows(images, *wanted) * cell.1;
            }
            Ok(())
        })
    }
}

impl ImageGridConfig {
    fn image(&self, canvas: &Canvas, pixels: &Tensor, at: (i64, i64)) -> Result<()> {
        let size = pixels.size();
        let bytes = ((pixels.to_kind(Kind::Double) + 1.0) * 127.5).clamp(0.0, 255.0).round();
        let bytes = bytes.nan_to_num(0.0, 255.0, 0.0).to_kind(Kind::Uint8).to_device(Device::Cpu);
        let bytes: Vec<u8> = Vec::try_from(bytes.contiguous().view([-1]))?;
        let plane = (size[1] * size[2]) as usize;
        let corner = |row: i64, column: i64| {
            let (x, y) = (at.0 + column * self.magnify, at.1 + row * self.magnify);
            (px(x as f64), px(y as f64))
        };
        for k in 0..plane {
            let (row, column) = (k as i64 / size[2], k as i64 % size[2]);
            let of = |channel: usize| bytes[channel * plane + k];
            let colour = match size[0] {
                1 => RGBColor(of(0), of(0), of(0)),
                _ => RGBColor(of(0), of(1), of(2)),
            };
            let area = [corner(row, column), corner(row + 1, column + 1)];
            canvas.draw(&Rectangle::new(area, colour.filled())).map_err(fault)?;
        }
        let frame = [corner(0, 0), corner(size[1], size[2])];
        canvas.draw(&Rectangle::new(frame, GRID.stroke_width(1))).map_err(fault)
    }
}
