//! Runge-Kutta rules for motion by the flow of a drive.
//!
//! A step writes the path as `x(u) = flow(x, u)` with coefficients `u` that grow from 0. Where the
//! fields of the frame commute (flow coordinates), `du = v` is ordinary. Where the frame is the
//! algebra of a group, `du = dexp_u^-1 v = v - [u, v]/2 + [u, [u, v]]/12 - ...` (Munthe-Kaas 1998;
//! fields of a left action): one group element moves the point, and the order is that of the rule.

use isotropy_core::{Drive, LieGroup, Result, State, Xi};
use tch::Tensor;

/// The coefficients of an explicit rule.
#[derive(Debug)]
pub struct Tableau {
    /// Times of the stages within the step, in [0, 1].
    pub nodes: &'static [f64],
    /// Weights of earlier stages, for each stage after the first.
    pub rows: &'static [&'static [f64]],
    /// Weights of the result.
    pub weights: &'static [f64],
    /// Weights of the estimate of the error; empty without one.
    pub error: &'static [f64],
}

/// One evaluation, order 1.
pub const EULER: Tableau = Tableau { nodes: &[0.0], rows: &[], weights: &[1.0], error: &[] };

/// Two evaluations, order 2.
pub const HEUN: Tableau =
    Tableau { nodes: &[0.0, 1.0], rows: &[&[1.0]], weights: &[0.5, 0.5], error: &[] };

