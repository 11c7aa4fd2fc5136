//! SO(2): rotations of the plane.
//!
//! An element is its angle in `[-pi, pi]`, not a matrix: products, powers and the logarithm are then
//! exact for angles however small, and no product drifts off the group. exp wraps, log is the
//! angle itself. At the cut locus both `pi` and `-pi` stand for the half turn; log returns the one
//! that the element carries.

use super::{non_finite, with_axis};
use isotropy_core::{Element, Group, GroupConfig, LieGroup, Result, Stream, Xi, component, config};
use std::f64::consts::{PI, TAU};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The group SO(2). Elements and coefficients are angles in radians, `[.., 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct So2;

/// An angle brought into `[-pi, pi]`. Angles that lie there already come back with the same bits,
/// and the derivative is 1.
pub fn wrap(angle: &Tensor) -> Tensor {
    let turns = (angle / TAU).round();
    angle - turns * TAU
}

impl So2 {
    /// The matrices `[.., 2, 2]` of angles `[.., 1]`.
    pub fn matrix(angle: &Tensor) -> Tensor {
        let angle = angle.squeeze_dim(-1);
        let (c, s) = (angle.cos(), angle.sin());
        let rows = [Tensor::stack(&[&c, &s.neg()], -1), Tensor::stack(&[&s, &c], -1)];
        Tensor::stack(&rows, -2)
    }
}

impl Group for So2 {
    fn name(&self) -> String {
        "SO(2)".into()
    }

    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        Some(with_axis(lead, 1))
    }

    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        Tensor::zeros(&xi_shape[0], options).into()
    }

    fn compose(&self, a: &Element, b: &Element) -> Element {
        wrap(&(a.single() + b.single())).into()
    }

    fn inverse(&self, a: &Element) -> Element {
        a.single().neg().into()
    }

    fn sample(
        &self,
        xi_shape: &[Vec<i64>],
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Element {
        ((stream.uniform(&xi_shape[0], options) - 0.5) * TAU).into()
    }

    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        wrap(&(a.single() - b.single())).abs().squeeze_dim(-1)
    }

    /// How far the angle lies outside `[-pi, pi]`.
    fn violation(&self, a: &Element) -> Tensor {
        let angle = a.single();
        (angle.abs() - PI).clamp_min(0.0).squeeze_dim(-1) + non_finite(angle)
    }

    fn lie(&self) -> Option<&dyn LieGroup> {
        Some(self)
    }

    /// The rotation matrix.
    fn affine(&self, g: &Element, kind: Kind) -> Option<(Tensor, Option<Tensor>)> {
        Some((Self::matrix(&g.single().to_kind(kind)), None))
    }
}

impl LieGroup for So2 {
    fn exp(&self, xi: &Xi) -> Element {
        wrap(xi.single()).into()
    }

    /// # Errors
    /// `Numbers` for an angle outside `[-pi, pi]`.
    fn log(&self, g: &Element) -> Result<Xi> {
        self.check(g)?;
        Ok(g.single().shallow_clone().into())
    }

    fn injectivity_radius(&self) -> f64 {
        PI
    }

    fn bracket(&self, a: &Xi, _b: &Xi) -> Xi {
        a.zeros_like()
    }

    fn adjoint(&self, _g: &Element, xi: &Xi) -> Xi {
        xi.clone()
    }
}

/// Rotations of the plane; an element is an angle in radians.
#[config]
#[derive(Clone)]
pub struct So2Config {}

#[component("so2", "rotations of the plane", r#"{"type": "so2"}"#)]
impl GroupConfig for So2Config {
    fn build(&self) -> Result<Arc<dyn Group>> {
        Ok(Arc::new(So2))
    }
}
