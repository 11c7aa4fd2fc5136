//! The running process of a field.

use super::Beta;
use super::cache::Cache;
use crate::linear_algebra::Factor;
use crate::posterior::GaussianProcess;
use isotropy_core::representation::as_type;
use isotropy_core::schedule::Family;
use isotropy_core::{
    ClosedForm, ClosedForms, Error, Field, Kernel, KernelLaw, Moves, NoiseOperator, NoisingProcess,
    Perturbed, Prediction, PredictionKind, Representation, Result, Root, Scale, State, StateSpec,
    Step, Stream, TerminalMismatch, Terms, TimeDomain, Xi, probe_symmetry,
};
use isotropy_groups::representation::Translation;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// What the running process shares with the functions that models keep.
#[derive(Debug)]
struct Core {
    time: TimeDomain,
    limit: GaussianProcess,
    beta: Beta,
    std_floor: f64,
    cache: Cache,
}

/// The Ornstein-Uhlenbeck process of a field.
#[derive(Debug)]
pub struct FieldProcess {
    drive: Arc<dyn Representation>,
    core: Arc<Core>,
}

impl Core {
    /// `(mean, std)` of the kernel, with the floor.
    fn mean_std(&self, t: f64) -> (f64, f64) {
        let (mean, std) = self.beta.mean_std(t);
        (mean, std.max(self.std_floor))
    }

    /// As [`Core::mean_std`] for times `[B]` or `[B, 1, ..]`, in a kind.
    fn mean_std_of(&self, t: &Tensor, kind: Kind) -> (Tensor, Tensor) {
        let integral = self.beta.integrals(t);
        let mean = (&integral * -0.5).exp();
        let std = integral.neg().expm1().neg().sqrt().clamp_min(self.std_floor);
        (mean.to_kind(kind), std.to_kind(kind))
    }

    /// What `read` gives on the factorised covariance at the points of a state and its root.
    fn with<T>(
        &self,
        state: &State,
        read: impl FnOnce(&Factor, &mut dyn FnMut(Kind) -> Root) -> T,
    ) -> Result<T> {
        let index = &state.given(State::INDEX)?.tensor;
        // Nothing here is differentiated by the points.
        tch::no_grad(|| self.cache.with(index, state.mask(), || self.limit.factor(state), read))
    }

    /// The root of the covariance at the points of a state, in its kind.
    fn root(&self, state: &State) -> Result<Root> {
        self.with(state, |_, root| root(state.options().0))
    }

    fn kernel(&self, root: Option<Root>, mean: Scale, std: Scale) -> Kernel {
        let shift = match &mean {
            Scale::Same(a) => Scale::Same(1.0 - a),
            Scale::Each(a) => Scale::Each(1.0 - a),
        };
        let kernel = Kernel::new(vec![mean], vec![std]).coloured(vec![root]);
        if self.limit.has_mean() { kernel.shifted(vec![shift]) } else { kernel }
    }
}

impl KernelLaw for Core {
    fn time(&self) -> &TimeDomain {
        &self.time
    }

    fn scales(&self, t: f64) -> Kernel {
        let (mean, std) = self.mean_std(t);
        self.kernel(None, Scale::Same(mean), Scale::Same(std))
    }

    fn tensors(&self, t: &Tensor) -> Kernel {
        let (mean, std) = self.mean_std_of(t, t.kind());
        self.kernel(None, Scale::Each(mean), Scale::Each(std))
    }

    fn family(&self) -> Option<Family> {
        Some(Family::VariancePreserving)
    }

    fn coloured_by_state(&self) -> bool {
        true
    }

    fn at(&self, state: &State, t: f64) -> Result<Kernel> {
        let (mean, std) = self.mean_std(t);
        Ok(self.kernel(Some(self.root(state)?), Scale::Same(mean), Scale::Same(std)))
    }

    fn at_times(&self, state: &State, t: &Tensor) -> Result<Kernel> {
        let (mean, std) = self.mean_std_of(&t.reshape([-1, 1, 1]), state.options().0);
        Ok(self.kernel(Some(self.root(state)?), Scale::Each(mean), Scale::Each(std)))
    }

