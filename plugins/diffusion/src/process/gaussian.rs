//! A process whose kernel is Gaussian in the flow coordinates of its drive.

use super::anchor::{Anchor, visible};
use super::law::Law;
use crate::clock::Clock;
use isotropy_core::{
    ClosedForm, ClosedForms, Error, FlowCoordinates, Kernel, KernelLaw, NoiseOperator,
    NoisingProcess, Perturbed, Prediction, PredictionKind, Representation, Result, Root, Scale,
    State, StateSpec, Step, Stream, TerminalMismatch, Terms, TimeDomain, Xi, broadcast, config,
    has_score, probe_symmetry, schedule::Family,
};
use std::f64::consts::PI;
use std::sync::Arc;
use tch::Tensor;

/// The factor of the clean coordinates in a variance-preserving kernel.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum MeanFactor {
    /// `sqrt(alpha_bar)`: the marginal of the process that the samplers reverse.
    #[default]
    SqrtAlphaBar,
    /// `alpha_bar`, as the released 2-D script has it. Wrong: with the variance `1 - alpha_bar` it
    /// is the marginal of no process that the samplers reverse, and the samples are off in radius.
    /// Kept to repeat published numbers.
    AlphaBar,
}

/// Where a sampler starts.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Prior {
    /// Centred at `tau = 0`.
    #[default]
    Origin,
    /// Around the template, `tau = tau(template) + std z`: for coordinates without a common origin,
    /// such as the angle of an image. It has no log-density.
    Template,
}

/// A Gaussian kernel in flow coordinates: [`VpConfig`](super::VpConfig),
/// [`SubVpConfig`](super::SubVpConfig), [`VeConfig`](super::VeConfig), and
/// [`LangevinConfig`](super::LangevinConfig) where the invariant law is normal.
///
/// With the invariant law `N(c, S^2)` (`S` diagonal; `c = 0`, `S = 1` but for Langevin)
/// `tau_t = mean tau_0 + (1 - mean) c + std S z`: the kernel has the known end `c` and the colour `S`.
#[derive(Debug)]
pub struct Gaussian {
    drive: Arc<dyn Representation>,
    clock: Arc<Clock>,
    law: Law,
    prior: Prior,
    anchor: Option<Anchor>,
    /// Factors of the frame.
    factors: usize,
}

/// The law of the kernel of [`Gaussian`].
#[derive(Debug)]
struct GaussianLaw {
    drive: Arc<dyn Representation>,
    clock: Arc<Clock>,
    law: Law,
    anchor: Option<Anchor>,
    factors: usize,
    terminal: Option<TerminalMismatch>,
}

/// The kernel with the same scales in all factors, and the colour and the known end of the anchor.
fn kernel_of(mean: Scale, std: Scale, anchor: Option<&Anchor>, factors: usize) -> Kernel {
    let shift = match &mean {
        Scale::Same(mean) => Scale::Same(1.0 - mean),
        Scale::Each(mean) => Scale::Each(1.0 - mean),
    };
    let kernel = Kernel::new(vec![mean; factors], vec![std; factors]);
    match anchor {
        Some(anchor) => kernel.coloured(anchor.colour()).shifted(vec![shift; factors]),
        None => kernel,
    }
}

impl KernelLaw for GaussianLaw {
    fn time(&self) -> &TimeDomain {
        &self.clock.time
    }

    fn scales(&self, t: f64) -> Kernel {
        let (mean, std) = self.law.scales(self.clock.at(t));
        kernel_of(Scale::Same(mean), Scale::Same(std), self.anchor.as_ref(), self.factors)
    }

    fn tensors(&self, t: &Tensor) -> Kernel {
        let (mean, std) = self.law.tensors(self.clock.gather(t, (t.kind(), t.device())));
        kernel_of(Scale::Each(mean), Scale::Each(std), self.anchor.as_ref(), self.factors)
    }

    fn family(&self) -> Option<Family> {
        match self.law {
            Law::Preserving(MeanFactor::SqrtAlphaBar) => Some(Family::VariancePreserving),
            Law::Exploding => Some(Family::VarianceExploding),
            Law::Preserving(MeanFactor::AlphaBar) | Law::SubPreserving => None,
        }
    }

    fn known_end(&self, state: &State) -> Result<Option<Xi>> {
        let fields = self.drive.drive().expect("a process is only built on a drive");
        self.anchor.as_ref().map(|anchor| anchor.end(fields, state)).transpose()
    }

    fn terminal_mismatch(&self) -> Option<TerminalMismatch> {
        self.terminal
    }
}

