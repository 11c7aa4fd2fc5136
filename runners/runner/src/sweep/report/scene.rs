//! A picture as a list of marks, written as PNG and as SVG.

use isotropy_core::Result;
use isotropy_plots::figure::plotters::prelude::{Circle, Color, PathElement, RGBColor, Text};
use isotropy_plots::figure::plotters::style::text_anchor::{HPos, Pos, VPos};
use isotropy_plots::figure::{self, px};
use std::fmt::Write as _;
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
        let svg = folder.join(format!("{stem}.svg"));
        isotropy_data::write::write_whole(&svg, self.svg())?;
        figure::draw(&folder.join(format!("{stem}.png")), self.size, |canvas| {
            self.marks.iter().try_for_each(|mark| paint(canvas, mark))
        })
    }

    fn svg(&self) -> String {
        let (width, height) = self.size;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" font-family=\"Noto Sans, sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        );
        // Writing to a String cannot fail.
        for mark in &self.marks {
            match mark {
                Mark::Line { points, colour, width } => {
                    let points: Vec<String> =
                        points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                    let _ = writeln!(
                        out,
                        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>",
                        points.join(" "),
                        hex(*colour)
                    );
                }
                Mark::Disc { at: (x, y), radius, colour } => {
                    let colour = hex(*colour);
                    let _ = writeln!(
                        out,
                        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>"
                    );
                }
                Mark::Text { at: (x, y), text, size, colour, anchor, bold } => {
                    let anchor = match anchor {
                        Anchor::Start => "start",
                        Anchor::Middle => "middle",
                        Anchor::End => "end",
                    };
                    let weight = if *bold { " font-weight=\"bold\"" } else { "" };
                    let _ = writeln!(
                        out,
                        "<text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"{size}\" fill=\"{}\" text-anchor=\"{anchor}\"{weight}>{}</text>",
                        // The baseline of a text whose middle is at y.
                        y + 0.35 * size,
                        hex(*colour),
                        escape(text)
                    );
                }
            }
        }
        out + "</svg>\n"
    }
}

fn hex(colour: RGBColor) -> String {
    format!("#{:02x}{:02x}{:02x}", colour.0, colour.1, colour.2)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn paint(canvas: &figure::Canvas, mark: &Mark) -> Result<()> {
    let place = |(x, y): (f64, f64)| (px(x), px(y));
    match mark {
        Mark::Line { points, colour, width } => {
            let points: Vec<(i32, i32)> = points.iter().copied().map(place).collect();
            let style = colour.stroke_width(px(*width).max(1) as u32);
            canvas.draw(&PathElement::new(points, style)).map_err(figure::fault)
        }
        Mark::Disc { at, radius, colour } => {
            let disc = Circle::new(place(*at), px(*radius), colour.filled());
            canvas.draw(&disc).map_err(figure::fault)
        }
        Mark::Text { at, text, size, colour, anchor, bold } => {
            let style =
                if *bold { figure::bold(*size, *colour) } else { figure::text(*size, *colour) };
            let horizontal = match anchor {
                Anchor::Start => HPos::Left,
                Anchor::Middle => HPos::Center,
                Anchor::End => HPos::Right,
            };
            let style = style.pos(Pos::new(horizontal, VPos::Center));
            canvas.draw(&Text::new(text.clone(), place(*at), style)).map_err(figure::fault)
        }
    }
}
