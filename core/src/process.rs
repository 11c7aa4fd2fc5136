//! Noising processes: how noise enters the coefficients of a drive, and what a sampler needs to
//! take it out again.

use crate::{
    Drive, Error, Kernel, Perturbed, Prediction, PredictionKind, Representation, Result, Root,
    Scale, State, StateSpec, Stream, Xi,
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
    /// The scale `g`.
    pub fn scale(&self) -> f64 {
        match self {
            Self::White(scale) | Self::Coloured { scale, .. } => *scale,
        }
    }

    /// White noise to noise.
    pub fn apply(&self, z: &Tensor) -> Tensor {
        match self {
            Self::White(scale) => z * *scale,
            Self::Coloured { scale, root } => root.apply(z) * *scale,
        }
    }
}

/// What moves a point at a time, separately and per factor, as rates per unit of time. The forward
/// process is `dxi = (drift + h) dt + noise dW`; its reversal subtracts drift and h-term and adds
/// `preconditioned` (the noise covariance applied to the score). All of them are horizontal.
#[derive(Debug)]
pub struct Terms {
    /// Forward drift in the coefficients.
    pub drift: Xi,
    /// Noise operator of each factor.
    pub noise: Vec<NoiseOperator>,
    /// The plain score, where the prediction has one.
    pub score: Option<Xi>,
    /// `noise noise^T score`, per unit of time.
    pub preconditioned: Xi,
    /// The h-term of a bridge, already with the noise covariance applied: the part of the forward
    /// drift that a guidance weight multiplies.
    pub h: Option<Xi>,
}

/// By how much the law at the time at which samplers start differs from the prior, for a process
/// whose kernel and prior are Gaussian in the coordinates. A likelihood is off by as much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TerminalMismatch {
    /// Factor with which the clean coordinates are still there (0 when the prior is reached), counted
    /// from the centre of the prior.
    pub mean: f64,
    /// Standard deviation of the kernel over that of the prior (1 when the prior is reached).
    pub std: f64,
}

impl TerminalMismatch {
    /// Relative entropy of the terminal law of one clean coordinate to the prior, in nats:
    /// `KL(N(mean d, std^2) || N(0, 1))` with `d` the distance of the clean coordinate from the
    /// centre of the prior in units of the prior's standard deviation. Averaged over data and summed
    /// over coordinates it bounds that of the whole law (relative entropy is convex).
    pub fn nats(&self, distance: f64) -> f64 {
        let excess = self.std * self.std - 1.0;
        0.5 * (excess - excess.ln_1p() + (self.mean * distance).powi(2))
    }
}

/// What a process may have in closed form beside its [`Terms`]: declared, so that a sampler that
/// needs it is refused before the first step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedForm {
    /// [`NoisingProcess::clean`].
    Clean,
    /// [`NoisingProcess::posterior`].
    Posterior,
    /// [`NoisingProcess::transition`].
    Transition,
    /// [`Terms::h`]: the process is a bridge to a known end.
    HTerm,
}

impl ClosedForm {
    /// Refuses a process that does not have it.
    ///
    /// # Errors `Unsupported`, naming the process and what it lacks.
    pub fn of(self, process: &dyn NoisingProcess) -> Result<()> {
        if process.closed_forms().contains(&self) {
            return Ok(());
        }
        let what = match self {
            Self::Clean => "estimate of the clean state",
            Self::Posterior => "closed-form posterior",
            Self::Transition => "closed-form transition",
            Self::HTerm => "h-term: it is no bridge",
        };
        Err(missing(process.name(), what))
    }
}

fn missing(process: String, what: &str) -> Error {
    Error::Unsupported(format!("{process} has no {what}"))
}

/// The kernel as a function of the times of a batch, given in a shape that broadcasts against the
/// coefficients (`[B, 1, ..]`).
pub type KernelOfTime = Arc<dyn Fn(&Tensor) -> Kernel + Send + Sync>;

