//! Features of degree 0 and 1 with parity, and the linear maps between them.

use crate::layers::truncated_normal;
use isotropy_core::{Error, Result};
use isotropy_groups::irreps::{Irreps, Parity};
use tch::Tensor;
use tch::nn::{Init, Path};

/// How many features there are of each irrep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Scalars, `0e`.
    pub scalars: i64,
    /// Pseudoscalars, `0o`: they change their sign under reflections.
    pub pseudoscalars: i64,
    /// Axial vectors, `1e`: a rotation axis, a curl.
    pub axial: i64,
    /// Polar vectors, `1o`: a displacement, a velocity, a gradient.
    pub polar: i64,
}

impl Counts {
    /// As a list: `0e`, `0o`, `1e`, `1o`.
    pub fn list(self) -> [i64; 4] {
        [self.scalars, self.pseudoscalars, self.axial, self.polar]
    }

    /// From such a list.
    pub fn of([scalars, pseudoscalars, axial, polar]: [i64; 4]) -> Self {
        Self { scalars, pseudoscalars, axial, polar }
    }

    /// Number of irreps.
    pub fn total(self) -> i64 {
        self.list().iter().sum()
    }
}

/// Features of points or edges.
#[derive(Debug)]
pub struct Features {
    /// `[M, scalars + pseudoscalars]`.
    pub degree0: Tensor,
    /// `[M, 3, axial + polar]`, the components in the order of the irreps (`y, z, x`).
    pub degree1: Tensor,
    /// How many of each there are.
    pub counts: Counts,
}

impl Features {
    /// The four kinds apart: `0e`, `0o` `[M, c]` and `1e`, `1o` `[M, 3, c]`.
    pub fn split(&self) -> [Tensor; 4] {
        let [a, b, c, d] = self.counts.list();
        let mut zero = self.degree0.split_with_sizes([a, b], -1);
        let mut one = self.degree1.split_with_sizes([c, d], -1);
        let (odd0, even0) = (zero.pop(), zero.pop());
        let (odd1, even1) = (one.pop(), one.pop());
        [even0, odd0, even1, odd1].map(|part| part.expect("a split into two has two parts"))
    }

    /// The four kinds together, each of which may be left out where it is counted zero.
    pub fn join(parts: [Option<Tensor>; 4], counts: Counts) -> Self {
        let [a, b, c, d] = parts;
        let join = |x: Option<Tensor>, y: Option<Tensor>| match (x, y) {
            (Some(x), Some(y)) => Some(Tensor::cat(&[x, y], -1)),
            (Some(x), None) | (None, Some(x)) => Some(x),
            (None, None) => None,
        };
        let (zero, one) = (join(a, b), join(c, d));
        // Degrees that do not occur are empty tensors of the same number of rows.
        let like = zero.as_ref().or(one.as_ref()).expect("features are not empty");
        let (rows, options) = (like.size()[0], (like.kind(), like.device()));
        let degree0 = zero.unwrap_or_else(|| Tensor::zeros([rows, 0], options));
        let degree1 = one.unwrap_or_else(|| Tensor::zeros([rows, 3, 0], options));
        Self { degree0, degree1, counts }
    }
}

/// A linear map that keeps irreps apart: one matrix for each kind, no bias. A kind that is missing on one side is dropped.
#[derive(Debug)]
pub struct Mix {
    weights: [Option<Tensor>; 4],
    outputs: Counts,
}

const NAMES: [&str; 4] = ["even0", "odd0", "even1", "odd1"];

impl Mix {
    /// Creates the matrices `[out, in]` under `path`, from a truncated normal law of standard deviation `1/sqrt(in)`, or
    /// all zero. `more` further inputs count for the law (those that another map adds to the same sum).
    pub fn new(path: &Path, inputs: Counts, outputs: Counts, more: Counts, zero: bool) -> Self {
        let mut kept = [0; 4];
        let weights = std::array::from_fn(|k| {
            let (n, m) = (inputs.list()[k], outputs.list()[k]);
            if n == 0 || m == 0 {
                return None;
            }
            kept[k] = m;
            let std = 1.0 / ((n + more.list()[k]) as f64).sqrt();
            Some(match zero {
                true => path.var(NAMES[k], &[m, n], Init::Const(0.0)),
                false => truncated_normal(path, NAMES[k], &[m, n], std),
            })
        });
        Self { weights, outputs: Counts::of(kept) }
    }

    /// The kinds that come out.
    pub fn outputs(&self) -> Counts {
        self.outputs
    }

