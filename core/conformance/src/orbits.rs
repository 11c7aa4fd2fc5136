//! Checks of an action and of frames of fields against the Lie group: fundamental fields
//! `X_a(x) = d/dt exp(t a) x`, their brackets, and how the fields of a frame lie to them.

use super::measure::normal_like;
use super::measure::{Found, Table, broken, dot, largest, relative, worse};
use crate::strategies::{coefficient_shapes, coefficients, driven_states};
use isotropy_core::{Drive, LieGroup, Representation, Result, State, Streams, Xi};
use tch::Tensor;

/// Largest size of values and coefficients that are taken apart component by component.
const SMALL: i64 = 32;

/// Step along a one-parameter group.
const STEP: f64 = 1e-4;

/// Normal algebra elements for the points of a state.
fn algebra(
    representation: &dyn Representation,
    state: &State,
    streams: &Streams,
    name: &str,
) -> Result<Xi> {
    let mut stream = streams.stream(&format!("conformance/{name}"), 5);
    let shapes = representation.element_shape(state)?;
    Ok(Xi(shapes.iter().map(|shape| stream.normal(shape, state.options())).collect()))
}

/// `X_a(x)` by a central difference of the action.
fn fundamental(
    representation: &dyn Representation,
    lie: &dyn LieGroup,
    state: &State,
    a: &Xi,
) -> Result<Tensor> {
    let at = |e: f64| -> Result<Tensor> {
        Ok(representation.act(&lie.exp(&a.scale(e)), state)?.value.tensor)
    };
    Ok((at(STEP)? - at(-STEP)?) / (2.0 * STEP))
}

/// Checks of the action of a Lie group, in double precision.
pub(super) fn action(
    table: &mut Table,
    representation: &dyn Representation,
    state: &State,
    streams: &Streams,
) {
    let Some(lie) = representation.group().lie() else { return };
    table.check("brackets of the action", || brackets(representation, lie, state, streams));
    table.check("gradient of the action at the identity is finite", || {
        let zero = algebra(representation, state, streams, "a")?;
        let zero = zero.map(|a| a.zeros_like().set_requires_grad(true));
        let x = state.x().detach().set_requires_grad(true);
        let moved = representation.act(&lie.exp(&zero), &state.with_value(x.shallow_clone()))?;
        let sum = dot(moved.x(), &normal_like(moved.x(), streams, "covector"));
        let mut leaves: Vec<&Tensor> = zero.0.iter().collect();
        leaves.push(&x);
        if !sum.requires_grad() {
            return Ok(Found::Skip(
                "the action depends neither on the element nor on the point".into(),
            ));
        }
        let gradient = Tensor::f_run_backward(&[sum], &leaves, false, false)?;
        // Without a gradient: the point does not depend on the element.
        let defined = gradient.iter().filter(|g| g.defined());
        Ok(Found::Error(defined.map(|g| largest(&(g * 0.0))).fold(0.0, worse), 0.0))
    });
}

/// `[X_a, X_b] = -X_[a,b]` with `[X_a, X_b] = DX_b X_a - DX_a X_b`: what tells an action from the
/// left from one from the right.
fn brackets(
    representation: &dyn Representation,
    lie: &dyn LieGroup,
    state: &State,
    streams: &Streams,
) -> Result<Found> {
    let a = algebra(representation, state, streams, "a")?;
    let b = algebra(representation, state, streams, "b")?;
    let slope = |e: f64| -> Result<Tensor> {
        let moved = representation.act(&lie.exp(&a.scale(e)), state)?;
        Ok((moved.x() - state.x()) / e)
    };
    if relative(&slope(STEP)?, &slope(-STEP)?) > 1e-2 {
        return Ok(Found::Skip("the action has kinks: its one-sided slopes differ".into()));
    }
    let field = |xi: &Xi, x: &State| fundamental(representation, lie, x, xi);
    let along = |of: &Xi, direction: &Tensor| -> Result<Tensor> {
        let e = 1e-3;
        let at = |e: f64| field(of, &state.with_value(state.x() + direction * e));
        Ok((at(e)? - at(-e)?) / (2.0 * e))
    };
    let bracket = along(&b, &field(&a, state)?)? - along(&a, &field(&b, state)?)?;
    let expected = field(&lie.bracket(&a, &b), state)?.neg();
    Ok(Found::Error(relative(&bracket, &expected), 1e-5 + representation.approximation_error()))
}

