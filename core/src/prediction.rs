//! What networks predict, what each prediction can drive, and the conversions between them. All
//! conversions live here.
//!
//! Notation: the kernel of a process is `tau_t = shift tau_end + mean tau_0 + std L z` factor by
//! factor in the coordinates of the drive; `score = grad_tau log p_t`. Mostly there is no known end
//! and no colour: `tau_t = mean tau_0 + std z`. Where there is a known end (the limiting mean of a
//! Gaussian process, the other end of a bridge), the conversions take *centred* coordinates
//! `tau_t - shift tau_end`.

use crate::{Error, Result, Root, Xi};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// The kinds of prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PredictionKind {
    /// The noise `z` of the kernel: `score = -L^-T z / std`.
    Noise,
    /// The score itself.
    Score,
    /// `std L^T score` (the score preconditioned by a root of the kernel's covariance): `-z`.
    PreconditionedScore,
    /// `std K score` with `K = L L^T` (the score preconditioned by the covariance): `-L z`. The same
    /// as [`PredictionKind::PreconditionedScore`] for white noise; for coloured noise it moves with
    /// the input under a symmetry, whatever the root, and drives samplers without a solve.
    CovarianceScore,
    /// The clean coordinates `tau_0` (or clean value, for translations).
    Clean,
    /// Two heads: `E[eps tau | x]` and `std E[eps score | x]`, with `eps` the orientation of the
    /// principal branch (sism.md, pitfall 3). Needed where angles alias.
    Field,
    /// One head: `std E[eps (tau/2 + score) | x]`; serves the reverse SDE of a VP process only.
    FieldSum,
    /// Class logits; drives nothing.
    Logits,
    /// The velocity `dxi/dt` of the probability flow, in the direction of time (flow matching): for
    /// processes that have no score. It serves the flow and its likelihood, and nothing that needs
    /// noise or an estimate of the clean coordinates.
    Velocity,
}

/// What a sampler or an estimator needs from a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// The reverse SDE.
    ReverseSde,
    /// The probability-flow ODE.
    ProbabilityFlow,
    /// The likelihood by the probability-flow ODE.
    Likelihood,
    /// Langevin correction.
    Corrector,
    /// Draws from the posterior of a step at the estimate of the clean coordinates.
    Posterior,
}

impl PredictionKind {
    /// Whether this prediction can drive the purpose.
    pub fn can_drive(self, purpose: Purpose) -> bool {
        match self {
            Self::Noise
            | Self::Score
            | Self::PreconditionedScore
            | Self::CovarianceScore
            | Self::Clean
            | Self::Field => true,
            Self::FieldSum => purpose == Purpose::ReverseSde,
            Self::Velocity => matches!(purpose, Purpose::ProbabilityFlow | Purpose::Likelihood),
            Self::Logits => false,
        }
    }

    /// Number of coefficient-shaped heads that a network needs for it.
    pub fn heads(self) -> i64 {
        match self {
            Self::Field => 2,
            _ => 1,
        }
    }
}

/// What a model returns.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// Which kind it is.
    pub kind: PredictionKind,
    /// One entry per head ([`PredictionKind::heads`]).
    pub heads: Vec<Xi>,
}

impl Prediction {
    /// A prediction with one head.
    pub fn one(kind: PredictionKind, xi: impl Into<Xi>) -> Self {
        Self { kind, heads: vec![xi.into()] }
    }
}

/// A number for the whole batch, or one for each point (shape `[B, 1, ..]`, ready to broadcast).
#[derive(Debug)]
pub enum Scale {
    /// The same for all: times are equal, as they are in a sampler.
    Same(f64),
    /// One for each point.
    Each(Tensor),
}

impl Clone for Scale {
    fn clone(&self) -> Self {
        match self {
            Self::Same(a) => Self::Same(*a),
            Self::Each(a) => Self::Each(a.shallow_clone()),
        }
    }
}

impl Scale {
    /// `scale * x`.
    pub fn times(&self, x: &Tensor) -> Tensor {
        match self {
            Self::Same(a) => x * *a,
            Self::Each(a) => x * a,
        }
    }

