//! What the cells of a sweep have measured.

use crate::sweep::cell::State;
use crate::sweep::file::Direction;
use crate::sweep::plan::{Cell, Plan};
use crate::sweep::rungs;
use crate::sweep::sessions::look_up;
use isotropy_core::Result;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::statistics::Mean;

/// A cell with what became of it.
pub struct CellResult {
    /// The cell.
    pub cell: Cell,
    /// How it stands.
    pub state: State,
    /// Whether successive halving has left its combination behind.
    pub dropped: bool,
    /// Its `metrics.json`.
    pub metrics: Option<Value>,
    /// Its run folder.
    pub run: PathBuf,
}

impl CellResult {
    /// How it stands, in one word.
    pub fn word(&self) -> &'static str {
        if self.dropped { "dropped" } else { self.state.word() }
    }

    /// A number of a finished cell.
    pub fn number(&self, name: &str) -> Option<f64> {
        look_up(self.metrics.as_ref()?, name).filter(|value| value.is_finite())
    }

    /// Seconds that the last process took.
    pub fn seconds(&self) -> Option<f64> {
        self.number("resources.seconds")
    }
}

/// A metric of interest.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Name, or path in `metrics.json`.
    pub name: String,
    /// Which way is better, if that is known.
    pub better: Option<Direction>,
}

/// All cells of a sweep.
pub struct Results {
    /// The plan.
    pub plan: Plan,
    /// The cells, in its order.
    pub cells: Vec<CellResult>,
    /// The metrics of interest.
    pub metrics: Vec<Metric>,
}

