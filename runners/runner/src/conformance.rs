//! Which conformance checks a component gets, and on what it is tried: registering a component is
//! enough to enrol it.

use crate::build::build;
use crate::catalogue::Catalogue;
use crate::experiment::{Experiment, NoiseOf};
use crate::guard::guard;
use crate::services::data_folder_or_none;
use isotropy_conformance::CHECKS;
use isotropy_conformance::{
    CheckResult, Status, coupled::check_coupled_noise, covariance, group, model, process,
    representation, sampler,
};
use isotropy_core::{
    Component, CovarianceKernelConfig, Dataset, DatasetConfig, Error, FreshNoise, GroupConfig,
    LoadContext, MetricConfig, ModelConfig, ModelContext, NoisingProcess, ObjectiveConfig,
    PlotConfig, ProcessConfig, Representation, RepresentationConfig, Result, SamplerConfig,
    ScheduleConfig, Split, State, StateSpec, Streams,
};
use isotropy_diffusion::{coupled_noise as coupled, coupled_noise::CoupledNoise};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::sync::Arc;
use tch::{Device, Kind};

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Kind of the component.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The outcome.
    #[serde(flatten)]
    pub result: CheckResult,
}

/// All checks of a registered component, on its example.
pub fn check_component(
    component: &Component,
    catalogue: &Catalogue,
    streams: &Streams,
) -> Vec<Row> {
    let mut results = Vec::new();
    match guard(component.name, || specific(component, catalogue, streams, &mut results)) {
        Ok(()) => {}
        Err(error) => results.push(CheckResult::fail("the example builds", error.to_string())),
    }
    for extra in CHECKS.iter().filter(|extra| {
        extra.kind == component.kind && extra.name.is_none_or(|name| name == component.name)
    }) {
        match guard(component.name, || Ok((extra.run)(component))) {
            Ok(found) => results.extend(found),
            Err(error) => {
                results.push(CheckResult::fail("the plugin's own check", error.to_string()));
            }
        }
    }
    rows(component.kind, component.name, results)
}

fn rows(kind: &str, name: &str, results: Vec<CheckResult>) -> Vec<Row> {
    let row = |result| Row { kind: kind.to_string(), name: name.to_string(), result };
    results.into_iter().map(row).collect()
}

fn pass(check: &str) -> CheckResult {
    CheckResult {
        check: check.to_string(),
        status: Status::Pass,
        error: None,
        tolerance: None,
        why: String::new(),
    }
}

fn specific(
    component: &Component,
    catalogue: &Catalogue,
    streams: &Streams,
    results: &mut Vec<CheckResult>,
) -> Result<()> {
    let example = component.example;
    match component.kind {
        "group" => {
            let config: Box<dyn GroupConfig> = parse(example, results)?;
            results.extend(group::check_group(config.build()?.as_ref(), streams));
        }
        "representation" => {
            let config: Box<dyn RepresentationConfig> = parse(example, results)?;
            let built = config.build()?;
            results.extend(representation::check_representation(built.as_ref(), streams));
            for (name, symmetry) in symmetries_of(built.as_ref(), catalogue, streams) {
                let Some(drive) = built.drive() else { continue };
                let new = representation::check_transport(drive, symmetry.as_ref(), streams);
                results.extend(labelled(new, &format!("under {name}")));
            }
        }
        "process" => {
            let config: Box<dyn ProcessConfig> = parse(example, results)?;
            for (name, drive) in drives(catalogue) {
                match config.build(drive) {
                    Ok(built) => {
                        let new = process::check_process(built.as_ref(), streams);
                        results.extend(labelled(new, &format!("on {name}")));
                    }
                    Err(error) => {
                        results.push(CheckResult::skip(&format!("on {name}"), error.to_string()));
                    }
                }
            }
        }
        "sampler" => {
            let config: Box<dyn SamplerConfig> = parse(example, results)?;
            results.extend(sampler::check_sampler(config.build()?.as_ref(), streams));
        }
        "model" => {
            let config: Box<dyn ModelConfig> = parse(example, results)?;
            results.extend(check_model(config.as_ref(), catalogue, streams)?);
        }
        "dataset" => {
            let config: Box<dyn DatasetConfig> = parse(example, results)?;
            results.extend(check_dataset(config.as_ref(), streams)?);
        }
        "schedule" => {
            let config: Box<dyn ScheduleConfig> = parse(example, results)?;
            config.build()?;
        }
        "kernel" => {
            let config: Box<dyn CovarianceKernelConfig> = parse(example, results)?;
            results.extend(covariance::check_covariance(config.build()?.as_ref(), streams));
        }
        "objective" => {
            let config: Box<dyn ObjectiveConfig> = parse(example, results)?;
            config.build()?;
        }
        "metric" => {
            let config: Box<dyn MetricConfig> = parse(example, results)?;
            config.build()?;
        }
        "plot" => {
            let config: Box<dyn PlotConfig> = parse(example, results)?;
            config.build()?;
        }
        other => return Err(Error::Other(format!("the suite does not know the kind '{other}'"))),
    }
    Ok(())
}

