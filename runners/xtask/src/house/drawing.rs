//! The drawing of [`House`]: a row of boxes for each step of the way down, a band for each layer, curves for imports.
//!
//! Layers of Sugiyama's kind: an import that passes a row gets a place of its own there, places of a row are ordered by
//! the mean of what they are joined to, and then moved towards it.

use std::fmt::Write as _;

use super::{House, Layer};

const BOX: (f64, f64) = (158.0, 30.0);
/// Between rows, from middle to middle.
const ROW: f64 = 74.0;
/// Between the sides of two places of a row.
const GAP: f64 = 18.0;
/// Room on the left for the names of the bands.
const LEFT: f64 = 96.0;
const SWEEPS: usize = 24;
const CURVE: &str = "fill=\"none\" stroke=\"#667788\" stroke-width=\"1.4\"";

/// A box, or the place where an import passes a row.
struct Place {
    /// The crate; none where an import passes.
    of: Option<usize>,
    row: usize,
    x: f64,
    above: Vec<usize>,
    below: Vec<usize>,
}

impl Place {
    fn width(&self) -> f64 {
        if self.of.is_some() { BOX.0 } else { 8.0 }
    }
}

/// The text of the file.
pub(super) fn svg(house: &House) -> String {
    let reduced = house.reduced();
    let (rows, bands) = rows(house, &reduced);
    let mut places = places(&rows, &reduced);
    let count = rows.iter().max().map_or(0, |row| row + 1);
    let mut order: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (k, place) in places.iter().enumerate() {
        order[place.row].push(k);
    }
    for row in &order {
        spread(row, &mut places, |_, middle| middle);
    }
    for sweep in 0..SWEEPS {
        // Downwards by what is above, upwards by what is below.
        let down = sweep % 2 == 0;
        for step in 0..count {
            let row = if down { count - 1 - step } else { step };
            let wanted = |places: &[Place], k: usize| {
                let joined = if down { &places[k].above } else { &places[k].below };
                let sum: f64 = joined.iter().map(|j| places[*j].x).sum();
                if joined.is_empty() { places[k].x } else { sum / joined.len() as f64 }
            };
            if sweep < SWEEPS / 2 {
                order[row].sort_by(|a, b| wanted(&places, *a).total_cmp(&wanted(&places, *b)));
            }
            let targets: Vec<f64> = order[row].iter().map(|k| wanted(&places, *k)).collect();
            spread(&order[row], &mut places, |i, _| targets[i]);
        }
    }
    written(house, &places, count, &bands)
}

/// The row of each crate, counted from below, and the rows of each layer.
fn rows(house: &House, reduced: &[Vec<usize>]) -> (Vec<usize>, Vec<(Layer, usize, usize)>) {
    let mut rows = vec![0; reduced.len()];
    let (mut bands, mut first) = (Vec::new(), 0);
    for layer in Layer::ALL {
        let members: Vec<usize> =
            (0..rows.len()).filter(|k| house.crates[*k].layer == layer).collect();
        let Some(_) = members.first() else { continue };
        members.iter().for_each(|k| rows[*k] = first);
        // Cargo allows no circles, so this ends.
        let mut moved = true;
        while moved {
            moved = false;
            for k in &members {
                let lowest = reduced[*k].iter().map(|of| rows[*of] + 1).max().unwrap_or(0);
                if lowest > rows[*k] {
                    (rows[*k], moved) = (lowest, true);
                }
            }
        }
        let last = members.iter().map(|k| rows[*k]).max().unwrap_or(first);
        bands.push((layer, first, last));
        first = last + 1;
    }
    (rows, bands)
}

fn places(rows: &[usize], reduced: &[Vec<usize>]) -> Vec<Place> {
    let place = |of, row| Place { of, row, x: 0.0, above: Vec::new(), below: Vec::new() };
    let mut places: Vec<Place> =
        rows.iter().enumerate().map(|(k, row)| place(Some(k), *row)).collect();
    for (k, imports) in reduced.iter().enumerate() {
        for of in imports {
            let mut upper = k;
            for row in (rows[*of] + 1..rows[k]).rev() {
                places.push(place(None, row));
                let passing = places.len() - 1;
                join(&mut places, upper, passing);
                upper = passing;
            }
            join(&mut places, upper, *of);
        }
    }
    places
}

