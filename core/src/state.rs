//! `State`: what a group moves. A *value* (what diffuses), a *lift* (what the flow updates
//! alongside) and a *context* (what the model is told).

use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// How groups move a tensor of a state. A representation goes through the fields of a state and
/// moves each by this tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moves {
    /// Nothing moves it: labels, masks, times, atom types.
    Fixed,
    /// Last axis: a position; rotations and translations act.
    Point,
    /// Last axis: a vector; rotations act, translations do not.
    Vector,
    /// Last axis: a list of numbers that each stay as they are under geometric groups.
    Scalar,
    /// Last two axes: rows and columns of an image.
    Image,
    /// Last axis: flow coordinates of the drive (logarithm of a radius, angles); moved by the
    /// representation that defines them.
    Coordinates,
    /// Last two axes: the matrix of an accumulated rotation; rotations multiply from the left.
    Frame,
}

/// One tensor of a state with its axes. The batch is axis 0 when `batched`; an unbatched field (an
/// index grid that all share) has no batch axis.
#[derive(Debug)]
pub struct Field {
    /// The numbers.
    pub tensor: Tensor,
    /// Whether axis 0 is the batch.
    pub batched: bool,
    /// The axis of `tensor` along the index set of the state (atoms, context points), if this field
    /// has one. A state has one index set, that of its value: a pocket with its own atoms is a
    /// field without an index axis.
    pub index_axis: Option<usize>,
    /// How groups move it.
    pub moves: Moves,
}

impl Clone for Field {
    /// Shallow: the tensor is shared.
    fn clone(&self) -> Self {
        self.with(self.tensor.shallow_clone())
    }
}

impl Field {
    /// A batched field without an index axis.
    pub fn new(tensor: Tensor, moves: Moves) -> Self {
        Self { tensor, batched: true, index_axis: None, moves }
    }

    /// The same field with the index set on `axis` (counted with the batch).
    #[must_use]
    pub fn indexed(mut self, axis: usize) -> Self {
        self.index_axis = Some(axis);
        self
    }

    /// The same field without a batch axis: shared by the whole batch.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.batched = false;
        self
    }

    /// The same axes and tag around another tensor.
    #[must_use]
    pub fn with(&self, tensor: Tensor) -> Self {
        Self { tensor, batched: self.batched, index_axis: self.index_axis, moves: self.moves }
    }

    fn spec(&self) -> FieldSpec {
        let size = self.tensor.size();
        FieldSpec {
            shape: if self.batched { size[1..].to_vec() } else { size },
            index_axis: self.index_axis,
            moves: self.moves,
            batched: self.batched,
        }
    }
}

/// Named fields in a fixed order.
pub type Fields = Vec<(String, Field)>;

/// A batch of points with everything that belongs to them.
#[derive(Debug, Clone)]
pub struct State {
    /// What diffuses.
    pub value: Field,
    /// What the flow of the drive updates alongside the value: unwrapped flow coordinates, an
    /// accumulated rotation, a total angle with the original image.
    pub lift: Fields,
    /// What stays: index points, masks, labels, the other end of a bridge.
    pub context: Fields,
}

impl State {
    /// A state with neither lift nor context.
    pub fn new(value: Field) -> Self {
        Self { value, lift: Vec::new(), context: Vec::new() }
    }

    /// Adds or replaces a lift field.
    #[must_use]
    pub fn with_lift(mut self, name: &str, field: Field) -> Self {
        put(&mut self.lift, name, field);
        self
    }

    /// Adds or replaces a context field.
    #[must_use]
    pub fn with_context(mut self, name: &str, field: Field) -> Self {
        put(&mut self.context, name, field);
        self
    }

    /// The same lift and context around another value tensor.
    #[must_use]
    pub fn with_value(&self, tensor: Tensor) -> Self {
        Self {
            value: self.value.with(tensor),
            lift: self.lift.clone(),
            context: self.context.clone(),
        }
    }

    /// The value's tensor, written `x`.
    pub fn x(&self) -> &Tensor {
        &self.value.tensor
    }

    /// The lift field of that name.
    ///
    /// # Errors
    /// When the state has none: the dataset does not fit the drive.
    pub fn lifted(&self, name: &str) -> Result<&Field> {
        find(&self.lift, name).ok_or_else(|| missing("lift", name, &self.lift))
    }

    /// The context field of that name.
    ///
    /// # Errors
    /// When the state has none: the dataset does not fit the component that asks.
    pub fn given(&self, name: &str) -> Result<&Field> {
        find(&self.context, name).ok_or_else(|| missing("context", name, &self.context))
    }

    /// The mask of a padded index set, `[B, N]` with 1 for points that are there and 0 for padding:
    /// the context field [`State::MASK`]. `None` when all points are there.
    pub fn mask(&self) -> Option<&Tensor> {
        find(&self.context, Self::MASK).map(|field| &field.tensor)
    }

