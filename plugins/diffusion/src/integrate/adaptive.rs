//! The probability flow with steps chosen by an estimate of the error (Dormand-Prince 5(4)).

use super::runge_kutta::{DORMAND_PRINCE, Slope, combine, stages};
use isotropy_core::{Drive, Error, FlowCoordinates, Result, State, config};
use tch::{Kind, Tensor};

/// Which error is held below the tolerance. All points of a batch share the steps.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorNorm {
    /// The largest over the points of the batch: every sample is within the tolerance.
    #[default]
    Sample,
    /// The root mean square over the batch: cheaper, single samples may be worse.
    Batch,
}

/// Tolerances of a step, and a limit.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    rtol: f64,
    atol: f64,
    norm: ErrorNorm,
    max_evaluations: u32,
}

impl Tolerance {
    /// Checks the options.
    ///
    /// # Errors
    /// When a tolerance is negative, or both are 0.
    pub fn new(rtol: f64, atol: f64, norm: ErrorNorm, max_evaluations: u32) -> Result<Self> {
        for (pointer, value) in [("/rtol", rtol), ("/atol", atol)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::config(pointer, "a tolerance must not be negative"));
            }
        }
        if rtol + atol == 0.0 {
            return Err(Error::config("/atol", "one of the tolerances must be positive"));
        }
        Ok(Self { rtol, atol, norm, max_evaluations })
    }

    /// The error of a step over the tolerance, one number: read by the host, once a step. Points
    /// whose slope is not finite to begin with have no say; an error that is not finite is
    /// infinite.
    fn of(&self, drive: &dyn Drive, state: &State, first: &Slope, error: &Slope) -> f64 {
        let size = drive.coordinates().map(|coordinates| coordinates.unwrapped(state));
        let rows = |a: &Tensor| a.flatten(1, -1).square().mean_dim(1, false, a.kind());
        let mut squares = Vec::new();
        for (k, error) in error.xi.0.iter().enumerate() {
            let tolerance = match &size {
                Some(size) => size.0[k].abs() * self.rtol + self.atol,
                // An algebra has no point to measure from: radians, and 1 stands for the size.
                None => error.full_like(self.rtol + self.atol),
            };
            squares.push(rows(&(error / tolerance)));
        }
        if let Some(volume) = &error.volume {
            squares.push((&volume.0 / (self.rtol + self.atol)).square());
        }
        let square = Tensor::stack(&squares, 0).amax(0, false);
        let sound = first.xi.0.iter().map(|a| rows(a).isfinite());
        let sound = sound.reduce(|a, b| a.logical_and(&b)).expect("a group has a factor");
        let square = square
            .nan_to_num(f64::INFINITY, f64::INFINITY, f64::INFINITY)
            .where_self(&sound, &square.zeros_like())
            .to_kind(Kind::Double);
        let error = match self.norm {
            ErrorNorm::Sample => square.max(),
            ErrorNorm::Batch => square.sum(Kind::Double) / sound.sum(Kind::Double).clamp_min(1.0),
        };
        error.sqrt().double_value(&[])
    }
}

/// The end of an integration.
pub struct Integrated {
    /// Where the points arrived.
    pub state: State,
    /// What was integrated alongside.
    pub volume: Option<Tensor>,
}