/// Checks of a frame against the action of its group, in double precision.
pub(super) fn frame(table: &mut Table, drive: &dyn Drive, state: &State, streams: &Streams) {
    let Some(lie) = drive.group().lie() else { return };
    table.check("fields against the action", || fields(drive, lie, state, streams));
    table.check("pull against autodiff of the flow", || pull(drive, state, streams));
}

/// Where the coefficients are those of the algebra, the fields are the fundamental fields; elsewhere
/// they are tangent to the orbits of the group.
fn fields(
    drive: &dyn Drive,
    lie: &dyn LieGroup,
    state: &State,
    streams: &Streams,
) -> Result<Found> {
    let own = coefficient_shapes(drive, state);
    let shapes = drive.element_shape(state)?;
    let mut error = 0.0;
    for x in driven_states(drive, state, streams)? {
        let xi = coefficients(drive, &x, streams, "xi");
        let pushed = drive.push(&x, &xi);
        if own == shapes && drive.coordinates().is_none() {
            error = worse(error, relative(&pushed, &fundamental(drive, lie, &x, &xi)?));
            continue;
        }
        let size = |shape: &[i64]| shape.iter().skip(1).product::<i64>();
        let count: i64 = shapes.iter().map(|shape| size(shape)).sum();
        if count.max(size(&x.x().size())) > SMALL {
            return Ok(Found::Skip(format!("{count} generators; up to {SMALL} are taken apart")));
        }
        let mut columns = Vec::new();
        for (k, shape) in shapes.iter().enumerate() {
            for i in 0..size(shape) {
                let mut a = Xi(shapes.iter().map(|s| Tensor::zeros(s, x.options())).collect());
                let one = Tensor::from_slice(&[i]).one_hot(size(shape)).to_kind(x.options().0);
                let row: Vec<i64> = [&[1], &shape[1..]].concat();
                a.0[k] = one.reshape(&row).expand(shape, false).contiguous();
                columns.push(fundamental(drive, lie, &x, &a)?.flatten(1, -1));
            }
        }
        error = worse(error, outside(&Tensor::stack(&columns, -1), &pushed.flatten(1, -1)));
    }
    Ok(Found::Error(error, 1e-5 + drive.approximation_error()))
}

/// How much of vectors `[B, n]` lies outside the span of the columns of `[B, n, k]`, relative to
/// their length.
fn outside(columns: &Tensor, vectors: &Tensor) -> f64 {
    let basis = span(columns);
    let inside =
        basis.matmul(&basis.transpose(1, 2).matmul(&vectors.unsqueeze(-1))).squeeze_dim(-1);
    largest(&(vectors - inside)) / (1.0 + largest(vectors))
}

/// Orthonormal columns `[B, n, r]` with the span of the given ones; where the rank is below `r`, the
/// columns too many are zero.
pub(super) fn span(columns: &Tensor) -> Tensor {
    let (u, s, _) = columns.svd(true, true);
    let keep = s.gt_tensor(&(s.amax(-1, true) * 1e-6)).to_kind(s.kind());
    u * keep.unsqueeze(-2)
}

/// The gradient of `c . flow(x, xi)` at `xi = 0` is `pull(x, c)`.
fn pull(drive: &dyn Drive, state: &State, streams: &Streams) -> Result<Found> {
    let mut error = 0.0;
    for x in driven_states(drive, state, streams)? {
        let xi = coefficients(drive, &x, streams, "xi");
        let e = 1e-5;
        let ahead = drive.flow(&x, &xi.scale(e)).x() - x.x();
        let behind = x.x() - drive.flow(&x, &xi.scale(-e)).x();
        if relative(&ahead, &behind) > 1e-6 {
            return Ok(Found::Skip("the flow has kinks: its one-sided slopes differ".into()));
        }
        let leaves = xi.map(|a| a.zeros_like().set_requires_grad(true));
        let moved = drive.flow(&x, &leaves);
        let covector = normal_like(moved.x(), streams, "covector");
        let sum = dot(moved.x(), &covector);
        let gradient = Tensor::f_run_backward(&[sum], &leaves.0, false, false)?;
        let pulled = drive.pull(&x, &covector);
        if gradient.len() != pulled.0.len() {
            return broken(format!("{} factors are pulled back", pulled.0.len()));
        }
        let errors = gradient.iter().zip(&pulled.0).map(|(a, b)| relative(a, b));
        error = errors.fold(error, worse);
    }
    Ok(Found::Error(error, 1e-9))
}
