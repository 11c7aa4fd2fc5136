//! Where in the noise a model differs from the exact score of Gaussian data.

use super::functions::test_functions;
use super::optimum::again;
use super::{GaussianProcessConfig, Summary};
use isotropy_core::{
    Error, Evaluation, Measured, Metric, MetricConfig, ModelContext, NoisingProcess,
    PredictionKind, Result, ScoreModel, State, Xi, component, config,
};
use isotropy_diffusion::observed;
use isotropy_gaussian_processes::oracle::Oracle;
use tch::{Kind, Tensor};

/// How far a model is from the exact score of data from a Gaussian process, in nats, and at which noise.
///
/// With `e` and `e*` the noises that model and exact score predict in values noised to the signal-to-noise ratio
/// `e^lambda`, the divergence of the two reverse processes is `1/2` the integral of the mean of `|e - e*|^2` over
/// `lambda` (Kingma et al. 2021, section 4; Song et al. 2021, theorem 1): `score_gap_nats_per_point` is that integral from
/// `lowest` to the end of the process, for known and asked points together, over the number of points. Where the model is the
/// score of some law, it is the divergence of the two laws at the lowest noise less that at the end. It needs no solver.
///
/// `score_gap_level_10`, `..._50` and `..._90`: ratios of noise to signal below which 10, 50 and 90 % of it lie.
#[config]
pub struct FieldScoreGapConfig {
    /// The process that the functions come from, noise included.
    pub against: GaussianProcessConfig,
    /// Put before the names of the numbers, to tell several of these metrics apart; null for nothing.
    #[serde(default)]
    pub name: Option<String>,
    /// Test functions that are used, at most.
    #[serde(default = "functions")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub functions: u32,
    /// Noise levels, equally spaced in the logarithm of the ratio of noise to signal.
    #[serde(default = "levels")]
    #[schemars(range(min = 2, max = 10_000))]
    pub levels: u32,
    /// The lowest ratio of noise to signal; where the process starts above it, there. Below the noise of the data little
    /// is left to find.
    #[serde(default = "lowest")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub lowest: f64,
}

fn lowest() -> f64 {
    0.01
}

fn functions() -> u32 {
    32
}

fn levels() -> u32 {
    32
}

#[component(
    "field-score-gap",
    "distance of the model from the exact score of a Gaussian process in nats per point, and at which noise",
    r#"{"type": "field-score-gap", "against": {"kernel": {"type": "rbf", "lengthscale": 0.25}}}"#
)]
impl MetricConfig for FieldScoreGapConfig {
    fn build(&self) -> Result<Box<dyn Metric>> {
        if self.functions == 0 {
            return Err(Error::config("/functions", "at least 1"));
        }
        if self.levels < 2 {
            return Err(Error::config("/levels", "an integral takes two levels at least"));
        }
        if !(self.lowest > 0.0 && self.lowest.is_finite()) {
            return Err(Error::config("/lowest", "a ratio of noise to signal is positive"));
        }
        self.against.build().map_err(|error| error.under("/against"))?;
        Ok(Box::new(FieldScoreGap(again(self)?)))
    }
}

#[derive(Debug)]
struct FieldScoreGap(FieldScoreGapConfig);

/// Functions whose covariances are factorised together.
const BATCH: i64 = 32;

/// The noise `[B, N, d]` that a model finds in noisy values at time `t`, in double precision.
fn noise(
    model: &dyn ScoreModel,
    process: &dyn NoisingProcess,
    noisy: &State,
    t: f64,
) -> Result<Tensor> {
    let times = Tensor::full([noisy.batch_size()], t, noisy.options());
    let prediction = model.predict(noisy, &times, false)?;
    let law = process.gaussian_kernel().ok_or_else(|| no_kernel(process))?;
    let kernel = law.at(noisy, t)?;
    let values = Xi::from(noisy.x().shallow_clone());
    let tau = kernel.centred(&values, process.known_end(noisy)?.as_ref());
    Ok(kernel.noise(&prediction, Some(&tau))?.single().to_kind(Kind::Double))
}

fn no_kernel(process: &dyn NoisingProcess) -> Error {
    Error::Unsupported(format!("{} has no Gaussian kernel with a noise level", process.name()))
}

