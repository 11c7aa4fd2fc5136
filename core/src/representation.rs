//! Representations: how a group acts on a state, and, for drives, the frame of fields along which
//! points move.

use crate::{Element, Error, Field, Group, Moves, Result, State, StateSpec, Stream, Xi};
use std::any::Any;
use tch::{Device, Kind, Tensor};

/// An action of a group on states.
///
/// `Any`, so that a drive can recognise the symmetries that it knows a transport for
/// ([`Drive::transport`], [`as_type`]).
pub trait Representation: Send + Sync + std::fmt::Debug + Any {
    /// Short name for messages.
    fn name(&self) -> String;

    /// The group that acts.
    fn group(&self) -> &dyn Group;

    /// Whether states of these shapes can be acted on, checked before any data are read.
    ///
    /// # Errors
    /// The reason, in words.
    fn accepts(&self, spec: &StateSpec) -> Result<()>;

    /// Shapes (batch first) of group elements that act on this state; shapes as in
    /// [`Group::xi_shape`]. The default is one element for each point of the batch.
    fn element_shape(&self, state: &State) -> Result<Vec<Vec<i64>>> {
        self.group().xi_shape(&[state.batch_size()]).ok_or_else(|| {
            Error::Unsupported(format!("{} takes its size from the state", self.group().name()))
        })
    }

    /// `g . state`: value, lift and context all move, each by its [`Moves`].
    ///
    /// # Errors
    /// When a field cannot be moved by this group.
    fn act(&self, g: &Element, state: &State) -> Result<State>;

    /// Pushes a tangent vector of the value at `state` to `g . state`: shape of the value. For a
    /// linear action this is the action itself, for an affine one its linear part.
    ///
    /// # Errors
    /// When the action has no derivative that is known.
    fn act_tangent(&self, g: &Element, state: &State, v: &Tensor) -> Result<Tensor>;

    /// An upper bound of the error `|g.(h.x) - (gh).x|` relative to `|x|` that is due to
    /// interpolation; zero for exact actions. Checks widen their tolerance by it.
    fn approximation_error(&self) -> f64 {
        0.0
    }

    /// States as a dataset would give them (without lift) on which the conformance suite tests this
    /// action: regular points, spread over the space. `None`: the suite skips with that reason.
    fn sample_state(
        &self,
        _batch: i64,
        _options: (Kind, Device),
        _stream: &mut Stream,
    ) -> Option<State> {
        None
    }

    /// A state of these shapes with random numbers, for probing ([`probe_symmetry`]). An action that
    /// reads structure out of the context (which atoms a bond turns) makes some up here; the default
    /// has normal numbers everywhere.
    ///
    /// [`probe_symmetry`]: crate::probe_symmetry
    fn random_state(
        &self,
        spec: &StateSpec,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> State {
        State::random(spec, batch, options, stream)
    }

    /// The frame of fields, if this action can drive points.
    fn drive(&self) -> Option<&dyn Drive> {
        None
    }
}

/// The concrete type behind a representation, if it is `T`.
pub fn as_type<T: Representation>(representation: &dyn Representation) -> Option<&T> {
    let any: &dyn Any = representation;
    any.downcast_ref()
}

/// A representation whose fields move points: `x <- flow(x, xi)`.
///
/// Coefficients `xi` are one tensor per factor, batch first. Nothing here ever forms the matrix of
/// the frame.
pub trait Drive: Representation {
    /// The name of the frame: `flow coordinates (log r, theta)`, `algebra generators`.
    fn frame(&self) -> String;

    /// Shapes of the coefficients without the batch, one per factor; from the spec alone. Where their
    /// number varies within a batch (the bonds of a molecule that turn), it is the largest, the
    /// context says which are there, and [`Drive::horizontal`] zeroes the others as it zeroes the
    /// coefficients of padded points.
    fn xi_shape(&self, spec: &StateSpec) -> Vec<Vec<i64>>;

    /// Adds the lift that [`Drive::flow`] updates (unwrapped coordinates, a total angle) to a state
    /// that comes from a dataset. The default adds nothing.
    ///
    /// # Errors
    /// When the state lies in the singular set.
    fn lift(&self, state: State) -> Result<State> {
        Ok(state)
    }

