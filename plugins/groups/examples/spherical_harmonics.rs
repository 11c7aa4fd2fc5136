//! Draws the real spherical harmonics up to degree 4, as surfaces at the distance `|Y|` in every
//! direction, blue where `Y > 0` and orange where `Y < 0`:
//!
//! `cargo run --release -p isotropy-groups --example spherical_harmonics -- PICTURE.png`

use isotropy_core::{Error, Result};
use isotropy_groups::irreps::{Normalisation, spherical_harmonics};
use isotropy_plots::figure::plotters::prelude::{Color, PathElement, Polygon, RGBColor, Text};
use isotropy_plots::figure::plotters::style::text_anchor::{HPos, Pos, VPos};
use isotropy_plots::figure::{self, Canvas, DATA, INK, MUTED, SAMPLES, fault, px};
use std::f64::consts::PI;
use std::path::Path;
use tch::{Kind, Tensor};

/// Side of a cell and margins, in pixels of the picture.
const CELL: f64 = 92.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 44.0;
const TOP: f64 = 14.0;
/// Lines of latitude and longitude.
const RINGS: usize = 90;
const SECTORS: usize = 180;

type Vector = [f64; 3];

fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn minus(a: Vector, b: Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn unit(a: Vector) -> Vector {
    let length = dot(a, a).sqrt().max(1e-12);
    a.map(|x| x / length)
}

/// Right, up and towards the eye.
fn camera() -> [Vector; 3] {
    let (azimuth, height) = (35f64.to_radians(), 22f64.to_radians());
    let eye = [azimuth.cos() * height.cos(), azimuth.sin() * height.cos(), height.sin()];
    let right = unit(cross([0.0, 0.0, 1.0], eye));
    [right, cross(eye, right), eye]
}

/// Directions of the grid, ring by ring.
fn directions() -> Vec<Vector> {
    let mut all = Vec::with_capacity((RINGS + 1) * SECTORS);
    for i in 0..=RINGS {
        let theta = PI * i as f64 / RINGS as f64;
        for j in 0..SECTORS {
            let phi = 2.0 * PI * j as f64 / SECTORS as f64;
            all.push([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()]);
        }
    }
    all
}

/// A colour between itself and black (below 0) or white (above 0).
fn shade(colour: RGBColor, amount: f64) -> RGBColor {
    let mix = |c: u8| {
        let c = f64::from(c);
        let mixed = if amount < 0.0 { c * (1.0 + amount) } else { c + (255.0 - c) * amount };
        mixed.clamp(0.0, 255.0) as u8
    };
    RGBColor(mix(colour.0), mix(colour.1), mix(colour.2))
}

/// Quadrangles from back to front: depth, corners on the canvas, colour.
fn surface(
    values: &[f64],
    grid: &[Vector],
    centre: (f64, f64),
) -> Vec<([(i32, i32); 4], RGBColor)> {
    let [right, up, eye] = camera();
    let light = unit([
        right[0] * -0.4 + up[0] * 0.7 + eye[0],
        right[1] * -0.4 + up[1] * 0.7 + eye[1],
        up[2] * 0.7 + eye[2],
    ]);
    let largest = values.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    let size = 0.46 * CELL / largest;
    let at = |i: usize, j: usize| {
        let k = i * SECTORS + j % SECTORS;
        (grid[k].map(|x| x * values[k].abs()), values[k])
    };
    let place = |p: Vector| (px(centre.0 + size * dot(p, right)), px(centre.1 - size * dot(p, up)));
    let mut faces = Vec::with_capacity(RINGS * SECTORS);
    for i in 0..RINGS {
        for j in 0..SECTORS {
            let corners = [at(i, j), at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)];
            let points = corners.map(|(p, _)| p);
            let mean: f64 = corners.iter().map(|(_, v)| v).sum();
            let normal = unit(cross(minus(points[2], points[0]), minus(points[3], points[1])));
            // Both sides are lit alike: at the poles the orientation is lost.
            let lit = dot(normal, light).abs();
            let colour = shade(if mean >= 0.0 { DATA } else { SAMPLES }, 0.75 * lit - 0.35);
            let depth: f64 = points.iter().map(|&p| dot(p, eye)).sum();
            faces.push((depth, points.map(place), colour));
        }
    }
    faces.sort_by(|a, b| a.0.total_cmp(&b.0));
    faces.into_iter().map(|(_, corners, colour)| (corners, colour)).collect()
}

fn label(canvas: &Canvas, text: &str, at: (f64, f64)) -> Result<()> {
    let style = figure::text(14.0, INK).pos(Pos::new(HPos::Center, VPos::Center));
    canvas.draw(&Text::new(text.to_string(), (px(at.0), px(at.1)), style)).map_err(fault)
}

/// The three axes as they are seen.
fn axes(canvas: &Canvas, centre: (f64, f64)) -> Result<()> {
    let [right, up, _] = camera();
    for (k, name) in ["x", "y", "z"].into_iter().enumerate() {
        let mut axis = [0.0; 3];
        axis[k] = 1.0;
        let at =
            |length: f64| (centre.0 + length * dot(axis, right), centre.1 - length * dot(axis, up));
        let (end, tip) = (at(34.0), at(44.0));
        let line = [centre, end].map(|(x, y)| (px(x), px(y)));
        let element = PathElement::new(line, MUTED.stroke_width(px(1.5) as u32));
        canvas.draw(&element).map_err(fault)?;
        label(canvas, name, tip)?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| Error::Other("which file?".into()))?;
    let grid = directions();
    let flat: Vec<f64> = grid.iter().flatten().copied().collect();
    let v = Tensor::from_slice(&flat).view([-1, 3]);
    let harmonics = spherical_harmonics(4, &v, Normalisation::Integral).to_kind(Kind::Double);
    let size = ((LEFT + 9.0 * CELL + 10.0) as u32, (TOP + 5.0 * CELL + BOTTOM) as u32);
    figure::draw(Path::new(&path), size, |canvas| {
        for l in 0..=4i64 {
            let row = TOP + (l as f64 + 0.5) * CELL;
            label(canvas, &format!("l = {l}"), (LEFT * 0.5, row))?;
            for m in -l..=l {
                let values = Vec::<f64>::try_from(harmonics.select(-1, l * l + l + m))?;
                let column = LEFT + (m as f64 + 4.5) * CELL;
                for (corners, colour) in surface(&values, &grid, (column, row)) {
                    canvas.draw(&Polygon::new(corners, colour.filled())).map_err(fault)?;
                    // The outline closes the seams between faces.
                    let outline = PathElement::new([corners, corners].concat(), colour.filled());
                    canvas.draw(&outline).map_err(fault)?;
                }
            }
        }
        for m in -4..=4i64 {
            let column = LEFT + (m as f64 + 4.5) * CELL;
            let text = if m == 0 { "m = 0".to_string() } else { format!("{m:+}") };
            label(canvas, &text.replace('-', "\u{2212}"), (column, TOP + 5.0 * CELL + 22.0))?;
        }
        axes(canvas, (LEFT + 0.7 * CELL, TOP + 0.7 * CELL))
    })
}
