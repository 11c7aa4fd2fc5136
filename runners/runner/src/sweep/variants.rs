//! From axes to variants: combinations of values, each resolved, checked and built without data.

use super::file::Search;
use super::read::{ReadAxis, Sweep};
use crate::build::{Built, build};
use crate::catalogue::Catalogue;
use crate::config::load::load_tree;
use crate::config::overrides::Override;
use crate::config::tree::{Node, Value};
use crate::config::{Diagnostic, Diagnostics};
use crate::experiment::{Experiment, Start};
use crate::guard::guard;
use crate::labelled::Labelled;
use crate::resolve::{Refusal, Resolved, parse};
use isotropy_core::registry::marked_schema;
use isotropy_core::{Error, FreshNoise, Metric, State, Streams};
use schemars::JsonSchema;
use std::collections::HashMap;

/// A combination that was resolved and built.
pub struct Variant {
    /// The value of each axis, by index.
    pub choices: Vec<usize>,
    /// `axis=label` for every axis, with commas between them.
    pub name: String,
    /// The experiment with all defaults; its seed is not that of a cell yet.
    pub experiment: Experiment,
    /// Numbers that are trained.
    pub parameters: i64,
    /// The names that its metrics may report, with `*` for any text.
    pub reports: Vec<String>,
}

/// Every combination that the file asks for, in the order of the axes, the last one fastest.
///
/// # Errors
/// When the exclusions leave nothing, or too little for a random choice.
pub fn combinations(sweep: &Sweep) -> Result<Vec<Vec<usize>>, Diagnostics> {
    let axes = &sweep.axes;
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    for axis in axes {
        all = all
            .into_iter()
            .flat_map(|head| {
                (0..axis.values.len()).map(move |value| [head.as_slice(), &[value]].concat())
            })
            .collect();
    }
    all.retain(|choices| !excluded(sweep, choices));
    let place = sweep.search_place.mark();
    if all.is_empty() {
        return Err(Diagnostics::one(Diagnostic::new(
            place,
            "the exclusions leave no combination",
        )));
    }
    let Search::Random { count, seed } = &sweep.file.search else { return Ok(all) };
    let count = *count as usize;
    if count > all.len() {
        let message =
            format!("{count} combinations are asked for; the exclusions leave {}", all.len());
        return Err(Diagnostics::one(Diagnostic::new(place, message)));
    }
    // A partial Fisher-Yates shuffle, then the order of the axes again.
    let mut order: Vec<usize> = (0..all.len()).collect();
    let mut state = *seed;
    for k in 0..count {
        let other = k + (split_mix(&mut state) % (all.len() - k) as u64) as usize;
        order.swap(k, other);
    }
    order.truncate(count);
    order.sort_unstable();
    Ok(order.into_iter().map(|k| all[k].clone()).collect())
}

/// The generator SplitMix64 (Steele, Lea, Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn excluded(sweep: &Sweep, choices: &[usize]) -> bool {
    sweep.file.exclude.iter().any(|exclusion| {
        exclusion.iter().all(|(name, labels)| {
            let at = sweep.axes.iter().position(|axis| axis.name == *name);
            at.is_some_and(|at| {
                let label = &sweep.axes[at].values[choices[at]].label;
                labels.list().contains(&label.as_str())
            })
        })
    })
}

/// The name of a combination.
pub fn name(axes: &[ReadAxis], choices: &[usize]) -> String {
    if axes.is_empty() {
        return "base".into();
    }
    let parts = axes.iter().zip(choices).map(|(a, &k)| format!("{}={}", a.name, a.values[k].label));
    parts.collect::<Vec<_>>().join(",")
}

/// Resolves and builds all combinations on the CPU, without data.
///
/// # Errors
/// The mistakes of all of them together, each once, with the cells that it concerns.
pub fn resolve(sweep: &Sweep, combinations: &[Vec<usize>]) -> Result<Vec<Variant>, Refusal> {
    let catalogue = Catalogue::new()?;
    let schema = marked_schema(Experiment::json_schema);
    let mut mistakes = Mistakes::default();
    let mut variants = Vec::new();
    for choices in combinations {
        let name = name(&sweep.axes, choices);
        let checked = assemble(sweep, choices).map_err(|problem| vec![problem]).and_then(|tree| {
            load_tree(tree, sweep.base_files.clone(), &schema, &catalogue)
                .map_err(|problems| problems.list().to_vec())
        });
        let loaded = match checked {
            Ok(loaded) => loaded,
            Err(problems) => {
                problems.into_iter().for_each(|problem| mistakes.add(problem, &name));
                continue;
            }
        };
        let experiment = match parse(loaded.value.clone()) {
            Ok(experiment) => experiment,
            Err(error) => {
                mistakes.other(&error, &name);
                continue;
            }
        };
        let resolved = Resolved { experiment, loaded, folder: sweep.folder.clone() };
        let kind = resolved.experiment.kind.torch();
        let built = build(&resolved.experiment, kind, tch::Device::Cpu)
            .and_then(|built| first_step(&resolved.experiment, &built).map(|()| built));
        match built {
            Ok(built) => {
                let trainable = built.store.trainable_variables();
                let parameters = trainable.iter().map(|tensor| tensor.numel() as i64).sum();
                let experiment = resolved.experiment;
                let named = |metric: &Labelled<Box<dyn Metric>>| -> Vec<String> {
                    metric.inner.reports().iter().map(|name| metric.named(name)).collect()
                };
                let reports = built.metrics.iter().flat_map(named).collect();
                let choices = choices.clone();
                variants.push(Variant { choices, name, experiment, parameters, reports });
            }
            Err(error) => match resolved.locate(error) {
                Refusal::Diagnostics(problems) => {
                    for problem in problems.list() {
                        mistakes.add(problem.clone(), &name);
                    }
                }
                Refusal::Error(error) => mistakes.other(&error, &name),
            },
        }
    }
    mistakes.finish(combinations.len())?;
    Ok(variants)
}

