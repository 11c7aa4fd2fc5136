//! SO(2) or SO(3) acting linearly on everything that is a point, a vector or a frame.

use super::{charted::TAU, defining, linear};
use crate::group::{So2, So3};
use isotropy_core::{
    Element, Error, Group, Representation, RepresentationConfig, Result, State, StateSpec, Stream,
    component, config,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// One rotation for each point of the batch, about the origin; it turns all its atoms or index
/// points, and what the context holds. Fields that a batch shares become one copy a point.
///
/// In the plane, a lifted `tau = (log r, theta)` follows by a shift of `theta`. States with other
/// flow coordinates are refused: rotations of space do not shift them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    space: Space,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    Plane,
    Space,
}

impl Rotation {
    /// Rotations of the plane.
    pub fn plane() -> Self {
        Self { space: Space::Plane }
    }

    /// Rotations of space.
    pub fn space() -> Self {
        Self { space: Space::Space }
    }

    /// 2 or 3.
    pub fn dimension(&self) -> i64 {
        match self.space {
            Space::Plane => 2,
            Space::Space => 3,
        }
    }

    /// The matrices `[B, n, n]` of elements.
    fn matrix(&self, g: &Element) -> Tensor {
        match self.space {
            Space::Plane => So2::matrix(g.single()),
            Space::Space => g.single().shallow_clone(),
        }
    }
}

impl Representation for Rotation {
    fn name(&self) -> String {
        format!("rotation of {}-vectors", self.dimension())
    }

    fn group(&self) -> &dyn Group {
        match self.space {
            Space::Plane => &So2,
            Space::Space => &So3,
        }
    }

    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        let n = self.dimension();
        defining::fits(&self.name(), n, true, spec, |name| name == TAU && n == 2)
    }

    fn act(&self, g: &Element, state: &State) -> Result<State> {
        let m = self.matrix(g);
        linear::move_fields(state, &m, &m, |name, field| {
            if self.space == Space::Plane && name == TAU {
                let tau = &field.tensor;
                let angle = g.single();
                let shift = Tensor::cat(&[&angle.zeros_like(), angle], -1);
                return Ok(field.with(tau + linear::spread(&shift, tau)));
            }
            Err(defining::refusal(&self.name(), name, field.moves, &field.tensor.size()))
        })
    }

    fn act_tangent(&self, g: &Element, state: &State, v: &Tensor) -> Result<Tensor> {
        Ok(linear::apply_tangent(&self.matrix(g), state, v))
    }

    fn sample_state(
        &self,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        Some(defining::sample_state(self.dimension(), true, batch, options, stream))
    }
}

/// Rotations about the origin, acting on all points, vectors and frames of a state.
#[config]
#[derive(Clone)]
pub struct RotationConfig {
    /// Dimension of the vectors: 2 for SO(2), 3 for SO(3).
    #[schemars(range(min = 2, max = 3))]
    pub dimension: i64,
}

#[component(
    "rotation",
    "SO(2) or SO(3) on all points, vectors and frames",
    r#"{"type": "rotation", "dimension": 3}"#
)]
impl RepresentationConfig for RotationConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        match self.dimension {
            2 => Ok(Arc::new(Rotation::plane())),
            3 => Ok(Arc::new(Rotation::space())),
            n => Err(Error::config(
                "/dimension",
                format!("rotations act on 2- or 3-vectors, not {n}"),
            )),
        }
    }
}
