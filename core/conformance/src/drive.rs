//! Checks of frames of fields: the flow, its derivatives, divergences, Ito term, coordinates.

use super::measure::{
    Found, Table, broken, dot, exact, largest, relative, relative_state, relative_xi, worse,
};
use super::measure::{PRECISION, normal_like, rounded};
use super::orbits;
use crate::strategies::{coefficient_shapes as shapes, coefficients, driven_states as states};
use isotropy_core::{Aliasing, Drive, FlowCoordinates, Result, State, Streams, Xi};
use std::f64::consts::PI;
use tch::{Kind, Tensor};

/// Fields and values up to this size are differentiated component by component.
const SMALL: i64 = 32;

/// The coefficients of every single field: factor, and 1 in one place for all points.
fn basis(drive: &dyn Drive, state: &State) -> Vec<(usize, Xi)> {
    let shapes = shapes(drive, state);
    let zero = Xi(shapes.iter().map(|shape| Tensor::zeros(shape, state.options())).collect());
    let mut all = Vec::new();
    for (k, shape) in shapes.iter().enumerate() {
        let count: i64 = shape[1..].iter().product();
        for i in 0..count {
            let mut xi = zero.clone();
            let one = Tensor::from_slice(&[i]).to_device(state.options().1).one_hot(count);
            let own: Vec<i64> = [&[1], &shape[1..]].concat();
            xi.0[k] =
                one.to_kind(state.options().0).reshape(&own).expand(shape, false).contiguous();
            all.push((k, xi));
        }
    }
    all
}

fn over_states(
    drive: &dyn Drive,
    state: &State,
    streams: &Streams,
    mut f: impl FnMut(&State) -> Result<f64>,
) -> Result<f64> {
    states(drive, state, streams)?.iter().try_fold(0.0, |error, state| Ok(worse(error, f(state)?)))
}

/// What holds to rounding, in either kind.
pub(super) fn frame(
    table: &mut Table,
    drive: &dyn Drive,
    state: &State,
    label: &str,
    streams: &Streams,
) {
    let tolerance = exact(state.options().0);
    let xi = || coefficients(drive, state, streams, "xi");
    table.check_in("flow by zero", label, || {
        let error = over_states(drive, state, streams, |x| {
            let same = drive.flow(x, &xi().zeros_like());
            Ok(relative(same.x(), x.x()))
        })?;
        Ok(Found::Error(error, tolerance))
    });
    table.check_in("flow composes", label, || {
        // Without the lift a long step may leave the principal branch, where fields turn round.
        let [plain, lifted, far] = states(drive, state, streams)?;
        let mut error = 0.0;
        for (x, length) in [(plain, 0.01), (lifted, 1.0), (far, 1.0)] {
            let xi = xi().scale(length);
            let twice = drive.flow(&drive.flow(&x, &xi.scale(0.9)), &xi.scale(-1.6));
            let once = drive.flow(&x, &xi.scale(-0.7));
            error = worse(error, relative_state(&twice, &once, |_| false));
        }
        Ok(Found::Error(error, 10.0 * tolerance))
    });
    table.check_in("points flow independently", label, || {
        let error = over_states(drive, state, streams, |x| {
            let all = drive.flow(x, &xi()).narrow(1, 1);
            let alone = drive.flow(&x.narrow(1, 1), &xi().map(|a| a.narrow(0, 1, 1)));
            Ok(relative_state(&alone, &all, |_| false))
        })?;
        Ok(Found::Error(error, tolerance))
    });
    table.check_in("pull is the transpose of push", label, || {
        let error = over_states(drive, state, streams, |x| {
            let (xi, c) = (xi(), normal_like(x.x(), streams, "covector"));
            let rows = |a: &Tensor| a.flatten(1, -1).sum_dim_intlist(1, false, None);
            let left = rows(&(drive.push(x, &xi) * &c));
            let pulled = drive.pull(x, &c);
            let products = xi.0.iter().zip(&pulled.0).map(|(a, b)| rows(&(a * b)));
            let Some(right) = products.reduce(|a, b| a + b) else {
                return broken("there are no coefficients");
            };
            Ok(relative(&left, &right))
        })?;
        Ok(Found::Error(error, 10.0 * tolerance))
    });
    table.check_in("push is linear", label, || {
        let error = over_states(drive, state, streams, |x| {
            let (a, b) = (xi(), coefficients(drive, x, streams, "eta"));
            let whole = drive.push(x, &a.add_scaled(&b, -2.0));
            Ok(relative(&whole, &(drive.push(x, &a) - drive.push(x, &b) * 2.0)))
        })?;
        Ok(Found::Error(error, 10.0 * tolerance))
    });
    table.check_in("horizontal is a projection that push does not see", label, || {
        let error = over_states(drive, state, streams, |x| {
            let level = drive.horizontal(x, &xi());
            let again = relative_xi(&drive.horizontal(x, &level), &level);
            let seen = relative(&drive.push(x, &level), &drive.push(x, &xi()));
            let pulled = drive.pull(x, &normal_like(x.x(), streams, "covector"));
            let pull = relative_xi(&drive.horizontal(x, &pulled), &pulled);
            Ok(worse(worse(again, seen), pull))
        })?;
        Ok(Found::Error(error, 10.0 * tolerance))
    });
    table.check_in("gradient of the flow at zero is finite", label, || {
        let error = over_states(drive, state, streams, |x| {
            let leaves = xi().map(|a| a.zeros_like().set_requires_grad(true));
            let moved = drive.flow(x, &leaves);
            let sum = dot(moved.x(), &normal_like(x.x(), streams, "covector"));
            let gradient = Tensor::f_run_backward(&[sum], &leaves.0, false, false)?;
            Ok(gradient.iter().map(|g| largest(&(g * 0.0))).fold(0.0, worse))
        })?;
        Ok(Found::Error(error, 0.0))
    });
    if let Some(chart) = drive.coordinates() {
        coordinates(table, drive, chart, state, label, streams);
    }
}

