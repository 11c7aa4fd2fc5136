//! `runner doctor`: what was found, and for each fault the one line that mends it.

use crate::catalogue::Catalogue;
use crate::device;
use crate::output::say;
use crate::run::manifest::libtorch_version;
use isotropy_core::PLUGINS;
use isotropy_data::source::DATA_SOURCES;
use std::path::Path;

/// The libtorch that tch 0.26 is made for.
const LIBTORCH: &str = "2.13.0";

/// Prints the findings; returns whether all is well.
pub fn doctor(data_dir: &Path) -> bool {
    let mut well = true;
    let mut line = |good: bool, what: &str, found: String, remedy: &str| {
        well &= good;
        say!("{} {what:<10} {found}", if good { "ok   " } else { "FAULT" });
        if !good {
            say!("                 {remedy}");
        }
    };

    let version = libtorch_version().unwrap_or_else(|| "unknown".into());
    let place = device::libtorch_folder()
        .map_or_else(|| "linked statically".to_string(), |p| p.display().to_string());
    line(
        version.starts_with(LIBTORCH),
        "libtorch",
        format!("{version} in {place}"),
        &format!("cargo xtask libtorch    (brings {LIBTORCH})"),
    );

    let cuda = device::cuda();
    let found = match (&cuda.failure, cuda.devices) {
        (None, 0) => "opened; no device answers, runs use the CPU".to_string(),
        (None, n) => format!("{n} devices"),
        (Some(reason), _) => format!("not available ({reason}); runs use the CPU"),
    };
    // A machine without CUDA is not faulty.
    line(true, "cuda", found, "");

    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = format!("{} for libtorch, {cores} cores", tch::get_num_threads());
    line(true, "threads", threads, "");

    let probe = data_dir.join(".probe");
    let writable = std::fs::create_dir_all(data_dir).and_then(|()| std::fs::write(&probe, b""));
    // The probe has served its purpose whether or not it can be removed.
    let _ = std::fs::remove_file(&probe);
    let reason = writable.as_ref().err().map_or(String::new(), |e| format!(": {e}"));
    line(
        writable.is_ok(),
        "data",
        format!("{}{reason}", data_dir.display()),
        "name another folder with --data-dir or ISOTROPY_DATA",
    );
    let mut sources: Vec<_> = DATA_SOURCES.iter().collect();
    sources.sort_by_key(|source| source.name);
    for source in sources {
        let here = (source.complete)(&data_dir.join(source.name));
        let found = if here {
            "here".to_string()
        } else {
            format!("not here; bring it with: runner data fetch {}", source.name)
        };
        line(true, source.name, found, "");
    }

    let mut plugins: Vec<_> = PLUGINS.iter().collect();
    plugins.sort_by_key(|plugin| plugin.name);
    for plugin in plugins {
        line(
            true,
            "plugin",
            format!("{} {} ({})", plugin.name, plugin.version, plugin.summary),
            "",
        );
    }
    match Catalogue::new() {
        Ok(all) => line(true, "components", all.components().len().to_string(), ""),
        Err(error) => line(false, "components", error.to_string(), "rename one of them"),
    }
    well
}
