//! Noising processes: how noise enters the coefficients of a drive, and what a sampler needs to
//! take it out again.

use crate::{
    Drive, Error, KernelLaw, Perturbed, Prediction, PredictionKind, Representation, Result, Root,
    State, StateSpec, Stream, Xi,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The time axis of a process. Times run from `start` (least noise the model was trained on) to
/// `end` (the prior).
#[derive(Debug, Clone, PartialEq)]
pub struct TimeDomain {
    /// Smallest time that is trained.
    pub start: f64,
    /// Largest time that is trained.
    pub end: f64,
    /// The time of the prior, at which samplers start: `end`, or a little before it.
    pub prior: f64,
    /// Times are the integers `start ..= end`.
    pub discrete: bool,
    /// The model sees `label_scale * t`.
    pub label_scale: f64,
}

/// One step of a sampler: from `from` down to `to`. `to == from` stands for the instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The time at which model and terms are evaluated.
    pub from: f64,
    /// The time that the step leads to.
    pub to: f64,
}

impl Step {
    /// The instant `t`.
    pub fn at(t: f64) -> Self {
        Self { from: t, to: t }
    }

    /// `from - to`.
    pub fn length(&self) -> f64 {
        self.from - self.to
    }
}

impl TimeDomain {
    /// Continuous time on `[start, end]`; the model sees `t / end`.
    pub fn continuous(start: f64, end: f64) -> Self {
        Self { start, end, prior: end, discrete: false, label_scale: 1.0 / end }
    }

    /// The integers `1 ..= steps`; the model sees `t / steps`.
    pub fn steps(steps: i64) -> Self {
        let end = steps as f64;
        Self { start: 1.0, end, prior: end, discrete: true, label_scale: 1.0 / end }
    }

