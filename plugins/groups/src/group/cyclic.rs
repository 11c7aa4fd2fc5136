//! C_n: the cyclic group of order n.

use isotropy_core::{
    Element, Error, FiniteGroup, Group, GroupConfig, Result, Stream, component, config,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The group C_n. An element is the power `k` of the generator, an integer in `0 .. n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cyclic {
    /// The order `n`, at least 1. C_1 is the trivial group.
    pub order: i64,
}

/// 0 for an index in `0 .. order`, otherwise how far outside it lies.
pub(super) fn index_violation(a: &Tensor, order: i64) -> Tensor {
    let outside = (a - (order - 1)).clamp_min(0) + a.neg().clamp_min(0);
    // A fraction is no index either.
    let fraction = if a.is_floating_point() { (a - a.round()).abs() } else { a.zeros_like() };
    (outside + fraction).to_kind(Kind::Double).nan_to_num(f64::INFINITY, None, None)
}

impl Group for Cyclic {
    fn name(&self) -> String {
        format!("C_{}", self.order)
    }

    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        Some(vec![lead.to_vec()])
    }

    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        Tensor::zeros(&xi_shape[0], (Kind::Int64, options.1)).into()
    }

    fn compose(&self, a: &Element, b: &Element) -> Element {
        (a.single() + b.single()).remainder(self.order).into()
    }

    fn inverse(&self, a: &Element) -> Element {
        a.single().neg().remainder(self.order).into()
    }

    fn sample(
        &self,
        xi_shape: &[Vec<i64>],
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Element {
        stream.integers(self.order, &xi_shape[0], options.1).into()
    }

    /// 0 for equal elements, 1 otherwise.
    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        a.single().ne_tensor(b.single()).to_kind(Kind::Double)
    }

    fn violation(&self, a: &Element) -> Tensor {
        index_violation(a.single(), self.order)
    }

    fn finite(&self) -> Option<&dyn FiniteGroup> {
        Some(self)
    }

    /// The rotations of a regular polygon of the plane.
    fn affine(&self, g: &Element, kind: Kind) -> Option<(Tensor, Option<Tensor>)> {
        let angle = g.single().to_kind(kind) * (std::f64::consts::TAU / self.order as f64);
        Some((super::So2::matrix(&angle.unsqueeze(-1)), None))
    }
}

impl FiniteGroup for Cyclic {
    fn order(&self) -> i64 {
        self.order
    }
}

/// The cyclic group of a given order.
#[config]
#[derive(Clone)]
pub struct CyclicConfig {
    /// Number of elements, at least 1.
    #[schemars(range(min = 1))]
    pub order: i64,
}

#[component("cyclic", "the cyclic group C_n", r#"{"type": "cyclic", "order": 4}"#)]
impl GroupConfig for CyclicConfig {
    fn build(&self) -> Result<Arc<dyn Group>> {
        if self.order < 1 {
            return Err(Error::config("/order", "the order of a group is at least 1"));
        }
        Ok(Arc::new(Cyclic { order: self.order }))
    }
}
