//! Places to write files: named before the work that fills them begins, and tried.

use isotropy_core::{Error, Result};
use isotropy_data::write::partial;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

/// Whether a file can be written at `path`, found out by writing beside it. A file that is there is
/// replaced only where that was asked for.
///
/// # Errors
/// A configuration error for a place that cannot be meant, else what the system says.
pub fn try_file(path: &Path, replace: bool) -> Result<()> {
    let refuse = |message: String, help: &str| Err(Error::config("", message).with_help(help));
    if path.is_dir() || path.file_name().is_none() || ends_as_folder(path) {
        let message = format!("'{}' is no place for a file", path.display());
        return refuse(message, "name a file with --out");
    }
    if !replace && path.symlink_metadata().is_ok() {
        let message = format!("{} already exists", path.display());
        return refuse(message, "choose another file with --out, or replace it with --replace");
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let message = format!("{}: there is no folder {}", path.display(), folder.display());
        return refuse(message, "make the folder first, or choose another file with --out");
    }
    // The name itself (too long, say), then a file beside it.
    path.try_exists().map_err(|error| unwritable(path, error))?;
    let attempt = partial(path);
    let tried = File::create(&attempt).and_then(|_| std::fs::remove_file(&attempt));
    tried.map_err(|error| unwritable(path, error))
}

/// The error of a place that cannot be written to.
pub fn unwritable(path: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            Error::Other(format!("{}: {error}; choose another place with --out", path.display()))
        }
        _ => Error::io(path, error),
    }
}

/// Whether the path says that it is a folder: `Path` itself drops a slash at the end.
fn ends_as_folder(path: &Path) -> bool {
    path.as_os_str().to_string_lossy().ends_with(std::path::is_separator)
}

/// Whether a folder can be made at `path`: the folders that are missing must be plain names, since
/// `new/..` is another folder before `new` is there than after.
///
/// # Errors
/// A configuration error.
pub fn check_folder(path: &Path) -> Result<()> {
    let refuse = |why: &str| {
        let message = format!("'{}' cannot be a run folder: {why}", path.display());
        Err(Error::config("", message).with_help("choose another --out"))
    };
    if path.as_os_str().is_empty() {
        return refuse("it names nothing");
    }
    if path.exists() && !path.is_dir() {
        return refuse("it is a file");
    }
    let there = path.ancestors().find(|p| p.as_os_str().is_empty() || p.exists());
    let missing = there.and_then(|there| path.strip_prefix(there).ok()).unwrap_or(path);
    if missing.components().any(|part| part == std::path::Component::ParentDir) {
        return refuse("it goes up from a folder that is not there");
    }
    if there.is_some_and(|there| there.exists() && !there.is_dir()) {
        return refuse("a part of it is a file");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_cannot_be_meant_are_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path();
        std::fs::create_dir_all(folder.join("in")).unwrap();
        std::fs::write(folder.join("a"), "old").unwrap();
        for (name, replace, words) in [
            ("a", false, "already exists"),
            ("in", true, "no place for a file"),
            ("new/", true, "no place for a file"),
            ("not/there/x", true, "there is no folder"),
            ("a/x", true, "there is no folder"),
            ("..", true, "no place for a file"),
        ] {
            let text = try_file(&folder.join(name), replace).unwrap_err().to_string();
            assert!(text.contains(words), "{name}: {text}");
        }
        try_file(&folder.join("a"), true).unwrap();
        try_file(&folder.join("in/b"), false).unwrap();
        assert_eq!(std::fs::read(folder.join("a")).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.join("in")).unwrap().count(), 0, "nothing is left");
        for name in ["a", "a/b", "new/..", "new/../../b"] {
            check_folder(&folder.join(name)).unwrap_err();
        }
        check_folder(Path::new("")).unwrap_err();
        check_folder(&folder.join("in/../new/run")).unwrap();
    }
}