/// What a prediction says about a point.
struct Reading {
    /// Coordinates from the centre of the drift (averaged over branches where the model says so).
    tau: Xi,
    score: Xi,
    /// `S^2 score`.
    preconditioned: Xi,
}

/// The flow coordinates that a kernel of this plugin needs.
pub(super) fn coordinates_of(drive: &dyn Representation) -> Result<&dyn FlowCoordinates> {
    let fields = drive.drive().ok_or_else(|| {
        Error::config("", format!("{} cannot drive: it has no frame of fields", drive.name()))
    })?;
    fields.coordinates().ok_or_else(|| {
        let message =
            format!("a process in flow coordinates needs some; {} has none", fields.frame());
        Error::config("", message)
    })
}

impl Gaussian {
    /// The process on a drive.
    ///
    /// # Errors
    /// When the drive has no flow coordinates.
    pub(super) fn new(
        drive: Arc<dyn Representation>,
        clock: Clock,
        law: Law,
        prior: Prior,
    ) -> Result<Self> {
        let factors = coordinates_of(drive.as_ref())?.names().len();
        Ok(Self { drive, clock: Arc::new(clock), law, prior, anchor: None, factors })
    }

    /// The same process with another invariant law.
    pub(super) fn anchored(mut self, anchor: Anchor) -> Self {
        self.anchor = anchor.matters().then_some(anchor);
        self
    }

    fn coordinates(&self) -> &dyn FlowCoordinates {
        self.fields().coordinates().expect("checked when the process was built")
    }

    /// Whether the drift pulls towards a centre.
    fn pulls(&self) -> bool {
        self.law != Law::Exploding
    }

    /// `(mean, std)` of the kernel at a time.
    fn mean_std(&self, t: f64) -> (f64, f64) {
        self.law.scales(self.clock.at(t))
    }

    /// `S z`.
    fn coloured(&self, z: &Xi) -> Xi {
        self.through(z, Root::apply)
    }

    /// Applies an operation of the root where there is one.
    fn through(&self, xi: &Xi, f: impl Fn(&Root, &Tensor) -> Tensor) -> Xi {
        let Some(anchor) = &self.anchor else { return xi.clone() };
        let one = |(x, root): (&Tensor, &Option<Root>)| match root {
            Some(root) => f(root, x),
            None => x.shallow_clone(),
        };
        Xi(xi.0.iter().zip(&anchor.colour()).map(one).collect())
    }

    /// The centre of the drift, where it is not the origin.
    fn centre(&self, state: &State) -> Result<Option<Xi>> {
        match &self.anchor {
            Some(anchor) if anchor.has_mean() => anchor.end(self.fields(), state).map(Some),
            _ => Ok(None),
        }
    }

    /// The orientation of the fields at the unwrapped coordinates of the state against those on the
    /// principal branch; `None` is +1. A state that carries no lift is on the principal branch.
    fn orientation(&self, state: &State) -> Option<Xi> {
        if state.lift.is_empty() {
            return None;
        }
        let coordinates = self.coordinates();
        coordinates.orientation(&coordinates.unwrapped(state))
    }

    fn read(&self, state: &State, t: f64, prediction: &Prediction) -> Result<Reading> {
        self.accepts_prediction(prediction.kind)?;
        let (mean, std) = self.mean_std(t);
        let (mean, std) = (Scale::Same(mean), Scale::Same(std));
        let kernel = kernel_of(mean, std, self.anchor.as_ref(), self.factors);
        let centre = self.centre(state)?;
        let from_centre = |tau: Xi| match &centre {
            Some(centre) => tau.sub(centre),
            None => tau,
        };
        let (tau, score) = if prediction.kind == PredictionKind::Field {
            let (tau, score) = (prediction.heads[0].clone(), kernel.score(prediction, None)?);
            match self.orientation(state) {
                Some(eps) => (unfolded(tau, &eps), unfolded(score, &eps)),
                None => (tau, score),
            }
        } else {
            let tau = self.coordinates().unwrapped(state);
            let score = kernel.score(prediction, Some(&kernel.centred(&tau, centre.as_ref())))?;
            (tau, self.fields().horizontal(state, &score))
        };
        let preconditioned = self.through(&score, Root::covariance);
        Ok(Reading { tau: from_centre(tau), score, preconditioned })
    }

