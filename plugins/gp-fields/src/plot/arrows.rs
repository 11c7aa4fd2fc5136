//! Vector fields as arrows: truth, what is known, mean, spread and samples; on the plane or as a map of the globe.

use super::panels::{Function, Rows, checked_name, extent, head};
use crate::metric::draws::grouped;
use isotropy_core::{Error, Evaluation, Plot, PlotConfig, Result, component, config};
use isotropy_plots::figure::plotters::prelude::{Circle, Color, PathElement, Polygon, RGBColor};
use isotropy_plots::figure::{self, Axes, Canvas, DATA, INK, SAMPLES, fault, px};
use std::ops::Range;
use std::path::Path;

/// One vector field: truth, known values, mean and spread of the samples, and three samples. Fields on the unit sphere
/// (three coordinates) are drawn over longitude and latitude, with the components east and north. All panels have the
/// same scale of arrows. Draw several samples of each field with `sampling.repeats`.
#[config(default)]
#[derive(Clone)]
pub struct VectorFieldPlotConfig {
    /// Name of the file, without extension.
    pub file: String,
    /// Which test field is drawn, counted from 0.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub field: u32,
    /// What the horizontal axis of a plane is called.
    pub x_label: String,
    /// What the vertical axis of a plane is called.
    pub y_label: String,
    /// What lengths of arrows are multiplied by for the notes: the unit of the values.
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub unit: f64,
    /// The name of that unit.
    pub unit_name: String,
}

impl Default for VectorFieldPlotConfig {
    fn default() -> Self {
        Self {
            file: "vector_field".into(),
            field: 0,
            x_label: String::new(),
            y_label: String::new(),
            unit: 1.0,
            unit_name: String::new(),
        }
    }
}

#[component(
    "vector-field",
    "a vector field as arrows: truth, known values, mean, spread, samples; on the plane or the globe",
    r#"{"type": "vector-field"}"#
)]
impl PlotConfig for VectorFieldPlotConfig {
    fn build(&self) -> Result<Box<dyn Plot>> {
        checked_name(&self.file)?;
        Ok(Box::new(self.clone()))
    }
}

/// Width of a panel in pixels.
const PANEL: f64 = 460.0;
/// Space of a panel's heading, in pixels.
const HEADING: f64 = 40.0;
/// Space of ticks and labels (width, height), in pixels.
const FRAME: (f64, f64) = (66.0, 56.0);

/// A point of the picture.
type Place = (f64, f64);

/// Where points lie in the picture, and vectors there.
struct Chart {
    globe: bool,
    /// Longitudes are counted from here, so that a box that crosses the last one is not torn apart.
    west: f64,
}

impl Chart {
    fn new(points: &Rows) -> Result<Self> {
        match points.first().map_or(2, Vec::len) {
            2 => Ok(Self { globe: false, west: 0.0 }),
            3 => {
                // The middle of the points; half a turn away nothing lies.
                let sum = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p[0], y + p[1]));
                Ok(Self { globe: true, west: f64::atan2(sum.1, sum.0).to_degrees() - 180.0 })
            }
            p => Err(Error::Unsupported(format!(
                "this picture shows fields on the plane or the sphere, and points have {p} coordinates"
            ))),
        }
    }

    fn place(&self, point: &[f64]) -> Place {
        if !self.globe {
            return (point[0], point[1]);
        }
        let longitude = f64::atan2(point[1], point[0]).to_degrees();
        (
            self.west + (longitude - self.west).rem_euclid(360.0),
            point[2].clamp(-1.0, 1.0).asin().to_degrees(),
        )
    }

    /// The components to the right and up of a vector at a point.
    fn vector(&self, point: &[f64], value: &[f64]) -> Place {
        if !self.globe {
            return (value[0], value[1]);
        }
        let flat = f64::hypot(point[0], point[1]).max(1e-12);
        let (cos, sin) = (point[0] / flat, point[1] / flat);
        let east = cos * value[1] - sin * value[0];
        let north = flat * value[2] - point[2] * (cos * value[0] + sin * value[1]);
        (east, north)
    }
}

/// Arrows of a panel.
struct Arrows {
    from: Vec<Place>,
    by: Vec<Place>,
    colour: RGBColor,
}

impl Plot for VectorFieldPlotConfig {
    fn file_stem(&self) -> String {
        self.file.clone()
    }

