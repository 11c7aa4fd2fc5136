//! Whether a symmetry is one that a network has: found out on what the symmetry does to fixed states.

use isotropy_core::{Element, Field, FieldSpec, Moves, Representation, Result, State, StateSpec, Xi};
use tch::{Device, Kind, Tensor};

/// What a network is symmetric under. The index set is moved; values are moved with it or stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// Translations of the index set: values stay.
    Translations,
    /// Isometries of the index set: scalar values stay, vectors turn by the same orthogonal matrix.
    Isometries,
}

/// Whether each element of the symmetry acts on states of these shapes as `moved` says. Tried on all elements of a
/// finite group and on four of a Lie group, near the identity and far from it, with states that span the space. A group
/// that is neither is not claimed. Draws nothing, because models are built while the generator is in use.
pub fn claims(symmetry: &dyn Representation, spec: &StateSpec, moved: Moved) -> bool {
    symmetry.accepts(spec).is_ok() && matches!(holds(symmetry, spec, moved), Ok(Some(true)))
}

const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);

/// `None` when the group gives no element to try.
fn holds(symmetry: &dyn Representation, spec: &StateSpec, moved: Moved) -> Result<Option<bool>> {
    let group = symmetry.group();
    let batch = group.finite().map_or(4, |finite| finite.order());
    let state = probe(spec, batch);
    let shapes = symmetry.element_shape(&state)?;
    let h = match (group.finite(), group.lie()) {
        (Some(finite), _) => finite.elements(OPTIONS.1),
        (None, Some(lie)) => lie.exp(&coefficients(&shapes)),
        (None, None) => return Ok(None),
    };
    let there = symmetry.act(&Element(h.0), &state)?;
    let (a, b) = (vectors(&state)?, vectors(&there)?);
    let invariants = |v: &Tensor| match moved {
        Moved::Translations => v.shallow_clone(),
        // Inner products determine vectors up to an orthogonal matrix.
        Moved::Isometries => v.matmul(&v.transpose(1, 2)),
    };
    let same = |a: &Tensor, b: &Tensor| {
        a.size() == b.size()
            && (a - b).abs().max().double_value(&[]) < 1e-8 * (1.0 + a.abs().max().double_value(&[]))
    };
    let scalars = state.value.moves == Moves::Vector || same(state.x(), there.x());
    Ok(Some(scalars && same(&invariants(&a), &invariants(&b))))
}

/// Algebra coefficients of these shapes: small, of order one, and larger from row to row.
fn coefficients(shapes: &[Vec<i64>]) -> Xi {
    let factor = |shape: &Vec<i64>| {
        let numbers = Tensor::arange(shape.iter().product::<i64>(), OPTIONS);
        ((numbers * 0.7 + 0.3).sin() * 1.5).reshape(shape)
    };
    Xi(shapes.iter().map(factor).collect())
}

/// Index points from the first on and, where values are vectors, the values: `[B, .., p]`.
fn vectors(state: &State) -> Result<Tensor> {
    let index = &state.given("index")?.tensor;
    let index = if index.dim() == 2 { index.unsqueeze(0) } else { index.shallow_clone() };
    let from_first = &index - index.narrow(1, 0, 1);
    if state.value.moves == Moves::Vector {
        return Ok(Tensor::cat(&[&from_first, state.x()], 1));
    }
    Ok(from_first)
}

/// States of these shapes that differ from one another and within, without drawing; sizes that vary become 5.
pub(super) fn probe(spec: &StateSpec, batch: i64) -> State {
    let field = |name: &str, spec: &FieldSpec| {
        let mut shape: Vec<i64> = spec.shape.iter().map(|&n| if n < 0 { 5 } else { n }).collect();
        if spec.batched {
            shape.insert(0, batch);
        }
        let tensor = match name {
            State::MASK => Tensor::ones(&shape, OPTIONS),
            _ => {
                let numbers = Tensor::arange(shape.iter().product::<i64>(), OPTIONS);
                ((&numbers * 1.3 + 0.2).sin() + (numbers * 0.37).cos()).reshape(&shape)
            }
        };
        let (index_axis, moves) = (spec.index_axis, spec.moves);
        Field { tensor, batched: spec.batched, index_axis, moves }
    };
    let over = |fields: &[(String, FieldSpec)]| {
        fields.iter().map(|(name, spec)| (name.clone(), field(name, spec))).collect()
    };
    State {
        value: field("value", &spec.value),
        lift: over(&spec.lift),
        context: over(&spec.context),
    }
}