    /// Times for a training batch, shape `[B]`: uniform, or stratified (one in each of `B` equal
    /// slices, in random order of use), which lowers the variance of the loss.
    pub fn sample(
        &self,
        batch: i64,
        stratified: bool,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Tensor {
        self.sample_batches(1, batch, stratified, options, stream)
    }

    /// Times for `batches` batches of `batch` points, one batch after the other: `[batches * batch]`.
    pub fn sample_batches(
        &self,
        batches: i64,
        batch: i64,
        stratified: bool,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Tensor {
        let u = stream.uniform(&[batches, batch], options);
        let u = if stratified { (u + Tensor::arange(batch, options)) / batch as f64 } else { u };
        let u = u.view([-1]);
        if self.discrete {
            let count = self.end - self.start + 1.0;
            (u * count).floor_().clamp_max_(count - 1.0) + self.start
        } else {
            u * (self.end - self.start) + self.start
        }
    }

    /// What the model sees for times `[B]`.
    pub fn label(&self, t: &Tensor) -> Tensor {
        t * self.label_scale
    }

    /// Whether a walk down the grid ends below the least time that is trained, at 0: so it is for
    /// discrete time. No model is asked about that end.
    pub fn ends_untrained(&self) -> bool {
        self.discrete
    }

    /// All steps of a discrete process from the prior down; `None` in continuous time.
    pub fn all_steps(&self) -> Option<usize> {
        self.discrete.then_some((self.prior - self.start) as usize + 1)
    }

    /// `steps` steps from the prior down to zero noise, equally spaced (integers for discrete time, as
    /// evenly as they go). The last one ends at 0 for discrete time and at `start` otherwise.
    ///
    /// # Errors
    /// When there are more steps than a discrete process has.
    pub fn grid(&self, steps: usize) -> Result<Vec<Step>> {
        if steps == 0 {
            return Err(Error::config("", "the number of steps must be at least 1"));
        }
        let floor = if self.discrete { self.start - 1.0 } else { self.start };
        let span = self.prior - floor;
        if self.discrete && steps as f64 > span {
            return Err(Error::config(
                "",
                format!("{steps} sampling steps, but the process has only {span} to take"),
            )
            .with_help("leave `steps` out to take them all, or raise the `steps` of the process"));
        }
        let time = |k: usize| {
            if k == steps {
                // `prior - span` is `floor` up to rounding alone, and the end is met exactly.
                return floor;
            }
            let t = self.prior - span * k as f64 / steps as f64;
            if self.discrete { t.round() } else { t }
        };
        Ok((0..steps).map(|k| Step { from: time(k), to: time(k + 1) }).collect())
    }
}

/// How white noise becomes the noise of one factor.
#[derive(Debug)]
pub enum NoiseOperator {
    /// `g z`.
    White(f64),
    /// `g L z`.
    Coloured {
        /// The scale `g`.
        scale: f64,
        /// The root `L`.
        root: Root,
    },
}

impl NoiseOperator {
    /// Noise of scale 1: white, or coloured by a root.
    pub fn unit(colour: Option<Root>) -> Self {
        match colour {
            Some(root) => Self::Coloured { scale: 1.0, root },
            None => Self::White(1.0),
        }
    }

    /// The scale `g`.
    pub fn scale(&self) -> f64 {
        match self {
            Self::White(scale) | Self::Coloured { scale, .. } => *scale,
        }
    }

    /// White noise to noise.
    pub fn apply(&self, z: &Tensor) -> Tensor {
        match self {
            Self::White(1.0) => z.shallow_clone(),
            Self::White(scale) => z * *scale,
            Self::Coloured { scale, root } => root.apply(z) * *scale,
        }
    }
}

/// What moves a point at a time, separately and per factor, as rates per unit of time. The forward
/// process is `x <- flow(x, (drift + h) dt + noise dW)`; its reversal subtracts drift and h-term and
/// adds `preconditioned`, the probability flow half of it. All of them are horizontal.
///
/// The score is that of the *fields*, whatever measure densities refer to:
/// `L_i log p + div Pi_i`, with the derivative `L_i` along field `Pi_i` and its divergence with
/// respect to the same measure as `p` ([`Drive::divergences`]). Another measure changes both and not
/// their sum. In flow coordinates the sum is the gradient of the log-density of `tau`; generators
/// that keep the measure have no divergence, and the score is `L_i log p`.
///
/// Where the covariance `K = noise noise^T` of horizontal noise changes along the fields (noise
/// across the orbits of a symmetry, [`Drive::horizontal`]), `preconditioned` is the whole of
/// `(1/p) sum_j (L_j + div Pi_j)(K_ij p) = K_ij score_j + L_j K_ij`; on spheres and in groups the
/// last term is zero.
///
/// A process that is driven by a velocity ([`PredictionKind::Velocity`]) has it as its drift, noise
/// of scale 0, and no score.
#[derive(Debug)]
pub struct Terms {
    /// Forward drift in the coefficients.
    pub drift: Xi,
    /// Noise operator of each factor.
    pub noise: Vec<NoiseOperator>,
    /// The plain score `L_i log p + div Pi_i`, where the prediction has one.
    pub score: Option<Xi>,
    /// `noise noise^T score` (and `L_j K_ij`, see above), per unit of time.
    pub preconditioned: Xi,
    /// The h-term of a bridge, already with the noise covariance applied: the part of the forward
    /// drift that a guidance weight multiplies.
    pub h: Option<Xi>,
}

/// What a process may have in closed form beside its [`Terms`]: declared, so that a sampler that
/// needs it is refused before the first step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedForm {
    /// [`ClosedForms::clean`].
    Clean,
    /// [`ClosedForms::posterior`].
    Posterior,
    /// [`ClosedForms::transition`].
    Transition,
    /// [`Terms::h`]: the process is a bridge to a known end.
    HTerm,
}

impl ClosedForm {
    /// Refuses a process that does not have it.
    ///
    /// # Errors `Unsupported`, naming the process and what it lacks.
    pub fn of(self, process: &dyn NoisingProcess) -> Result<()> {
        match process.closed_forms() {
            Some(forms) if forms.forms().contains(&self) => Ok(()),
            _ => Err(Error::Unsupported(format!("{} has no {}", process.name(), self.words()))),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Clean => "estimate of the clean state",
            Self::Posterior => "closed-form posterior",
            Self::Transition => "closed-form transition",
            Self::HTerm => "h-term: it is no bridge",
        }
    }
}

fn lacks<T>(form: ClosedForm) -> Result<T> {
    Err(Error::Unsupported(format!("the process has no {}", form.words())))
}

/// What a process knows in closed form: [`ClosedForms::forms`] says which of the others are there.
pub trait ClosedForms {
    /// The forms that are there.
    fn forms(&self) -> &'static [ClosedForm];

    /// The estimate of the clean state: for a last step without noise, clamping, self-conditioning.
    ///
    /// # Errors `Unsupported` where it is not declared; as for [`NoisingProcess::terms`].
    fn clean(&self, _state: &State, _t: f64, _prediction: &Prediction) -> Result<State> {
        lacks(ClosedForm::Clean)
    }

