//! The command line: one place from which help texts and completions come.

use crate::output::say;
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::path::PathBuf;

/// Trains, samples and evaluates a diffusion model that one JSON file describes.
#[derive(Debug, Parser)]
#[command(name = "runner", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do; without a command, `--config` runs an experiment.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// An experiment to run.
    #[command(flatten)]
    pub run: RunArgs,
}

const EXAMPLES: &str = "\
Examples:
  runner --config configs/quickstart.json
  runner --config configs/quickstart.json --set train.steps=500 --set seed=3 --out runs/short
  runner --config configs/quickstart.json --resume
  runner validate configs/*.json
  runner sweep configs/sweeps/target-sampler-steps.json --jobs 2
  runner sweep report runs/sweeps/target-sampler-steps
  runner list representation
  runner describe process vp

Exit codes: 0 ok, 1 other errors, 2 configuration, 3 data, 4 numbers (NaN, infinity),
75 interrupted by a signal after a checkpoint (go on with --resume).";

/// Running an experiment.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The experiment file; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Overrides a value: `--set train.steps=500`; the value is JSON, or text as it stands.
    #[arg(long = "set", value_name = "PATH=VALUE", requires = "config")]
    pub sets: Vec<String>,
    /// The run folder [default: runs/NAME].
    #[arg(long, value_name = "DIR", requires = "config")]
    pub out: Option<PathBuf>,
    /// Go on with the run in the folder, or start it where there is none.
    #[arg(long, requires = "config")]
    pub resume: bool,
    /// The data.
    #[command(flatten)]
    pub data: DataFlags,
}

/// Where the data lie, and whether they must be those of the run.
#[derive(Debug, Clone, Default, Args)]
pub struct DataFlags {
    /// Where data sets lie [default: $ISOTROPY_DATA, else the user's data folder].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Go on with data that are not those that the run began with; the change is written into its
    /// manifest.
    #[arg(long)]
    pub accept_changed_data: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Checks experiment files: every mistake, then whether everything they name can be built.
    Validate {
        /// Experiment files; `-` is standard input.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Overrides a value, as for a run.
        #[arg(long = "set", value_name = "PATH=VALUE")]
        sets: Vec<String>,
    },
    /// Lists components.
    List {
        /// Only this kind (group, process, ...).
        kind: Option<String>,
        /// An array of {kind, name, summary, crate, version}.
        #[arg(long)]
        json: bool,
    },
    /// Shows a component: its fields with defaults and ranges, and an example.
    Describe {
        /// Kind of the component.
        #[arg(required_unless_present = "all")]
        kind: Option<String>,
        /// Its name.
        #[arg(required_unless_present = "all")]
        name: Option<String>,
        /// All components, as a Markdown page.
        #[arg(long, conflicts_with_all = ["kind", "name"])]
        all: bool,
    },
    /// Prints the JSON schema of experiment files, for editors.
    Schema {
        /// Write to a file instead.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Replace the file if it is there.
        #[arg(long, requires = "out")]
        replace: bool,
    },
    /// Checks components against their mathematics and prints a table.
    Check {
        /// Kind of the component.
        kind: Option<String>,
        /// Its name.
        #[arg(requires = "kind")]
        name: Option<String>,
        /// Check everything that an experiment names.
        #[arg(long, value_name = "FILE", conflicts_with = "kind")]
        config: Option<PathBuf>,
        /// Check all components.
        #[arg(long, conflicts_with_all = ["kind", "config"])]
        all: bool,
        /// An array of {kind, name, check, status, error, tolerance, why}.
        #[arg(long)]
        json: bool,
    },
    /// Draws more samples from a run.
    Sample {
        /// The run folder.
        #[arg(long, value_name = "DIR")]
        run: PathBuf,
        /// How many.
        #[arg(long, value_name = "N")]
        count: i64,
        /// Where to write them [default: DIR/samples/samples-N-seed-S.npz].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Replace the file if it is there.
        #[arg(long)]
        replace: bool,
        /// Seed of these samples [default: the run's seed plus one].
        #[arg(long)]
        seed: Option<u64>,
        /// The data.
        #[command(flatten)]
        data: DataFlags,
    },
    /// Measures and draws again, from a checkpoint of a run: writes its weights, samples, plots and
    /// metrics.json anew.
    Evaluate {
        /// The run folder.
        #[arg(long, value_name = "DIR")]
        run: PathBuf,
        /// The checkpoint after this many steps instead of the last one; what is found goes to a folder
        /// of its own.
        #[arg(long, value_name = "N")]
        step: Option<u64>,
        /// A folder of its own for what is found; the run is only read [default: DIR, with --step
        /// DIR/evaluations/step-N].
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// The data.
        #[command(flatten)]
        data: DataFlags,
    },
    /// Runs a finished run again from its resolved configuration, and compares weights and metrics.
    Reproduce {
        /// The run folder.
        #[arg(long, value_name = "DIR")]
        run: PathBuf,
        /// The folder of the second run [default: DIR-reproduced].
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// The data.
        #[command(flatten)]
        data: DataFlags,
    },
    /// Runs the cells of a sweep file, shows how they stand, and reports what they found.
    Sweep(SweepArgs),
    /// Draws lines with error bars, as PNG and SVG.
    Chart {
        /// What is drawn, in JSON: `{"title", "x_name", "y_name", "log_x", "log_y", "legend", "series": [{"name",
        /// "points": [[x, y, standard error or null], ...]}]}`.
        file: PathBuf,
        /// The pictures without their extension [default: the file without its own].
        #[arg(long, value_name = "STEM")]
        out: Option<PathBuf>,
        /// Replace pictures that are there.
        #[arg(long)]
        replace: bool,
    },
    /// Lists or brings data sets.
    #[command(subcommand)]
    Data(DataCommand),
    /// Prints what was found (libtorch, devices, threads, data, plugins) and how to mend faults.
    Doctor {
        /// Where data sets lie.
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Prints a completion script.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Whether the command has done its work once its output is read: it may die with its reader.
    pub fn only_prints(&self) -> bool {
        match self {
            Self::Validate { .. }
            | Self::List { .. }
            | Self::Describe { .. }
            | Self::Schema { .. }
            | Self::Check { .. }
            | Self::Data(DataCommand::List { .. })
            | Self::Sweep(SweepArgs {
                action:
                    Some(
                        SweepAction::Status { .. }
                        | SweepAction::Report { .. }
                        | SweepAction::Schema,
                    ),
                ..
            })
            | Self::Doctor { .. }
            | Self::Completions { .. } => true,
            Self::Sample { .. }
            | Self::Evaluate { .. }
            | Self::Reproduce { .. }
            | Self::Chart { .. }
            | Self::Sweep(_)
            | Self::Data(DataCommand::Fetch { .. }) => false,
        }
    }
}

/// A sweep.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct SweepArgs {
    /// What to do with a sweep that has begun.
    #[command(subcommand)]
    pub action: Option<SweepAction>,
    /// The sweep file.
    #[arg(required = true, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Where cells are run.
    #[arg(long, value_enum, default_value_t = Launch::Local)]
    pub launch: Launch,
    /// Cells at once [default: as many as there are cores for].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Only cells whose name has this part, or matches this pattern with `*`.
    #[arg(long, value_name = "PATTERN")]
    pub only: Option<String>,
    /// Go on with the sweep in the folder: only what is missing is run.
    #[arg(long)]
    pub resume: bool,
    /// Check everything and print the cells, with their parameters and the time they take.
    #[arg(long)]
    pub dry_run: bool,
    /// With Slurm: wait until all cells have ended.
    #[arg(long)]
    pub wait: bool,
    /// The sweep's folder [default: runs/sweeps/NAME].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The cells' folder, which sweeps may share [default: runs/cells, or cells/ in --out].
    #[arg(long, value_name = "DIR")]
    pub cells: Option<PathBuf>,
    /// Where data sets lie.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// Where the cells of a sweep are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Launch {
    /// On this machine.
    Local,
    /// As job arrays of a Slurm cluster.
    Slurm,
}

/// What to do with a sweep that has begun.
#[derive(Debug, Clone, Subcommand)]
pub enum SweepAction {
    /// Shows how every cell stands.
    Status {
        /// The sweep's folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Prints tables of what was measured, and draws pictures.
    Report {
        /// The sweep's folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// How it is written.
        #[arg(long, value_enum, default_value_t = crate::sweep::report::Format::Table)]
        format: crate::sweep::report::Format,
    },
    /// Prints the JSON schema of sweep files, for editors.
    Schema,
    /// Runs one cell: what a task of a Slurm array does.
    #[command(hide = true)]
    Cell {
        /// The list of cells.
        list: PathBuf,
        /// Its line, from 0.
        index: usize,
        /// Where data sets lie.
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
}

/// What to do with data sets.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Lists the data sets that can be brought, and whether they are there.
    List {
        /// Where data sets lie.
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Brings a data set.
    Fetch {
        /// Its name.
        name: String,
        /// Take it from this file or folder instead of the package manager.
        #[arg(long, value_name = "PATH")]
        from: Option<PathBuf>,
        /// Where data sets lie.
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
}

/// Prints the completion script for a shell.
pub fn completions(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "runner", &mut script);
    say!("{}", String::from_utf8_lossy(&script).trim_end_matches('\n'));
}
