//! Models of other experiments, the judges of metrics: trained by this runner on first use, kept in
//! the cache.
//!
//! A judge is found again under everything that made it: its configuration, the files of its data,
//! the versions of runner, plugins and libtorch, and the digest of the program, because a version
//! does not change with every change of the code. So another build trains its judges anew, and a
//! judge of older code judges nothing.

use crate::execute::{Prepared, Surroundings, execute, finished, prepare, settle};
use crate::output::note;
use crate::resolve::{Refusal, resolve, to_json};
use crate::run::{RunFolder, manifest};
use crate::train::trainer;
use isotropy_core::{Error, LoadContext, PLUGINS, Result, ScoreModel, Services};
use isotropy_data::digest::{file_sha256, sha256};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Instant;

/// Changes when the folder of a judge means something else than before.
const FORMAT: u32 = 2;

/// The cache of trained models.
pub struct TrainedModels<'a> {
    surroundings: &'a Surroundings,
    load: &'a LoadContext,
    /// Those that were asked for, by their configuration: the folder, and the digest of the
    /// weights.
    judges: RefCell<Map<String, Value>>,
}

impl<'a> TrainedModels<'a> {
    /// The cache for a run with that data folder, configuration folder and device.
    pub fn new(surroundings: &'a Surroundings, load: &'a LoadContext) -> Self {
        Self { surroundings, load, judges: RefCell::default() }
    }

    /// Which models have judged so far, for `metrics.json`.
    pub fn judges(&self) -> Value {
        Value::Object(self.judges.borrow().clone())
    }
}

/// What a judge is made of besides its configuration.
fn origin(prepared: &Prepared) -> Result<Value> {
    let program = manifest::binary_digest().ok_or_else(|| {
        Error::Other(
            "the running program cannot be read, which tells judges of other code apart".into(),
        )
    })?;
    let mut plugins: Vec<_> = PLUGINS.iter().map(|p| (p.name, p.version)).collect();
    plugins.sort_unstable();
    Ok(json!({
        "format": FORMAT,
        "isotropy": env!("CARGO_PKG_VERSION"),
        "plugins": plugins,
        "libtorch": manifest::libtorch_version(),
        "program": program,
        "data": prepared.dataset.digests(),
    }))
}

impl Services for TrainedModels<'_> {
    fn trained_model(&self, config: &str) -> Result<Box<dyn ScoreModel>> {
        let path = self.surroundings.config_folder.join(config);
        let resolved = resolve(&path, &[]).map_err(|refusal| match refusal {
            Refusal::Error(error) => error,
            Refusal::Diagnostics(d) => {
                Error::config("", d.render(crate::config::Style::Plain).trim().to_string())
            }
        })?;
        let mut experiment = resolved.experiment;
        experiment.device = crate::device::name(self.load.device);
        experiment.threads = Some(tch::get_num_threads() as u32);
        let device = settle(&mut experiment, None)?;
        let value = to_json(&experiment)?;
        let surroundings =
            Surroundings { config_folder: resolved.folder, ..self.surroundings.clone() };
        let started = Instant::now();
        let prepared = prepare(&experiment, device, &surroundings)?;
        let key = short_digest(&json!([origin(&prepared)?, value]).to_string());
        let name = format!("{}-{key}", experiment.name);
        let folder_path = cache_folder()?.join("trained").join(&name);
        // A finished one is only read, perhaps from a cache that others keep.
        if !finished(&folder_path) {
            let folder = RunFolder::open(&folder_path, &value, true)?;
            note!("training '{}' (kept in {})", experiment.name, folder_path.display());
            // Metrics are measured without gradients; training inside one needs them again.
            tch::with_grad(|| execute(&experiment, &prepared, &folder, &surroundings, started))?;
        }
        trainer::load_sampling_weights(&experiment, &prepared, &folder_path)?;
        let weights = folder_path.join("weights.safetensors");
        let judge = json!({"folder": name, "weights_sha256": file_sha256(&weights)?});
        self.judges.borrow_mut().insert(config.to_string(), judge);
        Ok(prepared.built.model)
    }
}

fn short_digest(text: &str) -> String {
    sha256(text)[..12].to_string()
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// `ISOTROPY_CACHE`, else the user's cache folder.
///
/// # Errors
/// When neither is known: nothing is put into the current folder instead.
pub fn cache_folder() -> Result<PathBuf> {
    let of_user = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
    let per_user = || Some(variable("HOME")?.join(of_user));
    let folder = variable("ISOTROPY_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME").or_else(per_user)?.join("isotropy")));
    folder.ok_or_else(|| {
        Error::config("", "there is no folder for trained models: HOME is not set")
            .with_help("name one in the environment variable ISOTROPY_CACHE")
    })
}

/// `--data-dir`, else `ISOTROPY_DATA`, else the user's data folder.
///
/// # Errors
/// When none is known: nothing is read from or put into the current folder instead.
pub fn data_folder(given: Option<PathBuf>) -> Result<PathBuf> {
    let per_user = || Some(variable("HOME")?.join(".local/share"));
    let folder = given
        .or_else(|| variable("ISOTROPY_DATA"))
        .or_else(|| Some(variable("XDG_DATA_HOME").or_else(per_user)?.join("isotropy")));
    folder.ok_or_else(|| {
        Error::config("", "there is no folder for data: HOME is not set")
            .with_help("name one with --data-dir or in the environment variable ISOTROPY_DATA")
    })
}

/// The folder of [`data_folder`], for experiments that may need none: where it is not known, what
/// looks for data in it finds nothing and names the reason.
pub fn data_folder_or_none(given: Option<PathBuf>) -> PathBuf {
    data_folder(given).unwrap_or_else(|_| {
        PathBuf::from("/no-data-folder (set HOME, ISOTROPY_DATA or --data-dir)")
    })
}
