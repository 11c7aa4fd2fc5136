//! Draws the density of the angle of rotation under IGSO(3) for several scales, closed form (lines)
//! against draws by the table (dots): `cargo run --release -p isotropy-brownian --example igso3 FILE`.

use isotropy_brownian::heat_kernel::HeatKernel;
use isotropy_core::{Error, Result, Space, Streams};
use isotropy_plots::figure::plotters::prelude::{Circle, Color, PathElement};
use isotropy_plots::figure::{OVERSAMPLING, PALETTE, axes, draw, fault, px, text};
use std::f64::consts::PI;
use std::path::Path;
use tch::{Device, Kind, Tensor};

const SCALES: [f64; 5] = [0.1, 0.3, 0.7, 1.2, 3.0];
const BINS: usize = 48;
const DRAWS: i64 = 400_000;

fn main() -> Result<()> {
    let path = std::env::args().nth(1);
    let path = path.ok_or_else(|| Error::Other("the name of a PNG file is missing".into()))?;
    let kernel = HeatKernel::new(Space::Rotations)?;
    let options = (Kind::Double, Device::Cpu);
    draw(Path::new(&path), (900, 520), |canvas| {
        let labels = ("angle of rotation (radians)", "density of the angle");
        let mut chart = axes(canvas, 0.0..PI, 0.0..6.2, labels)?;
        for (k, eps) in SCALES.into_iter().enumerate() {
            let scale = Tensor::from(eps).view([1, 1]);
            let angle = Tensor::linspace(0.0, PI, 700, options);
            let density = kernel.density(&angle, &scale.view([1])) * kernel.measure(&angle);
            let point = |i: i64| (angle.double_value(&[i]), density.double_value(&[i]));
            let points: Vec<(f64, f64)> = (0..700).map(point).collect();
            let colour = PALETTE[k];
            let line = PathElement::new(points, colour.stroke_width(2 * OVERSAMPLING));
            chart
                .draw_series(std::iter::once(line))
                .map_err(fault)?
                .label(format!("eps = {eps}"))
                .legend(move |(x, y)| {
                    PathElement::new(
                        [(x, y), (x + px(18.0), y)],
                        colour.stroke_width(2 * OVERSAMPLING),
                    )
                });
            let z = Streams::new(1).stream("draws", k as u64).normal(&[DRAWS, 3], options);
            let (xi, _) = kernel.noise(&z, &scale);
            let counts = xi.norm_scalaropt_dim(2, [-1], false).histc(BINS as i64);
            let longest = xi.norm_scalaropt_dim(2, [-1], false);
            let (low, high) = (longest.min().double_value(&[]), longest.max().double_value(&[]));
            let width = (high - low) / BINS as f64;
            let dots = (0..BINS).map(|b| {
                let density = counts.double_value(&[b as i64]) / (DRAWS as f64 * width);
                let place = (low + (b as f64 + 0.5) * width, density);
                Circle::new(place, px(2.5), colour.filled())
            });
            chart.draw_series(dots).map_err(fault)?;
        }
        chart
            .configure_series_labels()
            .legend_area_size(px(30.0))
            .label_font(text(19.0, isotropy_plots::figure::INK))
            .border_style(isotropy_plots::figure::GRID)
            .background_style(isotropy_plots::figure::PAPER)
            .draw()
            .map_err(fault)
    })
}