/// Integrates `slope` from one value of a variable to another. `slope` is the velocity per unit of
/// the variable, and counts its evaluations; `observe` is told the value after each step.
///
/// # Errors
/// When the evaluations are used up, or the steps become too small to change the variable.
pub fn integrate(
    tolerance: &Tolerance,
    drive: &dyn Drive,
    start: State,
    (from, to): (f64, f64),
    slope: &mut dyn FnMut(&State, f64) -> Result<Slope>,
    observe: &mut dyn FnMut(f64, &State) -> Result<()>,
) -> Result<Integrated> {
    let span = to - from;
    let (mut state, mut volume): (State, Option<Tensor>) = (start, None);
    let mut first = slope(&state, from)?;
    let (mut at, mut length, mut before) = (from, first_step(drive, &state, &first, span), 1.0_f64);
    let mut evaluations = 1;
    loop {
        if evaluations + 6 > tolerance.max_evaluations {
            return Err(Error::Numbers(format!(
                "{} evaluations did not take the probability flow to its end (at {:.3} of it); loosen the tolerance or raise max_evaluations",
                tolerance.max_evaluations,
                (at - from) / span
            )));
        }
        let last = (at + length - to) * span.signum() >= -1e-12 * span.abs();
        let end = if last { to } else { at + length };
        length = end - at;
        let mut at_node = |state: &State, node: f64| {
            // The far end is met exactly.
            slope(state, if node == 1.0 { end } else { at + node * length })
        };
        let slopes =
            stages(&DORMAND_PRINCE, drive, &state, length, Some(first.clone()), &mut at_node)?;
        evaluations += 6;
        let error = combine(DORMAND_PRINCE.error, &slopes, length);
        let ratio = tolerance.of(drive, &state, &first, &error);
        if ratio <= 1.0 {
            let moved = combine(DORMAND_PRINCE.weights, &slopes, length);
            state = drive.flow(&state, &moved.xi);
            volume = match (volume, moved.volume) {
                (Some(sum), Some(more)) => Some(sum + more.0),
                (None, more) => more.map(|more| more.0),
                (sum, None) => sum,
            };
            at = end;
            observe(at, &state)?;
            if last {
                return Ok(Integrated { state, volume });
            }
            first = renewed(slopes, drive, &state, at, slope, &mut evaluations)?;
        }
        // Proportional-integral control of the logarithm of the step (Gustafsson 1991; the
        // exponents are those of Hairer, Norsett and Wanner for order 5).
        let ratio_or_least = ratio.max(1e-10);
        let factor = if ratio <= 1.0 {
            let factor = 0.9 * ratio_or_least.powf(-0.7 / 5.0) * before.powf(0.4 / 5.0);
            before = ratio_or_least;
            factor
        } else if ratio.is_finite() {
            0.9 * ratio.powf(-0.2)
        } else {
            0.2
        };
        length *= factor.clamp(0.2, 5.0);
        if length.abs() < 1e-13 * span.abs() {
            return Err(Error::Numbers(
                "the step of the probability flow fell to nothing: the model's output is not smooth, or not finite"
                    .into(),
            ));
        }
    }
}

/// A first step that moves no point by more than a hundredth of its coordinates (Hairer, Norsett
/// and Wanner, section II.4), and at most a hundredth of the whole.
fn first_step(drive: &dyn Drive, state: &State, first: &Slope, span: f64) -> f64 {
    let size = drive.coordinates().map(|coordinates| coordinates.unwrapped(state));
    let speeds = first.xi.0.iter().enumerate().map(|(k, v)| {
        let relative = match &size {
            Some(size) => v / (size.0[k].abs() + 1.0),
            None => v.shallow_clone(),
        };
        relative.abs().nan_to_num(0.0, 0.0, 0.0).max().double_value(&[])
    });
    let speed = speeds.fold(0.0, f64::max);
    let length = if speed > 0.0 { 0.01 / speed } else { f64::INFINITY };
    length.min(0.01 * span.abs()) * span.signum()
}

/// The slope at the new point: the last stage has it, but for a frame whose stages carry brackets,
/// and for fields that may be reversed there.
fn renewed(
    mut slopes: Vec<Slope>,
    drive: &dyn Drive,
    state: &State,
    at: f64,
    slope: &mut dyn FnMut(&State, f64) -> Result<Slope>,
    evaluations: &mut u32,
) -> Result<Slope> {
    let reversed = |c: &dyn FlowCoordinates| {
        state.lift.is_empty() && c.orientation(&c.unwrapped(state)).is_some()
    };
    if drive.coordinates().is_some_and(|c| !reversed(c)) {
        return Ok(slopes.pop().expect("the rule has stages"));
    }
    *evaluations += 1;
    slope(state, at)
}
