//! The HParams tab of a sweep as a person sees it: in a headless Chromium, which this test installs.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod sweep_support;

use isotropy_tests::end_to_end::{Scratch, command, python, repository};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use sweep_support::{all_metrics, sweep, sweep_file};

const CHROMIUM: &str = "/usr/bin/chromium";

/// Finds the browser, or installs Debian's package; why not, where neither works.
fn install() -> Result<(), String> {
    if Path::new(CHROMIUM).exists() {
        return Ok(());
    }
    // SAFETY: geteuid has no effects.
    if unsafe { libc::geteuid() } != 0 {
        return Err("packages can be installed by root only".into());
    }
    for arguments in
        [&["update", "-qq"][..], &["install", "-y", "--no-install-recommends", "chromium"]]
    {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        let output = command.output().map_err(|e| format!("apt-get: {e}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    Ok(())
}

#[test]
#[ignore = "installs a browser, and renews the pictures of the book"]
fn the_hparams_tab_shows_every_cell_and_its_charts() {
    let Some(python) = python("the HParams tab in a browser") else { return };
    if let Err(reason) = install() {
        println!("SKIPPED: the HParams tab in a browser: chromium cannot be installed: {reason}");
        return;
    }
    let scratch = Scratch::new("sweep-browser");
    sweep_file(
        &scratch,
        "look",
        r#""description": "Do small networks need more sampling steps?",
        "set": {"train.steps": 300, "evaluate.metrics": [{"type": "mmd"}]},
        "axes": [
            {"path": "sampler.steps", "values": [2, 5, 10]},
            {"name": "units", "path": "model.hidden", "values": [[4], [16]]}
        ],
        "seeds": {"count": 2},
        "metrics": ["mmd", "training.validation_loss"]"#,
    );
    sweep(&scratch, "look", &["--jobs", "2"]).with_code(0);
    let script = repository("tests/tests/sweep_support/browser.py");
    let output = command(python.to_str().unwrap(), &scratch)
        .arg(script)
        .args(["look/tensorboard", scratch.path().to_str().unwrap(), CHROMIUM])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let found: Value =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{errors}"));
    let cells: Vec<&str> =
        found["cells"].as_array().unwrap().iter().map(|cell| cell.as_str().unwrap()).collect();
    for name in ["steps", "units", "seed", "mmd", "training.validation_loss"] {
        assert!(cells.contains(&name), "no column {name} in {cells:?}");
    }
    for (k, (name, metrics)) in all_metrics_in_order(&scratch).into_iter().enumerate() {
        let run = format!("{k:03}-{name}");
        let row = cells.iter().position(|cell| *cell == run);
        let row = row.unwrap_or_else(|| panic!("no row {run} in {cells:?}"));
        // The table shows five digits.
        let loss = metrics["training"]["validation_loss"].as_f64().unwrap();
        let values: Vec<f64> =
            cells[row + 1..].iter().take(5).filter_map(|cell| cell.parse().ok()).collect();
        let near = |number: f64| (number - loss).abs() <= 1e-4 * loss.abs();
        assert!(values.iter().copied().any(near), "{loss} is not in {values:?} of {run}");
    }
    for chart in found["tabs"].as_array().unwrap() {
        assert_eq!(chart[1], true, "the tab {} was not found", chart[0]);
        assert!(chart[2].as_u64().unwrap() >= 12, "{} has {} marks", chart[0], chart[2]);
    }
    for (picture, name) in
        [("table", "hparams-table"), ("parallel-coordinates", "hparams-parallel-coordinates")]
    {
        let png = std::fs::read(scratch.join(&format!("{picture}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
        std::fs::write(repository(&format!("docs/src/images/{name}.png")), png).unwrap();
    }
}

/// Names and metrics of the cells in the order of the plan.
fn all_metrics_in_order(scratch: &Scratch) -> Vec<(String, Value)> {
    let metrics = all_metrics(scratch, "look");
    let cells = sweep_support::cells(scratch, "look").into_iter();
    cells.map(|(name, _)| (name.clone(), metrics[&name].clone())).collect()
}