    /// Name of the context field that [`State::mask`] reads.
    pub const MASK: &str = "mask";

    /// Name of the context field with the class of each point, `[B]`, `Int64`, counted from 0.
    pub const LABEL: &str = "label";

    /// Name of the context field that holds the points of a field, `[B, N, p]` or, shared by the
    /// batch, `[N, p]`.
    pub const INDEX: &str = "index";

    /// Name of the context field that holds an earlier estimate of the clean value, for models that
    /// look at it.
    pub const ESTIMATE: &str = "estimate";

    /// A state of these shapes with standard normal numbers, for probing; sizes that vary become 3,
    /// the mask is one everywhere, and the class is 0.
    pub fn random(
        spec: &StateSpec,
        batch: i64,
        options: (Kind, Device),
        stream: &mut crate::Stream,
    ) -> Self {
        let mut field = |name: &str, spec: &FieldSpec| {
            let mut shape: Vec<i64> =
                spec.shape.iter().map(|&n| if n < 0 { 3 } else { n }).collect();
            if spec.batched {
                shape.insert(0, batch);
            }
            let tensor = match name {
                Self::MASK => Tensor::ones(&shape, options),
                Self::LABEL if spec.shape.is_empty() => {
                    Tensor::zeros(&shape, (Kind::Int64, options.1))
                }
                _ => stream.normal(&shape, options),
            };
            let (index_axis, moves) = (spec.index_axis, spec.moves);
            Field { tensor, batched: spec.batched, index_axis, moves }
        };
        let value = field("value", &spec.value);
        let mut over = |fields: &[(String, FieldSpec)]| {
            fields.iter().map(|(name, spec)| (name.clone(), field(name, spec))).collect()
        };
        Self { value, lift: over(&spec.lift), context: over(&spec.context) }
    }

    /// Number of points in the batch.
    pub fn batch_size(&self) -> i64 {
        self.value.tensor.size()[0]
    }

    /// Kind and device of the value.
    pub fn options(&self) -> (Kind, Device) {
        (self.value.tensor.kind(), self.value.tensor.device())
    }

    /// Applies `f` to every field; names and order stay.
    pub fn try_map(&self, mut f: impl FnMut(&str, &Field) -> Result<Field>) -> Result<Self> {
        let mut over = |fields: &Fields| -> Result<Fields> {
            fields.iter().map(|(name, field)| Ok((name.clone(), f(name, field)?))).collect()
        };
        let (lift, context) = (over(&self.lift)?, over(&self.context)?);
        Ok(Self { value: f("value", &self.value)?, lift, context })
    }

    /// Applies `f` to every tensor whose batch axis is 0.
    #[must_use]
    pub fn map_batched(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        self.try_map(|_, field| {
            Ok(if field.batched { field.with(f(&field.tensor)) } else { field.clone() })
        })
        .expect("the mapping returns no error")
    }

    /// The rows `start .. start + length` of the batch.
    #[must_use]
    pub fn narrow(&self, start: i64, length: i64) -> Self {
        self.map_batched(|tensor| tensor.narrow(0, start, length))
    }

    /// Every tensor moved to a device; floating-point tensors also to a kind.
    #[must_use]
    pub fn to(&self, kind: Kind, device: Device) -> Self {
        self.try_map(|_, field| {
            let tensor = field.tensor.to_device(device);
            let tensor = if tensor.is_floating_point() { tensor.to_kind(kind) } else { tensor };
            Ok(field.with(tensor))
        })
        .expect("the mapping returns no error")
    }

    /// Puts batches behind one another. Shared fields are taken from the first.
    ///
    /// # Errors
    /// When there is nothing to join or the fields differ.
    pub fn cat(states: &[Self]) -> Result<Self> {
        Self::glue(states, |field| field.batched.then_some(0))
    }

    /// The index points `start .. start + length` (atoms, context or query points) of every field
    /// that has an index axis.
    #[must_use]
    pub fn narrow_index(&self, start: i64, length: i64) -> Self {
        self.try_map(|_, field| {
            Ok(match field.index_axis {
                Some(axis) => field.with(field.tensor.narrow(axis as i64, start, length)),
                None => field.clone(),
            })
        })
        .expect("the mapping returns no error")
    }

    /// Splits at an index point: what comes before it and the rest.
    #[must_use]
    pub fn split_index(&self, at: i64) -> (Self, Self) {
        let size = self.index_size().unwrap_or(0);
        (self.narrow_index(0, at), self.narrow_index(at, size - at))
    }

    /// Joins states along the index axis (context and query points). Fields without an index axis
    /// are taken from the first.
    ///
    /// # Errors
    /// When there is nothing to join or the fields differ.
    pub fn join_index(states: &[Self]) -> Result<Self> {
        Self::glue(states, |field| field.index_axis.map(|axis| axis as i64))
    }

