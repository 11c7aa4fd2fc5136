//! What a sweep file says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A sweep: one experiment, varied along axes, each variant with several seeds.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepFile {
    /// Version of the format; this runner reads 1.
    #[schemars(range(min = 1, max = 1))]
    pub schema: u32,
    /// Short name; the sweep's folder is `runs/sweeps/NAME` unless `--out` says otherwise.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The question that the sweep answers, for people.
    #[serde(default)]
    pub description: String,
    /// The experiment that is varied: the path of its file, relative to this one, or the experiment
    /// itself.
    pub base: Base,
    /// What is changed in the base for every cell: path and value.
    #[serde(default)]
    pub set: BTreeMap<String, Value>,
    /// What is varied. All values of an axis are combined with all values of the others.
    #[serde(default)]
    pub axes: Vec<Axis>,
    /// Named bundles of settings (path and value) that axes can name as their values.
    #[serde(default)]
    pub presets: BTreeMap<String, BTreeMap<String, Value>>,
    /// Combinations that are left out: axis and label, or list of labels. One is left out when all
    /// of its axes match.
    #[serde(default)]
    pub exclude: Vec<BTreeMap<String, Labels>>,
    /// Seeds with which every combination is run.
    #[serde(default)]
    pub seeds: Seeds,
    /// Metrics of interest; none means all that know which way is better.
    #[serde(default)]
    pub metrics: Vec<Interest>,
    /// How long a cell trains, instead of the `train.steps` of the base.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// Which combinations are run.
    #[serde(default)]
    pub search: Search,
    /// What a cell asks of a cluster.
    #[serde(default)]
    pub resources: Resources,
    /// Pictures beside those of every metric against every axis.
    #[serde(default)]
    pub pictures: Vec<Picture>,
}

/// A path, or the experiment itself.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Base {
    /// A file.
    Path(String),
    /// The experiment.
    Inline(serde_json::Map<String, Value>),
}

/// One axis. Exactly one of `path`, `paths` and `presets` is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Its name in tables; the last name of the path where none is given.
    #[serde(default)]
    pub name: Option<String>,
    /// The path that is set, as for `--set`: `model.hidden`, or a whole component: `process`.
    #[serde(default)]
    pub path: Option<String>,
    /// Paths that are set together; each value is then a list with one element for each path.
    #[serde(default)]
    pub paths: Option<Vec<String>>,
    /// The values.
    #[serde(default)]
    pub values: Option<Vec<Value>>,
    /// Names of presets that are the values.
    #[serde(default)]
    pub presets: Option<Vec<String>>,
    /// Short names of the values, of letters, digits and `._+-`.
    #[serde(default)]
    pub labels: Option<Vec<String>>,
    /// The label that others are compared with; the first where none is given.
    #[serde(default)]
    pub base: Option<String>,
}

/// One label or several.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Labels {
    /// One.
    One(String),
    /// Any of these.
    Several(Vec<String>),
}

impl Labels {
    /// All of them.
    pub fn list(&self) -> Vec<&str> {
        match self {
            Self::One(label) => vec![label],
            Self::Several(labels) => labels.iter().map(String::as_str).collect(),
        }
    }
}

/// Seeds, listed or counted.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Seeds {
    /// These.
    List(Vec<u64>),
    /// Consecutive ones.
    Range(SeedRange),
}

impl Default for Seeds {
    fn default() -> Self {
        Self::List(vec![0])
    }
}

impl Seeds {
    /// All of them.
    pub fn list(&self) -> Vec<u64> {
        match self {
            Self::List(seeds) => seeds.clone(),
            Self::Range(range) => (range.from..).take(range.count as usize).collect(),
        }
    }
}

/// Consecutive seeds.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeedRange {
    /// How many.
    #[schemars(range(min = 1, max = 1000))]
    pub count: u32,
    /// The first.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub from: u64,
}

