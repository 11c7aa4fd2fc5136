//! Drives by flow coordinates: what polar, spherical and hyperspherical coordinates have in common.
//!
//! A chart gives coordinates `tau = (log r, angles)` on vectors of `n` components, on the last axis
//! of the value; axes before it (atoms) are independent points. The frame has *one* factor whose
//! last axis holds all `n` coefficients: the coordinate fields `Pi_i = dx/dtau_i` commute and form
//! one frame, and one tensor keeps a sampler step cheap.
//!
//! A lifted state carries the unwrapped `tau` under the name [`TAU`]. Then the fields are those at
//! the unwrapped coordinates, which is what the flow follows: where a polar angle has left
//! `[0, pi]`, they may be reversed against the principal branch
//! ([`FlowCoordinates::orientation`]). Without the lift, everything is on the principal branch. A
//! drive that is [`Charted::unwrapped`] gives every state that it makes the lift, so that a model sees
//! the coordinates that the noise has reached; else only states that came with it have it.

use super::{Trivial, linear};
use isotropy_core::representation::as_type;
use isotropy_core::{
    Aliasing, Drive, Element, Error, Field, FlowCoordinates, Group, Moves, Representation, Result,
    State, StateSpec, Stream, Xi,
};
use std::f64::consts::PI;
use std::fmt::Debug;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The lift field with the unwrapped flow coordinates, of the value's shape.
pub const TAU: &str = "tau";

/// Coordinates on R^n (without its singular set). All tensors have the components on the last axis;
/// `tau`, where it is an `Option`, are the unwrapped coordinates of a lifted state.
pub trait Chart: Debug + Send + Sync + 'static {
    /// Short name for messages.
    fn name(&self) -> String;
    /// The number of components.
    fn dimension(&self) -> i64;
    /// Names of the coordinates.
    fn coordinate_names(&self) -> Vec<String>;
    /// The group.
    fn group(&self) -> Arc<dyn Group>;
    /// Matrices `[B, n, n]` of group elements without their dilation, and the logarithms of the
    /// dilations, `[B, 1]`.
    fn matrix(&self, g: &Element) -> (Tensor, Tensor);
    /// Principal coordinates of points.
    fn tau(&self, x: &Tensor) -> Tensor;
    /// The point with any coordinates.
    fn point(&self, tau: &Tensor) -> Tensor;
    /// The point reached by the flow from the principal branch.
    fn flow(&self, x: &Tensor, xi: &Tensor) -> Tensor {
        self.point(&(self.tau(x) + xi))
    }
    /// `sum_i xi_i Pi_i`.
    fn push(&self, x: &Tensor, tau: Option<&Tensor>, xi: &Tensor) -> Tensor;
    /// `(Pi_i . c)_i`.
    fn pull(&self, x: &Tensor, tau: Option<&Tensor>, c: &Tensor) -> Tensor;
    /// Divergences of the fields with respect to Lebesgue measure.
    fn divergences(&self, x: &Tensor, tau: Option<&Tensor>) -> Tensor;
    /// `sum_i d^2 x / dtau_i^2`.
    fn omega(&self, x: &Tensor) -> Tensor;
    /// The sign of each field against the principal branch.
    fn orientation(&self, tau: &Tensor) -> Option<Tensor>;
    /// All coordinates of the points with the principal coordinates `tau`, these first: angles go
    /// round up to `turns` times each way. A density of coordinates is a sum over them at a point,
    /// so a chart with angles that leaves this out has wrong likelihoods. The default is for charts
    /// without.
    fn branches(&self, tau: &Tensor, _turns: i64) -> Vec<Tensor> {
        vec![tau.shallow_clone()]
    }
    /// `log |det Pi|`, without the last axis.
    fn log_abs_det(&self, x: &Tensor) -> Tensor;
    /// Distance from the singular set, without the last axis.
    fn regularity(&self, x: &Tensor) -> Tensor;
    /// Coordinates after the action of a group element; on the principal branch where the action
    /// is no shift of the coordinates.
    fn act_on_tau(&self, g: &Element, tau: &Tensor, moved: &Tensor) -> Tensor {
        let (_, _) = (g, tau);
        self.tau(moved)
    }
    /// Whether the symmetry moves points by shifting `tau`, so that coefficients stay as they are.
    fn is_shift(&self, symmetry: &dyn Representation) -> bool;
}