fn coordinates(
    table: &mut Table,
    drive: &dyn Drive,
    chart: &dyn FlowCoordinates,
    state: &State,
    label: &str,
    streams: &Streams,
) {
    let tolerance = exact(state.options().0);
    table.check_in("test states are regular", label, || {
        let closest = chart.regularity(state).min().double_value(&[]);
        if closest.is_nan() || closest <= 0.0 {
            return broken(format!("distance {closest} from the singular set"));
        }
        Ok(Found::Error(0.0, 0.0))
    });
    table.check_in("the point of the coordinates", label, || {
        let error = over_states(drive, state, streams, |x| {
            let principal = chart.point(x, &chart.tau(x));
            let unwrapped = chart.point(x, &chart.unwrapped(x));
            Ok(worse(relative(principal.x(), x.x()), relative(unwrapped.x(), x.x())))
        })?;
        Ok(Found::Error(error, 10.0 * tolerance))
    });
    table.check_in("branches are all coordinates of the point", label, || {
        branches(chart, state, tolerance)
    });
    table.check_in("the flow shifts the coordinates", label, || {
        let lifted = drive.lift(state.clone())?;
        let mut x = lifted.clone();
        let mut expected = chart.unwrapped(&x);
        let mut error = 0.0;
        // Three long steps leave the principal branch.
        for step in 0..3 {
            let xi = coefficients(drive, &x, streams, &format!("step{step}"));
            let xi = drive.horizontal(&x, &xi.scale(2.0));
            x = drive.flow(&x, &xi);
            expected = expected.add(&xi);
            error = worse(error, relative_xi(&chart.unwrapped(&x), &expected));
        }
        Ok(Found::Error(error, 10.0 * tolerance))
    });
}

/// Every branch leads to the point, the principal one comes first, and no angle is forgotten: where
/// a coordinate that goes on by a whole turn is back at the point, that is a branch.
fn branches(chart: &dyn FlowCoordinates, state: &State, tolerance: f64) -> Result<Found> {
    let (tau, all) = (chart.tau(state), chart.branches(state, 1));
    let Some(first) = all.first() else { return broken("there are none") };
    let mut error = relative_xi(first, &tau);
    for branch in &all {
        error = worse(error, relative(chart.point(state, branch).x(), state.x()));
    }
    for (factor, angles) in tau.0.iter().enumerate() {
        let last = angles.size().last().copied().unwrap_or(0);
        for k in 0..last {
            let gone = |by: f64| {
                let mut moved = tau.clone();
                let shift = Tensor::zeros([last], (angles.kind(), angles.device()));
                let _ = shift.narrow(0, k, 1).fill_(by);
                moved.0[factor] = angles + shift;
                moved
            };
            let back = |tau: &Xi| relative(chart.point(state, tau).x(), state.x());
            let turn = gone(2.0 * PI);
            // By some other length it moves: else it is no angle, but has no effect.
            if back(&turn) > 100.0 * tolerance || back(&gone(1.0)) < 1e-3 {
                continue;
            }
            if !all.iter().any(|branch| relative_xi(branch, &turn) < 100.0 * tolerance) {
                return broken(format!("coordinate {k} goes round, but has one branch"));
            }
        }
    }
    Ok(Found::Error(error, 100.0 * tolerance))
}

