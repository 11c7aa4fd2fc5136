//! Linear representations: groups acting by matrices on a vector space, and the matrices of a batch
//! applied to the fields of a state.

use isotropy_core::{Element, Error, Field, Group, Moves, Result, State};
use std::fmt::Debug;
use std::sync::Arc;
use tch::{Kind, Tensor};

/// A representation by matrices, `rho(g h) = rho(g) rho(h)`. Sums, products and duals are built from
/// these; [`LinearRepresentation`](super::LinearRepresentation) makes one act on states.
pub trait Linear: Debug + Send + Sync + 'static {
    /// Short name for messages.
    fn name(&self) -> String;
    /// The group.
    fn group(&self) -> &Arc<dyn Group>;
    /// The dimension `d` of the space.
    fn dimension(&self) -> i64;
    /// The matrices `[.., d, d]` of elements, in the given kind (elements of finite groups are
    /// integers).
    fn matrix(&self, g: &Element, kind: Kind) -> Tensor;
}

/// Whether two groups are the same: they have the same name and elements of the same shapes.
pub(crate) fn same_group(a: &dyn Group, b: &dyn Group) -> bool {
    a.name() == b.name() && a.xi_shape(&[2]) == b.xi_shape(&[2])
}

/// A field that all points of the batch share becomes one copy a point: elements of a batch move it
/// differently.
pub fn batched(field: &Field, batch: i64) -> Field {
    if field.batched {
        return field.clone();
    }
    let mut shape = vec![batch];
    shape.extend(field.tensor.size());
    let mut own = field.with(field.tensor.expand(&shape, false));
    own.batched = true;
    own.index_axis = field.index_axis.map(|axis| axis + 1);
    own
}

/// `m v` for matrices `[B, n, n]` and vectors on the last axis of `[B, .., n]`.
pub(crate) fn apply(m: &Tensor, v: &Tensor) -> Tensor {
    let shape = v.size();
    let n = shape[shape.len() - 1];
    v.reshape([shape[0], -1, n]).matmul(&m.transpose(-1, -2)).reshape(&shape)
}

/// A tangent vector of the value of a state under matrices `[B, n, n]`: turned where the value is, the same where
/// the value is a list of numbers that stays.
pub(crate) fn apply_tangent(m: &Tensor, state: &State, v: &Tensor) -> Tensor {
    match state.value.moves {
        Moves::Fixed | Moves::Scalar => v.shallow_clone(),
        _ => apply(m, v),
    }
}

/// `m F` for matrices `[B, n, n]` and frames on the last two axes of `[B, .., n, k]`.
pub(crate) fn apply_frames(m: &Tensor, frames: &Tensor) -> Tensor {
    let shape = frames.size();
    let (n, k) = (shape[shape.len() - 2], shape[shape.len() - 1]);
    m.unsqueeze(1).matmul(&frames.reshape([shape[0], -1, n, k])).reshape(&shape)
}

/// Adds axes of size 1 behind the batch, until `a` `[B, k]` broadcasts against `like` `[B, .., k']`.
pub(crate) fn spread(a: &Tensor, like: &Tensor) -> Tensor {
    let mut shape = a.size();
    let missing = like.dim().saturating_sub(shape.len());
    shape.splice(1..1, std::iter::repeat_n(1, missing));
    a.reshape(&shape)
}

/// Moves points and vectors by the matrices, frames by `frames`, leaves what does not move, and
/// hands the rest (flow coordinates, images) to `other`.
///
/// # Errors
/// When a field's last axis does not fit the matrices, or `other` refuses.
pub(crate) fn move_fields(
    state: &State,
    m: &Tensor,
    frames: &Tensor,
    other: impl Fn(&str, &Field) -> Result<Field>,
) -> Result<State> {
    move_affine(state, m, None, frames, other)
}

/// As [`move_fields`], with a shift `[B, n]` of points (not of vectors) after the matrices.
pub(crate) fn move_affine(
    state: &State,
    m: &Tensor,
    shift: Option<&Tensor>,
    frames: &Tensor,
    other: impl Fn(&str, &Field) -> Result<Field>,
) -> Result<State> {
    let (batch, n) = (state.batch_size(), m.size()[2]);
    state.try_map(|name, field| {
        let axis = match field.moves {
            Moves::Fixed | Moves::Scalar => return Ok(field.clone()),
            Moves::Point | Moves::Vector => 1,
            Moves::Frame => 2,
            Moves::Image | Moves::Coordinates => return other(name, field),
        };
        let size = field.tensor.size();
        if size.len() < axis || size[size.len() - axis] != n {
            return Err(Error::Unsupported(format!(
                "'{name}' of shape {size:?} does not hold {:?}s of dimension {n}",
                field.moves
            )));
        }
        let field = batched(field, batch);
        let moved = match field.moves {
            Moves::Frame => apply_frames(frames, &field.tensor),
            _ => apply(m, &field.tensor),
        };
        Ok(match shift {
            Some(b) if field.moves == Moves::Point => field.with(&moved + spread(b, &moved)),
            _ => field.with(moved),
        })
    })
}
