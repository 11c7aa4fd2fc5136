//! The action by which a group of matrices is defined: rotations on vectors, rigid motions on
//! points, unit quaternions on quaternions.

use super::linear::{self, Linear};
use isotropy_core::{
    Element, Error, Field, Group, GroupConfig, Moves, Representation, RepresentationConfig, Result,
    State, StateSpec, Stream, component, config,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The defining action `p -> A p + b` of a group ([`Group::affine`]) on all points, vectors and
/// frames of a state, one element for each point of the batch: a whole point cloud `[B, N, n]` moves
/// with one element. Vectors and tangents move by `A` alone. Frames are moved only by groups whose
/// `A` is orthogonal (which is found out on a sample): others would make them something else.
///
/// Any group that offers [`Group::affine`] can be used, a plugin's own too.
#[derive(Debug, Clone)]
pub struct Defining {
    group: Arc<dyn Group>,
    dimension: i64,
    linear: bool,
    orthogonal: bool,
}

impl Defining {
    /// The action of that group.
    ///
    /// # Errors
    /// `Unsupported` when the group has no such action, or takes its size from the state.
    pub fn new(group: Arc<dyn Group>) -> Result<Self> {
        let none = || {
            Error::Unsupported(format!(
                "{} is not defined by an action on R^n of one size",
                group.name()
            ))
        };
        let shape = group.xi_shape(&[4]).ok_or_else(none)?;
        let g = group.sample(&shape, (Kind::Double, Device::Cpu), &mut Stream::probe());
        let (a, b) = group.affine(&g, Kind::Double).ok_or_else(none)?;
        let dimension = a.size()[2];
        let gram = a.transpose(1, 2).matmul(&a) - Tensor::eye(dimension, (a.kind(), a.device()));
        let orthogonal = gram.abs().max().double_value(&[]) < 1e-8;
        Ok(Self { group, dimension, linear: b.is_none(), orthogonal })
    }

    /// The dimension `n` of the space.
    pub fn dimension(&self) -> i64 {
        self.dimension
    }

    /// Whether the origin stays where it is, so that this is a linear representation.
    pub fn is_linear(&self) -> bool {
        self.linear
    }

    /// `A` and `b` of elements.
    fn parts(&self, g: &Element, kind: Kind) -> (Tensor, Option<Tensor>) {
        self.group.affine(g, kind).expect("the group had an action when this was made")
    }
}

/// Why an action on vectors of R^n does not move a field.
pub(crate) fn refusal(action: &str, name: &str, moves: Moves, shape: &[i64]) -> Error {
    Error::Unsupported(format!("{action} cannot move '{name}' ({moves:?} of shape {shape:?})"))
}

/// Whether every field is something that an action on R^n moves or leaves; `coordinates` tells which
/// flow coordinates it moves.
///
/// # Errors
/// `Unsupported` for the first field that is not.
pub(crate) fn fits(
    action: &str,
    n: i64,
    frames: bool,
    spec: &StateSpec,
    coordinates: impl Fn(&str) -> bool,
) -> Result<()> {
    let fields = spec.lift.iter().chain(&spec.context).map(|(name, f)| (name.as_str(), f));
    for (name, field) in std::iter::once(("value", &spec.value)).chain(fields) {
        let shape = &field.shape;
        let fits = match field.moves {
            Moves::Fixed | Moves::Scalar => true,
            Moves::Point | Moves::Vector => shape.last() == Some(&n),
            Moves::Frame => frames && shape.len() >= 2 && shape[shape.len() - 2] == n,
            Moves::Coordinates => coordinates(name),
            Moves::Image => false,
        };
        if !fits {
            return Err(refusal(action, name, field.moves, shape));
        }
    }
    Ok(())
}

/// A set of four points with a vector and (for rotations) a frame each, a scalar, and points that
/// were shared before.
pub(crate) fn sample_state(
    n: i64,
    frames: bool,
    batch: i64,
    options: (Kind, Device),
    stream: &mut Stream,
) -> State {
    let mut draw = |shape: &[i64]| stream.normal(shape, options);
    let value = Field::new(draw(&[batch, 4, n]), Moves::Point).indexed(1);
    let vectors = Field::new(draw(&[batch, 4, n]), Moves::Vector).indexed(1);
    let shared = Field::new(draw(&[4, n]), Moves::Point).shared().indexed(0);
    let state = State::new(value)
        .with_context("velocity", vectors)
        .with_context("index", linear::batched(&shared, batch))
        .with_context("mass", Field::new(draw(&[batch, 4, 1]), Moves::Scalar).indexed(1));
    if !frames {
        return state;
    }
    let frame = Field::new(draw(&[batch, 4, n, n]), Moves::Frame).indexed(1);
    state.with_context("frame", frame)
}

impl Representation for Defining {
    fn name(&self) -> String {
        format!("{} on R^{}", self.group.name(), self.dimension)
    }

    fn group(&self) -> &dyn Group {
        self.group.as_ref()
    }

    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        fits(&Representation::name(self), self.dimension, self.orthogonal, spec, |_| false)
    }

    fn act(&self, g: &Element, state: &State) -> Result<State> {
        self.accepts(&state.spec())?;
        let (a, b) = self.parts(g, state.options().0);
        linear::move_affine(state, &a, b.as_ref(), &a, |name, field| {
            let action = Representation::name(self);
            Err(refusal(&action, name, field.moves, &field.tensor.size()))
        })
    }

    /// By the matrix `A`, where the value moves.
    fn act_tangent(&self, g: &Element, state: &State, v: &Tensor) -> Result<Tensor> {
        Ok(linear::apply_tangent(&self.parts(g, v.kind()).0, state, v))
    }

    fn sample_state(
        &self,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        Some(sample_state(self.dimension, self.orthogonal, batch, options, stream))
    }
}

/// Only where [`Defining::is_linear`]; the matrix of an affine action would be the linear part.
impl Linear for Defining {
    fn name(&self) -> String {
        Representation::name(self)
    }

    fn group(&self) -> &Arc<dyn Group> {
        &self.group
    }

    fn dimension(&self) -> i64 {
        self.dimension
    }

    fn matrix(&self, g: &Element, kind: Kind) -> Tensor {
        self.parts(g, kind).0
    }
}

/// The defining action of a group of matrices, on all points, vectors and frames of a state.
#[config]
pub struct DefiningConfig {
    /// The group: `so2`, `so3`, `so-n`, `su2` (on quaternions, R^4), `se2`, `se3` (on points),
    /// `gl-n`, `translations` with a dimension, `cyclic` and `dihedral` (on the plane), ...
    pub group: Box<dyn GroupConfig>,
}

#[component(
    "defining",
    "a group of matrices on points and vectors",
    r#"{"type": "defining", "group": {"type": "se3"}}"#
)]
impl RepresentationConfig for DefiningConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        let group = self.group.build().map_err(|e| e.under("/group"))?;
        Ok(Arc::new(Defining::new(group).map_err(|e| e.under("/group"))?))
    }
}
