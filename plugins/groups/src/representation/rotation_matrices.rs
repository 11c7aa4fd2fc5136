//! Rotation matrices, driven from the left by the generators of SO(3).
//!
//! `flow(R, w) = exp(w) R` with rotation vectors `w`, so coefficients are angular velocities in the
//! fixed frame. The action is free and keeps Haar measure: nothing is vertical, and the fields have
//! no divergence.

use crate::group::{So3, rotation_math as math};
use isotropy_core::representation::vector_matrix;
use isotropy_core::{
    Drive, Element, Error, Field, Group, Homogeneous, Moves, Representation, RepresentationConfig,
    Result, Space, State, StateSpec, Stream, Xi, component, config,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Rotation matrices on the last two axes of the value; axes before them are independent points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationMatrices;

/// The axes before the matrix.
fn lead(r: &Tensor) -> Vec<i64> {
    let size = r.size();
    size[..size.len().saturating_sub(2)].to_vec()
}

impl Representation for RotationMatrices {
    fn name(&self) -> String {
        "rotation matrices".into()
    }

    fn group(&self) -> &dyn Group {
        &So3
    }

    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        let (value, n) = (&spec.value, spec.value.shape.len());
        if value.moves == Moves::Frame && n >= 2 && value.shape[n - 2..] == [3, 3] {
            return Ok(());
        }
        Err(Error::Unsupported(format!(
            "rotation matrices are frames of shape [3, 3]; the value is {:?} of shape {:?}",
            value.moves, value.shape
        )))
    }

    /// One rotation for each matrix.
    fn element_shape(&self, state: &State) -> Result<Vec<Vec<i64>>> {
        Ok(vec![[lead(state.x()), vec![3]].concat()])
    }

    /// Multiplies the value from the left; all else stays.
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        Ok(state.with_value(g.single().matmul(state.x())))
    }

    fn act_tangent(&self, g: &Element, _state: &State, v: &Tensor) -> Result<Tensor> {
        Ok(g.single().matmul(v))
    }

    fn sample_state(
        &self,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        let r = So3.sample(&[vec![batch, 3]], options, stream);
        Some(State::new(Field::new(r.single().shallow_clone(), Moves::Frame)))
    }

    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

impl Drive for RotationMatrices {
    fn frame(&self) -> String {
        "algebra generators of SO(3), from the left".into()
    }

    fn xi_shape(&self, spec: &StateSpec) -> Vec<Vec<i64>> {
        let shape = &spec.value.shape;
        vec![shape[..shape.len().saturating_sub(1)].to_vec()]
    }

    fn flow(&self, state: &State, xi: &Xi) -> State {
        // Each column is a vector that turns.
        state.with_value(math::rotate(&xi.single().unsqueeze(-1), state.x(), -2))
    }

    fn push(&self, state: &State, xi: &Xi) -> Tensor {
        math::hat(xi.single()).matmul(state.x())
    }

    /// `sum_j r_j x c_j` over the columns.
    fn pull(&self, state: &State, covector: &Tensor) -> Xi {
        let columns = |a: &Tensor| a.transpose(-1, -2).contiguous();
        let torque = columns(state.x()).linalg_cross(&columns(covector), -1);
        torque.sum_dim_intlist([-2].as_slice(), false, None).into()
    }

    fn divergences(&self, state: &State) -> Xi {
        Tensor::zeros([lead(state.x()), vec![3]].concat(), state.options()).into()
    }

    fn base_measure(&self) -> &'static str {
        "Haar (total 1 for each rotation)"
    }

    fn ito(&self, state: &State, variance: &[f64]) -> Tensor {
        state.x() * (-2.0 * variance.first().copied().unwrap_or(0.0))
    }

    fn homogeneous(&self) -> Option<&dyn Homogeneous> {
        Some(self)
    }

    /// Rotation vectors are axial: a symmetry `q` of vectors takes `w` to `det(q) q w`.
    fn transport(
        &self,
        symmetry: &dyn Representation,
        h: &Element,
        state: &State,
        xi: &Xi,
    ) -> Result<Xi> {
        let w = xi.single();
        if isotropy_core::representation::as_type::<Self>(symmetry).is_some() {
            return Ok(math::apply(h.single(), w).into());
        }
        let q = vector_matrix(symmetry, h, state, 3)?;
        let axial = &q * q.det().view([-1, 1, 1]);
        Ok(super::linear::apply(&axial, w).into())
    }
}

impl Homogeneous for RotationMatrices {
    fn spaces(&self) -> Vec<Space> {
        vec![Space::Rotations]
    }

    fn flat(&self, _state: &State, factor: usize) -> Result<Tensor> {
        Err(Error::Unsupported(format!("factor {factor} of rotation matrices is not flat")))
    }

    /// The base measure is the uniform probability.
    fn log_uniform(&self, state: &State) -> Tensor {
        Tensor::zeros([state.batch_size()], state.options())
    }

    /// `log(to from^T)`; half turns as [`So3`] does.
    fn displacement(&self, from: &State, to: &State) -> Result<Xi> {
        Ok(math::log_so3(&to.x().matmul(&from.x().transpose(-1, -2))).into())
    }
}

/// Rotation matrices, `[3, 3]` or `[N, 3, 3]`, that SO(3) moves from the left.
#[config]
#[derive(Clone)]
pub struct RotationMatricesConfig {}

#[component(
    "rotation-matrices",
    "SO(3) on rotation matrices from the left",
    r#"{"type": "rotation-matrices"}"#
)]
impl RepresentationConfig for RotationMatricesConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        Ok(Arc::new(RotationMatrices))
    }
}
