//! Quality of samples given known values: several draws of each function against its true values.

use super::functions::GaussianProcessConfig;
use super::optimum::again;
use super::{Summary, draws};
use isotropy_core::{Error, Evaluation, Measured, Metric, MetricConfig, Result, component, config};
use isotropy_diffusion::metric::scores::{covered, crps, crps_of_normal, energy};
use tch::{Kind, Tensor};

/// Samples of each test function (`sampling.repeats` of them) against its values at the asked points:
///
/// * `predictive_rmse`: root mean square, over points and components, of the error of the mean of the samples;
/// * `predictive_crps`: continuous ranked probability score of a component, mean over points and components;
///   for values of several components `predictive_energy_score` too, which rotations leave alone;
/// * `predictive_spread`: root mean variance of the samples, and `predictive_spread_over_error`, which is 1 where the
///   spread is what the errors are (with the factor `sqrt(1 + 1/r)` that the mean of `r` samples asks for);
/// * `predictive_coverage_90` and so on: how often the central interval holds the true value, and
///   `predictive_width_90`, its mean width. Its ends are the quantiles at the place `(r + 1) p` of
///   the sorted samples.
///
/// Numbers are means over functions with standard errors; each function counts once, whatever its number of points. With
/// `against`, the exact predictions of a Gaussian process on the same points: `gp_predictive_rmse`,
/// `gp_predictive_crps`, the paired gap `predictive_crps_gap`, and how far mean and standard deviation of the samples
/// are from the exact ones: `predictive_mean_error_sd` (root mean square, in exact standard deviations) and
/// `predictive_sd_ratio`.
#[config(default)]
pub struct FieldPredictiveConfig {
    /// Put before the names of the numbers; null for nothing.
    pub name: Option<String>,
    /// Probabilities of the central intervals, in (0, 1).
    pub coverage: Vec<f64>,
    /// Whether the score is that of the law that the samples come from (no bias from their number), or that of the
    /// samples themselves as a law of equal masses.
    pub unbiased: bool,
    /// The Gaussian process that the functions come from, noise included; null where they come from none.
    pub against: Option<GaussianProcessConfig>,
}

impl Default for FieldPredictiveConfig {
    fn default() -> Self {
        Self { name: None, coverage: vec![0.5, 0.9, 0.95], unbiased: true, against: None }
    }
}

#[component(
    "field-predictive",
    "mean, spread, CRPS and coverage of samples given known values against the true ones",
    r#"{"type": "field-predictive", "coverage": [0.5, 0.9]}"#
)]
impl MetricConfig for FieldPredictiveConfig {
    fn build(&self) -> Result<Box<dyn Metric>> {
        for (k, level) in self.coverage.iter().enumerate() {
            if !(*level > 0.0 && *level < 1.0) {
                let message = format!("{level} is no probability between 0 and 1");
                return Err(Error::config(format!("/coverage/{k}"), message));
            }
        }
        if let Some(against) = &self.against {
            against.build().map_err(|error| error.under("/against"))?;
        }
        Ok(Box::new(FieldPredictive(again(self)?)))
    }
}

#[derive(Debug)]
struct FieldPredictive(FieldPredictiveConfig);

/// Mean over the points that are there and all components of numbers `[G, N, d]`: `[G]`.
fn over_points(values: &Tensor, mask: Option<&Tensor>) -> Tensor {
    let Some(mask) = mask else {
        return values.flatten(1, -1).mean_dim([1].as_slice(), false, Kind::Double);
    };
    // Padding may hold anything; a function without points has no number.
    let there = mask.unsqueeze(-1).gt(0.5).expand_as(values);
    let sum = values.where_self(&there, &values.zeros_like());
    let sum = sum.flatten(1, -1).sum_dim_intlist([1].as_slice(), false, Kind::Double);
    sum / there.to_kind(Kind::Double).flatten(1, -1).sum_dim_intlist([1].as_slice(), false, None)
}

impl Metric for FieldPredictive {
    fn reports(&self) -> Vec<String> {
        let prefix = self.0.name.as_ref().map_or(String::new(), |name| format!("{name}_"));
        ["predictive_*", "gp_predictive_*"].map(|name| format!("{prefix}{name}")).to_vec()
    }

