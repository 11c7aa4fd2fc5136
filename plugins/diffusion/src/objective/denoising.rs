//! Denoising: the regression of what a model predicts on what the noise of the process was
//! (sism.md 1.3). Its minimiser is the conditional mean of the target, which makes the prediction
//! the (generalised) score.

use super::times::{Draws, Times};
use isotropy_core::{
    Columns, Drive, Error, Kernel, Loss, LossContext, NoisingProcess, Objective, ObjectiveConfig,
    PredictionKind, Regression, Result, Root, Scale, ScoreModel, State, Xi, broadcast_mask,
    component, config,
};
use std::sync::{Mutex, PoisonError};
use tch::{Reduction, Tensor};

/// Regression of the prediction on its denoising target: mean over the batch of the error summed
/// over all coefficients. What cannot move the point does not count: coefficients of padded points,
/// and the part of a predicted score or noise that the stabiliser of the drive hides.
#[config(default)]
#[derive(Clone, Default)]
pub struct DenoisingConfig {
    /// How errors are measured.
    pub error: ErrorNorm,
    /// How errors at different times count.
    pub weighting: Weighting,
    /// How the times of a batch are drawn.
    pub times: Times,
    /// How the errors at the points of a set add up.
    pub points: PointReduction,
}

/// How the errors at the points of a set (a function, a molecule) add up.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum PointReduction {
    /// Every point counts alike, a set by its number of points.
    #[default]
    Sum,
    /// The mean over the points that are there: every set counts alike, as neural diffusion processes
    /// were published (geomndp.md 1.3).
    Mean,
}

/// How an error is measured.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum ErrorNorm {
    /// Its square.
    #[default]
    Squared,
    /// Its absolute value. The minimiser is then the conditional median, not the mean.
    Absolute,
}

/// How errors at different times count.
#[config]
#[derive(Clone, Copy, Default, PartialEq)]
pub enum Weighting {
    /// Every prediction is compared on the scale of the noise: the error of a score is multiplied
    /// by the standard deviation of the kernel, that of clean coordinates by mean factor over
    /// standard deviation; other predictions live on this scale already.
    #[default]
    NoiseScale,
    /// The error of the prediction as it is. With the prediction `score` this is the published loss
    /// with target `-eta / sigma`, which the smallest times dominate (sism.md, pitfall 12).
    Unit,
    /// The weight of Karras et al. (2022): `(sigma^2 + sigma_data^2) / (sigma sigma_data)^2` on the
    /// squared error of clean coordinates, with `sigma` the standard deviation of the kernel over
    /// its mean factor. The raw output of an `edm-preconditioned` network then has weight 1 at every
    /// noise level. Other predictions count by the error of the clean coordinates that they imply.
    Edm(EdmWeight),
}

/// Parameter of the weighting `edm`.
#[config]
#[derive(Clone, Copy, PartialEq)]
pub struct EdmWeight {
    /// Standard deviation of the clean coordinates, in their unit, as the model has it; positive.
    #[schemars(range(min = 1e-9, max = 1e9))]
    pub sigma_data: f64,
}

#[component(
    "denoising",
    "regression of the prediction on the noise that the process added",
    r#"{"type": "denoising", "weighting": "noise-scale", "times": "stratified"}"#
)]
impl ObjectiveConfig for DenoisingConfig {
    fn build(&self) -> Result<Box<dyn Objective>> {
        let positive = |pointer: &str, value: f64| {
            if value > 0.0 && value.is_finite() {
                return Ok(());
            }
            Err(Error::config(pointer, format!("{value} must be a positive number")))
        };
        if let Weighting::Edm(edm) = self.weighting {
            positive("/weighting/edm/sigma_data", edm.sigma_data)?;
        }
        if let Times::LogNormal(law) = self.times {
            positive("/times/log-normal/std", law.std)?;
        }
        Ok(Box::new(Denoising {
            config: self.clone(),
            times: Draws::new(self.times),
            hides: Mutex::new(None),
        }))
    }
}

/// Coefficients up to which their projection is kept as a matrix for each point.
const WIDEST: i64 = 64;

#[derive(Debug)]
struct Denoising {
    config: DenoisingConfig,
    times: Draws,
    /// The drive that was asked last, and whether it has coefficients that move nothing: asked once,
    /// since the answer is read from the device.
    hides: Mutex<Option<(String, bool)>>,
}

impl Denoising {
    /// [`hides`] of a drive, remembered.
    fn hides(&self, fields: &dyn Drive, state: &State, like: &Xi) -> bool {
        let drive = format!("{}: {}", fields.name(), fields.frame());
        // A poisoned lock is harmless: the answer is only ever put in whole.
        let mut kept = self.hides.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.as_ref() {
            Some((asked, answer)) if *asked == drive => *answer,
            _ => kept.insert((drive, hides(fields, state, like))).1,
        }
    }

