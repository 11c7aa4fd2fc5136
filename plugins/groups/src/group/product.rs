//! Direct products: the tensors of the factors one after another.

use isotropy_core::{
    Element, Error, FiniteGroup, Group, GroupConfig, LieGroup, Result, Stream, Xi, component,
    config,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// A direct product of any groups, finite ones and Lie groups mixed.
#[derive(Debug, Clone)]
pub struct Product {
    groups: Vec<Arc<dyn Group>>,
    haar: bool,
}

impl Product {
    /// The product, in this order.
    ///
    /// # Errors
    /// When there is no factor.
    pub fn new(groups: Vec<Arc<dyn Group>>) -> Result<Self> {
        if groups.is_empty() {
            return Err(Error::config("/factors", "a product needs at least one factor"));
        }
        let haar = groups.iter().all(|g| g.law() == "Haar");
        Ok(Self { groups, haar })
    }

    /// The groups.
    pub fn groups(&self) -> &[Arc<dyn Group>] {
        &self.groups
    }

    /// Each group with its range of tensors.
    fn ranges(&self) -> impl Iterator<Item = (&dyn Group, std::ops::Range<usize>)> {
        let mut start = 0;
        self.groups.iter().map(move |group| {
            let range = start..start + group.factors();
            start = range.end;
            (group.as_ref(), range)
        })
    }

    /// Refuses elements of another number of tensors.
    fn count(&self, g: &Element) -> Result<()> {
        if g.0.len() == self.factors() {
            return Ok(());
        }
        Err(Error::Numbers(format!(
            "not an element of {}: {} tensors in place of {}",
            self.name(),
            g.0.len(),
            self.factors()
        )))
    }

    fn part(a: &Element, range: std::ops::Range<usize>) -> Element {
        Element(a.0[range].iter().map(Tensor::shallow_clone).collect())
    }

    fn xi_part(xi: &Xi, range: std::ops::Range<usize>) -> Xi {
        Xi(xi.0[range].iter().map(Tensor::shallow_clone).collect())
    }

    /// One algebra after another; only called when every factor is a Lie group.
    fn algebras(&self) -> impl Iterator<Item = (&dyn LieGroup, std::ops::Range<usize>)> {
        self.ranges().map(|(group, range)| {
            (group.lie().expect("lie() is offered only when every factor has one"), range)
        })
    }

    /// The larger of the factors' numbers; kinds differ between finite and Lie factors.
    fn largest(parts: Vec<Tensor>) -> Tensor {
        let kind =
            parts.iter().find(|t| t.kind() != Kind::Double).map_or(Kind::Double, Tensor::kind);
        parts
            .into_iter()
            .map(|t| t.to_kind(kind))
            .reduce(|a, b| a.maximum(&b))
            .expect("a product has at least one factor")
    }
}

impl Group for Product {
    fn name(&self) -> String {
        self.groups.iter().map(|g| g.name()).collect::<Vec<_>>().join("x")
    }

    fn factors(&self) -> usize {
        self.groups.iter().map(|g| g.factors()).sum()
    }

    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        let shapes: Option<Vec<_>> = self.groups.iter().map(|g| g.xi_shape(lead)).collect();
        Some(shapes?.concat())
    }

    fn example_shape(&self, points: i64) -> Option<Vec<Vec<i64>>> {
        let shapes: Option<Vec<_>> = self.groups.iter().map(|g| g.example_shape(points)).collect();
        Some(shapes?.concat())
    }

    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        Element(self.ranges().flat_map(|(g, r)| g.identity(&xi_shape[r], options).0).collect())
    }

    fn compose(&self, a: &Element, b: &Element) -> Element {
        let parts = self
            .ranges()
            .flat_map(|(g, r)| g.compose(&Self::part(a, r.clone()), &Self::part(b, r)).0);
        Element(parts.collect())
    }

    fn inverse(&self, a: &Element) -> Element {
        Element(self.ranges().flat_map(|(g, r)| g.inverse(&Self::part(a, r)).0).collect())
    }

    fn sample(
        &self,
        xi_shape: &[Vec<i64>],
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Element {
        let parts = self.ranges().flat_map(|(g, r)| g.sample(&xi_shape[r], options, stream).0);
        Element(parts.collect())
    }

    fn law(&self) -> &'static str {
        if self.haar { "Haar" } else { "the product of the factors' laws" }
    }

    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        let parts =
            self.ranges().map(|(g, r)| g.distance(&Self::part(a, r.clone()), &Self::part(b, r)));
        Self::largest(parts.collect())
    }

    fn violation(&self, a: &Element) -> Tensor {
        Self::largest(self.ranges().map(|(g, r)| g.violation(&Self::part(a, r))).collect())
    }

    /// Each factor refuses in its own words.
    fn check(&self, g: &Element) -> Result<()> {
        self.count(g)?;
        self.ranges().try_for_each(|(group, range)| group.check(&Self::part(g, range)))
    }

    fn lie(&self) -> Option<&dyn LieGroup> {
        self.groups.iter().all(|g| g.lie().is_some()).then_some(self)
    }

    fn finite(&self) -> Option<&dyn FiniteGroup> {
        self.groups.iter().all(|g| g.finite().is_some()).then_some(self)
    }
}

