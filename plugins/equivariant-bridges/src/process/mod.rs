//! The process of a bridge: from a point to the other end that its context names.

mod brownian;
mod ve;
mod vp;

pub use brownian::{BrownianBridgeConfig, BrownianSchedule};
pub use ve::VeBridgeConfig;
pub use vp::VpBridgeConfig;

use crate::clock::{BridgeClock, Coefficients};
use isotropy_core::{
    ClosedForm, ClosedForms, Error, FlowCoordinates, Kernel, KernelLaw, NoiseOperator,
    NoisingProcess, Perturbed, Prediction, PredictionKind, Representation, Result, Scale, State,
    StateSpec, Step, Stream, Terms, TimeDomain, Xi, broadcast, probe_symmetry,
    representation::as_type,
};
use isotropy_groups::representation::Translation;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Name of the context field that holds the other end `x_T`: batched, of the shape of the value.
/// For a symmetry to hold it must move as the value does.
pub const END: &str = "end";

/// A diffusion bridge on translations: [`VeBridgeConfig`], [`VpBridgeConfig`] and
/// [`BrownianBridgeConfig`]; the mathematics is in [`crate::clock`].
///
/// The forward process is that of the base with Doob's h-term in its drift; samplers read drift,
/// score and h-term apart. The law of `x_t` has no density at the other end, so time stops a margin
/// before it, where the prior is taken to be the point `x_T` itself (its standard deviation there is
/// neglected, as in the published samplers).
#[derive(Debug)]
pub struct Bridge {
    law: Arc<BridgeLaw>,
    /// Least variance of a draw from the posterior.
    floor: f64,
}

/// The law of the kernel of a [`Bridge`]: `x_t = a x_T + b x_0 + std z`.
#[derive(Debug)]
struct BridgeLaw {
    drive: Arc<dyn Representation>,
    clock: BridgeClock,
    time: TimeDomain,
}

impl BridgeLaw {
    fn coordinates(&self) -> &dyn FlowCoordinates {
        let fields = self.drive.drive().and_then(|fields| fields.coordinates());
        fields.expect("translations have flow coordinates")
    }

    /// The coordinates of the other end.
    fn end(&self, state: &State) -> Result<Xi> {
        let (end, x) = (&state.given(END)?.tensor, state.x());
        if end.size() != x.size() {
            return Err(Error::Unsupported(format!(
                "the other end has shape {:?}, the point {:?}",
                end.size(),
                x.size()
            )));
        }
        Ok(self.coordinates().tau(&state.with_value(end.to_kind(x.kind()))))
    }
}

impl KernelLaw for BridgeLaw {
    fn time(&self) -> &TimeDomain {
        &self.time
    }

    fn scales(&self, t: f64) -> Kernel {
        let (a, b, std) = self.clock.coefficients(t);
        let kernel = Kernel::new(vec![Scale::Same(b)], vec![Scale::Same(std)]);
        kernel.shifted(vec![Scale::Same(a)])
    }

    fn tensors(&self, t: &Tensor) -> Kernel {
        let Coefficients { end, clean, std } = self.clock.tensors(t);
        let kernel = Kernel::new(vec![Scale::Each(clean)], vec![Scale::Each(std)]);
        kernel.shifted(vec![Scale::Each(end)])
    }

    fn known_end(&self, state: &State) -> Result<Option<Xi>> {
        self.end(state).map(Some)
    }

    /// That of the base process, `sigma / alpha`: the kernel's own `std / mean` has no bound at the
    /// other end. For VE it is the time itself.
    fn level(&self, t: f64) -> Option<f64> {
        Some(self.clock.level(t))
    }
}

impl Bridge {
    /// A bridge on a drive.
    ///
    /// # Errors
    /// When the drive is not one of translations: between points of a curved orbit there is no
    /// Gaussian bridge, and where angles alias the other end has no unique coordinates.
    fn new(
        drive: Arc<dyn Representation>,
        clock: BridgeClock,
        time: TimeDomain,
        floor: f64,
    ) -> Result<Self> {
        if as_type::<Translation>(drive.as_ref()).is_none() {
            let message = format!(
                "a bridge is Gaussian in the coordinates of translations; {} has others",
                drive.name()
            );
            return Err(
                Error::config("", message).with_help("use \"drive\": {\"type\": \"translations\"}")
            );
        }
        Ok(Self { law: Arc::new(BridgeLaw { drive, clock, time }), floor })
    }

    /// The clock.
    pub fn clock(&self) -> &BridgeClock {
        &self.law.clock
    }

    fn coordinates(&self) -> &dyn FlowCoordinates {
        self.law.coordinates()
    }

