//! Known values of a field: the one place that knows how a state carries them.
//!
//! A state is a set of *query* points: its value at the points of its index set. What is known of the same function
//! elsewhere lies in the context, in fields without an index axis (a state has one index set, that of its value):
//!
//! * [`VALUE`] `[B, M, ..]`: the known values, moved as the value is;
//! * `observed_NAME` for every context field `NAME` along the index axis: `observed_index` `[B, M, p]` for the points
//!   themselves ([`Moves::Point`]), `observed_mask` `[B, M]` for padding (made where it is missing).
//!
//! Groups move each field by its tag, so the transform of a state transforms what is known with it. Zero known points
//! are allowed, as `M = 0` or as a mask of zeros; a state without [`VALUE`] has none. Known and query points may
//! coincide.
//!
//! The *joint* state has the known points first, then the query points, in one index set. Samplers that noise what is
//! known build it with [`join`]; models that see what is known as it is get it from [`conditioned`], where [`KNOWN`]
//! tells the points apart.

use isotropy_core::{Error, Field, FieldSpec, Moves, Result, State, StateSpec};
use tch::Tensor;

/// The context field of the known values.
pub const VALUE: &str = "observed_value";

/// The context field of a joint state that tells points apart: `[B, M + N]`, 1 where the value is known, 0 where it is
/// asked for.
pub const KNOWN: &str = "known";

const PREFIX: &str = "observed_";

fn name_of(field: &str) -> String {
    format!("{PREFIX}{field}")
}

/// Number of known points `M`, padding included; 0 where the state has none.
pub fn count(state: &State) -> i64 {
    match (state.given(VALUE), state.value.index_axis) {
        (Ok(field), Some(axis)) => field.tensor.size()[axis],
        _ => 0,
    }
}

/// The query points alone: the state without what is known.
#[must_use]
pub fn query(state: &State) -> State {
    let mut query = state.clone();
    query.context.retain(|(name, _)| !name.starts_with(PREFIX));
    query
}

/// The known points alone, as a state of their own; what has no index axis (labels) comes along. `None` where there
/// are no known points (`M = 0`, or no such fields).
///
/// # Errors
/// When a field along the index axis has no `observed_` counterpart, or their numbers of points differ.
pub fn observed(state: &State) -> Result<Option<State>> {
    let points = count(state);
    if points == 0 {
        return Ok(None);
    }
    let value = counterpart(state, VALUE, &state.value, points)?;
    let mut found = State::new(value);
    let mask = name_of(State::MASK);
    for (name, field) in &state.context {
        if name.starts_with(PREFIX) && *name != mask {
            continue;
        }
        if field.index_axis.is_none() && *name != mask {
            found = found.with_context(name, field.clone());
        } else if *name == mask {
            let like = Field::new(field.tensor.shallow_clone(), Moves::Fixed).indexed(1);
            found = found.with_context(State::MASK, counterpart(state, name, &like, points)?);
        } else if name != State::MASK {
            found = found.with_context(name, counterpart(state, &name_of(name), field, points)?);
        }
    }
    Ok(Some(found))
}

/// The known counterpart of a field along the index axis.
fn counterpart(state: &State, name: &str, like: &Field, points: i64) -> Result<Field> {
    let field = state.given(name)?;
    // An unbatched grid has its index axis one place earlier.
    let batched_axis = like.index_axis.map(|axis| axis + usize::from(!like.batched));
    let axis = batched_axis.map(|axis| axis - usize::from(!field.batched));
    let found = axis.and_then(|axis| field.tensor.size().get(axis).copied());
    if found != Some(points) {
        return Err(Error::data(
            format!(
                "'{name}' has the shape {:?}, but {points} points are known ('{VALUE}')",
                field.tensor.size()
            ),
            "all observed fields list the same points",
        ));
    }
    Ok(Field {
        tensor: field.tensor.shallow_clone(),
        batched: field.batched,
        index_axis: axis,
        moves: field.moves,
    })
}

