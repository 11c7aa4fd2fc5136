//! The plan of a sweep: its cells with their keys. Written to `plan.json` in the sweep's folder, it
//! is all that `status` and `report` need.

use super::cell::{CellFolder, identify, versions};
use super::file::{Interest, Picture, Resources, Search};
use super::read::Sweep;
use super::variants::Variant;
use crate::device;
use crate::run::folder::read_json;
use isotropy_core::{Error, Result};
use isotropy_data::write::write_whole;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What a sweep does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Version of this format.
    pub plan: u32,
    /// Name of the sweep.
    pub name: String,
    /// Its question.
    pub description: String,
    /// The sweep file.
    pub file: PathBuf,
    /// Versions of program, plugins and libtorch.
    pub versions: Value,
    /// The folder of all cells, relative to the sweep's folder or absolute.
    pub cells_folder: PathBuf,
    /// The axes.
    pub axes: Vec<PlanAxis>,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// Metrics of interest.
    pub metrics: Vec<Interest>,
    /// Further pictures.
    pub pictures: Vec<Picture>,
    /// Which combinations are run.
    pub search: Search,
    /// What a cell asks of a cluster.
    pub resources: Resources,
    /// The cells, in the order in which they are run.
    pub cells: Vec<Cell>,
}

/// An axis of a plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanAxis {
    /// Its name.
    pub name: String,
    /// The labels of its values.
    pub labels: Vec<String>,
    /// The numbers that the values are, where all are numbers.
    pub numbers: Option<Vec<f64>>,
    /// The value that others are compared with.
    pub base: usize,
}

/// A cell of a plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cell {
    /// `axis=label,...,seed=N`.
    pub name: String,
    /// The name of its folder.
    pub key: String,
    /// The value of each axis, by index.
    pub choices: Vec<usize>,
    /// Its seed.
    pub seed: u64,
    /// The rung of successive halving.
    pub rung: usize,
    /// Training steps.
    pub steps: u64,
    /// Numbers that are trained.
    pub parameters: i64,
    /// Threads of its process.
    pub threads: u32,
    /// Whether it computes on a GPU.
    pub cuda: bool,
}

/// A plan with the configurations of its cells.
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// The configuration of each cell.
    pub configs: Vec<Value>,
    /// What `origin.json` of each cell says.
    pub origin: Value,
}

impl Plan {
    /// Reads the plan of the sweep in `folder`.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("plan.json");
        let value = read_json(&path).map_err(|error| {
            Error::config("", format!("{} is not the folder of a sweep: {error}", folder.display()))
                .with_help("name the folder that `runner sweep FILE` has made, runs/sweeps/NAME")
        })?;
        serde_json::from_value(value)
            .map_err(|e| Error::data(format!("{}: {e}", path.display()), "run the sweep again"))
    }

    /// Writes the plan.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::Other(e.to_string()))?;
        write_whole(&folder.join("plan.json"), format!("{text}\n"))
    }

    /// The folder of a cell; `folder` is the sweep's.
    pub fn cell_folder(&self, folder: &Path, cell: &Cell) -> CellFolder {
        CellFolder::new(&self.cells(folder), &cell.key)
    }

    /// The folder of all cells, without detours: `runs/cells` for `runs/sweeps/NAME/../../cells`.
    pub fn cells(&self, folder: &Path) -> PathBuf {
        let mut path = folder.to_path_buf();
        for part in self.cells_folder.components() {
            match (part, path.file_name()) {
                (std::path::Component::ParentDir, Some(_)) => {
                    path.pop();
                }
                _ => path.push(part),
            }
        }
        path
    }

    /// How many rungs there are; 1 but for successive halving.
    pub fn rungs(&self) -> usize {
        self.cells.iter().map(|cell| cell.rung + 1).max().unwrap_or(1)
    }

    /// The label of each axis of a combination.
    pub fn labels(&self, choices: &[usize]) -> Vec<&str> {
        self.axes.iter().zip(choices).map(|(axis, &k)| axis.labels[k].as_str()).collect()
    }
}