/// Derivatives, in double precision.
pub(super) fn derivatives(table: &mut Table, drive: &dyn Drive, state: &State, streams: &Streams) {
    table.check("push against the flow", || {
        let error = over_states(drive, state, streams, |x| {
            let (xi, e) = (coefficients(drive, x, streams, "xi"), 1e-5);
            let (ahead, behind) = (drive.flow(x, &xi.scale(e)), drive.flow(x, &xi.scale(-e)));
            let difference = (ahead.x() - behind.x()) / (2.0 * e);
            Ok(relative(&drive.push(x, &xi), &difference))
        })?;
        // Interpolated images have kinks, which widen the error of a central difference.
        Ok(Found::Error(error, 1e-5))
    });
    table.check("Ito term against the flow", || ito(drive, state, streams));
    table.check("divergences against autodiff", || divergences(drive, state));
    table.check("horizontal removes what push does not see", || invisible(drive, state, streams));
    table.check("lifting twice changes nothing", || {
        let once = drive.lift(state.clone())?;
        let twice = drive.lift(once.clone())?;
        Ok(Found::Error(relative_state(&twice, &once, |_| false), exact(state.options().0)))
    });
    match drive.coordinates() {
        Some(chart) => {
            table.check("fields are coordinate fields", || {
                coordinate_fields(drive, chart, state, streams)
            });
            table.check("divergences on the unwrapped branch", || {
                branch_divergences(drive, chart, state, streams)
            });
            table.check("aliasing is what it is said to be", || aliasing(drive, chart, state));
            table.check("log |det| against the fields", || determinant(drive, chart, state));
            table.check("divergences are derivatives of log |det|", || {
                slopes_of_determinant(drive, chart, state, streams)
            });
            table.check("coordinate fields commute", || commuting(drive, state));
        }
        None => table.check("brackets of generator fields", || brackets(drive, state, streams)),
    }
}

/// The second derivatives of the flow along every field, weighted by the variance of its factor.
fn second_differences(drive: &dyn Drive, x: &State, variance: &[f64], e: f64) -> Tensor {
    let mut sum = x.x().zeros_like();
    for (k, xi) in basis(drive, x) {
        let (ahead, behind) = (drive.flow(x, &xi.scale(e)), drive.flow(x, &xi.scale(-e)));
        sum += (ahead.x() + behind.x() - x.x() * 2.0) * (variance[k] / (e * e));
    }
    sum
}

fn ito(drive: &dyn Drive, state: &State, streams: &Streams) -> Result<Found> {
    let factors = shapes(drive, state).len();
    let variance: Vec<f64> = (0..factors).map(|k| 1.3 - 0.2 * k as f64).collect();
    let mut error = 0.0;
    for x in states(drive, state, streams)? {
        let (coarse, fine) = (
            second_differences(drive, &x, &variance, 2e-3),
            second_differences(drive, &x, &variance, 1e-3),
        );
        if relative(&coarse, &fine) > 1e-3 {
            return Ok(Found::Skip(
                "the flow is not twice differentiable (its second differences do not settle)"
                    .into(),
            ));
        }
        error = worse(error, relative(&drive.ito(&x, &variance), &fine));
    }
    Ok(Found::Error(error, 1e-5))
}

fn is_lebesgue(drive: &dyn Drive) -> bool {
    drive.base_measure().starts_with("Lebesgue")
}

fn is_area(drive: &dyn Drive) -> bool {
    ["Haar", "area"].iter().any(|name| drive.base_measure().starts_with(name))
}

