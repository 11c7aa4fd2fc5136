//! The exact score of a mixture of heat kernels.
//!
//! Component `k` is a heat kernel of scale `s_k` about the point `c_k` (and a normal law in flat
//! factors). Heat kernels are a semigroup, so under Brownian motion with clock `eps^2` it becomes the
//! kernel of scale `sqrt(s_k^2 + eps^2)`, and the score of the mixture is known at every time.

use crate::heat_kernel::HeatKernel;
use isotropy_core::{
    Drive, Error, Field, Homogeneous, Kernel, KernelLaw, ModelContext, Moves, Prediction,
    PredictionKind, Representation, Result, Scale, ScoreModel, Space, State, Xi,
};
use std::f64::consts::PI;
use std::sync::Arc;
use tch::{Kind, Tensor};

/// What a mixture is made of; tensors in double precision on the CPU.
#[derive(Debug)]
pub struct Components {
    /// The points `c_k`: `[K, ..]` in the shape of values.
    pub centres: Tensor,
    /// Scales `[K, 1]` or, on a torus, one for each angle `[K, n]`; the same number is the standard
    /// deviation of flat factors. Zero for point masses.
    pub scales: Tensor,
    /// Positive weights `[K]`, scaled to sum 1.
    pub weights: Vec<f64>,
}

/// A mixture of heat kernels as a score model.
pub struct HeatMixture {
    drive: Arc<dyn Representation>,
    kernel: Arc<dyn KernelLaw>,
    /// One for each factor; `None` where it is flat.
    heat: Vec<Option<HeatKernel>>,
    like: Moves,
    centres: Tensor,
    scales: Tensor,
    log_weights: Tensor,
    predicts: PredictionKind,
}

fn no_process() -> Error {
    Error::config("", "this oracle needs the process `brownian`")
}

impl HeatMixture {
    /// The mixture under the process of the context.
    ///
    /// # Errors
    /// When the process is no Brownian motion on a drive with known heat kernels, the points of the
    /// data are not single points of this shape, or numbers do not fit each other.
    pub fn new(
        components: &Components,
        predicts: PredictionKind,
        context: &ModelContext,
    ) -> Result<Self> {
        let process = context.denoised()?;
        let homogeneous = process.fields().homogeneous().ok_or_else(no_process)?;
        let kernel = process.kernel().filter(|law| !law.gaussian()).ok_or_else(no_process)?;
        let heat = homogeneous.spaces().into_iter().map(|space| match space {
            Space::Flat => Ok(None),
            space => HeatKernel::new(space).map(Some),
        });
        let (shape, size) = (&context.spec.value.shape, components.centres.size());
        if size[1..] != shape[..] {
            let message = format!("the points have shape {:?}, the data {shape:?}", &size[1..]);
            return Err(Error::config("", message));
        }
        let count = components.weights.len() as i64;
        if count == 0 || size[0] != count || components.scales.size()[0] != count {
            return Err(Error::config("", "points, scales and weights are not equally many"));
        }
        if components.weights.iter().any(|w| w.is_nan() || *w <= 0.0) {
            return Err(Error::config("/weights", "weights must be positive"));
        }
        if components.scales.min().double_value(&[]) < 0.0 {
            return Err(Error::config("/stds", "a standard deviation is not negative"));
        }
        let known = [
            PredictionKind::Score,
            PredictionKind::Noise,
            PredictionKind::PreconditionedScore,
            PredictionKind::CovarianceScore,
        ];
        if !known.contains(&predicts) {
            return Err(Error::config("/predicts", "this oracle returns a score or the noise"));
        }
        Ok(Self {
            drive: Arc::clone(process.drive()),
            kernel,
            heat: heat.collect::<Result<_>>()?,
            like: context.spec.value.moves,
            centres: components.centres.shallow_clone(),
            scales: components.scales.shallow_clone(),
            log_weights: Tensor::from_slice(&components.weights).log().log_softmax(0, Kind::Double),
            predicts,
        })
    }

