//! What all pictures share: canvas, fonts, colours and axes, so that plots of different plugins look
//! alike. A plot only has to bring its marks.
//!
//! A canvas is drawn [`OVERSAMPLING`] times as large as the picture and averaged down, which smooths
//! every edge. Lengths on it go through [`px`]. The font (Noto Sans, Apache License 2.0) is part of
//! the program: nothing has to be installed.

use isotropy_core::{Error, Result};
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{
    BitMapBackend, Cartesian2d, Color, DrawingArea, DrawingBackend, FontDesc, FontFamily,
    FontStyle, IntoDrawingArea, RGBColor, SVGBackend, TextStyle,
};
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

// Plugins draw with the same version, without naming it.
pub use plotters;

/// The canvas is this many times as large as the picture, in both directions.
pub const OVERSAMPLING: u32 = 2;

/// Text and important lines.
pub const INK: RGBColor = RGBColor(30, 41, 59);
/// Secondary text: tick labels, notes.
pub const MUTED: RGBColor = RGBColor(100, 116, 139);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(226, 232, 240);
/// The background.
pub const PAPER: RGBColor = RGBColor(255, 255, 255);
/// What is given: data, truth. First colour of [`PALETTE`].
pub const DATA: RGBColor = PALETTE[0];
/// What is generated. Second colour of [`PALETTE`].
pub const SAMPLES: RGBColor = PALETTE[1];
/// Colours for categories; people who confuse red and green can tell them apart (Okabe, Ito 2008).
pub const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(75, 85, 99),
];

/// A drawing area in memory, [`OVERSAMPLING`] times as large as the picture.
pub type Canvas<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Axes on a [`Canvas`].
pub type Axes<'a> =
    ChartContext<'a, BitMapBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A length in pixels of the picture as a length on the canvas.
pub fn px(length: f64) -> i32 {
    (length * f64::from(OVERSAMPLING)).round() as i32
}

/// An error of the drawing library as an error of the toolkit; for `map_err`.
pub fn fault(error: impl std::fmt::Display) -> Error {
    Error::Other(format!("drawing failed: {error}"))
}

/// Draws a PNG of `size` pixels (width, height) at `path`; `paint` gets an empty canvas.
///
/// # Errors
/// What `paint` returns, or `Other` when the file cannot be written.
pub fn draw(
    path: &Path,
    size: (u32, u32),
    paint: impl FnOnce(&Canvas) -> Result<()>,
) -> Result<()> {
    register_fonts()?;
    let large = (size.0 * OVERSAMPLING, size.1 * OVERSAMPLING);
    let mut pixels = vec![255u8; large.0 as usize * large.1 as usize * 3];
    {
        let canvas = BitMapBackend::with_buffer(&mut pixels, large).into_drawing_area();
        canvas.fill(&PAPER).map_err(fault)?;
        paint(&canvas)?;
        canvas.present().map_err(fault)?;
    }
    let small = average(&pixels, size);
    // Tried first for an error that names the file.
    std::fs::File::create(path).map_err(|source| Error::io(path, source))?;
    let mut picture = BitMapBackend::new(path, size);
    picture.blit_bitmap((0, 0), size, &small).map_err(fault)?;
    picture.present().map_err(fault)
}

/// Draws an SVG of `size` pixels (width, height) at `path`; `paint` gets an empty area.
///
/// # Errors
/// What `paint` returns, or `Other` when the file cannot be written.
pub fn draw_svg(
    path: &Path,
    size: (u32, u32),
    paint: impl FnOnce(&DrawingArea<SVGBackend, Shift>) -> Result<()>,
) -> Result<()> {
    register_fonts()?;
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&PAPER).map_err(fault)?;
        paint(&area)?;
        area.present().map_err(fault)?;
    }
    isotropy_data::write::write_whole(path, text)
}

/// Averages squares of `OVERSAMPLING x OVERSAMPLING` pixels.
fn average(pixels: &[u8], size: (u32, u32)) -> Vec<u8> {
    let factor = OVERSAMPLING as usize;
    let (width, height) = (size.0 as usize, size.1 as usize);
    let row = width * factor * 3;
    let count = (factor * factor) as u32;
    let mut small = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let sum: u32 = (0..factor * factor)
                    .map(|k| {
                        let (dy, dx) = (k / factor, k % factor);
                        let at = (y * factor + dy) * row + (x * factor + dx) * 3 + channel;
                        u32::from(pixels[at])
                    })
                    .sum();
                small.push(((sum + count / 2) / count) as u8);
            }
        }
    }
    small
}

