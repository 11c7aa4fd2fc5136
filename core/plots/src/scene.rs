//! A picture as a list of marks, written as PNG and as SVG.

use crate::figure;
use isotropy_core::Result;
use plotters::coord::Shift;
use plotters::prelude::{Circle, Color, DrawingArea, DrawingBackend, PathElement, RGBColor, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

/// Where a text stands about its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// To the right of it.
    Start,
    /// About it.
    Middle,
    /// To the left of it.
    End,
}

/// One mark; lengths are pixels of the picture, from its upper left corner.
#[derive(Debug, Clone)]
pub enum Mark {
    /// A line through points.
    Line {
        /// The points.
        points: Vec<(f64, f64)>,
        /// Its colour.
        colour: RGBColor,
        /// Its width.
        width: f64,
    },
    /// A disc.
    Disc {
        /// Its centre.
        at: (f64, f64),
        /// Its radius.
        radius: f64,
        /// Its colour.
        colour: RGBColor,
    },
    /// Text, vertically about its point.
    Text {
        /// The point.
        at: (f64, f64),
        /// The text.
        text: String,
        /// Height of the font.
        size: f64,
        /// Its colour.
        colour: RGBColor,
        /// Where it stands.
        anchor: Anchor,
        /// Whether it is bold.
        bold: bool,
    },
}

/// A picture.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// The marks, from back to front.
    pub marks: Vec<Mark>,
}

impl Scene {
    /// Writes `STEM.png` and `STEM.svg` into a folder.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, folder: &Path, stem: &str) -> Result<()> {
        figure::draw_svg(&folder.join(format!("{stem}.svg")), self.size, |area| {
            self.marks.iter().try_for_each(|mark| paint(area, 1.0, mark))
        })?;
        let scale = f64::from(figure::OVERSAMPLING);
        figure::draw(&folder.join(format!("{stem}.png")), self.size, |area| {
            self.marks.iter().try_for_each(|mark| paint(area, scale, mark))
        })
    }
}

/// Paints a mark on an area whose pixels are `scale` to one of the picture.
fn paint<B: DrawingBackend>(area: &DrawingArea<B, Shift>, scale: f64, mark: &Mark) -> Result<()> {
    let length = |a: f64| (a * scale).round() as i32;
    let place = |(x, y): (f64, f64)| (length(x), length(y));
    match mark {
        Mark::Line { points, colour, width } => {
            let points: Vec<(i32, i32)> = points.iter().copied().map(place).collect();
            let style = colour.stroke_width(length(*width).max(1) as u32);
            area.draw(&PathElement::new(points, style)).map_err(figure::fault)
        }
        Mark::Disc { at, radius, colour } => {
            let disc = Circle::new(place(*at), length(*radius), colour.filled());
            area.draw(&disc).map_err(figure::fault)
        }
        Mark::Text { at, text, size, colour, anchor, bold } => {
            let horizontal = match anchor {
                Anchor::Start => HPos::Left,
                Anchor::Middle => HPos::Center,
                Anchor::End => HPos::Right,
            };
            let style = figure::font(size * scale, *bold).color(colour);
            let style = style.pos(Pos::new(horizontal, VPos::Center));
            area.draw(&Text::new(text.clone(), place(*at), style)).map_err(figure::fault)
        }
    }
}