    /// `x - a x_T = (x - x_T) + (1 - a) x_T`: near the other end the first difference is small and
    /// exact, where `a x_T` would cancel against `x`.
    fn centred(&self, tau: &Xi, end: &Xi, t: f64) -> Xi {
        tau.sub(end).add_scaled(end, self.law.clock.complement(t))
    }

    /// The noisy state of given standard normal numbers (in the shape of the value): `perturb` with
    /// its noise drawn.
    ///
    /// # Errors
    /// When the state lacks its other end.
    pub fn noised(&self, clean: &State, t: &Tensor, z: &Tensor) -> Result<Perturbed> {
        let (clean_tau, end) = (self.coordinates().unwrapped(clean), self.law.end(clean)?);
        let noise = self.fields().horizontal(clean, &z.shallow_clone().into());
        let x_0 = clean_tau.single();
        let Coefficients { end: a, clean: b, std } =
            self.law.clock.tensors(&broadcast(&t.to_kind(x_0.kind()), x_0.dim()));
        let tau = (end.single() * &a).addcmul(x_0, &b).addcmul(noise.single(), &std);
        let tau = Xi::from(tau);
        let kernel = Kernel::new(vec![Scale::Each(b)], vec![Scale::Each(std)]);
        Ok(Perturbed {
            noisy: self.coordinates().point(clean, &tau),
            kernel: kernel.shifted(vec![Scale::Each(a)]),
            noise: Some(noise),
            velocity: None,
            clean: Some(clean_tau),
            coordinates: Some(tau),
            orientation: None,
        })
    }

    /// The clean coordinates that a prediction stands for at a state.
    fn clean_coordinates(&self, state: &State, t: f64, prediction: &Prediction) -> Result<Xi> {
        self.accepts_prediction(prediction.kind)?;
        let tau = self.coordinates().unwrapped(state);
        let centred = self.centred(&tau, &self.law.end(state)?, t);
        self.law.scales(t).clean(prediction, &centred)
    }
}

impl NoisingProcess for Bridge {
    fn name(&self) -> String {
        self.law.clock.name().into()
    }

    fn drive(&self) -> &Arc<dyn Representation> {
        &self.law.drive
    }

    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        match spec.given(END) {
            Some(end) if end.shape == spec.value.shape && end.batched == spec.value.batched => {
                Ok(())
            }
            Some(end) => Err(Error::Unsupported(format!(
                "the context field `{END}` has shape {:?}; the other end of a bridge has that of the value, {:?}",
                end.shape, spec.value.shape
            ))),
            None => Err(Error::Unsupported(format!(
                "a bridge needs the other end of every point as the context field `{END}`; this dataset has none (a dataset of pairs has)"
            ))),
        }
    }

    fn sample_state(
        &self,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        let state = self.law.drive.sample_state(batch, options, stream)?;
        let end = state.value.with(stream.normal(&state.x().size(), options));
        Some(state.with_context(END, end))
    }

    fn time(&self) -> &TimeDomain {
        &self.law.time
    }

    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let z = stream.normal(&clean.x().size(), clean.options());
        self.noised(clean, t, &z)
    }

    /// The other end itself.
    fn prior(&self, template: &State, _: &mut Stream) -> Result<State> {
        Ok(self.coordinates().point(template, &self.law.end(template)?))
    }

    fn prior_log_prob(&self, _: &State) -> Result<Option<Tensor>> {
        Ok(None)
    }

    fn accepts_prediction(&self, kind: PredictionKind) -> Result<()> {
        match kind {
            PredictionKind::Field
            | PredictionKind::FieldSum
            | PredictionKind::Logits
            | PredictionKind::Velocity => Err(Error::Unsupported(format!(
                "a {} is driven by a clean point, a noise or a score, not by {kind:?}",
                self.name()
            ))),
            _ => Ok(()),
        }
    }

    fn kernel(&self) -> Option<Arc<dyn KernelLaw>> {
        Some(Arc::clone(&self.law) as Arc<dyn KernelLaw>)
    }

    /// Score and h-term at the start of the step (their difference, which is what moves a sampler,
    /// has no singularity at the other end), both times `g^2` averaged over the step.
    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        self.accepts_prediction(prediction.kind)?;
        let t = step.from;
        let (tau, end) = (self.coordinates().unwrapped(state), self.law.end(state)?);
        let centred = self.centred(&tau, &end, t);
        let score = self.law.scales(t).score(prediction, Some(&centred))?;
        let (rate, drift) = (self.law.clock.noise_rate(step), self.law.clock.drift_rate(step));
        let h = end.sub(&tau).add_scaled(&tau, self.law.clock.slack(t));
        let h = h.scale(rate / self.law.clock.ahead(t));
        Ok(Terms {
            drift: if drift == 0.0 { tau.zeros_like() } else { tau.scale(-0.5 * drift) },
            noise: vec![NoiseOperator::White(rate.max(0.0).sqrt())],
            preconditioned: score.scale(rate),
            score: Some(score),
            h: Some(h),
        })
    }

    /// The forward drift, h-term included, must move with the point. It pulls towards the other end,
    /// so an end that the symmetry leaves where it is gives the process away.
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        self.accepts(spec)?;
        symmetry.accepts(spec)?;
        let t = 0.5 * (self.law.time.start + self.law.time.end);
        let (drift, slack) = (self.law.clock.drift_rate(Step::at(t)), self.law.clock.slack(t));
        probe_symmetry(self.fields(), symmetry, spec, |state| {
            let tau = self.coordinates().unwrapped(state);
            Ok(self.law.end(state)?.add_scaled(&tau, slack - 1.0 - 0.5 * drift))
        })
        .map_err(|error| match (error, spec.given(END)) {
            (Error::Unsupported(why), Some(end)) if end.moves != spec.value.moves => {
                Error::Unsupported(format!(
                    "the other end moves as {:?}, the value as {:?}, and a symmetry of a bridge moves both ends alike: {why}",
                    end.moves, spec.value.moves
                ))
            }
            (error, _) => error,
        })
    }

    fn closed_forms(&self) -> Option<&dyn ClosedForms> {
        Some(self)
    }
}