/// [`Chart::branches`] of spherical coordinates in any dimension: all coordinates of points with
/// the principal coordinates `tau = (log r, polar angles, azimuth)`, these first. A polar angle
/// that is reflected turns the sign of every component after its own: the polar angles that follow
/// go to `pi - angle`, the azimuth to `azimuth + pi`. After that each angle may go round `-turns
/// ..= turns` times.
pub fn spherical_branches(tau: &Tensor, turns: i64) -> Vec<Tensor> {
    let n = tau.size()[tau.dim() - 1];
    let column = |tau: &Tensor, k: i64| tau.narrow(-1, k, 1);
    let mut found = vec![tau.shallow_clone()];
    for polar in 1..n - 1 {
        let reflected: Vec<Tensor> = found
            .iter()
            .map(|tau| {
                let columns: Vec<Tensor> = (0..n)
                    .map(|k| match k {
                        k if k < polar => column(tau, k),
                        k if k == polar => column(tau, k).neg(),
                        k if k < n - 1 => PI - column(tau, k),
                        _ => column(tau, k) + PI,
                    })
                    .collect();
                Tensor::cat(&columns, -1)
            })
            .collect();
        found.extend(reflected);
    }
    for angle in 1..n {
        let round = |turn: i64| {
            let shift = Tensor::zeros([n], (tau.kind(), tau.device()));
            let _ = shift.narrow(0, angle, 1).fill_(2.0 * PI * turn as f64);
            shift
        };
        // No turn first, so that the principal coordinates stay in front.
        let order = std::iter::once(0).chain((1..=turns).flat_map(|turn| [turn, -turn]));
        let shifts: Vec<Tensor> = order.map(round).collect();
        found = shifts.iter().flat_map(|shift| found.iter().map(move |tau| tau + shift)).collect();
    }
    found
}

/// The representation and drive of a [`Chart`].
#[derive(Debug)]
pub struct Charted<C> {
    chart: C,
    group: Arc<dyn Group>,
    unwrapped: bool,
}

impl<C: Chart> Charted<C> {
    /// The drive of a chart.
    pub fn new(chart: C) -> Self {
        let group = chart.group();
        Self { chart, group, unwrapped: false }
    }

    /// The same drive, whose points carry unwrapped coordinates (or not).
    #[must_use]
    pub fn unwrapped(self, unwrapped: bool) -> Self {
        Self { unwrapped, ..self }
    }

    /// The chart.
    pub fn chart(&self) -> &C {
        &self.chart
    }

    fn lifted(state: &State) -> Option<&Tensor> {
        state.lift.iter().find(|(name, _)| name == TAU).map(|(_, field)| &field.tensor)
    }

    /// The state at another point; the lift is replaced if the state has one, added where the drive
    /// says so.
    fn at(&self, state: &State, x: Tensor, tau: Tensor) -> State {
        let mut moved = state.with_value(x);
        for (name, field) in &mut moved.lift {
            if name == TAU {
                field.tensor = tau;
                return moved;
            }
        }
        if self.unwrapped { Self::carrying(moved, tau) } else { moved }
    }

    /// The state with these coordinates as its lift.
    fn carrying(state: State, tau: Tensor) -> State {
        let mut field = Field::new(tau, Moves::Coordinates);
        field.index_axis = state.value.index_axis;
        state.with_lift(TAU, field)
    }

    fn tau_of(&self, state: &State) -> Tensor {
        Self::lifted(state).map_or_else(|| self.chart.tau(state.x()), Tensor::shallow_clone)
    }
}

/// Everything but the batch as one axis, summed.
fn sum_points(a: &Tensor) -> Tensor {
    if a.dim() > 1 { a.flatten(1, -1).sum_dim_intlist(1, false, None) } else { a.shallow_clone() }
}

impl<C: Chart> Representation for Charted<C> {
    fn name(&self) -> String {
        self.chart.name()
    }

    fn group(&self) -> &dyn Group {
        self.group.as_ref()
    }

    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        let (n, value) = (self.chart.dimension(), &spec.value);
        let vectors = matches!(value.moves, Moves::Point | Moves::Vector);
        if vectors && value.shape.last() == Some(&n) {
            return Ok(());
        }
        Err(Error::Unsupported(format!(
            "{} coordinates need points or vectors with {n} components on the last axis; the value is {:?} of shape {:?}",
            self.chart.name(),
            value.moves,
            value.shape
        )))
    }

    /// Rotations turn points, vectors and frames, dilations scale points and vectors. A lifted
    /// `tau` follows by a shift where the action is one, else it restarts on the principal branch.
    fn act(&self, g: &Element, state: &State) -> Result<State> {
        let (rotation, scale) = self.chart.matrix(g);
        let m = &rotation * scale.exp().unsqueeze(-1);
        let value = linear::apply(&m, state.x());
        linear::move_fields(state, &m, &rotation, |name, field| {
            if name == TAU {
                return Ok(field.with(self.chart.act_on_tau(g, &field.tensor, &value)));
            }
            Err(Error::Unsupported(format!(
                "{} cannot move the field '{name}' ({:?})",
                self.group.name(),
                field.moves
            )))
        })
    }

    fn act_tangent(&self, g: &Element, _state: &State, v: &Tensor) -> Result<Tensor> {
        let (rotation, scale) = self.chart.matrix(g);
        Ok(linear::apply(&(rotation * scale.exp().unsqueeze(-1)), v))
    }

    /// Normal points, moved away from the singular set.
    fn sample_state(
        &self,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        let n = self.chart.dimension();
        let x = stream.normal(&[batch, n], (Kind::Double, options.1));
        // Half a unit outwards in every component: |x_k| >= 1/2.
        let x = &x + x.ge(0.0).to_kind(Kind::Double) - 0.5;
        Some(State::new(Field::new(x.to_kind(options.0), Moves::Point)))
    }

    fn drive(&self) -> Option<&dyn Drive> {
        Some(self)
    }
}