    /// Each kind by its matrix: what [`Features::join`] takes.
    pub fn parts(&self, features: &Features) -> [Option<Tensor>; 4] {
        let parts = features.split();
        std::array::from_fn(|k| {
            self.weights[k].as_ref().map(|weight| parts[k].linear(weight, None::<&Tensor>))
        })
    }

    /// As [`Mix::parts`], joined.
    pub fn forward(&self, features: &Features) -> Features {
        Features::join(self.parts(features), self.outputs)
    }
}

/// How the columns of a field's values are scalars and vectors: `1o` (a vector), `2x0e + 1x1e` (two scalars, then an
/// axial vector). A vector has as many columns as the index has dimensions; lines and planes lie in space at zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channels {
    irreps: Irreps,
    dimension: i64,
}

impl Channels {
    /// Checks that the irreps are scalars and vectors.
    ///
    /// # Errors
    /// `Unsupported` with the reason.
    pub fn new(irreps: Irreps, dimension: i64) -> Result<Self> {
        if !(1..=3).contains(&dimension) {
            return Err(Error::Unsupported(format!(
                "tensor fields live on points of 1 to 3 dimensions, not {dimension}"
            )));
        }
        for block in irreps.blocks() {
            if block.irrep.l > 1 {
                let message = format!("{} is neither a scalar nor a vector", block.irrep);
                return Err(Error::Unsupported(message));
            }
            if block.irrep.l == 1 && dimension == 1 {
                return Err(Error::Unsupported("points of a line carry scalars only".into()));
            }
        }
        Ok(Self { irreps, dimension })
    }

    /// Columns of one block.
    fn width(&self, l: i64) -> i64 {
        if l == 0 { 1 } else { self.dimension }
    }

    /// Number of columns.
    pub fn columns(&self) -> i64 {
        self.irreps.blocks().iter().map(|b| b.multiplicity * self.width(b.irrep.l)).sum()
    }

    /// First columns of the vectors, each of which takes as many as the index has dimensions.
    pub fn vectors(&self) -> Vec<i64> {
        let mut start = 0;
        let mut all = Vec::new();
        for block in self.irreps.blocks() {
            for _ in 0..block.multiplicity {
                if block.irrep.l == 1 {
                    all.push(start);
                }
                start += self.width(block.irrep.l);
            }
        }
        all
    }

    /// How many features of each kind the columns are.
    pub fn counts(&self) -> Counts {
        let mut counts = [0; 4];
        for block in self.irreps.blocks() {
            counts[kind(block.irrep.l, block.irrep.parity)] += block.multiplicity;
        }
        Counts::of(counts)
    }

    /// Values `[M, columns]` as features.
    pub fn features(&self, values: &Tensor) -> Features {
        let rows = values.size()[0];
        let mut parts: [Vec<Tensor>; 4] = Default::default();
        let mut start = 0;
        for block in self.irreps.blocks() {
            let (l, copies) = (block.irrep.l, block.multiplicity);
            let columns = values.narrow(-1, start, copies * self.width(l));
            start += copies * self.width(l);
            parts[kind(l, block.irrep.parity)].push(match l {
                0 => columns,
                _ => in_space(&columns.reshape([rows, copies, self.dimension])).transpose(1, 2),
            });
        }
        let joined = parts.map(|list| (!list.is_empty()).then(|| Tensor::cat(&list, -1)));
        Features::join(joined, self.counts())
    }

    /// Features of these counts as values `[M, columns]`; what points out of the plane is dropped.
    pub fn values(&self, features: &Features) -> Tensor {
        let rows = features.degree0.size()[0];
        let parts = features.split();
        let mut used = [0; 4];
        let columns: Vec<Tensor> = self
            .irreps
            .blocks()
            .iter()
            .map(|block| {
                let (l, copies) = (block.irrep.l, block.multiplicity);
                let k = kind(l, block.irrep.parity);
                let part = parts[k].narrow(-1, used[k], copies);
                used[k] += copies;
                match l {
                    0 => part,
                    _ => {
                        let vectors = part.transpose(1, 2).roll([1], [-1]);
                        let seen = vectors.narrow(-1, 0, self.dimension);
                        seen.reshape([rows, copies * self.dimension])
                    }
                }
            })
            .collect();
        Tensor::cat(&columns, -1)
    }
}

/// Place in the lists of four.
fn kind(l: i64, parity: Parity) -> usize {
    2 * l as usize + usize::from(parity == Parity::Odd)
}

/// Vectors `[.., p]` as vectors of space, `[.., 3]`, in the order of the irreps: `(y, z, x)`.
pub(super) fn in_space(vectors: &Tensor) -> Tensor {
    let p = vectors.size().last().copied().expect("vectors have components");
    vectors.constant_pad_nd([0, 3 - p]).roll([-1], [-1])
}