    /// Number of index points, if the value has an index axis.
    pub fn index_size(&self) -> Option<i64> {
        self.value.index_axis.map(|axis| self.value.tensor.size()[axis])
    }

    /// Shapes without tensors.
    pub fn spec(&self) -> StateSpec {
        let over = |fields: &Fields| fields.iter().map(|(n, f)| (n.clone(), f.spec())).collect();
        StateSpec { value: self.value.spec(), lift: over(&self.lift), context: over(&self.context) }
    }

    fn glue(states: &[Self], axis: impl Fn(&Field) -> Option<i64>) -> Result<Self> {
        let first = states.first().ok_or_else(|| Error::Other("nothing to join".into()))?;
        let pick = |state: &Self, name: &str, part: usize| -> Result<Field> {
            match part {
                0 => Ok(state.value.clone()),
                1 => state.lifted(name).cloned(),
                _ => state.given(name).cloned(),
            }
        };
        let glue = |name: &str, field: &Field, part: usize| -> Result<Field> {
            let Some(axis) = axis(field) else { return Ok(field.clone()) };
            let fields = states.iter().map(|s| pick(s, name, part)).collect::<Result<Vec<_>>>()?;
            let tensors: Vec<&Tensor> = fields.iter().map(|field| &field.tensor).collect();
            Ok(field.with(Tensor::f_cat(&tensors, axis)?))
        };
        let over = |fields: &Fields, part: usize| -> Result<Fields> {
            fields.iter().map(|(n, f)| Ok((n.clone(), glue(n, f, part)?))).collect()
        };
        Ok(Self {
            value: glue("value", &first.value, 0)?,
            lift: over(&first.lift, 1)?,
            context: over(&first.context, 2)?,
        })
    }
}

/// Shape of one field. `-1` stands for a size that varies from batch to batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldSpec {
    /// Shape without the batch axis.
    pub shape: Vec<i64>,
    /// The axis of the index set, counted with the batch.
    pub index_axis: Option<usize>,
    /// How groups move it.
    pub moves: Moves,
    /// Whether the field has a batch axis at all.
    pub batched: bool,
}

impl FieldSpec {
    /// A batched field of that shape (without the batch) and no index axis.
    pub fn new(shape: &[i64], moves: Moves) -> Self {
        Self { shape: shape.to_vec(), index_axis: None, moves, batched: true }
    }

    /// The same with the index set on `axis` (counted with the batch).
    #[must_use]
    pub fn indexed(mut self, axis: usize) -> Self {
        self.index_axis = Some(axis);
        self
    }

    /// Whether a field of the shape `found` is one of these: equal, with any size where this says `-1`.
    pub fn admits(&self, found: &Self) -> bool {
        let sizes = self.shape.iter().zip(&found.shape);
        let fits = self.shape.len() == found.shape.len()
            && sizes.into_iter().all(|(&n, &m)| n < 0 || n == m);
        fits && *self == Self { shape: self.shape.clone(), ..found.clone() }
    }
}

/// Shapes and tags of a state, known before any data are read: enough to build every component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSpec {
    /// The value.
    pub value: FieldSpec,
    /// The lift fields that the dataset itself provides (drives add their own).
    pub lift: Vec<(String, FieldSpec)>,
    /// The context fields.
    pub context: Vec<(String, FieldSpec)>,
}

impl StateSpec {
    /// A spec with neither lift nor context.
    pub fn new(value: FieldSpec) -> Self {
        Self { value, lift: Vec::new(), context: Vec::new() }
    }

    /// Adds a context field.
    #[must_use]
    pub fn with_context(mut self, name: &str, spec: FieldSpec) -> Self {
        self.context.push((name.to_string(), spec));
        self
    }

    /// Adds a lift field.
    #[must_use]
    pub fn with_lift(mut self, name: &str, spec: FieldSpec) -> Self {
        self.lift.push((name.to_string(), spec));
        self
    }

    /// The context field of that name.
    pub fn given(&self, name: &str) -> Option<&FieldSpec> {
        self.context.iter().find(|(n, _)| n == name).map(|(_, spec)| spec)
    }
}

fn put(fields: &mut Fields, name: &str, field: Field) {
    match fields.iter_mut().find(|(n, _)| n == name) {
        Some(slot) => slot.1 = field,
        None => fields.push((name.to_string(), field)),
    }
}

fn find<'a>(fields: &'a Fields, name: &str) -> Option<&'a Field> {
    fields.iter().find(|(n, _)| n == name).map(|(_, field)| field)
}

fn missing(part: &str, name: &str, fields: &Fields) -> Error {
    let names: Vec<&str> = fields.iter().map(|(n, _)| n.as_str()).collect();
    Error::Unsupported(format!(
        "the state has no {part} field '{name}' (it has: {})",
        if names.is_empty() { "none".to_string() } else { names.join(", ") }
    ))
}
