//! Numbers that are not finite, wherever they come from, and tensors that are no weights.

use crate::{RUNNER, says, short};
use isotropy_tests::end_to_end::{Scratch, checkpoint, metrics, run};
use runner::checkpoint::{Snapshot, load, read_safetensors, save, write_safetensors};
use std::path::Path;
use tch::{Kind, Tensor};

const NO_AVERAGE: [&str; 4] = ["--set", "train.ema=[]", "--set", "sampling.ema=null"];

/// Writes a run's weights again with one tensor changed.
fn changed(from: &Path, to: &Path, change: impl Fn(&Tensor) -> Tensor) {
    let tensors = read_safetensors(&from.join("weights.safetensors")).unwrap();
    let change = |(k, (name, tensor))| (name, if k == 1 { change(&tensor) } else { tensor });
    let tensors: Vec<(String, Tensor)> = tensors.into_iter().enumerate().map(change).collect();
    write_safetensors(to, &tensors).unwrap();
}

fn poisoned(tensor: &Tensor, value: f64) -> Tensor {
    let copy = tensor.copy();
    let _ = copy.flatten(0, -1).get(0).fill_(value);
    copy
}

#[test]
fn initial_weights_are_finite_numbers_of_the_model() {
    let scratch = Scratch::new("initial");
    short(&scratch, "first", &NO_AVERAGE).with_code(0);
    let first = scratch.join("first");
    let start = |file: &str, steps: &str| {
        let sets = [format!("train.init_from={file}"), format!("train.steps={steps}")];
        let sets = sets.iter().flat_map(|set| ["--set", set.as_str()]).collect::<Vec<_>>();
        short(&scratch, "second", &[&NO_AVERAGE[..], &sets].concat())
    };
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        changed(&first, &scratch.join("bad.safetensors"), |t| poisoned(t, value));
        for steps in ["0", "20"] {
            let ended = start("bad.safetensors", steps).with_code(4);
            says(&ended.stderr, &["not finite", "bad.safetensors", "1 of"]);
            assert!(!scratch.join("second").exists(), "no folder is left");
        }
    }
    for kind in [Kind::Int64, Kind::Int, Kind::Uint8, Kind::Bool] {
        changed(&first, &scratch.join("int.safetensors"), |t| t.to_kind(kind));
        let ended = start("int.safetensors", "0").with_code(2);
        says(&ended.stderr, &["whole numbers", "floating numbers", "int.safetensors"]);
        assert!(!scratch.join("second").exists());
    }
    // Finite in 64 bits, infinite in the 32 of the model.
    changed(&first, &scratch.join("large.safetensors"), |t| {
        poisoned(&t.to_kind(Kind::Double), 1e300)
    });
    says(
        &start("large.safetensors", "0").with_code(4).stderr,
        &["not finite", "large.safetensors"],
    );
    // Another precision is fine.
    changed(&first, &scratch.join("double.safetensors"), |t| t.to_kind(Kind::Double));
    start("double.safetensors", "0").with_code(0);
}

#[test]
fn weights_that_went_bad_on_the_disk_are_not_sampled_with() {
    let scratch = Scratch::new("bad-weights");
    short(&scratch, "run", &[]).with_code(0);
    let run_folder = scratch.join("run");
    changed(&run_folder, &run_folder.join("weights.safetensors"), |t| poisoned(t, f64::NAN));
    let ended = run(RUNNER, &scratch, &["sample", "--run", "run", "--count", "3"]).with_code(4);
    says(&ended.stderr, &["weights.safetensors", "not finite"]);
    changed(&run_folder, &run_folder.join("weights.safetensors"), |t| t.to_kind(Kind::Int64));
    let ended = run(RUNNER, &scratch, &["sample", "--run", "run", "--count", "3"]).with_code(3);
    says(&ended.stderr, &["weights.safetensors", "whole numbers"]);
}

#[test]
fn checkpoints_hold_finite_numbers_in_every_part() {
    // Model, average, moment of the optimiser.
    for part in ["", "ema.0.99.", "optimizer"] {
        let scratch = Scratch::new(&format!("bad-checkpoint-{part}"));
        short(&scratch, "run", &[]).with_code(0);
        let folder = scratch.join("run");
        let last = checkpoint(&folder, 20);
        let loaded = load(&last).unwrap();
        let poison = |all: std::collections::BTreeMap<String, Tensor>, prefix: &str| {
            let mut count = 0;
            let mut bad = |(name, tensor): (String, Tensor)| {
                let hit = count == 0 && name.starts_with(prefix) && tensor.numel() > 1;
                count += usize::from(hit);
                (name, if hit { poisoned(&tensor, f64::NAN) } else { tensor })
            };
            let all: Vec<(String, Tensor)> = all.into_iter().map(&mut bad).collect();
            assert_eq!(count, 1, "{prefix}");
            all
        };
        let (model, state) = match part {
            "" => (poison(loaded.model, ""), loaded.state.into_iter().collect()),
            "optimizer" => {
                let own = |name: &String| !name.starts_with("ema.") && !name.starts_with("window");
                let name = loaded.state.keys().find(|name| own(name)).unwrap().clone();
                (loaded.model.into_iter().collect(), poison(loaded.state, &name))
            }
            _ => (loaded.model.into_iter().collect(), poison(loaded.state, part)),
        };
        let snapshot = Snapshot {
            step: loaded.step,
            model,
            state,
            events_offset: loaded.events_offset,
            metric: loaded.metric,
            extra: loaded.extra,
        };
        save(&folder.join("checkpoints"), &snapshot, 100).unwrap();
        std::fs::remove_file(folder.join("metrics.json")).unwrap();
        let ended = short(&scratch, "run", &["--resume"]).with_code(4);
        says(&ended.stderr, &["step-000000020", "not finite"]);
        if part != "optimizer" {
            let ended = run(RUNNER, &scratch, &["evaluate", "--run", "run"]).with_code(4);
            says(&ended.stderr, &["step-000000020", "not finite"]);
        }
        assert!(!folder.join("metrics.json").exists());
    }
}

#[test]
fn a_metric_that_is_no_number_is_no_success() {
    let scratch = Scratch::new("nan-metric");
    // One sample has no unbiased distance.
    let one = ["--set", "sampling.count=1", "--set", "sampling.batch=1"];
    let ended = short(&scratch, "run", &one).with_code(4);
    says(&ended.stdout, &["NaN", "not a number"]);
    says(&ended.stderr, &["mmd", "NaN"]);
    let folder = scratch.join("run");
    let found = metrics(&folder);
    assert!(found["metrics"]["mmd"].is_null());
    assert_eq!(found["not_finite"]["mmd"], "NaN");
    // Nor is it later.
    let again = short(&scratch, "run", &[&one[..], &["--resume"]].concat()).with_code(4);
    says(&again.stdout, &["is finished"]);
    run(RUNNER, &scratch, &["evaluate", "--run", "run"]).with_code(4);
    let ended = run(RUNNER, &scratch, &["reproduce", "--run", "run"]).with_code(4);
    says(&ended.stderr, &["mmd"]);
}