/// Makes the fonts known to the drawing library, once.
fn register_fonts() -> Result<()> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered = REGISTERED.get_or_init(|| {
        let register = plotters::style::register_font;
        let family = FontFamily::SansSerif;
        register(family.as_str(), FontStyle::Normal, ttf_noto_sans::REGULAR).is_ok()
            && register(family.as_str(), FontStyle::Bold, ttf_noto_sans::BOLD).is_ok()
    });
    if *registered { Ok(()) } else { Err(fault("the built-in font cannot be read")) }
}

/// Text of `size` pixels of the picture.
pub fn text(size: f64, colour: RGBColor) -> TextStyle<'static> {
    font(f64::from(px(size)), false).color(&colour)
}

/// Bold text of `size` pixels of the picture.
pub fn bold(size: f64, colour: RGBColor) -> TextStyle<'static> {
    font(f64::from(px(size)), true).color(&colour)
}

/// The font at a height in pixels of the canvas.
pub fn font(height: f64, bold: bool) -> FontDesc<'static> {
    let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
    // Changing the style of an existing description would keep its old face.
    FontDesc::new(FontFamily::SansSerif, height, style)
}

/// Axes with a light grid over the whole of `area`. Labels may be empty.
///
/// # Errors
/// When the drawing library refuses.
pub fn axes<'a>(
    area: &Canvas<'a>,
    x: Range<f64>,
    y: Range<f64>,
    labels: (&str, &str),
) -> Result<Axes<'a>> {
    let mut chart = ChartBuilder::on(area)
        .margin(px(8.0))
        .x_label_area_size(px(if labels.0.is_empty() { 32.0 } else { 56.0 }))
        .y_label_area_size(px(if labels.1.is_empty() { 46.0 } else { 66.0 }))
        .build_cartesian_2d(x, y)
        .map_err(fault)?;
    let mut mesh = chart.configure_mesh();
    mesh.x_labels(7)
        .y_labels(7)
        .max_light_lines(1)
        .light_line_style(PAPER.mix(0.0))
        .bold_line_style(GRID.stroke_width(OVERSAMPLING))
        .axis_style(MUTED.mix(0.6).stroke_width(OVERSAMPLING))
        .set_all_tick_mark_size(px(4.0))
        .x_label_formatter(&|value| tick(*value))
        .y_label_formatter(&|value| tick(*value))
        .label_style(text(19.0, MUTED))
        .axis_desc_style(text(21.0, INK));
    if !labels.0.is_empty() {
        mesh.x_desc(labels.0);
    }
    if !labels.1.is_empty() {
        mesh.y_desc(labels.1);
    }
    mesh.draw().map_err(fault)?;
    Ok(chart)
}

/// Widens one of two ranges about its middle until a unit is as long in both directions on a plane
/// of `size` pixels.
pub fn equal_units(size: (u32, u32), x: Range<f64>, y: Range<f64>) -> (Range<f64>, Range<f64>) {
    let unit = ((x.end - x.start) / f64::from(size.0)).max((y.end - y.start) / f64::from(size.1));
    let widen = |range: Range<f64>, pixels: u32| {
        let (middle, half) = ((range.start + range.end) / 2.0, unit * f64::from(pixels) / 2.0);
        middle - half..middle + half
    };
    (widen(x, size.0), widen(y, size.1))
}

/// A number for a tick: no trailing zeros, a true minus sign.
fn tick(value: f64) -> String {
    let value = if value.abs() < 1e-9 { 0.0 } else { value };
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').replace('-', "\u{2212}")
}

/// A count with thousands separated: `10,000`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (k, digit) in digits.chars().enumerate() {
        if k > 0 && (digits.len() - k).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        for (count, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(grouped(count), expected);
        }
    }

    #[test]
    fn ticks_have_no_trailing_zeros() {
        for (value, expected) in [(0.0, "0"), (-1e-17, "0"), (2.5, "2.5"), (-10.0, "\u{2212}10")] {
            assert_eq!(tick(value), expected);
        }
    }

    #[test]
    fn units_come_out_equally_long_and_nothing_is_cut_off() {
        let (x, y) = equal_units((400, 200), -1.0..1.0, 0.0..4.0);
        assert!(((x.end - x.start) / 400.0 - (y.end - y.start) / 200.0).abs() < 1e-12);
        assert!(x.start <= -1.0 && x.end >= 1.0 && y == (0.0..4.0));
    }

    #[test]
    fn a_picture_that_cannot_be_written_is_an_error_that_names_it() {
        let path = Path::new("/nonexistent-folder/picture.png");
        let error = draw(path, (10, 10), |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("picture.png"), "{error}");
    }
}
