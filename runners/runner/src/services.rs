//! Models of other experiments: trained by this runner on first use, kept in the cache.

use crate::execute::{Surroundings, execute, finished, prepare, settle};
use crate::output::note;
use crate::resolve::{Refusal, resolve, to_json};
use crate::run::RunFolder;
use crate::train::trainer;
use isotropy_core::{Error, LoadContext, Result, ScoreModel, Services};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::time::Instant;

/// The cache of trained models.
pub struct TrainedModels<'a> {
    /// Data folder, configuration folder, signals.
    pub surroundings: &'a Surroundings,
    /// Device of the run that asks.
    pub load: &'a LoadContext,
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
        let folder_path = cache_folder().join("trained").join(format!(
            "{}-{}",
            experiment.name,
            short_digest(&value.to_string())
        ));
        let surroundings =
            Surroundings { config_folder: resolved.folder, ..self.surroundings.clone() };
        let started = Instant::now();
        let prepared = prepare(&experiment, device, &surroundings)?;
        let folder = RunFolder::open(&folder_path, &value, true)?;
        if !finished(&folder_path) {
            note!("training '{}' (kept in {})", experiment.name, folder_path.display());
            // Metrics are measured without gradients; training inside one needs them again.
            tch::with_grad(|| execute(&experiment, &prepared, &folder, &surroundings, started))?;
        }
        trainer::load_sampling_weights(&experiment, &prepared, &folder)?;
        Ok(prepared.built.model)
    }
}

fn short_digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// `ISOTROPY_CACHE`, else the user's cache folder.
pub fn cache_folder() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = || variable("HOME").unwrap_or_else(|| PathBuf::from("."));
    let per_user = || {
        if cfg!(target_os = "macos") {
            home().join("Library/Caches")
        } else {
            home().join(".cache")
        }
    };
    variable("ISOTROPY_CACHE")
        .unwrap_or_else(|| variable("XDG_CACHE_HOME").unwrap_or_else(per_user).join("isotropy"))
}

/// `--data-dir`, else `ISOTROPY_DATA`, else the user's data folder.
pub fn data_folder(given: Option<PathBuf>) -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = || variable("HOME").unwrap_or_else(|| PathBuf::from("."));
    given.or_else(|| variable("ISOTROPY_DATA")).unwrap_or_else(|| {
        variable("XDG_DATA_HOME").unwrap_or_else(|| home().join(".local/share")).join("isotropy")
    })
}
