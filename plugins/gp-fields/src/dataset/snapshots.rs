//! Fields on a grid of latitudes and longitudes at many times, and boxes cut from them.

use super::globe::{EARTH_RADIUS_KM, Frame, chart, transport};
use isotropy_core::{Error, Result, Stream, config};
use std::f64::consts::PI;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// Where the points of a box lie.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Surface {
    /// On the plane that touches the globe at the middle of the box (azimuthal equidistant chart), winds moved there
    /// along great circles: points `[N, 2]` (east, north), winds `[N, 2]`. The group E(2) acts.
    #[default]
    Plane,
    /// On the unit sphere: points `[N, 3]`, winds `[N, 3]`, tangent to it. The group SO(3) acts.
    Sphere,
    /// Longitude and latitude, each standardised over the grid, and the wind's components east and north as they are
    /// (geomndp.md 2.3): no rotation acts, and a box that crosses the last longitude is torn apart.
    PublishedDegrees,
}

impl Surface {
    /// Coordinates of points.
    pub fn dimension(self) -> i64 {
        match self {
            Self::Plane | Self::PublishedDegrees => 2,
            Self::Sphere => 3,
        }
    }

    /// Components of winds.
    pub fn components(self) -> i64 {
        self.dimension()
    }
}

/// Winds (and numbers) at the nodes of a grid.
#[derive(Debug)]
pub struct Snapshots {
    /// `[T, L, W, c]`: numbers, then perhaps the wind east and north; NaN where one is missing.
    pub values: Tensor,
    /// Latitudes `[L]` in radians, double precision.
    pub latitudes: Tensor,
    /// Longitudes `[W]` in radians, double precision.
    pub longitudes: Tensor,
    /// Whether the last two channels are a wind.
    pub wind: bool,
    /// Whether the longitudes go round the globe, so that a box may cross the last of them.
    pub wraps: bool,
    /// Whether longitudes grow along the grid.
    pub eastwards: bool,
}

/// A box of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Latitudes of a box.
    pub rows: i64,
    /// Longitudes of a box.
    pub columns: i64,
}

/// Fields on boxes.
#[derive(Debug)]
pub struct Boxes {
    /// `[B, N, p]` in double precision: radians of arc on the plane, or unit vectors.
    pub index: Tensor,
    /// `[B, N, c']`: numbers, then perhaps the wind in 2 or 3 components; 0 where something is missing.
    pub values: Tensor,
    /// `[B, N]`: 1 where nothing is missing.
    pub there: Tensor,
}

impl Snapshots {
    /// Values `[T, L, W, c]` over evenly spaced latitudes and longitudes in degrees.
    pub fn new(values: Tensor, latitudes: &[f64], longitudes: &[f64], wind: bool) -> Self {
        let radians = |degrees: &[f64]| Tensor::from_slice(degrees) * (PI / 180.0);
        let n = longitudes.len();
        let step = (longitudes[n - 1] - longitudes[0]) / (n.max(2) - 1) as f64;
        Self {
            values,
            latitudes: radians(latitudes),
            longitudes: radians(longitudes),
            wind,
            wraps: n > 2 && (step.abs() * n as f64 - 360.0).abs() < 0.01 * step.abs(),
            eastwards: step > 0.0,
        }
    }

    /// Number of times.
    pub fn times(&self) -> i64 {
        self.values.size()[0]
    }

    /// Number of latitudes and of longitudes.
    pub fn grid(&self) -> (i64, i64) {
        (self.values.size()[1], self.values.size()[2])
    }

    /// Whether a value of some time and node is missing, `[T, L, W]`.
    pub fn missing(&self) -> Tensor {
        self.values.isnan().any_dim(-1, false)
    }

    /// Latitudes between two bounds in degrees: the first and the number of them. The poles themselves are left out,
    /// because all their nodes are one point.
    ///
    /// # Errors
    /// `Config` at `pointer` when there is none.
    pub fn rows_between(&self, south: f64, north: f64, pointer: &str) -> Result<Range<i64>> {
        let degrees: Vec<f64> = Vec::try_from(&self.latitudes * (180.0 / PI))?;
        let inside = |x: f64| x >= south - 1e-9 && x <= north + 1e-9 && x.abs() < 90.0 - 1e-9;
        let first = degrees.iter().position(|&x| inside(x));
        let last = degrees.iter().rposition(|&x| inside(x));
        match (first, last) {
            (Some(first), Some(last)) => Ok(first as i64..last as i64 + 1),
            _ => Err(Error::config(
                pointer,
                format!("no latitude of the grid lies between {south} and {north}"),
            )),
        }
    }

