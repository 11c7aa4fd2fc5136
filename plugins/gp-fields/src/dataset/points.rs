//! Where functions are seen: index sets.

use super::task::Region;
use isotropy_core::{
    Error, Result, Stream,
    schemars::{self, JsonSchema},
};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The points at which a function can be seen, in a space of `p` dimensions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum PointsConfig {
    /// Independent uniform points of the box `[low, high)^p`.
    Uniform {
        /// Lower bound of every coordinate.
        low: f64,
        /// Upper bound of every coordinate.
        high: f64,
    },
    /// The lattice of `side^p` points that spans the box `[low, high]^p`, its corners among them; a function is seen at
    /// some of them, chosen at random without repetition.
    Grid {
        /// Points along an axis.
        #[schemars(range(min = 2, max = 10_000))]
        side: i64,
        /// Smallest coordinate.
        low: f64,
        /// Largest coordinate.
        high: f64,
    },
    /// The points of the lattice over `[-radius, radius]^p` within a ball of that radius: for `p` = 2, 30 points a side
    /// and radius 10 the 648 points of geomndp.md 2.2.
    DiskGrid {
        /// Points along an axis of the lattice.
        #[schemars(range(min = 2, max = 10_000))]
        side: i64,
        /// Radius of the ball.
        radius: f64,
    },
}

/// Lattices with more points are refused.
const MOST_POINTS: i64 = 1_000_000;

impl PointsConfig {
    /// Builds the index set in `p` dimensions; errors point below `pointer`.
    ///
    /// # Errors
    /// `Config` for empty boxes, bounds that are not finite and lattices of more than a million points.
    pub fn build(&self, p: i64, pointer: &str) -> Result<IndexSet> {
        let wrong =
            |key: &str, message: String| Err(Error::config(format!("{pointer}/{key}"), message));
        let (low, high, key) = match *self {
            Self::Uniform { low, high } | Self::Grid { low, high, .. } => (low, high, "high"),
            Self::DiskGrid { radius, .. } => (-radius, radius, "radius"),
        };
        if !(low.is_finite() && high.is_finite() && low < high) {
            return wrong(
                key,
                format!("the points span {low} to {high}: there is nothing between"),
            );
        }
        let (side, ball) = match *self {
            Self::Uniform { .. } => return Ok(IndexSet { p, low, high, lattice: None }),
            Self::Grid { side, .. } => (side, None),
            Self::DiskGrid { side, radius } => (side, Some(radius)),
        };
        let count = side.checked_pow(p as u32).filter(|&count| count <= MOST_POINTS);
        if side < 2 || count.is_none() {
            return wrong(
                "side",
                format!(
                    "{side} points along each of {p} axes: a lattice has at least 2 a side and at most {MOST_POINTS} in all"
                ),
            );
        }
        let all = lattice(side, p, low, high);
        let kept = match ball {
            None => all,
            Some(radius) => {
                // A point on the sphere stays on it whatever the rounding of the lattice.
                let inside = all
                    .square()
                    .sum_dim_intlist(1, false, Kind::Double)
                    .le(radius * radius * (1.0 + 1e-12));
                all.index_select(0, &inside.nonzero().squeeze_dim(1))
            }
        };
        Ok(IndexSet { p, low, high, lattice: Some(kept) })
    }
}

/// The `side^p` points of a lattice over `[low, high]^p`, `[side^p, p]`, in double precision; the last coordinate
/// changes fastest.
pub fn lattice(side: i64, p: i64, low: f64, high: f64) -> Tensor {
    let axis = Tensor::linspace(low, high, side, (Kind::Double, Device::Cpu));
    let axes: Vec<&Tensor> = (0..p).map(|_| &axis).collect();
    let coordinates = Tensor::meshgrid_indexing(&axes, "ij");
    Tensor::stack(&coordinates, -1).reshape([-1, p])
}

/// An index set that can be drawn from.
#[derive(Debug)]
pub struct IndexSet {
    p: i64,
    low: f64,
    high: f64,
    /// `[n, p]`, double precision.
    lattice: Option<Tensor>,
}

impl IndexSet {
    /// Number of coordinates.
    pub fn dimension(&self) -> i64 {
        self.p
    }

    /// Number of points; `None` where they are drawn from a box.
    pub fn size(&self) -> Option<i64> {
        self.lattice.as_ref().map(|points| points.size()[0])
    }

