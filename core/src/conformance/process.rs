//! Checks of noising processes: kernel, simulated equation, terms, posterior, transition, prior.
//!
//! A process whose kernel is not Gaussian in flow coordinates is checked for what remains. States
//! come from the drive ([`Representation::sample_state`]), so a check stays in its domain.

use super::CheckResult;
use super::measure::{Found, KINDS, Table, broken, cpu, dot, exact, relative, relative_xi, worse};
use crate::{
    FlowCoordinates, Kernel, NoiseOperator, NoisingProcess, Prediction, PredictionKind,
    Representation, Result, Scale, State, Step, Streams, Xi,
};
use tch::{Kind, Tensor};

/// Numbers per simulated batch: large enough for moments, small enough for images.
const NUMBERS: i64 = 20_000;

/// The factor by which Monte-Carlo errors may exceed their standard deviation.
const SIGMAS: f64 = 5.0;

/// Checks a process on states that its drive provides.
pub fn check_process(process: &dyn NoisingProcess, streams: &Streams) -> Vec<CheckResult> {
    let mut table = Table::default();
    let mut stream = streams.stream("check process", 0);
    if process.drive().sample_state(2, cpu(Kind::Double), &mut stream).is_none() {
        table.results.push(CheckResult::skip("process", "its drive names no states to test on"));
        return table.results;
    }
    let subject = Subject { process, streams };
    for (kind, label) in KINDS {
        table.check_in("perturb keeps kind and is finite", label, || subject.finite(kind));
        table.check_in("perturb follows the kernel", label, || subject.perturb(kind));
        table.check_in("terms: g^2 times the score", label, || subject.preconditioned(kind));
    }
    table.check("score against autodiff of the log-kernel", || subject.score());
    table.check("kernel against the simulated equation", || subject.simulated());
    table.check("transition composes", || subject.transition());
    table.check("posterior obeys Bayes' rule", || subject.posterior());
    table.check("clean estimate of the true noise", || subject.clean());
    table.check("prior log-density integrates to 1", || subject.prior());
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

/// The two numbers of a kernel whose scales are the same for all points and factors.
fn scales(kernel: &Kernel) -> Option<(f64, f64)> {
    let (Some(Scale::Same(mean)), Some(Scale::Same(std))) =
        (kernel.mean.first(), kernel.std.first())
    else {
        return None;
    };
    let simple = kernel.shift.is_none() && kernel.colour.iter().all(Option::is_none);
    simple.then_some((*mean, *std))
}

/// Unpacks what a check needs, or ends the check as skipped.
macro_rules! need {
    ($option:expr, $why:literal) => {
        match $option {
            Some(value) => value,
            None => return Ok(Found::Skip($why.into())),
        }
    };
}

impl Subject<'_> {
    fn clean_state(&self, batch: i64, kind: Kind) -> Result<State> {
        let mut stream = self.streams.stream("check process", 1);
        match self.process.drive().sample_state(batch, cpu(kind), &mut stream) {
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

    /// A time between the ends of the axis.
    fn time(&self, fraction: f64) -> f64 {
        let time = self.process.time();
        let t = time.start + fraction * (time.end - time.start);
        if time.discrete { t.round() } else { t }
    }

    fn normal(&self, like: &Xi, state: &State, name: u64) -> Xi {
        let mut stream = self.streams.stream("check noise", name);
        let z = like.map(|a| stream.normal(&a.size(), (a.kind(), a.device())));
        self.process.fields().horizontal(state, &z)
    }

    fn finite(&self, kind: Kind) -> Result<Found> {
        let clean = self.clean_state(8, kind)?;
        let mut stream = self.streams.stream("check perturb", 0);
        let t = self.process.time().sample(8, false, cpu(kind), &mut stream);
        let noisy = self.process.perturb(&clean, &t, &mut stream)?;
        let mut all = vec![noisy.noisy.x()];
        all.extend(&noisy.noise.0);
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

    /// `coordinates = mean clean + std noise` with the scales of the batch, which are those of
    /// [`NoisingProcess::kernel`]; the noisy state has these coordinates.
    fn perturb(&self, kind: Kind) -> Result<Found> {
        let coordinates = need!(self.coordinates(), "the drive has no flow coordinates");
        let clean = self.clean_state(8, kind)?;
        let mut error = 0.0;
        for fraction in [0.0, 0.4, 1.0] {
            let t = self.time(fraction);
            let kernel = need!(self.process.kernel(t), "the kernel is not Gaussian");
            let (mean, std) = need!(scales(&kernel), "the kernel has colour or a known end");
            let mut stream = self.streams.stream("check perturb", 1);
            let times = Tensor::full([8], t, cpu(kind));
            let noisy = self.process.perturb(&clean, &times, &mut stream)?;
            let (tau_0, tau) = match (&noisy.clean, &noisy.coordinates) {
                (Some(clean), Some(tau)) => (clean, tau),
                _ => return broken("a Gaussian kernel, but perturb returns no coordinates"),
            };
            let expected = tau_0.scale(mean).add_scaled(&noisy.noise, std);
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

    fn shapes(&self, state: &State) -> Xi {
        let shapes = self.process.fields().xi_shape(&state.spec());
        let zeros = shapes.into_iter().map(|mut shape| {
            shape.insert(0, state.batch_size());
            Tensor::zeros(&shape, state.options())
        });
        Xi(zeros.collect())
    }

    /// A short step that ends in the middle of the axis.
    fn step(&self, fraction: f64) -> Step {
        let time = self.process.time();
        let t = self.time(fraction);
        let length = if time.discrete { 1.0 } else { 0.01 * (time.end - time.start) };
        Step { from: t, to: t - length }
    }

    fn score(&self) -> Result<Found> {
        let t = self.time(0.5);
        let kernel = need!(self.process.kernel(t), "the kernel is not Gaussian");
        let (mean, std) = need!(scales(&kernel), "the kernel has colour or a known end");
        let clean = self.clean_state(8, Kind::Double)?;
        let times = Tensor::full([8], t, clean.options());
        let noisy =
            self.process.perturb(&clean, &times, &mut self.streams.stream("check score", 0))?;
        let (tau_0, tau) = match (&noisy.clean, &noisy.coordinates) {
            (Some(clean), Some(tau)) => (clean, tau.map(|a| a.detach().set_requires_grad(true))),
            _ => return broken("a Gaussian kernel, but perturb returns no coordinates"),
        };
        let log = tau.sub(&tau_0.scale(mean)).square_norm() * (-0.5 / (std * std));
        let gradient = Xi(Tensor::run_backward(&[log.sum(Kind::Double)], &tau.0, false, false));
        let score = Prediction::one(PredictionKind::Score, gradient);
        let noise = Prediction::one(PredictionKind::Noise, noisy.noise.clone());
        let said = noisy.kernel.score(&noise, Some(&tau))?;
        Ok(Found::Error(relative_xi(&said, &score.heads[0]), 1e-9))
    }

    /// Integrates `dxi = f dt + g dW` forwards through the flow of the drive, with the rates of
    /// [`NoisingProcess::terms`], and compares mean and variance with the kernel.
    fn simulated(&self) -> Result<Found> {
        let coordinates = need!(self.coordinates(), "the drive has no flow coordinates");
        let (low, high) = (self.time(0.0), self.time(0.45));
        let kernels = (self.process.kernel(low), self.process.kernel(high));
        let first = need!(kernels.0, "the kernel is not Gaussian");
        let last = need!(kernels.1, "the kernel is not Gaussian");
        let (mean_low, std_low) = need!(scales(&first), "the kernel has colour or a known end");
        let (mean, std) = need!(scales(&last), "the kernel has colour or a known end");
        let (alpha, start) = (mean / mean_low, self.many()?);
        let added = (std * std - (alpha * std_low).powi(2)).max(0.0).sqrt();
        if added < 1e-6 {
            return Ok(Found::Skip("no noise is added between the times that are tried".into()));
        }
        let count = if self.process.time().discrete { (high - low) as usize } else { 200 };
        let step = (high - low) / count as f64;
        let zero = Prediction::one(PredictionKind::Score, self.shapes(&start));
        let tau_0 = coordinates.unwrapped(&start);
        let mut state = start.clone();
        // Largest variance of one step: the error of Euler's rule.
        let mut coarse: f64 = 0.0;
        for k in 0..count {
            let t = low + step * k as f64;
            let terms = self.process.terms(&state, Step { from: t + step, to: t }, &zero)?;
            let z = self.normal(&terms.drift, &state, 100 + k as u64);
            let noise = z.0.iter().zip(&terms.noise).map(|(z, g)| g.apply(z) * step.sqrt());
            let xi = terms.drift.scale(step).add(&Xi(noise.collect()));
            coarse = coarse.max(terms.noise[0].scale().powi(2) * step / std.max(1.0).powi(2));
            state = self.process.fields().flow(&state, &xi);
        }
        let residual = coordinates.unwrapped(&state).sub(&tau_0.scale(alpha));
        let reference = self.normal(&residual, &start, 3).scale(added);
        let number = residual.0.iter().map(Tensor::numel).sum::<usize>() as f64;
        let sum = |xi: &Xi| xi.0.iter().map(|a| a.sum(Kind::Double).double_value(&[])).sum::<f64>();
        let squares = |xi: &Xi| xi.square_norm().sum(Kind::Double).double_value(&[]);
        let shift = (sum(&residual) / number).abs() / added;
        let spread = (squares(&residual) / squares(&reference) - 1.0).abs();
        // The mean is tried against the size of the coordinates, too: a wrong drift shows there.
        let slope = residual.zip(&tau_0, dot);
        let along = slope.0.iter().map(|a| a.double_value(&[])).sum::<f64>().abs();
        let size = squares(&tau_0).max(1e-12);
        let slope_error = along / size;
        let allowed = SIGMAS * (4.0 / number).sqrt() + 2.0 * coarse;
        let slope_allowed = SIGMAS * added / size.sqrt() + 2.0 * coarse;
        let worst = (shift / allowed).max(spread / allowed).max(slope_error / slope_allowed);
        // In units of what Monte Carlo and Euler's rule allow.
        Ok(Found::Error(if worst.is_finite() { worst } else { f64::NAN }, 1.0))
    }

    /// Linear in coordinates, noise and estimate: probes the coefficient of one of them.
    fn coefficient(
        &self,
        at: &Xi,
        direction: &Xi,
        out: impl Fn(&Xi) -> Result<State>,
    ) -> Result<f64> {
        let coordinates = match self.coordinates() {
            Some(coordinates) => coordinates,
            None => return broken("the drive has no flow coordinates"),
        };
        let there = coordinates.unwrapped(&out(&at.add(direction))?);
        let change = there.sub(&coordinates.unwrapped(&out(at)?));
        let along = change.zip(direction, dot);
        let total: f64 = along.0.iter().map(|a| a.double_value(&[])).sum();
        Ok(total / direction.square_norm().sum(Kind::Double).double_value(&[]))
    }

    /// Factor and standard deviation of the transition.
    fn transition_scales(&self, state: &State, from: f64, to: f64) -> Result<Option<(f64, f64)>> {
        let Some(coordinates) = self.coordinates() else { return Ok(None) };
        let tau = coordinates.unwrapped(state);
        let (zero, direction) = (tau.zeros_like(), self.normal(&tau, state, 4).scale(0.1));
        if self.process.transition(state, from, to, &zero).is_err() {
            return Ok(None);
        }
        let alpha = self.coefficient(&tau, &direction, |tau| {
            self.process.transition(&coordinates.point(state, tau), from, to, &zero)
        })?;
        let std =
            self.coefficient(&zero, &direction, |z| self.process.transition(state, from, to, z))?;
        Ok(Some((alpha, std)))
    }

    fn transition(&self) -> Result<Found> {
        let state = self.clean_state(8, Kind::Double)?;
        let (a, b, c) = (self.time(0.1), self.time(0.4), self.time(0.8));
        const NONE: &str = "the process has no closed-form transition";
        let Some((alpha_ab, std_ab)) = self.transition_scales(&state, a, b)? else {
            return Ok(Found::Skip(NONE.into()));
        };
        let Some((alpha_bc, std_bc)) = self.transition_scales(&state, b, c)? else {
            return Ok(Found::Skip(NONE.into()));
        };
        let Some((alpha_ac, std_ac)) = self.transition_scales(&state, a, c)? else {
            return Ok(Found::Skip(NONE.into()));
        };
        let mut error = (alpha_ab * alpha_bc - alpha_ac).abs();
        error = worse(error, ((alpha_bc * std_ab).hypot(std_bc) - std_ac).abs() / std_ac);
        if let (Some(ka), Some(kc)) = (self.process.kernel(a), self.process.kernel(c)) {
            let (from, to) = (scales(&ka), scales(&kc));
            if let (Some((mean_a, std_a)), Some((mean_c, std_c))) = (from, to) {
                error = worse(error, (mean_a * alpha_ac - mean_c).abs());
                error = worse(error, ((alpha_ac * std_a).hypot(std_ac) - std_c).abs() / std_c);
            }
        }
        Ok(Found::Error(error, 1e-8))
    }

    /// `p(tau_s | tau_t, tau_0) = N(A tau_t + B tau_0, D^2)` must give back the kernel at `s` when
    /// `tau_t` is averaged out, and the covariance of `tau_s` and `tau_t` that the transition has.
    fn posterior(&self) -> Result<Found> {
        let coordinates = need!(self.coordinates(), "the drive has no flow coordinates");
        let clean = self.clean_state(8, Kind::Double)?;
        let (s, t) = (self.time(0.4), self.time(0.6));
        let step = Step { from: t, to: s };
        let kernels = (self.process.kernel(s), self.process.kernel(t));
        let at_s = need!(kernels.0, "the kernel is not Gaussian");
        let at_t = need!(kernels.1, "the kernel is not Gaussian");
        let (mean_s, std_s) = need!(scales(&at_s), "the kernel has colour or a known end");
        let (mean_t, std_t) = need!(scales(&at_t), "the kernel has colour or a known end");
        let tau = coordinates.unwrapped(&clean);
        let (zero, direction) = (tau.zeros_like(), self.normal(&tau, &clean, 5).scale(0.1));
        let draw = |tau: &Xi, tau_0: &Xi, z: &Xi| {
            let prediction = Prediction::one(PredictionKind::Clean, tau_0.clone());
            self.process.posterior(&coordinates.point(&clean, tau), step, &prediction, z)
        };
        if draw(&tau, &tau, &zero).is_err() {
            return Ok(Found::Skip("the process has no closed-form posterior".into()));
        }
        let a = self.coefficient(&tau, &direction, |x| draw(x, &tau, &zero))?;
        let b = self.coefficient(&tau, &direction, |x| draw(&tau, x, &zero))?;
        let d = self.coefficient(&zero, &direction, |z| draw(&tau, &tau, z))?;
        let alpha = mean_t / mean_s;
        let mut error = (a * mean_t + b - mean_s).abs();
        error = worse(error, ((a * std_t).hypot(d) - std_s).abs() / std_s);
        error = worse(error, (a * std_t * std_t - alpha * std_s * std_s).abs() / std_s.powi(2));
        Ok(Found::Error(error, 1e-8))
    }

    fn clean(&self) -> Result<Found> {
        let coordinates = need!(self.coordinates(), "the drive has no flow coordinates");
        let (clean, t) = (self.clean_state(8, Kind::Double)?, self.time(0.5));
        let times = Tensor::full([8], t, clean.options());
        let noisy =
            self.process.perturb(&clean, &times, &mut self.streams.stream("check clean", 0))?;
        let prediction = Prediction::one(PredictionKind::Noise, noisy.noise.clone());
        let Ok(found) = self.process.clean(&noisy.noisy, t, &prediction) else {
            return Ok(Found::Skip("the process has no estimate of the clean state".into()));
        };
        let tau_0 = need!(noisy.clean, "perturb returns no clean coordinates");
        let error = relative_xi(&coordinates.unwrapped(&found), &tau_0);
        Ok(Found::Error(worse(error, relative(found.x(), clean.x())), 1e-8))
    }

    /// `E_prior[q / p] = 1` for a narrower normal density `q` of the coordinates.
    fn prior(&self) -> Result<Found> {
        let coordinates = need!(self.coordinates(), "the drive has no flow coordinates");
        let template = self.many()?;
        let tau = coordinates.unwrapped(&template);
        let degrees: i64 = tau.0.iter().map(|a| a.size()[1..].iter().product::<i64>()).sum();
        if degrees > 6 {
            return Ok(Found::Skip(format!(
                "{degrees} coordinates are too many to integrate over"
            )));
        }
        let state = self.process.prior(&template, &mut self.streams.stream("check prior", 0))?;
        let log_p =
            need!(self.process.prior_log_prob(&state), "the prior of this process has no density");
        let log_p = log_p + coordinates.log_abs_det(&state);
        let tau = coordinates.unwrapped(&state);
        // What the stabiliser hides is no degree of freedom.
        let visible = self.normal(&tau, &state, 7).square_norm().mean(Kind::Double);
        let degrees = visible.double_value(&[]).round();
        let size = tau.square_norm().mean(Kind::Double).double_value(&[]);
        let variance = size / degrees * 0.7;
        let constant = degrees * 0.5 * (2.0 * std::f64::consts::PI * variance).ln();
        let log_q = tau.square_norm() * (-0.5 / variance) - constant;
        let weight: Tensor = (log_q - log_p).exp();
        let mean = weight.mean(Kind::Double).double_value(&[]);
        let spread = weight.std(true).double_value(&[]) / (weight.numel() as f64).sqrt();
        Ok(Found::Error((mean - 1.0).abs(), SIGMAS * spread + 1e-9))
    }

    fn symmetric(&self, symmetry: &dyn Representation) -> Result<Found> {
        let mut stream = self.streams.stream("check process", 1);
        let Some(bare) = self.process.drive().sample_state(8, cpu(Kind::Double), &mut stream)
        else {
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
        let densities = (self.process.prior_log_prob(&clean), self.process.prior_log_prob(&moved));
        if let (Some(a), Some(b)) = densities {
            error = worse(error, relative(&a, &b));
        }
        Ok(Found::Error(error, 1e-9 + symmetry.approximation_error()))
    }
}