    /// `factor E[tau/2 + score]` of a [`PredictionKind::FieldSum`].
    fn read_sum(&self, state: &State, t: f64, prediction: &Prediction, factor: f64) -> Result<Xi> {
        self.accepts_prediction(prediction.kind)?;
        let sum = prediction.heads[0].scale(factor / self.mean_std(t).1);
        Ok(match self.orientation(state) {
            Some(eps) => unfolded(sum, &eps),
            None => sum,
        })
    }

    /// Moves by a displacement in the coordinates.
    fn moved(&self, state: &State, displacement: &Xi) -> State {
        self.fields().flow(state, displacement)
    }

    fn prior_std(&self) -> f64 {
        self.law.prior_std(&self.clock)
    }

    /// The log-density of the prior at coordinates of a state, in the measure of the point.
    fn prior_at(&self, state: &State, mut tau: Xi) -> Option<Tensor> {
        if self.prior == Prior::Template {
            return None;
        }
        let std = self.prior_std();
        let each = visible(self.fields(), state, &tau);
        let sum = |a: Tensor| a.flatten(1, -1).sum_dim_intlist(1, false, None);
        let mut constant = each.0.iter().map(|each| sum(each.shallow_clone())).sum::<Tensor>()
            * (0.5 * (2.0 * PI).ln() + std.ln());
        if let Some(anchor) = &self.anchor {
            for (each, log_std) in each.0.iter().zip(anchor.log_std(state.options())) {
                constant += sum(each * log_std);
            }
            if let Some(centre) = self.centre(state).ok()? {
                tau = tau.sub(&centre);
            }
            tau = self.through(&tau, Root::solve);
        }
        let quadratic = tau.square_norm() * (-0.5 / (std * std));
        Some(quadratic - constant - self.coordinates().log_abs_det(state))
    }
}

/// Turns coefficients of the fields on the principal branch into those of the fields with the
/// orientation `eps` against them.
fn unfolded(xi: Xi, eps: &Xi) -> Xi {
    xi.zip(eps, |a, eps| a * eps)
}

impl NoisingProcess for Gaussian {
    fn name(&self) -> String {
        let law = if self.anchor.is_some() { "Ornstein-Uhlenbeck" } else { self.law.name() };
        format!("{law} in {}", self.fields().frame())
    }

    fn drive(&self) -> &Arc<dyn Representation> {
        &self.drive
    }

    fn time(&self) -> &TimeDomain {
        &self.clock.time
    }

    fn perturb(&self, clean: &State, t: &Tensor, stream: &mut Stream) -> Result<Perturbed> {
        let (fields, coordinates) = (self.fields(), self.coordinates());
        let clean_tau = coordinates.unwrapped(clean);
        let z = clean_tau.map(|tau| stream.normal(&tau.size(), (tau.kind(), tau.device())));
        let noise = fields.horizontal(clean, &z);

        let (mean, std) = self.law.tensors(self.clock.gather(t, clean.options()));
        let each = |scale: &Tensor| -> Vec<Tensor> {
            clean_tau.0.iter().map(|tau| broadcast(scale, tau.dim())).collect()
        };
        let (mean, std) = (each(&mean), each(&std));
        let (centre, coloured) = (self.centre(clean)?, self.coloured(&noise));
        let rows = clean_tau.0.iter().zip(&coloured.0).zip(mean.iter().zip(&std)).enumerate();
        let tau = Xi(rows
            .map(|(k, ((tau, z), (mean, std)))| {
                let pulled = match &centre {
                    Some(centre) => {
                        let centre = centre.factor(k);
                        (tau - centre) * mean + centre
                    }
                    None if self.pulls() => tau * mean,
                    // An exploding kernel leaves the mean alone.
                    None => tau.shallow_clone(),
                };
                pulled.addcmul(std, z)
            })
            .collect());

        let mut kernel = Kernel::new(
            mean.iter().map(|mean| Scale::Each(mean.shallow_clone())).collect(),
            std.into_iter().map(Scale::Each).collect(),
        );
        if let Some(anchor) = &self.anchor {
            let shift = mean.iter().map(|mean| Scale::Each(1.0 - mean)).collect();
            kernel = kernel.coloured(anchor.colour()).shifted(shift);
        }
        Ok(Perturbed {
            noisy: coordinates.point(clean, &tau),
            kernel,
            noise: Some(noise),
            velocity: None,
            clean: Some(clean_tau),
            orientation: coordinates.orientation(&tau),
            coordinates: Some(tau),
        })
    }

