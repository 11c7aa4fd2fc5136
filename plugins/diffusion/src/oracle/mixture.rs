//! The exact score of Gaussian data, and of mixtures of them, in flow coordinates.
//!
//! Under a kernel `tau_t = e + m tau_0 + s z` (`e` is the shift towards a known end, mostly 0) a
//! component `N(mu, sd^2)` becomes `N(e + m mu, m^2 sd^2 + s^2)`, so the score is known at every time.
//! For translations `tau = x`.
//!
//! Where coordinates alias the score of `tau` is no function of the point. States that carry their
//! unwrapped coordinates say on which branch they are; else only the averages over all branches,
//! `E[eps tau | x]` and `E[eps score | x]` ([`PredictionKind::Field`]), are exact, and everything
//! else is refused. With `p_t(tau)` the density of the noised coordinates, branch `b` has the
//! weight `p_t(tau_b) / sum_c p_t(tau_c)`: `|det Pi|` is the same on all of them.

use crate::model::kernel::{centred, fixed_end, std_of, tensor};
use isotropy_core::{
    Aliasing, Error, FlowCoordinates, Kernel, KernelLaw, ModelConfig, ModelContext, Prediction,
    PredictionKind, Representation, Result, ScoreModel, State, Xi, broadcast, component, config,
};
use std::f64::consts::PI;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The score when the clean coordinates of one factor are independent normals.
#[config]
#[derive(Clone)]
pub struct GaussianTauConfig {
    /// Mean of each coordinate, in the coordinate's unit; one number stands for all coordinates.
    pub mean: Vec<f64>,
    /// Standard deviation of each coordinate, in the coordinate's unit; non-negative; one number
    /// stands for all coordinates.
    pub std: Vec<f64>,
    /// The kind of prediction to return: any but `field-sum` and `logits`; `field` where
    /// coordinates alias and points do not carry the unwrapped ones.
    #[serde(default = "score")]
    pub predicts: PredictionKind,
}

/// The score when the clean coordinates of one factor follow a mixture of normals.
#[config]
#[derive(Clone)]
pub struct MixtureTauConfig {
    /// Mean of each component: a list of coordinates, in their unit.
    pub means: Vec<Vec<f64>>,
    /// Standard deviation of each component along each coordinate; non-negative.
    pub stds: Vec<Vec<f64>>,
    /// Weight of each component; positive, scaled to sum 1.
    pub weights: Vec<f64>,
    /// The kind of prediction to return: any but `field-sum` and `logits`; `field` where
    /// coordinates alias and points do not carry the unwrapped ones.
    #[serde(default = "score")]
    pub predicts: PredictionKind,
}

fn score() -> PredictionKind {
    PredictionKind::Score
}

/// Components `[K, d]`, in double precision on the CPU; they are moved to the kind and device of
/// the state when they are asked for.
struct MixtureTau {
    drive: Arc<dyn Representation>,
    kernel: Arc<dyn KernelLaw>,
    /// What the kernel's shift multiplies, one row.
    end: Option<Xi>,
    means: Tensor,
    variances: Tensor,
    log_weights: Tensor,
    predicts: PredictionKind,
    /// How many times an angle may go round in a `field`, either way.
    turns: i64,
}

/// Branches farther than this many standard deviations from every component have no weight.
const DEVIATIONS: f64 = 8.0;

