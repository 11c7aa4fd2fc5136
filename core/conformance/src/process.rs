//! Checks of noising processes: kernel, simulated equation, rates, posterior, transition, prior.
//!
//! A process whose kernel is not Gaussian in flow coordinates is checked for what remains. States
//! come from the drive ([`Representation::sample_state`]), so a check stays in its domain.

mod closed_forms;
mod kernel;
mod prior;
mod rates;

use super::CheckResult;
use super::measure::{Found, KINDS, Table, broken, cpu, exact, relative, relative_xi, worse};
use isotropy_core::{
    FlowCoordinates, Kernel, NoiseOperator, NoisingProcess, Prediction, PredictionKind,
    Representation, Result, Root, Scale, State, Step, Streams, Xi, broadcast_mask,
};
use tch::{Kind, Tensor};

/// Numbers per simulated batch: large enough for moments, small enough for images.
const NUMBERS: i64 = 20_000;

/// The factor by which Monte-Carlo errors may exceed their standard deviation.
const SIGMAS: f64 = 5.0;

/// Checks a process on states that its drive provides.
pub fn check_process(process: &dyn NoisingProcess, streams: &Streams) -> Vec<CheckResult> {
    check_process_named(process, streams, "")
}

/// The checks of [`check_process`] whose names start with `only`.
pub fn check_process_named(
    process: &dyn NoisingProcess,
    streams: &Streams,
    only: &str,
) -> Vec<CheckResult> {
    let mut table = Table { only: Some(only.into()), ..Table::default() };
    let mut stream = streams.stream("check process", 0);
    if process.sample_state(2, cpu(Kind::Double), &mut stream).is_none() {
        let why = "its drive offers no states to test it on (`sample_state`)";
        table.results.push(CheckResult::unchecked("process", why));
        return table.results;
    }
    let subject = Subject { process, streams };
    for (kind, label) in KINDS {
        table.check_in("perturb keeps kind and is finite", label, || subject.finite(kind));
        table.check_in("perturb follows the kernel", label, || subject.perturb(kind));
        table.check_in("terms: g^2 times the score", label, || subject.preconditioned(kind));
    }
    table.check("kernel of a batch agrees with the kernel", || subject.kernel_of_time());
    table.check("score against autodiff of the log-kernel", || subject.score());
    table.check("score of the fields: L log p + div", || subject.score_of_fields());
    table.check("noise of a step is what the kernel adds", || subject.noise_of_steps());
    table.check("drift of a step follows the kernel's mean", || subject.drift_of_steps());
    table.check("rates of the two ends of a step average to its integral", || subject.ends());
    table.check("kernel against the simulated equation", || subject.simulated());
    table.check("closed forms are those declared", || subject.closed_forms());
    table.check("transition composes", || subject.transition());
    table.check("posterior obeys Bayes' rule", || subject.posterior());
    table.check("clean estimate of the true noise", || subject.clean());
    table.check("prior log-density integrates to 1", || subject.prior());
    table.check("the end of the process is its prior", || subject.terminal());
    table.results
}

/// Checks a symmetry that the process accepts: the transition commutes with the action when the
/// noise is transported, and the prior's density is invariant. A pair that the process refuses is
/// skipped with its reason.
pub fn check_process_symmetry(
    process: &dyn NoisingProcess,
    symmetry: &dyn Representation,
    streams: &Streams,
) -> Vec<CheckResult> {
    let mut table = Table::default();
    let subject = Subject { process, streams };
    table.check("symmetry of transition and prior", || subject.symmetric(symmetry));
    table.results
}

struct Subject<'a> {
    process: &'a dyn NoisingProcess,
    streams: &'a Streams,
}

/// A kernel whose scales are the same for all points and factors:
/// `tau_t = shift end + mean tau_0 + std L z`.
struct Gauss {
    mean: f64,
    std: f64,
    shift: f64,
    colour: Vec<Option<Root>>,
}

impl Gauss {
    fn through(&self, xi: &Xi, f: impl Fn(&Root, &Tensor) -> Tensor) -> Xi {
        let one = |(x, root): (&Tensor, &Option<Root>)| match root {
            Some(root) => f(root, x),
            None => x.shallow_clone(),
        };
        Xi(xi.0.iter().zip(&self.colour).map(one).collect())
    }

    /// `L z`.
    fn coloured(&self, z: &Xi) -> Xi {
        self.through(z, Root::apply)
    }

    /// `L^-1 a`.
    fn white(&self, a: &Xi) -> Xi {
        self.through(a, Root::solve)
    }

    /// `shift end + mean tau`.
    fn centre(&self, tau: &Xi, end: Option<&Xi>) -> Xi {
        let pulled = tau.scale(self.mean);
        match end {
            Some(end) => pulled.add_scaled(end, self.shift),
            None => pulled,
        }
    }