    /// The point reached by the exact flow with constant coefficients `xi`.
    fn flow(&self, state: &State, xi: &Xi) -> State;

    /// The tangent vector `sum_i xi_i Pi_i(x)`: shape of the value.
    fn push(&self, state: &State, xi: &Xi) -> Tensor;

    /// The transpose of [`Drive::push`]: `(Pi_i(x) . covector)_i`. Turns a gradient with respect to
    /// the value into the generalised score `L log p = Pi^T grad log p`.
    fn pull(&self, state: &State, covector: &Tensor) -> Xi;

    /// Divergence of every field of the frame with respect to the base measure
    /// ([`Drive::base_measure`]).
    fn divergences(&self, state: &State) -> Xi;

    /// The measure that densities and divergences refer to: `Lebesgue`, `Haar`, ...
    fn base_measure(&self) -> &'static str {
        "Lebesgue"
    }

    /// The Ito term `Omega = sum_i (Pi_i . grad) Pi_i` weighted by the variance of each factor's
    /// noise per unit time: shape of the value. A process with noise `g_k` in factor `k` moves by
    /// `1/2 Omega(g^2) dt` on top of its drift when it is integrated in `x` instead of by the flow.
    fn ito(&self, state: &State, variance: &[f64]) -> Tensor;

    /// Flow coordinates, where the frame has them.
    fn coordinates(&self) -> Option<&dyn FlowCoordinates> {
        None
    }

    /// What each factor moves points on, where the frame is made of algebra generators whose orbits
    /// have a known heat kernel.
    fn homogeneous(&self) -> Option<&dyn Homogeneous> {
        None
    }

    /// Removes the components that the stabiliser makes invisible, those of padding, and, where
    /// points count only up to a symmetry (a quotient), those along its orbits: what is left has the
    /// degrees of freedom of the space of points. Predictions and targets are horizontal. The default
    /// is for free actions: nothing to remove.
    fn horizontal(&self, _state: &State, xi: &Xi) -> Xi {
        xi.clone()
    }

    /// `transport(h, xi)` with `h flow(x, xi) = flow(h x, transport(h, xi))`: how noise (after
    /// colouring) moves with the input under a symmetry.
    ///
    /// # Errors `Unsupported` when this drive knows no such map for the symmetry: the pair is
    /// refused.
    fn transport(
        &self,
        symmetry: &dyn Representation,
        h: &Element,
        state: &State,
        xi: &Xi,
    ) -> Result<Xi>;
}

impl dyn Drive + '_ {
    /// Coefficients that do not move the points of a state.
    pub fn zeros(&self, state: &State) -> Xi {
        self.filled(state, |size| Tensor::zeros(size, state.options()))
    }

    /// Standard normal coefficients at every point of a state, in all directions of the frame.
    pub fn normal(&self, state: &State, stream: &mut Stream) -> Xi {
        self.filled(state, |size| stream.normal(size, state.options()))
    }

    fn filled(&self, state: &State, mut fill: impl FnMut(&[i64]) -> Tensor) -> Xi {
        let batch = [state.batch_size()];
        let shapes = self.xi_shape(&state.spec()).into_iter();
        Xi(shapes.map(|shape| fill(&[&batch, shape.as_slice()].concat())).collect())
    }
}

/// What one factor of a frame of algebra generators moves points on. Horizontal coefficients of norm
/// 1 (over the last axis) move a point at unit speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// Circles: every coefficient turns an angle of its own.
    Circle,
    /// SO(3), by rotation vectors; the distance is the angle of rotation, up to pi.
    Rotations,
    /// The unit sphere of this dimension, by rotations; the distance is the angle, up to pi.
    Sphere(i64),
    /// R^k, by translations: the coefficients add to [`Homogeneous::flat`].
    Flat,
}

/// A frame of algebra generators that splits into factors, each of which moves points on one
/// [`Space`] and leaves the places of the others alone. Coefficients have their components on the
/// last axis; axes before it are independent points.
pub trait Homogeneous {
    /// The space of each factor.
    fn spaces(&self) -> Vec<Space>;

    /// The place of a state in a [`Space::Flat`] factor: shape of the coefficients.
    ///
    /// # Errors
    /// When that factor is not flat.
    fn flat(&self, state: &State, factor: usize) -> Result<Tensor>;