/// Makes the plan. Threads that the configuration leaves open become 1 (many small processes use a
/// machine better than one that shares every small operation), and `auto` becomes the device that is
/// there, since both are part of what a cell computes.
///
/// # Errors
/// When a device is not there or a configuration cannot be written.
pub fn plan(
    sweep: &Sweep,
    file: &Path,
    variants: &mut [Variant],
    cells_folder: PathBuf,
    on_cluster: bool,
) -> Result<Planned> {
    let versions = versions();
    let resources = &sweep.file.resources;
    for variant in &mut *variants {
        let experiment = &mut variant.experiment;
        experiment.threads.get_or_insert(1);
        if experiment.device == "auto" {
            let cuda = if on_cluster { resources.gpus > 0 } else { device::cuda().devices > 0 };
            experiment.device = if cuda { "cuda:0" } else { "cpu" }.to_string();
        } else if experiment.device == "cuda" {
            experiment.device = "cuda:0".to_string();
        }
        if !on_cluster && experiment.device != "cpu" {
            device::resolve(&experiment.device)?;
        }
    }
    let mut cells = Vec::new();
    let mut configs = Vec::new();
    let rungs = rungs(sweep, variants)?;
    let count = rungs.len();
    for (rung, steps) in rungs.iter().enumerate() {
        for variant in &mut *variants {
            if let Some(steps) = steps {
                variant.experiment.train.steps = *steps;
            }
            for seed in sweep.file.seeds.list() {
                variant.experiment.seed = seed;
                let (key, config) = identify(&variant.experiment, &sweep.folder, &versions)?;
                let rung_name = if count > 1 { format!(",rung={rung}") } else { String::new() };
                cells.push(Cell {
                    name: format!("{}{rung_name},seed={seed}", variant.name),
                    key,
                    choices: variant.choices.clone(),
                    seed,
                    rung,
                    steps: variant.experiment.train.steps,
                    parameters: variant.parameters,
                    threads: variant.experiment.threads.unwrap_or(1),
                    cuda: variant.experiment.device != "cpu",
                });
                configs.push(config);
            }
        }
    }
    let origin = json!({"config_folder": sweep.folder.display().to_string(), "versions": versions});
    let axes = sweep.axes.iter().map(|axis| PlanAxis {
        name: axis.name.clone(),
        labels: axis.values.iter().map(|value| value.label.clone()).collect(),
        numbers: axis.values.iter().map(|value| value.number).collect(),
        base: axis.base,
    });
    let plan = Plan {
        plan: 1,
        name: sweep.file.name.clone(),
        description: sweep.file.description.clone(),
        file: file.canonicalize().unwrap_or_else(|_| file.to_path_buf()),
        versions,
        cells_folder,
        axes: axes.collect(),
        seeds: sweep.file.seeds.list(),
        metrics: sweep.file.metrics.clone(),
        pictures: sweep.file.pictures.clone(),
        search: sweep.file.search.clone(),
        resources: resources.clone(),
        cells,
    };
    Ok(Planned { plan, configs, origin })
}

/// The steps of each rung; `None` leaves those of the configuration.
fn rungs(sweep: &Sweep, variants: &[Variant]) -> Result<Vec<Option<u64>>> {
    let Search::SuccessiveHalving { first_steps, factor, .. } = &sweep.file.search else {
        return Ok(vec![None]);
    };
    let mut last: Vec<u64> = variants.iter().map(|v| v.experiment.train.steps).collect();
    last.dedup();
    let [last] = last.as_slice() else {
        let message = "successive halving needs the same train.steps in all combinations";
        return Err(Error::config("", message).with_help("set \"budget\": {\"steps\": ...}"));
    };
    if first_steps > last {
        let message = format!("the first rung has {first_steps} steps, and the last one {last}");
        return Err(Error::config("", message).with_help("lower `first_steps` of the search"));
    }
    Ok(rung_steps(*first_steps, u64::from(*factor), *last, variants.len()))
}

/// Steps that grow by `factor` up to `last`, while more than one combination is left.
fn rung_steps(first: u64, factor: u64, last: u64, combinations: usize) -> Vec<Option<u64>> {
    let mut steps = vec![first];
    let mut left = combinations;
    while let Some(&before) = steps.last() {
        left = left.div_ceil(factor as usize);
        if before >= last {
            break;
        }
        // One that is left alone gets its full training at once.
        let next = if left <= 1 { last } else { before.saturating_mul(factor).min(last) };
        steps.push(next);
    }
    steps.into_iter().map(Some).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_end_with_the_full_number_of_steps() {
        let steps = |first, factor, last, n| -> Vec<u64> {
            rung_steps(first, factor, last, n).into_iter().flatten().collect()
        };
        assert_eq!(steps(100, 3, 2700, 27), [100, 300, 900, 2700]);
        assert_eq!(steps(100, 3, 1000, 27), [100, 300, 900, 1000]);
        assert_eq!(steps(100, 3, 1000, 3), [100, 1000]);
        assert_eq!(steps(100, 2, 100, 8), [100]);
    }
}