impl Metric for FieldScoreGap {
    fn of_samples(&self) -> bool {
        false
    }

    fn reports(&self) -> Vec<String> {
        let prefix = self.0.name.as_ref().map_or(String::new(), |name| format!("{name}_"));
        vec![format!("{prefix}score_gap_*")]
    }

    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>> {
        let config = &self.0;
        let process = evaluation.process.ok_or_else(|| {
            Error::Unsupported("noise needs a process, and this experiment has none".into())
        })?;
        let data = config.against.fitted(evaluation).map_err(|e| e.under("/against"))?;
        let functions = observed::joint(&test_functions(evaluation, None, config.functions)?)?;
        let spec = functions.spec();
        let context = ModelContext { spec: &spec, process: Some(process), symmetry: None };
        let exact = Oracle::new(data, PredictionKind::CovarianceScore, false, &context)
            .map_err(|e| e.under("/against"))?;
        let level = |t: f64| process.level(t).ok_or_else(|| no_kernel(process));
        let ends = [level(process.time().start)?.max(config.lowest), level(process.time().end)?];
        if ends[0] >= ends[1] {
            let message = format!("{} is above all noise of the process, {}", ends[0], ends[1]);
            return Err(Error::config("/lowest", message));
        }
        let ends = ends.map(f64::ln);
        let (count, batch) = (i64::from(config.levels), functions.batch_size());
        // lambda = -2 log(noise / signal).
        let spacing = 2.0 * (ends[1] - ends[0]) / (count - 1) as f64;
        let mut of_levels = Vec::new();
        for k in 0..count {
            let log = ends[0] + (ends[1] - ends[0]) * k as f64 / (count - 1) as f64;
            let t = process.time_of_level(log.exp()).ok_or_else(|| no_kernel(process))?;
            let mut parts = Vec::new();
            for start in (0..batch).step_by(BATCH as usize) {
                let state = functions.narrow(start, BATCH.min(batch - start));
                let name = format!("score gap/{start}");
                let mut stream = evaluation.streams.stream(&name, k as u64);
                let times = Tensor::full([state.batch_size()], t, state.options());
                let noisy = process.perturb(&state, &times, &mut stream)?.noisy;
                let found = noise(evaluation.model, process, &noisy, t)?;
                let difference = (found - noise(&exact, process, &noisy, t)?).square();
                let squares = difference.sum_dim_intlist(-1, false, None);
                parts.push(match state.mask() {
                    None => squares.mean_dim(1, false, None),
                    Some(mask) => {
                        let mask = mask.to_kind(Kind::Double);
                        let points = mask.sum_dim_intlist(1, false, None);
                        (squares * mask).sum_dim_intlist(1, false, None) / points
                    }
                });
            }
            // The trapezoidal rule.
            let weight = if k == 0 || k + 1 == count { 0.5 } else { 1.0 };
            of_levels.push(Tensor::cat(&parts, 0) * (0.5 * spacing * weight));
        }
        let of_levels = Tensor::stack(&of_levels, 1);
        let prefix = config.name.as_ref().map_or(String::new(), |name| format!("{name}_"));
        let summary = Summary::of(&of_levels.sum_dim_intlist(1, false, None));
        let name = format!("{prefix}score_gap_nats_per_point");
        let mut measured = Vec::from(summary.measured(Measured::lower(name, f64::NAN)));
        let below = of_levels.mean_dim(0, false, None).cumsum(0, None);
        let below = Vec::<f64>::try_from(&below / below.get(count - 1))?;
        for percent in [10, 50, 90] {
            let part = f64::from(percent) / 100.0;
            // Between the two levels where the part is reached, on a straight line of the logarithm.
            let k = below.iter().position(|b| *b >= part).unwrap_or(below.len() - 1);
            let before = if k == 0 { 0.0 } else { below[k - 1] };
            let reached = k as f64 - (below[k] - part) / (below[k] - before).max(f64::MIN_POSITIVE);
            let level = (ends[0] + reached.max(0.0) * 0.5 * spacing).exp();
            measured.push(Measured::neutral(format!("{prefix}score_gap_level_{percent}"), level));
        }
        Ok(measured)
    }
}
