//! The logarithm of the density by the probability-flow ODE (Chen et al. 2018; Song et al. 2021,
//! section 4.3; on manifolds de Bortoli et al. 2022).
//!
//! A point is carried from the data end to the prior by `dx/dt = Pi(x) v`, `v = f - g^2 S / 2`, and
//! `log p(x_0) = log p_prior(x_T) + integral of div(Pi v) dt`, with all densities with respect to
//! the base measure of the drive (Lebesgue for coordinates on R^n, with the change of measure `log
//! |det Pi|` between `tau` and `x`). Which density that is:
//!
//! * It is the density of the model at the *least time of the process*: of data with the little
//!   noise that is left there (time `start`; for discrete steps the first).
//! * Where coordinates are angles, the point is followed on its principal branch at the data end,
//!   with its unwrapped coordinates after that. For models that see unwrapped coordinates the
//!   result is the density of the law of `tau` on that branch, in the measure of `x`; the density
//!   of `x` is the sum over all branches, of which a model trained on principal coordinates puts
//!   nearly nothing on the others. So the value is a lower bound of the log-density of `x`, and
//!   exact where there is one branch. The prediction `field` is a function of the point, so its flow
//!   carries points, not branches: the prior at its end is summed over all branches, and the result
//!   is the density of `x`.
//! * Padded points (where the state has a mask) do not move and do not count.
//! * The prior stands for the law at the end of the process. How far the two are apart is known for
//!   Gaussian kernels ([`terminal_gap`]).

mod conditional;
mod divergence;

pub use conditional::{ConditionalLogLikelihood, conditional_log_likelihood};
pub use divergence::Divergence;

use crate::integrate::FlowMethod;
use crate::integrate::adaptive::{ErrorNorm, Tolerance, integrate};
use crate::integrate::axis::Axis;
use crate::integrate::grid::{Grid, Spacing};
use crate::integrate::runge_kutta::{Slope, combine, stages};
use divergence::{Probes, Velocity, mask_of, with_divergence};
use isotropy_core::sampler::{accept, times};
use isotropy_core::{
    Error, Linearised, NoisingProcess, Prediction, PredictionKind, Purpose, Result, Scale,
    ScoreModel, State, Step, Streams, Xi, config,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// The variable that steps are equal in, and that the rule integrates over.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Variable {
    /// The arc length of the kernel's curve (mean, standard deviation), in which the flow is smooth at the
    /// data end; time, where the process has no such curve.
    #[default]
    ArcLength,
    /// Time, with the rates of the instants at which the model is evaluated: Euler's and Heun's rule as
    /// Gaussian-process fields were published with (geomndp.md 1.4).
    Time,
}

/// How a likelihood is computed: the part of a configuration that all metrics of a likelihood have.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LikelihoodOptions {
    /// The rule that integrates. `rk4` and `dormand-prince` need continuous time. Null for `heun`,
    /// and for `rk4` where `steps` is null too and time continuous.
    pub method: Option<FlowMethod>,
    /// Steps of a rule with fixed steps; null for all of a discrete process, in continuous time for
    /// 50 of `rk4` and 100 of the others.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: Option<u32>,
    /// How the times are spaced.
    pub grid: Grid,
    /// Exponent of the `karras` grid; positive.
    #[schemars(range(min = 1e-3, max = 1e3))]
    pub rho: f64,
    /// What the rule integrates over.
    pub variable: Variable,
    /// Relative tolerance of `dormand-prince`; non-negative.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub rtol: f64,
    /// Absolute tolerance of `dormand-prince`, in the unit of the coordinates and in nats; non-negative.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub atol: f64,
    /// How the divergence is found: `exact` takes one vector-Jacobian product for each coefficient, the estimates one
    /// for each probe.
    pub divergence: Divergence,
    /// Probes of an estimate.
    #[schemars(range(min = 1, max = 100_000))]
    pub probes: u32,
    /// Vector-Jacobian products that are computed together: in one backward pass over as many copies of the batch, or,
    /// where the model has products of its own, in one pass over one evaluation. Null to choose by the size of the batch.
    #[schemars(range(min = 1, max = 100_000))]
    pub at_once: Option<u32>,
}

