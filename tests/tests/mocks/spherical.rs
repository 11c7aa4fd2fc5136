//! SO(n)xR+ on every atom of a set, in flow coordinates `(log r, angles)`: the published drive of
//! conformers. The lift is the unwrapped `tau`. The charts of `isotropy_groups` are for points that are
//! all there; this one leaves padding alone (its plugin is to come).

use crate::groups::Euclid;
use isotropy_core::{
    Drive, Element, Error, Field, FlowCoordinates, Group, Moves, Representation, Result, State,
    StateSpec, Stream, Xi,
};
use tch::{Device, Kind, Tensor};

/// SO(n) x R+ : a rotation `[.., n, n]` and the logarithm of a factor `[.., 1]`.
#[derive(Debug)]
pub struct Scaled(Euclid);

impl Group for Scaled {
    fn name(&self) -> String {
        format!("SO({})xR+", self.0.n)
    }
    fn factors(&self) -> usize {
        2
    }
    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        Some(vec![[lead, &[self.0.n * (self.0.n - 1) / 2]].concat(), [lead, &[1]].concat()])
    }
    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        let q = self.0.identity(xi_shape, options).0.remove(0);
        Element(vec![q, Tensor::zeros(&xi_shape[1], options)])
    }
    fn compose(&self, a: &Element, b: &Element) -> Element {
        Element(vec![a.0[0].matmul(&b.0[0]), &a.0[1] + &b.0[1]])
    }
    fn inverse(&self, a: &Element) -> Element {
        Element(vec![a.0[0].transpose(-2, -1), -&a.0[1]])
    }
    fn sample(&self, shape: &[Vec<i64>], options: (Kind, Device), stream: &mut Stream) -> Element {
        let q = self.0.sample(&shape[..1], options, stream).0.remove(0);
        Element(vec![q, stream.normal(&shape[1], options)])
    }
    fn law(&self) -> &'static str {
        "Haar x log-normal"
    }
    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        self.0.distance(a, b)
    }
    fn violation(&self, a: &Element) -> Tensor {
        Euclid { translate: false, ..self.0 }.violation(a)
    }
}

/// Hyperspherical flow coordinates on the last axis (sism.md 2.1-2.3).
#[derive(Debug)]
pub struct Spherical {
    n: i64,
    group: Scaled,
}

impl Spherical {
    pub fn new(n: i64) -> Self {
        Self { n, group: Scaled(Euclid { n, translate: false, reflect: false }) }
    }
    /// Padding sits at tau = 0 and never moves.
    fn masked(state: &State, a: Tensor) -> Tensor {
        match state.mask() {
            Some(mask) => a.where_self(
                &mask.unsqueeze(-1).gt(0.5),
                &Tensor::zeros([1], (a.kind(), a.device())),
            ),
            None => a,
        }
    }
    fn at(x: &Tensor, k: i64) -> Tensor {
        x.narrow(-1, k, 1)
    }
    fn value(&self, tau: &Tensor) -> Tensor {
        let mut left = Self::at(tau, 0).exp();
        let mut x = Vec::new();
        for k in 1..self.n {
            x.push(&left * Self::at(tau, k).cos());
            left *= Self::at(tau, k).sin();
        }
        x.push(left);
        Tensor::cat(&x, -1)
    }
    /// The fields at unwrapped coordinates: `dx/dtau_k`, one tensor each.
    fn fields(&self, tau: &Tensor) -> Vec<Tensor> {
        let x = self.value(tau);
        let angle = |k: i64| {
            let (phi, before) = (Self::at(tau, k), x.narrow(-1, 0, k - 1));
            let behind = x.narrow(-1, k, self.n - k) * (phi.cos() / phi.sin());
            let here = -Self::at(&x, k - 1) * (phi.sin() / phi.cos());
            Tensor::cat(&[before.zeros_like(), here, behind], -1)
        };
        std::iter::once(x.shallow_clone()).chain((1..self.n).map(angle)).collect()
    }
    /// Both `div Pi` and `log |det Pi|` come from `(n - 1 - k) log |sin phi_k|`.
    fn weight(&self, k: i64) -> f64 {
        (self.n - 1 - k) as f64
    }
}

impl Representation for Spherical {
    fn name(&self) -> String {
        format!("{} on R^{}", self.group.name(), self.n)
    }
    fn group(&self) -> &dyn Group {
        &self.group
    }
    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        match spec.value.shape.last() {
            Some(n) if *n == self.n => Ok(()),
            _ => Err(Error::Unsupported(format!("the last axis must have size {}", self.n))),
        }
    }
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        let x = crate::groups::rotate(&g.0[0], state.x()) * g.0[1].exp();
        let moved = state.with_value(x);
        if self.n > 2 {
            return self.lift(moved);
        }
        // In the plane the action is a shift of tau, followed without a jump.
        let angle = g.0[0].select(-1, 0).select(-1, 1).atan2(&g.0[0].select(-1, 0).select(-1, 0));
        let shift = Tensor::cat(&[&g.0[1], &angle.unsqueeze(-1)], -1);
        let tau = self.unwrapped(state).add(&shift.into());
        Ok(self.point(&moved, &tau))
    }
    fn act_tangent(&self, g: &Element, _: &State, v: &Tensor) -> Result<Tensor> {
        Ok(crate::groups::rotate(&g.0[0], v) * g.0[1].exp())
    }
    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