    /// Boxes at times `[B]` with their first row and column at `row` and `column` (`[B]`, all `Int64` on the device).
    pub fn boxes(
        &self,
        window: Window,
        times: &Tensor,
        row: &Tensor,
        column: &Tensor,
        surface: Surface,
    ) -> Boxes {
        let (all_rows, all_columns) = self.grid();
        let device = self.values.device();
        let integers = |n: i64| Tensor::arange(n, (Kind::Int64, device));
        let rows = row.unsqueeze(1) + integers(window.rows);
        let columns = (column.unsqueeze(1) + integers(window.columns)).remainder(all_columns);
        let nodes = times.view([-1, 1, 1]) * (all_rows * all_columns)
            + rows.unsqueeze(2) * all_columns
            + columns.unsqueeze(1);
        let (batch, n) = (times.size()[0], window.rows * window.columns);
        let channels = self.values.size()[3];
        let values = self
            .values
            .view([-1, channels])
            .index_select(0, &nodes.reshape([-1]))
            .view([batch, n, channels]);
        let there = values.isnan().any_dim(-1, false).logical_not();
        let values = values.where_self(&there.unsqueeze(-1), &values.zeros_like());

        let spread = |angles: Tensor, axis: i64| {
            let angles = angles.unsqueeze(3 - axis);
            angles.expand([batch, window.rows, window.columns], false).reshape([batch, n])
        };
        let latitude =
            self.latitudes.index_select(0, &rows.reshape([-1])).view([batch, window.rows]);
        let longitude =
            self.longitudes.index_select(0, &columns.reshape([-1])).view([batch, window.columns]);
        let here =
            Frame::at(&spread(latitude.shallow_clone(), 1), &spread(longitude.shallow_clone(), 2));
        let scalars = if self.wind { channels - 2 } else { channels };
        let wind = |turn: &dyn Fn(&Tensor) -> Tensor| {
            self.wind.then(|| {
                let components = values.narrow(-1, scalars, 2).to_kind(Kind::Double);
                turn(&here.tangent(&components)).to_kind(values.kind())
            })
        };
        let (index, wind) = match surface {
            Surface::Sphere => (here.point.shallow_clone(), wind(&Tensor::shallow_clone)),
            Surface::Plane => {
                let middle = |angles: &Tensor, way: Tensor| angles.narrow(1, 0, 1) + way / 2.0;
                let way = |angles: &Tensor| {
                    angles.narrow(1, angles.size()[1] - 1, 1) - angles.narrow(1, 0, 1)
                };
                let centre = Frame::at(
                    &middle(&latitude, way(&latitude)),
                    &middle(&longitude, self.onwards(&way(&longitude))),
                );
                let moved = wind(&|v| transport(&centre, &here.point, v));
                (chart(&centre, &here.point), moved)
            }
            Surface::PublishedDegrees => {
                let standard =
                    |here: &Tensor, all: &Tensor| (here - all.mean(None)) / all.std(false);
                let index = Tensor::stack(
                    &[
                        standard(&spread(longitude, 2), &self.longitudes),
                        standard(&spread(latitude, 1), &self.latitudes),
                    ],
                    -1,
                );
                (index, wind(&|v| here.components(v)))
            }
        };
        let values = match wind {
            None => values,
            Some(wind) if scalars == 0 => wind,
            Some(wind) => Tensor::cat(&[values.narrow(-1, 0, scalars), wind], -1),
        };
        Boxes { index, there: there.to_kind(values.kind()), values }
    }

    /// A difference of longitudes along the direction in which the grid counts them: a box may cross the last of them.
    fn onwards(&self, way: &Tensor) -> Tensor {
        match (self.wraps, self.eastwards) {
            (false, _) => way.shallow_clone(),
            (true, true) => way.remainder(2.0 * PI),
            (true, false) => (-way).remainder(2.0 * PI) * -1.0,
        }
    }

    /// Random places for boxes: first rows and first columns, `[count]` each.
    pub fn places(
        &self,
        window: Window,
        within: &Range<i64>,
        count: i64,
        stream: &mut Stream,
    ) -> (Tensor, Tensor) {
        let device = self.values.device();
        let rows = stream.integers(within.end - within.start - window.rows + 1, &[count], device);
        let columns = if self.wraps { self.grid().1 } else { self.grid().1 - window.columns + 1 };
        (rows + within.start, stream.integers(columns, &[count], device))
    }

    /// The same on a device, values in a kind.
    #[must_use]
    pub fn to(&self, kind: Kind, device: Device) -> Self {
        Self {
            values: self.values.to_kind(kind).to_device(device),
            latitudes: self.latitudes.to_device(device),
            longitudes: self.longitudes.to_device(device),
            wind: self.wind,
            wraps: self.wraps,
            eastwards: self.eastwards,
        }
    }
}

/// A length of arc in radians as a length on the Earth in units of `unit_km`.
pub fn arc_in(unit_km: f64) -> f64 {
    EARTH_RADIUS_KM / unit_km
}