impl MixtureTau {
    fn build(
        (means, stds, weights): (&[Vec<f64>], &[Vec<f64>], &[f64]),
        predicts: PredictionKind,
        context: &ModelContext,
    ) -> Result<Box<dyn ScoreModel>> {
        let process = context.denoised()?;
        let shapes = context.xi_shape()?;
        let [shape] = shapes.as_slice() else {
            return Err(Error::config("", "this oracle is for drives with one factor"));
        };
        let dimension: i64 = shape.iter().product();
        let rows = |pointer: &str, rows: &[Vec<f64>]| -> Result<Tensor> {
            let rows = rows.iter().map(|row| match row.as_slice() {
                [one] => Ok(vec![*one; dimension as usize]),
                row if row.len() as i64 == dimension => Ok(row.to_vec()),
                row => Err(Error::config(
                    pointer,
                    format!("{} numbers for {dimension} coordinates", row.len()),
                )),
            });
            let rows: Vec<f64> = rows.collect::<Result<Vec<_>>>()?.concat();
            Ok(Tensor::from_slice(&rows).view([-1, dimension]))
        };
        let (means, stds) = (rows("/means", means)?, rows("/stds", stds)?);
        if means.size() != stds.size() || means.size()[0] != weights.len() as i64 {
            return Err(Error::config("", "means, stds and weights are not equally many"));
        }
        if weights.iter().any(|w| w.is_nan() || *w <= 0.0) {
            return Err(Error::config("/weights", "weights must be positive"));
        }
        let drive = process.drive().clone();
        let coordinates = process
            .fields()
            .coordinates()
            .ok_or_else(|| Error::config("", "this oracle needs a drive with flow coordinates"))?;
        match (predicts, coordinates.aliasing()) {
            (PredictionKind::FieldSum | PredictionKind::Logits | PredictionKind::Velocity, _) => {
                let message = "this oracle knows the score and the averages of `field`";
                return Err(Error::config("/predicts", message));
            }
            (PredictionKind::Field, _) if context.spec.value.shape.len() != 1 => {
                let message = "the averages of `field` are known for one point, not for sets";
                return Err(Error::config("/predicts", message));
            }
            (PredictionKind::Field, _) | (_, Aliasing::None | Aliasing::Carried) => {}
            (_, Aliasing::Principal) => {
                let message = format!(
                    "the coordinates of {} alias, and points do not carry the unwrapped ones: the \
                     score at a point is not that of one branch",
                    drive.name()
                );
                let help = "set \"unwrapped\": true in the drive, or \"predicts\": \"field\" here";
                return Err(Error::config("/predicts", message).with_help(help));
            }
        }
        let kernel = process.gaussian_kernel().filter(|law| !law.coloured_by_state());
        let kernel = kernel.ok_or_else(|| {
            Error::config("", "this oracle needs a process with a Gaussian kernel")
        })?;
        let end = fixed_end(process, context.spec)?;
        let log_weights = Tensor::from_slice(weights).log().log_softmax(0, Kind::Double);
        let variances = stds.square();
        let mut oracle =
            Self { drive, kernel, end, means, variances, log_weights, predicts, turns: 0 };
        oracle.turns = oracle.turns_at(process.time().end);
        Ok(Box::new(oracle))
    }

    /// Turns that reach every branch with a weight at the time of most noise.
    fn turns_at(&self, end: f64) -> i64 {
        let kernel = self.kernel.tensors(&Tensor::full([1, 1], end, (Kind::Double, Device::Cpu)));
        let row = self.means.narrow(0, 0, 1);
        let std = std_of(&kernel, 0, &row).max().double_value(&[]);
        let spread = std.hypot(self.variances.max().double_value(&[]).sqrt());
        let mut reach = self.means.abs().max().double_value(&[]) + DEVIATIONS * spread;
        if let Some(end) = &self.end {
            reach += end.single().abs().max().double_value(&[]);
        }
        ((reach / PI + 1.0) / 2.0).ceil() as i64
    }

    fn coordinates(&self) -> &dyn FlowCoordinates {
        let drive = self.drive.drive().expect("checked when the oracle was built");
        drive.coordinates().expect("checked when the oracle was built")
    }

    /// The score at coordinates `[B, d]`, counted from the shift, under kernel scales `[B, 1]` or
    /// `[B, d]`, and the log-density there up to a constant, `[B, 1]`.
    fn score(&self, tau: &Tensor, mean: &Tensor, std: &Tensor) -> (Tensor, Tensor) {
        let options = (tau.kind(), tau.device());
        let here = |tensor: &Tensor| tensor.to_kind(options.0).to_device(options.1);
        let (mean, variance) = (mean.unsqueeze(1), std.square().unsqueeze(1));
        // [B, K, d]
        let spread = here(&self.variances) * mean.square() + variance;
        let scores = (here(&self.means) * mean - tau.unsqueeze(1)) / &spread;
        let exponent = (scores.square() * &spread + spread.log()) * -0.5;
        let log = exponent.sum_dim_intlist(2, true, None) + here(&self.log_weights).unsqueeze(1);
        let score = (log.softmax(1, options.0) * scores).sum_dim_intlist(1, false, None);
        (score, log.logsumexp([1i64].as_slice(), false))
    }

