//! Whether a symmetry is one that a network has: found out on what the symmetry does to fixed states.

use isotropy_core::{Field, FieldSpec, Moves, Representation, Result, State, StateSpec, Xi};
use tch::{Device, Kind, Tensor};

/// What a network is symmetric under. The index set is moved; values are moved with it or stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// Translations of the index set: values stay.
    Translations,
    /// Isometries of the index set: scalar values stay, vectors turn by the same orthogonal matrix.
    Isometries,
}

/// Whether each element of the symmetry acts on states of these shapes as `moved` says, where values are vectors if the
/// shapes say so. See [`claims_parts`].
pub fn claims(symmetry: &dyn Representation, spec: &StateSpec, moved: Moved) -> bool {
    let vector = spec.value.moves == Moves::Vector;
    claims_parts(symmetry, spec, moved, if vector { &[0] } else { &[] })
}

/// Whether each element of the symmetry acts on states of these shapes as `moved` says, where the columns of the values
/// from each number in `vectors` on, as many as the index has dimensions, are a vector, and the others scalars.
///
/// Tried on all elements of a finite group and on four of a Lie group, near the identity and far from it, with states that
/// span the space. A group that is neither is not claimed. Draws nothing, because models are built while the generator
/// is in use.
pub fn claims_parts(
    symmetry: &dyn Representation,
    spec: &StateSpec,
    moved: Moved,
    vectors: &[i64],
) -> bool {
    symmetry.accepts(spec).is_ok()
        && matches!(holds(symmetry, spec, moved, vectors), Ok(Some(true)))
}

const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);

/// `None` when the group gives no element to try.
fn holds(
    symmetry: &dyn Representation,
    spec: &StateSpec,
    moved: Moved,
    vectors: &[i64],
) -> Result<Option<bool>> {
    let group = symmetry.group();
    let batch = group.finite().map_or(4, |finite| finite.order());
    let state = probe(spec, batch);
    let shapes = symmetry.element_shape(&state)?;
    let h = match (group.finite(), group.lie()) {
        (Some(finite), _) => finite.elements(OPTIONS.1),
        (None, Some(lie)) => lie.exp(&coefficients(&shapes)),
        (None, None) => return Ok(None),
    };
    let (here, there) = (parts(&state, vectors)?, parts(&symmetry.act(&h, &state)?, vectors)?);
    let invariants = |v: &Tensor| match moved {
        Moved::Translations => v.shallow_clone(),
        // Inner products determine vectors up to an orthogonal matrix.
        Moved::Isometries => v.matmul(&v.transpose(1, 2)),
    };
    let same = |a: &Tensor, b: &Tensor| {
        let size = 1.0 + a.abs().max().double_value(&[]);
        a.size() == b.size() && (a - b).abs().max().double_value(&[]) < 1e-8 * size
    };
    let scalars = match (&here.scalars, &there.scalars) {
        (Some(a), Some(b)) => same(a, b),
        _ => true,
    };
    Ok(Some(scalars && same(&invariants(&here.vectors), &invariants(&there.vectors))))
}

/// A state taken apart.
struct Parts {
    /// Index points from the first on, and the vectors among the values, `[B, .., p]`.
    vectors: Tensor,
    /// The other columns of the values, `[B, N, ..]`, if there are any.
    scalars: Option<Tensor>,
}

fn parts(state: &State, starts: &[i64]) -> Result<Parts> {
    let (index, y) = (&state.given("index")?.tensor, state.x());
    let index = if index.dim() == 2 { index.unsqueeze(0) } else { index.shallow_clone() };
    let (batch, p, d) = (y.size()[0], index.size()[2], y.size()[2]);
    let from_first = &index - index.narrow(1, 0, 1);
    let mut vectors = vec![from_first.expand([batch, -1, -1], false)];
    vectors.extend(starts.iter().map(|&start| y.narrow(2, start, p.min(d - start))));
    let scalar = |column: &i64| !starts.iter().any(|s| (*s..s + p).contains(column));
    let columns: Vec<Tensor> = (0..d).filter(scalar).map(|k| y.narrow(2, k, 1)).collect();
    let scalars = (!columns.is_empty()).then(|| Tensor::cat(&columns, 2));
    Ok(Parts { vectors: Tensor::f_cat(&vectors, 1)?, scalars })
}

/// Algebra coefficients of these shapes: small, of order one, and larger from row to row.
fn coefficients(shapes: &[Vec<i64>]) -> Xi {
    let factor = |shape: &Vec<i64>| {
        let numbers = Tensor::arange(shape.iter().product::<i64>(), OPTIONS);
        ((numbers * 0.7 + 0.3).sin() * 1.5).reshape(shape)
    };
    Xi(shapes.iter().map(factor).collect())
}

/// States of these shapes that differ from one another and within, without drawing; sizes that vary become 5.
pub fn probe(spec: &StateSpec, batch: i64) -> State {
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