    /// A draw from `p(x_to | x_from, prediction)` with unit-scale noise `z`, already coloured
    /// ([`KernelLaw::unit_noise`]): ancestral, DDIM (scaled `z`) and discrete bridges.
    ///
    /// # Errors `Unsupported` where it is not declared; as for [`NoisingProcess::terms`].
    fn posterior(
        &self,
        _state: &State,
        _step: Step,
        _prediction: &Prediction,
        _z: &Xi,
    ) -> Result<State> {
        lacks(ClosedForm::Posterior)
    }

    /// A draw from the forward transition from time `from` up to time `to` (re-noising), with
    /// unit-scale noise `z`, already coloured.
    ///
    /// # Errors `Unsupported` where it is not declared.
    fn transition(&self, _state: &State, _from: f64, _to: f64, _z: &Xi) -> Result<State> {
        lacks(ClosedForm::Transition)
    }
}

impl dyn NoisingProcess + '_ {
    fn form(&self, form: ClosedForm) -> Result<&dyn ClosedForms> {
        form.of(self)?;
        Ok(self.closed_forms().expect("the form was found there"))
    }

    /// [`ClosedForms::clean`].
    ///
    /// # Errors
    /// As there; names the process that has none.
    pub fn clean(&self, state: &State, t: f64, prediction: &Prediction) -> Result<State> {
        self.form(ClosedForm::Clean)?.clean(state, t, prediction)
    }

    /// [`ClosedForms::posterior`].
    ///
    /// # Errors
    /// As there; names the process that has none.
    pub fn posterior(
        &self,
        state: &State,
        step: Step,
        prediction: &Prediction,
        z: &Xi,
    ) -> Result<State> {
        self.form(ClosedForm::Posterior)?.posterior(state, step, prediction, z)
    }

    /// [`ClosedForms::transition`].
    ///
    /// # Errors
    /// As there; names the process that has none.
    pub fn transition(&self, state: &State, from: f64, to: f64, z: &Xi) -> Result<State> {
        self.form(ClosedForm::Transition)?.transition(state, from, to, z)
    }

    /// [`NoisingProcess::kernel`] where it is Gaussian.
    pub fn gaussian_kernel(&self) -> Option<Arc<dyn KernelLaw>> {
        self.kernel().filter(|law| law.gaussian())
    }

    /// [`KernelLaw::level`]; `None` where there is no law either.
    pub fn level(&self, t: f64) -> Option<f64> {
        self.kernel()?.level(t)
    }

    /// [`KernelLaw::time_of_level`]; `None` where there is no law either.
    pub fn time_of_level(&self, level: f64) -> Option<f64> {
        self.kernel()?.time_of_level(level)
    }

    /// [`KernelLaw::known_end`]; `None` where there is no law either.
    ///
    /// # Errors
    /// As there.
    pub fn known_end(&self, state: &State) -> Result<Option<Xi>> {
        self.kernel().map_or(Ok(None), |law| law.known_end(state))
    }

    /// [`KernelLaw::unit_noise`]; white where there is no law.
    ///
    /// # Errors
    /// As there.
    pub fn unit_noise(&self, state: &State) -> Result<Vec<NoiseOperator>> {
        match self.kernel() {
            Some(law) => law.unit_noise(state),
            None => {
                let factors = self.fields().xi_shape(&state.spec()).len();
                Ok((0..factors).map(|_| NoiseOperator::White(1.0)).collect())
            }
        }
    }
}

/// A process that turns data into noise by moving points along the fields of a drive.
pub trait NoisingProcess: Send + std::fmt::Debug {
    /// Short name for messages.
    fn name(&self) -> String;

    /// The drive whose coefficients the noise lives in.
    fn drive(&self) -> &Arc<dyn Representation>;

    /// The fields of the drive.
    fn fields(&self) -> &dyn Drive {
        self.drive().drive().expect("a process is only built on a representation that drives")
    }

    /// Whether states of these shapes have what the process needs beside the value (the other end of a
    /// bridge), checked before any data are read.
    ///
    /// # Errors
    /// The reason, in words.
    fn accepts(&self, _spec: &StateSpec) -> Result<()> {
        Ok(())
    }

    /// States without lift on which the conformance suite tests this process: those of its drive,
    /// with what [`NoisingProcess::accepts`] asks for.
    fn sample_state(
        &self,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        self.drive().sample_state(batch, options, stream)
    }

    /// The time axis.
    fn time(&self) -> &TimeDomain;

    /// The noisy state at times `t` (`[B]`) and the quantities that a target is made of.
    ///
    /// # Errors
    /// When clean states lie in the singular set of the drive.
    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed>;