impl ClosedForms for Bridge {
    fn forms(&self) -> &'static [ClosedForm] {
        use ClosedForm::{Clean, HTerm, Posterior, Transition};
        &[Clean, Posterior, Transition, HTerm]
    }

    fn clean(&self, state: &State, t: f64, prediction: &Prediction) -> Result<State> {
        let clean = self.clean_coordinates(state, t, prediction)?;
        Ok(self.coordinates().point(state, &clean))
    }

    /// `x_s | x_t, x_0 ~ N((p_s x_t + w x_0) / p_t, p_s w / p_t)` at the estimate of `x_0`: the steps of
    /// BBDM (its coefficient of the other end is zero), and what DDIM takes noise out of.
    fn posterior(
        &self,
        state: &State,
        step: Step,
        prediction: &Prediction,
        z: &Xi,
    ) -> Result<State> {
        let Step { from: t, to: s } = step;
        let clean = self.clean_coordinates(state, t, prediction)?;
        let (p_t, p_s, w) =
            (self.law.clock.behind(t), self.law.clock.behind(s), self.law.clock.between(s, t));
        let std = (p_s * w / p_t).max(self.floor).sqrt();
        let mean = self.coordinates().unwrapped(state).scale(p_s / p_t).add_scaled(&clean, w / p_t);
        Ok(self.coordinates().point(state, &mean.add_scaled(z, std)))
    }

    /// `x_t | x_s, x_T ~ N((q_t x_s + w x_T) / q_s, q_t w / q_s)`: onwards to the same other end.
    fn transition(&self, state: &State, from: f64, to: f64, z: &Xi) -> Result<State> {
        let (q_s, q_t) = (self.law.clock.ahead(from), self.law.clock.ahead(to).max(0.0));
        let w = self.law.clock.between(from, to);
        let mean = self.coordinates().unwrapped(state).scale(q_t / q_s);
        let mean = mean.add_scaled(&self.law.end(state)?, w / q_s);
        let std = (q_t * w / q_s).max(0.0).sqrt();
        Ok(self.coordinates().point(state, &mean.add_scaled(z, std)))
    }
}

/// A time axis from `start` to `margin` before the end.
///
/// # Errors
/// When the numbers are no time axis.
fn axis(start: (&str, f64), end: f64, margin: f64) -> Result<TimeDomain> {
    let (pointer, start) = start;
    let positive = |pointer: &str, value: f64| match value {
        value if value > 0.0 && value.is_finite() => Ok(()),
        value => Err(Error::config(pointer, format!("{value} must be a positive number"))),
    };
    positive(pointer, start)?;
    positive("/margin", margin)?;
    let last = end - margin;
    if start >= last {
        return Err(Error::config(
            pointer,
            format!("the first time {start} is not before the last, {last}"),
        ));
    }
    Ok(TimeDomain {
        end: last,
        prior: last,
        label_scale: 1.0 / end,
        ..TimeDomain::continuous(start, end)
    })
}