    /// `self + other`.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Same(a), Self::Same(b)) => Self::Same(a + b),
            (Self::Same(a), Self::Each(b)) | (Self::Each(b), Self::Same(a)) => Self::Each(b + *a),
            (Self::Each(a), Self::Each(b)) => Self::Each(a + b),
        }
    }

    /// `self * other`.
    #[must_use]
    pub fn multiply(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Same(a), Self::Same(b)) => Self::Same(a * b),
            (Self::Same(a), Self::Each(b)) | (Self::Each(b), Self::Same(a)) => Self::Each(b * *a),
            (Self::Each(a), Self::Each(b)) => Self::Each(a * b),
        }
    }

    /// `x / scale`.
    pub fn divide(&self, x: &Tensor) -> Tensor {
        match self {
            Self::Same(a) => x * a.recip(),
            Self::Each(a) => x / a,
        }
    }
}

/// The Gaussian kernel of a process at a time: scales per factor, and the colour of the noise.
///
/// A factor that gets no noise of its own (the position under kinetic Langevin dynamics) has `std`
/// `Scale::Same(0.0)`. Its noise and its score are zero: no conversion divides by that zero
/// ([`Kernel::per_noise`]). Where the law is Gaussian over several factors together, the `std` of a
/// factor is the one given the factors before it, which is the scale of its score (the diagonal of
/// the Cholesky root); such a law says of itself that it is not
/// [`gaussian`](crate::KernelLaw::gaussian), since estimates of clean coordinates mix factors.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Factor of the clean coordinates.
    pub mean: Vec<Scale>,
    /// Standard deviation of the noise (its scale, where it is coloured).
    pub std: Vec<Scale>,
    /// Root of the noise covariance of each factor; `None` for white noise.
    pub colour: Vec<Option<Root>>,
    /// Factor of the known end: the limiting mean of a Gaussian process, the other end of a bridge.
    pub shift: Option<Vec<Scale>>,
}

/// A noisy state with everything a target is made of.
#[derive(Debug)]
pub struct Perturbed {
    /// The noisy state, as the model sees it.
    pub noisy: crate::State,
    /// The kernel at the times of the batch.
    pub kernel: Kernel,
    /// The noise `z`, standard normal before colouring (in the horizontal directions); for kernels
    /// that are not Gaussian `-std L^T score`, given whatever else the noisy state was drawn from (a
    /// score given more than the clean state has the right mean). `None` for a process without a
    /// score, which has a [`Perturbed::velocity`].
    pub noise: Option<Xi>,
    /// The velocity `dxi/dt` of the path that the noisy state was drawn from, where the process is
    /// driven by a [`PredictionKind::Velocity`].
    pub velocity: Option<Xi>,
    /// The clean coordinates, where there are some.
    pub clean: Option<Xi>,
    /// The noisy (unwrapped) coordinates, where there are some.
    pub coordinates: Option<Xi>,
    /// Orientation of the fields against the principal branch; `None` is +1 everywhere.
    pub orientation: Option<Xi>,
}

impl Kernel {
    /// White noise and no known end.
    pub fn new(mean: Vec<Scale>, std: Vec<Scale>) -> Self {
        let colour = std.iter().map(|_| None).collect();
        Self { mean, std, colour, shift: None }
    }

    /// The same kernel with noise coloured by a root for each factor.
    #[must_use]
    pub fn coloured(mut self, colour: Vec<Option<Root>>) -> Self {
        self.colour = colour;
        self
    }

    /// The same kernel with a known end.
    #[must_use]
    pub fn shifted(mut self, shift: Vec<Scale>) -> Self {
        self.shift = Some(shift);
        self
    }

    /// The coordinates that the conversions take: `tau - shift end`, with the known end of the
    /// process ([`KernelLaw::known_end`](crate::KernelLaw::known_end)); `tau` itself where
    /// there is none.
    pub fn centred(&self, tau: &Xi, end: Option<&Xi>) -> Xi {
        let (Some(shift), Some(end)) = (&self.shift, end) else { return tau.clone() };
        let factors = tau.0.iter().zip(&end.0).zip(shift);
        Xi(factors.map(|((tau, end), shift)| tau - shift.times(end)).collect())
    }

    fn std_times(&self, xi: &Xi) -> Xi {
        Xi(xi.0.iter().zip(&self.std).map(|(x, std)| std.times(x)).collect())
    }