    fn error(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        match self.config.error {
            ErrorNorm::Squared => prediction.mse_loss(target, Reduction::Sum),
            ErrorNorm::Absolute => prediction.l1_loss(target, Reduction::Sum),
        }
    }

    /// The weighted error of one head, summed over batch, factors and coefficients.
    fn head_error(
        &self,
        kind: PredictionKind,
        kernel: &Kernel,
        batch: &State,
        head: &Xi,
        target: &Xi,
    ) -> Tensor {
        let factors = head.0.iter().zip(&target.0).enumerate().map(|(k, (head, target))| {
            // Prediction and target are scaled alike; nothing is computed where there is no scale.
            let both =
                |f: &dyn Fn(&Tensor) -> Tensor, pair: (Tensor, Tensor)| (f(&pair.0), f(&pair.1));
            let mut pair = (head.shallow_clone(), target.shallow_clone());
            if self.config.weighting != Weighting::Unit {
                let (mean, std): (&Scale, &Scale) = (&kernel.mean[k], &kernel.std[k]);
                let colour = kernel.colour[k].as_ref();
                let root = |x: Tensor, f: fn(&Root, &Tensor) -> Tensor| match colour {
                    Some(root) => f(root, &x),
                    None => x,
                };
                match kind {
                    PredictionKind::Score => {
                        pair = both(&|x| root(std.times(x), Root::apply_transposed), pair);
                    }
                    PredictionKind::Clean => {
                        pair =
                            both(&|x| root(mean.times(&kernel.per_noise(k, x)), Root::solve), pair);
                    }
                    _ => {}
                }
                if let Weighting::Edm(edm) = self.config.weighting {
                    // On the scale of the noise an error is that of clean coordinates over sigma.
                    let one = Tensor::ones([1], (head.kind(), head.device()));
                    let sigma = mean.divide(&std.times(&one));
                    let weight = ((sigma / edm.sigma_data).square() + 1.0).sqrt();
                    pair = both(&|x| x * &weight, pair);
                }
            }
            if let Some(mask) = batch.mask().and_then(|mask| broadcast_mask(mask, &pair.0)) {
                pair = both(&|x| x * &mask, pair);
            }
            if self.config.points == PointReduction::Mean
                && let Some(share) = share(batch, &pair.0)
            {
                let weight = match self.config.error {
                    ErrorNorm::Squared => share.sqrt(),
                    ErrorNorm::Absolute => share,
                };
                pair = both(&|x| x * &weight, pair);
            }
            self.error(&pair.0, &pair.1)
        });
        factors.reduce(|a, b| a + b).expect("a prediction has at least one factor")
    }
}

/// Whether a prediction of this kind is made of coefficients of the fields that move points, of which
/// only the horizontal part counts. The others are coordinates of points.
fn moves_points(kind: PredictionKind) -> bool {
    matches!(
        kind,
        PredictionKind::Noise
            | PredictionKind::Score
            | PredictionKind::PreconditionedScore
            | PredictionKind::CovarianceScore
            | PredictionKind::Velocity
    )
}

/// The coefficients of all factors in a row, `[B, m]`.
fn columns(xi: &Xi) -> Tensor {
    let flat: Vec<Tensor> = xi.0.iter().map(|a| a.flatten(1, -1)).collect();
    Tensor::cat(&flat, 1)
}

/// Whether some coefficients of the shapes of `like` move nothing at these states. One value is
/// read by the host.
fn hides(fields: &dyn Drive, state: &State, like: &Xi) -> bool {
    // Numbers without relation to each other, so that no direction is left out.
    let probe = like.map(|a| (a.ones_like().cumsum(0, None) * 0.7 + 1.3).sin() + a);
    let hidden = columns(&probe.sub(&fields.horizontal(state, &probe)));
    hidden.abs().max().double_value(&[]) != 0.0
}

/// The projection on horizontal coefficients as matrices `[B, m, m]`, for coefficients of the
/// shapes of `like` with `m` numbers a point.
fn projection(fields: &dyn Drive, state: &State, like: &Xi) -> Tensor {
    let mut images = Vec::new();
    for (k, factor) in like.0.iter().enumerate() {
        for index in 0..factor.size()[1..].iter().product::<i64>() {
            let unit = like.zeros_like();
            let _ = unit.0[k].flatten(1, -1).select(1, index).fill_(1.0);
            images.push(columns(&fields.horizontal(state, &unit)));
        }
    }
    Tensor::stack(&images, 2)
}

