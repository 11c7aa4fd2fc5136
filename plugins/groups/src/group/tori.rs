//! T^n: tori, as angles modulo 2 pi.
//!
//! n independent copies of [`So2`](super::So2) in one tensor: exp wraps, log is the angle itself, in
//! `[-pi, pi]`. On the cut locus (a half turn of any of the angles) log returns the end that the
//! element carries.

use super::so2::wrap;
use super::{non_finite, with_axis};
use isotropy_core::{
    Element, Error, Group, GroupConfig, LieGroup, Result, Stream, Xi, component, config,
};
use std::f64::consts::{PI, TAU};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The torus T^n. Elements and coefficients are angles in radians, `[.., n]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torus {
    /// The number of angles, at least 1.
    pub dimension: i64,
}

impl Group for Torus {
    fn name(&self) -> String {
        format!("T^{}", self.dimension)
    }

    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        Some(with_axis(lead, self.dimension))
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

    /// The length of the shortest path.
    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        wrap(&(a.single() - b.single())).norm_scalaropt_dim(2, [-1], false)
    }

    /// How far the furthest angle lies outside `[-pi, pi]`.
    fn violation(&self, a: &Element) -> Tensor {
        let angle = a.single();
        (angle.abs() - PI).clamp_min(0.0).amax([-1], false) + non_finite(angle)
    }

    fn lie(&self) -> Option<&dyn LieGroup> {
        Some(self)
    }
}

impl LieGroup for Torus {
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

/// Tori; an element is n angles in radians.
#[config]
#[derive(Clone)]
pub struct ToriConfig {
    /// Number of angles, at least 1.
    #[schemars(range(min = 1))]
    pub dimension: i64,
}

#[component("tori", "tori T^n: angles modulo 2 pi", r#"{"type": "tori", "dimension": 2}"#)]
impl GroupConfig for ToriConfig {
    fn build(&self) -> Result<Arc<dyn Group>> {
        if self.dimension < 1 {
            return Err(Error::config("/dimension", "a torus has at least one angle"));
        }
        Ok(Arc::new(Torus { dimension: self.dimension }))
    }
}
