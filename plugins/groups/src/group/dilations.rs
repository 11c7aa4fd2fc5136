//! R+: multiplication by positive factors.
//!
//! An element is the logarithm of its factor, so that products and inverses are exact and no factor
//! over- or underflows. exp and log are the identity map.

use super::{non_finite, with_axis};
use isotropy_core::{Element, Group, GroupConfig, LieGroup, Result, Stream, Xi, component, config};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The group R+ of dilations. Elements and coefficients are logarithms of factors, `[.., 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dilations;

impl Group for Dilations {
    fn name(&self) -> String {
        "R+".into()
    }

    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        Some(with_axis(lead, 1))
    }

    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        Tensor::zeros(&xi_shape[0], options).into()
    }

    fn compose(&self, a: &Element, b: &Element) -> Element {
        (a.single() + b.single()).into()
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
        stream.normal(&xi_shape[0], options).into()
    }

    fn law(&self) -> &'static str {
        "log-normal: the logarithm of the factor is N(0, 1) (the Haar measure is infinite)"
    }

    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        (a.single() - b.single()).abs().squeeze_dim(-1)
    }

    /// Every finite logarithm is a dilation.
    fn violation(&self, a: &Element) -> Tensor {
        non_finite(a.single())
    }

    fn lie(&self) -> Option<&dyn LieGroup> {
        Some(self)
    }

    /// The factor, on the line.
    fn affine(&self, g: &Element, kind: Kind) -> Option<(Tensor, Option<Tensor>)> {
        Some((g.single().to_kind(kind).exp().unsqueeze(-1), None))
    }
}

impl LieGroup for Dilations {
    fn exp(&self, xi: &Xi) -> Element {
        xi.single().shallow_clone().into()
    }

    /// # Errors
    /// `Numbers` for numbers that are not finite.
    fn log(&self, g: &Element) -> Result<Xi> {
        self.check(g)?;
        Ok(g.single().shallow_clone().into())
    }

    fn injectivity_radius(&self) -> f64 {
        f64::INFINITY
    }

    fn bracket(&self, a: &Xi, _b: &Xi) -> Xi {
        a.zeros_like()
    }

    fn adjoint(&self, _g: &Element, xi: &Xi) -> Xi {
        xi.clone()
    }
}

/// Dilations; an element is the logarithm of the factor.
#[config]
#[derive(Clone)]
pub struct DilationsConfig {}

#[component("dilations", "dilations (R+), by their logarithms", r#"{"type": "dilations"}"#)]
impl GroupConfig for DilationsConfig {
    fn build(&self) -> Result<Arc<dyn Group>> {
        Ok(Arc::new(Dilations))
    }
}
