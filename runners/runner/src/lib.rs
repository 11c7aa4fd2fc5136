//! Runs an experiment that one JSON file describes: trains, samples, evaluates, and leaves a run
//! folder. A plugin outside of this repository gets its own binary of three lines: it names the
//! plugin and calls [`main`].

pub mod build;
pub mod catalogue;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod config;
pub mod conformance;
pub mod device;
pub mod evaluation;
pub mod execute;
pub mod experiment;
pub mod guard;
pub mod labelled;
pub mod memory;
pub mod needs;
pub mod output;
mod plugins;
pub mod progress;
pub mod resolve;
pub mod run;
pub mod sampling;
pub mod services;
pub mod signals;
pub mod sweep;
pub mod tensorboard;
pub mod train;

use clap::Parser;
use cli::{Cli, Command, DataCommand};
use isotropy_core::Error;
use output::note;
use resolve::Refusal;
use services::data_folder;
use std::process::ExitCode;

/// The whole program: parses the command line, runs the command, prints errors, returns the exit
/// code (0 ok, 2 configuration, 3 data, 4 numbers, 75 interrupted and resumable, 1 the rest).
pub fn main() -> ExitCode {
    guard::install_hook();
    memory::keep_freed();
    let cli = Cli::parse();
    let prints = cli.command.as_ref().is_some_and(Command::only_prints);
    if prints {
        output::end_with_the_reader();
    }
    // A panic that no guard caught is a defect of the runner; even then the exit code is documented.
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| dispatch(cli)));
    match outcome {
        // A run is done whether or not its last words were heard; what only prints is not.
        Ok(Ok(())) => match output::lost() {
            Err(error) => {
                report(&Refusal::Error(error));
                if prints { ExitCode::FAILURE } else { ExitCode::SUCCESS }
            }
            Ok(()) => ExitCode::SUCCESS,
        },
        Ok(Err(refusal)) => {
            report(&refusal);
            ExitCode::from(exit_code(&refusal))
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn dispatch(cli: Cli) -> Result<(), Refusal> {
    match cli.command {
        None => match &cli.run.config {
            Some(config) => commands::run::run(config, &cli.run)?,
            None => {
                return Err(Error::config(
                    "",
                    "nothing to do: name an experiment with --config FILE",
                )
                .with_help("runner --help shows examples")
                .into());
            }
        },
        Some(Command::Validate { files, sets }) => commands::validate::validate(&files, &sets)?,
        Some(Command::List { kind, json }) => commands::catalogue::list(kind.as_deref(), json)?,
        Some(Command::Describe { all: true, .. }) => commands::catalogue::describe_all()?,
        Some(Command::Describe { kind, name, .. }) => {
            let (kind, name) = (kind.unwrap_or_default(), name.unwrap_or_default());
            commands::catalogue::describe(&kind, &name)?;
        }
        Some(Command::Schema { out, replace }) => {
            commands::catalogue::schema(out.as_deref(), replace)?;
        }
        Some(Command::Check { kind, name, config, all, json }) => {
            let what = commands::check::Subject::from_flags(kind, name, config, all)?;
            commands::check::check(&what, json)?;
        }
        Some(Command::Sample { run, count, out, replace, seed, data }) => {
            commands::rerun::Draw { run, count, out, replace, seed }.draw(&data)?;
        }
        Some(Command::Evaluate { run, step, out, data }) => {
            commands::rerun::evaluate(&run, step, out, &data)?;
        }
        Some(Command::Reproduce { run, out, data }) => {
            commands::reproduce::reproduce(&run, out, &data)?;
        }
        Some(Command::Chart { file, out, replace }) => {
            commands::chart::chart(&file, out, replace)?;
        }
        Some(Command::Sweep(args)) => commands::sweep::sweep(&args)?,
        Some(Command::Data(DataCommand::List { data_dir })) => {
            commands::data::list(&data_folder(data_dir)?);
        }
        Some(Command::Data(DataCommand::Fetch { name, from, data_dir })) => {
            commands::data::fetch(&data_folder(data_dir)?, &name, from)?;
        }
        Some(Command::Doctor { data_dir }) => {
            if !commands::doctor::doctor(&data_folder(data_dir)?) {
                return Err(Error::Other("doctor found faults; see above".into()).into());
            }
        }
        Some(Command::Completions { shell }) => cli::completions(shell),
    }
    Ok(())
}

/// Prints why something was refused, to standard error.
pub fn report(refusal: &Refusal) {
    match refusal {
        Refusal::Diagnostics(diagnostics) => {
            note!("{}", diagnostics.render(config::Style::for_stderr()));
        }
        Refusal::Error(error) => {
            note!("error: {error}");
            if let Some(help) = error.help() {
                note!(" help: {help}");
            }
        }
    }
}

fn exit_code(refusal: &Refusal) -> u8 {
    match refusal {
        Refusal::Diagnostics(_) => 2,
        Refusal::Error(error) => error.exit_code() as u8,
    }
}
