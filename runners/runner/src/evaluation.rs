//! Metrics and plots of a run, and `metrics.json`.

use crate::build::Built;
use crate::experiment::Experiment;
use crate::guard::guard;
use crate::run::RunFolder;
use crate::sampling::{Samples, non_finite};
use isotropy_core::evaluation::Better;
use isotropy_core::{
    Dataset, Error, Evaluation, LoadContext, Measured, Result, Services, Split, State, dataset,
    late_errors,
};
use serde_json::{Map, Value, json};

/// Points of an endless test split that metrics compare with unless the configuration says.
const ENDLESS_REFERENCE: i64 = 10_000;

/// What was measured.
pub struct Report {
    /// All numbers, in the order of the configuration.
    pub measured: Vec<Measured>,
    /// Evaluations of the model for each sample; `None` where nothing was sampled.
    pub evaluations: Option<usize>,
    /// Samples with a number that is not finite, and samples.
    pub non_finite: (i64, i64),
}

impl Report {
    /// `metrics.json` without times: equal for equal runs.
    pub fn to_json(&self) -> Value {
        let number = |value: f64| if value.is_finite() { json!(value) } else { Value::Null };
        let mut metrics = Map::new();
        let mut better = Map::new();
        for m in &self.measured {
            metrics.insert(m.name.clone(), number(m.value));
            let way = match m.better {
                Better::Lower => "lower",
                Better::Higher => "higher",
                Better::Neither => "neither",
            };
            better.insert(m.name.clone(), way.into());
        }
        let mut value = json!({
            "metrics": metrics,
            "better": better,
            "samples": {
                "count": self.non_finite.1,
                "non_finite": self.non_finite.0,
                "evaluations_per_sample": self.evaluations,
            },
        });
        // JSON has no such numbers: they are null above, and named here.
        let wrong = self.measured.iter().filter(|m| !m.value.is_finite());
        let wrong: Map<String, Value> =
            wrong.map(|m| (m.name.clone(), m.value.to_string().into())).collect();
        if !wrong.is_empty() {
            value["not_finite"] = wrong.into();
        }
        value
    }

    /// The table that is printed at the end.
    pub fn table(&self) -> String {
        let width = self.measured.iter().map(|m| m.name.len()).max().unwrap_or(0).max(10);
        let mut text = String::new();
        for m in &self.measured {
            let arrow = match m.better {
                Better::Lower => "lower is better",
                Better::Higher => "higher is better",
                Better::Neither => "",
            };
            let arrow = if m.value.is_nan() { "not a number" } else { arrow };
            let line = format!("  {:width$}  {:>12}  {arrow}", m.name, significant(m.value));
            text += line.trim_end();
            text.push('\n');
        }
        let (bad, count) = self.non_finite;
        if bad > 0 {
            text += &format!("  {bad} of {count} samples are not finite\n");
        }
        text
    }
}

/// Whether `metrics.json` holds a success: not where a metric that can be better or worse is no
/// number, nor where no sample is one.
///
/// # Errors
/// `Numbers`, with the metrics and what they are.
pub fn verdict(metrics: &Value) -> Result<()> {
    let samples = &metrics["samples"];
    if let (Some(count @ 1..), Some(bad)) =
        (samples["count"].as_i64(), samples["non_finite"].as_i64())
        && bad == count
    {
        let message = format!("none of the {count} samples is finite");
        return Err(Error::Numbers(message));
    }
    let judged = |name: &str| metrics["better"][name] != "neither";
    let wrong = metrics["not_finite"].as_object().into_iter().flatten();
    let wrong: Vec<String> = wrong
        .filter(|(name, _)| judged(name))
        .map(|(name, value)| format!("{name} is {}", value.as_str().unwrap_or("not a number")))
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::Numbers(format!("metrics that are not finite numbers: {}", wrong.join(", "))))
}

fn significant(value: f64) -> String {
    if value == 0.0 || (1e-3..1e6).contains(&value.abs()) {
        if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.4}") }
    } else {
        format!("{value:.3e}")
    }
}

/// Measures and draws; pictures go to `plots/`.
///
/// # Errors
/// When a metric or a plot does not apply; the error names it.
pub fn evaluate(
    experiment: &Experiment,
    built: &Built,
    data: &dyn Dataset,
    samples: Option<&Samples>,
    load: &LoadContext,
    services: &dyn Services,
    folder: &RunFolder,
) -> Result<Report> {
    let _no_grad = tch::no_grad_guard();
    let count = experiment
        .evaluate
        .reference
        .unwrap_or_else(|| data.len(Split::Test).map_or(ENDLESS_REFERENCE, |len| len as i64));
    let reference = dataset::first(data, Split::Test, count, &load.streams)?;
    let (state, start): (&State, &State) =
        samples.map_or((&reference, &reference), |s| (&s.state, &s.start));
    let evaluation = Evaluation {
        samples: state,
        start,
        trajectory: samples.map_or(&[], |s| &s.trajectory),
        reference: &reference,
        process: built.process.as_deref(),
        model: built.model.as_ref(),
        streams: &load.streams,
        load,
        services,
    };
    let mut measured: Vec<Measured> = Vec::new();
    for (k, metric) in built.metrics.iter().enumerate() {
        let pointer = format!("/evaluate/metrics/{k}");
        let new =
            guard(&pointer, || metric.inner.measure(&evaluation)).map_err(|e| e.under(&pointer))?;
        late_errors()?;
        for m in new {
            let m = Measured { name: metric.named(&m.name), ..m };
            if measured.iter().any(|other| other.name == m.name) {
                let message = format!("two metrics both report '{}'", m.name);
                return Err(Error::config(pointer, message));
            }
            measured.push(m);
        }
    }
    if !built.plots.is_empty() {
        let plots = folder.subfolder("plots")?;
        for (k, plot) in built.plots.iter().enumerate() {
            let pointer = format!("/evaluate/plots/{k}");
            let path = plots.join(format!("{}.png", plot.named(&plot.inner.file_stem())));
            guard(&pointer, || plot.inner.draw(&evaluation, &path))
                .map_err(|e| e.under(&pointer))?;
        }
    }
    Ok(Report {
        measured,
        evaluations: samples.map(|s| s.evaluations),
        non_finite: (non_finite(state), state.batch_size()),
    })
}
