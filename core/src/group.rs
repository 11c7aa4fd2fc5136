//! Groups: elements, the Lie algebra or the list of elements, and the laws they are drawn from.
//!
//! An element is one tensor per factor ([`Element`]); algebra coordinates are one tensor per factor
//! ([`Xi`]). All leading axes (batch, and index axes for powers such as one rotation per atom) are
//! carried along. For a left action the fundamental fields satisfy `[X_a, X_b] = -X_[a,b]`.

use crate::{Element, Result, Stream, Xi};
use tch::{Device, Kind, Tensor};

/// A group whose elements are batched tensors.
pub trait Group: Send + Sync + std::fmt::Debug {
    /// Short name for messages: `SO(2)`, `SO(3)xR+`, `T(n)`.
    fn name(&self) -> String;

    /// Number of factors of an element.
    fn factors(&self) -> usize {
        1
    }

    /// Shape of the coefficients, one per factor, for elements with the given leading axes. For a
    /// finite group, whose element is an index, this is the leading axes themselves. A group whose
    /// size comes from the state (`T(n)` of an image) returns `None`; its shapes come from
    /// [`Drive::xi_shape`](crate::Drive::xi_shape).
    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>>;

    /// The identity, for coefficients of the given shapes.
    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element;

    /// The product `a b`.
    fn compose(&self, a: &Element, b: &Element) -> Element;

    /// The inverse.
    fn inverse(&self, a: &Element) -> Element;

    /// Independent elements: the Haar law where it is finite, elsewhere the law that
    /// [`Group::law`] names.
    fn sample(
        &self,
        xi_shape: &[Vec<i64>],
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Element;

    /// The law of [`Group::sample`] in words: `Haar`, or what replaces it.
    fn law(&self) -> &'static str {
        "Haar"
    }

    /// How far two elements are apart: non-negative, zero for equal elements, one number per
    /// element (all leading axes are kept). Only its smallness has a meaning.
    fn distance(&self, a: &Element, b: &Element) -> Tensor;

    /// By how much a tensor violates the defining equations of the group (zero inside), one number
    /// per element: `|R^T R - 1|` for rotations.
    fn violation(&self, a: &Element) -> Tensor;

    /// The Lie algebra, where there is one.
    fn lie(&self) -> Option<&dyn LieGroup> {
        None
    }

    /// The list of elements, where it is finite.
    fn finite(&self) -> Option<&dyn FiniteGroup> {
        None
    }
}

/// The differentiable side of a group.
pub trait LieGroup: Group {
    /// Dimension of the algebra.
    fn dimension(&self, xi_shape: &[Vec<i64>]) -> i64 {
        xi_shape.iter().map(|shape| shape.last().copied().unwrap_or(1)).sum()
    }

    /// The exponential map.
    fn exp(&self, xi: &Xi) -> Element;

    /// The logarithm with the smallest norm.
    ///
    /// # Errors
    /// `Unsupported` outside the image of exp; at the cut locus the choice is documented by the
    /// group.
    fn log(&self, g: &Element) -> Result<Xi>;

    /// Coefficients of norm below this radius are recovered by `log(exp(xi))` (per factor, in the
    /// group's own coordinates); infinite where exp is a bijection.
    fn injectivity_radius(&self) -> f64;

    /// The Lie bracket `[a, b]`.
    fn bracket(&self, a: &Xi, b: &Xi) -> Xi;

    /// The adjoint action `Ad_g xi`, as an operator: `g exp(xi) g^-1 = exp(Ad_g xi)`.
    fn adjoint(&self, g: &Element, xi: &Xi) -> Xi;
}

/// The combinatorial side of a finite group. An element is an index tensor (`Int64`).
pub trait FiniteGroup: Group {
    /// Number of elements.
    fn order(&self) -> i64;

    /// All elements, `[order]`, the identity first.
    fn elements(&self, device: Device) -> Element {
        Element(vec![Tensor::arange(self.order(), (Kind::Int64, device))])
    }
}