/// A metric of interest.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Interest {
    /// Its name in `metrics.json`, or a path there: `training.validation_loss`.
    Name(String),
    /// With its direction.
    Full(FullInterest),
}

/// A metric with its direction.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FullInterest {
    /// Its name in `metrics.json`, or a path there.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Which way is better; the metric's own direction where it is not given.
    #[serde(default)]
    pub better: Option<Direction>,
}

impl Interest {
    /// Name and direction.
    pub fn parts(&self) -> (&str, Option<Direction>) {
        match self {
            Self::Name(name) => (name, None),
            Self::Full(full) => (&full.name, full.better),
        }
    }
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Smaller is better.
    Lower,
    /// Larger is better.
    Higher,
}

/// How long a cell trains: one of the two.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Optimiser steps.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub steps: Option<u64>,
    /// Minutes of training. Each variant is measured once, before the sweep begins, and gets the
    /// steps that it makes in this time; they are written down, so that a resumed sweep keeps them.
    #[serde(default)]
    #[schemars(range(min = 0.001, max = 100_000.0))]
    pub minutes: Option<f64>,
}

/// Which combinations are run.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Search {
    /// All.
    #[default]
    Grid,
    /// A random choice without repetition.
    Random {
        /// How many combinations.
        #[schemars(range(min = 1, max = 100_000))]
        count: u32,
        /// Seed of the choice.
        #[serde(default)]
        seed: u64,
    },
    /// All begin with few steps; the best part is run again with more, and so on. Every rung trains
    /// from the start, so that each result is that of an ordinary run.
    SuccessiveHalving {
        /// The metric that decides: a name in `metrics.json` or a path there.
        #[schemars(length(min = 1))]
        metric: String,
        /// Which way is better; the metric's own direction where it is not given.
        #[serde(default)]
        better: Option<Direction>,
        /// Steps of the first rung; the last has those of the budget, else of the configuration.
        #[schemars(range(min = 1))]
        first_steps: u64,
        /// One of so many goes on, with so many times the steps.
        #[serde(default = "three")]
        #[schemars(range(min = 2, max = 100))]
        factor: u32,
    },
}

fn three() -> u32 {
    3
}

/// What a cell asks of a cluster; what is not given is left to the cluster.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Partition.
    pub partition: Option<String>,
    /// Account.
    pub account: Option<String>,
    /// Quality of service.
    pub qos: Option<String>,
    /// Time limit in minutes, at least 3: two minutes before it the cell writes a checkpoint and is
    /// queued again.
    #[schemars(range(min = 3, max = 1_000_000))]
    pub minutes: Option<u32>,
    /// CPUs of a cell; the threads of its configuration where none are given.
    #[schemars(range(min = 1, max = 1024))]
    pub cpus: Option<u32>,
    /// Memory in GiB.
    #[schemars(range(min = 1, max = 100_000))]
    pub memory_gib: Option<u32>,
    /// GPUs of a cell.
    #[schemars(range(min = 0, max = 1))]
    pub gpus: u32,
    /// Features of the nodes.
    pub constraint: Option<String>,
    /// Further options of `sbatch`, each a whole one: `--exclude=node7`. Not those that the script
    /// needs for itself, nor those that have a field here.
    pub options: Vec<String>,
    /// Shell lines before the cell starts: `module load cuda`.
    pub setup: Vec<String>,
}

/// A picture of one number against another.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// Horizontal: the name of an axis, a metric, or a path in `metrics.json`.
    pub x: String,
    /// Vertical: a metric or a path in `metrics.json`.
    pub y: String,
    /// The axis whose values get a line each.
    #[serde(default)]
    pub lines: Option<String>,
    /// Axes whose values get a picture each.
    #[serde(default)]
    pub each: Vec<String>,
    /// Whether the horizontal axis is logarithmic.
    #[serde(default)]
    pub log_x: bool,
    /// Whether the vertical axis is logarithmic.
    #[serde(default)]
    pub log_y: bool,
}