/// Joins known and query points (states with the same fields, lifted or not) in one index set, known points first. A
/// mask that one of them lacks is made; a grid that the batch shares is copied for each function where the other part
/// has one of its own.
///
/// # Errors
/// When the fields differ.
pub fn join(observed: &State, query: &State) -> Result<State> {
    let masked = observed.mask().is_some() || query.mask().is_some();
    let shared = |state: &State, name: &str| state.given(name).is_ok_and(|field| !field.batched);
    let prepare = |state: &State, other: &State| -> Result<State> {
        let mut state = if masked { with_mask(state)? } else { state.clone() };
        let batch = state.batch_size();
        for (name, field) in &mut state.context {
            let Some(axis) = field.index_axis else { continue };
            if !field.batched && !shared(other, name) {
                let mut size = vec![batch];
                size.extend(field.tensor.size());
                let tensor = field.tensor.unsqueeze(0).expand(&size, false);
                *field = Field { tensor, batched: true, index_axis: Some(axis + 1), ..*field };
            }
        }
        Ok(state)
    };
    let (observed, query) = (prepare(observed, query)?, prepare(query, observed)?);
    // The order of the fields is that of the query, whatever way the known points were stored.
    State::join_index(&[arranged(&observed, &query), query])
}

/// A state with a mask: its own, or one everywhere.
fn with_mask(state: &State) -> Result<State> {
    if state.mask().is_some() {
        return Ok(state.clone());
    }
    let points = state.index_size().ok_or_else(no_index_set)?;
    let mask = Tensor::ones([state.batch_size(), points], state.options());
    Ok(state.clone().with_context(State::MASK, Field::new(mask, Moves::Fixed).indexed(1)))
}

fn no_index_set() -> Error {
    Error::Unsupported("values are known at points, and this state has no index set".into())
}

/// `state` with its context fields in the order of `like`; fields without an index axis that it lacks are taken from
/// there.
fn arranged(state: &State, like: &State) -> State {
    let mut arranged = state.clone();
    let pick = |(name, field): &(String, Field)| match state.given(name) {
        Ok(own) => Some((name.clone(), own.clone())),
        Err(_) if field.index_axis.is_none() => Some((name.clone(), field.clone())),
        Err(_) => None,
    };
    arranged.context = like.context.iter().filter_map(pick).collect();
    arranged
}

/// The joint state: known points (with the values that are known), then query points. The query alone where nothing is
/// known.
///
/// # Errors
/// As for [`observed`] and [`join`].
pub fn joint(state: &State) -> Result<State> {
    let query = query(state);
    match observed(state)? {
        Some(observed) => join(&observed, &query),
        None => Ok(query),
    }
}

/// The joint state with the field [`KNOWN`]: what a model sees that takes known values as further inputs.
///
/// # Errors
/// As for [`joint`].
pub fn conditioned(state: &State) -> Result<State> {
    let joint = joint(state)?;
    let known = count(state);
    let asked = joint.index_size().ok_or_else(no_index_set)? - known;
    let (batch, options) = (state.batch_size(), state.options());
    let parts = [Tensor::ones([batch, known], options), Tensor::zeros([batch, asked], options)];
    let flag = Field::new(Tensor::cat(&parts, 1), Moves::Fixed).indexed(1);
    Ok(joint.with_context(KNOWN, flag))
}

/// The query points of a joint state with `known` points before them.
#[must_use]
pub fn query_part(joint: &State, known: i64) -> State {
    let size = joint.index_size().unwrap_or(known);
    let mut query = joint.narrow_index(known, size - known);
    query.context.retain(|(name, _)| name != KNOWN);
    query
}

/// A state of query points with what is known of the same functions, given as a state of its own: the inverse of
/// [`observed`] and [`query`].
///
/// # Errors
/// When the known state has no index set.
pub fn with_observed(query: &State, known: &State) -> Result<State> {
    known.index_size().ok_or_else(no_index_set)?;
    let plain = |field: &Field| Field { index_axis: None, ..field.clone() };
    let mut state = query.clone().with_context(VALUE, plain(&known.value));
    for (name, field) in &known.context {
        if field.index_axis.is_some() {
            state = state.with_context(&name_of(name), plain(field));
        }
    }
    Ok(state)
}

