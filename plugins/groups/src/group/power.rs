//! G^n: one element of a group for each point of an index axis.
//!
//! The tensors of an element are those of the base group with the index axis in front of its own
//! axes: `[.., n, 3, 3]` for rotations, one for each atom. `n` is given by the configuration or,
//! without it, by the state. Everything acts point by point; distance and violation are the largest
//! over the index axis.

use isotropy_core::{
    Element, Error, FiniteGroup, Group, GroupConfig, LieGroup, Result, Stream, Xi, component,
    config,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Finite powers of more elements than this are not listed.
const LARGEST_ORDER: i64 = 1 << 20;

/// A power of a group.
#[derive(Debug, Clone)]
pub struct Power {
    base: Arc<dyn Group>,
    count: Option<i64>,
}

impl Power {
    /// `base^count`; `None` takes the number of points from the state.
    ///
    /// # Errors
    /// When the count is below 1, or the base takes its own size from the state.
    pub fn new(base: Arc<dyn Group>, count: Option<i64>) -> Result<Self> {
        if count.is_some_and(|n| n < 1) {
            return Err(Error::config("/count", "a power has at least one point"));
        }
        if base.xi_shape(&[]).is_none() {
            let message = format!("{} takes its size from the state itself", base.name());
            return Err(Error::config("/group", message).with_help("give it a dimension"));
        }
        Ok(Self { base, count })
    }

    /// The group of one point.
    pub fn base(&self) -> &dyn Group {
        self.base.as_ref()
    }

    fn algebra(&self) -> &dyn LieGroup {
        self.base.lie().expect("lie() is offered only when the base has one")
    }

    /// Refuses elements of another number of points.
    fn index_axis(&self, g: &Element) -> Result<()> {
        let Some(expected) = self.trailing_shapes() else { return Ok(()) };
        for (t, expected) in g.0.iter().zip(&expected) {
            if !t.size().ends_with(expected) {
                return Err(Error::Numbers(format!(
                    "not an element of {}: the shape {:?} does not end with {expected:?}",
                    self.name(),
                    t.size()
                )));
            }
        }
        Ok(())
    }

    /// The length of the index axis in shapes of coefficients.
    fn points(&self, xi_shape: &[Vec<i64>]) -> i64 {
        let own = self.base.xi_shape(&[]).map_or(0, |shapes| shapes[0].len());
        let shape = &xi_shape[0];
        shape[shape.len() - own - 1]
    }
}

impl Group for Power {
    fn name(&self) -> String {
        let count = self.count.map_or_else(|| "n".into(), |n| n.to_string());
        format!("({})^{count}", self.base.name())
    }

    fn factors(&self) -> usize {
        self.base.factors()
    }

    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        self.base.xi_shape(&[lead, &[self.count?]].concat())
    }

    /// Three points, where the state would say how many.
    fn example_shape(&self, points: i64) -> Option<Vec<Vec<i64>>> {
        self.base.xi_shape(&[points, self.count.unwrap_or(3)])
    }

    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        self.base.identity(xi_shape, options)
    }

    fn compose(&self, a: &Element, b: &Element) -> Element {
        self.base.compose(a, b)
    }

    fn inverse(&self, a: &Element) -> Element {
        self.base.inverse(a)
    }

    fn sample(
        &self,
        xi_shape: &[Vec<i64>],
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Element {
        self.base.sample(xi_shape, options, stream)
    }

    fn law(&self) -> &'static str {
        if self.base.law() == "Haar" {
            "Haar"
        } else {
            "independent for each point, by the law of the base group"
        }
    }

    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        self.base.distance(a, b).amax([-1], false)
    }

    fn violation(&self, a: &Element) -> Tensor {
        self.base.violation(a).amax([-1], false)
    }

    /// The base refuses in its own words, and so does a wrong number of points.
    fn check(&self, g: &Element) -> Result<()> {
        self.base.check(g)?;
        self.index_axis(g)
    }

    fn lie(&self) -> Option<&dyn LieGroup> {
        self.base.lie().is_some().then_some(self)
    }

    /// Offered where the number of points is known and the group has at most 2^20 elements.
    fn finite(&self) -> Option<&dyn FiniteGroup> {
        let order = self.base.finite()?.order();
        let points = u32::try_from(self.count?).ok()?;
        (order.checked_pow(points)? <= LARGEST_ORDER).then_some(self)
    }
}

impl LieGroup for Power {
    fn dimension(&self, xi_shape: &[Vec<i64>]) -> i64 {
        self.points(xi_shape) * self.algebra().dimension(xi_shape)
    }

    fn exp(&self, xi: &Xi) -> Element {
        self.algebra().exp(xi)
    }

    fn log(&self, g: &Element) -> Result<Xi> {
        self.index_axis(g)?;
        self.algebra().log(g)
    }

    /// The radius of the base, for each point.
    fn injectivity_radius(&self) -> f64 {
        self.algebra().injectivity_radius()
    }

    fn storage_error(&self, kind: Kind) -> f64 {
        self.algebra().storage_error(kind)
    }

    fn bracket(&self, a: &Xi, b: &Xi) -> Xi {
        self.algebra().bracket(a, b)
    }

    fn adjoint(&self, g: &Element, xi: &Xi) -> Xi {
        self.algebra().adjoint(g, xi)
    }
}

impl FiniteGroup for Power {
    fn order(&self) -> i64 {
        let order = self.base.finite().map_or(1, |g| g.order());
        let points = self.count.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        order.checked_pow(points).expect("finite() is offered only where the order is small")
    }

    /// All combinations, the last point running fastest.
    fn elements(&self, device: Device) -> Element {
        let Some(base) = self.base.finite() else { return Element(Vec::new()) };
        let (order, points) = (base.order(), self.count.unwrap_or(0));
        let index = Tensor::arange(self.order(), (Kind::Int64, device));
        let digit = |k: i64| {
            let place = order.pow(u32::try_from(points - 1 - k).unwrap_or(0));
            index.divide_scalar_mode(place, "floor").remainder(order)
        };
        let digits: Vec<Tensor> = (0..points).map(digit).collect();
        let rows = Tensor::stack(&digits, -1).flatten(0, -1);
        let pick = |t: &Tensor| t.index_select(0, &rows).unflatten(0, [self.order(), points]);
        Element(base.elements(device).0.iter().map(pick).collect())
    }
}

/// A power of a group: one element for each point.
#[config]
pub struct PowerConfig {
    /// The group of one point.
    pub group: Box<dyn GroupConfig>,
    /// Number of points, at least 1; null takes it from the state.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub count: Option<i64>,
}

#[component(
    "power",
    "a power of a group: one element for each point",
    r#"{"type": "power", "group": {"type": "so3"}, "count": 4}"#
)]
impl GroupConfig for PowerConfig {
    fn build(&self) -> Result<Arc<dyn Group>> {
        let base = self.group.build().map_err(|e| e.under("/group"))?;
        Ok(Arc::new(Power::new(base, self.count)?))
    }
}
