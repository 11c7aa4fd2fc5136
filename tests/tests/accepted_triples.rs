//! What a sampler accepts it carries out: two steps of every accepted triple of the catalogue
//! (sampler, process, model), on the states of every drive and on the shapes of every dataset.

#![allow(clippy::unwrap_used)]

use isotropy_core::{
    Component, DatasetConfig, Error, FieldSpec, FreshNoise, ModelConfig, ModelContext, Moves,
    NoisingProcess, ProcessConfig, Representation, RepresentationConfig, SamplerConfig, State,
    StateSpec, Streams, registry, sampler::unobserved,
};
use runner as _;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tch::{Device, Kind, nn::VarStore};

const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);
/// Numbers of one point of a dataset; larger ones make networks of minutes.
const LARGEST: i64 = 256;

fn of_kind(kind: &str) -> Vec<&'static Component> {
    registry::catalogue().unwrap().into_iter().filter(|c| c.kind == kind).collect()
}

/// The sampler's example, and every value of the options that change what it asks for, in two
/// steps.
fn variants(example: &str) -> Vec<Value> {
    let mut all = vec![serde_json::from_str::<Value>(example).unwrap()];
    let options: [(&str, &[Value]); 8] = [
        ("last_step", &["clean", "noise", "no-noise", "euler", "ordinary"].map(Value::from)),
        ("eta", &[0.0, 0.5].map(Value::from)),
        ("s_churn", &[1.0].map(Value::from)),
        ("method", &["euler", "heun", "rk4", "dormand-prince"].map(Value::from)),
        ("predictor", &["ancestral", "heun-sde", "probability-flow"].map(Value::from)),
        ("grid", &["uniform", "quadratic", "log-snr", "karras", "auto"].map(Value::from)),
        ("hybrid", &[json!(true)]),
        ("reverse", &["sde", "flow"].map(Value::from)),
    ];
    for (name, values) in options {
        for value in values {
            let mut variant = all[0].clone();
            variant[name] = value.clone();
            all.push(variant);
        }
    }
    for json in &mut all {
        let inner = ["inner", "sampler"].into_iter().find(|name| json.get(*name).is_some());
        let stepped = match inner {
            Some(name) => &mut json[name],
            None => json,
        };
        if stepped.get("steps").is_some() {
            stepped["steps"] = json!(2);
        }
    }
    all
}

/// A sampler, and whether it is its example as it stands.
type Tried = (Value, Box<dyn isotropy_core::Sampler>, bool);

fn samplers() -> Vec<Tried> {
    let mut found = Vec::new();
    for component in of_kind("sampler") {
        for (k, json) in variants(component.example).into_iter().enumerate() {
            let Ok(config) = serde_json::from_value::<Box<dyn SamplerConfig>>(json.clone()) else {
                continue;
            };
            if let Ok(sampler) = config.build() {
                found.push((json, sampler, k == 0));
            }
        }
    }
    found
}

fn drives() -> Vec<Arc<dyn Representation>> {
    let built = of_kind("representation").into_iter().filter_map(|component| {
        let config: Box<dyn RepresentationConfig> =
            serde_json::from_str(component.example).unwrap();
        config.build().ok().filter(|built| built.drive().is_some())
    });
    built.collect()
}

/// States to begin from: the process's own, and random ones of the shapes of every dataset.
fn states(process: &dyn NoisingProcess) -> Vec<State> {
    let mut stream = Streams::new(1).stream("states", 0);
    let mut all: Vec<State> = process.sample_state(2, OPTIONS, &mut stream).into_iter().collect();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    // Images are larger: these stand for them.
    let image = StateSpec::new(FieldSpec::new(&[1, 8, 8], Moves::Image));
    let paired = image.clone().with_context("end", image.value.clone());
    for spec in [image, paired] {
        if process.drive().accepts(&spec).is_ok() && process.accepts(&spec).is_ok() {
            all.push(State::random(&spec, 2, OPTIONS, &mut stream));
        }
    }
    for component in of_kind("dataset") {
        let config: Box<dyn DatasetConfig> = serde_json::from_str(component.example).unwrap();
        let Ok(spec) = config.spec() else { continue };
        let size: i64 = spec.value.shape.iter().map(|n| n.abs()).product();
        let fits = process.drive().accepts(&spec).is_ok() && process.accepts(&spec).is_ok();
        if size > LARGEST || !fits || !seen.insert(format!("{spec:?}")) {
            continue;
        }
        all.push(State::random(&spec, 2, OPTIONS, &mut stream));
    }
    all
}

