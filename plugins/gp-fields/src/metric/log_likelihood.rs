//! The log-likelihood of test functions in nats per point.

use super::functions::test_functions;
use super::optimum::again;
use super::{GaussianProcessConfig, Summary};
use isotropy_core::{
    DatasetConfig, Error, Evaluation, Measured, Metric, MetricConfig, NoisingProcess, Result,
    ScoreModel, State, component, config,
};
use isotropy_diffusion::likelihood::{
    ConditionalLogLikelihood, LikelihoodOptions, conditional_log_likelihood, log_likelihood,
    terminal_gap,
};
use isotropy_diffusion::observed;
use isotropy_gaussian_processes::posterior::GaussianProcess;
use tch::{Kind, Tensor};

/// Which density is measured.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Of {
    /// That of the asked points given the known ones, as the difference of the log-densities of all points and of the
    /// known points (two solves with the same probes), over the number of asked points.
    #[default]
    Conditional,
    /// That of the asked points given the known ones by a model that is trained to see known values (`conditioned`):
    /// one solve, over the number of asked points.
    Conditioned,
    /// That of all points together, known and asked, over their number.
    Joint,
    /// That of the asked points as if nothing were known, over their number.
    Query,
}

/// Mean log-likelihood of test functions by the probability-flow ODE in nats per point (for vector fields per vector,
/// not per component), with its standard error over functions: `loglik_nats_per_point` and
/// `loglik_nats_per_point_standard_error`. With `name` the numbers are called `NAME_loglik_...`.
///
/// The published settings are `"method": "euler", "steps": 100, "variable": "time"` with the exact divergence in one
/// dimension, and `"method": "heun", "steps": 100, "variable": "time", "divergence": "hutchinson", "probes": 8` for
/// fields in the plane.
///
/// With `against` the same functions are measured under the Gaussian process that they come from, the best that any
/// model can do: `gp_loglik_nats_per_point`, and `loglik_gap_nats_per_point`, how much the model misses of it. The gap is
/// paired: its standard error is that of the differences, so that few functions suffice.
///
/// `loglik_prior_gap_nats` bounds by how much the end of the process is not the prior, in nats of a whole function (known
/// points and asked ones).
#[config(default)]
pub struct FieldLogLikelihoodConfig {
    /// Put before the names of the numbers, to tell several of these metrics apart; null for nothing.
    pub name: Option<String>,
    /// Which density is measured.
    pub of: Of,
    /// Test functions of another dataset (another task) than that of the experiment; null for its own.
    pub dataset: Option<Box<dyn DatasetConfig>>,
    /// How the likelihood is computed.
    #[serde(flatten)]
    pub likelihood: LikelihoodOptions,
    /// Test functions that are used, at most.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub functions: u32,
    /// Functions that are carried at once.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub batch: u32,
    /// The Gaussian process that the functions come from, noise included; null where they come from none.
    pub against: Option<GaussianProcessConfig>,
}

impl Default for FieldLogLikelihoodConfig {
    fn default() -> Self {
        Self {
            name: None,
            of: Of::Conditional,
            dataset: None,
            likelihood: LikelihoodOptions::default(),
            functions: 256,
            batch: 32,
            against: None,
        }
    }
}

#[component(
    "field-log-likelihood",
    "log-likelihood of test functions at asked points given known ones, in nats per point",
    r#"{"type": "field-log-likelihood", "functions": 64, "method": "heun", "steps": 50}"#
)]
impl MetricConfig for FieldLogLikelihoodConfig {
    fn build(&self) -> Result<Box<dyn Metric>> {
        self.likelihood.check()?;
        for (pointer, value) in [("/functions", self.functions), ("/batch", self.batch)] {
            if value == 0 {
                return Err(Error::config(pointer, "at least 1"));
            }
        }
        if let Some(dataset) = &self.dataset {
            dataset.spec().map_err(|error| error.under("/dataset"))?;
        }
        if let Some(against) = &self.against {
            against.build().map_err(|error| error.under("/against"))?;
        }
        Ok(Box::new(FieldLogLikelihood { config: again(self)? }))
    }
}

#[derive(Debug)]
struct FieldLogLikelihood {
    config: FieldLogLikelihoodConfig,
}

/// Numbers of the points that are there, `[B]`.
fn points(state: &State) -> Tensor {
    let double = (Kind::Double, state.options().1);
    match (state.mask(), state.index_size()) {
        (Some(mask), _) => mask.to_kind(Kind::Double).sum_dim_intlist(1, false, None),
        (None, points) => Tensor::full([state.batch_size()], points.unwrap_or(1), double),
    }
}