    /// `E[eps tau | x]` and `std E[eps score | x]` over all branches of the points of a state.
    fn field(&self, state: &State, kernel: &Kernel) -> Prediction {
        let coordinates = self.coordinates();
        let (mut taus, mut scores, mut logs) = (Vec::new(), Vec::new(), Vec::new());
        for tau in coordinates.branches(state, self.turns) {
            let from_end = centred(kernel, &tau, self.end.as_ref());
            let mean = tensor(&kernel.mean[0], tau.single());
            let std = std_of(kernel, 0, tau.single());
            let (score, log) = self.score(from_end.single(), &mean, &std);
            let (mut tau, mut score) = (tau, Xi::from(score * std));
            if let Some(eps) = coordinates.orientation(&tau) {
                (tau, score) = (tau.zip(&eps, |a, e| a * e), score.zip(&eps, |a, e| a * e));
            }
            taus.push(tau.single().shallow_clone());
            scores.push(score.single().shallow_clone());
            logs.push(log);
        }
        let weights = Tensor::stack(&logs, 0).softmax(0, logs[0].kind());
        let average = |all: &[Tensor]| {
            Xi::from((&weights * Tensor::stack(all, 0)).sum_dim_intlist(0, false, None))
        };
        Prediction { kind: PredictionKind::Field, heads: vec![average(&taus), average(&scores)] }
    }
}

impl ScoreModel for MixtureTau {
    fn predicts(&self) -> PredictionKind {
        self.predicts
    }

    /// Its density has as many coordinates as the states that it was built for.
    fn any_number_of_points(&self) -> bool {
        false
    }

    fn predict(&self, state: &State, t: &Tensor, _train: bool) -> Result<Prediction> {
        let tau = self.coordinates().unwrapped(state);
        let shape = tau.single().size();
        let kernel = self.kernel.tensors(&broadcast(&t.to_kind(tau.options().0), shape.len()));
        if self.predicts == PredictionKind::Field {
            return Ok(self.field(state, &kernel));
        }
        let tau = centred(&kernel, &tau, self.end.as_ref());
        let flat = tau.single().flatten(1, -1);
        let columns = |scale: Tensor| match scale.size() {
            size if size == shape => scale.flatten(1, -1),
            _ => scale.view([-1, 1]),
        };
        let mean = columns(tensor(&kernel.mean[0], tau.single()));
        let std = columns(std_of(&kernel, 0, tau.single()));
        // What the noise is multiplied by before it is coloured.
        let level = columns(tensor(&kernel.std[0], tau.single()));
        let (score, _) = self.score(&flat, &mean, &std);
        let head = match self.predicts {
            PredictionKind::Noise => score * -std,
            PredictionKind::PreconditionedScore => score * std,
            PredictionKind::CovarianceScore => score * std.square() / level,
            PredictionKind::Clean => (flat + score * std.square()) / mean,
            _ => score,
        };
        Ok(Prediction::one(self.predicts, head.view(shape.as_slice())))
    }
}

#[component(
    "gaussian-tau-oracle",
    "exact score of data that are Gaussian in flow coordinates",
    r#"{"type": "gaussian-tau-oracle", "mean": [0.7], "std": [0.25]}"#
)]
impl ModelConfig for GaussianTauConfig {
    fn build(&self, _: &tch::nn::Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        let (means, stds) = ([self.mean.clone()], [self.std.clone()]);
        MixtureTau::build((&means, &stds, &[1.0]), self.predicts, context)
    }
}

#[component(
    "mixture-tau-oracle",
    "exact score of data that are a mixture of Gaussians in flow coordinates",
    r#"{"type": "mixture-tau-oracle", "means": [[1.0], [-1.0]], "stds": [[0.2], [0.3]], "weights": [0.4, 0.6]}"#
)]
impl ModelConfig for MixtureTauConfig {
    fn build(&self, _: &tch::nn::Path, context: &ModelContext) -> Result<Box<dyn ScoreModel>> {
        MixtureTau::build((&self.means, &self.stds, &self.weights), self.predicts, context)
    }
}