/// Reads an example; a component must survive being written and read again.
fn parse<T: DeserializeOwned + Serialize>(
    example: &str,
    results: &mut Vec<CheckResult>,
) -> Result<T> {
    let wrong = |error: serde_json::Error| Error::config("", error.to_string());
    let config: T = serde_json::from_str(example).map_err(wrong)?;
    let written = serde_json::to_value(&config).map_err(wrong)?;
    let again: T = serde_json::from_value(written.clone()).map_err(wrong)?;
    let same = serde_json::to_value(&again).map_err(wrong)? == written;
    results.push(if same {
        pass("written and read again")
    } else {
        CheckResult::fail("written and read again", "the second writing differs")
    });
    Ok(config)
}

fn labelled(results: Vec<CheckResult>, label: &str) -> Vec<CheckResult> {
    let label = |r: CheckResult| CheckResult { check: format!("{} [{label}]", r.check), ..r };
    results.into_iter().map(label).collect()
}

/// Every registered representation that builds from its example.
fn representations(catalogue: &Catalogue) -> Vec<(&'static str, Arc<dyn Representation>)> {
    let all = catalogue.components().iter().filter(|c| c.kind == "representation");
    let built = all.filter_map(|component| {
        let config: Box<dyn RepresentationConfig> = serde_json::from_str(component.example).ok()?;
        Some((component.name, config.build().ok()?))
    });
    built.collect()
}

fn drives(catalogue: &Catalogue) -> Vec<(&'static str, Arc<dyn Representation>)> {
    representations(catalogue).into_iter().filter(|(_, r)| r.drive().is_some()).collect()
}

/// The representations that act on the same states as this one.
fn symmetries_of(
    representation: &dyn Representation,
    catalogue: &Catalogue,
    streams: &Streams,
) -> Vec<(&'static str, Arc<dyn Representation>)> {
    let options = (Kind::Double, Device::Cpu);
    let Some(state) = representation.sample_state(2, options, &mut streams.stream("symmetries", 0))
    else {
        return Vec::new();
    };
    let spec = state.spec();
    let name = representation.name();
    let others = representations(catalogue).into_iter();
    others.filter(|(_, r)| r.name() != name && r.accepts(&spec).is_ok()).collect()
}

/// A model is tried on the first experiment that it can be built for: shapes of a registered
/// dataset (or of a drive's own states), a drive, and a process.
fn check_model(
    config: &dyn ModelConfig,
    catalogue: &Catalogue,
    streams: &Streams,
) -> Result<Vec<CheckResult>> {
    let mut reason = Error::Other("no dataset is linked".into());
    for (dataset, spec) in specs(catalogue) {
        for process in processes_on(&spec, catalogue) {
            let context = ModelContext { spec: &spec, process: process.as_deref(), symmetry: None };
            let store = tch::nn::VarStore::new(Device::Cpu);
            match guard("model", || config.build(&store.root(), &context)) {
                Ok(_) => {
                    let new = model::check_model(config, &context, streams);
                    return Ok(labelled(new, &format!("on {dataset}")));
                }
                Err(error) => reason = error,
            }
        }
    }
    Err(Error::Other(format!("it can be built for no registered dataset; lastly: {reason}")))
}