impl<C: Chart> Drive for Charted<C> {
    fn frame(&self) -> String {
        format!("flow coordinates ({})", self.chart.coordinate_names().join(", "))
    }

    fn xi_shape(&self, spec: &StateSpec) -> Vec<Vec<i64>> {
        vec![spec.value.shape.clone()]
    }

    /// Adds the principal coordinates.
    fn lift(&self, state: State) -> Result<State> {
        if Self::lifted(&state).is_some() {
            return Ok(state);
        }
        let x = state.x();
        let closest = self.chart.regularity(x).min().double_value(&[]);
        if closest.is_nan() || closest <= 0.0 {
            return Err(Error::Unsupported(format!(
                "a point lies in the singular set of {} (distance {closest})",
                self.frame()
            )));
        }
        let tau = self.chart.tau(x);
        Ok(Self::carrying(state, tau))
    }

    fn flow(&self, state: &State, xi: &Xi) -> State {
        match Self::lifted(state) {
            Some(tau) => {
                let tau = tau + xi.single();
                self.at(state, self.chart.point(&tau), tau)
            }
            None if self.unwrapped => {
                let tau = self.chart.tau(state.x()) + xi.single();
                self.at(state, self.chart.point(&tau), tau)
            }
            None => state.with_value(self.chart.flow(state.x(), xi.single())),
        }
    }

    fn push(&self, state: &State, xi: &Xi) -> Tensor {
        self.chart.push(state.x(), Self::lifted(state), xi.single())
    }

    fn pull(&self, state: &State, covector: &Tensor) -> Xi {
        self.chart.pull(state.x(), Self::lifted(state), covector).into()
    }

    fn divergences(&self, state: &State) -> Xi {
        self.chart.divergences(state.x(), Self::lifted(state)).into()
    }

    fn ito(&self, state: &State, variance: &[f64]) -> Tensor {
        self.chart.omega(state.x()) * variance.first().copied().unwrap_or(0.0)
    }

    fn coordinates(&self) -> Option<&dyn FlowCoordinates> {
        Some(self)
    }

    fn transport(
        &self,
        symmetry: &dyn Representation,
        _h: &Element,
        _state: &State,
        xi: &Xi,
    ) -> Result<Xi> {
        if as_type::<Trivial>(symmetry).is_some() || self.chart.is_shift(symmetry) {
            return Ok(xi.clone());
        }
        Err(Error::Unsupported(format!(
            "{} knows no linear transport of noise under {}: the symmetry does not shift the coordinates ({})",
            self.frame(),
            symmetry.name(),
            self.chart.coordinate_names().join(", ")
        )))
    }
}

impl<C: Chart> FlowCoordinates for Charted<C> {
    fn names(&self) -> Vec<Vec<String>> {
        vec![self.chart.coordinate_names()]
    }

    fn tau(&self, state: &State) -> Xi {
        self.chart.tau(state.x()).into()
    }

    fn unwrapped(&self, state: &State) -> Xi {
        self.tau_of(state).into()
    }

    fn log_radius(&self, state: &State) -> Option<Tensor> {
        Self::lifted(state).map(|tau| tau.narrow(-1, 0, 1))
    }

    /// Carries `tau` as the lift if `like` does, or the drive says so.
    fn point(&self, like: &State, tau: &Xi) -> State {
        let tau = tau.single();
        self.at(like, self.chart.point(tau), tau.shallow_clone())
    }

    fn orientation(&self, tau: &Xi) -> Option<Xi> {
        self.chart.orientation(tau.single()).map(Xi::from)
    }

    fn branches(&self, state: &State, turns: i64) -> Vec<Xi> {
        let tau = self.chart.tau(state.x());
        self.chart.branches(&tau, turns).into_iter().map(Xi::from).collect()
    }

    /// Tried on coordinates that are far from every principal branch.
    fn aliasing(&self) -> Aliasing {
        let tau = Tensor::full([1, self.chart.dimension()], 20.0, (Kind::Double, Device::Cpu));
        let read = self.chart.tau(&self.chart.point(&tau));
        match (self.unwrapped, (read - tau).abs().max().double_value(&[]) > 1e-6) {
            (_, false) => Aliasing::None,
            (false, true) => Aliasing::Principal,
            (true, true) => Aliasing::Carried,
        }
    }

    fn log_abs_det(&self, state: &State) -> Tensor {
        sum_points(&self.chart.log_abs_det(state.x()))
    }

    /// The smallest distance of the points of a set.
    fn regularity(&self, state: &State) -> Tensor {
        let distance = self.chart.regularity(state.x());
        if distance.dim() > 1 { distance.flatten(1, -1).amin(1, false) } else { distance }
    }
}