impl Default for LikelihoodOptions {
    fn default() -> Self {
        Self {
            method: None,
            steps: None,
            grid: Grid::Auto,
            rho: 7.0,
            rtol: 1e-5,
            atol: 1e-5,
            divergence: Divergence::Exact,
            probes: 1,
            at_once: None,
            variable: Variable::ArcLength,
        }
    }
}

/// Evaluations after which Dormand-Prince gives up.
const MAX_EVALUATIONS: u32 = 100_000;

/// Log-densities of a batch.
#[derive(Debug)]
pub struct LogLikelihood {
    /// `log p(x)` in nats with respect to the base measure of the drive, `[B]` in double precision.
    pub log_prob: Tensor,
    /// Where the points arrived at the prior.
    pub end: State,
    /// Evaluations of the model for each point (each with its backward passes).
    pub evaluations: usize,
}

impl LikelihoodOptions {
    /// Checks the numbers.
    ///
    /// # Errors
    /// For numbers outside their ranges.
    pub fn check(&self) -> Result<()> {
        self.spacing()?;
        self.tolerance()?;
        if self.probes == 0 {
            return Err(Error::config("/probes", "an estimate needs at least one probe"));
        }
        if self.at_once == Some(0) {
            return Err(Error::config("/at_once", "at least one product is computed at once"));
        }
        Ok(())
    }

    /// Whether the likelihood of this model under this process can be computed, before the first
    /// step.
    ///
    /// # Errors
    /// The reason, with a pointer into these options.
    pub fn accepts(&self, process: &dyn NoisingProcess, model: &dyn ScoreModel) -> Result<()> {
        accept(process, model, Purpose::Likelihood)?;
        self.rule(process).accepts(process)
    }

    /// The rule that integrates, after its default: at the same cost as Heun's, the classical rule
    /// is a hundred times as exact (`defaults_are_exact_to_a_thousandth` in the tests).
    fn rule(&self, process: &dyn NoisingProcess) -> FlowMethod {
        match self.method {
            Some(method) => method,
            None if self.steps.is_some() || process.time().discrete => FlowMethod::Heun,
            None => FlowMethod::Rk4,
        }
    }

    fn spacing(&self) -> Result<Spacing> {
        let spacing = Spacing::new(self.steps, self.grid, self.rho)?;
        Ok(if self.method == Some(FlowMethod::Rk4) || self.method.is_none() {
            spacing.with_default(50)
        } else {
            spacing
        })
    }

    fn tolerance(&self) -> Result<Tolerance> {
        Tolerance::new(self.rtol, self.atol, ErrorNorm::Sample, MAX_EVALUATIONS)
    }

    /// Times from the least one that the model knows up to the prior.
    fn times(&self, process: &dyn NoisingProcess) -> Result<Vec<f64>> {
        let start = process.time().start;
        let steps = self.spacing()?.steps(process)?;
        let mut times: Vec<f64> =
            steps.iter().map(|step| step.from).filter(|t| *t > start).collect();
        times.push(start);
        times.reverse();
        Ok(times)
    }
}

/// Log-densities of states as a dataset gives them (they are lifted here). The estimates of the
/// divergence draw from `streams`.
///
/// # Errors
/// When the prediction does not have a score, the prior no density, or the model fails.
pub fn log_likelihood(
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    state: &State,
    options: &LikelihoodOptions,
    streams: &Streams,
) -> Result<LogLikelihood> {
    let state = process.fields().lift(state.clone())?;
    let probes = probes(process, &state, options, streams)?;
    solve(process, model, state, options, &probes)
}

