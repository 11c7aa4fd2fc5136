//! `runner data list`, `runner data fetch NAME`.

use crate::output::say;
use isotropy_core::{Error, Result};
use isotropy_data::source::{DATA_SOURCES, DataSource, FetchRequest};
use std::path::{Path, PathBuf};

fn sources() -> Vec<&'static DataSource> {
    let mut sources: Vec<&DataSource> = DATA_SOURCES.iter().collect();
    sources.sort_by_key(|source| source.name);
    sources
}

/// Lists the data sets that can be brought.
pub fn list(data_dir: &Path) {
    let width = sources().iter().map(|source| source.name.len()).max().unwrap_or(0);
    for source in sources() {
        let there = (source.complete)(&data_dir.join(source.name));
        let mark = if there { "here   " } else { "missing" };
        say!("{:width$}  {mark}  {} ({})", source.name, source.summary, source.licence);
    }
    say!("\nin {}", data_dir.display());
}

/// Brings a data set.
///
/// # Errors
/// A data error that says what failed and what to do.
pub fn fetch(data_dir: &Path, name: &str, from: Option<PathBuf>) -> Result<()> {
    let source = sources().into_iter().find(|source| source.name == name).ok_or_else(|| {
        let names: Vec<&str> = sources().iter().map(|source| source.name).collect();
        Error::config("", format!("no data set is called '{name}'"))
            .with_help(format!("there are: {}", names.join(", ")))
    })?;
    let folder = data_dir.join(name);
    if (source.complete)(&folder) {
        say!("{name} is already in {}", folder.display());
        return Ok(());
    }
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    (source.fetch)(&FetchRequest { folder: folder.clone(), from })?;
    if !(source.complete)(&folder) {
        let message = format!("{name} is still not complete in {}", folder.display());
        return Err(Error::data(message, "remove the folder and fetch it again"));
    }
    say!("{name} is in {}", folder.display());
    Ok(())
}