    /// `tau - shift end`.
    fn counted_from_end(&self, tau: &Xi, end: Option<&Xi>) -> Xi {
        match end {
            Some(end) => tau.add_scaled(end, -self.shift),
            None => tau.clone(),
        }
    }
}

/// The numbers of a kernel whose scales are the same for all points and factors.
fn scales(kernel: Kernel) -> Option<Gauss> {
    let one = |scales: &[Scale]| {
        let numbers: Option<Vec<f64>> = scales
            .iter()
            .map(|scale| match scale {
                Scale::Same(a) => Some(*a),
                Scale::Each(_) => None,
            })
            .collect();
        let numbers = numbers?;
        let first = *numbers.first()?;
        numbers.iter().all(|a| *a == first).then_some(first)
    };
    let shift = match &kernel.shift {
        Some(shift) => one(shift)?,
        None => 0.0,
    };
    Some(Gauss { mean: one(&kernel.mean)?, std: one(&kernel.std)?, shift, colour: kernel.colour })
}

/// Unpacks what a check needs, or ends the check as skipped.
macro_rules! need {
    ($option:expr, $why:expr) => {
        match $option {
            Some(value) => value,
            None => return Ok(Found::Skip($why.into())),
        }
    };
}
use need;

/// Why a check of the kernel is skipped.
const NO_KERNEL: &str = "the kernel is not Gaussian with one scale for all factors";
/// Why a check of coordinates is skipped.
const NO_COORDINATES: &str = "the drive has no flow coordinates";