    /// Simulated steps that [`NoisingProcess::perturb`] takes; 0 when it is in closed form. They are
    /// what a noisy batch costs and by how much its law is off: `runner validate` and the manifest
    /// of a run name them, and checks of the law allow for them.
    fn simulated_steps(&self) -> usize {
        0
    }

    /// States drawn from the prior; shapes and context from the template.
    ///
    /// # Errors
    /// When the template lacks what the prior depends on.
    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State>;

    /// Log-density of the prior with respect to the drive's base measure, shape `[B]`; `None` when
    /// it does not exist (a bridge starts at a point).
    ///
    /// # Errors
    /// When there is a density that cannot be computed at this state.
    fn prior_log_prob(&self, state: &State) -> Result<Option<Tensor>>;

    /// Whether a model that predicts this kind can drive the process. What each purpose needs of a
    /// prediction ([`PredictionKind::can_drive`]) is another question. The default is for processes
    /// with a score: all but a velocity.
    ///
    /// # Errors `Unsupported` with the reason.
    fn accepts_prediction(&self, kind: PredictionKind) -> Result<()> {
        has_score(&self.name(), kind)
    }

    /// [`NoisingProcess::prior_log_prob`] of the point itself, whatever its unwrapped coordinates: where
    /// angles alias it is the sum over all branches.
    ///
    /// # Errors
    /// As for [`NoisingProcess::prior_log_prob`].
    fn prior_log_prob_of_point(&self, state: &State) -> Result<Option<Tensor>> {
        self.prior_log_prob(state)
    }

    /// What moves the point during a step, as rates per unit of time averaged over the step.
    ///
    /// # Errors
    /// When the prediction cannot drive this process.
    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms>;

    /// The law of the kernel, where the process has one in closed form.
    fn kernel(&self) -> Option<Arc<dyn KernelLaw>> {
        None
    }

    /// What is known in closed form beside the terms; `None` where nothing is.
    fn closed_forms(&self) -> Option<&dyn ClosedForms> {
        None
    }

    /// Whether the law of the process on states of these shapes is symmetric under this action, so
    /// that a configuration may claim it. [`probe_symmetry`] finds out for drift and white noise;
    /// the process adds what it knows of its prior and of the colour of its noise.
    ///
    /// # Errors `Unsupported` with the reason when it is not.
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()>;
}

/// Refuses the velocity for a process that has a score: it is no target there.
///
/// # Errors `Unsupported`.
pub fn has_score(process: &str, kind: PredictionKind) -> Result<()> {
    if kind != PredictionKind::Velocity {
        return Ok(());
    }
    let message = format!("{process} is driven by a score; a velocity is for flow matching");
    Err(Error::Unsupported(message))
}

/// Whether a drift in the coefficients and white noise in them are symmetric, found out on random
/// states of these shapes ([`Representation::random_state`]; to 1e-6, wider by the approximation
/// error of the action): the drive must know how to transport, transport must keep the length of
/// coefficients, and the drift at the moved point must be the moved drift. Sufficient for p_t to
/// stay invariant (spdm.md 1.2).
///
/// # Errors `Unsupported` with the reason when one of them is not.
pub fn probe_symmetry(
    drive: &dyn Drive,
    symmetry: &dyn Representation,
    spec: &StateSpec,
    drift: impl Fn(&State) -> Result<Xi>,
) -> Result<()> {
    let options = (Kind::Double, Device::Cpu);
    let mut stream = Stream::probe();
    let state = drive.lift(drive.random_state(spec, 8, options, &mut stream))?;
    let h = symmetry.group().sample(&symmetry.element_shape(&state)?, options, &mut stream);
    let here = drift(&state)?;
    let z = drive.horizontal(&state, &here.map(|a| stream.normal(&a.size(), options)));
    let (moved, moved_z) =
        (drive.transport(symmetry, &h, &state, &here)?, drive.transport(symmetry, &h, &state, &z)?);
    let there = drift(&symmetry.act(&h, &state)?)?;
    let norm = |a: &Tensor| a.norm().double_value(&[]);
    let allowed =
        |a: &Xi| (1e-6 + symmetry.approximation_error()) * (1.0 + norm(&a.square_norm().sqrt()));
    let refuse = |what: &str| {
        Err(Error::Unsupported(format!("{what} under {} ({})", symmetry.name(), drive.name())))
    };
    if norm(&(moved_z.square_norm().sqrt() - z.square_norm().sqrt())) > allowed(&z) {
        return refuse("white noise keeps its law only under isometries, and lengths change");
    }
    if norm(&there.sub(&moved).square_norm().sqrt()) > allowed(&here) {
        return refuse("the drift does not move with the point");
    }
    Ok(())
}