    fn divide_std(&self, xi: &Xi) -> Xi {
        Xi(xi.0.iter().enumerate().map(|(k, x)| self.per_noise(k, x)).collect())
    }

    /// `x / std` in factor `k`; zero where the factor gets no noise.
    pub fn per_noise(&self, k: usize, x: &Tensor) -> Tensor {
        match &self.std[k] {
            Scale::Same(std) if *std == 0.0 => x.zeros_like(),
            std => std.divide(x),
        }
    }

    fn mean_times(&self, xi: &Xi) -> Xi {
        Xi(xi.0.iter().zip(&self.mean).map(|(x, mean)| mean.times(x)).collect())
    }

    fn divide_mean(&self, xi: &Xi) -> Xi {
        Xi(xi.0.iter().zip(&self.mean).map(|(x, mean)| mean.divide(x)).collect())
    }

    /// Applies an operation of the root where there is one.
    fn through(&self, xi: &Xi, f: impl Fn(&Root, &Tensor) -> Tensor) -> Xi {
        let one = |(x, root): (&Tensor, &Option<Root>)| match root {
            Some(root) => f(root, x),
            None => x.shallow_clone(),
        };
        Xi(xi.0.iter().zip(&self.colour).map(one).collect())
    }

    /// The score that a prediction stands for at a point with (centred) coordinates `tau`.
    ///
    /// # Errors
    /// When the prediction has no score ([`PredictionKind::FieldSum`], logits, velocity), or needs
    /// coordinates that the drive does not have.
    pub fn score(&self, prediction: &Prediction, tau: Option<&Xi>) -> Result<Xi> {
        let head = &prediction.heads[0];
        let unroot = |xi: &Xi| self.divide_std(&self.through(xi, Root::solve_transposed));
        match prediction.kind {
            PredictionKind::Noise => Ok(unroot(&head.scale(-1.0))),
            PredictionKind::Score => Ok(head.clone()),
            PredictionKind::PreconditionedScore => Ok(unroot(head)),
            PredictionKind::CovarianceScore => Ok(unroot(&self.through(head, Root::solve))),
            PredictionKind::Clean => {
                let tau = tau.ok_or_else(no_coordinates)?;
                let centred = self.divide_std(&self.mean_times(head).sub(tau));
                Ok(unroot(&self.through(&centred, Root::solve)))
            }
            PredictionKind::Field => Ok(unroot(&prediction.heads[1])),
            PredictionKind::FieldSum | PredictionKind::Logits | PredictionKind::Velocity => {
                Err(Error::Unsupported(format!(
                    "a prediction of kind {:?} carries no score of its own",
                    prediction.kind
                )))
            }
        }
    }

    /// The covariance of the noise without its scale, applied to the score: `K score` (the score
    /// itself for white noise). No linear system is solved for any kind of prediction that has a
    /// score, except coloured [`PredictionKind::Field`] heads.
    ///
    /// # Errors
    /// As for [`Kernel::score`].
    pub fn covariance_score(&self, prediction: &Prediction, tau: Option<&Xi>) -> Result<Xi> {
        let head = &prediction.heads[0];
        let root = |xi: &Xi| self.divide_std(&self.through(xi, Root::apply));
        match prediction.kind {
            PredictionKind::Noise => Ok(root(&head.scale(-1.0))),
            PredictionKind::PreconditionedScore => Ok(root(head)),
            PredictionKind::CovarianceScore => Ok(self.divide_std(head)),
            PredictionKind::Clean => {
                let tau = tau.ok_or_else(no_coordinates)?;
                Ok(self.divide_std(&self.divide_std(&self.mean_times(head).sub(tau))))
            }
            _ => Ok(self.through(&self.score(prediction, tau)?, Root::covariance)),
        }
    }

    /// The clean coordinates that a prediction stands for, at (centred) coordinates `tau`.
    ///
    /// # Errors
    /// As for [`Kernel::score`].
    pub fn clean(&self, prediction: &Prediction, tau: &Xi) -> Result<Xi> {
        if prediction.kind == PredictionKind::Clean {
            return Ok(prediction.heads[0].clone());
        }
        // Tweedie: E[tau_0] = (tau + std^2 K score) / mean.
        let score = self.covariance_score(prediction, Some(tau))?;
        Ok(self.divide_mean(&tau.add(&self.std_times(&self.std_times(&score)))))
    }