fn join(places: &mut [Place], upper: usize, lower: usize) {
    places[upper].below.push(lower);
    places[lower].above.push(upper);
}

/// Puts the places of a row where they want to be, as far as they leave room for one another.
fn spread(row: &[usize], places: &mut [Place], wanted: impl Fn(usize, f64) -> f64) {
    let (mut at, mut end) = (Vec::with_capacity(row.len()), f64::NEG_INFINITY);
    for (i, k) in row.iter().enumerate() {
        let half = places[*k].width() / 2.0;
        let x = wanted(i, places[*k].x).max(end + GAP + half);
        at.push(x);
        end = x + half;
    }
    // Pushing to the right alone would drift: the row as a whole goes back by what it was pushed.
    let pushed: f64 = at.iter().enumerate().map(|(i, x)| x - wanted(i, places[row[i]].x)).sum();
    let shift = pushed / row.len().max(1) as f64;
    for (k, x) in row.iter().zip(at) {
        places[*k].x = x - shift;
    }
}

fn written(
    house: &House,
    places: &[Place],
    count: usize,
    bands: &[(Layer, usize, usize)],
) -> String {
    let edge = |sign: f64| {
        let ends = places.iter().map(|p| sign * p.x + p.width() / 2.0);
        ends.fold(f64::NEG_INFINITY, f64::max)
    };
    let (width, height) = (LEFT + edge(-1.0) + edge(1.0) + 2.0 * GAP, ROW * count as f64 + GAP);
    let x = |place: &Place| LEFT + GAP + edge(-1.0) + place.x;
    let y = |row: usize| GAP / 2.0 + ROW * (count - 1 - row) as f64 + ROW / 2.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"sans-serif\" font-size=\"14\">\n\
         <title>The crates and their imports</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    // Writing to a String cannot fail.
    for (layer, first, last) in bands {
        let (top, rows) = (y(*last) - ROW / 2.0 + 4.0, (last - first + 1) as f64);
        let _ = writeln!(
            text,
            "<rect x=\"6\" y=\"{top:.0}\" width=\"{:.0}\" height=\"{:.0}\" rx=\"6\" fill=\"{}\"/>\n\
             <text x=\"18\" y=\"{:.0}\" fill=\"#444444\" font-weight=\"bold\">{}</text>",
            width - 12.0,
            ROW * rows - 8.0,
            band(*layer),
            top + ROW * rows / 2.0 + 1.0,
            layer.title()
        );
    }
    let half = BOX.1 / 2.0;
    for upper in places {
        let a = x(upper);
        if upper.of.is_none() {
            let (top, bottom) = (y(upper.row) - half, y(upper.row) + half);
            let _ = writeln!(text, "<path d=\"M{a:.0} {top:.0} V{bottom:.0}\" {CURVE}/>");
        }
        for lower in upper.below.iter().map(|k| &places[*k]) {
            let (b, from, to) = (x(lower), y(upper.row) + half, y(lower.row) - half);
            let middle = f64::midpoint(from, to);
            let _ = writeln!(
                text,
                "<path d=\"M{a:.0} {from:.0} C{a:.0} {middle:.0} {b:.0} {middle:.0} {b:.0} \
                 {to:.0}\" {CURVE}/>"
            );
        }
    }
    for place in places {
        let Some(of) = place.of else { continue };
        let (left, top) = (x(place) - BOX.0 / 2.0, y(place.row) - BOX.1 / 2.0);
        let _ = writeln!(
            text,
            "<rect x=\"{left:.0}\" y=\"{top:.0}\" width=\"{}\" height=\"{}\" rx=\"4\" \
             fill=\"#ffffff\" stroke=\"#445566\"/>\n\
             <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
            BOX.0,
            BOX.1,
            x(place),
            y(place.row) + 5.0,
            house.crates[of].name
        );
    }
    text + "</svg>\n"
}

/// The colour behind a layer.
fn band(layer: Layer) -> &'static str {
    match layer {
        Layer::Core => "#eef1f4",
        Layer::Block => "#e6f0fa",
        Layer::Family => "#e9f5ea",
        Layer::Runner => "#faf1e3",
    }
}