    fn prior(&self, template: &State, stream: &mut Stream) -> Result<State> {
        let template = match self.prior {
            Prior::Origin => template.clone(),
            Prior::Template => self.fields().lift(template.clone())?,
        };
        let z = self.fields().horizontal(&template, &self.fields().normal(&template, stream));
        let mut xi = self.coloured(&z).scale(self.prior_std());
        if let Some(centre) = self.centre(&template)? {
            xi = xi.add(&centre);
        }
        Ok(match self.prior {
            Prior::Origin => self.coordinates().point(&template, &xi),
            Prior::Template => self.moved(&template, &xi),
        })
    }

    /// On the branch of the state (its unwrapped coordinates).
    fn prior_log_prob(&self, state: &State) -> Result<Option<Tensor>> {
        Ok(self.prior_at(state, self.coordinates().unwrapped(state)))
    }

    /// The sum over branches, up to those farther than six standard deviations from the origin. States
    /// of several points stay on their own branch: their sum would have a term for each combination.
    fn prior_log_prob_of_point(&self, state: &State) -> Result<Option<Tensor>> {
        if state.x().dim() > 2 {
            return self.prior_log_prob(state);
        }
        let turns = (0.5 * (6.0 * self.prior_std() / PI - 1.0)).ceil().max(1.0) as i64;
        let branches = self.coordinates().branches(state, turns);
        let terms = branches.into_iter().map(|tau| self.prior_at(state, tau));
        let terms: Option<Vec<Tensor>> = terms.collect();
        Ok(terms.map(|terms| Tensor::stack(&terms, 0).logsumexp([0i64].as_slice(), false)))
    }

    fn accepts_prediction(&self, kind: PredictionKind) -> Result<()> {
        let refuse = |why: &str| Err(Error::Unsupported(format!("{}: {why}", self.name())));
        match kind {
            PredictionKind::FieldSum
                if self.anchor.is_some() || !matches!(self.law, Law::Preserving(_)) =>
            {
                refuse(
                    "a prediction of kind field-sum holds tau/2 + score, the drift of a VP process towards N(0, 1); predict `field`",
                )
            }
            PredictionKind::Field if self.anchor.as_ref().is_some_and(|a| self.reversed(a)) => {
                refuse(
                    "a prediction of kind field averages the drift over branches, which is known for reversed coordinates only when their invariant mean is 0; set it to 0",
                )
            }
            _ => has_score(&self.name(), kind),
        }
    }

    fn kernel(&self) -> Option<Arc<dyn KernelLaw>> {
        let terminal = (self.prior == Prior::Origin).then(|| {
            let (mean, std) = self.mean_std(self.clock.time.prior);
            TerminalMismatch { mean, std: std / self.prior_std() }
        });
        Some(Arc::new(GaussianLaw {
            drive: Arc::clone(&self.drive),
            clock: Arc::clone(&self.clock),
            law: self.law,
            anchor: self.anchor.clone(),
            factors: self.factors,
            terminal,
        }))
    }

    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let rates = self.law.rates(&self.clock, step);
        let colour = match &self.anchor {
            Some(anchor) => anchor.colour(),
            None => vec![None; self.factors],
        };
        let scale = rates.noise.sqrt();
        let noise = colour.into_iter().map(|root| match root {
            Some(root) => NoiseOperator::Coloured { scale, root },
            None => NoiseOperator::White(scale),
        });
        let noise = noise.collect();
        if prediction.kind == PredictionKind::FieldSum {
            // The sum of drift and score is known, not the parts: all of it goes to the score.
            let preconditioned = self.read_sum(state, step.from, prediction, rates.noise)?;
            let drift = preconditioned.zeros_like();
            return Ok(Terms { drift, noise, score: None, preconditioned, h: None });
        }
        let Reading { tau, score, preconditioned } = self.read(state, step.from, prediction)?;
        let drift = if self.pulls() { tau.scale(-0.5 * rates.drift) } else { tau.zeros_like() };
        let preconditioned = preconditioned.scale(rates.noise);
        Ok(Terms { drift, noise, score: Some(score), preconditioned, h: None })
    }

    /// White noise is symmetric under isometries of the coefficients. A drift or a prior that
    /// refers to `tau = 0` is so only where the action is linear in the coordinates: for
    /// translations under rotations, not for polar angles under rotations.
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        symmetry.accepts(spec)?;
        let centred = self.pulls() || self.prior == Prior::Origin;
        let coordinates = self.coordinates();
        let pull = |state: &State| -> Result<Xi> {
            let tau = coordinates.unwrapped(state);
            let tau = match self.centre(state)? {
                Some(centre) => tau.sub(&centre),
                None => tau,
            };
            Ok(if centred { tau.scale(-0.5) } else { tau.zeros_like() })
        };
        let mut found = probe_symmetry(self.fields(), symmetry, spec, pull);
        if found.is_ok() && self.anchor.is_some() {
            // The colour has to commute with the action: coloured coordinates move as they do.
            found = probe_symmetry(self.fields(), symmetry, spec, |state| {
                Ok(self.coloured(&pull(state)?))
            });
        }
        found.map_err(|error| match error {
            Error::Unsupported(reason) if centred => Error::Unsupported(format!(
                "the drift and the prior of {} refer to the origin of its coordinates: {reason}",
                self.name()
            )),
            other => other,
        })
    }

    fn closed_forms(&self) -> Option<&dyn ClosedForms> {
        Some(self)
    }
}

