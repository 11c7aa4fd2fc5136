//! Checks of representations: the axioms of an action, its derivative, and, for drives, everything
//! about the frame of fields (in `drive.rs`).

use super::measure::{
    Found, KINDS, PRECISION, Table, broken, cpu, exact, largest, normal_like, relative,
    relative_state, relative_xi, rounded, worse,
};
use super::{CheckResult, drive, orbits};
use crate::strategies::{coefficients, element};
use isotropy_core::{Drive, Element, Moves, Representation, Result, State, Streams, Xi};
use tch::{Kind, Tensor};

/// Number of points that an action is tested on.
const BATCH: i64 = 6;

/// All checks of a representation, on the states that it offers
/// ([`Representation::sample_state`]). A drive is also checked with itself as the symmetry; other
/// pairs are [`check_transport`]'s.
pub fn check_representation(
    representation: &dyn Representation,
    streams: &Streams,
) -> Vec<CheckResult> {
    let mut table = Table::default();
    for (kind, label) in KINDS {
        let mut stream = streams.stream("conformance/state", 0);
        let Some(state) = representation.sample_state(BATCH, cpu(kind), &mut stream) else {
            let why = "the representation offers no states to test it on (`sample_state`)";
            table.results.push(CheckResult::unchecked("action", why));
            return table.results;
        };
        action(&mut table, representation, &state, label, streams);
        if let Some(drive) = representation.drive() {
            drive::frame(&mut table, drive, &state, label, streams);
        }
    }
    let mut stream = streams.stream("conformance/state", 0);
    if let Some(state) = representation.sample_state(BATCH, cpu(Kind::Double), &mut stream) {
        orbits::action(&mut table, representation, &state, streams);
        table.check("action in f32 against f64", || precision(representation, &state, streams));
        if let Some(drive) = representation.drive() {
            orbits::frame(&mut table, drive, &state, streams);
            drive::derivatives(&mut table, drive, &state, streams);
            drive::precision(&mut table, drive, &state, streams);
            transport(&mut table, drive, representation, &state, streams);
        }
    }
    table.results
}

/// Whether a drive's noise can be moved with its input under a symmetry:
/// `h flow(x, xi) = flow(h x, transport(h, xi))`, linearly in `xi`. Skipped, with the reason, where
/// the drive refuses the pair.
pub fn check_transport(
    drive: &dyn Drive,
    symmetry: &dyn Representation,
    streams: &Streams,
) -> Vec<CheckResult> {
    let mut table = Table::default();
    let mut stream = streams.stream("conformance/state", 0);
    match drive.sample_state(BATCH, cpu(Kind::Double), &mut stream) {
        Some(state) => transport(&mut table, drive, symmetry, &state, streams),
        None => table.results.push(CheckResult::unchecked(
            "transport",
            "the drive offers no states to test it on (`sample_state`)",
        )),
    }
    table.results
}

/// Unwrapped coordinates of a group with angles are a representation of its covering only: they are
/// compared through the points that they stand for, not number by number.
fn coordinates(field: &isotropy_core::Field) -> bool {
    field.moves == Moves::Coordinates
}

