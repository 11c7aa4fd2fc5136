//! The Heisenberg group: upper unitriangular 3x3 matrices.
//!
//! An element is the three entries `(x, y, z)` of `[[1, x, z], [0, 1, y], [0, 0, 1]]`, so that
//! `(x, y, z)(x', y', z') = (x + x', y + y', z + z' + x y')`: every product is exactly in the group.
//! Coefficients `(a, b, c)` are the entries at the same places of strictly triangular matrices.
//! exp is a bijection, `exp(a, b, c) = (a, b, c + a b / 2)`; the centre is the third coordinate. The
//! Haar measure (from both sides) is that of volume in `(x, y, z)`, which is infinite: elements are
//! drawn as exp of standard normal coefficients.

use super::{non_finite, with_axis};
use isotropy_core::{Element, Group, GroupConfig, LieGroup, Result, Stream, Xi, component, config};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The Heisenberg group. Elements are `(x, y, z)`, `[.., 3]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heisenberg;

impl Heisenberg {
    /// The matrices `[.., 3, 3]` of elements `[.., 3]`.
    pub fn matrix(g: &Tensor) -> Tensor {
        let (x, y, z) = (g.select(-1, 0), g.select(-1, 1), g.select(-1, 2));
        let (zero, one) = (x.zeros_like(), x.ones_like());
        let rows = [
            Tensor::stack(&[&one, &x, &z], -1),
            Tensor::stack(&[&zero, &one, &y], -1),
            Tensor::stack(&[&zero, &zero, &one], -1),
        ];
        Tensor::stack(&rows, -2)
    }
}

fn split(a: &Tensor) -> (Tensor, Tensor, Tensor) {
    (a.narrow(-1, 0, 1), a.narrow(-1, 1, 1), a.narrow(-1, 2, 1))
}

/// `a` with `shift` added to the third coordinate.
fn shifted(a: &Tensor, shift: &Tensor) -> Tensor {
    Tensor::cat(&[a.narrow(-1, 0, 2), a.narrow(-1, 2, 1) + shift], -1)
}

impl Group for Heisenberg {
    fn name(&self) -> String {
        "Heisenberg".into()
    }

    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        Some(with_axis(lead, 3))
    }

    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        Tensor::zeros(&xi_shape[0], options).into()
    }

    fn compose(&self, a: &Element, b: &Element) -> Element {
        let ((x, ..), (_, y, _)) = (split(a.single()), split(b.single()));
        shifted(&(a.single() + b.single()), &(x * y)).into()
    }

    fn inverse(&self, a: &Element) -> Element {
        let (x, y, _) = split(a.single());
        shifted(&a.single().neg(), &(x * y)).into()
    }

    fn sample(
        &self,
        xi_shape: &[Vec<i64>],
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Element {
        self.exp(&stream.normal(&xi_shape[0], options).into())
    }

    fn law(&self) -> &'static str {
        "exp of standard normal coefficients (the Haar measure is infinite)"
    }

    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        (a.single() - b.single()).norm_scalaropt_dim(2, [-1], false)
    }

    /// Every three finite numbers are an element.
    fn violation(&self, a: &Element) -> Tensor {
        non_finite(a.single())
    }

    fn lie(&self) -> Option<&dyn LieGroup> {
        Some(self)
    }

    /// The matrix, on vectors of R^3.
    fn affine(&self, g: &Element, kind: Kind) -> Option<(Tensor, Option<Tensor>)> {
        Some((Self::matrix(&g.single().to_kind(kind)), None))
    }
}

impl LieGroup for Heisenberg {
    fn exp(&self, xi: &Xi) -> Element {
        let (a, b, _) = split(xi.single());
        shifted(xi.single(), &(a * b * 0.5)).into()
    }

    /// # Errors
    /// `Numbers` for numbers that are not finite.
    fn log(&self, g: &Element) -> Result<Xi> {
        self.check(g)?;
        let (x, y, _) = split(g.single());
        Ok(shifted(g.single(), &(x * y * -0.5)).into())
    }

    fn injectivity_radius(&self) -> f64 {
        f64::INFINITY
    }

    /// `(0, 0, a b' - b a')`.
    fn bracket(&self, a: &Xi, b: &Xi) -> Xi {
        let ((a1, a2, _), (b1, b2, _)) = (split(a.single()), split(b.single()));
        shifted(&a.single().zeros_like(), &(a1 * b2 - a2 * b1)).into()
    }

    /// `(a, b, c + x b - y a)`.
    fn adjoint(&self, g: &Element, xi: &Xi) -> Xi {
        let ((x, y, _), (a, b, _)) = (split(g.single()), split(xi.single()));
        shifted(xi.single(), &(x * b - y * a)).into()
    }
}

/// The Heisenberg group; an element is three numbers (x, y, z).
#[config]
#[derive(Clone)]
pub struct HeisenbergConfig {}

#[component(
    "heisenberg",
    "the Heisenberg group: unitriangular 3x3 matrices",
    r#"{"type": "heisenberg"}"#
)]
impl GroupConfig for HeisenbergConfig {
    fn build(&self) -> Result<Arc<dyn Group>> {
        Ok(Arc::new(Heisenberg))
    }
}