impl FieldLogLikelihood {
    /// All points whose density is computed.
    fn whole(&self, state: &State) -> Result<State> {
        match self.config.of {
            Of::Conditional | Of::Joint => observed::joint(state),
            Of::Query | Of::Conditioned => Ok(observed::query(state)),
        }
    }

    /// Log-densities `[B]`, numbers of points `[B]`, and evaluations of the model.
    fn of(
        &self,
        evaluation: &Evaluation,
        state: &State,
        at: i64,
    ) -> Result<(Tensor, Tensor, usize)> {
        let process = evaluation.process.ok_or_else(|| {
            Error::Unsupported("a likelihood needs a process, and this experiment has none".into())
        })?;
        let streams = evaluation.streams.named(&format!("field likelihood/{at}"));
        let options = &self.config.likelihood;
        if self.config.of == Of::Conditional {
            let found =
                conditional_log_likelihood(process, evaluation.model, state, options, &streams)?;
            let ConditionalLogLikelihood { log_prob, points, evaluations, .. } = found;
            return Ok((log_prob, points, evaluations));
        }
        let state = match self.config.of {
            Of::Joint => observed::joint(state)?,
            Of::Query => observed::query(state),
            _ => state.clone(),
        };
        let found = log_likelihood(process, evaluation.model, &state, options, &streams)?;
        Ok((found.log_prob, points(&state), found.evaluations))
    }

    /// The same under a Gaussian process.
    fn under(&self, optimum: &GaussianProcess, state: &State) -> Result<Tensor> {
        match self.config.of {
            Of::Conditional | Of::Conditioned => {
                optimum.condition_on_observed(state)?.log_prob(state.x())
            }
            Of::Joint => optimum.log_prob(&observed::joint(state)?),
            Of::Query => optimum.log_prob(&observed::query(state)),
        }
    }
}

impl Metric for FieldLogLikelihood {
    fn accepts(&self, process: Option<&dyn NoisingProcess>, model: &dyn ScoreModel) -> Result<()> {
        let process = process.ok_or_else(|| {
            Error::Unsupported("a likelihood needs a process, and this experiment has none".into())
        })?;
        self.config.likelihood.accepts(process, model)
    }

    fn of_samples(&self) -> bool {
        false
    }

    fn reports(&self) -> Vec<String> {
        let prefix = self.config.name.as_ref().map_or(String::new(), |name| format!("{name}_"));
        ["loglik_*", "gp_loglik_*"].map(|name| format!("{prefix}{name}")).to_vec()
    }

    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>> {
        let config = &self.config;
        let functions = test_functions(evaluation, config.dataset.as_deref(), config.functions)?;
        let optimum = match &config.against {
            Some(against) => Some(against.fitted(evaluation).map_err(|e| e.under("/against"))?),
            None => None,
        };
        let count = functions.batch_size();
        let (mut of_model, mut of_optimum) = (Vec::new(), Vec::new());
        let (mut evaluations, mut at) = (0, 0);
        while at < count {
            let size = i64::from(config.batch).min(count - at);
            let batch = functions.narrow(at, size);
            let (log_prob, points, cost) = self.of(evaluation, &batch, at)?;
            if let Some(optimum) = &optimum {
                of_optimum.push(self.under(optimum, &batch)? / &points);
            }
            of_model.push(log_prob.to_kind(Kind::Double) / points);
            evaluations = cost;
            at += size;
        }
        let of_model = Tensor::cat(&of_model, 0);
        let prefix = config.name.as_ref().map_or(String::new(), |name| format!("{name}_"));
        let named = |name: &str| format!("{prefix}{name}");
        let summary = Summary::of(&of_model);
        let name = named("loglik_nats_per_point");
        let mut measured = Vec::from(summary.measured(Measured::higher(name, f64::NAN)));
        if !of_optimum.is_empty() {
            let of_optimum = Tensor::cat(&of_optimum, 0);
            let name = named("gp_loglik_nats_per_point");
            let optimum = Summary::of(&of_optimum);
            measured.extend(optimum.measured(Measured::neutral(name, f64::NAN)));
            let name = named("loglik_gap_nats_per_point");
            let gap = Summary::of(&(of_optimum - of_model));
            measured.extend(gap.measured(Measured::lower(name, f64::NAN)));
        }
        measured.extend([
            Measured::neutral(named("loglik_functions"), summary.count as f64),
            Measured::neutral(named("loglik_left_out"), summary.left_out as f64),
            Measured::neutral(named("loglik_evaluations"), evaluations as f64),
        ]);
        if let Some(process) = evaluation.process
            && let Some(gap) = terminal_gap(process, &self.whole(&functions)?)?
        {
            measured.push(Measured::neutral(named("loglik_prior_gap_nats"), gap));
        }
        Ok(measured)
    }
}
