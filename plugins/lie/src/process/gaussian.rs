//! A process whose kernel is Gaussian in the flow coordinates of its drive.

use isotropy_core::schedule::Family;
use isotropy_core::{
    Clock, Error, FlowCoordinates, Kernel, KernelOfTime, NoiseOperator, NoisingProcess, Perturbed,
    Prediction, PredictionKind, Representation, Result, Scale, State, StateSpec, Step, Stream,
    Terms, TimeDomain, Xi, probe_symmetry,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use std::sync::Arc;
use tch::Tensor;

/// The factor of the clean coordinates in a variance-preserving kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MeanFactor {
    /// `sqrt(alpha_bar)`: the marginal of the process that the samplers reverse.
    #[default]
    SqrtAlphaBar,
    /// `alpha_bar`, as the released 2-D script has it. Wrong: with the variance `1 - alpha_bar` it
    /// is the marginal of no process that the samplers reverse, and the samples are off in radius.
    /// Kept to repeat published numbers.
    AlphaBar,
}

impl MeanFactor {
    fn of_root(self, root: Tensor) -> Tensor {
        if self == Self::AlphaBar { root.square() } else { root }
    }
}

/// Where a sampler starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Prior {
    /// Centred at `tau = 0`.
    #[default]
    Origin,
    /// Around the template, `tau = tau(template) + std z`: for coordinates without a common origin,
    /// such as the angle of an image. It has no log-density.
    Template,
}

/// A Gaussian kernel in flow coordinates: [`VpConfig`](super::VpConfig) and
/// [`VeConfig`](super::VeConfig).
#[derive(Debug)]
pub struct Gaussian {
    drive: Arc<dyn Representation>,
    clock: Arc<Clock>,
    mean: MeanFactor,
    prior: Prior,
    /// Factors of the frame.
    factors: usize,
}

/// What a prediction says about a point: its coordinates (averaged over branches where the model
/// says so) and the score.
struct Reading {
    tau: Xi,
    score: Xi,
}

impl Gaussian {
    /// The process on a drive.
    ///
    /// # Errors
    /// When the drive has no flow coordinates.
    pub(super) fn new(
        drive: Arc<dyn Representation>,
        clock: Clock,
        mean: MeanFactor,
        prior: Prior,
    ) -> Result<Self> {
        let fields = drive.drive().ok_or_else(|| {
            Error::config("", format!("{} cannot drive: it has no frame of fields", drive.name()))
        })?;
        let coordinates = fields.coordinates().ok_or_else(|| {
            let message =
                format!("a Gaussian kernel needs flow coordinates; {} has none", fields.frame());
            Error::config("", message)
        })?;
        let factors = coordinates.names().len();
        Ok(Self { drive, clock: Arc::new(clock), mean, prior, factors })
    }

    fn coordinates(&self) -> &dyn FlowCoordinates {
        self.fields().coordinates().expect("checked when the process was built")
    }

    fn preserving(&self) -> bool {
        self.clock.family() == Family::VariancePreserving
    }

    /// `(mean, std)` of the kernel at a time.
    fn mean_std(&self, t: f64) -> (f64, f64) {
        let (root, std) = self.clock.at(t);
        (if self.mean == MeanFactor::AlphaBar { root * root } else { root }, std)
    }

    fn kernel_at(&self, t: f64) -> Kernel {
        let (mean, std) = self.mean_std(t);
        Kernel::new(vec![Scale::Same(mean); self.factors], vec![Scale::Same(std); self.factors])
    }

    /// Turns coefficients of the fields on the principal branch into those of the fields at the
    /// unwrapped coordinates of the state. A state that carries no lift is on the principal branch.
    fn unfold(&self, state: &State, xi: Xi) -> Xi {
        if state.lift.is_empty() {
            return xi;
        }
        let coordinates = self.coordinates();
        match coordinates.orientation(&coordinates.unwrapped(state)) {
            Some(eps) => xi.zip(&eps, |a, e| a * e),
            None => xi,
        }
    }

    fn read(&self, state: &State, t: f64, prediction: &Prediction) -> Result<Reading> {
        let kernel = self.kernel_at(t);
        if prediction.kind == PredictionKind::Field {
            let score = kernel.score(prediction, None)?;
            let tau = self.unfold(state, prediction.heads[0].clone());
            return Ok(Reading { tau, score: self.unfold(state, score) });
        }
        let tau = self.coordinates().unwrapped(state);
        let score = kernel.score(prediction, Some(&tau))?;
        Ok(Reading { tau, score })
    }

    /// `factor E[tau/2 + score]` of a [`PredictionKind::FieldSum`].
    fn read_sum(&self, state: &State, t: f64, prediction: &Prediction, factor: f64) -> Result<Xi> {
        if !self.preserving() {
            return Err(Error::Unsupported(
                "a prediction of kind field-sum holds the drift of a variance-preserving process"
                    .into(),
            ));
        }
        let sum = prediction.heads[0].scale(factor / self.mean_std(t).1);
        Ok(self.unfold(state, sum))
    }