/// An estimate of what the rule with fixed steps gets wrong in the mean log-density of these
/// states, in nats: the difference to half as many steps, over `2^order - 1` (Richardson). `None`
/// for `dormand-prince`, which keeps its tolerance, and for a single step.
///
/// # Errors
/// As for [`log_likelihood`].
pub fn integration_error(
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    state: &State,
    options: &LikelihoodOptions,
    streams: &Streams,
) -> Result<Option<f64>> {
    let method = options.rule(process);
    let Some(order) = method.order() else { return Ok(None) };
    let steps = options.times(process)?.len() - 1;
    if steps < 2 {
        return Ok(None);
    }
    // Named, so that fewer steps do not choose another rule.
    let options = LikelihoodOptions { method: Some(method), ..options.clone() };
    // Of all steps of a discrete process every second one is left out, near the data too.
    let grid = if process.time().discrete { Grid::Uniform } else { options.grid };
    let fewer = LikelihoodOptions { steps: Some((steps / 2) as u32), grid, ..options.clone() };
    let mean = |options: &LikelihoodOptions| -> Result<f64> {
        let found = log_likelihood(process, model, state, options, streams)?;
        Ok(found.log_prob.mean(Kind::Double).double_value(&[]))
    };
    Ok(Some((mean(&options)? - mean(&fewer)?).abs() / (2.0_f64.powi(order) - 1.0)))
}

fn probes(
    process: &dyn NoisingProcess,
    state: &State,
    options: &LikelihoodOptions,
    streams: &Streams,
) -> Result<Probes> {
    let (count, at_once) = (options.probes, options.at_once);
    let mut stream = streams.stream("likelihood probes", 0);
    Probes::new(options.divergence, process.fields(), state, count, at_once, &mut stream)
}

/// The velocity per unit of the variable at one of its values.
struct FlowVelocity<'a> {
    process: &'a dyn NoisingProcess,
    model: &'a dyn ScoreModel,
    axis: Axis,
    value: f64,
    step: Step,
}

impl Velocity for FlowVelocity<'_> {
    fn predict(&self, state: &State) -> Result<Prediction> {
        self.model.predict(state, &times(state, self.step), false)
    }

    fn linearised(&self, state: &State) -> Result<Option<Linearised<'_>>> {
        self.model.linearised(state, &times(state, self.step))
    }

    fn of(&self, state: &State, prediction: &Prediction) -> Result<Xi> {
        let terms = self.process.terms(state, self.step, prediction)?;
        Ok(self.axis.rate(&terms, self.value, 0.5).scale(-1.0))
    }
}