/// What a point counts in a mean over its set, `1 / n` with `n` the points that are there (1 where
/// there are none), in a shape that broadcasts against coefficients `[B, N, ..]`; `None` when the
/// coefficients do not belong to the index set.
fn share(state: &State, coefficients: &Tensor) -> Option<Tensor> {
    let ones = match state.mask() {
        Some(mask) => mask.shallow_clone(),
        None => Tensor::ones([state.batch_size(), state.index_size()?], state.options()),
    };
    let there = broadcast_mask(&ones, coefficients)?;
    Some(there.sum_dim_intlist(1, true, None).clamp_min(1.0).reciprocal())
}

impl Objective for Denoising {
    fn accepts(&self, process: Option<&dyn NoisingProcess>, model: &dyn ScoreModel) -> Result<()> {
        let process = process.ok_or_else(|| {
            Error::config("", "denoising needs a `process`, and the experiment has none")
        })?;
        if model.predicts() != PredictionKind::Logits {
            process.accepts_prediction(model.predicts())?;
        }
        self.times.accepts(process)?;
        match model.predicts() {
            PredictionKind::Logits => {
                Err(Error::config("", "denoising cannot train a classifier: it predicts logits"))
            }
            PredictionKind::Field | PredictionKind::FieldSum
                if process.fields().coordinates().is_none() =>
            {
                let message = format!(
                    "the model predicts a field of flow coordinates, and {} has none",
                    process.drive().name()
                );
                Err(Error::config("", message))
            }
            _ => Ok(()),
        }
    }

    fn loss(&self, model: &dyn ScoreModel, batch: &State, context: &LossContext) -> Result<Loss> {
        let process = context.process.ok_or_else(|| Error::Other("no process".into()))?;
        let name = if context.train { "denoising" } else { "denoising/validation" };
        let mut stream = context.streams.stream(name, context.step);
        let size = batch.batch_size();
        let t = self.times.draw(process, (1, size), batch.options(), &mut stream)?;
        let perturbed = process.perturb(batch, &t, &mut stream)?;
        let prediction = model.predict(&perturbed.noisy, &t, context.train)?;
        let target = perturbed.target(prediction.kind)?;

        let heads = prediction.heads.iter().zip(&target).map(|(head, target)| {
            let head = if moves_points(prediction.kind) {
                process.fields().horizontal(&perturbed.noisy, head)
            } else {
                head.clone()
            };
            self.head_error(prediction.kind, &perturbed.kernel, batch, &head, target)
        });
        let heads: Vec<Tensor> = heads.collect();
        // Parts cost a few operations each; in training they would be the price of every step.
        let parts = if context.train || heads.len() < 2 {
            Vec::new()
        } else {
            let named = heads.iter().enumerate();
            named.map(|(k, error)| (format!("head_{k}"), error.detach() / size as f64)).collect()
        };
        let total = heads.into_iter().reduce(|a, b| a + b);
        let total = total.expect("a prediction has at least one head") / size as f64;
        Ok(Loss { total, parts })
    }

    /// The error of these predictions has weight 1 in the squared norm, so it is a plain regression.
    fn columns(
        &self,
        model: &dyn Regression,
        kind: PredictionKind,
        states: &State,
        batches: i64,
        context: &LossContext,
    ) -> Result<Option<Columns>> {
        let scaled = matches!(kind, PredictionKind::Score | PredictionKind::Clean);
        let weighted = match self.config.weighting {
            Weighting::NoiseScale => scaled,
            Weighting::Unit => false,
            Weighting::Edm(_) => true,
        };
        let averaged = self.config.points == PointReduction::Mean && states.index_size().is_some();
        let masked = states.mask().is_some();
        if weighted || averaged || masked || self.config.error != ErrorNorm::Squared {
            return Ok(None);
        }
        let process = context.process.ok_or_else(|| Error::Other("no process".into()))?;
        let mut stream = context.streams.stream("denoising", context.step);
        let size = states.batch_size() / batches;
        let t = self.times.draw(process, (batches, size), states.options(), &mut stream)?;
        let perturbed = process.perturb(states, &t, &mut stream)?;
        let heads = perturbed.target(kind)?;
        let columns: Vec<Tensor> =
            heads.iter().flat_map(|head| &head.0).map(|a| a.flatten(1, -1)).collect();
        let targets = Tensor::cat(&columns, 1);
        let mut horizontal = None;
        if moves_points(kind) {
            if targets.size()[1] > WIDEST {
                return Ok(None);
            }
            let (fields, noisy) = (process.fields(), &perturbed.noisy);
            if self.hides(fields, noisy, &heads[0]) {
                horizontal = Some(projection(fields, noisy, &heads[0]));
            }
        }
        Ok(Some(Columns { inputs: model.inputs(&perturbed.noisy, &t)?, targets, horizontal }))
    }
}