/// Whether the sampler can begin: what it demands of process and model it says in its first step only.
/// Random numbers stand for the data, so nothing but a refusal counts.
fn first_step(experiment: &Experiment, built: &Built) -> Result<(), Error> {
    let (Some(sampler), Some(process)) = (built.sampler.as_deref(), built.process.as_deref())
    else {
        return Ok(());
    };
    let _no_grad = tch::no_grad_guard();
    let streams = Streams::new(experiment.seed);
    let outcome = guard("sampler", || {
        let options = (experiment.kind.torch(), tch::Device::Cpu);
        let template = State::random(&built.spec, 1, options, &mut streams.stream("trial", 0));
        let start = match experiment.sampling.start {
            Start::Input => process.fields().lift(template)?,
            Start::Prior => process.prior(&template, &mut streams.stream("prior", 0))?,
        };
        let mut noise = FreshNoise::new(&streams, "trial");
        let mut enough = |_: usize, _: usize, _: &State| Err(Error::Interrupted(String::new()));
        sampler.run(process, built.model.as_ref(), start, &mut noise, &mut enough)
    });
    match outcome {
        Err(error @ (Error::Config { .. } | Error::Unsupported(_))) => Err(error.under("/sampler")),
        _ => Ok(()),
    }
}

/// The base with the settings of a combination.
fn assemble(sweep: &Sweep, choices: &[usize]) -> Result<Node, Diagnostic> {
    let mut tree = sweep.base.clone();
    let chosen = sweep.axes.iter().zip(choices).flat_map(|(axis, &k)| &axis.values[k].settings);
    let mut settings: Vec<Override> = Vec::new();
    for setting in sweep.settings.iter().chain(chosen) {
        settings.push(setting.to_override()?);
    }
    if let Some(steps) = &sweep.budget_steps {
        settings.push(Override::at("train.steps", &steps.origin, steps.clone())?);
    }
    // A change of a component's type drops the fields of the old one, so it comes before theirs.
    let (types, others): (Vec<_>, Vec<_>) = settings.into_iter().partition(Override::sets_type);
    for setting in types.into_iter().chain(others) {
        setting.apply(&mut tree)?;
    }
    if let Value::Object(members) = &mut tree.value {
        members.retain(|member| member.key != "seed");
    }
    Ok(tree)
}

/// Mistakes of many cells: the same one is shown once, with the names of its cells.
#[derive(Default)]
struct Mistakes {
    found: Vec<(Diagnostic, Vec<String>)>,
    places: HashMap<(String, usize, String), usize>,
    others: Vec<(String, Vec<String>)>,
}

impl Mistakes {
    fn add(&mut self, problem: Diagnostic, cell: &str) {
        let origin = &problem.origin;
        let key = (origin.source.name().to_owned(), origin.start, problem.message.clone());
        let at = *self.places.entry(key).or_insert_with(|| {
            self.found.push((problem, Vec::new()));
            self.found.len() - 1
        });
        self.found[at].1.push(cell.to_owned());
    }

    fn other(&mut self, error: &Error, cell: &str) {
        let text = error.to_string();
        match self.others.iter_mut().find(|(known, _)| *known == text) {
            Some((_, cells)) => cells.push(cell.to_owned()),
            None => self.others.push((text, vec![cell.to_owned()])),
        }
    }

    fn finish(self, all: usize) -> Result<(), Refusal> {
        let mut problems: Vec<Diagnostic> = Vec::new();
        for (mut problem, cells) in self.found {
            problem.add_help(&which(&cells, all));
            problems.push(problem);
        }
        let others: Vec<String> = self
            .others
            .iter()
            .map(|(text, cells)| format!("{text} ({})", which(cells, all)))
            .collect();
        match (Diagnostics::new(problems), others.is_empty()) {
            (None, true) => Ok(()),
            (Some(problems), true) => Err(problems.into()),
            (None, false) => Err(Error::config("", others.join("\n")).into()),
            (Some(problems), false) => {
                crate::report(&Refusal::Diagnostics(problems));
                Err(Error::config("", others.join("\n")).into())
            }
        }
    }
}

/// Which cells a mistake concerns, in a few words.
fn which(cells: &[String], all: usize) -> String {
    const NAMED: usize = 3;
    let named = cells.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(" and ");
    match cells.len() {
        n if n == all && n > 1 => format!("in every cell, {n} combinations"),
        1 => format!("in the cell {named}"),
        n if n <= NAMED => format!("in the cells {named}"),
        n => format!("in the cells {named} and {} more", n - NAMED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_cells_with_one_mistake_are_named_briefly() {
        let cells: Vec<String> = ["a=1", "a=2", "a=3", "a=4"].map(String::from).to_vec();
        assert_eq!(which(&cells[..1], 9), "in the cell a=1");
        assert_eq!(which(&cells[..2], 9), "in the cells a=1 and a=2");
        assert_eq!(which(&cells, 9), "in the cells a=1 and a=2 and a=3 and 1 more");
        assert_eq!(which(&cells, 4), "in every cell, 4 combinations");
    }
}
