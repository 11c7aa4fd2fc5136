//! Groups: elements, the Lie algebra or the list of elements, and the laws they are drawn from.
//!
//! An element is one tensor per factor ([`Element`]); algebra coordinates are one tensor per factor
//! ([`Xi`]). All leading axes (batch, and index axes for powers such as one rotation per atom) are
//! carried along. For a left action the fundamental fields satisfy `[X_a, X_b] = -X_[a,b]`.

use crate::{Element, Error, Result, Stream, Xi};
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

    /// Shapes of coefficients to test the group with, for a number of points: [`Group::xi_shape`],
    /// and a small size where the size comes from the state. `None` where the group cannot say.
    fn example_shape(&self, points: i64) -> Option<Vec<Vec<i64>>> {
        self.xi_shape(&[points])
    }

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

    /// Refuses what is not in the group: a tensor of the wrong shape, or one that violates the
    /// defining equations ([`Group::violation`]) by more than rounding explains. That is 1e-8 in f64;
    /// 1e-4 in f32, which loses about 1e-6 in a long chain of products.
    ///
    /// Reads one number back from the device, so it belongs at the edges (input, `log`), not into
    /// a loop over steps.
    ///
    /// # Errors
    /// `Numbers` with the size of the largest violation.
    fn check(&self, g: &Element) -> Result<()> {
        check_shapes(self.name(), self.factors(), self.trailing_shapes().as_deref(), g)?;
        let violation = self.violation(g);
        if violation.numel() == 0 {
            return Ok(());
        }
        let single = g.0.iter().any(|t| t.is_floating_point() && t.kind() != Kind::Double);
        let allowed = if single { 1e-4 } else { 1e-8 };
        let worst = violation.max().double_value(&[]);
        if worst <= allowed {
            return Ok(());
        }
        Err(Error::Numbers(format!(
            "not an element of {}: the defining equations are violated by {worst:.3e} (allowed: \
             {allowed:.0e})",
            self.name()
        )))
    }

    /// The axes of each tensor of an element behind the leading ones, where they are fixed: `[3, 3]`
    /// for rotation matrices.
    fn trailing_shapes(&self) -> Option<Vec<Vec<i64>>> {
        let one = self.xi_shape(&[])?;
        Some(self.identity(&one, (Kind::Float, Device::Cpu)).0.iter().map(Tensor::size).collect())
    }

    /// The action on R^n by which the group is defined, where it is one of matrices: `p -> A p + b`
    /// with `A` of shape `[.., n, n]` and `b` of shape `[.., n]` (`None` for linear actions), in the
    /// given kind. Rotations turn vectors, rigid motions move points.
    fn affine(&self, _g: &Element, _kind: Kind) -> Option<(Tensor, Option<Tensor>)> {
        None
    }

    /// The Lie algebra, where there is one.
    fn lie(&self) -> Option<&dyn LieGroup> {
        None
    }

    /// The list of elements, where it is finite.
    fn finite(&self) -> Option<&dyn FiniteGroup> {
        None
    }
}

fn check_shapes(
    name: String,
    factors: usize,
    trailing: Option<&[Vec<i64>]>,
    g: &Element,
) -> Result<()> {
    let sizes: Vec<Vec<i64>> = g.0.iter().map(Tensor::size).collect();
    if sizes.len() != factors {
        return Err(Error::Numbers(format!(
            "not an element of {name}: {} tensors in place of {factors}",
            sizes.len()
        )));
    }
    for (size, expected) in sizes.iter().zip(trailing.unwrap_or_default()) {
        if !size.ends_with(expected) {
            return Err(Error::Numbers(format!(
                "not an element of {name}: the shape {size:?} does not end with {expected:?}"
            )));
        }
    }
    Ok(())
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
    /// `Numbers` for what is not in the group ([`Group::check`]); `Unsupported` outside the image of exp; at the cut locus the choice is documented by the
    /// group.
    fn log(&self, g: &Element) -> Result<Xi>;

    /// Coefficients of norm below this radius are recovered by `log(exp(xi))` (per factor, in the
    /// group's own coordinates); infinite where exp is a bijection.
    fn injectivity_radius(&self) -> f64;

    /// Absolute error of `log(exp(xi))` for small `xi` that is due to how elements are stored: a
    /// matrix with ones on its diagonal forgets coefficients below the rounding unit there. Zero,
    /// the default, where small coefficients keep all their digits (rotations: their matrices hold
    /// them off the diagonal).
    fn storage_error(&self, _kind: Kind) -> f64 {
        0.0
    }

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