    /// Moves by a displacement in the coordinates.
    fn moved(&self, state: &State, displacement: &Xi) -> State {
        self.fields().flow(state, displacement)
    }

    fn prior_std(&self) -> f64 {
        if self.preserving() { 1.0 } else { self.mean_std(self.clock.time.end).1 }
    }

    /// Degrees of freedom of each point, `[B]`: the trace of the projection on horizontal
    /// coefficients (fewer than there are coefficients where a mean is removed or points are
    /// padding).
    fn degrees(&self, state: &State, tau: &Xi) -> Tensor {
        let fields = self.fields();
        let each: i64 = tau.0.iter().map(|tau| tau.size()[1..].iter().product::<i64>()).sum();
        let probe = tau.map(|tau| {
            let size = tau.size();
            let ramp = Tensor::arange(size[1..].iter().product::<i64>(), state.options());
            (ramp + 1.0).square().reshape(&size[1..]).expand(&size, false)
        });
        let removed = probe.sub(&fields.horizontal(state, &probe)).square_norm();
        let all = Tensor::full([state.batch_size()], each as f64, state.options());
        if removed.max().double_value(&[]) == 0.0 {
            return all;
        }
        let mut trace = all.zeros_like();
        for (k, factor) in tau.0.iter().enumerate() {
            for index in 0..factor.size()[1..].iter().product::<i64>() {
                let unit = tau.zeros_like();
                let _ = unit.0[k].view([state.batch_size(), -1]).select(1, index).fill_(1.0);
                let kept = fields.horizontal(state, &unit);
                trace += kept.0[k].flatten(1, -1).select(1, index);
            }
        }
        trace
    }

    fn white(&self, state: &State, stream: &mut Stream) -> Xi {
        let shapes = self.fields().xi_shape(&state.spec());
        let normal = |shape: Vec<i64>| {
            let size: Vec<i64> = std::iter::once(state.batch_size()).chain(shape).collect();
            stream.normal(&size, state.options())
        };
        Xi(shapes.into_iter().map(normal).collect())
    }
}

/// Puts `[B, 1]` in a shape that broadcasts against `like`.
fn broadcast(scale: &Tensor, like: &Tensor) -> Tensor {
    match like.dim() {
        2 => scale.shallow_clone(),
        dim => {
            let mut shape = vec![1; dim];
            shape[0] = -1;
            scale.reshape(&shape)
        }
    }
}