/// Whether value and coefficients are small enough to be taken apart; the reason if not.
fn too_large(drive: &dyn Drive, state: &State) -> Option<String> {
    let size = |shape: &[i64]| shape[1..].iter().product::<i64>();
    let value = size(&state.x().size());
    let fields: i64 = shapes(drive, state).iter().map(|shape| size(shape)).sum();
    (value.max(fields) > SMALL)
        .then(|| format!("{fields} fields in {value} dimensions; up to {SMALL} are taken apart"))
}

/// Coefficients with `push = 0` have no horizontal part.
fn invisible(drive: &dyn Drive, state: &State, streams: &Streams) -> Result<Found> {
    if let Some(why) = too_large(drive, state) {
        return Ok(Found::Skip(why));
    }
    let error = over_states(drive, state, streams, |x| {
        let fields: Vec<Tensor> =
            basis(drive, x).iter().map(|(_, xi)| drive.push(x, xi).flatten(1, -1)).collect();
        // Rows that span what push sees.
        let seen = orbits::span(&Tensor::stack(&fields, 1)).transpose(1, 2);
        let xi = coefficients(drive, x, streams, "xi");
        let flat: Vec<Tensor> = xi.0.iter().map(|a| a.flatten(1, -1)).collect();
        let flat = Tensor::cat(&flat, 1).unsqueeze(-1);
        let hidden = (&flat - seen.transpose(1, 2).matmul(&seen.matmul(&flat))).squeeze_dim(-1);
        let mut start = 0;
        let hidden = xi.map(|a| {
            let length = a.numel() as i64 / a.size()[0];
            start += length;
            hidden.narrow(1, start - length, length).reshape(a.size())
        });
        let left = drive.horizontal(x, &hidden);
        Ok(left.0.iter().map(largest).fold(largest(&drive.push(x, &hidden)), worse))
    })?;
    Ok(Found::Error(error, 1e-9))
}

/// The Jacobian `[B, n, n]` of a field of the frame at a state without lift, so that everything
/// depends on the value.
fn jacobian(drive: &dyn Drive, state: &State, xi: &Xi) -> Result<Tensor> {
    let x = state.x().detach().set_requires_grad(true);
    let field = drive.push(&state.with_value(x.shallow_clone()), xi).flatten(1, -1);
    let n = field.size()[1];
    let mut rows = Vec::new();
    for j in 0..n {
        let component = field.select(1, j).sum(field.kind());
        rows.push(if component.requires_grad() {
            Tensor::f_run_backward(&[component], &[&x], true, false)?.remove(0).flatten(1, -1)
        } else {
            x.detach().zeros_like().flatten(1, -1)
        });
    }
    Ok(Tensor::stack(&rows, 1))
}

/// On a surface (rotation matrices among all matrices, a sphere) with its area as the measure, which
/// for a compact group is Haar measure, the divergence is the trace over the tangent space. The
/// fields span it.
fn divergences(drive: &dyn Drive, state: &State) -> Result<Found> {
    if !is_lebesgue(drive) && !is_area(drive) {
        return Ok(Found::Skip(format!(
            "the base measure is neither Lebesgue nor an area: {}",
            drive.base_measure()
        )));
    }
    if let Some(why) = too_large(drive, state) {
        return Ok(Found::Skip(why));
    }
    let claimed = drive.divergences(state);
    let fields: Vec<Tensor> =
        basis(drive, state).iter().map(|(_, xi)| drive.push(state, xi).flatten(1, -1)).collect();
    let tangent = is_area(drive).then(|| orbits::span(&Tensor::stack(&fields, -1)));
    let mut error = 0.0;
    for (_, xi) in basis(drive, state) {
        let jacobian = jacobian(drive, state, &xi)?;
        let seen = match &tangent {
            Some(tangent) => tangent.transpose(1, 2).matmul(&jacobian).matmul(tangent),
            None => jacobian,
        };
        let trace = seen.diagonal(0, 1, 2).sum_dim_intlist([-1].as_slice(), false, None);
        let claims = claimed.0.iter().zip(&xi.0);
        let Some(claim) = claims
            .map(|(d, one)| (d * one).flatten(1, -1).sum_dim_intlist(1, false, None))
            .reduce(|a, b| a + b)
        else {
            return broken("there are no coefficients");
        };
        error = worse(error, relative(&claim, &trace));
    }
    Ok(Found::Error(error, 1e-9))
}