    /// The limiting mean at the points that are there.
    fn known_end(&self, state: &State) -> Result<Option<Xi>> {
        let Some(mean) = self.limit.mean_like(state.x()) else { return Ok(None) };
        let mean = mean.expand_as(state.x());
        Ok(Some(shown(state, &mean).into()))
    }

    fn terminal_mismatch(&self) -> Option<TerminalMismatch> {
        let (mean, std) = self.mean_std(self.time.prior);
        Some(TerminalMismatch { mean, std })
    }
}

/// `a` with zeros at padding.
fn shown(state: &State, a: &Tensor) -> Tensor {
    match state.mask() {
        Some(mask) => {
            let there = mask.unsqueeze(-1).gt(0.5);
            a.where_self(&there, &Tensor::zeros([1, 1, 1], (a.kind(), a.device())))
        }
        None => a.shallow_clone(),
    }
}

impl FieldProcess {
    /// The process on a drive: plain translations of the values.
    ///
    /// # Errors
    /// When the drive is another one.
    pub fn new(
        drive: Arc<dyn Representation>,
        limit: GaussianProcess,
        beta: Beta,
        std_floor: f64,
    ) -> Result<Self> {
        if as_type::<Translation>(drive.as_ref()) != Some(&Translation::new(false)) {
            let message = format!(
                "noise with the covariance of a kernel is added to values, which '{}' does not do",
                drive.name()
            );
            return Err(Error::config("", message).with_help(
                "use the drive {\"type\": \"translations\"}; for values on a sphere the process `brownian`",
            ));
        }
        let time = beta.time();
        let core = Core { time, limit, beta, std_floor, cache: Cache::default() };
        Ok(Self { drive, core: Arc::new(core) })
    }

    /// The Gaussian process of the limit.
    pub fn limit(&self) -> &GaussianProcess {
        &self.core.limit
    }

    /// The rate and its integral.
    pub fn beta(&self) -> &Beta {
        &self.core.beta
    }

    /// The values of a state with zeros at padding.
    fn values(state: &State) -> Xi {
        shown(state, state.x()).into()
    }

    /// Values counted from the limiting mean.
    fn deviation(&self, state: &State) -> Tensor {
        match self.core.limit.mean_like(state.x()) {
            Some(mean) => shown(state, &(state.x() - mean)),
            None => shown(state, state.x()),
        }
    }

    /// `K score` at a time.
    fn covariance_score(&self, state: &State, t: f64, prediction: &Prediction) -> Result<Tensor> {
        self.accepts_prediction(prediction.kind)?;
        let kernel = self.core.at(state, t)?;
        let tau = kernel.centred(&Self::values(state), self.core.known_end(state)?.as_ref());
        let score = kernel.covariance_score(prediction, Some(&tau))?;
        Ok(shown(state, score.single()))
    }

    /// Components of values for points of `p` coordinates, and whether they are vectors, for samples.
    fn sample_components(&self, p: i64) -> i64 {
        let kernel = self.core.limit.kernel();
        kernel.outputs(p).unwrap_or_else(|| match self.core.limit.mean().len() {
            0 | 1 => p,
            n => n as i64,
        })
    }
}

impl NoisingProcess for FieldProcess {
    fn name(&self) -> String {
        format!("Ornstein-Uhlenbeck to the Gaussian process {}", self.core.limit.kernel().name())
    }

    fn drive(&self) -> &Arc<dyn Representation> {
        &self.drive
    }