    fn fields(&self) -> &dyn Drive {
        self.drive.drive().expect("checked when the oracle was built")
    }

    fn homogeneous(&self) -> &dyn Homogeneous {
        self.fields().homogeneous().expect("checked when the oracle was built")
    }

    /// `log p_t` of states at times `[B]`, in double precision: with respect to the uniform
    /// probability of compact factors and Lebesgue measure in the coordinates of flat ones.
    ///
    /// # Errors
    /// When the state is none of the drive's.
    pub fn log_density(&self, state: &State, t: &Tensor) -> Result<Tensor> {
        Ok(self.evaluate(state, t)?.0)
    }

    /// `log p_t` `[B]`, the score of every factor, and the kernel at the times.
    fn evaluate(&self, state: &State, t: &Tensor) -> Result<(Tensor, Xi, Kernel)> {
        let device = state.options().1;
        let here = |a: &Tensor| a.to_device(device);
        let kernel = self.kernel.tensors(&t.to_kind(Kind::Double));
        let alone = |value: Tensor| State::new(Field::new(value, self.like));
        // Batch and components side by side: [B, K, ..].
        let to = alone(state.x().to_kind(Kind::Double).unsqueeze(1));
        let from = alone(here(&self.centres).unsqueeze(0));
        let displacement = self.homogeneous().displacement(&from, &to)?;
        let (mut logs, mut scores) = (here(&self.log_weights).unsqueeze(0), Vec::new());
        for (k, (heat, xi)) in self.heat.iter().zip(&displacement.0).enumerate() {
            // [B, 1, 1]
            let at = |scale: &Scale| match scale {
                Scale::Same(a) => xi.full_like(*a).narrow(1, 0, 1).narrow(2, 0, 1),
                Scale::Each(a) => a.reshape([-1, 1, 1]),
            };
            let (mean, std) = (at(&kernel.mean[k]), at(&kernel.std[k]));
            let own = here(&self.scales).unsqueeze(0);
            let (log, score) = match heat {
                None => {
                    let own = own.narrow(2, 0, 1);
                    let variance = (own * &mean).square() + std.square();
                    let centre = self.homogeneous().flat(&from, k)?;
                    let away = self.homogeneous().flat(&to, k)? - centre * mean;
                    let log = (away.square() / &variance + (&variance * (2.0 * PI)).log()) * -0.5;
                    (log, -away / variance)
                }
                Some(heat) => {
                    let eps = (own.square() + std.square()).sqrt();
                    let angle = match heat.space() {
                        Space::Circle => xi.abs(),
                        _ => xi.norm_scalaropt_dim(2, [-1], true),
                    };
                    let (log, slope) = heat.evaluate(&angle, &eps);
                    (log, xi / angle.clamp_min(1e-300) * slope)
                }
            };
            logs = log.sum_dim_intlist([-1].as_slice(), false, None) + logs;
            scores.push(score);
        }
        let share = logs.softmax(1, Kind::Double).unsqueeze(-1);
        let sum = |score: Tensor| (&share * score).sum_dim_intlist([1i64].as_slice(), false, None);
        let score = Xi(scores.into_iter().map(sum).collect());
        Ok((logs.logsumexp([1].as_slice(), false), score, kernel))
    }
}

impl ScoreModel for HeatMixture {
    fn predicts(&self) -> PredictionKind {
        self.predicts
    }

    fn predict(&self, state: &State, t: &Tensor, _train: bool) -> Result<Prediction> {
        let (_, score, kernel) = self.evaluate(state, &t.reshape([-1, 1]))?;
        let kind = state.options().0;
        let heads = score.0.iter().zip(&kernel.std).map(|(score, std)| {
            let head = match self.predicts {
                PredictionKind::Score => score.shallow_clone(),
                PredictionKind::Noise => std.times(score).neg(),
                _ => std.times(score),
            };
            head.to_kind(kind)
        });
        Ok(Prediction::one(self.predicts, Xi(heads.collect())))
    }
}
