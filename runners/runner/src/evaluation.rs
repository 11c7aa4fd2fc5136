//! Metrics and plots of a run, and `metrics.json`.

use crate::build::Built;
use crate::experiment::Experiment;
use crate::guard::guard;
use crate::run::RunFolder;
use crate::sampling::{Samples, non_finite};
use isotropy_core::evaluation::Better;
use isotropy_core::{
    Dataset, Error, Evaluation, LoadContext, Measured, Result, Services, Split, State, dataset,
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
        json!({
            "metrics": metrics,
            "better": better,
            "samples": {
                "count": self.non_finite.1,
                "non_finite": self.non_finite.0,
                "evaluations_per_sample": self.evaluations,
            },
        })
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
        let new = guard(&pointer, || metric.measure(&evaluation)).map_err(|e| e.under(&pointer))?;
        for m in new {
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
            let path = plots.join(format!("{}.png", plot.file_stem()));
            guard(&pointer, || plot.draw(&evaluation, &path)).map_err(|e| e.under(&pointer))?;
        }
    }
    Ok(Report {
        measured,
        evaluations: samples.map(|s| s.evaluations),
        non_finite: (non_finite(state), state.batch_size()),
    })
}