    fn measure(&self, evaluation: &Evaluation) -> Result<Vec<Measured>> {
        let config = &self.0;
        let drawn = draws::grouped(evaluation)?;
        let r = drawn.repeats;
        if r < 2 {
            return Err(Error::config(
                "",
                "a predictive law needs several samples of each test function",
            )
            .with_help("set `sampling.repeats`, for instance to 32"));
        }
        let (samples, truth, mask) = (&drawn.samples, &drawn.truth, drawn.mask.as_ref());
        let prefix = config.name.as_ref().map_or(String::new(), |name| format!("{name}_"));
        let named = |name: &str| format!("{prefix}{name}");
        let mean_of = |values: &Tensor| over_points(values, mask);
        let mean = samples.mean_dim([1].as_slice(), false, Kind::Double);
        let variance = samples.var_dim([1].as_slice(), true, false);
        let square = mean_of(&(&mean - truth).square());
        let mut measured = Vec::new();
        let mut add = |made: Measured, values: &Tensor| {
            let summary = Summary::of(values);
            measured.extend(summary.measured(made));
            summary
        };
        // The root of a mean over functions; its error by the delta method.
        let root = |name: &str, values: &Tensor, into: fn(String, f64) -> Measured| {
            let summary = Summary::of(values);
            let value = summary.mean.sqrt();
            let error = Measured::neutral(
                named(&format!("{name}_standard_error")),
                0.5 * summary.error / value,
            );
            [into(named(name), value), error]
        };
        let score = crps(samples, truth, config.unbiased);
        let crps_each = mean_of(&score);
        let found = add(Measured::lower(named("predictive_crps"), f64::NAN), &crps_each);
        if truth.size()[2] > 1 {
            let energy = energy(samples, truth, config.unbiased).unsqueeze(-1);
            add(Measured::lower(named("predictive_energy_score"), f64::NAN), &mean_of(&energy));
        }
        for level in &config.coverage {
            let (inside, width) = covered(samples, truth, *level);
            let percent = format!("{}", (level * 1000.0).round() / 10.0).replace('.', "_");
            let name = named(&format!("predictive_coverage_{percent}"));
            add(Measured::neutral(name, f64::NAN), &mean_of(&inside));
            let name = named(&format!("predictive_width_{percent}"));
            add(Measured::neutral(name, f64::NAN), &mean_of(&width));
        }
        if let Some(against) = &config.against {
            let process = against.fitted(evaluation).map_err(|error| error.under("/against"))?;
            let posterior = process.condition_on_observed(&drawn.given)?;
            let (exact_mean, exact_variance) = (posterior.mean(), posterior.variance());
            let exact_sd = exact_variance.sqrt();
            let exact_crps = mean_of(&crps_of_normal(exact_mean, &exact_sd, truth));
            add(Measured::neutral(named("gp_predictive_crps"), f64::NAN), &exact_crps);
            let gap = crps_each - exact_crps;
            add(Measured::lower(named("predictive_crps_gap"), f64::NAN), &gap);
            let ratio = mean_of(&(variance.sqrt() / &exact_sd));
            add(Measured::neutral(named("predictive_sd_ratio"), f64::NAN), &ratio);
            let error = mean_of(&((&mean - exact_mean) / &exact_sd).square());
            measured.extend(root("predictive_mean_error_sd", &error, Measured::lower));
            let error = mean_of(&(exact_mean - truth).square());
            measured.extend(root("gp_predictive_rmse", &error, Measured::neutral));
        }
        let spread = mean_of(&variance);
        measured.extend(root("predictive_rmse", &square, Measured::lower));
        measured.extend(root("predictive_spread", &spread, Measured::neutral));
        let finite_draws = (1.0 + 1.0 / r as f64).sqrt();
        let ratio = (Summary::of(&spread).mean / Summary::of(&square).mean).sqrt() * finite_draws;
        measured.push(Measured::neutral(named("predictive_spread_over_error"), ratio));
        measured.push(Measured::neutral(named("predictive_functions"), found.count as f64));
        measured.push(Measured::neutral(named("predictive_left_out"), found.left_out as f64));
        Ok(measured)
    }
}
