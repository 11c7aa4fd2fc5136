//! What the Gaussian process that functions come from makes of them: the best that any model can do.

use super::functions::test_functions;
use super::{GaussianProcessConfig, Summary};
use isotropy_core::{
    DatasetConfig, Error, Evaluation, Measured, Metric, MetricConfig, Result, component, config,
};
use serde::{Deserialize, Serialize};

/// Conditional log-likelihood of test functions under a Gaussian process, in nats per asked point with its standard
/// error over functions: `gp_optimum_loglik_nats_per_point`, and without the covariances between points
/// `gp_diagonal_loglik_nats_per_point` (the published rows "GP" and "GP diag"). No model is evaluated.
#[config]
pub struct GpOptimumConfig {
    /// The process that the functions come from.
    pub process: GaussianProcessConfig,
    /// Put before the names of the numbers, to tell several of these metrics apart; null for nothing.
    #[serde(default)]
    pub name: Option<String>,
    /// Test functions of another dataset than that of the experiment; null for its own.
    #[serde(default)]
    pub dataset: Option<Box<dyn DatasetConfig>>,
    /// Test functions that are used, at most.
    #[serde(default = "functions")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub functions: u32,
}

fn functions() -> u32 {
    4096
}

#[component(
    "gp-optimum",
    "log-likelihood of test functions under the Gaussian process that they come from",
    r#"{"type": "gp-optimum", "process": {"kernel": {"type": "rbf", "lengthscale": 0.25}}}"#
)]
impl MetricConfig for GpOptimumConfig {
    fn build(&self) -> Result<Box<dyn Metric>> {
        if self.functions == 0 {
            return Err(Error::config("/functions", "at least 1"));
        }
        if let Some(dataset) = &self.dataset {
            dataset.spec().map_err(|error| error.under("/dataset"))?;
        }
        self.process.build().map_err(|error| error.under("/process"))?;
        Ok(Box::new(GpOptimum(again(self)?)))
    }
}

/// A configuration once more, by its JSON: what a running metric keeps.
pub(super) fn again<C: Serialize + for<'de> Deserialize<'de>>(config: &C) -> Result<C> {
    let wrong = |error: serde_json::Error| Error::Other(format!("a metric as JSON: {error}"));
    serde_json::from_value(serde_json::to_value(config).map_err(wrong)?).map_err(wrong)
}

#[derive(Debug)]
struct GpOptimum(GpOptimumConfig);

/// Functions that are factorised together.
const BATCH: i64 = 128;

impl Metric for GpOptimum {
    fn of_samples(&self) -> bool {
        false
    }

    fn reports(&self) -> Vec<String> {
        let prefix = self.0.name.as_ref().map_or(String::new(), |name| format!("{name}_"));
        ["*_loglik_nats_per_point*", "gp_kernel*"].map(|name| format!("{prefix}{name}")).to_vec()
    }

    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>> {
        let config = &self.0;
        let process = config.process.fitted(evaluation).map_err(|e| e.under("/process"))?;
        let functions = test_functions(evaluation, config.dataset.as_deref(), config.functions)?;
        let (mut full, mut diagonal, mut at) = (Vec::new(), Vec::new(), 0);
        while at < functions.batch_size() {
            let batch = functions.narrow(at, BATCH.min(functions.batch_size() - at));
            let posterior = process.condition_on_observed(&batch)?;
            full.push(posterior.log_prob(batch.x())? / posterior.count());
            diagonal.push(posterior.log_prob_diagonal(batch.x()) / posterior.count());
            at += BATCH;
        }
        let prefix = config.name.as_ref().map_or(String::new(), |name| format!("{name}_"));
        let mut measured = Vec::new();
        for (name, values) in [("gp_optimum", full), ("gp_diagonal", diagonal)] {
            let name = format!("{prefix}{name}_loglik_nats_per_point");
            let summary = Summary::of(&tch::Tensor::cat(&values, 0));
            measured.extend(summary.measured(Measured::higher(name, f64::NAN)));
        }
        if config.process.tune.is_some() {
            let numbers = process.kernel().hyperparameters().into_iter();
            measured.extend(numbers.map(|number| {
                Measured::neutral(format!("{prefix}gp_kernel{}", number.pointer), number.value)
            }));
        }
        Ok(measured)
    }
}
