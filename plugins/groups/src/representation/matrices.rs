//! Linear representations acting on states.

use super::linear::{self, Linear};
use super::{Defining, Rotation, defining};
use crate::group::{So2, So3};
use isotropy_core::representation::as_type;
use isotropy_core::{
    Element, Error, Field, FieldSpec, Group, Moves, Representation, Result, State, StateSpec,
    Stream,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// A [`Linear`] representation that acts on states, one element for each point of the batch.
///
/// The value holds vectors of `d` components on its last axis. In lift and context, vectors of `d`
/// components move likewise; other vectors, points and frames are geometry, which moves by the
/// defining action of the group where it has one ([`Group::affine`]): positions in space beside
/// features that are irreps. Scalars and what is fixed stay.
#[derive(Debug, Clone)]
pub struct LinearRepresentation {
    linear: Arc<dyn Linear>,
    geometry: Option<Defining>,
}

impl LinearRepresentation {
    /// The action of these matrices.
    pub fn new(linear: Arc<dyn Linear>) -> Self {
        let geometry = Defining::new(linear.group().clone()).ok();
        Self { linear, geometry }
    }

    /// The matrices.
    pub fn linear(&self) -> &Arc<dyn Linear> {
        &self.linear
    }

    /// What moves a field: the matrices (`true`) or the geometry; `None` where it stays.
    fn mover(&self, name: &str, field: &FieldSpec) -> Result<Option<bool>> {
        let (d, last) = (self.linear.dimension(), field.shape.last().copied());
        let space = self.geometry.as_ref().map(Defining::dimension);
        let rows = field.shape.len().checked_sub(2).map(|k| field.shape[k]);
        match field.moves {
            Moves::Fixed | Moves::Scalar => Ok(None),
            Moves::Vector if last == Some(d) => Ok(Some(true)),
            Moves::Vector | Moves::Point if last.is_some() && last == space => Ok(Some(false)),
            Moves::Frame if rows.is_some() && rows == space => Ok(Some(false)),
            moves => Err(defining::refusal(&self.linear.name(), name, moves, &field.shape)),
        }
    }
}

impl Representation for LinearRepresentation {
    fn name(&self) -> String {
        self.linear.name()
    }

    fn group(&self) -> &dyn Group {
        self.linear.group().as_ref()
    }

    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        let (d, value) = (self.linear.dimension(), &spec.value);
        if value.moves != Moves::Vector || value.shape.last() != Some(&d) {
            return Err(Error::Unsupported(format!(
                "{} acts on vectors of {d} components on the last axis; the value is {:?} of shape {:?}",
                self.linear.name(),
                value.moves,
                value.shape
            )));
        }
        let mut others = spec.lift.iter().chain(&spec.context);
        others.try_for_each(|(name, field)| self.mover(name, field).map(|_| ()))
    }

    fn act(&self, g: &Element, state: &State) -> Result<State> {
        let spec = state.spec();
        self.accepts(&spec)?;
        let kind = state.options().0;
        let matrix = self.linear.matrix(g, kind);
        let others = spec.lift.iter().chain(&spec.context).map(|(name, f)| (name.as_str(), f));
        let specs: Vec<_> = std::iter::once(("value", &spec.value)).chain(others).collect();
        state.try_map(|name, field| {
            let Some((_, own)) = specs.iter().find(|(n, _)| *n == name) else {
                return Ok(field.clone());
            };
            match (self.mover(name, own)?, &self.geometry) {
                (Some(true), _) => {
                    let field = linear::batched(field, state.batch_size());
                    Ok(field.with(linear::apply(&matrix, &field.tensor)))
                }
                (Some(false), Some(geometry)) => {
                    let alone = State::new(linear::batched(field, state.batch_size()));
                    Ok(geometry.act(g, &alone)?.value)
                }
                _ => Ok(field.clone()),
            }
        })
    }

    fn act_tangent(&self, g: &Element, _state: &State, v: &Tensor) -> Result<Tensor> {
        Ok(linear::apply(&self.linear.matrix(g, v.kind()), v))
    }

    /// Two vectors each, with another set of vectors, and positions where the group moves them.
    fn sample_state(
        &self,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        let shape = [batch, 2, self.linear.dimension()];
        let value = Field::new(stream.normal(&shape, options), Moves::Vector).indexed(1);
        let source = Field::new(stream.normal(&shape, options), Moves::Vector).indexed(1);
        let state = State::new(value).with_context("source", source);
        let Some(geometry) = &self.geometry else { return Some(state) };
        let positions = stream.normal(&[batch, 2, geometry.dimension()], options);
        Some(state.with_context("position", Field::new(positions, Moves::Point).indexed(1)))
    }
}

/// The matrices behind a representation: of a [`LinearRepresentation`], of `rotation`, and of a
/// [`Defining`] action that is linear.
///
/// # Errors
/// `Unsupported` when it acts otherwise.
pub fn as_linear(representation: &dyn Representation) -> Result<Arc<dyn Linear>> {
    if let Some(own) = as_type::<LinearRepresentation>(representation) {
        return Ok(own.linear.clone());
    }
    if let Some(rotation) = as_type::<Rotation>(representation) {
        let group: Arc<dyn Group> =
            if rotation.dimension() == 2 { Arc::new(So2) } else { Arc::new(So3) };
        return Ok(Arc::new(Defining::new(group)?));
    }
    match as_type::<Defining>(representation) {
        Some(defining) if defining.is_linear() => Ok(Arc::new(defining.clone())),
        Some(_) => Err(Error::Unsupported(format!(
            "{} shifts points: it is affine, not linear",
            representation.name()
        ))),
        None => Err(Error::Unsupported(format!(
            "{} is not given by matrices on vectors",
            representation.name()
        ))),
    }
}
