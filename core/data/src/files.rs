//! The files of a folder that somebody else filled: hidden and system files are no data, links are
//! followed once, and the order is that of the names.

use crate::digest::sha256;
use isotropy_core::{Error, Result};
use std::path::{Path, PathBuf};

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// Files with one of the endings that were asked for, sorted by name.
    pub files: Vec<PathBuf>,
    /// Names of the folders directly inside, sorted.
    pub folders: Vec<String>,
    /// Number of files with other endings, which are left out.
    pub others: usize,
}

/// Files and folders that file managers, archives and operating systems leave behind; names that
/// begin with a point are hidden everywhere.
const SYSTEM: [&str; 8] = [
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "__macosx",
    "@eadir",
    "$recycle.bin",
    "system volume information",
    "lost+found",
];

/// Whether a name is that of a hidden or system file.
pub fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || SYSTEM.contains(&name.to_ascii_lowercase().as_str())
}

/// Lists the files of a folder (and with `deep` of the folders in it) whose ending, in any case, is
/// one of `endings`. A link to a folder above itself is left out; everything else is followed.
///
/// # Errors
/// A data error for a folder that cannot be read, a link that leads nowhere, and a folder that is
/// reached twice.
pub fn list(folder: &Path, deep: bool, endings: &[&str]) -> Result<Listing> {
    let mut walk =
        Traversal { deep, endings, above: Vec::new(), seen: Vec::new(), found: Listing::default() };
    walk.enter(folder)?;
    let mut found = walk.found;
    found.files.sort();
    found.folders.sort();
    Ok(found)
}

/// SHA-256 over names (from `root` on) and digests of files, in their order: another name, order or
/// content gives another number.
pub fn digest<'a>(
    root: &Path,
    files: impl IntoIterator<Item = (&'a PathBuf, &'a String)>,
) -> String {
    let mut all = Vec::new();
    for (file, content) in files {
        let name = file.strip_prefix(root).unwrap_or(file);
        all.extend(name.as_os_str().as_encoded_bytes());
        // No name holds a zero.
        all.push(0);
        all.extend(content.as_bytes());
    }
    sha256(&all)
}

struct Traversal<'a> {
    deep: bool,
    endings: &'a [&'a str],
    /// Where the walk stands, without links.
    above: Vec<PathBuf>,
    /// Folders that were entered, without links and as they are called.
    seen: Vec<(PathBuf, PathBuf)>,
    found: Listing,
}

impl Traversal<'_> {
    fn enter(&mut self, folder: &Path) -> Result<()> {
        let fault = |reason: std::io::Error| {
            let help = "name a folder that can be read; relative names start at the data folder";
            Error::data(format!("{}: {reason}", folder.display()), help)
        };
        let real = folder.canonicalize().map_err(fault)?;
        if self.above.contains(&real) {
            return Ok(());
        }
        if let Some((_, other)) = self.seen.iter().find(|(seen, _)| *seen == real) {
            let message = format!("{} and {} are one folder", other.display(), folder.display());
            return Err(Error::data(message, "take one of them out: its files would count twice"));
        }
        self.seen.push((real.clone(), folder.to_path_buf()));
        let top = self.above.is_empty();
        self.above.push(real);
        let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
            .map_err(fault)?;
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if is_hidden(&name) {
                continue;
            }
            // Of what a link leads to.
            let about = path.metadata().map_err(|reason| {
                let message = match path.is_symlink() {
                    true => format!("{}: the link leads nowhere ({reason})", path.display()),
                    false => format!("{}: {reason}", path.display()),
                };
                Error::data(message, "mend it or take it out")
            })?;
            if about.is_dir() {
                if top {
                    self.found.folders.push(name);
                }
                if self.deep {
                    self.enter(&path)?;
                }
                continue;
            }
            let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
            match ending {
                Some(ending) if self.endings.contains(&ending.as_str()) => {
                    self.found.files.push(path);
                }
                _ => self.found.others += 1,
            }
        }
        self.above.pop();
        Ok(())
    }
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::tempdir;

    fn names(found: &Listing, root: &Path) -> Vec<String> {
        let name = |file: &PathBuf| file.strip_prefix(root).unwrap().display().to_string();
        found.files.iter().map(name).collect()
    }

    #[test]
    fn hidden_and_system_files_are_no_data() {
        let scratch = tempdir().unwrap();
        let root = scratch.path();
        for inside in ["cat", "cat/.cache", ".ipynb_checkpoints", "__MACOSX", "@eaDir"] {
            std::fs::create_dir_all(root.join(inside)).unwrap();
            std::fs::write(root.join(inside).join("a.png"), "").unwrap();
        }
        for file in ["B.PNG", "._B.PNG", "Thumbs.db", "desktop.ini", "notes.txt", ".DS_Store"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        let found = list(root, true, &["png"]).unwrap();
        assert_eq!(names(&found, root), ["B.PNG", "cat/a.png"]);
        assert_eq!(found.folders, ["cat"]);
        assert_eq!(found.others, 1);
        assert_eq!(names(&list(root, false, &["png"]).unwrap(), root), ["B.PNG"]);
    }

    #[test]
    fn links_are_followed_once() {
        let (scratch, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
        let root = scratch.path();
        std::fs::write(elsewhere.path().join("a.png"), "").unwrap();
        symlink(elsewhere.path(), root.join("cat")).unwrap();
        symlink(root, elsewhere.path().join("back")).unwrap();
        assert_eq!(names(&list(root, true, &["png"]).unwrap(), root), ["cat/a.png"]);
        symlink(elsewhere.path(), root.join("dog")).unwrap();
        let error = list(root, true, &["png"]).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("are one folder"), "{error}");
        std::fs::remove_file(root.join("dog")).unwrap();
        symlink("nowhere.png", root.join("b.png")).unwrap();
        let error = list(root, true, &["png"]).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("b.png: the link leads nowhere"), "{error}");
    }

    #[test]
    fn a_digest_tells_names_order_and_contents_apart() {
        let root = Path::new("data");
        let of = |files: &[(&str, &str)]| {
            let files: Vec<(PathBuf, String)> =
                files.iter().map(|(name, sum)| (root.join(name), sum.to_string())).collect();
            digest(root, files.iter().map(|(name, sum)| (name, sum)))
        };
        let all = [
            of(&[("a", "1"), ("b", "2")]),
            of(&[("b", "2"), ("a", "1")]),
            of(&[("a", "2"), ("b", "1")]),
            of(&[("a", "1"), ("c", "2")]),
            of(&[("a", "1")]),
        ];
        for (k, one) in all.iter().enumerate() {
            assert!(all[k + 1..].iter().all(|other| other != one), "{k}");
        }
    }
}