    /// Log-density, with respect to the base measure, of the product of the uniform probabilities
    /// of the compact factors and Lebesgue measure in the coordinates of the flat ones: shape `[B]`.
    fn log_uniform(&self, state: &State) -> Tensor;

    /// The shortest horizontal coefficients with `flow(from, xi) = to`. Where several are equally
    /// short (antipodes), one of them, or zero where no direction stands out.
    ///
    /// # Errors
    /// When one of the states is not a point of the space.
    fn displacement(&self, from: &State, to: &State) -> Result<Xi>;
}

/// Whether flow coordinates are a function of the point: angles are not, they come back after a
/// turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aliasing {
    /// They are.
    None,
    /// They are not, and points are read on the principal branch: what the noise has moved beyond
    /// it is lost. Exact predictions there are averages over branches ([`PredictionKind::Field`]).
    ///
    /// [`PredictionKind::Field`]: crate::PredictionKind::Field
    Principal,
    /// They are not, and every state that the drive makes carries its unwrapped coordinates.
    Carried,
}

/// Coordinates in which the fields of the frame are the coordinate fields: `dx/dtau_i = Pi_i(x)`.
pub trait FlowCoordinates {
    /// Names of the coordinates, one list per factor.
    fn names(&self) -> Vec<Vec<String>>;

    /// `tau(x)` on the principal branch.
    fn tau(&self, state: &State) -> Xi;

    /// `tau` followed continuously by the flow, if the state carries it as a lift, else the
    /// principal branch.
    fn unwrapped(&self, state: &State) -> Xi {
        self.tau(state)
    }

    /// `log r` of every position (the norm over the last axis, which is kept with length 1), where the
    /// state carries it in its lift; `None` where it would have to be computed.
    fn log_radius(&self, _state: &State) -> Option<Tensor> {
        None
    }

    /// The point with the given (unwrapped) coordinates; keeps the context of `like`.
    fn point(&self, like: &State, tau: &Xi) -> State;

    /// The orientation `eps` in {-1, +1} of each coordinate field at unwrapped coordinates compared
    /// with the principal branch of the same point (Pi_theta is reversed where `sin theta < 0`).
    /// `None` when it is +1 everywhere.
    fn orientation(&self, tau: &Xi) -> Option<Xi>;

    /// All coordinates of the point of a state, each point of a set on its own (its coordinates are the
    /// last axis), the principal ones first: every angle goes round up to `turns` times each way, and
    /// polar angles are reflected with what that does to the others. The density of a law of `tau` at
    /// a point is the sum over them. The default is for coordinates without angles.
    fn branches(&self, state: &State, _turns: i64) -> Vec<Xi> {
        vec![self.tau(state)]
    }

    /// Whether the coordinates are a function of the point. The default is for coordinates without
    /// angles.
    fn aliasing(&self) -> Aliasing {
        Aliasing::None
    }

    /// `log |det Pi(x)|`, shape `[B]`: `log p_tau(tau) = log p_X(x) + log |det Pi(x)|`.
    fn log_abs_det(&self, state: &State) -> Tensor;

    /// Distance of each point from the singular set, shape `[B]`; non-positive inside it.
    fn regularity(&self, state: &State) -> Tensor;
}

/// The matrices `[B, d, d]` by which a symmetry moves vectors of `d` components, for elements with
/// the batch as their only leading axis: what a drive whose coefficients are vectors (or, with the
/// determinant, axial vectors) needs to know for [`Drive::transport`], whatever the symmetry is.
///
/// # Errors
/// When the symmetry does not act on vectors of this dimension.
pub fn vector_matrix(
    symmetry: &dyn Representation,
    h: &Element,
    like: &State,
    dimension: i64,
) -> Result<Tensor> {
    let batch = like.batch_size();
    let basis = Tensor::eye(dimension, like.options()).expand([batch, -1, -1], false);
    let state = State::new(Field::new(basis, Moves::Vector).indexed(1));
    // Row i of the result is the image of basis vector i, so columns of the matrix are its rows.
    Ok(symmetry.act(h, &state)?.x().transpose(1, 2))
}