impl Drive for Spherical {
    fn frame(&self) -> String {
        "flow coordinates (log r, angles)".into()
    }
    fn xi_shape(&self, spec: &StateSpec) -> Vec<Vec<i64>> {
        vec![spec.value.shape.clone()]
    }
    fn lift(&self, state: State) -> Result<State> {
        if self.regularity(&state).le(0.0).any().int64_value(&[]) != 0 {
            return Err(Error::Numbers("a point lies in the singular set".into()));
        }
        let tau = self.tau(&state);
        Ok(self.point(&state, &tau))
    }
    fn flow(&self, state: &State, xi: &Xi) -> State {
        self.point(state, &self.unwrapped(state).add(xi))
    }
    fn push(&self, state: &State, xi: &Xi) -> Tensor {
        let fields = self.fields(self.unwrapped(state).single()).into_iter().enumerate();
        let terms = fields.map(|(k, field)| field * Self::at(xi.single(), k as i64));
        Self::masked(state, terms.reduce(|a, b| a + b).expect("n fields"))
    }
    fn pull(&self, state: &State, covector: &Tensor) -> Xi {
        let fields = self.fields(self.unwrapped(state).single()).into_iter();
        let parts: Vec<Tensor> =
            fields.map(|f| (f * covector).sum_dim_intlist(-1, true, Kind::Double)).collect();
        Self::masked(state, Tensor::cat(&parts, -1)).into()
    }
    fn divergences(&self, state: &State) -> Xi {
        let tau = self.unwrapped(state);
        let cot = |k| Self::at(tau.single(), k).tan().reciprocal() * self.weight(k);
        let radius = Self::at(tau.single(), 0).ones_like() * self.n as f64;
        let all: Vec<Tensor> = std::iter::once(radius).chain((1..self.n).map(cot)).collect();
        Tensor::cat(&all, -1).into()
    }
    fn ito(&self, state: &State, variance: &[f64]) -> Tensor {
        // d2x/dlogr2 = x; d2x/dphi_k2 = -(0, .., x_k, .., x_n).
        let counts = Tensor::from_slice(
            &(0..self.n).map(|k| (k + 1).min(self.n - 1) as f64).collect::<Vec<_>>(),
        );
        state.x() * (counts.neg() + 1.0) * variance[0]
    }
    fn coordinates(&self) -> Option<&dyn FlowCoordinates> {
        Some(self)
    }
    fn horizontal(&self, state: &State, xi: &Xi) -> Xi {
        Self::masked(state, xi.single().shallow_clone()).into()
    }
    fn transport(
        &self,
        symmetry: &dyn Representation,
        _: &Element,
        _: &State,
        xi: &Xi,
    ) -> Result<Xi> {
        if self.n == 2 && symmetry.group().name() == self.group.name() {
            return Ok(xi.clone()); // a commutative group: Ad is the identity
        }
        Err(Error::Unsupported("these flow coordinates have a preferred axis".into()))
    }
}

impl FlowCoordinates for Spherical {
    fn names(&self) -> Vec<Vec<String>> {
        let angles = (1..self.n).map(|k| format!("phi_{k}"));
        vec![std::iter::once("log r".to_string()).chain(angles).collect()]
    }
    fn tau(&self, state: &State) -> Xi {
        let x = state.x();
        let tail = |k: i64| {
            x.narrow(-1, k, self.n - k).square().sum_dim_intlist(-1, true, Kind::Double).sqrt()
        };
        let mut tau = vec![tail(0).log()];
        for k in 1..self.n {
            let behind = if k == self.n - 1 { Self::at(x, k) } else { tail(k) };
            tau.push(behind.atan2(&Self::at(x, k - 1)));
        }
        Self::masked(state, Tensor::cat(&tau, -1)).into()
    }
    fn unwrapped(&self, state: &State) -> Xi {
        state.lifted("tau").map_or_else(|_| self.tau(state), |f| f.tensor.shallow_clone().into())
    }
    fn point(&self, like: &State, tau: &Xi) -> State {
        let x = Self::masked(like, self.value(tau.single()));
        let mut lift = Field::new(tau.single().shallow_clone(), Moves::Coordinates);
        lift.index_axis = like.value.index_axis;
        like.with_value(x).with_lift("tau", lift)
    }
    fn orientation(&self, tau: &Xi) -> Option<Xi> {
        // The frame of angle k turns with the sign of sin phi_1 .. sin phi_k; the last one does not.
        let one = Self::at(tau.single(), 0).ones_like();
        let mut eps = vec![one.shallow_clone()];
        let mut sign = one.copy();
        for k in 1..self.n - 1 {
            sign *= Self::at(tau.single(), k).sin().sign();
            eps.push(sign.copy()); // the product above works in place
        }
        eps.push(one);
        (self.n > 2).then(|| Tensor::cat(&eps, -1).into())
    }
    fn log_abs_det(&self, state: &State) -> Tensor {
        let tau = self.unwrapped(state);
        let parts =
            (1..self.n - 1).map(|k| Self::at(tau.single(), k).sin().abs().log() * self.weight(k));
        let radius = Self::at(tau.single(), 0) * self.n as f64;
        let all = Self::masked(state, parts.fold(radius, |a, b| a + b));
        all.flatten(1, -1).sum_dim_intlist(1, false, Kind::Double)
    }
    fn regularity(&self, state: &State) -> Tensor {
        let tail = state.x().narrow(-1, (self.n - 2).max(0), 2).norm_scalaropt_dim(2.0, [-1], true);
        let tail = match state.mask() {
            Some(mask) => tail.where_self(&mask.unsqueeze(-1).gt(0.5), &tail.ones_like()),
            None => tail,
        };
        tail.flatten(1, -1).amin([1], false)
    }
}