/// The kernel as a function of a state and the times `[B]` of its batch, with the colour that its points
/// give it.
pub type KernelOfState = Arc<dyn Fn(&State, &Tensor) -> Result<Kernel> + Send + Sync>;

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

    /// Simulated steps that [`NoisingProcess::perturb`] takes; 0 when it is in closed form.
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

    /// By how much the law at `time().prior` is not the prior; `None` where the process cannot say.
    fn terminal_mismatch(&self) -> Option<TerminalMismatch> {
        None
    }

    /// Whether a model that predicts this kind can drive the process. What each purpose needs of a
    /// prediction ([`PredictionKind::can_drive`]) is another question.
    ///
    /// # Errors `Unsupported` with the reason.
    fn accepts_prediction(&self, _kind: PredictionKind) -> Result<()> {
        Ok(())
    }

    /// The coordinates of the known end that [`Kernel::shift`] multiplies, batch first: the limiting
    /// mean of an Ornstein-Uhlenbeck or Gaussian process, the other end of a bridge. `None` where the
    /// kernel has no shift.
    ///
    /// # Errors
    /// When the state lacks what the end depends on.
    fn known_end(&self, _state: &State) -> Result<Option<Xi>> {
        Ok(None)
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

    /// The kernel at time `t`, if it is Gaussian in the coefficients.
    fn kernel(&self, t: f64) -> Option<Kernel>;

    /// The kernel at time `t` for the points of a state, where its colour depends on them (on the index
    /// set of a field); else [`NoisingProcess::kernel`].
    ///
    /// # Errors
    /// When the state lacks what the kernel depends on.
    fn kernel_at(&self, _state: &State, t: f64) -> Result<Option<Kernel>> {
        Ok(self.kernel(t))
    }

    /// The kernel as a function that a model can keep: preconditioners (EDM, DDBM) scale inputs and
    /// outputs by it, for the times of a batch. Without a colour that depends on the state.
    fn kernel_of_time(&self) -> Option<KernelOfTime> {
        None
    }

    /// As [`NoisingProcess::kernel_of_time`], with the colour of the noise at the points of a state and
    /// scales with as many axes as its value, for models that need both: oracles of fields. `None` where
    /// the process has no Gaussian kernel.
    fn kernel_of_state(&self) -> Option<KernelOfState> {
        self.kernel(self.time().end)?;
        let of_time = self.kernel_of_time()?;
        Some(Arc::new(move |state: &State, t: &Tensor| {
            let mut shape = vec![1; state.x().dim()];
            shape[0] = -1;
            Ok(of_time(&t.reshape(&shape)))
        }))
    }

    /// Whether the noise of some factor has a colour, whatever the state: the default looks at the
    /// kernel.
    fn coloured(&self) -> bool {
        self.kernel(self.time().end).is_some_and(|kernel| kernel.colour.iter().any(Option::is_some))
    }

    /// Where a process keeps the standard deviation of its kernel from falling further at the data end, the value at
    /// which it does. The mean does not know of it.
    fn std_floor(&self) -> f64 {
        0.0
    }

    /// The noise level of the first factor at time `t`: `std / mean` of the kernel.
    fn noise_level(&self, t: f64) -> Option<f64> {
        match (self.kernel(t)?.mean.first()?, self.kernel(t)?.std.first()?) {
            (Scale::Same(mean), Scale::Same(std)) => Some(std / mean),
            _ => None,
        }
    }

    /// The time at which [`NoisingProcess::noise_level`] takes a value, for grids that are spaced in
    /// the noise level (Karras); by bisection, so the level has to grow with time. Clamped to the
    /// time axis.
    fn time_of_noise(&self, level: f64) -> Option<f64> {
        let (mut low, mut high) = (self.time().start, self.time().end);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if self.noise_level(middle)? < level { low = middle } else { high = middle }
        }
        Some(0.5 * (low + high))
    }

    /// Unit-scale noise of this process at `state` from standard normal numbers: coloured by the
    /// root of the kernel, not yet horizontal. White processes return `z`.
    ///
    /// # Errors
    /// When the state lacks what the colour depends on.
    fn colour(&self, _state: &State, z: &Xi) -> Result<Xi> {
        Ok(z.clone())
    }

    /// What of [`NoisingProcess::clean`], [`NoisingProcess::posterior`],
    /// [`NoisingProcess::transition`] and [`Terms::h`] this process has.
    fn closed_forms(&self) -> &'static [ClosedForm] {
        &[]
    }

    /// The estimate of the clean state: for a last step without noise, clamping, self-conditioning.
    ///
    /// # Errors `Unsupported` when the process has none.
    fn clean(&self, _state: &State, _t: f64, _prediction: &Prediction) -> Result<State> {
        Err(missing(self.name(), "estimate of the clean state"))
    }

    /// A draw from `p(x_to | x_from, prediction)` with unit-scale noise `z`, already coloured
    /// ([`Noise::unit`](crate::Noise::unit)): ancestral, DDIM (scaled `z`) and discrete bridges.
    ///
    /// # Errors `Unsupported` when the process has none.
    fn posterior(
        &self,
        _state: &State,
        _step: Step,
        _prediction: &Prediction,
        _z: &Xi,
    ) -> Result<State> {
        Err(missing(self.name(), "closed-form posterior"))
    }

    /// A draw from the forward transition from time `from` up to time `to` (re-noising), with
    /// unit-scale noise `z`, already coloured.
    ///
    /// # Errors `Unsupported` when the process has none.
    fn transition(&self, _state: &State, _from: f64, _to: f64, _z: &Xi) -> Result<State> {
        Err(missing(self.name(), "closed-form transition"))
    }

    /// Whether the law of the process on states of these shapes is symmetric under this action, so
    /// that a configuration may claim it. [`probe_symmetry`] finds out for drift and white noise;
    /// the process adds what it knows of its prior and of the colour of its noise.
    ///
    /// # Errors `Unsupported` with the reason when it is not.
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()>;
}

/// Whether a drift in the coefficients and white noise in them are symmetric, found out on random
/// states of these shapes (to 1e-6, wider by the approximation error of the action): the drive must
/// know how to transport, transport must keep the length of coefficients, and the drift at the moved
/// point must be the moved drift. Sufficient for p_t to stay invariant (spdm.md 1.2).
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
    let state = drive.lift(State::random(spec, 8, options, &mut stream))?;
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
