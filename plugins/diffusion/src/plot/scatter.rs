//! Data and samples side by side as clouds of points.

use isotropy_core::{Error, Evaluation, Plot, PlotConfig, Result, State, component, config};
use isotropy_plots::figure::plotters::prelude::{Circle, Color, RGBColor, Text};
use isotropy_plots::figure::plotters::style::text_anchor::{HPos, Pos, VPos};
use isotropy_plots::figure::{self, Canvas, fault, px};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use tch::{Device, Kind};

/// Data on the left, equally many samples on the right, with the same equal axes, which span the
/// data. Points in three dimensions are seen from above and from the front, points in four in two
/// planes. Samples outside of the frame or not finite are counted in a note.
#[config(default)]
#[derive(Clone)]
pub struct ScatterConfig {
    /// Name of the file, without extension.
    pub file: String,
    /// A line above the picture; may be empty.
    pub title: String,
    /// Most points drawn on each side.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub points: u32,
}

impl Default for ScatterConfig {
    fn default() -> Self {
        Self { file: "scatter".into(), title: String::new(), points: 4000 }
    }
}

#[component(
    "scatter",
    "data and samples side by side as clouds of points",
    r#"{"type": "scatter", "title": "Mixture of Gaussians"}"#
)]
impl PlotConfig for ScatterConfig {
    fn build(&self) -> Result<Box<dyn Plot>> {
        if self.file.is_empty() || self.file.contains(['/', '\\']) {
            return Err(Error::config("/file", "this must be a file name without folders"));
        }
        Ok(Box::new(self.clone()))
    }
}

/// Width of the picture in pixels.
const WIDTH: u32 = 1600;
/// Space of a panel's heading, in pixels.
const HEADING: f64 = 64.0;
/// Space of the title, in pixels.
const TITLE: f64 = 56.0;
/// Space around the plane of a panel for ticks and labels (width, height), in pixels.
const FRAME: (f64, f64) = (82.0, 70.0);
/// Radius of a point in pixels.
const RADIUS: f64 = 2.6;

/// Two coordinates that are drawn against each other.
struct View {
    axes: (usize, usize),
    names: (&'static str, &'static str),
}

fn views(dimension: usize) -> Result<Vec<View>> {
    let view = |axes, names| View { axes, names };
    match dimension {
        2 => Ok(vec![view((0, 1), ("x", "y"))]),
        3 => Ok(vec![view((0, 1), ("x", "y")), view((0, 2), ("x", "z"))]),
        4 => Ok(vec![view((0, 1), ("x1", "x2")), view((2, 3), ("x3", "x4"))]),
        _ => Err(Error::Unsupported(format!(
            "a scatter plot shows points with 2, 3 or 4 coordinates, and these have {dimension}"
        ))),
    }
}

/// One side of the picture.
struct Cloud {
    name: &'static str,
    colour: RGBColor,
    points: Vec<Vec<f64>>,
}

impl Cloud {
    fn new(name: &'static str, colour: RGBColor, state: &State, count: i64) -> Result<Self> {
        let rows = state.x().narrow(0, 0, count).flatten(1, -1);
        let rows = rows.to_kind(Kind::Double).to_device(Device::Cpu);
        Ok(Self { name, colour, points: Vec::try_from(rows)? })
    }

    /// The points in a plane, and how many of them lie outside of the ranges or are not finite.
    fn seen(&self, view: &View, x: &Range<f64>, y: &Range<f64>) -> (Vec<(f64, f64)>, u64, u64) {
        let (mut inside, mut outside, mut broken) = (Vec::new(), 0, 0);
        for point in &self.points {
            let at = (point[view.axes.0], point[view.axes.1]);
            if point.iter().any(|number| !number.is_finite()) {
                broken += 1;
            } else if x.contains(&at.0) && y.contains(&at.1) {
                inside.push(at);
            } else {
                outside += 1;
            }
        }
        (inside, outside, broken)
    }
}

