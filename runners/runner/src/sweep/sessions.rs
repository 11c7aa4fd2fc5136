//! The sweep in TensorBoard: `tensorboard/` in its folder holds one run for every cell, with the
//! cell's curves and the records of the HParams plugin.
//!
//! ```text
//! tensorboard/
//!   events.out.tfevents.0000000000.sweep          the experiment: axes, metrics
//!   0007-steps=10,seed=0/
//!     events.out.tfevents.0000000000.sweep        the session's beginning and its values
//!     events.out.tfevents.SECONDS.HOST.isotropy   a link to the cell's own curves
//!     events.out.tfevents.9999999999.sweep        the session's end and status
//! ```
//!
//! TensorBoard reads the files of a run in the order of their names and does not come back to an
//! earlier one, hence the numbers.

use super::cell::{CellFolder, State};
use super::file::Interest;
use super::plan::{Cell, Plan};
use crate::tensorboard::hparams::{
    DataType, Experiment, HKind, HParamInfo, HValue, ListValue, MetricInfo, MetricName, Record,
    SessionEnd, SessionStart, Status, write_file,
};
use isotropy_core::{Error, Result};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const FIRST: &str = "events.out.tfevents.0000000000.sweep";
const LAST: &str = "events.out.tfevents.9999999999.sweep";

/// Writes the records of a sweep.
pub struct Sessions<'a> {
    plan: &'a Plan,
    folder: PathBuf,
    /// Where each cell stands in the plan: equal configurations have one folder and several names.
    order: HashMap<&'a str, usize>,
    linked: BTreeSet<String>,
    metrics: BTreeSet<String>,
}

impl<'a> Sessions<'a> {
    /// Opens `tensorboard/` in the sweep's folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(plan: &'a Plan, folder: &Path) -> Result<Self> {
        let folder = folder.join("tensorboard");
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        let order =
            plan.cells.iter().enumerate().map(|(k, cell)| (cell.name.as_str(), k)).collect();
        let (linked, metrics) = (BTreeSet::new(), BTreeSet::new());
        let sessions = Self { plan, folder, order, linked, metrics };
        sessions.remove_strangers()?;
        sessions.experiment()?;
        Ok(sessions)
    }

    /// The name of a cell's run: its place in the plan sorts it.
    fn run_name(&self, cell: &Cell) -> String {
        let at = self.order.get(cell.name.as_str()).copied().unwrap_or(0);
        let digits = self.plan.cells.len().to_string().len().max(3);
        // A folder name may have 255 bytes.
        let name: String = cell.name.chars().take(200).collect();
        format!("{at:0digits$}-{name}")
    }

    fn run(&self, cell: &Cell) -> Result<PathBuf> {
        let path = self.folder.join(self.run_name(cell));
        std::fs::create_dir_all(&path).map_err(|e| Error::io(&path, e))?;
        Ok(path)
    }

    /// Removes the runs of an earlier plan of this sweep; they hold links and our own records only.
    fn remove_strangers(&self) -> Result<()> {
        let known: BTreeSet<String> =
            self.plan.cells.iter().map(|cell| self.run_name(cell)).collect();
        let entries = std::fs::read_dir(&self.folder).map_err(|e| Error::io(&self.folder, e))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if known.contains(&name) || !path.is_dir() || !path.join(FIRST).exists() {
                continue;
            }
            std::fs::remove_dir_all(&path).map_err(|e| Error::io(&path, e))?;
        }
        Ok(())
    }

    /// A cell begins.
    ///
    /// # Errors
    /// When the records cannot be written.
    pub fn began(&mut self, cell: &Cell, cell_folder: &CellFolder) -> Result<()> {
        let run = self.run(cell)?;
        let mut hparams: std::collections::BTreeMap<String, HValue> = Default::default();
        for (axis, &k) in self.plan.axes.iter().zip(&cell.choices) {
            hparams.insert(axis.name.clone(), axis_value(axis, k));
        }
        hparams.insert("seed".into(), number(cell.seed as f64));
        if self.plan.rungs() > 1 {
            hparams.insert("rung".into(), number(cell.rung as f64));
        }
        let start =
            SessionStart { hparams, group_name: self.run_name(cell), start_time_secs: now() };
        write_file(&run.join(FIRST), &[Record::Start(start)])?;
        let end = run.join(LAST);
        if end.exists() {
            std::fs::remove_file(&end).map_err(|e| Error::io(&end, e))?;
        }
        self.link(cell, cell_folder)
    }

    /// Links the curves of a cell as soon as there are some.
    ///
    /// # Errors
    /// When the link cannot be made.
    pub fn link(&mut self, cell: &Cell, cell_folder: &CellFolder) -> Result<()> {
        if self.linked.contains(&cell.name) {
            return Ok(());
        }
        let curves = cell_folder.run().join("tensorboard");
        let Ok(entries) = std::fs::read_dir(&curves) else { return Ok(()) };
        let run = self.run(cell)?;
        for entry in entries.flatten() {
            let link = run.join(entry.file_name());
            let target = entry.path().canonicalize().unwrap_or_else(|_| entry.path());
            match std::os::unix::fs::symlink(&target, &link) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(Error::io(&link, error));
                }
                _ => {}
            }
            self.linked.insert(cell.name.clone());
        }
        Ok(())
    }

    /// A cell has ended, or was found ended.
    ///
    /// # Errors
    /// When the records cannot be written.
    pub fn ended(&mut self, cell: &Cell, cell_folder: &CellFolder) -> Result<()> {
        let run = self.run(cell)?;
        if !run.join(FIRST).exists() {
            self.began(cell, cell_folder)?;
        }
        self.link(cell, cell_folder)?;
        let status = match cell_folder.state() {
            State::Finished => Status::Success,
            State::Failed(_) => Status::Failure,
            // It goes on one day.
            State::Running | State::Interrupted | State::Waiting => return Ok(()),
        };
        let end = SessionEnd { status: status as i32, end_time_secs: now() };
        let mut records = vec![Record::End(end)];
        if let Some(metrics) = cell_folder.metrics() {
            self.know(&metrics);
            for interest in self.plan.metrics.iter().map(|interest| interest.parts().0) {
                if let (true, Some(value)) = (interest.contains('.'), look_up(&metrics, interest)) {
                    let tag = interest.replace('.', "/");
                    records.push(Record::Scalar(tag, cell.steps as i64, value));
                }
            }
        }
        write_file(&run.join(LAST), &records)
    }

    fn know(&mut self, metrics: &Value) {
        let new = metrics["metrics"].as_object().into_iter().flatten();
        let new: Vec<String> = new.map(|(name, _)| name.clone()).collect();
        let before = self.metrics.len();
        self.metrics.extend(new);
        if self.metrics.len() > before {
            // The experiment is written anew at the end too, where an error is reported.
            let _ = self.experiment();
        }
    }

    /// Writes the experiment with the metrics that are known by now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn experiment(&self) -> Result<()> {
        let mut hparam_infos: Vec<HParamInfo> = self
            .plan
            .axes
            .iter()
            .map(|axis| {
                let values = (0..axis.labels.len()).map(|k| axis_value(axis, k)).collect();
                info(&axis.name, axis_type(axis), values)
            })
            .collect();
        let seeds = self.plan.seeds.iter().map(|&seed| number(seed as f64)).collect();
        hparam_infos.push(info("seed", DataType::Float64, seeds));
        if self.plan.rungs() > 1 {
            let rungs = (0..self.plan.rungs()).map(|rung| number(rung as f64)).collect();
            hparam_infos.push(info("rung", DataType::Float64, rungs));
        }
        let interests = self.plan.metrics.iter().map(Interest::parts);
        let mut names: Vec<(String, String)> = interests
            .map(|(name, _)| match name.contains('.') {
                true => (name.to_owned(), name.replace('.', "/")),
                false => (name.to_owned(), format!("metrics/{name}")),
            })
            .collect();
        // Metrics of interest are those of the table; without any it has all that were measured.
        for name in self.metrics.iter().filter(|_| self.plan.metrics.is_empty()) {
            if !names.iter().any(|(known, _)| known == name) {
                names.push((name.clone(), format!("metrics/{name}")));
            }
        }
        let metric_infos = names
            .into_iter()
            .map(|(display_name, tag)| MetricInfo { name: Some(MetricName { tag }), display_name })
            .collect();
        let experiment = Experiment {
            name: self.plan.name.clone(),
            description: self.plan.description.clone(),
            time_created_secs: now(),
            hparam_infos,
            metric_infos,
        };
        write_file(&self.folder.join(FIRST), &[Record::Experiment(experiment)])
    }
}