impl Results {
    /// Reads the sweep in a folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(folder: &Path) -> Result<Self> {
        Ok(Self::of(Plan::read(folder)?, folder))
    }

    /// The results of a plan.
    pub fn of(plan: Plan, folder: &Path) -> Self {
        let cells: Vec<CellResult> = plan
            .cells
            .iter()
            .map(|cell| {
                let cell_folder = plan.cell_folder(folder, cell);
                let state = cell_folder.state();
                let metrics = (state == State::Finished).then(|| cell_folder.metrics()).flatten();
                let (cell, run) = (cell.clone(), cell_folder.run());
                CellResult { cell, state, dropped: false, metrics, run }
            })
            .collect();
        let metrics = metrics_of(&plan, &cells);
        let mut results = Self { plan, cells, metrics };
        for k in rungs::dropped(&results) {
            results.cells[k].dropped = true;
        }
        results
    }

    /// Rungs that have a finished cell, and the last of them.
    pub fn last_rung(&self) -> usize {
        let finished = self.cells.iter().filter(|c| c.metrics.is_some());
        finished.map(|c| c.cell.rung).max().unwrap_or(0)
    }

    /// The combinations of a rung, in the order of the plan.
    pub fn combinations(&self, rung: usize) -> Vec<Vec<usize>> {
        let mut seen = BTreeSet::new();
        let cells = self.cells.iter().filter(|c| c.cell.rung == rung);
        cells
            .filter(|c| seen.insert(c.cell.choices.clone()))
            .map(|c| c.cell.choices.clone())
            .collect()
    }

    /// The cells of a combination.
    pub fn of_combination(&self, choices: &[usize], rung: usize) -> Vec<&CellResult> {
        let mine = |c: &&CellResult| c.cell.rung == rung && c.cell.choices == choices;
        self.cells.iter().filter(mine).collect()
    }

    /// The number of one cell.
    pub fn number(&self, choices: &[usize], rung: usize, seed: u64, name: &str) -> Option<f64> {
        let cell = self
            .cells
            .iter()
            .find(|c| c.cell.rung == rung && c.cell.seed == seed && c.cell.choices == choices);
        cell?.number(name)
    }

    /// The mean of a combination over its seeds.
    pub fn mean(&self, choices: &[usize], rung: usize, name: &str) -> Option<Mean> {
        let cells = self.of_combination(choices, rung);
        Mean::of(&cells.iter().filter_map(|c| c.number(name)).collect::<Vec<_>>())
    }

    /// The difference of two combinations, seed by seed.
    pub fn difference(&self, a: &[usize], b: &[usize], rung: usize, name: &str) -> Option<Mean> {
        let differences = self.plan.seeds.iter().filter_map(|&seed| {
            Some(self.number(a, rung, seed, name)? - self.number(b, rung, seed, name)?)
        });
        Mean::of(&differences.collect::<Vec<_>>())
    }

    /// The combination in which every axis takes its base value.
    pub fn base(&self) -> Vec<usize> {
        self.plan.axes.iter().map(|axis| axis.base).collect()
    }

    /// The mean over everything but one value of an axis and the seeds: first over the combinations
    /// with that value for each seed, then over seeds.
    pub fn marginal(&self, axis: usize, value: usize, rung: usize, name: &str) -> Option<Mean> {
        let combinations = self.combinations(rung);
        let with: Vec<&Vec<usize>> = combinations.iter().filter(|c| c[axis] == value).collect();
        let by_seed = self.plan.seeds.iter().filter_map(|&seed| {
            let numbers = with.iter().filter_map(|c| self.number(c, rung, seed, name));
            Mean::of(&numbers.collect::<Vec<_>>()).map(|mean| mean.mean)
        });
        Mean::of(&by_seed.collect::<Vec<_>>())
    }

    /// The difference that one value of an axis makes against the base value: pairs of cells that are
    /// equal in all else, first averaged for each seed, then over seeds.
    pub fn marginal_difference(
        &self,
        axis: usize,
        value: usize,
        rung: usize,
        name: &str,
    ) -> Option<Mean> {
        let combinations = self.combinations(rung);
        let base = self.plan.axes[axis].base;
        let by_seed = self.plan.seeds.iter().filter_map(|&seed| {
            let pairs = combinations.iter().filter(|c| c[axis] == value).filter_map(|c| {
                let mut other = c.clone();
                other[axis] = base;
                let (here, there) =
                    (self.number(c, rung, seed, name)?, self.number(&other, rung, seed, name)?);
                Some(here - there)
            });
            Mean::of(&pairs.collect::<Vec<_>>()).map(|mean| mean.mean)
        });
        Mean::of(&by_seed.collect::<Vec<_>>())
    }

    /// Whether a metric has the same value in all cells, as a count of failures should.
    pub fn constant(&self, name: &str) -> bool {
        let mut numbers = self.cells.iter().filter_map(|c| c.number(name));
        let first = numbers.next();
        numbers.all(|number| Some(number) == first)
    }

    /// The best combination of a rung: complete in its seeds, best in the mean.
    pub fn best(&self, rung: usize, metric: &Metric) -> Option<(Vec<usize>, Mean)> {
        let better = metric.better?;
        let complete = |mean: &Mean| mean.count == self.plan.seeds.len();
        let combinations = self.combinations(rung).into_iter();
        let means = combinations.filter_map(|c| {
            let mean = self.mean(&c, rung, &metric.name).filter(complete)?;
            Some((c, mean))
        });
        means.min_by(|(_, a), (_, b)| {
            let order = a.mean.total_cmp(&b.mean);
            if better == Direction::Lower { order } else { order.reverse() }
        })
    }
}

/// The metrics of the file with their directions; without any, all that have a direction.
fn metrics_of(plan: &Plan, cells: &[CellResult]) -> Vec<Metric> {
    let all: Vec<&Value> = cells.iter().filter_map(|c| c.metrics.as_ref()).collect();
    let own = |name: &str| all.iter().find_map(|metrics| direction(metrics, name));
    if !plan.metrics.is_empty() {
        let named = plan.metrics.iter().map(|interest| {
            let (name, better) = interest.parts();
            Metric { name: name.to_owned(), better: better.or_else(|| own(name)) }
        });
        return named.collect();
    }
    let mut found: Vec<Metric> = Vec::new();
    for metrics in &all {
        for (name, _) in metrics["metrics"].as_object().into_iter().flatten() {
            let better = direction(metrics, name);
            if better.is_some() && !found.iter().any(|metric| metric.name == *name) {
                found.push(Metric { name: name.clone(), better });
            }
        }
    }
    found
}

/// The direction that a run has noted for a metric.
pub fn direction(metrics: &Value, name: &str) -> Option<Direction> {
    match (metrics["better"][name].as_str(), name) {
        (Some("lower"), _)
        | (_, "training.validation_loss" | "training.best_validation_loss" | "resources.seconds") => {
            Some(Direction::Lower)
        }
        (Some("higher"), _) => Some(Direction::Higher),
        _ => None,
    }
}