fn specs(catalogue: &Catalogue) -> Vec<(&'static str, StateSpec)> {
    let all = catalogue.components().iter().filter(|c| c.kind == "dataset");
    let mut specs: Vec<_> = all
        .filter_map(|component| {
            let config: Box<dyn DatasetConfig> = serde_json::from_str(component.example).ok()?;
            Some((component.name, config.spec().ok()?))
        })
        .collect();
    // States that no registered dataset has (angles, rotations) are those of their drives.
    let options = (Kind::Double, Device::Cpu);
    specs.extend(drives(catalogue).into_iter().filter_map(|(name, drive)| {
        let mut stream = Streams::new(0).stream("specs", 0);
        Some((name, drive.sample_state(2, options, &mut stream)?.spec()))
    }));
    specs
}

/// Processes from the catalogue on drives that take these shapes; last, no process at all.
fn processes_on(spec: &StateSpec, catalogue: &Catalogue) -> Vec<Option<Box<dyn NoisingProcess>>> {
    let mut all = Vec::new();
    for component in catalogue.components().iter().filter(|c| c.kind == "process") {
        for (_, drive) in drives(catalogue) {
            let Ok(config) = serde_json::from_str::<Box<dyn ProcessConfig>>(component.example)
            else {
                continue;
            };
            if drive.accepts(spec).is_ok()
                && let Ok(process) = config.build(drive)
                && process.accepts(spec).is_ok()
            {
                all.push(Some(process));
            }
        }
    }
    all.push(None);
    all
}

/// Batches have the declared shapes, depend on seed and step alone, and are finite.
fn check_dataset(config: &dyn DatasetConfig, streams: &Streams) -> Result<Vec<CheckResult>> {
    let spec = config.spec()?;
    let load = LoadContext {
        data_dir: data_folder_or_none(None),
        kind: Kind::Float,
        device: Device::Cpu,
        streams: streams.clone(),
    };
    let dataset = match config.load(&load) {
        Ok(dataset) => dataset,
        Err(error @ Error::Data { .. }) => {
            return Ok(vec![CheckResult::skip("batches", error.to_string())]);
        }
        Err(error) => return Err(error),
    };
    Ok(vec![
        shapes(dataset.as_ref(), &spec, streams)?,
        purity(dataset.as_ref(), streams)?,
        epoch(dataset.as_ref(), streams)?,
    ])
}

const SPLITS: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

fn shapes(dataset: &dyn Dataset, spec: &StateSpec, streams: &Streams) -> Result<CheckResult> {
    let check = "batches have the declared shapes and are finite";
    for split in SPLITS.into_iter().filter(|split| !dataset.is_empty(*split)) {
        let batch = dataset.batch(split, 0, 3, streams)?;
        let found = batch.spec();
        let declared = |name: &str| spec.given(name);
        let context =
            found.context.iter().filter_map(|(name, f)| Some((name.as_str(), f, declared(name)?)));
        for (name, found, declared) in
            std::iter::once(("value", &found.value, &spec.value)).chain(context)
        {
            if !declared.admits(found) {
                let why = format!("{split:?}: {name} {found:?}, declared {declared:?}");
                return Ok(CheckResult::fail(check, why));
            }
        }
        if batch.x().isfinite().all().int64_value(&[]) == 0 {
            return Ok(CheckResult::fail(check, format!("{split:?}: not finite")));
        }
    }
    Ok(pass(check))
}

fn largest_difference(a: &State, b: &State) -> f64 {
    (a.x() - b.x()).abs().max().double_value(&[])
}

fn purity(dataset: &dyn Dataset, streams: &Streams) -> Result<CheckResult> {
    let first = dataset.batch(Split::Train, 5, 4, streams)?;
    dataset.batch(Split::Train, 1, 3, streams)?;
    let again = dataset.batch(Split::Train, 5, 4, streams)?;
    let error = largest_difference(&first, &again);
    Ok(CheckResult::compare("a batch depends on seed and step alone", error, 0.0))
}