fn action(
    table: &mut Table,
    representation: &dyn Representation,
    state: &State,
    label: &str,
    streams: &Streams,
) {
    let group = representation.group();
    let tolerance = exact(state.options().0) + representation.approximation_error();
    let lifted = || match representation.drive() {
        Some(drive) => drive.lift(state.clone()),
        None => Ok(state.clone()),
    };
    let sample = |name: &str| element(representation, state, streams, name);
    table.check_in("states are accepted", label, || {
        representation.accepts(&state.spec())?;
        Ok(Found::Error(0.0, 0.0))
    });
    table.check_in("identity acts trivially", label, || {
        let state = lifted()?;
        let e = group.identity(&representation.element_shape(&state)?, state.options());
        let moved = representation.act(&e, &state)?;
        Ok(Found::Error(relative_state(&moved, &state, |_| false), tolerance))
    });
    table.check_in("homomorphism", label, || {
        let (state, g, h) = (lifted()?, sample("g")?, sample("h")?);
        let twice = representation.act(&g, &representation.act(&h, &state)?)?;
        let once = representation.act(&group.compose(&g, &h), &state)?;
        Ok(Found::Error(relative_state(&twice, &once, coordinates), tolerance))
    });
    table.check_in("inverse acts back", label, || {
        let (state, g) = (lifted()?, sample("g")?);
        let there = representation.act(&g, &state)?;
        let back = representation.act(&group.inverse(&g), &there)?;
        Ok(Found::Error(relative_state(&back, &state, coordinates), tolerance))
    });
    table.check_in("shapes and kinds are kept", label, || {
        let moved = representation.act(&sample("g")?, state)?;
        let (before, after) = (state.spec(), moved.spec());
        if before.value != after.value || before.context != after.context {
            return broken(format!("{before:?} becomes {after:?}"));
        }
        if moved.options() != state.options() {
            return broken(format!("{:?} becomes {:?}", state.options(), moved.options()));
        }
        Ok(Found::Error(0.0, 0.0))
    });
    table.check_in("points of a batch are independent", label, || {
        let (state, g) = (lifted()?, sample("g")?);
        let all = representation.act(&g, &state)?.narrow(1, 1);
        let one = Element(g.0.iter().map(|t| t.narrow(0, 1, 1)).collect());
        let alone = representation.act(&one, &state.narrow(1, 1))?;
        Ok(Found::Error(relative_state(&alone, &all, |_| false), tolerance))
    });
    table.check_in("tangents against the action", label, || {
        // act(g, x + e v) by a central difference in e.
        let double = state.options().0 == Kind::Double;
        let (e, allowed) = if double { (1e-5, 1e-7) } else { (1e-2, 1e-3) };
        let v = normal_like(state.x(), streams, "v");
        // An action on angles jumps where one of them passes the cut, and a difference across it means
        // nothing. Such points (a jump of 1/2 for a step of e) are left to the other elements.
        let (mut error, mut judged) = (0.0, 0);
        for name in ["g", "h", "k"] {
            let g = sample(name)?;
            let tangent = match representation.act_tangent(&g, state, &v) {
                Err(isotropy_core::Error::Unsupported(why)) => return Ok(Found::Skip(why)),
                other => other?,
            };
            let at = |e: f64| -> Result<Tensor> {
                let moved = representation.act(&g, &state.with_value(state.x() + &v * e))?;
                Ok(moved.value.tensor)
            };
            let difference = at(e)? - at(-e)?;
            let jump = difference.abs().flatten(1, -1).amax(1, false).ge(0.5);
            let rows = jump.logical_not().nonzero().squeeze_dim(1);
            let kept = |a: &Tensor| a.index_select(0, &rows);
            judged += rows.size()[0];
            if rows.size()[0] > 0 {
                error = worse(error, relative(&kept(&tangent), &(kept(&difference) / (2.0 * e))));
            }
        }
        if judged < 2 * state.batch_size() {
            return broken("the action jumps at most points");
        }
        Ok(Found::Error(error, allowed + representation.approximation_error()))
    });
    if representation.drive().and_then(Drive::coordinates).is_some() {
        table.check_in("coordinates follow the action", label, || {
            let (state, g) = (lifted()?, sample("g")?);
            let moved = representation.act(&g, &state)?;
            let drive = representation.drive().and_then(Drive::coordinates);
            let Some(chart) = drive else { return broken("the coordinates went away") };
            let again = chart.point(&moved, &chart.unwrapped(&moved));
            Ok(Found::Error(relative(again.x(), moved.x()), tolerance))
        });
    }
}

