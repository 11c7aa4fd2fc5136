//! `runner chart`: lines with error bars from a JSON file, in the style of all other pictures.

use crate::output::say;
use crate::run::place;
use isotropy_core::{Error, Result};
use isotropy_plots::chart::Chart;
use std::path::{Path, PathBuf};

/// Draws `STEM.png` and `STEM.svg`.
///
/// # Errors
/// When the file is not a chart, or the pictures cannot be written, or are there and may not be
/// replaced.
pub fn chart(file: &Path, out: Option<PathBuf>, replace: bool) -> Result<()> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::io(file, e))?;
    let chart: Chart = serde_json::from_str(&text).map_err(|e| {
        let message = format!("{}: {e}", file.display());
        Error::data(message, "`runner chart --help` shows what a chart says")
    })?;
    if chart.series.iter().all(|series| series.points.is_empty()) {
        let message = format!("{}: there are no points", file.display());
        return Err(Error::data(message, "give `series` with `points`"));
    }
    let stem = out.unwrap_or_else(|| file.with_extension(""));
    let name = stem.file_name().map(|name| name.to_string_lossy().into_owned());
    let name =
        name.ok_or_else(|| Error::config("", format!("{} names no file", stem.display())))?;
    let folder = stem.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| place::unwritable(folder, e))?;
    for extension in ["png", "svg"] {
        place::try_file(&folder.join(format!("{name}.{extension}")), replace)?;
    }
    chart.scene().write(folder, &name)?;
    say!("{}.png  {}.svg", stem.display(), stem.display());
    Ok(())
}