/// Carries a lifted state to the prior.
fn solve(
    process: &dyn NoisingProcess,
    model: &dyn ScoreModel,
    mut state: State,
    options: &LikelihoodOptions,
    probes: &Probes,
) -> Result<LogLikelihood> {
    options.accepts(process, model)?;
    let method = options.rule(process);
    let drive = process.fields();
    let axis = match options.variable {
        Variable::ArcLength => Axis::of(process),
        Variable::Time => Axis::Time,
    };
    let mut evaluations = 0;
    // The velocity per unit of the variable, which grows from the data to the prior.
    let mut slope = |state: &State, value: f64, step: Step| -> Result<Slope> {
        evaluations += 1;
        let velocity = FlowVelocity { process, model, axis, value, step };
        with_divergence(drive, state, probes, &velocity)
    };
    // Hundreds of small numbers are added up.
    let double = (Kind::Double, state.options().1);
    let mut total = Tensor::zeros([state.batch_size()], double);
    // The change of measure between coordinates and points, taken at both ends.
    let measure = |state: &State| drive.coordinates().map(|c| c.log_abs_det(state));
    let measure_at_data = measure(&state);
    if method == FlowMethod::DormandPrince {
        let time = process.time();
        let ends = (axis.at(process, time.start), axis.at(process, time.prior));
        let mut at =
            |state: &State, value: f64| slope(state, value, Step::at(axis.time(process, value)));
        let tolerance = options.tolerance()?;
        let end = integrate(&tolerance, drive, state, ends, &mut at, &mut |_, _| Ok(()))?;
        state = end.state;
        if let Some(volume) = end.volume {
            total += volume;
        }
    } else {
        let tableau = method.tableau();
        let averaged = tableau.nodes.len() <= 2 && options.variable == Variable::ArcLength;
        for pair in options.times(process)?.windows(2) {
            let (from, to) = (axis.at(process, pair[0]), axis.at(process, pair[1]));
            let far = axis.instant(process, pair[1], to);
            let mut stage = |state: &State, node: f64| {
                let (value, here, other) = if node == 0.0 {
                    (from, pair[0], pair[1])
                } else if node == 1.0 {
                    (to, far, pair[0])
                } else {
                    let value = from + node * (to - from);
                    let here = axis.time(process, value);
                    (value, here, here)
                };
                slope(state, value, axis.step(here, other, averaged))
            };
            let slopes = stages(tableau, drive, &state, to - from, None, &mut stage)?;
            let moved = combine(tableau.weights, &slopes, to - from);
            state = drive.flow(&state, &moved.xi);
            if let Some(volume) = moved.volume {
                total += volume.0;
            }
        }
    }
    // A field is a function of the point, and so is the flow; other predictions may see the branch.
    let prior = if model.predicts() == PredictionKind::Field {
        process.prior_log_prob_of_point(&state)?
    } else {
        process.prior_log_prob(&state)?
    };
    let prior = prior.ok_or_else(|| {
        Error::Unsupported(format!("the prior of {} has no density", process.name()))
    })?;
    if let (Some(data), Some(end)) = (measure_at_data, measure(&state)) {
        total += end - data;
    }
    Ok(LogLikelihood { log_prob: (total + prior).detach(), end: state, evaluations })
}

/// By how much the law at the end of the process is not the prior, for data like these: an upper
/// bound, in nats, of the relative entropy of the one to the other (it is convex, so the mean over
/// data points bounds it). Coloured noise counts in its own coordinates, `L^-1 tau`; padding does not count. `None` where
/// the process does not know.
///
/// # Errors
/// When the states do not fit the drive, or the colour of the noise cannot be computed at their points.
pub fn terminal_gap(process: &dyn NoisingProcess, data: &State) -> Result<Option<f64>> {
    let Some(law) = process.gaussian_kernel() else { return Ok(None) };
    let Some(mismatch) = law.terminal_mismatch() else { return Ok(None) };
    let Some(coordinates) = process.fields().coordinates() else { return Ok(None) };
    let prior = process.time().prior;
    let state = process.fields().lift(data.clone())?;
    let kernel = law.at(&state, prior)?;
    let batch = state.batch_size().max(1) as f64;
    let tau = coordinates.unwrapped(&state);
    let centre = law.known_end(&state)?;
    let mut nats = 0.0;
    for (k, tau) in tau.0.iter().enumerate() {
        let Scale::Same(std) = &kernel.std[k] else { return Ok(None) };
        let tau = match &centre {
            Some(centre) => tau - &centre.0[k],
            None => tau.shallow_clone(),
        };
        let mask = mask_of(&state, &tau);
        // Padding may hold anything.
        let tau = match &mask {
            Some(mask) => tau.where_self(&mask.gt(0.5), &tau.zeros_like()),
            None => tau,
        };
        let tau = match kernel.colour.get(k).and_then(Option::as_ref) {
            Some(root) => root.solve(&tau),
            None => tau,
        };
        // The prior's own standard deviation (its scale, where it is coloured).
        let unit = std / mismatch.std;
        let there = match &mask {
            Some(mask) => mask.expand_as(&tau).sum(Kind::Double).double_value(&[]),
            None => tau.numel() as f64,
        };
        if there == 0.0 {
            continue;
        }
        let square = tau.square().sum(Kind::Double).double_value(&[]) / (there * unit * unit);
        nats += there / batch * mismatch.nats(square.sqrt());
    }
    Ok(Some(nats))
}