impl Subject<'_> {
    fn clean_state(&self, batch: i64, kind: Kind) -> Result<State> {
        let mut stream = self.streams.stream("check process", 1);
        match self.process.sample_state(batch, cpu(kind), &mut stream) {
            Some(state) => self.process.fields().lift(state),
            None => broken("the drive gave states before and gives none now"),
        }
    }

    /// A batch whose values are about [`NUMBERS`] numbers.
    fn many(&self) -> Result<State> {
        let each = self.clean_state(1, Kind::Double)?.x().numel() as i64;
        self.clean_state((NUMBERS / each.max(1)).clamp(16, 20_000), Kind::Double)
    }

    fn coordinates(&self) -> Option<&dyn FlowCoordinates> {
        self.process.fields().coordinates()
    }

    /// The kernel at a time for the points of a state, if it is Gaussian with one scale for all factors.
    fn gauss(&self, state: &State, t: f64) -> Result<Option<Gauss>> {
        let kernel = self.process.gaussian_kernel().map(|law| law.at(state, t)).transpose()?;
        Ok(kernel.and_then(scales))
    }

    /// A time between the ends of the axis.
    fn time(&self, fraction: f64) -> f64 {
        let time = self.process.time();
        let t = time.start + fraction * (time.end - time.start);
        if time.discrete { t.round() } else { t }
    }

    /// Horizontal, and zero at padding: neither moves a point that is there.
    fn normal(&self, like: &Xi, state: &State, name: u64) -> Xi {
        let mut stream = self.streams.stream("check noise", name);
        let z = like.map(|a| stream.normal(&a.size(), (a.kind(), a.device())));
        let z = self.process.fields().horizontal(state, &z);
        let (Some(mask), Some(1)) = (state.mask(), state.value.index_axis) else { return z };
        z.map(|a| match broadcast_mask(mask, a) {
            Some(mask) => a * mask,
            // Coefficients without the index axis belong to all points together.
            None => a.shallow_clone(),
        })
    }

    fn shapes(&self, state: &State) -> Xi {
        self.process.fields().zeros(state)
    }

    /// A prediction that says the score is zero: what is left of the terms is the forward process.
    fn no_score(&self, state: &State) -> Prediction {
        Prediction::one(PredictionKind::Score, self.shapes(state))
    }

    /// A short step that starts at a fraction of the axis.
    fn step(&self, fraction: f64) -> Step {
        let time = self.process.time();
        let t = self.time(fraction);
        let length = if time.discrete { 1.0 } else { 0.01 * (time.end - time.start) };
        Step { from: t, to: t - length }
    }

    fn finite(&self, kind: Kind) -> Result<Found> {
        let clean = self.clean_state(8, kind)?;
        let mut stream = self.streams.stream("check perturb", 0);
        let t = self.process.time().sample(8, false, cpu(kind), &mut stream);
        let noisy = self.process.perturb(&clean, &t, &mut stream)?;
        let mut all = vec![noisy.noisy.x()];
        all.extend(noisy.noise.iter().chain(&noisy.velocity).flat_map(|xi| &xi.0));
        all.extend(noisy.coordinates.iter().flat_map(|xi| &xi.0));
        for tensor in all {
            if tensor.kind() != kind {
                return broken(format!("{kind:?} became {:?}", tensor.kind()));
            }
            if tensor.isfinite().all().int64_value(&[]) == 0 {
                return broken("a number is not finite");
            }
        }
        let prior = self.process.prior(&clean, &mut stream)?;
        if prior.x().size() != clean.x().size() || prior.x().kind() != kind {
            return broken("the prior changes shape or kind");
        }
        Ok(Found::Error(0.0, 0.0))
    }

    /// `coordinates = shift end + mean clean + std L noise` with the scales of the batch, which are
    /// those of [`NoisingProcess::kernel`]; the noisy state has these coordinates.
    fn perturb(&self, kind: Kind) -> Result<Found> {
        let coordinates = need!(self.coordinates(), NO_COORDINATES);
        let clean = self.clean_state(8, kind)?;
        let end = self.process.known_end(&clean)?;
        let mut error = 0.0;
        for fraction in [0.0, 0.4, 1.0] {
            let t = self.time(fraction);
            let kernel = need!(self.gauss(&clean, t)?, NO_KERNEL);
            let mut stream = self.streams.stream("check perturb", 1);
            let times = Tensor::full([8], t, cpu(kind));
            let noisy = self.process.perturb(&clean, &times, &mut stream)?;
            let (tau_0, tau) = match (&noisy.clean, &noisy.coordinates) {
                (Some(clean), Some(tau)) => (clean, tau),
                _ => return broken("a Gaussian kernel, but perturb returns no coordinates"),
            };
            let centre = kernel.centre(tau_0, end.as_ref());
            let expected = centre.add_scaled(&kernel.coloured(noisy.noise()?), kernel.std);
            error = worse(error, relative_xi(tau, &expected));
            error = worse(error, relative_xi(&coordinates.unwrapped(&noisy.noisy), tau));
            let point = coordinates.point(&clean, tau);
            error = worse(error, relative(point.x(), noisy.noisy.x()));
        }
        Ok(Found::Error(error, 10.0 * exact(kind)))
    }

    fn preconditioned(&self, kind: Kind) -> Result<Found> {
        let clean = self.clean_state(8, kind)?;
        let (step, like) = (self.step(0.5), self.shapes(&clean));
        let score = self.normal(&like, &clean, 2);
        let prediction = Prediction::one(PredictionKind::Score, score.clone());
        let terms = self.process.terms(&clean, step, &prediction)?;
        let mut error = 0.0;
        for (k, noise) in terms.noise.iter().enumerate() {
            let covariance = match noise {
                NoiseOperator::White(scale) => score.factor(k) * (scale * scale),
                NoiseOperator::Coloured { scale, root } => {
                    root.covariance(score.factor(k)) * (scale * scale)
                }
            };
            error = worse(error, relative(terms.preconditioned.factor(k), &covariance));
        }
        let zero = Prediction::one(PredictionKind::Score, score.zeros_like());
        let still = self.process.terms(&clean, step, &zero)?;
        error = worse(error, relative_xi(&still.drift, &terms.drift));
        Ok(Found::Error(error, 10.0 * exact(kind)))
    }

    fn symmetric(&self, symmetry: &dyn Representation) -> Result<Found> {
        let mut stream = self.streams.stream("check process", 1);
        let Some(bare) = self.process.sample_state(8, cpu(Kind::Double), &mut stream) else {
            return Ok(Found::Skip("the drive names no states to test on".into()));
        };
        // The question is asked about the shapes of a dataset, before any lift.
        let claimed = self.process.symmetric_under(symmetry, &bare.spec());
        let clean = self.process.fields().lift(bare)?;
        if let Err(reason) = claimed {
            return Ok(Found::Skip(format!("not claimed: {reason}")));
        }
        let mut stream = self.streams.stream("check symmetry", 0);
        let h =
            symmetry.group().sample(&symmetry.element_shape(&clean)?, clean.options(), &mut stream);
        let z = self.normal(&self.shapes(&clean), &clean, 6);
        let (from, to) = (self.time(0.2), self.time(0.7));
        let fields = self.process.fields();
        let moved_z = fields.transport(symmetry, &h, &clean, &z)?;
        let moved = symmetry.act(&h, &clean)?;
        let Ok(there) = self.process.transition(&moved, from, to, &moved_z) else {
            return Ok(Found::Skip("the process has no closed-form transition".into()));
        };
        let here = symmetry.act(&h, &self.process.transition(&clean, from, to, &z)?)?;
        let mut error = relative(there.x(), here.x());
        let densities =
            (self.process.prior_log_prob(&clean)?, self.process.prior_log_prob(&moved)?);
        if let (Some(a), Some(b)) = densities {
            error = worse(error, relative(&a, &b));
        }
        Ok(Found::Error(error, 1e-9 + symmetry.approximation_error()))
    }
}
