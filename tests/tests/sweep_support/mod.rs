//! What the tests of sweeps share.

#![allow(dead_code, clippy::unwrap_used)]

use isotropy_tests::end_to_end::{Ended, Scratch, command, metrics, read_json, repository, run};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Stdio};

pub const RUNNER: &str = env!("CARGO_BIN_EXE_runner-under-test");

/// A sweep of the tiny experiment: `rest` are further fields of the file.
pub fn sweep_file(scratch: &Scratch, name: &str, rest: &str) -> PathBuf {
    let base = repository("tests/configs/tiny.json");
    let base = base.to_str().unwrap();
    let text =
        format!("{{\n\"schema\": 1,\n\"name\": \"{name}\",\n\"base\": \"{base}\",\n{rest}\n}}");
    scratch.write(&format!("{name}.json"), &text)
}

/// Runs `runner sweep FILE --out NAME ...` to its end.
pub fn sweep(scratch: &Scratch, name: &str, more: &[&str]) -> Ended {
    let file = format!("{name}.json");
    run(RUNNER, scratch, &[&["sweep", &file, "--out", name], more].concat())
}

/// Starts `runner sweep FILE --out NAME ...`.
pub fn start_sweep(scratch: &Scratch, name: &str, more: &[&str]) -> Child {
    let mut command = command(RUNNER, scratch);
    command.args(["sweep", &format!("{name}.json"), "--out", name]).args(more);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The cells of a plan: name and folder.
pub fn cells(scratch: &Scratch, name: &str) -> Vec<(String, PathBuf)> {
    let folder = scratch.join(name);
    let plan = read_json(&folder.join("plan.json"));
    let cells = folder.join(plan["cells_folder"].as_str().unwrap());
    let all = plan["cells"].as_array().unwrap().iter();
    all.map(|cell| {
        let text = |key: &str| cell[key].as_str().unwrap().to_string();
        (text("name"), cells.join(text("key")))
    })
    .collect()
}

/// `metrics.json` of every cell without times.
pub fn all_metrics(scratch: &Scratch, name: &str) -> BTreeMap<String, Value> {
    let cells = cells(scratch, name).into_iter();
    cells.map(|(name, folder)| (name, metrics(&folder.join("run")))).collect()
}

/// A small generator (SplitMix64): the moments are the same in every run of the test.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}