    fn draw(&self, evaluation: &Evaluation, path: &Path) -> Result<()> {
        let draws = grouped(evaluation)?;
        let fields = draws.given.batch_size();
        if i64::from(self.field) >= fields {
            let message =
                format!("field {} was asked for; samples are of {fields} fields", self.field);
            return Err(Error::config("/field", message));
        }
        let field = Function::of(&draws, i64::from(self.field))?;
        let chart = Chart::new(&field.index)?;
        let d = field.truth.first().map_or(0, Vec::len);
        if d != if chart.globe { 3 } else { 2 } {
            return Err(Error::Unsupported(format!(
                "this picture shows vectors, and values have {d} components"
            )));
        }
        let places: Vec<Place> = field.index.iter().map(|point| chart.place(point)).collect();
        let known: Vec<Place> = field.known_index.iter().map(|point| chart.place(point)).collect();
        let (x, y) = (
            extent(places.iter().chain(&known).map(|p| p.0), 0.06),
            extent(places.iter().chain(&known).map(|p| p.1), 0.06),
        );
        let plane = (PANEL - FRAME.0, 0.0);
        let height =
            (plane.0 * (y.end - y.start) / (x.end - x.start)).clamp(0.45 * PANEL, 1.1 * PANEL);
        let (x, y) = figure::equal_units((plane.0 as u32, height as u32), x, y);
        // A long true arrow (nine in ten are shorter) reaches from one point to the next.
        let arrows = |values: &Rows, colour| Arrows {
            from: places.clone(),
            by: field.index.iter().zip(values).map(|(p, v)| chart.vector(p, v)).collect(),
            colour,
        };
        let given = Arrows {
            from: known.clone(),
            by: field
                .known_index
                .iter()
                .zip(&field.known)
                .map(|(p, v)| chart.vector(p, v))
                .collect(),
            colour: INK,
        };
        let truth = arrows(&field.truth, DATA);
        let all = (places.len() + known.len()).max(1) as f64;
        let apart = ((x.end - x.start) * (y.end - y.start) / all).sqrt();
        let mut lengths: Vec<f64> = truth.by.iter().map(|v| f64::hypot(v.0, v.1)).collect();
        lengths.sort_by(f64::total_cmp);
        let longest = lengths.last().copied().unwrap_or(0.0);
        let long = lengths.get(lengths.len() * 9 / 10).copied().unwrap_or(0.0);
        let scale = 1.2 * apart / long.max(1e-12);
        let spread: Vec<f64> = field
            .std()
            .iter()
            .map(|row| {
                (row.iter().map(|s| s * s).sum::<f64>() / if chart.globe { 2.0 } else { d as f64 })
                    .sqrt()
            })
            .collect();
        let largest = spread.iter().copied().fold(0.0, f64::max);

        let (lines, columns) = (2, 4);
        let panel_height = HEADING + height + FRAME.1;
        let size = ((PANEL * columns as f64) as u32, (panel_height * lines as f64) as u32);
        figure::draw(path, size, |canvas| {
            let areas = canvas.split_evenly((lines, columns));
            let panel = |k: usize, name: &str, note: &str| -> Result<Axes> {
                let (heading, below) = areas[k].split_vertically(px(HEADING));
                head(&heading, name, note, (58.0, HEADING / 2.0 + 4.0))?;
                self.axes_of(&below, &chart, &x, &y)
            };
            let speed = self.number(longest);
            let mut axes = panel(0, "Truth", &format!("longest arrow {speed}"))?;
            draw_arrows(&mut axes, &truth, scale)?;
            let mut axes = panel(1, "Known", &format!("{} points", known.len()))?;
            let dots = known.iter().map(|&at| Circle::new(at, px(2.5), INK.filled()));
            axes.draw_series(dots).map_err(fault)?;
            draw_arrows(&mut axes, &given, scale)?;
            let mut note = format!("of {} samples", field.samples.len());
            if field.broken > 0 {
                note += &format!(", {} not finite", field.broken);
            }
            let mut axes = panel(2, "Mean", &note)?;
            draw_arrows(&mut axes, &arrows(&field.mean(), SAMPLES), scale)?;
            let mut axes = panel(
                3,
                "Spread",
                &format!("a component's std, at most {}", self.number(largest)),
            )?;
            let disks = places.iter().zip(&spread).map(|(&at, s)| {
                let share = s / largest.max(1e-12);
                Circle::new(at, px(2.0 + 5.0 * share), SAMPLES.mix(0.15 + 0.7 * share).filled())
            });
            axes.draw_series(disks).map_err(fault)?;
            for (k, sample) in field.samples.iter().take(3).enumerate() {
                let mut axes = panel(4 + k, &format!("Sample {}", k + 1), "")?;
                draw_arrows(&mut axes, &arrows(sample, SAMPLES), scale)?;
            }
            Ok(())
        })
    }
}

impl VectorFieldPlotConfig {
    fn number(&self, value: f64) -> String {
        format!("{:.3} {}", value * self.unit, self.unit_name).trim_end().to_string()
    }

    fn axes_of<'a>(
        &self,
        area: &Canvas<'a>,
        chart: &Chart,
        x: &Range<f64>,
        y: &Range<f64>,
    ) -> Result<Axes<'a>> {
        let labels = match chart.globe {
            true => ("longitude (degrees)", "latitude (degrees)"),
            false => (self.x_label.as_str(), self.y_label.as_str()),
        };
        figure::axes(area, x.clone(), y.clone(), labels)
    }
}

/// Shafts with filled heads.
fn draw_arrows(axes: &mut Axes, arrows: &Arrows, scale: f64) -> Result<()> {
    let pairs = || {
        arrows
            .from
            .iter()
            .zip(&arrows.by)
            .map(|(&(x, y), &(u, v))| ((x, y), (u * scale, v * scale)))
    };
    let shaft = arrows.colour.stroke_width(3);
    let shafts = pairs()
        .map(|((x, y), (u, v))| PathElement::new([(x, y), (x + 0.8 * u, y + 0.8 * v)], shaft));
    axes.draw_series(shafts).map_err(fault)?;
    // A head is a third of its arrow long and as wide as half of that to each side.
    let heads = pairs().map(|((x, y), (u, v))| {
        let (tip, back) = ((x + u, y + v), (x + 0.67 * u, y + 0.67 * v));
        let side = (-0.16 * v, 0.16 * u);
        Polygon::new(
            [tip, (back.0 + side.0, back.1 + side.1), (back.0 - side.0, back.1 - side.1)],
            arrows.colour.filled(),
        )
    });
    axes.draw_series(heads).map_err(fault)?;
    Ok(())
}