    /// The noise `z` (before colouring) that a prediction stands for.
    ///
    /// # Errors
    /// As for [`Kernel::score`].
    pub fn noise(&self, prediction: &Prediction, tau: Option<&Xi>) -> Result<Xi> {
        if prediction.kind == PredictionKind::Noise {
            return Ok(prediction.heads[0].clone());
        }
        let score = self.std_times(&self.score(prediction, tau)?);
        Ok(self.through(&score, Root::apply_transposed).scale(-1.0))
    }
}

impl Kernel {
    /// The prediction of one head that a score stands for at (centred) coordinates `tau`: what an oracle
    /// returns that knows the score.
    ///
    /// # Errors
    /// For kinds that a score alone does not determine: field heads, logits, velocity.
    pub fn prediction_of_score(
        &self,
        score: &Xi,
        kind: PredictionKind,
        tau: Option<&Xi>,
    ) -> Result<Prediction> {
        let given = Prediction::one(PredictionKind::Score, score.clone());
        let head = match kind {
            PredictionKind::Score => score.clone(),
            PredictionKind::Noise => self.noise(&given, tau)?,
            PredictionKind::PreconditionedScore => self.noise(&given, tau)?.scale(-1.0),
            PredictionKind::CovarianceScore => self.std_times(&self.covariance_score(&given, tau)?),
            PredictionKind::Clean => self.clean(&given, tau.ok_or_else(no_coordinates)?)?,
            PredictionKind::Field
            | PredictionKind::FieldSum
            | PredictionKind::Logits
            | PredictionKind::Velocity => {
                return Err(Error::Unsupported(format!(
                    "a score does not determine a prediction of kind {kind:?}"
                )));
            }
        };
        Ok(Prediction::one(kind, head))
    }
}

impl Perturbed {
    /// [`Perturbed::noise`].
    ///
    /// # Errors `Unsupported` for a process without a score.
    pub fn noise(&self) -> Result<&Xi> {
        let lacks =
            || Error::Unsupported("the process has no score to learn, only a velocity".into());
        self.noise.as_ref().ok_or_else(lacks)
    }

    /// What a model that predicts `kind` should return for this batch, head by head.
    ///
    /// # Errors
    /// When the process does not provide what the target is made of.
    pub fn target(&self, kind: PredictionKind) -> Result<Vec<Xi>> {
        let signed = |xi: Xi| match &self.orientation {
            Some(eps) => xi.zip(eps, |a, eps| a * eps),
            None => xi,
        };
        Ok(match kind {
            PredictionKind::Noise => vec![self.noise()?.clone()],
            PredictionKind::Score => {
                let unrooted = self.kernel.through(self.noise()?, Root::solve_transposed);
                vec![self.kernel.divide_std(&unrooted.scale(-1.0))]
            }
            PredictionKind::PreconditionedScore => vec![self.noise()?.scale(-1.0)],
            PredictionKind::CovarianceScore => {
                vec![self.kernel.through(self.noise()?, Root::apply).scale(-1.0)]
            }
            PredictionKind::Clean => vec![self.clean.clone().ok_or_else(no_coordinates)?],
            PredictionKind::Field => {
                let tau = self.coordinates.clone().ok_or_else(no_coordinates)?;
                vec![signed(tau), signed(self.noise()?.scale(-1.0))]
            }
            PredictionKind::FieldSum => {
                let tau = self.coordinates.as_ref().ok_or_else(no_coordinates)?;
                let half = self.kernel.std_times(tau).scale(0.5);
                vec![signed(half.sub(self.noise()?))]
            }
            PredictionKind::Logits => {
                return Err(Error::Unsupported("logits have no denoising target".into()));
            }
            PredictionKind::Velocity => {
                let lacks = || Error::Unsupported("the process has no velocity to learn".into());
                vec![self.velocity.clone().ok_or_else(lacks)?]
            }
        })
    }
}

fn no_coordinates() -> Error {
    Error::Unsupported("this prediction needs flow coordinates, and the drive has none".into())
}