impl ClosedForms for Gaussian {
    fn forms(&self) -> &'static [ClosedForm] {
        &[ClosedForm::Clean, ClosedForm::Posterior, ClosedForm::Transition]
    }

    /// By Tweedie's formula; for [`PredictionKind::FieldSum`] to first order in `std^2`, which is
    /// all that the sum determines (use it near the data).
    fn clean(&self, state: &State, t: f64, prediction: &Prediction) -> Result<State> {
        let (mean, std) = self.mean_std(t);
        if prediction.kind == PredictionKind::FieldSum {
            let sum = self.read_sum(state, t, prediction, std * std)?;
            return Ok(self.moved(state, &sum));
        }
        let Reading { tau, preconditioned, .. } = self.read(state, t, prediction)?;
        let displacement =
            tau.scale(mean.recip() - 1.0).add_scaled(&preconditioned, std * std / mean);
        Ok(self.moved(state, &displacement))
    }

    /// The Gaussian `p(tau_to | tau_from, tau_0)` at the estimate of `tau_0`.
    fn posterior(
        &self,
        state: &State,
        step: Step,
        prediction: &Prediction,
        z: &Xi,
    ) -> Result<State> {
        let Reading { tau, preconditioned, .. } = self.read(state, step.from, prediction)?;
        let ((mean_t, std_t), (mean_s, std_s)) = (self.mean_std(step.from), self.mean_std(step.to));
        let (alpha, added) = bridge((mean_t, std_t), (mean_s, std_s));
        let of_noisy = alpha * std_s * std_s / (std_t * std_t);
        let of_clean = mean_s * added / (std_t * std_t);
        // tau_0 = (tau + std_t^2 S^2 score) / mean_t, put in place; all from the centre.
        let displacement = tau
            .scale(of_noisy + of_clean / mean_t - 1.0)
            .add_scaled(&preconditioned, of_clean * std_t * std_t / mean_t)
            .add_scaled(z, added.sqrt() * std_s / std_t);
        Ok(self.moved(state, &displacement))
    }

    fn transition(&self, state: &State, from: f64, to: f64, z: &Xi) -> Result<State> {
        let (alpha, added) = bridge(self.mean_std(to), self.mean_std(from));
        let mut tau = self.coordinates().unwrapped(state);
        if let Some(centre) = self.centre(state)? {
            tau = tau.sub(&centre);
        }
        Ok(self.moved(state, &tau.scale(alpha - 1.0).add_scaled(z, added.sqrt())))
    }
}

impl Gaussian {
    /// Whether a coordinate whose field may be reversed on the principal branch has an invariant
    /// mean that is not zero. Found out by trying: the drive tells only where, not which.
    fn reversed(&self, anchor: &Anchor) -> bool {
        let names = self.coordinates().names();
        let factors = anchor.mean.iter().zip(&names);
        let probes = factors.map(|(mean, names)| {
            let width = mean.len().max(names.len()) as i64;
            let ramp = Tensor::arange(64 * width, tch::kind::DOUBLE_CPU).view([64, width]);
            ramp * 0.37 - 0.185 * (64 * width) as f64
        });
        let probes = Xi(probes.collect());
        let Some(eps) = self.coordinates().orientation(&probes) else { return false };
        anchor.mean.iter().zip(&eps.0).any(|(mean, eps)| {
            let flipped = eps.lt(0.0).any_dim(0, false).to_kind(tch::Kind::Double);
            (flipped * Tensor::from_slice(mean)).abs().max().double_value(&[]) > 0.0
        })
    }
}

/// Mean factor and variance of the transition from the less noisy to the noisier time.
fn bridge(noisy: (f64, f64), less: (f64, f64)) -> (f64, f64) {
    let alpha = noisy.0 / less.0;
    (alpha, (noisy.1 * noisy.1 - (alpha * less.1).powi(2)).max(0.0))
}