/// The range of a coordinate of the data with a margin; `-1 .. 1` about a single value.
fn extent(points: &[Vec<f64>], axis: usize) -> Range<f64> {
    let finite = points.iter().map(|point| point[axis]).filter(|number| number.is_finite());
    let (low, high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    if low > high {
        return -1.0..1.0;
    }
    let margin = if high > low { 0.06 * (high - low) } else { 1.0 };
    low - margin..high + margin
}

impl Plot for ScatterConfig {
    fn file_stem(&self) -> String {
        self.file.clone()
    }

    fn draw(&self, evaluation: &Evaluation, path: &Path) -> Result<()> {
        let (samples, reference) = (evaluation.samples, evaluation.reference);
        let dimension = |state: &State| state.x().size()[1..].iter().product::<i64>() as usize;
        let views = views(dimension(reference))?;
        if dimension(samples) != dimension(reference) {
            return Err(Error::Unsupported("samples and data have different shapes".into()));
        }
        let count = i64::from(self.points).min(samples.batch_size()).min(reference.batch_size());
        let clouds = [
            Cloud::new("Data", figure::DATA, reference, count)?,
            Cloud::new("Samples", figure::SAMPLES, samples, count)?,
        ];

        // Planes as wide as the picture allows; flat clouds need less height.
        let plane_width = f64::from(WIDTH) / 2.0 - FRAME.0;
        let planes: Vec<Plane> = views
            .into_iter()
            .map(|view| Plane::new(view, &clouds[0].points, plane_width))
            .collect();
        let title = if self.title.is_empty() { 0.0 } else { TITLE };
        let rows: Vec<f64> = planes.iter().map(|plane| plane.height + FRAME.1).collect();
        let height = title + HEADING + rows.iter().sum::<f64>();

        figure::draw(path, (WIDTH, height.round() as u32), |canvas| {
            let (top, body) = canvas.split_vertically(px(title));
            if !self.title.is_empty() {
                let style =
                    figure::bold(30.0, figure::INK).pos(Pos::new(HPos::Center, VPos::Center));
                let middle = (px(f64::from(WIDTH) / 2.0), px(title / 2.0 + 6.0));
                top.draw(&Text::new(self.title.as_str(), middle, style)).map_err(fault)?;
            }
            let (left, right) = body.split_horizontally(px(f64::from(WIDTH) / 2.0));
            for (side, cloud) in [left, right].iter().zip(&clouds) {
                let (heading, mut rest) = side.split_vertically(px(HEADING));
                head(&heading, cloud, &planes)?;
                for (plane, row) in planes.iter().zip(&rows) {
                    let (panel, below) = rest.split_vertically(px(*row));
                    plane.paint(&panel, cloud, plane.opacity(&clouds[0]))?;
                    rest = below;
                }
            }
            Ok(())
        })
    }
}

/// Writes the name of a cloud with its colour, its size and what does not show.
fn head(area: &Canvas, cloud: &Cloud, planes: &[Plane]) -> Result<()> {
    let (x, y) = (px(FRAME.0 - 4.0), px(HEADING / 2.0 + 6.0));
    let mark = Circle::new((x + px(8.0), y), px(8.0), cloud.colour.filled());
    area.draw(&mark).map_err(fault)?;
    let middle = Pos::new(HPos::Left, VPos::Center);
    let name = figure::bold(26.0, figure::INK).pos(middle);
    let (width, _) = area.estimate_text_size(cloud.name, &name).map_err(fault)?;
    area.draw(&Text::new(cloud.name, (x + px(26.0), y + px(3.0)), name)).map_err(fault)?;

    let mut note = format!("{} points", figure::grouped(cloud.points.len() as u64));
    let (mut outside, mut broken) = (0, 0);
    for plane in planes {
        let (_, off, nan) = cloud.seen(&plane.view, &plane.x, &plane.y);
        (outside, broken) = (off.max(outside), nan);
    }
    for (count, what) in [(outside, "outside the frame"), (broken, "not finite")] {
        if count > 0 {
            note += &format!(", {} {what}", figure::grouped(count));
        }
    }
    let style = figure::text(19.0, figure::MUTED).pos(middle);
    let at = (x + px(44.0) + width as i32, y + px(4.0));
    area.draw(&Text::new(note, at, style)).map_err(fault)
}

/// The part of a plane that a panel shows.
struct Plane {
    view: View,
    x: Range<f64>,
    y: Range<f64>,
    /// Height in pixels.
    height: f64,
}

impl Plane {
    /// The part that holds the data, on `width` pixels.
    fn new(view: View, data: &[Vec<f64>], width: f64) -> Self {
        let (x, y) = (extent(data, view.axes.0), extent(data, view.axes.1));
        let ratio = (y.end - y.start) / (x.end - x.start);
        let height = width * ratio.clamp(0.4, 0.93);
        let (x, y) = figure::equal_units((width as u32, height as u32), x, y);
        Self { view, x, y, height }
    }

    /// How opaque points have to be so that density shows: fainter where most of them overlap. From
    /// the data, so that equal clouds look equal.
    fn opacity(&self, data: &Cloud) -> f64 {
        let (points, ..) = data.seen(&self.view, &self.x, &self.y);
        let size = 2.0 * RADIUS * (self.y.end - self.y.start) / self.height;
        let mut crowd: HashMap<(i64, i64), f64> = HashMap::new();
        for (x, y) in &points {
            *crowd.entry(((x / size).floor() as i64, (y / size).floor() as i64)).or_default() +=
                1.0;
        }
        // The mean over points of how many share a patch of the size of a point.
        let neighbours = crowd.values().map(|count| count * count).sum::<f64>();
        let neighbours = neighbours / points.len().max(1) as f64;
        (0.75 / neighbours.max(1.0).sqrt()).clamp(0.12, 0.75)
    }

    /// Draws axes and points.
    fn paint(&self, area: &Canvas, cloud: &Cloud, opacity: f64) -> Result<()> {
        let mut axes = figure::axes(area, self.x.clone(), self.y.clone(), self.view.names)?;
        let (points, ..) = cloud.seen(&self.view, &self.x, &self.y);
        let style = cloud.colour.mix(opacity).filled();
        let marks = points.into_iter().map(|point| Circle::new(point, px(RADIUS), style));
        axes.draw_series(marks).map_err(fault)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::testing::{evaluate, normal};
    use tch::Tensor;

    fn picture(samples: &Tensor, reference: &Tensor) -> Tensor {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scatter.png");
        let config = ScatterConfig { title: "Two clouds".into(), ..Default::default() };
        evaluate(samples, reference, |e| config.draw(e, &path)).unwrap();
        tch::vision::image::load(&path).unwrap()
    }

    /// Number of pixels in some columns of the picture that are bluer than red (data), or redder
    /// than blue (samples), by a lot.
    fn pixels(image: &Tensor, colour: RGBColor, columns: Range<i64>) -> i64 {
        let part = image.narrow(2, columns.start, columns.end - columns.start).to_kind(Kind::Int64);
        let sign = if colour == figure::DATA { 1 } else { -1 };
        let difference = (part.select(0, 2) - part.select(0, 0)) * sign;
        difference.gt(60).sum(Kind::Int64).int64_value(&[])
    }

    #[test]
    fn data_and_samples_are_drawn_each_on_their_side() {
        for dimension in [2, 3, 4] {
            let (a, b) = (normal(&[500, dimension], 1), normal(&[400, dimension], 2));
            let image = picture(&a, &b);
            let size = image.size();
            assert!(size[0] == 3 && size[2] == 1600 && size[1] > 700, "{size:?}");
            for (colour, own, other) in
                [(figure::DATA, 0..800, 800..1600), (figure::SAMPLES, 800..1600, 0..800)]
            {
                assert!(pixels(&image, colour, own) > 2000, "{dimension}-D: too few points");
                assert!(pixels(&image, colour, other) == 0, "{dimension}-D: wrong side");
            }
        }
    }

    #[test]
    fn broken_samples_do_not_break_the_picture() {
        let broken = normal(&[50, 2], 1) * f64::NAN;
        let image = picture(&broken, &normal(&[50, 2], 2));
        assert!(pixels(&image, figure::DATA, 0..800) > 500);
        let single = Tensor::zeros([1, 2], (Kind::Double, Device::Cpu));
        let _ = picture(&single, &single);
    }

    #[test]
    fn points_with_too_many_coordinates_are_refused_with_the_reason() {
        let x = normal(&[5, 7], 1);
        let error = evaluate(&x, &x, |e| {
            ScatterConfig::default().draw(e, Path::new("/nonexistent-folder/x.png"))
        });
        assert!(error.unwrap_err().to_string().contains("these have 7"));
    }
}