    /// Values `[B, N, d]` with their points in the context field `index`, of a number of coordinates and of components
    /// that kernel and mean take.
    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        let refuse = |why: String| Err(Error::Unsupported(format!("{}: {why}", self.name())));
        let index = match spec.given(State::INDEX) {
            Some(index) if index.index_axis.is_some() => index,
            _ => {
                return refuse(
                    "the state needs its points in a context field 'index' along the index axis"
                        .into(),
                );
            }
        };
        if spec.value.index_axis != Some(1) || spec.value.shape.len() != 2 {
            return refuse(format!(
                "values must be [B, N, d] with the index set on axis 1, not of shape {:?} without the batch",
                spec.value.shape
            ));
        }
        let (Some(&p), d) = (index.shape.last(), spec.value.shape[1]) else {
            return refuse("points have no coordinates".into());
        };
        self.core.limit.accepts(p, d)
    }

    fn sample_state(
        &self,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        let p = [2, 1, 3]
            .into_iter()
            .find(|&p| self.core.limit.accepts(p, self.sample_components(p)).is_ok())?;
        let d = self.sample_components(p);
        let points = 4;
        let index = stream.normal(&[batch, points, p], options) * 2.0;
        let mask = Tensor::ones([batch, points], options);
        // Every third function lacks its last point.
        let _ = mask.select(1, points - 1).slice(0, 0, batch, 3).fill_(0.0);
        let values = stream.normal(&[batch, points, d], options) * mask.unsqueeze(-1);
        let moves = if d == p && d > 1 { Moves::Vector } else { Moves::Scalar };
        Some(
            State::new(Field::new(values, moves).indexed(1))
                .with_context(State::INDEX, Field::new(index, Moves::Point).indexed(1))
                .with_context(State::MASK, Field::new(mask, Moves::Fixed).indexed(1)),
        )
    }

    fn time(&self) -> &TimeDomain {
        &self.core.time
    }

    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let kernel = self.core.at_times(clean, t)?;
        let z = shown(clean, &stream.normal(&clean.x().size(), clean.options()));
        let colour = kernel.colour[0].as_ref().expect("the kernel of a field is coloured");
        let coloured = colour.apply(&z);
        let values = Self::values(clean);
        let mut noisy = kernel.mean[0].times(values.single()) + kernel.std[0].times(&coloured);
        if let (Some(end), Some(shift)) = (self.core.known_end(clean)?, &kernel.shift) {
            noisy = &noisy + shift[0].times(end.single());
        }
        Ok(Perturbed {
            noisy: clean.with_value(noisy.shallow_clone()),
            kernel,
            noise: Some(z.into()),
            velocity: None,
            clean: Some(values),
            coordinates: Some(noisy.into()),
            orientation: None,
        })
    }

    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let z = shown(template, &stream.normal(&template.x().size(), template.options()));
        let mut values = Xi::from(self.core.root(template)?.apply(&z));
        if let Some(end) = self.core.known_end(template)? {
            values = values.add(&end);
        }
        Ok(template.with_value(values.single().shallow_clone()))
    }

    /// With respect to Lebesgue measure of the values at the points that are there.
    fn prior_log_prob(&self, state: &State) -> Result<Option<Tensor>> {
        let factor = self.core.with(state, |factor, _| factor.shallow_clone())?;
        let log = factor.log_prob(&self.deviation(state));
        Ok(Some(log.to_kind(state.options().0)))
    }

    fn accepts_prediction(&self, kind: PredictionKind) -> Result<()> {
        match kind {
            PredictionKind::Noise
            | PredictionKind::Score
            | PredictionKind::PreconditionedScore
            | PredictionKind::CovarianceScore
            | PredictionKind::Clean => Ok(()),
            PredictionKind::Field
            | PredictionKind::FieldSum
            | PredictionKind::Logits
            | PredictionKind::Velocity => Err(Error::Unsupported(format!(
                "{} takes covariance-score, preconditioned-score, score, noise or clean, not {kind:?}",
                self.name()
            ))),
        }
    }

    fn kernel(&self) -> Option<Arc<dyn KernelLaw>> {
        Some(Arc::clone(&self.core) as Arc<dyn KernelLaw>)
    }

    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        self.accepts_prediction(prediction.kind)?;
        let rate = self.core.beta.of_step(step);
        let kernel = self.core.at(state, step.from)?;
        let tau = kernel.centred(&Self::values(state), self.core.known_end(state)?.as_ref());
        let preconditioned = kernel.covariance_score(prediction, Some(&tau))?;
        let score = kernel.score(prediction, Some(&tau))?;
        let root = kernel.colour[0].clone().expect("the kernel of a field is coloured");
        Ok(Terms {
            drift: (self.deviation(state) * (-0.5 * rate)).into(),
            // A swapped step over a first stretch without noise may come out below zero by rounding.
            noise: vec![NoiseOperator::Coloured { scale: rate.max(0.0).sqrt(), root }],
            preconditioned: preconditioned.scale(rate).map(|a| shown(state, a)),
            score: Some(score.map(|a| shown(state, a))),
            h: None,
        })
    }

    /// Drift and prior need a mean that the action leaves alone (0 for vectors under rotations), the noise a kernel with
    /// `k(g x, g x') = rho(g) k(x, x') rho(g)^T`. Both are tried on random states of these shapes.
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        self.accepts(spec)?;
        symmetry.accepts(spec)?;
        let pull = |state: &State| Ok(Xi::from(self.deviation(state) * -0.5));
        probe_symmetry(self.fields(), symmetry, spec, pull).map_err(|error| match error {
            Error::Unsupported(reason) if self.core.limit.has_mean() => {
                Error::Unsupported(format!(
                    "the limiting mean {:?} is not left alone: {reason}",
                    self.core.limit.mean()
                ))
            }
            other => other,
        })?;
        let options = (Kind::Double, Device::Cpu);
        let mut stream = Stream::probe();
        let state = State::random(spec, 4, options, &mut stream);
        let h = symmetry.group().sample(&symmetry.element_shape(&state)?, options, &mut stream);
        let moved = symmetry.act(&h, &state)?;
        let covector = stream.normal(&state.x().size(), options);
        let push = |a: &Tensor| symmetry.act_tangent(&h, &state, a);
        // K acts on covectors, which orthogonal actions move as vectors.
        let here = push(&self.core.root(&state)?.covariance(&covector))?;
        let there = self.core.root(&moved)?.covariance(&push(&covector)?);
        let error = (here - there).abs().max().double_value(&[]);
        if error > 1e-6 + symmetry.approximation_error() {
            return Err(Error::Unsupported(format!(
                "the kernel {} is not equivariant under {}: k(g x, g x') differs from rho(g) k(x, x') rho(g)^T",
                self.core.limit.kernel().name(),
                symmetry.name()
            )));
        }
        Ok(())
    }

    fn closed_forms(&self) -> Option<&dyn ClosedForms> {
        Some(self)
    }
}