impl NoisingProcess for Gaussian {
    fn name(&self) -> String {
        let family = if self.preserving() { "VP" } else { "VE" };
        format!("{family} in {}", self.fields().frame())
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

        let (root, std) = self.clock.gather(t, clean.options());
        let mean = self.mean.of_root(root);
        let each = |scale: &Tensor| -> Vec<Tensor> {
            clean_tau.0.iter().map(|tau| broadcast(scale, tau)).collect()
        };
        let (mean, std) = (each(&mean), each(&std));
        let rows = clean_tau.0.iter().zip(&noise.0).zip(mean.iter().zip(&std));
        let tau = Xi(rows
            .map(|((tau, z), (mean, std))| {
                // An exploding kernel leaves the mean alone.
                let centre = if self.preserving() { tau * mean } else { tau.shallow_clone() };
                centre.addcmul(std, z)
            })
            .collect());

        Ok(Perturbed {
            noisy: coordinates.point(clean, &tau),
            kernel: Kernel::new(
                mean.into_iter().map(Scale::Each).collect(),
                std.into_iter().map(Scale::Each).collect(),
            ),
            noise,
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
        let z = self.white(&template, stream);
        let xi = self.fields().horizontal(&template, &z).scale(self.prior_std());
        Ok(match self.prior {
            Prior::Origin => self.coordinates().point(&template, &xi),
            Prior::Template => self.moved(&template, &xi),
        })
    }

    /// On the branch of the state (its unwrapped coordinates): a density of `x` alone would be a
    /// sum over all branches.
    fn prior_log_prob(&self, state: &State) -> Option<Tensor> {
        if self.prior == Prior::Template {
            return None;
        }
        let std = self.prior_std();
        let tau = self.coordinates().unwrapped(state);
        let constant = self.degrees(state, &tau) * (0.5 * (2.0 * PI).ln() + std.ln());
        let quadratic = tau.square_norm() * (-0.5 / (std * std));
        Some(quadratic - constant - self.coordinates().log_abs_det(state))
    }

    fn terms(&self, state: &State, step: Step, prediction: &Prediction) -> Result<Terms> {
        let rate = self.clock.rate(step);
        let noise = (0..self.factors).map(|_| NoiseOperator::White(rate.sqrt())).collect();
        if prediction.kind == PredictionKind::FieldSum {
            // The sum of drift and score is known, not the parts: all of it goes to the score.
            let preconditioned = self.read_sum(state, step.from, prediction, rate)?;
            let drift = preconditioned.zeros_like();
            return Ok(Terms { drift, noise, score: None, preconditioned, h: None });
        }
        let reading = self.read(state, step.from, prediction)?;
        let drift = if self.preserving() {
            reading.tau.scale(-0.5 * rate)
        } else {
            reading.tau.zeros_like()
        };
        let preconditioned = reading.score.scale(rate);
        Ok(Terms { drift, noise, score: Some(reading.score), preconditioned, h: None })
    }

    fn kernel(&self, t: f64) -> Option<Kernel> {
        Some(self.kernel_at(t))
    }

    fn kernel_of_time(&self) -> Option<KernelOfTime> {
        let (clock, factor) = (self.clock.clone(), self.mean);
        let factors = self.factors;
        Some(Arc::new(move |t: &Tensor| {
            let (root, std) = clock.gather(t, (t.kind(), t.device()));
            let mean = factor.of_root(root);
            let each = |scale: &Tensor| {
                (0..factors).map(|_| Scale::Each(scale.shallow_clone())).collect::<Vec<_>>()
            };
            Kernel::new(each(&mean), each(&std))
        }))
    }

    /// By Tweedie's formula; for [`PredictionKind::FieldSum`] to first order in `std^2`, which is
    /// all that the sum determines (use it near the data).
    fn clean(&self, state: &State, t: f64, prediction: &Prediction) -> Result<State> {
        let (mean, std) = self.mean_std(t);
        if prediction.kind == PredictionKind::FieldSum {
            let sum = self.read_sum(state, t, prediction, std * std)?;
            return Ok(self.moved(state, &sum));
        }
        let Reading { tau, score } = self.read(state, t, prediction)?;
        let displacement = tau.scale(mean.recip() - 1.0).add_scaled(&score, std * std / mean);
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
        let Reading { tau, score } = self.read(state, step.from, prediction)?;
        let ((mean_t, std_t), (mean_s, std_s)) = (self.mean_std(step.from), self.mean_std(step.to));
        let (alpha, added) = bridge((mean_t, std_t), (mean_s, std_s));
        let of_noisy = alpha * std_s * std_s / (std_t * std_t);
        let of_clean = mean_s * added / (std_t * std_t);
        // tau_0 = (tau + std_t^2 score) / mean_t, put in place.
        let displacement = tau
            .scale(of_noisy + of_clean / mean_t - 1.0)
            .add_scaled(&score, of_clean * std_t * std_t / mean_t)
            .add_scaled(z, added.sqrt() * std_s / std_t);
        Ok(self.moved(state, &displacement))
    }

    fn transition(&self, state: &State, from: f64, to: f64, z: &Xi) -> Result<State> {
        let (alpha, added) = bridge(self.mean_std(to), self.mean_std(from));
        let tau = self.coordinates().unwrapped(state);
        Ok(self.moved(state, &tau.scale(alpha - 1.0).add_scaled(z, added.sqrt())))
    }

    /// White noise is symmetric under isometries of the coefficients. A drift or a prior that
    /// refers to `tau = 0` is so only where the action is linear in the coordinates: for
    /// translations under rotations, not for polar angles under rotations.
    fn symmetric_under(&self, symmetry: &dyn Representation, spec: &StateSpec) -> Result<()> {
        symmetry.accepts(spec)?;
        let centred = self.preserving() || self.prior == Prior::Origin;
        let coordinates = self.coordinates();
        probe_symmetry(self.fields(), symmetry, spec, |state| {
            let tau = coordinates.unwrapped(state);
            Ok(if centred { tau.scale(-0.5) } else { tau.zeros_like() })
        })
        .map_err(|error| match error {
            Error::Unsupported(reason) if centred => Error::Unsupported(format!(
                "the drift and the prior of {} refer to the origin of its coordinates: {reason}",
                self.name()
            )),
            other => other,
        })
    }
}

/// Mean factor and variance of the transition from the less noisy to the noisier time.
fn bridge(noisy: (f64, f64), less: (f64, f64)) -> (f64, f64) {
    let alpha = noisy.0 / less.0;
    (alpha, (noisy.1 * noisy.1 - (alpha * less.1).powi(2)).max(0.0))
}

/// Refuses a starting time outside the open unit interval.
pub(super) fn checked_start(start: f64) -> Result<f64> {
    if start > 0.0 && start < 1.0 {
        return Ok(start);
    }
    Err(Error::config("/start", format!("{start} is outside (0, 1)")))
}

/// Refuses zero steps.
pub(super) fn checked_steps(steps: Option<u32>) -> Result<Option<u32>> {
    match steps {
        Some(0) => Err(Error::config("/steps", "a discrete process has at least 1 step")),
        steps => Ok(steps),
    }
}
