//! How long steps take on a GPU, in records that can be committed (`cargo xtask test --gpu`).

use crate::cases::{Case, every_case};
use crate::machine::{Cuda, cuda};
use isotropy_tests::end_to_end::{Scratch, repository};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::Command;
use std::time::Instant;

/// A line for each case and machine.
const RECORDS: &str = "docs/src/results/gpu-runs.jsonl";

/// The first line that a program prints; none where it is missing.
fn says(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(repository("")).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_string();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// What a case takes on the device at its own batch sizes: training steps a second over the second
/// half of `training` steps, and the seconds of one step of the sampler, from runs of two lengths.
fn timed(
    cuda: &Cuda,
    scratch: &Scratch,
    case: &Case,
    training: i64,
    sampling: (i64, i64),
) -> Value {
    let mut record = json!({ "case": case.name });
    let set = |values: &[String]| -> Vec<String> {
        values.iter().flat_map(|value| ["--set".to_string(), value.clone()]).collect()
    };
    let seconds = |what: &str, values: &[String]| {
        let name = format!("{}-{what}", case.name.replace([' ', ','], "-"));
        let mut arguments = case.configured();
        arguments.extend(set(values));
        let started = Instant::now();
        cuda.run(scratch, &name, &arguments, &[]).ended.with_code(0);
        (started.elapsed().as_secs_f64(), scratch.join(&name))
    };
    if case.is_trained() {
        let half = (training / 2).max(1);
        let values = [format!("train.steps={training}"), format!("train.log_every={half}")];
        let (_, run) = seconds("trained", &values);
        let log = std::fs::read_to_string(run.join("log.jsonl")).unwrap();
        let entries = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut speeds = entries.filter_map(|entry| entry["steps_per_second"].as_f64());
        record["training_steps_per_second"] = json!(speeds.next_back().expect("a log entry"));
    }
    if let Some(path) = case.sampler_steps() {
        let steps = |steps: i64| {
            let mut values = vec![format!("{path}={steps}")];
            values.extend(case.is_trained().then(|| "train.steps=1".to_string()));
            seconds(&format!("sampled-{steps}"), &values).0
        };
        let (few, many) = sampling;
        record["seconds_per_sampler_step"] =
            json!((steps(many) - steps(few)) / (many - few) as f64);
    }
    record
}

#[test]
#[ignore = "minutes on a GPU: timings of every case"]
fn timings_are_recorded() {
    if cuda("timings on a GPU") != Some(Cuda::Gpu) {
        println!("SKIPPED: timings on a GPU: they are taken by `cargo xtask test --gpu`");
        return;
    }
    let scratch = Scratch::new("cuda-timings");
    crate::data_files::files(&scratch.join("data"));
    let machine = says("nvidia-smi", &["--query-gpu=name,driver_version", "--format=csv,noheader"]);
    let commit = says("git", &["rev-parse", "HEAD"]);
    let path = repository(RECORDS);
    let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
    for case in every_case() {
        let mut record = timed(&Cuda::Gpu, &scratch, &case, 400, (10, 50));
        record["machine"] = json!(machine);
        record["commit"] = json!(commit);
        println!("{record}");
        writeln!(file, "{record}").unwrap();
    }
}

#[test]
fn a_record_has_both_times() {
    let Some(cuda) = cuda("the form of a record of timings") else { return };
    let scratch = Scratch::new("cuda-timed");
    let case = every_case().into_iter().find(|case| case.name == "mixture-2d").unwrap();
    let record = timed(&cuda, &scratch, &case, 64, (3, 30));
    assert_eq!(record["case"], "mixture-2d");
    assert!(record["training_steps_per_second"].as_f64().unwrap() > 1.0, "{record}");
    assert!(record["seconds_per_sampler_step"].is_f64(), "{record}");
}