/// `dx/dtau_i = eps_i Pi_i` at coordinates far beyond the principal branch.
fn coordinate_fields(
    drive: &dyn Drive,
    chart: &dyn FlowCoordinates,
    state: &State,
    streams: &Streams,
) -> Result<Found> {
    let tau = coefficients(drive, state, streams, "wide tau").scale(2.5);
    let x = chart.point(state, &tau);
    let eps = chart.orientation(&tau);
    let mut error = 0.0;
    for (_, xi) in basis(drive, state) {
        let e = 1e-5;
        let (ahead, behind) = (
            chart.point(state, &tau.add_scaled(&xi, e)),
            chart.point(state, &tau.add_scaled(&xi, -e)),
        );
        let difference = (ahead.x() - behind.x()) / (2.0 * e);
        let signed = match &eps {
            Some(eps) => xi.zip(eps, |a, eps| a * eps),
            None => xi,
        };
        error = worse(error, relative(&drive.push(&x, &signed), &difference));
    }
    Ok(Found::Error(error, 1e-6))
}

/// Divergences at a lifted state are those of the principal branch with the sign of the fields.
fn branch_divergences(
    drive: &dyn Drive,
    chart: &dyn FlowCoordinates,
    state: &State,
    streams: &Streams,
) -> Result<Found> {
    let [plain, _, far] = states(drive, state, streams)?;
    let Some(eps) = chart.orientation(&chart.unwrapped(&far)) else {
        return Ok(Found::Skip("the fields are the same on every branch".into()));
    };
    let principal = drive.divergences(&plain.with_value(far.x().shallow_clone()));
    let expected = principal.zip(&eps, |d, eps| d * eps);
    Ok(Found::Error(relative_xi(&drive.divergences(&far), &expected), 1e-9))
}

fn determinant(drive: &dyn Drive, chart: &dyn FlowCoordinates, state: &State) -> Result<Found> {
    if drive.base_measure() != "Lebesgue" {
        return Ok(Found::Skip(format!("the base measure is {}", drive.base_measure())));
    }
    if let Some(why) = too_large(drive, state) {
        return Ok(Found::Skip(why));
    }
    let columns: Vec<Tensor> =
        basis(drive, state).iter().map(|(_, xi)| drive.push(state, xi).flatten(1, -1)).collect();
    let matrix = Tensor::stack(&columns, -1);
    let (_, log_abs) = Tensor::linalg_slogdet(&matrix);
    Ok(Found::Error(relative(&chart.log_abs_det(state), &log_abs), 1e-9))
}

/// `d/dtau_i log |det Pi| = div Pi_i` (sism.md 1.4) along the flow, on the unwrapped branch too. With
/// it the score of the density in `tau` is that in `x` plus the divergences.
fn slopes_of_determinant(
    drive: &dyn Drive,
    chart: &dyn FlowCoordinates,
    state: &State,
    streams: &Streams,
) -> Result<Found> {
    if drive.base_measure() != "Lebesgue" {
        return Ok(Found::Skip(format!("the base measure is {}", drive.base_measure())));
    }
    let error = over_states(drive, state, streams, |x| {
        let (xi, e) = (coefficients(drive, x, streams, "xi"), 1e-5);
        let at = |e: f64| chart.log_abs_det(&drive.flow(x, &xi.scale(e)));
        let slope = (at(e) - at(-e)) / (2.0 * e);
        let rows = |a: &Tensor| a.flatten(1, -1).sum_dim_intlist(1, false, None);
        let claims = drive.divergences(x).0.into_iter().zip(&xi.0).map(|(d, a)| rows(&(d * a)));
        let Some(claim) = claims.reduce(|a, b| a + b) else {
            return broken("there are no coefficients");
        };
        Ok(relative(&claim, &slope))
    })?;
    Ok(Found::Error(error, 1e-6))
}