/// The first epoch shows every point once: its sum is that of the split in another order.
fn epoch(dataset: &dyn Dataset, streams: &Streams) -> Result<CheckResult> {
    let check = "an epoch shows every point once";
    let Some(len) = dataset.len(Split::Train) else {
        return Ok(CheckResult::skip(check, "the split is endless"));
    };
    let sum = |state: State| {
        let x = state.x().to_kind(Kind::Double).flatten(1, -1);
        (x.square() + x).sum_dim_intlist(1, false, None).sort(0, false).0
    };
    let rows = (len as i64).min(20_000);
    if rows < len as i64 {
        return Ok(CheckResult::skip(check, format!("{len} points are too many for this check")));
    }
    let (first, second) = (
        sum(dataset.batch(Split::Train, 0, rows, streams)?),
        sum(dataset.batch(Split::Train, 1, rows, streams)?),
    );
    let error = (first - second).abs().max().double_value(&[]);
    Ok(CheckResult::compare(check, error, 0.0))
}

/// Checks everything that an experiment names, in the roles that it gives them.
///
/// # Errors
/// When the experiment cannot be built.
pub fn check_experiment(experiment: &Experiment, streams: &Streams) -> Result<Vec<Row>> {
    guard("check", || check_parts(experiment, streams))
}

fn check_parts(experiment: &Experiment, streams: &Streams) -> Result<Vec<Row>> {
    let built = build(experiment, Kind::Double, Device::Cpu)?;
    let mut all = Vec::new();
    let mut add = |kind: &str, name: String, results| all.extend(rows(kind, &name, results));
    if let Some(process) = &built.process {
        let drive = process.drive();
        let results = representation::check_representation(drive.as_ref(), streams);
        add("representation", type_name(&experiment.drive), results);
        add(
            "process",
            type_name(&experiment.process),
            process::check_process(process.as_ref(), streams),
        );
        if let Some(symmetry) = &built.symmetry {
            let name = type_name(&experiment.symmetry);
            let mut results = representation::check_representation(symmetry.as_ref(), streams);
            results.extend(representation::check_transport(
                process.fields(),
                symmetry.as_ref(),
                streams,
            ));
            results.extend(process::check_process_symmetry(
                process.as_ref(),
                symmetry.as_ref(),
                streams,
            ));
            add("representation", name, results);
        }
    }
    let context = ModelContext {
        spec: &built.spec,
        process: built.process.as_deref(),
        symmetry: built.symmetry.as_ref(),
    };
    let results = model::check_model(experiment.model.as_ref(), &context, streams);
    add("model", type_name(&experiment.model), results);
    if let Some(sampler) = &built.sampler {
        let mut results = sampler::check_sampler(sampler.as_ref(), streams);
        if let (Some(process), Some(symmetry), NoiseOf::Coupled) =
            (&built.process, &built.symmetry, experiment.sampling.noise)
        {
            let (process, symmetry) = (process.as_ref(), symmetry.as_ref());
            let mut stream = streams.stream("check coupled noise", 0);
            let input = State::random(&built.spec, 2, (Kind::Double, Device::Cpu), &mut stream);
            let input = process.fields().lift(input)?;
            let start = coupled::prior(process, symmetry, &input, &mut stream)?;
            let runs = (process, built.model.as_ref());
            results.push(check_coupled_noise(sampler.as_ref(), runs, &start, symmetry, &|start| {
                let fresh = FreshNoise::new(streams, "check noise");
                Ok(Box::new(CoupledNoise::new(fresh, symmetry, start)?))
            }));
        }
        add("sampler", type_name(&experiment.sampler), results);
    }
    let results = check_dataset(experiment.dataset.as_ref(), streams)?;
    add("dataset", type_name(&experiment.dataset), results);
    Ok(all)
}

/// The `"type"` of a component.
fn type_name(config: &impl Serialize) -> String {
    let value = serde_json::to_value(config).unwrap_or(Value::Null);
    value["type"].as_str().unwrap_or("?").to_string()
}