/// Four evaluations, order 4.
pub const RK4: Tableau = Tableau {
    nodes: &[0.0, 0.5, 0.5, 1.0],
    rows: &[&[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
    weights: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
    error: &[],
};

/// Dormand and Prince (1980): order 5 with an estimate of order 4; the last stage is the first of
/// the next step, so a step costs six evaluations.
pub const DORMAND_PRINCE: Tableau = Tableau {
    nodes: &[0.0, 0.2, 0.3, 0.8, 8.0 / 9.0, 1.0, 1.0],
    rows: &[
        &[0.2],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
        &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
        &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
    ],
    weights: &[
        35.0 / 384.0,
        0.0,
        500.0 / 1113.0,
        125.0 / 192.0,
        -2187.0 / 6784.0,
        11.0 / 84.0,
        0.0,
    ],
    error: &[
        71.0 / 57600.0,
        0.0,
        -71.0 / 16695.0,
        71.0 / 1920.0,
        -17253.0 / 339_200.0,
        22.0 / 525.0,
        -1.0 / 40.0,
    ],
};

/// A slope: coefficients per unit of the variable, and a number for each point that is integrated
/// alongside (the logarithm of a volume).
#[derive(Debug, Clone)]
pub struct Slope {
    /// Coefficients of the frame.
    pub xi: Xi,
    /// The number, `[B]`.
    pub volume: Option<Volume>,
}

/// A tensor that clones by sharing.
#[derive(Debug)]
pub struct Volume(pub Tensor);

impl Clone for Volume {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

impl From<Xi> for Slope {
    fn from(xi: Xi) -> Self {
        Self { xi, volume: None }
    }
}

/// `scale sum_k weights_k slopes_k`; the weights that are 0 cost nothing.
pub fn combine(weights: &[f64], slopes: &[Slope], scale: f64) -> Slope {
    let mut terms = weights.iter().zip(slopes).filter(|(weight, _)| **weight != 0.0);
    let (weight, first) = terms.next().expect("every row of a rule has a weight that is not 0");
    let mut sum = Slope {
        xi: first.xi.scale(weight * scale),
        volume: first.volume.as_ref().map(|v| Volume(&v.0 * (weight * scale))),
    };
    for (weight, slope) in terms {
        sum.xi = sum.xi.add_scaled(&slope.xi, weight * scale);
        if let (Some(total), Some(volume)) = (&mut sum.volume, &slope.volume) {
            total.0 = &total.0 + &volume.0 * (weight * scale);
        }
    }
    sum
}

/// The group of a frame that is made of the generators of its algebra, whose brackets the rule
/// needs; `None` where the fields commute, and for frames of which nothing is known (then rules
/// above order 2 keep order 2).
pub fn algebra<'a>(drive: &'a dyn Drive, state: &State) -> Option<&'a dyn LieGroup> {
    if drive.coordinates().is_some() {
        return None;
    }
    let lie = drive.group().lie()?;
    let batch = std::iter::once(state.batch_size());
    let shapes = drive.xi_shape(&state.spec());
    let shapes: Vec<Vec<i64>> =
        shapes.into_iter().map(|shape| batch.clone().chain(shape).collect()).collect();
    (drive.element_shape(state).ok() == Some(shapes)).then_some(lie)
}

/// `dexp_u^-1 v` up to the fourth power of `u` (the third has no term), which rules of order 5
/// need.
fn inverse_dexp(lie: &dyn LieGroup, u: &Xi, v: Xi) -> Xi {
    let first = lie.bracket(u, &v);
    let second = lie.bracket(u, &first);
    let fourth = lie.bracket(u, &lie.bracket(u, &second));
    v.add_scaled(&first, -0.5).add_scaled(&second, 1.0 / 12.0).add_scaled(&fourth, -1.0 / 720.0)
}

/// The slopes of all stages of a step of `length` (signed) from `state`. `slope(state, node)`
/// evaluates at a stage; `first`, where it is known, saves the evaluation at the start.
pub fn stages(
    tableau: &Tableau,
    drive: &dyn Drive,
    state: &State,
    length: f64,
    first: Option<Slope>,
    slope: &mut dyn FnMut(&State, f64) -> Result<Slope>,
) -> Result<Vec<Slope>> {
    // Rules of order 2 need no brackets: [u, v] is of third order in the step.
    let lie = if tableau.nodes.len() > 2 { algebra(drive, state) } else { None };
    let mut slopes = Vec::with_capacity(tableau.nodes.len());
    slopes.push(match first {
        Some(slope) => slope,
        None => slope(state, 0.0)?,
    });
    for (row, node) in tableau.rows.iter().zip(&tableau.nodes[1..]) {
        let u = combine(row, &slopes, length).xi;
        let mut next = slope(&drive.flow(state, &u), *node)?;
        if let Some(lie) = lie {
            next.xi = inverse_dexp(lie, &u, next.xi);
        }
        next.xi = continued(drive, state, &u, next.xi);
        slopes.push(next);
    }
    Ok(slopes)
}

/// Coefficients at `flow(state, u)` in the fields that go on from those at `state`. A point that
/// carries no unwrapped coordinates is read on the principal branch again, where fields may be
/// reversed: a polar angle that has passed the pole grows where it fell. Slopes of one step are
/// added up, so all of them have to be those of one branch.
pub fn continued(drive: &dyn Drive, state: &State, u: &Xi, xi: Xi) -> Xi {
    let Some(coordinates) = drive.coordinates().filter(|_| state.lift.is_empty()) else {
        return xi;
    };
    match coordinates.orientation(&coordinates.unwrapped(state).add(u)) {
        Some(eps) => xi.zip(&eps, |a, eps| a * eps),
        None => xi,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows add up to their nodes, weights to 1, errors to 0.
    #[test]
    fn tableaux_are_consistent() {
        for (name, tableau) in
            [("euler", EULER), ("heun", HEUN), ("rk4", RK4), ("dormand-prince", DORMAND_PRINCE)]
        {
            let sum = |row: &[f64]| row.iter().sum::<f64>();
            assert!((sum(tableau.weights) - 1.0).abs() < 1e-14, "{name}");
            assert!(sum(tableau.error).abs() < 1e-14, "{name}");
            for (row, node) in tableau.rows.iter().zip(&tableau.nodes[1..]) {
                assert!((sum(row) - node).abs() < 1e-14, "{name}: {row:?}");
            }
        }
    }
}