/// What a drive computes in single precision is what it computes in double precision, up to
/// rounding.
pub(super) fn precision(table: &mut Table, drive: &dyn Drive, state: &State, streams: &Streams) {
    table.check("frame in f32 against f64", || {
        // One state for both, so that rounding of the state itself does not count twice.
        let single = rounded(&drive.lift(state.clone())?);
        let double = single.to(Kind::Double, state.options().1);
        let xi = coefficients(drive, &double, streams, "xi").map(|a| a.to_kind(Kind::Float));
        let wide = xi.map(|a| a.to_kind(Kind::Double));
        let c = normal_like(double.x(), streams, "covector").to_kind(Kind::Float);
        let wide_c = c.to_kind(Kind::Double);
        let variance = vec![1.0; xi.0.len()];
        let mut errors = vec![
            relative(drive.flow(&single, &xi).x(), drive.flow(&double, &wide).x()),
            relative(&drive.push(&single, &xi), &drive.push(&double, &wide)),
            relative_xi(&drive.pull(&single, &c), &drive.pull(&double, &wide_c)),
            relative_xi(&drive.divergences(&single), &drive.divergences(&double)),
            relative(&drive.ito(&single, &variance), &drive.ito(&double, &variance)),
            relative_xi(&drive.horizontal(&single, &xi), &drive.horizontal(&double, &wide)),
        ];
        if let Some(chart) = drive.coordinates() {
            errors.push(relative_xi(&chart.unwrapped(&single), &chart.unwrapped(&double)));
            errors.push(relative(&chart.log_abs_det(&single), &chart.log_abs_det(&double)));
        }
        Ok(Found::Error(errors.into_iter().fold(0.0, worse), PRECISION))
    });
}

/// `[X_a, X_b] = DX_b X_a - DX_a X_b` at a state without lift, by central differences.
fn field_bracket(drive: &dyn Drive, state: &State, a: &Xi, b: &Xi) -> Tensor {
    let e = 1e-5;
    let along = |of: &Xi, direction: &Tensor| {
        let at = |e: f64| drive.push(&state.with_value(state.x() + direction * e), of);
        (at(e) - at(-e)) / (2.0 * e)
    };
    along(b, &drive.push(state, a)) - along(a, &drive.push(state, b))
}

fn commuting(drive: &dyn Drive, state: &State) -> Result<Found> {
    if let Some(why) = too_large(drive, state) {
        return Ok(Found::Skip(why));
    }
    let basis = basis(drive, state);
    if basis.len() < 2 {
        return Ok(Found::Skip("there is one field".into()));
    }
    let mut error = 0.0;
    for (i, (_, a)) in basis.iter().enumerate() {
        for (_, b) in &basis[..i] {
            error = worse(error, largest(&field_bracket(drive, state, a, b)));
        }
    }
    Ok(Found::Error(error, 1e-6))
}

/// `[X_a, X_b] = -X_[a,b]` for the fields of a left action, where the frame is the algebra's.
fn brackets(drive: &dyn Drive, state: &State, streams: &Streams) -> Result<Found> {
    let Some(lie) = drive.group().lie() else {
        return Ok(Found::Skip("the group has no algebra".into()));
    };
    if drive.element_shape(state).ok() != Some(shapes(drive, state)) {
        return Ok(Found::Skip("the frame is not made of generators of the group".into()));
    }
    let (a, b) =
        (coefficients(drive, state, streams, "a"), coefficients(drive, state, streams, "b"));
    let expected = drive.push(state, &lie.bracket(&a, &b)).neg();
    Ok(Found::Error(relative(&field_bracket(drive, state, &a, &b), &expected), 1e-6))
}

/// Coordinates beyond every principal branch, read back from the point that they give.
fn aliasing(drive: &dyn Drive, chart: &dyn FlowCoordinates, state: &State) -> Result<Found> {
    let said = chart.aliasing();
    let like = match said {
        Aliasing::Carried => drive.lift(state.clone())?,
        Aliasing::None | Aliasing::Principal => state.clone(),
    };
    let tau = chart.unwrapped(&like);
    let ramp = |a: &Tensor| {
        let count = Tensor::arange(a.numel() as i64, (a.kind(), a.device()));
        count.view_as(a) * 7.0 + 20.0
    };
    let far = tau.add(&drive.horizontal(&like, &tau.map(ramp)));
    let kept = relative_xi(&chart.unwrapped(&chart.point(&like, &far)), &far) < 1e-9;
    match (said, kept) {
        (Aliasing::Principal, false) | (Aliasing::None | Aliasing::Carried, true) => {
            Ok(Found::Error(0.0, 0.0))
        }
        _ => broken(format!(
            "{said:?} is said, but coordinates are {}",
            match kept {
                true => "read back as they were",
                false => "brought to another branch",
            }
        )),
    }
}
