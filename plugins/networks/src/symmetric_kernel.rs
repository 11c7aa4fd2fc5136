//! Kernels of convolutions that commute with flips and quarter turns (spdm.md 1.3): tied kernels, and
//! those between scalar and regular fields.
//!
//! Every rule here is linear in the free weights and acts on the cells of the kernel alone (and on
//! orientations, where there are some), so it is a constant matrix or a constant table of indices.

use isotropy_core::{Element, Representation};
use isotropy_images::action::{ImagePermutation, PixelGroup};
use tch::{Device, Kind, Tensor};

/// How the kernel of a tied convolution is made of free weights of the same shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tying {
    /// `_S`: one cell of each orbit is free, and the others repeat it. Free is the cell of the orbit
    /// in the upper left quadrant (of several there, the first by rows). The other weights are idle.
    Orbits,
    /// `_K`: the sum of the free kernel over the group, `sum_g g W`.
    Sum,
    /// `_K` for D_4 as the released code has it: `2 sum_k r^k W + sum_k r^k V W`, and the bias twice.
    /// Commutes with reflections only because kernels of 3x3 that commute with quarter turns do.
    PublishedSquareSum,
    /// `_S` for mirrors as the released code has it in layers that start at zero, whose mask was set
    /// to zero with the weights: the free kernel mirrored. It commutes with nothing.
    PublishedLostMask,
}

impl Tying {
    /// The matrix `M` with `kernel = M weight` on cells in row-major order: `[h w, h w]`, double
    /// precision, on the CPU.
    pub fn matrix(self, group: PixelGroup, height: i64, width: i64) -> Tensor {
        match self {
            Self::Orbits => orbits(group, height, width),
            Self::Sum => permutations(group, height, width).sum_dim_intlist(0, false, None),
            Self::PublishedSquareSum => {
                let all = permutations(PixelGroup::Square, height, width);
                // The published reflection is the vertical one, r^2 s, so its coset is the same.
                let turns = all.narrow(0, 0, 4).sum_dim_intlist(0, false, None);
                turns * 2.0 + all.narrow(0, 4, 4).sum_dim_intlist(0, false, None)
            }
            Self::PublishedLostMask => permutations(group, height, width).get(1),
        }
    }
}

/// Matrices of the action on cells, `[order, cells, cells]`: `(P_g w)[p] = w[g^-1 p]`.
fn permutations(group: PixelGroup, height: i64, width: i64) -> Tensor {
    // Row p of P_g picks the cell that the image of cell numbers shows at p.
    let eye = Tensor::eye(height * width, (Kind::Double, Device::Cpu));
    let cells = cells_under(group, height, width);
    let matrices: Vec<Tensor> =
        (0..cells.size()[0]).map(|k| eye.index_select(0, &cells.get(k))).collect();
    Tensor::stack(&matrices, 0)
}

/// `table[g, p] = g^-1 p`, `[order, cells]`: the cell whose content element `g` brings to `p`.
fn cells_under(group: PixelGroup, height: i64, width: i64) -> Tensor {
    let action = ImagePermutation::new(group);
    let numbers = Tensor::arange(height * width, (Kind::Int64, Device::Cpu));
    let numbers = numbers.reshape([height, width]);
    let rows: Vec<Tensor> =
        (0..group.order()).map(|k| action.moved(k, &numbers).reshape([-1])).collect();
    Tensor::stack(&rows, 0)
}

fn orbits(group: PixelGroup, height: i64, width: i64) -> Tensor {
    let table = cells_under(group, height, width);
    // Sorts cells by how far they are out of the upper left quadrant, then by rows.
    let key = |cell: i64| {
        let (row, column) = (cell / width, cell % width);
        (i64::from(row >= (height + 1) / 2) + i64::from(column >= (width + 1) / 2), cell)
    };
    let free: Vec<i64> = (0..height * width)
        .map(|p| {
            let orbit = (0..table.size()[0]).map(|g| table.int64_value(&[g, p]));
            orbit.min_by_key(|&cell| key(cell)).expect("a group has an identity")
        })
        .collect();
    let eye = Tensor::eye(height * width, (Kind::Double, Device::Cpu));
    eye.index_select(0, &Tensor::from_slice(&free))
}

/// Between which fields a lifted convolution maps. A regular field has one channel for each element of
/// the group (its orientations); `(g f)_s(p) = f_{g^-1 s}(g^-1 p)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lift {
    /// Scalars to regular fields: `K[r] = r W`.
    In,
    /// Regular to regular fields: `K[r, s] = r W[r^-1 s]`.
    Group,
    /// Regular fields to scalars: `K[s] = s W`.
    Out,
}

impl Lift {
    /// Orientations of the result, of the source, and of the free weights.
    pub fn orientations(self, group: PixelGroup) -> (i64, i64, i64) {
        let order = group.order();
        match self {
            Self::In => (order, 1, 1),
            Self::Group => (order, order, order),
            Self::Out => (1, order, 1),
        }
    }

    /// For each orientation `r` of the result, `s` of the source and each cell, the place of its weight
    /// among the free weights (orientation, cell): `[r s cells]`, `Int64`, on the CPU.
    pub fn index(self, group: PixelGroup, side: i64) -> Tensor {
        let cells = cells_under(group, side, side);
        match self {
            // Element k moves the kernel of orientation k; for Out the role of r is played by s.
            Self::In | Self::Out => cells.reshape([-1]),
            Self::Group => {
                let order = group.order();
                let action = ImagePermutation::new(group);
                let group = action.group();
                let all = Tensor::arange(order, (Kind::Int64, Device::Cpu));
                let (r, s) = (all.unsqueeze(1).expand([order, order], false), all.unsqueeze(0));
                let s = s.expand([order, order], false);
                let back = group.inverse(&Element::from(r));
                let relative = group.compose(&back, &Element::from(s));
                // [r, s, 1] and [r, 1, cells].
                let index = relative.single().unsqueeze(2) * (side * side) + cells.unsqueeze(1);
                index.reshape([-1])
            }
        }
    }
}