/// The action in single precision is the one in double precision up to rounding: nothing inside is
/// of a fixed kind, or badly conditioned.
fn precision(
    representation: &dyn Representation,
    state: &State,
    streams: &Streams,
) -> Result<Found> {
    let state = match representation.drive() {
        Some(drive) => drive.lift(state.clone())?,
        None => state.clone(),
    };
    let g = element(representation, &state, streams, "g")?;
    let float = |t: &Tensor| if t.is_floating_point() { t.to_kind(Kind::Float) } else { t.copy() };
    let single = Element(g.0.iter().map(float).collect());
    let moved = representation.act(&g, &state)?;
    let moved_single = representation.act(&single, &rounded(&state))?;
    let tolerance = PRECISION + representation.approximation_error();
    Ok(Found::Error(relative_state(&moved_single, &moved, coordinates), tolerance))
}

fn transport(
    table: &mut Table,
    drive: &dyn Drive,
    symmetry: &dyn Representation,
    state: &State,
    streams: &Streams,
) {
    // A drive of values of any shape (translations) is tried on what the symmetry moves (images).
    let mut stream = streams.stream("states of the symmetry", 0);
    let fitting = match symmetry.accepts(&state.spec()) {
        Ok(()) => None,
        Err(_) => symmetry
            .sample_state(state.batch_size(), state.options(), &mut stream)
            .filter(|moved| drive.accepts(&moved.spec()).is_ok()),
    };
    let state = fitting.as_ref().unwrap_or(state);
    let prepare = || -> Result<(State, Element, Xi, Xi)> {
        let state = drive.lift(state.clone())?;
        let h = element(symmetry, &state, streams, "h")?;
        let xi = coefficients(drive, &state, streams, "xi");
        let eta = coefficients(drive, &state, streams, "eta");
        let level = |xi: &Xi| drive.horizontal(&state, &xi.scale(0.5));
        let (xi, eta) = (level(&xi), level(&eta));
        Ok((state, h, xi, eta))
    };
    table.check("transport of the flow", || {
        symmetry.accepts(&state.spec())?;
        let (state, h, xi, _) = prepare()?;
        let moved = match drive.transport(symmetry, &h, &state, &xi) {
            Err(isotropy_core::Error::Unsupported(why)) => return Ok(Found::Skip(why)),
            other => other?,
        };
        let left = symmetry.act(&h, &drive.flow(&state, &xi))?;
        let right = drive.flow(&symmetry.act(&h, &state)?, &moved);
        let tolerance = exact(Kind::Double) + symmetry.approximation_error();
        Ok(Found::Error(relative_state(&left, &right, |_| false), tolerance))
    });
    table.check("transport is linear", || {
        let (state, h, xi, eta) = prepare()?;
        let carry = |xi: &Xi| drive.transport(symmetry, &h, &state, xi);
        let whole = match carry(&xi.add_scaled(&eta, -2.0)) {
            Err(isotropy_core::Error::Unsupported(why)) => return Ok(Found::Skip(why)),
            other => other?,
        };
        let parts = carry(&xi)?.add_scaled(&carry(&eta)?, -2.0);
        let error = whole.sub(&parts).0.iter().map(largest).fold(0.0, worse);
        Ok(Found::Error(error, exact(Kind::Double)))
    });
    table.check("transport of a product", || {
        let (state, h, xi, _) = prepare()?;
        let g = element(symmetry, &state, streams, "g")?;
        let once = symmetry.group().compose(&g, &h);
        let once = match drive.transport(symmetry, &once, &state, &xi) {
            Err(isotropy_core::Error::Unsupported(why)) => return Ok(Found::Skip(why)),
            other => other?,
        };
        let there = symmetry.act(&h, &state)?;
        let twice = drive.transport(symmetry, &h, &state, &xi)?;
        let twice = drive.transport(symmetry, &g, &there, &twice)?;
        let tolerance = exact(Kind::Double) + symmetry.approximation_error();
        Ok(Found::Error(relative_xi(&twice, &once), tolerance))
    });
}
