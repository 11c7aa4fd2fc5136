//! Data that are uniform on a finite orbit: the corners of a polygon, the orientations of a cube.

use super::{Components, HeatMixture};
use isotropy_core::{
    Error, LieGroup, ModelConfig, ModelContext, PredictionKind, Result, ScoreModel, component,
    config,
};
use isotropy_groups::group::So3;
use std::f64::consts::TAU;
use tch::{Device, Kind, Tensor};

/// A finite group of rotations.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OrbitGroup {
    /// Turns by multiples of `2 pi / n` in the first two axes (in space: about the z axis).
    Cyclic(u32),
    /// The 24 rotations of a cube.
    Octahedral,
}

impl OrbitGroup {
    /// Its matrices, `[order, d, d]`.
    fn matrices(self, d: i64) -> Result<Tensor> {
        let options = (Kind::Double, Device::Cpu);
        match self {
            Self::Cyclic(0) => Err(Error::config("/group/cyclic", "a group has an element")),
            Self::Cyclic(order) => {
                let angle = Tensor::arange(i64::from(order), options) * (TAU / f64::from(order));
                let all = Tensor::eye(d, options).repeat([i64::from(order), 1, 1]);
                let put = |i: i64, j: i64, value: &Tensor| {
                    all.select(1, i).select(1, j).copy_(value);
                };
                put(0, 0, &angle.cos());
                put(1, 1, &angle.cos());
                put(0, 1, &angle.sin().neg());
                put(1, 0, &angle.sin());
                Ok(all)
            }
            Self::Octahedral if d == 3 => Ok(octahedral()),
            Self::Octahedral => {
                Err(Error::config("/group", "the rotations of a cube act on three dimensions"))
            }
        }
    }
}

/// Permutation matrices with signs and determinant 1.
fn octahedral() -> Tensor {
    let permutations = [
        ([0, 1, 2], 1.0),
        ([1, 2, 0], 1.0),
        ([2, 0, 1], 1.0),
        ([0, 2, 1], -1.0),
        ([2, 1, 0], -1.0),
        ([1, 0, 2], -1.0),
    ];
    let mut numbers = Vec::with_capacity(24 * 9);
    for (permutation, parity) in permutations {
        for signs in 0..8_u32 {
            let sign = |axis: u32| if signs >> axis & 1 == 1 { -1.0 } else { 1.0 };
            if sign(0) * sign(1) * sign(2) * parity < 0.0 {
                continue;
            }
            for (row, column) in permutation.into_iter().enumerate() {
                numbers.extend((0..3).map(|j| if j == column { sign(row as u32) } else { 0.0 }));
            }
        }
    }
    Tensor::from_slice(&numbers).view([24, 3, 3])
}

/// The score of data that are uniform on the orbit of a point under a finite group of rotations.
#[config]
#[derive(Clone)]
pub struct FiniteOrbitConfig {
    /// A point of the orbit: its components, or for rotation matrices a rotation vector in radians.
    pub point: Vec<f64>,
    /// The group.
    pub group: OrbitGroup,
    /// Scale of the heat kernel about each point (and standard deviation in `log r`); 0 for the
    /// points themselves.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub std: f64,
    /// The kind of prediction to return: `score`, `noise`, `preconditioned-score` or
    /// `covariance-score`.
    #[serde(default = "score")]
    pub predicts: PredictionKind,
}

fn score() -> PredictionKind {
    super::score()
}

impl FiniteOrbitConfig {
    /// The points of the orbit, in the shape of values, each as often as group elements lead to it.
    ///
    /// # Errors
    /// When point and group do not fit the shape.
    pub fn orbit(&self, shape: &[i64]) -> Result<Tensor> {
        let point = Tensor::from_slice(&self.point);
        match shape {
            [3, 3] if self.point.len() == 3 => {
                let start = So3.exp(&point.into());
                Ok(self.group.matrices(3)?.matmul(start.single()))
            }
            [n] if self.point.len() as i64 == *n && (2..=4).contains(n) => {
                Ok(self.group.matrices(*n)?.matmul(&point))
            }
            _ => {
                let message = format!("{} numbers for data of shape {shape:?}", self.point.len());
                Err(Error::config("/point", message))
            }
        }
    }

    /// The model itself, with its density.
    ///
    /// # Errors
    /// When numbers do not fit each other, the data or the process.
    pub fn mixture(&self, context: &ModelContext) -> Result<HeatMixture> {
        let centres = self.orbit(&context.spec.value.shape)?;
        let count = centres.size()[0];
        let components = Components {
            scales: centres.new_full([count, 1], self.std, (Kind::Double, Device::Cpu)),
            centres,
            weights: vec![1.0; count as usize],
        };
        HeatMixture::new(&components, self.predicts, context)
    }
}

#[component(
    "finite-orbit-mixture-oracle",
    "exact score of data on a finite orbit of rotations",
    r#"{"type": "finite-orbit-mixture-oracle", "point": [1.0, 0.5, 0.2], "group": "octahedral"}"#
)]
impl ModelConfig for FiniteOrbitConfig {
    fn build(&self, _: &tch::nn::Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        Ok(Box::new(self.mixture(context)?))
    }
}
