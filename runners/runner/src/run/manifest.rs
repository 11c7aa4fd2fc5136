//! `manifest.json`: what a run was made with.

use super::data;
use crate::device;
use isotropy_core::{Dataset, NoisingProcess, PLUGINS};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use tch::Device;

/// The manifest of a run; `started` are seconds since 1970.
pub fn manifest(
    seed: u64,
    device: Device,
    threads: u32,
    dataset: &dyn Dataset,
    process: Option<&dyn NoisingProcess>,
    config_folder: &Path,
) -> Value {
    let mut plugins: Vec<_> = PLUGINS.iter().collect();
    plugins.sort_by_key(|plugin| plugin.name);
    let mut value = json!({
        "isotropy": env!("CARGO_PKG_VERSION"),
        "git": git_revision(config_folder),
        "binary_sha256": binary_digest(),
        "plugins": plugins.iter().map(|p| json!({"name": p.name, "version": p.version})).collect::<Vec<_>>(),
        "libtorch": libtorch_version(),
        "device": device::name(device),
        "threads": threads,
        "seed": seed,
        "simulated_steps": process.map(NoisingProcess::simulated_steps),
        "config_folder": config_folder.display().to_string(),
        "host": std::fs::read_to_string("/etc/hostname").map(|h| h.trim().to_string()).ok(),
        "started": std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or(0),
    });
    if let (Some(value), Value::Object(data)) = (value.as_object_mut(), data::describe(dataset)) {
        value.extend(data);
    }
    value
}

/// The revision of the checkout that the configuration lies in, with `+changes` when files differ;
/// null outside of git.
fn git_revision(folder: &Path) -> Option<String> {
    let git = |args: &[&str]| -> Option<String> {
        let output = Command::new("git").arg("-C").arg(folder).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let revision = git(&["rev-parse", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { revision } else { format!("{revision}+changes") })
}

/// SHA-256 of the running program.
pub fn binary_digest() -> Option<String> {
    isotropy_data::digest::file_sha256(&std::env::current_exe().ok()?).ok()
}

/// The version in the build file beside the loaded libtorch.
pub fn libtorch_version() -> Option<String> {
    let root = device::libtorch_folder()?.parent()?.to_path_buf();
    if let Ok(text) = std::fs::read_to_string(root.join("build-version")) {
        return Some(text.trim().to_string());
    }
    let text = std::fs::read_to_string(root.join("version.py")).ok()?;
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    line.split('\'').nth(1).map(str::to_string)
}