struct Tally {
    ran: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

fn try_all(process: &dyn NoisingProcess, state: &State, samplers: &[Tried], tally: &mut Tally) {
    // Options are tried once for each kind of prediction: what they ask for, no model knows better.
    let mut kinds = BTreeSet::new();
    let spec: StateSpec = state.spec();
    let context = ModelContext { spec: &spec, process: Some(process), symmetry: None };
    for component in of_kind("model") {
        let config: Box<dyn ModelConfig> = serde_json::from_str(component.example).unwrap();
        let mut store = VarStore::new(Device::Cpu);
        let Ok(model) = config.build(&store.root(), &context) else { continue };
        store.double();
        let first = kinds.insert(format!("{:?}", model.predicts()));
        for (json, sampler, plain) in samplers {
            if !plain && !first || sampler.accepts(process, model.as_ref()).is_err() {
                continue;
            }
            let streams = Streams::new(2);
            let start = process.prior(state, &mut streams.stream("start", 0));
            let Ok(start) = start else { continue };
            let mut noise = FreshNoise::new(&streams, "noise");
            let run = runner::guard::guard(component.name, || {
                sampler.run(process, model.as_ref(), start, &mut noise, &mut unobserved)
            });
            *tally.ran.entry(json["type"].as_str().unwrap().into()).or_default() += 1;
            // An untrained network may lead an adaptive rule nowhere: that is no refusal.
            if let Err(error) = run.map(drop)
                && !matches!(error, Error::Numbers(_))
            {
                tally.wrong.push(format!(
                    "{json} with {} on {} ({:?}): {error}",
                    component.name,
                    process.name(),
                    spec.value.shape
                ));
            }
        }
    }
}

#[test]
#[ignore = "minutes; `cargo xtask test --slow` runs it"]
fn every_accepted_triple_takes_two_steps() {
    runner::guard::install_hook();
    tch::set_num_threads(1);
    let samplers = samplers();
    let mut tally = Tally { ran: BTreeMap::new(), wrong: Vec::new() };
    for component in of_kind("process") {
        let example: Value = serde_json::from_str(component.example).unwrap();
        let mut both = vec![example.clone()];
        // The other time axis, where the process has two.
        for steps in [Value::Null, json!(20)] {
            if example.get("steps") != Some(&steps) {
                let mut other = example.clone();
                other["steps"] = steps;
                both.push(other);
            }
        }
        for json in both {
            let Ok(config) = serde_json::from_value::<Box<dyn ProcessConfig>>(json) else {
                continue;
            };
            for drive in drives() {
                let Ok(process) = config.build(drive) else { continue };
                let start = std::time::Instant::now();
                for state in states(process.as_ref()) {
                    try_all(process.as_ref(), &state, &samplers, &mut tally);
                }
                let took = start.elapsed().as_secs_f64();
                println!("{took:8.1} s  {} on {}", component.name, process.drive().name());
            }
        }
    }
    println!("runs of each sampler: {:?}", tally.ran);
    tally.wrong.sort();
    tally.wrong.dedup();
    println!("{}", tally.wrong.join("\n"));
    assert!(tally.wrong.is_empty(), "{}, printed above", tally.wrong.len());
    let never: Vec<&str> =
        of_kind("sampler").iter().map(|c| c.name).filter(|n| !tally.ran.contains_key(*n)).collect();
    assert!(never.is_empty(), "no triple is accepted by {never:?}");
}