impl ClosedForms for FieldProcess {
    fn forms(&self) -> &'static [ClosedForm] {
        &[ClosedForm::Clean, ClosedForm::Posterior, ClosedForm::Transition]
    }

    /// By Tweedie's formula.
    fn clean(&self, state: &State, t: f64, prediction: &Prediction) -> Result<State> {
        self.accepts_prediction(prediction.kind)?;
        let kernel = self.core.at(state, t)?;
        let tau = kernel.centred(&Self::values(state), self.core.known_end(state)?.as_ref());
        let clean = kernel.clean(prediction, &tau)?;
        Ok(state.with_value(shown(state, clean.single())))
    }

    /// The Gaussian `p(y_to | y_from, y_0)` at the estimate of `y_0`. At `t0` it is the estimate itself.
    fn posterior(
        &self,
        state: &State,
        step: Step,
        prediction: &Prediction,
        z: &Xi,
    ) -> Result<State> {
        let preconditioned = self.covariance_score(state, step.from, prediction)?;
        let (mean_t, std_t) = self.core.mean_std(step.from);
        let (mean_s, std_s) = self.core.beta.mean_std(step.to);
        let (alpha, added) = self.transition_scales(step.to, step.from);
        let of_noisy = alpha * (std_s / std_t).powi(2);
        let of_clean = mean_s * added / (std_t * std_t);
        // y_0 = (y + std_t^2 K score) / mean_t, put in place; all from the limiting mean.
        let displacement = self.deviation(state) * (of_noisy + of_clean / mean_t - 1.0)
            + preconditioned * (of_clean * std_t * std_t / mean_t)
            + shown(state, z.single()) * (added.sqrt() * std_s / std_t);
        Ok(state.with_value(state.x() + displacement))
    }

    fn transition(&self, state: &State, from: f64, to: f64, z: &Xi) -> Result<State> {
        let (alpha, added) = self.transition_scales(from, to);
        let displacement =
            self.deviation(state) * (alpha - 1.0) + shown(state, z.single()) * added.sqrt();
        Ok(state.with_value(state.x() + displacement))
    }
}

impl FieldProcess {
    /// Factor and variance of the transition between two times.
    fn transition_scales(&self, from: f64, to: f64) -> (f64, f64) {
        let difference = self.core.beta.integral(to) - self.core.beta.integral(from);
        ((-0.5 * difference).exp(), -(-difference).exp_m1())
    }
}
