//! A table over the length of a normal vector and the logarithm of the scale, interpolated on the
//! device of the input by cubics in both directions.

use super::transport::{LARGEST, LENGTHS, LONGEST, SCALES, SMALLEST, tabulate};
use isotropy_core::Space;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tch::{Device, Kind, Tensor};

/// Numbers of each table of the process, computed when a space is first used. No tensors: those
/// belong to whoever made them.
static NUMBERS: [OnceLock<Vec<f64>>; 4] =
    [OnceLock::new(), OnceLock::new(), OnceLock::new(), OnceLock::new()];

fn numbers(space: Space) -> &'static [f64] {
    let slot = match space {
        Space::Rotations => 1,
        Space::Sphere(2) => 2,
        Space::Sphere(3) => 3,
        _ => 0,
    };
    NUMBERS[slot].get_or_init(|| tabulate(space))
}

/// The tabulated map of [`HeatKernel::noise`](super::HeatKernel::noise).
#[derive(Debug, Clone)]
pub struct RadialTable {
    space: Space,
    /// One copy for each kind and device that was asked for.
    copies: Arc<Mutex<Vec<Copy>>>,
}

#[derive(Debug)]
struct Copy {
    /// `[SCALES * LENGTHS, 2]`.
    rows: Tensor,
    /// `[16]`: offsets of the four by four neighbours in `rows`.
    offsets: Tensor,
    /// `[4, 4]`: Lagrange's cubics through -1, 0, 1, 2; row `i` holds the coefficients of the `i`th
    /// power.
    cubics: Tensor,
}

impl Clone for Copy {
    fn clone(&self) -> Self {
        let [rows, offsets, cubics] =
            [&self.rows, &self.offsets, &self.cubics].map(Tensor::shallow_clone);
        Self { rows, offsets, cubics }
    }
}

impl RadialTable {
    pub(super) fn new(space: Space) -> Self {
        Self { space, copies: Arc::new(Mutex::new(Vec::new())) }
    }

    fn copy(&self, options: (Kind, Device)) -> Copy {
        // A poisoned lock is harmless: copies are only ever added whole.
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(copy) = copies.iter().find(|c| (c.rows.kind(), c.rows.device()) == options) {
            return copy.clone();
        }
        let here = |t: Tensor| t.to_kind(options.0).to_device(options.1);
        let n = LENGTHS as i64;
        let offsets: Vec<i64> = (0..16).map(|k| (k / 4 - 1) * n + k % 4 - 1).collect();
        let cubics = [
            [0.0, 1.0, 0.0, 0.0],
            [-1.0 / 3.0, -0.5, 1.0, -1.0 / 6.0],
            [0.5, -1.0, 0.5, 0.0],
            [-1.0 / 6.0, 0.5, -0.5, 1.0 / 6.0],
        ];
        let copy = Copy {
            rows: here(Tensor::from_slice(numbers(self.space)).view([-1, 2])),
            offsets: Tensor::from_slice(&offsets).to_device(options.1),
            cubics: here(Tensor::from_slice(&cubics.concat()).view([4, 4])),
        };
        copies.push(copy.clone());
        copy
    }

    /// `angle / (eps rho)` and `-eps score / rho` at lengths `rho` and scales `eps` that broadcast
    /// against them, of the shape of `rho`. Lengths and scales beyond the table count as its ends.
    pub fn interpolate(&self, rho: &Tensor, eps: &Tensor) -> (Tensor, Tensor) {
        let table = self.copy((rho.kind(), rho.device()));
        let per_length = (LENGTHS - 1) as f64 / LONGEST;
        let per_scale = (SCALES - 1) as f64 / (LARGEST / SMALLEST).ln();
        let column = rho.flatten(0, -1) * per_length;
        let row = (eps.log() - SMALLEST.ln()) * per_scale;
        let row = row.expand_as(rho).flatten(0, -1);
        let (j, across) = cell(&column, LENGTHS);
        let (i, along) = cell(&row, SCALES);
        let index = (i * LENGTHS as i64 + j).unsqueeze(1) + &table.offsets;
        let neighbours = table.rows.index_select(0, &index.flatten(0, 1)).view([-1, 4, 4, 2]);
        let (down, right) = (weights(&along, &table.cubics), weights(&across, &table.cubics));
        let weight = down.unsqueeze(2) * right.unsqueeze(1);
        let values =
            (neighbours * weight.unsqueeze(-1)).sum_dim_intlist([1i64, 2].as_slice(), false, None);
        let part = |k: i64| values.select(1, k).view_as(rho);
        let end = LONGEST / rho.clamp_min(LONGEST);
        // Beyond the table the angle stays, so its quotient falls.
        (part(0) * &end, part(1) * end)
    }
}

/// The first inner neighbour and the place relative to it, with four neighbours inside the table.
fn cell(place: &Tensor, count: usize) -> (Tensor, Tensor) {
    let place = place.clamp(0.0, (count - 1) as f64);
    let index = place.floor().clamp(1.0, (count - 3) as f64);
    (index.to_kind(Kind::Int64), place - index)
}

/// Lagrange's weights, `[B, 4]`, at places `[B]`.
fn weights(t: &Tensor, cubics: &Tensor) -> Tensor {
    let square = t.square();
    Tensor::stack(&[&t.ones_like(), t, &square, &(&square * t)], 1).matmul(cubics)
}
