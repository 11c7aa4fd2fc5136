//! How long cells take: a short training of each kind of cell, measured in a process of its own.

use super::plan::Planned;
use crate::resolve::to_json;
use crate::run::folder::read_json;
use isotropy_core::{Error, Result};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Steps of a measurement: the first part warms up, the rate of the second is taken.
const STEPS: u64 = 40;

/// Optimiser steps a second, or why they could not be measured.
pub type Rate = Result<f64, String>;

/// Measures kinds of cells, each once.
pub struct Rates {
    data_dir: PathBuf,
    known: HashMap<String, Rate>,
}

impl Rates {
    /// Nothing is measured yet; data lie in `data_dir`.
    pub fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_path_buf(), known: HashMap::new() }
    }

    /// The rate of cell `k`. What comes after training (sampling, metrics, plots) and the seed play
    /// no part, so cells that differ only there are measured once.
    pub fn rate(&mut self, planned: &Planned, k: usize) -> Rate {
        let mut config = planned.configs[k].clone();
        for field in ["seed", "name", "sampler", "sampling", "evaluate"] {
            if let Some(fields) = config.as_object_mut() {
                fields.remove(field);
            }
        }
        if let Some(train) = config["train"].as_object_mut() {
            train.remove("steps");
        }
        let key = config.to_string();
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let rate = self.measure(planned, k);
        self.known.insert(key, rate.clone());
        rate
    }

    fn measure(&self, planned: &Planned, k: usize) -> Rate {
        if planned.plan.cells[k].steps == 0 {
            return Err("nothing is trained".into());
        }
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let scratch = tempfile::tempdir().map_err(|e| text(&e))?;
        let folder = scratch.path();
        let mut config = planned.configs[k].clone();
        config["train"]["steps"] = json!(STEPS);
        config["train"]["log_every"] = json!(STEPS / 2);
        config["train"]["validate_every"] = json!(0);
        config["train"]["validation_batches"] = json!(1);
        config["train"]["histogram_every"] = json!(0);
        config["train"]["checkpoint"]["every"] = json!(STEPS);
        config["sampling"]["count"] = json!(0);
        config["evaluate"] = json!({});
        let write = |name: &str, value: &Value| {
            std::fs::write(folder.join(name), value.to_string()).map_err(|e| text(&e))
        };
        write("cell.json", &config)?;
        write("origin.json", &planned.origin)?;
        let program = std::env::current_exe().map_err(|e| text(&e))?;
        let output = Command::new(program)
            .arg("--config")
            .arg(folder.join("cell.json"))
            .arg("--out")
            .arg(folder.join("run"))
            .arg("--data-dir")
            .arg(&self.data_dir)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| text(&e))?;
        let log = std::fs::read_to_string(folder.join("run/log.jsonl")).unwrap_or_default();
        let rate = log.lines().rev().find_map(|line| {
            serde_json::from_str::<Value>(line).ok()?["steps_per_second"].as_f64()
        });
        rate.filter(|rate| *rate > 0.0).ok_or_else(|| {
            let errors = String::from_utf8_lossy(&output.stderr);
            let line = errors.lines().find(|line| line.contains("error")).or(errors.lines().last());
            crate::config::suggest::shorten(line.unwrap_or("no reason given"), 120)
        })
    }
}

/// Gives every variant the steps that it makes in `minutes`, rounded to two digits. Those of an
/// earlier start of the same sweep, kept in `budget.json`, are taken again.
///
/// # Errors
/// When a variant cannot be measured, or the steps cannot be written down.
pub fn steps_for_minutes(
    minutes: f64,
    variants: &mut [super::variants::Variant],
    planned: &Planned,
    rates: &mut Rates,
    folder: Option<&Path>,
) -> Result<()> {
    let file = folder.map(|folder| folder.join("budget.json"));
    let mut known = file.as_ref().and_then(|f| read_json(f).ok()).unwrap_or_else(|| json!({}));
    let seeds = planned.plan.seeds.len();
    for (k, variant) in variants.iter_mut().enumerate() {
        variant.experiment.train.steps = 1;
        let mut config = to_json(&variant.experiment)?;
        config["minutes"] = json!(minutes);
        let key = super::cell::digest(&config.to_string());
        let steps = match known[&key].as_u64() {
            Some(steps) => steps,
            None => {
                let rate = rates.rate(planned, k * seeds).map_err(|reason| {
                    Error::Other(format!("{} could not be measured: {reason}", variant.name))
                })?;
                let steps = two_digits(rate * minutes * 60.0);
                known[&key] = json!(steps);
                steps
            }
        };
        variant.experiment.train.steps = steps;
    }
    let Some(file) = file else { return Ok(()) };
    isotropy_data::write::write_whole(&file, known.to_string())
}

fn two_digits(steps: f64) -> u64 {
    let scale = 10f64.powf((steps.max(1.0).log10().floor() - 1.0).max(0.0));
    ((steps / scale).round() * scale).max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use crate::sweep::estimate::two_digits;

    #[test]
    fn steps_are_rounded_to_two_digits_and_never_to_none() {
        assert_eq!([0.2, 1.4, 17.0, 1234.0, 98_765.0].map(two_digits), [1, 1, 17, 1200, 99_000]);
    }
}
