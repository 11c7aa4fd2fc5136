//! T(n): translations.
//!
//! With a dimension, an element is a vector `[.., n]`. Without one the group takes its size from the
//! state: an element has the shape of the value, batch first (an image `[B, C, H, W]`), and only the
//! batch counts as a leading axis.

use super::with_axis;
use isotropy_core::{
    Element, Error, Group, GroupConfig, LieGroup, Result, Stream, Xi, component, config,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The group T(n). Elements and coefficients are vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translations {
    /// `n`; `None` takes the shape of the state.
    pub dimension: Option<i64>,
}

impl Translations {
    /// Everything that belongs to one element as the last axis.
    fn flat(&self, a: &Tensor) -> Tensor {
        match self.dimension {
            Some(_) => a.shallow_clone(),
            None => a.reshape([a.size()[0], -1]),
        }
    }
}

impl Group for Translations {
    fn name(&self) -> String {
        self.dimension.map_or_else(|| "T(n)".into(), |n| format!("T({n})"))
    }

    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        self.dimension.map(|n| with_axis(lead, n))
    }

    /// Vectors of three numbers, where the state would say how many.
    fn example_shape(&self, points: i64) -> Option<Vec<Vec<i64>>> {
        Some(with_axis(&[points], self.dimension.unwrap_or(3)))
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
        "standard normal (the Haar measure is infinite)"
    }

    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        self.flat(&(a.single() - b.single())).norm_scalaropt_dim(2, [-1], false)
    }

    /// Every finite vector is a translation.
    fn violation(&self, a: &Element) -> Tensor {
        super::non_finite(&self.flat(a.single()))
    }

    fn lie(&self) -> Option<&dyn LieGroup> {
        Some(self)
    }

    /// A shift of points, where the dimension is known.
    fn affine(&self, g: &Element, kind: Kind) -> Option<(Tensor, Option<Tensor>)> {
        let n = self.dimension?;
        let shift = g.single().to_kind(kind);
        let shape = [shift.size().as_slice(), &[n]].concat();
        Some((Tensor::eye(n, (kind, shift.device())).expand(shape, false), Some(shift)))
    }
}

impl LieGroup for Translations {
    fn dimension(&self, xi_shape: &[Vec<i64>]) -> i64 {
        self.dimension.unwrap_or_else(|| xi_shape[0].iter().skip(1).product())
    }

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

/// Translations of n-dimensional space.
#[config]
#[derive(Clone)]
pub struct TranslationsConfig {
    /// Dimension of the space, at least 1; null takes it from the state.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub dimension: Option<i64>,
}

#[component("translations", "translations, T(n)", r#"{"type": "translations", "dimension": 3}"#)]
impl GroupConfig for TranslationsConfig {
    fn build(&self) -> Result<Arc<dyn Group>> {
        if self.dimension.is_some_and(|n| n < 1) {
            return Err(Error::config("/dimension", "a translation group has dimension >= 1"));
        }
        Ok(Arc::new(Translations { dimension: self.dimension }))
    }
}