/// Brings the records up to date with the cells' folders: after processes that ran elsewhere.
///
/// # Errors
/// When the records cannot be written.
pub fn gather(plan: &Plan, folder: &Path) -> Result<()> {
    let mut sessions = Sessions::open(plan, folder)?;
    for cell in &plan.cells {
        let cell_folder = plan.cell_folder(folder, cell);
        match cell_folder.state() {
            State::Waiting => {}
            State::Running | State::Interrupted => {
                if !sessions.run(cell)?.join(FIRST).exists() {
                    sessions.began(cell, &cell_folder)?;
                }
                sessions.link(cell, &cell_folder)?;
            }
            State::Finished | State::Failed(_) => sessions.ended(cell, &cell_folder)?,
        }
    }
    sessions.experiment()
}

/// A number in `metrics.json`: a metric's name, or a path.
pub fn look_up(metrics: &Value, name: &str) -> Option<f64> {
    if let Some(value) = metrics["metrics"].get(name) {
        return value.as_f64();
    }
    let mut value = metrics;
    for step in name.split('.') {
        value = value.get(step)?;
    }
    value.as_f64()
}

fn info(name: &str, kind: DataType, values: Vec<HValue>) -> HParamInfo {
    let domain_discrete = Some(ListValue { values });
    HParamInfo { name: name.to_owned(), r#type: kind as i32, domain_discrete }
}

fn axis_type(axis: &super::plan::PlanAxis) -> DataType {
    let truth = |label: &String| label == "true" || label == "false";
    match &axis.numbers {
        Some(_) => DataType::Float64,
        None if axis.labels.iter().all(truth) => DataType::Bool,
        None => DataType::String,
    }
}

fn axis_value(axis: &super::plan::PlanAxis, k: usize) -> HValue {
    match (&axis.numbers, axis_type(axis)) {
        (Some(numbers), _) => number(numbers[k]),
        (None, DataType::Bool) => HValue { kind: Some(HKind::Bool(axis.labels[k] == "true")) },
        _ => HValue { kind: Some(HKind::String(axis.labels[k].clone())) },
    }
}

fn number(value: f64) -> HValue {
    HValue { kind: Some(HKind::Number(value)) }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