/// The shapes of a state with known values, from the shapes of its query points: a dataset declares them with this.
/// The number of known points varies, and they have a mask.
#[must_use]
pub fn spec(query: &StateSpec) -> StateSpec {
    let known = |field: &FieldSpec, axis: usize| {
        let mut shape = field.shape.clone();
        shape[axis - usize::from(field.batched)] = -1;
        FieldSpec { shape, index_axis: None, moves: field.moves, batched: field.batched }
    };
    let mut spec = query.clone();
    if let Some(axis) = query.value.index_axis {
        spec = spec.with_context(VALUE, known(&query.value, axis));
    }
    for (name, field) in &query.context {
        if let (Some(axis), true) = (field.index_axis, name != State::MASK) {
            spec = spec.with_context(&name_of(name), known(field, axis));
        }
    }
    spec.with_context(&name_of(State::MASK), FieldSpec::new(&[-1], Moves::Fixed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

    fn field(seed: i64, shape: &[i64], moves: Moves) -> Field {
        let size: i64 = shape.iter().product();
        Field::new((Tensor::arange(size, F64) * 0.37 + seed as f64).sin().view(shape), moves)
    }

    /// Two functions at `points` points of the plane with vectors as values, and a label.
    fn points(seed: i64, points: i64) -> State {
        State::new(field(seed, &[2, points, 2], Moves::Vector).indexed(1))
            .with_context("index", field(seed + 1, &[2, points, 2], Moves::Point).indexed(1))
            .with_context("label", field(7, &[2], Moves::Fixed))
    }

    /// Equal whatever the order of their context fields.
    fn same(a: &State, b: &State) {
        let sorted = |state: &State| {
            let mut state = state.clone();
            state.context.sort_by(|(a, _), (b, _)| a.cmp(b));
            state
        };
        let (a, b) = (sorted(a), sorted(b));
        assert_eq!(a.spec(), b.spec());
        for ((name, a), (_, b)) in a.context.iter().zip(&b.context) {
            assert!(a.tensor.equal(&b.tensor), "{name}");
        }
        assert!(a.x().equal(b.x()));
    }

    #[test]
    fn known_and_query_points_come_apart_as_they_were_put_together() {
        let (known, asked) = (points(1, 3), points(2, 4));
        let state = with_observed(&asked, &known).unwrap();
        assert_eq!(count(&state), 3);
        same(&query(&state), &asked);
        same(&observed(&state).unwrap().unwrap(), &known);
        let joint = joint(&state).unwrap();
        assert_eq!(joint.x().size(), [2, 7, 2]);
        assert!(joint.mask().is_none(), "nobody had a mask");
        same(&query_part(&joint, 3), &asked);
        same(&joint.narrow_index(0, 3), &known);
    }

    #[test]
    fn a_mask_is_made_where_one_part_lacks_it() {
        let mask = Tensor::from_slice(&[1.0, 0.0, 1.0, 1.0, 1.0, 1.0]).view([2, 3]);
        let known = points(1, 3)
            .with_context(State::MASK, Field::new(mask.shallow_clone(), Moves::Fixed).indexed(1));
        let state = with_observed(&points(2, 4), &known).unwrap();
        let joined = joint(&state).unwrap();
        let ones = Tensor::ones([2, 4], F64);
        assert!(joined.mask().unwrap().equal(&Tensor::cat(&[&mask, &ones], 1)));
        same(&observed(&state).unwrap().unwrap(), &known);
        // The other way round: a padded query, known points without padding.
        let asked = points(2, 3)
            .with_context(State::MASK, Field::new(mask.shallow_clone(), Moves::Fixed).indexed(1));
        let state = with_observed(&asked, &points(1, 4)).unwrap();
        let joined = joint(&state).unwrap();
        assert!(joined.mask().unwrap().equal(&Tensor::cat(&[&ones, &mask], 1)));
        assert!(observed(&state).unwrap().unwrap().mask().is_none());
    }

    #[test]
    fn nothing_known_leaves_the_query() {
        let asked = points(2, 4);
        assert_eq!(count(&asked), 0);
        assert!(observed(&asked).unwrap().is_none());
        same(&joint(&asked).unwrap(), &asked);
        let state = with_observed(&asked, &points(1, 3).narrow_index(0, 0)).unwrap();
        assert_eq!(count(&state), 0);
        assert!(observed(&state).unwrap().is_none());
        same(&joint(&state).unwrap(), &asked);
        let known = conditioned(&state).unwrap();
        assert!(known.given(KNOWN).unwrap().tensor.equal(&Tensor::zeros([2, 4], F64)));
    }

    #[test]
    fn a_model_is_told_which_points_are_known() {
        let state = with_observed(&points(2, 4), &points(1, 3)).unwrap();
        let seen = conditioned(&state).unwrap();
        let flag = Tensor::from_slice(&[1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]).repeat([2, 1]);
        assert!(seen.given(KNOWN).unwrap().tensor.equal(&flag));
        same(&query_part(&seen, 3), &points(2, 4));
    }

    #[test]
    fn a_shared_grid_is_copied_where_the_other_part_has_its_own() {
        let grid = field(3, &[4, 2], Moves::Point).shared().indexed(0);
        let asked = points(2, 4).with_context("index", grid.clone());
        let joined = joint(&with_observed(&asked, &points(1, 3)).unwrap()).unwrap();
        let index = joined.given("index").unwrap();
        assert_eq!((index.tensor.size(), index.batched), (vec![2, 7, 2], true));
        assert!(index.tensor.narrow(1, 3, 4).equal(&grid.tensor.unsqueeze(0).repeat([2, 1, 1])));
        // Both shared: the joint grid is shared as well.
        let known =
            points(1, 3).with_context("index", field(5, &[3, 2], Moves::Point).shared().indexed(0));
        let joined = joint(&with_observed(&asked, &known).unwrap()).unwrap();
        let index = joined.given("index").unwrap();
        assert_eq!((index.tensor.size(), index.batched), (vec![7, 2], false));
    }

    #[test]
    fn missing_or_unequal_fields_are_refused_by_name() {
        let state = with_observed(&points(2, 4), &points(1, 3)).unwrap();
        let mut missing = state.clone();
        missing.context.retain(|(name, _)| name != "observed_index");
        assert!(joint(&missing).unwrap_err().to_string().contains("observed_index"));
        let short = field(1, &[2, 2, 2], Moves::Point);
        let error = joint(&state.with_context("observed_index", short)).unwrap_err();
        assert!(error.to_string().contains("observed_index"), "{error}");
        let flat = State::new(Field::new(Tensor::zeros([2, 3], F64), Moves::Scalar));
        assert!(with_observed(&flat, &flat).is_err());
    }

    #[test]
    fn declared_shapes_are_those_of_states() {
        let mask = |n| Field::new(Tensor::ones([2, n], F64), Moves::Fixed).indexed(1);
        let (known, asked) = (
            points(1, 3).with_context(State::MASK, mask(3)),
            points(2, 4).with_context(State::MASK, mask(4)),
        );
        let state = with_observed(&asked, &known).unwrap().spec();
        let declared = spec(&asked.spec());
        for (name, field) in &declared.context {
            let found = state.given(name).unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!((found.moves, found.index_axis), (field.moves, field.index_axis), "{name}");
            let sizes = found.shape.iter().zip(&field.shape);
            assert!(sizes.clone().all(|(found, declared)| *declared < 0 || found == declared));
            assert_eq!(found.shape.len(), field.shape.len());
        }
        assert_eq!(declared.context.len(), state.context.len());
    }
}
