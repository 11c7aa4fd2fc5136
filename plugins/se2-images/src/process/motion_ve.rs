//! The process `motion-ve`: isotropic noise in the frame of SE(2), variance exploding.
//!
//! `dg = g o (g_a dW_a, g_s dW_s)` in the body frame of [`ImageMotion`], `dg = (g_a dW_a, g_s dW_s) o g`
//! in the space frame, with the angle's noise `sigma_a(t)` (radians) and the shift's `sigma_s(t)`
//! (pixels). Nothing is simulated: in the coordinates `(theta, c)` of [`ImageMotion::straight`], with
//! `c = p` for body and `c = R(-theta) p` for space, this is a Brownian motion of R^3 (see there), so
//!
//! `theta_t = theta_0 + sigma_a z`, `c_t = c_0 + sigma_s w`, with `z`, `w` standard normal.
//!
//! In terms of the shift: body `p_t = p_0 + sigma_s w`, the product law; space
//! `p_t = R(sigma_a z) p_0 + sigma_s w'`. Densities are with respect to Haar measure, which is
//! `d theta dc` in either case. The score in the frame is `(-z / sigma_a, -M w / sigma_s)`, with the
//! rotation `M` that takes velocities of `c` to those of the frame ([`ImageMotion::to_frame`]); so the
//! noise to predict is `(z, M w)`, which is standard normal too. Tweedie's formula, the posterior of a
//! step and the transition are the Gaussian ones of `(theta, c)`, exactly.

use isotropy_core::schedule::Family;
use isotropy_core::{
    ClosedForm, ClosedForms, Error, Kernel, KernelLaw, NoiseOperator, NoisingProcess, Perturbed,
    Prediction, PredictionKind, ProcessConfig, Representation, Result, Scale, ScheduleConfig,
    State, StateSpec, Step, Stream, Terms, TimeDomain, Xi, component, config, probe_symmetry,
    representation::as_type,
};
use isotropy_diffusion::clock::Clock;
use isotropy_diffusion::schedule::LinearSigmaConfig;
use isotropy_images::action::image_motion::ImageMotion;
use isotropy_images::action::motion::Motion;
use std::sync::Arc;
use tch::Tensor;

/// Brownian motion of turn and shift in the frame of the drive `image-motion`, each with its own
/// schedule. In the body frame its law is the product of those of angle and shift; in the space frame
/// the shift is turned along. Starts at the state that the sampler is given.
#[config]
pub struct MotionVeConfig {
    /// Standard deviation of the angle, radians: a variance-exploding schedule.
    #[serde(default = "angle")]
    pub angle: Box<dyn ScheduleConfig>,
    /// Standard deviation of each component of the shift, pixels: a variance-exploding schedule.
    #[serde(default = "shift")]
    pub shift: Box<dyn ScheduleConfig>,
    /// Number of discrete steps `T`; `null` for continuous time on [`start`, 1].
    #[serde(default = "steps")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: Option<u32>,
    /// Smallest time that is trained when time is continuous, in (0, 1); unused otherwise.
    #[serde(default = "start")]
    #[schemars(range(min = 1e-9, max = 0.999))]
    pub start: f64,
}

fn angle() -> Box<dyn ScheduleConfig> {
    Box::new(LinearSigmaConfig { sigma_max: 2.5, floor: 0.02 })
}

fn shift() -> Box<dyn ScheduleConfig> {
    Box::new(LinearSigmaConfig { sigma_max: 6.0, floor: 0.05 })
}

#[allow(clippy::unnecessary_wraps, reason = "serde's default has the type of the field")]
fn steps() -> Option<u32> {
    Some(100)
}

fn start() -> f64 {
    1e-3
}