    /// All points `[n, p]` of a lattice.
    pub fn all(&self) -> Option<&Tensor> {
        self.lattice.as_ref()
    }

    /// The same points on a device.
    pub fn to_device(&mut self, device: Device) {
        self.lattice = self.lattice.take().map(|points| points.to_device(device));
    }

    /// `count` points for each of `batch` functions, `[B, count, p]`, in double precision. From a lattice they are
    /// chosen without repetition, in random order; all of them come in the order of the lattice.
    pub fn draw(&self, batch: i64, count: i64, device: Device, stream: &mut Stream) -> Tensor {
        match &self.lattice {
            None => {
                stream.uniform(&[batch, count, self.p], (Kind::Double, device))
                    * (self.high - self.low)
                    + self.low
            }
            Some(_) if self.size() == Some(count) => self.lattice(batch),
            Some(_) => self.mixed(batch, count, stream),
        }
    }

    /// Points of a task, `[B, context + targets, p]`: first those at which the function is known, then those at which it
    /// is asked for. From a lattice no point comes twice.
    ///
    /// # Errors
    /// `Unsupported` where the region means nothing for these points.
    pub fn draw_task(
        &self,
        region: Region,
        batch: i64,
        (context, targets): (i64, i64),
        device: Device,
        stream: &mut Stream,
    ) -> Result<Tensor> {
        let width = self.high - self.low;
        match region {
            Region::Interpolation => Ok(self.anywhere(batch, context + targets, device, stream)),
            Region::Generalisation => {
                Ok(self.anywhere(batch, context + targets, device, stream) + width)
            }
            Region::Extrapolation if self.lattice.is_some() => Err(Error::Unsupported(
                "a lattice has no points outside of itself to extrapolate to; interpolation and generalisation do".into(),
            )),
            Region::Extrapolation => {
                let known = self.draw(batch, context, device, stream);
                let asked = self.outside(batch, targets, device, stream);
                Ok(Tensor::cat(&[known, asked], 1))
            }
        }
    }

    /// As [`IndexSet::draw`], in random order even where all points of a lattice are taken: so that any of them can be the
    /// first ones.
    pub fn anywhere(&self, batch: i64, count: i64, device: Device, stream: &mut Stream) -> Tensor {
        match self.lattice {
            None => self.draw(batch, count, device, stream),
            Some(_) => self.mixed(batch, count, stream),
        }
    }

    /// All points of the lattice for each function, without copying them.
    fn lattice(&self, batch: i64) -> Tensor {
        let points = self.lattice.as_ref().expect("asked of lattices alone");
        points.unsqueeze(0).expand([batch, -1, -1], false)
    }

    fn mixed(&self, batch: i64, count: i64, stream: &mut Stream) -> Tensor {
        let all = self.lattice(batch);
        let rows = chosen(batch, all.size()[1], count, all.device(), stream);
        pick(&all, &rows)
    }

    /// Points outside of the box, within half its width: one coordinate, drawn for each point, lies below or above, the
    /// others between the bounds.
    fn outside(&self, batch: i64, count: i64, device: Device, stream: &mut Stream) -> Tensor {
        let (width, options) = (self.high - self.low, (Kind::Double, device));
        let inside = self.draw(batch, count, device, stream);
        let way = stream.uniform(&[batch, count, 1], options) * width;
        let below = way.lt(width / 2.0);
        let beyond = (&way + (self.low - width / 2.0))
            .where_self(&below, &(&way + (self.high - width / 2.0)));
        let axis = stream.integers(self.p, &[batch, count, 1], device);
        let chosen = Tensor::arange(self.p, (Kind::Int64, device)).eq_tensor(&axis);
        beyond.where_self(&chosen, &inside)
    }
}

/// `count` of `n` numbers without repetition for each function, in random order: `[B, count]`.
pub fn chosen(batch: i64, n: i64, count: i64, device: Device, stream: &mut Stream) -> Tensor {
    // The places of the largest of independent uniform numbers are a random choice in random order.
    stream.uniform(&[batch, n], (Kind::Double, device)).topk(count, 1, true, true).1
}

/// The rows `[B, count]` of `[B, n, k]`: `[B, count, k]`.
pub fn pick(tensor: &Tensor, rows: &Tensor) -> Tensor {
    tensor.gather(1, &rows.unsqueeze(-1).expand([-1, -1, tensor.size()[2]], false), false)
}
