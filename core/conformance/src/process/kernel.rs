//! The kernel against its own derivative, the equation that it solves, transition and posterior.

use super::{NO_COORDINATES, NO_KERNEL, SIGMAS, Subject, need};
use crate::measure::{Found, broken, dot, relative, relative_xi, worse};
use isotropy_core::{Error, Prediction, PredictionKind, Result, Scale, State, Step, Stream, Xi};
use tch::{Kind, Tensor};

const NO_TRANSITION: &str = "the process has no closed-form transition";

impl Subject<'_> {
    /// The law for the times of a batch against the law at each of them.
    pub(super) fn kernel_of_time(&self) -> Result<Found> {
        let law = need!(self.process.gaussian_kernel(), NO_KERNEL);
        let times = [0.1, 0.5, 0.9].map(|fraction| self.time(fraction));
        let state = self.clean_state(times.len() as i64, Kind::Double)?;
        let batch = law.tensors(&Tensor::from_slice(&times).unsqueeze(1));
        let mut error = 0.0;
        for (row, t) in times.into_iter().enumerate() {
            let kernel = law.at(&state, t)?;
            let none = Vec::new();
            let pairs = [
                (&batch.mean, &kernel.mean),
                (&batch.std, &kernel.std),
                (batch.shift.as_ref().unwrap_or(&none), kernel.shift.as_ref().unwrap_or(&none)),
            ];
            for (all, one) in pairs {
                if all.len() != one.len() {
                    return broken(format!("{} scales, but {} at one time", all.len(), one.len()));
                }
                for (all, one) in all.iter().zip(one) {
                    if let (Scale::Each(all), Scale::Same(one)) = (all, one) {
                        let there = all.get(row as i64).to_kind(Kind::Double).max();
                        error = worse(error, (there.double_value(&[]) - one).abs() / (1.0 + one));
                    }
                }
            }
        }
        Ok(Found::Error(error, 1e-9))
    }

    pub(super) fn score(&self) -> Result<Found> {
        let t = self.time(0.5);
        let clean = self.clean_state(8, Kind::Double)?;
        let kernel = need!(self.gauss(&clean, t)?, NO_KERNEL);
        let end = self.process.known_end(&clean)?;
        let times = Tensor::full([8], t, clean.options());
        let noisy =
            self.process.perturb(&clean, &times, &mut self.streams.stream("check score", 0))?;
        let (tau_0, tau) = match (&noisy.clean, &noisy.coordinates) {
            (Some(clean), Some(tau)) => (clean, tau.map(|a| a.detach().set_requires_grad(true))),
            _ => return broken("a Gaussian kernel, but perturb returns no coordinates"),
        };
        let residual = kernel.white(&tau.sub(&kernel.centre(tau_0, end.as_ref())));
        let log = residual.square_norm() * (-0.5 / kernel.std.powi(2));
        let gradient = Xi(Tensor::run_backward(&[log.sum(Kind::Double)], &tau.0, false, false));
        let noise = Prediction::one(PredictionKind::Noise, noisy.noise()?.clone());
        let clean = Prediction::one(PredictionKind::Clean, tau_0.clone());
        let centred = kernel.counted_from_end(&tau, end.as_ref());
        let mut error = 0.0;
        for prediction in [noise, clean] {
            let said = noisy.kernel.score(&prediction, Some(&centred))?;
            error = worse(error, relative_xi(&said, &gradient));
        }
        Ok(Found::Error(error, 1e-9))
    }

    /// The score in the terms is that of the fields, `L_i log p + div Pi_i`: `p` is the density of the
    /// value with respect to the base measure, by autodiff through the coordinates.
    pub(super) fn score_of_fields(&self) -> Result<Found> {
        let coordinates = need!(self.coordinates(), NO_COORDINATES);
        let t = self.time(0.5);
        let clean = self.clean_state(8, Kind::Double)?;
        let kernel = need!(self.gauss(&clean, t)?, NO_KERNEL);
        let end = self.process.known_end(&clean)?;
        let times = Tensor::full([8], t, clean.options());
        let mut stream = self.streams.stream("check score of the fields", 0);
        let noisy = self.process.perturb(&clean, &times, &mut stream)?;
        let Some(tau_0) = noisy.clean else {
            return broken("a Gaussian kernel, but perturb returns no coordinates");
        };
        // On the principal branch, so that coordinates are a function of the value.
        let mut bare = noisy.noisy;
        bare.lift.clear();
        let fields = self.process.fields();
        let state = fields.lift(bare.clone())?;
        let x = state.x().detach().set_requires_grad(true);
        let there = fields.lift(bare.with_value(x.shallow_clone()))?;
        let tau = coordinates.tau(&there);
        if !tau.0.iter().all(Tensor::requires_grad) {
            return Ok(Found::Skip("the value alone does not tell the coordinates".into()));
        }
        let residual = tau.sub(&kernel.centre(&tau_0, end.as_ref()));
        let log = kernel.white(&residual).square_norm() * (-0.5 / kernel.std.powi(2));
        let log = log - coordinates.log_abs_det(&there);
        let slope = Tensor::run_backward(&[log.sum(Kind::Double)], &[x], false, false).remove(0);
        let expected = fields.pull(&state, &slope).add(&fields.divergences(&state));
        let prediction = Prediction::one(PredictionKind::Clean, tau_0);
        let said = self.process.terms(&state, Step::at(t), &prediction)?.score;
        let Some(said) = said else {
            return broken("a Gaussian kernel, but the terms have no score");
        };
        Ok(Found::Error(relative_xi(&said, &fields.horizontal(&state, &expected)), 1e-7))
    }

    /// Integrates `dxi = f dt + g dW` forwards through the flow of the drive, with the rates of
    /// [`NoisingProcess::terms`](isotropy_core::NoisingProcess::terms), and compares mean and variance with
    /// the kernel.
    pub(super) fn simulated(&self) -> Result<Found> {
        let coordinates = need!(self.coordinates(), NO_COORDINATES);
        let (low, high) = (self.time(0.0), self.time(0.45));
        let start = self.many()?;
        let first = need!(self.gauss(&start, low)?, NO_KERNEL);
        let last = need!(self.gauss(&start, high)?, NO_KERNEL);
        let alpha = last.mean / first.mean;
        let end = self.process.known_end(&start)?;
        let added = (last.std.powi(2) - (alpha * first.std).powi(2)).max(0.0).sqrt();
        if added < 1e-6 {
            return Ok(Found::Skip("no noise is added between the times that are tried".into()));
        }
        let count = if self.process.time().discrete { (high - low) as usize } else { 200 };
        let step = (high - low) / count as f64;
        let zero = self.no_score(&start);
        let tau_0 = first.counted_from_end(&coordinates.unwrapped(&start), end.as_ref());
        let mut state = start.clone();
        // Largest variance of one step: the error of Euler's rule.
        let mut coarse: f64 = 0.0;
        for k in 0..count {
            let t = low + step * k as f64;
            let terms = self.process.terms(&state, Step { from: t + step, to: t }, &zero)?;
            let z = self.normal(&terms.drift, &state, 100 + k as u64);
            let noise = z.0.iter().zip(&terms.noise).map(|(z, g)| g.apply(z) * step.sqrt());
            let mut xi = terms.drift.scale(step).add(&Xi(noise.collect()));
            if let Some(h) = &terms.h {
                xi = xi.add_scaled(h, step);
            }
            coarse = coarse.max(terms.noise[0].scale().powi(2) * step / last.std.max(1.0).powi(2));
            state = self.process.fields().flow(&state, &xi);
        }
        let there = last.counted_from_end(&coordinates.unwrapped(&state), end.as_ref());
        // Whitened, so that every coordinate counts alike.
        let (residual, tau_0) = (last.white(&there.add_scaled(&tau_0, -alpha)), last.white(&tau_0));
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
            None => return broken(NO_COORDINATES),
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

    /// Chapman-Kolmogorov: two transitions in a row are one, and a transition takes the kernel at
    /// its start to the kernel at its end.
    pub(super) fn transition(&self) -> Result<Found> {
        if self.coordinates().is_none() {
            return self.transition_law();
        }
        let state = self.clean_state(8, Kind::Double)?;
        let (a, b, c) = (self.time(0.1), self.time(0.4), self.time(0.8));
        let (alpha_ab, std_ab) = need!(self.transition_scales(&state, a, b)?, NO_TRANSITION);
        let (alpha_bc, std_bc) = need!(self.transition_scales(&state, b, c)?, NO_TRANSITION);
        let (alpha_ac, std_ac) = need!(self.transition_scales(&state, a, c)?, NO_TRANSITION);
        let mut error = (alpha_ab * alpha_bc - alpha_ac).abs();
        error = worse(error, ((alpha_bc * std_ab).hypot(std_bc) - std_ac).abs() / std_ac);
        if let (Some(at_a), Some(at_c), Some(coordinates)) =
            (self.gauss(&state, a)?, self.gauss(&state, c)?, self.coordinates())
        {
            error = worse(error, (at_a.mean * alpha_ac - at_c.mean).abs());
            let std = (alpha_ac * at_a.std).hypot(std_ac);
            error = worse(error, (std - at_c.std).abs() / at_c.std);
            let (end, tau) = (self.process.known_end(&state)?, coordinates.unwrapped(&state));
            let [before, after] = [&at_a, &at_c].map(|kernel| kernel.centre(&tau, end.as_ref()));
            let start = coordinates.point(&state, &before);
            let reached = self.process.transition(&start, a, c, &tau.zeros_like())?;
            error = worse(error, relative_xi(&coordinates.unwrapped(&reached), &after));
        }
        Ok(Found::Error(error, 1e-8))
    }

    /// The same without flow coordinates, where there are no coefficients to compare: two
    /// transitions in a row and a single one from the same points must reach the same law. Compared
    /// are the means of random linear forms of the value and of their squares.
    fn transition_law(&self) -> Result<Found> {
        let many = self.many()?;
        let first = Tensor::zeros([many.batch_size()], (Kind::Int64, many.options().1));
        let start = many.map_batched(|tensor| tensor.index_select(0, &first));
        let (a, b, c) = (self.time(0.1), self.time(0.4), self.time(0.8));
        let like = self.shapes(&start);
        let move_on = |state: &State, from, to, name| {
            self.process.transition(state, from, to, &self.normal(&like, state, name))
        };
        let once = match move_on(&start, a, c, 7) {
            Err(Error::Unsupported(why)) => return Ok(Found::Skip(why)),
            found => found?,
        };
        let twice = move_on(&move_on(&start, a, b, 8)?, b, c, 9)?;
        let flat = [&once, &twice].map(|state| state.x().flatten(1, -1));
        let forms = Stream::probe().normal(&[flat[0].size()[1], 16], start.options());
        let [once, twice] = flat.map(|x| {
            let x = x.matmul(&forms);
            Tensor::cat(&[&x, &x.square()], 1)
        });
        let count = start.batch_size() as f64;
        let mean = |a: &Tensor| a.mean_dim([0].as_slice(), false, Kind::Double);
        let variance = (once.var_dim([0].as_slice(), true, false)
            + twice.var_dim([0].as_slice(), true, false))
            / count;
        // A form that noise does not move has no variance and must agree to rounding.
        let sigma = variance.sqrt() + (mean(&once).abs() + 1.0) * 1e-9;
        let worst = ((mean(&once) - mean(&twice)) / sigma).abs().max().double_value(&[]);
        // In units of what Monte Carlo allows.
        Ok(Found::Error(worst / SIGMAS, 1.0))
    }

    /// `p(tau_s | tau_t, tau_0) = N(A tau_t + B tau_0 + C, D^2)` must give back the kernel at `s`
    /// when `tau_t` is averaged out, and the covariance of `tau_s` and `tau_t` that the transition
    /// has.
    pub(super) fn posterior(&self) -> Result<Found> {
        let coordinates = need!(self.coordinates(), NO_COORDINATES);
        let clean = self.clean_state(8, Kind::Double)?;
        let (s, t) = (self.time(0.4), self.time(0.6));
        let step = Step { from: t, to: s };
        let at_s = need!(self.gauss(&clean, s)?, NO_KERNEL);
        let at_t = need!(self.gauss(&clean, t)?, NO_KERNEL);
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
        let alpha = at_t.mean / at_s.mean;
        let mut error = (a * at_t.mean + b - at_s.mean).abs();
        error = worse(error, ((a * at_t.std).hypot(d) - at_s.std).abs() / at_s.std);
        let covariance = a * at_t.std.powi(2) - alpha * at_s.std.powi(2);
        error = worse(error, covariance.abs() / at_s.std.powi(2));
        // From the mean at t the draw without noise is the mean at s.
        let end = self.process.known_end(&clean)?;
        let [at_s, at_t] = [&at_s, &at_t].map(|kernel| kernel.centre(&tau, end.as_ref()));
        let reached = coordinates.unwrapped(&draw(&at_t, &tau, &zero)?);
        error = worse(error, relative_xi(&reached, &at_s));
        Ok(Found::Error(error, 1e-8))
    }

    pub(super) fn clean(&self) -> Result<Found> {
        let coordinates = need!(self.coordinates(), NO_COORDINATES);
        let (clean, t) = (self.clean_state(8, Kind::Double)?, self.time(0.5));
        let times = Tensor::full([8], t, clean.options());
        let noisy =
            self.process.perturb(&clean, &times, &mut self.streams.stream("check clean", 0))?;
        let prediction = Prediction::one(PredictionKind::Noise, noisy.noise()?.clone());
        let tau_0 = need!(noisy.clean, "perturb returns no clean coordinates");
        let Ok(found) = self.process.clean(&noisy.noisy, t, &prediction) else {
            return Ok(Found::Skip("the process has no estimate of the clean state".into()));
        };
        let error = relative_xi(&coordinates.unwrapped(&found), &tau_0);
        Ok(Found::Error(worse(error, relative(found.x(), clean.x())), 1e-8))
    }
}