#[component(
    "motion-ve",
    "Brownian motion of turn and shift (SE(2)), in the body or the space frame",
    r#"{"type": "motion-ve", "angle": {"type": "ve-linear", "sigma_max": 2.5, "floor": 0.02}, "shift": {"type": "ve-linear", "sigma_max": 6.0, "floor": 0.05}, "steps": 100}"#
)]
impl ProcessConfig for MotionVeConfig {
    fn build(&self, drive: Arc<dyn Representation>) -> Result<Box<dyn NoisingProcess>> {
        let Some(motion) = as_type::<ImageMotion>(drive.as_ref()).copied() else {
            let message = format!("this process turns and shifts; the drive is {}", drive.name());
            return Err(Error::config("/type", message)
                .with_help("take the drive `image-motion`, or another process"));
        };
        if self.steps == Some(0) {
            return Err(Error::config("/steps", "a process has at least 1 step"));
        }
        if !(self.start > 0.0 && self.start < 1.0) {
            return Err(Error::config("/start", format!("{} is not in (0, 1)", self.start)));
        }
        let clock = |config: &dyn ScheduleConfig, pointer: &str| {
            let schedule = config.build().map_err(|error| error.under(pointer))?;
            if schedule.family() != Family::VarianceExploding {
                let message =
                    "a motion needs a variance-exploding schedule: ve-linear, ve-geometric";
                return Err(Error::config(pointer, message));
            }
            Ok(Arc::new(Clock::new(schedule, self.steps, self.start)))
        };
        let clocks = [clock(self.angle.as_ref(), "/angle")?, clock(self.shift.as_ref(), "/shift")?];
        Ok(Box::new(MotionVe { drive, motion, clocks }))
    }
}

/// The running process.
#[derive(Debug)]
pub struct MotionVe {
    drive: Arc<dyn Representation>,
    motion: ImageMotion,
    /// Of the angle and of the shift, on the same time axis.
    clocks: [Arc<Clock>; 2],
}

/// The scales of turn and shift; the kernel has no more of a Gaussian in coefficients of the frame.
#[derive(Debug)]
struct MotionScales([Arc<Clock>; 2]);

impl KernelLaw for MotionScales {
    fn time(&self) -> &TimeDomain {
        &self.0[0].time
    }

    fn scales(&self, t: f64) -> Kernel {
        let std = self.0.iter().map(|clock| Scale::Same(clock.at(t).1)).collect();
        Kernel::new(vec![Scale::Same(1.0); 2], std)
    }

    fn tensors(&self, t: &Tensor) -> Kernel {
        let std = |clock: &Arc<Clock>| Scale::Each(clock.gather(t, (t.kind(), t.device())).1);
        Kernel::new(vec![Scale::Same(1.0); 2], self.0.iter().map(std).collect())
    }

    fn gaussian(&self) -> bool {
        false
    }

    /// That of the angle, radians.
    fn level(&self, t: f64) -> Option<f64> {
        Some(self.0[0].at(t).1)
    }
}

impl MotionVe {
    /// Standard deviations of angle and shift at a time.
    fn law(&self) -> MotionScales {
        MotionScales(self.clocks.clone())
    }

    fn std(&self, t: f64) -> [f64; 2] {
        [self.clocks[0].at(t).1, self.clocks[1].at(t).1]
    }

    /// Moves by a displacement of the straight coordinates, given as coefficients of the frame at the
    /// state.
    fn displaced(&self, state: &State, xi: &Xi) -> State {
        let (motion, _) = ImageMotion::lifted(state);
        let moved =
            self.motion.straight(&motion) + self.motion.to_straight(&motion.angle, xi.factor(1));
        let angle = &motion.angle + xi.factor(0);
        ImageMotion::at(state, self.motion.from_straight(angle, &moved))
    }

    fn white(state: &State, stream: &mut Stream) -> Xi {
        let (batch, options) = (state.batch_size(), state.options());
        let turn = stream.normal(&[batch, 1], options);
        Xi(vec![turn, stream.normal(&[batch, 2], options)])
    }

    /// Each factor times its number.
    fn each(xi: &Xi, [turn, shift]: [f64; 2]) -> Xi {
        Xi(vec![xi.factor(0) * turn, xi.factor(1) * shift])
    }
}

/// Something of the standard deviations at both ends of a step, factor by factor.
fn both(noisy: [f64; 2], less: [f64; 2], f: impl Fn(f64, f64) -> f64) -> [f64; 2] {
    [f(noisy[0], less[0]), f(noisy[1], less[1])]
}

impl NoisingProcess for MotionVe {
    fn name(&self) -> String {
        format!("VE, {}", self.fields().frame())
    }

    fn drive(&self) -> &Arc<dyn Representation> {
        &self.drive
    }