impl LieGroup for Product {
    fn dimension(&self, xi_shape: &[Vec<i64>]) -> i64 {
        self.algebras().map(|(g, r)| g.dimension(&xi_shape[r])).sum()
    }

    fn exp(&self, xi: &Xi) -> Element {
        Element(self.algebras().flat_map(|(g, r)| g.exp(&Self::xi_part(xi, r)).0).collect())
    }

    fn log(&self, g: &Element) -> Result<Xi> {
        self.count(g)?;
        let mut parts = Vec::with_capacity(self.factors());
        for (group, range) in self.algebras() {
            parts.extend(group.log(&Self::part(g, range))?.0);
        }
        Ok(Xi(parts))
    }

    fn injectivity_radius(&self) -> f64 {
        self.algebras().map(|(g, _)| g.injectivity_radius()).fold(f64::INFINITY, f64::min)
    }

    fn storage_error(&self, kind: Kind) -> f64 {
        self.algebras().map(|(g, _)| g.storage_error(kind)).fold(0.0, f64::max)
    }

    fn bracket(&self, a: &Xi, b: &Xi) -> Xi {
        let parts = self
            .algebras()
            .flat_map(|(g, r)| g.bracket(&Self::xi_part(a, r.clone()), &Self::xi_part(b, r)).0);
        Xi(parts.collect())
    }

    fn adjoint(&self, g: &Element, xi: &Xi) -> Xi {
        let parts = self
            .algebras()
            .flat_map(|(h, r)| h.adjoint(&Self::part(g, r.clone()), &Self::xi_part(xi, r)).0);
        Xi(parts.collect())
    }
}

impl FiniteGroup for Product {
    fn order(&self) -> i64 {
        self.groups.iter().filter_map(|g| g.finite()).map(|g| g.order()).product()
    }

    /// All combinations, the last factor running fastest.
    fn elements(&self, device: Device) -> Element {
        let order = self.order();
        let (mut outer, mut parts) = (1, Vec::with_capacity(self.factors()));
        for finite in self.groups.iter().filter_map(|g| g.finite()) {
            let inner = order / (outer * finite.order());
            let rows = Tensor::arange(finite.order(), (Kind::Int64, device))
                .repeat_interleave_self_int(inner, None, None)
                .repeat([outer]);
            parts.extend(finite.elements(device).0.iter().map(|t| t.index_select(0, &rows)));
            outer *= finite.order();
        }
        Element(parts)
    }
}

/// A direct product of groups.
#[config]
pub struct ProductConfig {
    /// The factors, at least one.
    #[schemars(length(min = 1))]
    pub factors: Vec<Box<dyn GroupConfig>>,
}

#[component(
    "product",
    "a direct product of groups",
    r#"{"type": "product", "factors": [{"type": "so2"}, {"type": "dilations"}]}"#
)]
impl GroupConfig for ProductConfig {
    fn build(&self) -> Result<Arc<dyn Group>> {
        let mut groups = Vec::with_capacity(self.factors.len());
        for (k, factor) in self.factors.iter().enumerate() {
            groups.push(factor.build().map_err(|e| e.under(&format!("/factors/{k}")))?);
        }
        Ok(Arc::new(Product::new(groups)?))
    }
}
