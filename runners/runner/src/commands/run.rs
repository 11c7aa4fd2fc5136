//! `runner --config FILE`.

use crate::cli::RunArgs;
use crate::evaluation::verdict;
use crate::execute::{Surroundings, execute, finished, prepare, settle};
use crate::output::say;
use crate::progress::duration;
use crate::resolve::{Refusal, resolve, to_json};
use crate::run::RunFolder;
use crate::run::folder::read_json;
use crate::services::data_folder_or_none;
use crate::signals::StopFlag;
use crate::train::flat::FlatParameters;
use crate::train::trainer::load_initial_weights;
use isotropy_core::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Runs an experiment and prints what was measured.
///
/// # Errors
/// Whatever stops it; the folder can be resumed after an interruption.
pub fn run(config: &Path, args: &RunArgs) -> Result<(), Refusal> {
    let started = Instant::now();
    let mut resolved = resolve(config, &args.sets)?;
    let path =
        args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&resolved.experiment.name));
    let config_file = path.join("config.json");
    let stored =
        (args.resume && config_file.exists()).then(|| read_json(&config_file)).transpose()?;
    let device = match settle(&mut resolved.experiment, stored.as_ref()) {
        Ok(device) => device,
        Err(error) => return Err(resolved.locate(error)),
    };
    let value = to_json(&resolved.experiment)?;
    RunFolder::check(&path, &value, args.resume)?;
    if stored.is_some() && finished(&path) {
        say!(
            "{} is finished; its metrics are in {}",
            path.display(),
            path.join("metrics.json").display()
        );
        return Ok(verdict(&read_json(&path.join("metrics.json"))?)?);
    }
    let surroundings = Surroundings {
        data_dir: data_folder_or_none(args.data.data_dir.clone()),
        config_folder: resolved.folder.clone(),
        stop: StopFlag::listen()?,
        accept_changed_data: args.data.accept_changed_data,
    };
    // Everything is built and the data are read before the folder exists, so that what cannot work
    // leaves nothing behind.
    let prepared = match prepare(&resolved.experiment, device, &surroundings) {
        Ok(prepared) => prepared,
        Err(error) => return Err(resolved.locate(error)),
    };
    if stored.is_none() {
        let parameters = FlatParameters::new(&prepared.built.store).map_err(Error::from)?;
        load_initial_weights(&resolved.experiment, &surroundings, &parameters)
            .map_err(|error| resolved.locate(error))?;
    }
    let folder = RunFolder::open(&path, &value, args.resume)?;
    let report = match execute(&resolved.experiment, &prepared, &folder, &surroundings, started) {
        Ok(report) => report,
        Err(Error::Interrupted(what)) => {
            let message = format!("{what}; go on with --resume --out {}", path.display());
            return Err(Error::Interrupted(message).into());
        }
        Err(error) => return Err(resolved.locate(error)),
    };
    say!("\n{} ({})", resolved.experiment.name, duration(started.elapsed().as_secs_f64()));
    say!("{}", report.table().trim_end());
    print_files(&folder)?;
    Ok(verdict(&report.to_json())?)
}

/// Says where the results lie.
///
/// # Errors
/// When the folder cannot be read.
pub fn print_files(folder: &RunFolder) -> Result<(), Error> {
    say!("\nin {}:", folder.path().display());
    let mut lines = vec!["metrics.json".to_string()];
    if folder.join("samples/samples.npz").exists() {
        lines.push("samples/samples.npz".into());
    }
    if folder.join("weights.safetensors").exists() {
        lines.push("weights.safetensors".into());
    }
    let plots = folder.join("plots");
    if plots.exists() {
        let entries = std::fs::read_dir(&plots).map_err(|e| Error::io(&plots, e))?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        names.sort();
        lines.extend(names.into_iter().map(|name| format!("plots/{name}")));
    }
    for line in lines {
        say!("  {line}");
    }
    say!("curves: tensorboard --logdir {}", folder.join("tensorboard").display());
    Ok(())
}