    fn time(&self) -> &TimeDomain {
        &self.clocks[0].time
    }

    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let (motion, _) = ImageMotion::lifted(clean);
        let drawn = Self::white(clean, stream);
        let std = [0, 1].map(|k: usize| self.clocks[k].gather(t, clean.options()).1);
        let angle = motion.angle.addcmul(&std[0], drawn.factor(0));
        let straight = self.motion.straight(&motion).addcmul(&std[1], drawn.factor(1));
        let noise = self.motion.to_frame(&angle, drawn.factor(1));
        let noisy = ImageMotion::at(clean, self.motion.from_straight(angle, &straight));
        let scales = std.map(Scale::Each).into_iter().collect();
        Ok(Perturbed {
            noisy,
            kernel: Kernel::new(vec![Scale::Same(1.0), Scale::Same(1.0)], scales),
            noise: Some(Xi(vec![drawn.factor(0).shallow_clone(), noise])),
            velocity: None,
            clean: None,
            coordinates: None,
            orientation: None,
        })
    }

    /// The template moved by noise of the last time.
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let template = self.fields().lift(template.clone())?;
        let z = Self::white(&template, stream);
        Ok(self.displaced(&template, &Self::each(&z, self.std(self.time().prior))))
    }

    fn prior_log_prob(&self, _state: &State) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// A score or the noise: the drive has no flow coordinates.
    fn accepts_prediction(&self, kind: PredictionKind) -> Result<()> {
        match kind {
            PredictionKind::Noise
            | PredictionKind::Score
            | PredictionKind::PreconditionedScore
            | PredictionKind::CovarianceScore => Ok(()),
            _ => Err(Error::Unsupported(format!(
                "{} has no flow coordinates, which a prediction of kind {kind:?} needs",
                self.name()
            ))
            .with_help("predict `preconditioned-score` instead")),
        }
    }

    fn kernel(&self) -> Option<Arc<dyn KernelLaw>> {
        Some(Arc::new(self.law()))
    }

    fn terms(&self, _state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let score = self.law().scales(step.from).score(prediction, None)?;
        let rates = [self.clocks[0].rate(step), self.clocks[1].rate(step)];
        Ok(Terms {
            drift: score.zeros_like(),
            noise: rates.map(|rate| NoiseOperator::White(rate.max(0.0).sqrt())).into(),
            preconditioned: Self::each(&score, rates),
            score: Some(score),
            h: None,
        })
    }

    /// Body fields are invariant under every motion of the canvas, so their noise is; space fields are
    /// mixed by the adjoint, which keeps no length.
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        symmetry.accepts(spec)?;
        probe_symmetry(self.fields(), symmetry, spec, |state| {
            let still = Motion::identity(state.batch_size(), state.options());
            Ok(Xi(vec![still.angle, still.shift]))
        })
    }

    fn closed_forms(&self) -> Option<&dyn ClosedForms> {
        Some(self)
    }
}

impl ClosedForms for MotionVe {
    fn forms(&self) -> &'static [ClosedForm] {
        &[ClosedForm::Clean, ClosedForm::Posterior, ClosedForm::Transition]
    }

    /// Tweedie's formula in the straight coordinates: their mean.
    fn clean(&self, state: &State, t: f64, prediction: &Prediction) -> Result<State> {
        let score = self.law().scales(t).score(prediction, None)?;
        Ok(self.displaced(state, &Self::each(&score, self.std(t).map(|std| std * std))))
    }

    /// The Gaussian `p(c_to | c_from, c_0)` of the straight coordinates at the estimate of `c_0`.
    fn posterior(
        &self,
        state: &State,
        step: Step,
        prediction: &Prediction,
        z: &Xi,
    ) -> Result<State> {
        let score = self.law().scales(step.from).score(prediction, None)?;
        let (noisy, less) = (self.std(step.from), self.std(step.to));
        let gap = both(noisy, less, |noisy, less| (noisy * noisy - less * less).max(0.0));
        let spread = [0, 1].map(|k: usize| gap[k].sqrt() * less[k] / noisy[k]);
        let moved = Self::each(&score, gap).add(&Self::each(z, spread));
        Ok(self.displaced(state, &moved))
    }

    fn transition(&self, state: &State, from: f64, to: f64, z: &Xi) -> Result<State> {
        let added = both(self.std(to), self.std(from), |noisy, less| {
            (noisy * noisy - less * less).max(0.0).sqrt()
        });
        Ok(self.displaced(state, &Self::each(z, added)))
    }
}
