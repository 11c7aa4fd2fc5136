//! The negative log-likelihood of test points (see [`crate::likelihood`] for which density it is).

use super::points;
use crate::likelihood::{LikelihoodOptions, integration_error, log_likelihood, terminal_gap};
use isotropy_core::{
    Error, Evaluation, Measured, Metric, MetricConfig, NoisingProcess, Result, ScoreModel, State,
    component, config,
};
use std::f64::consts::LN_2;
use tch::{Kind, Tensor};

/// Mean negative log-likelihood of test points by the probability-flow ODE, with respect to the
/// base measure of the drive: `nll_nats`, and `nll_bits_per_dim` (divided by ln 2 and by the number
/// of components of a point, padding not counted), each with its standard error over the points. `nll_prior_gap_nats`
/// bounds by how much the end of the process is not the prior, where that is known, and
/// `nll_integration_error_nats` estimates what the steps of the integration get wrong in the mean,
/// from half as many steps on the first 64 points.
#[config(default)]
#[derive(Clone)]
pub struct NllConfig {
    /// How the likelihood is computed.
    #[serde(flatten)]
    pub likelihood: LikelihoodOptions,
    /// Test points that are used, at most.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub points: u32,
    /// Points that are carried at once.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub batch: u32,
}

impl Default for NllConfig {
    fn default() -> Self {
        Self { likelihood: LikelihoodOptions::default(), points: 1_000, batch: 1_000 }
    }
}

#[component(
    "nll",
    "negative log-likelihood of test points by the probability-flow ODE, in nats and bits per dimension",
    r#"{"type": "nll", "points": 500, "method": "heun"}"#
)]
impl MetricConfig for NllConfig {
    fn build(&self) -> Result<Box<dyn Metric>> {
        self.likelihood.check()?;
        for (pointer, value) in [("/points", self.points), ("/batch", self.batch)] {
            if value == 0 {
                return Err(Error::config(pointer, "at least 1"));
            }
        }
        Ok(Box::new(self.clone()))
    }
}

/// Number of components of each point that are there, `[B]`.
fn components(data: &State) -> Tensor {
    let all = points::rows(data).size()[1] as f64;
    let options = (Kind::Double, data.options().1);
    match (data.mask(), data.index_size()) {
        (Some(mask), Some(size)) => {
            mask.to_kind(Kind::Double).sum_dim_intlist(1, false, None) * (all / size as f64)
        }
        _ => Tensor::full([data.batch_size()], all, options),
    }
}

/// Points on which the error of the integration is estimated.
const ESTIMATED_ON: i64 = 64;

impl Metric for NllConfig {
    fn accepts(&self, process: Option<&dyn NoisingProcess>, model: &dyn ScoreModel) -> Result<()> {
        let process = process.ok_or_else(|| {
            Error::Unsupported("a likelihood needs a process, and this experiment has none".into())
        })?;
        self.likelihood.accepts(process, model)
    }

    fn of_samples(&self) -> bool {
        false
    }

    fn reports(&self) -> Vec<String> {
        vec!["nll_*".into()]
    }

    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>> {
        let process = evaluation.process.ok_or_else(|| {
            Error::Unsupported("a likelihood needs a process, and this experiment has none".into())
        })?;
        let reference = evaluation.reference;
        let count = reference.batch_size().min(i64::from(self.points));
        if count == 0 {
            return Err(Error::data("there are no test points", "a likelihood is that of data"));
        }
        let data = reference.narrow(0, count);
        let options = &self.likelihood;
        let (mut parts, mut evaluations, mut at) = (Vec::new(), 0, 0);
        while at < count {
            let size = count.min(at + i64::from(self.batch)) - at;
            let streams = evaluation.streams.named(&format!("nll/{at}"));
            let batch = data.narrow(at, size);
            let found = log_likelihood(process, evaluation.model, &batch, options, &streams)?;
            evaluations = found.evaluations;
            parts.push(found.log_prob.to_kind(Kind::Double));
            at += size;
        }
        let nats = Tensor::cat(&parts, 0).neg();
        let bits = &nats / (components(&data) * LN_2);
        let kept = nats.isfinite().nonzero().squeeze_dim(1);
        let n = kept.size()[0];
        let summary = |values: &Tensor| {
            let finite = values.index_select(0, &kept);
            if n == 0 {
                return (f64::NAN, f64::NAN);
            }
            let spread = if n > 1 { finite.std(true).double_value(&[]) } else { f64::NAN };
            (finite.mean(Kind::Double).double_value(&[]), spread / (n as f64).sqrt())
        };
        let ((mean, error), (bits, bits_error)) = (summary(&nats), summary(&bits));
        let mut measured = vec![
            Measured::lower("nll_nats", mean),
            Measured::neutral("nll_nats_standard_error", error),
            Measured::lower("nll_bits_per_dim", bits),
            Measured::neutral("nll_bits_per_dim_standard_error", bits_error),
            Measured::neutral("nll_points_left_out", (count - n) as f64),
            Measured::neutral("nll_evaluations", evaluations as f64),
        ];
        let few = data.narrow(0, count.min(ESTIMATED_ON));
        let streams = evaluation.streams.named("nll/error");
        if let Some(error) = integration_error(process, evaluation.model, &few, options, &streams)?
        {
            measured.push(Measured::neutral("nll_integration_error_nats", error));
        }
        if let Some(gap) = terminal_gap(process, &data)? {
            measured.push(Measured::neutral("nll_prior_gap_nats", gap));
        }
        Ok(measured)
    }
}
