//! The cache folder outside the checkout: its place, its lock, and folders that appear in it whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Outcome};

/// Folders with this prefix are unfinished work; whoever holds the lock may delete them.
const STAGING: &str = "staging-";

/// The cache, locked: as long as this value lives no other process changes the folder.
pub struct Cache {
    root: PathBuf,
    _lock: File,
}

/// Where the cache is: `ISOTROPY_CACHE`, else the platform's usual place.
///
/// `var` looks up an environment variable (a parameter so that it can be tested); empty values count as unset.
pub fn location(os: &str, var: impl Fn(&str) -> Option<OsString>) -> Outcome<PathBuf> {
    let path = |name: &str| var(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(own) = path("ISOTROPY_CACHE") {
        return std::path::absolute(&own)
            .map_err(|e| Failure::io(format!("ISOTROPY_CACHE={}", own.display()), &e));
    }
    // The XDG specification says that a relative path there is to be ignored.
    if let Some(xdg) = path("XDG_CACHE_HOME").filter(|p| p.is_absolute() && os != "macos") {
        return Ok(xdg.join("isotropy"));
    }
    let home = path("HOME").ok_or_else(|| {
        Failure::new("neither ISOTROPY_CACHE nor HOME is set")
            .help("set ISOTROPY_CACHE to a folder with 2 GB of room")
    })?;
    Ok(home.join(if os == "macos" { "Library/Caches" } else { ".cache" }).join("isotropy"))
}

impl Cache {
    /// Opens the cache of this user, waiting for other checkouts that are busy with it, and removes what interrupted
    /// work has left behind.
    pub fn open() -> Outcome<Self> {
        Self::open_at(&location(std::env::consts::OS, |name| std::env::var_os(name))?)
    }

    /// Opens the cache at `root`.
    pub fn open_at(root: &Path) -> Outcome<Self> {
        let fail = |e: std::io::Error| {
            Failure::io(format!("cannot use the cache folder {}", root.display()), &e)
                .help("set ISOTROPY_CACHE to a folder that you can write to")
        };
        fs::create_dir_all(root).map_err(fail)?;
        // The system releases this lock when the process ends, however it ends.
        let lock = File::create(root.join("lock")).map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("waiting for another process that uses {} ...", root.display());
                lock.lock().map_err(fail)?;
            }
            Err(TryLockError::Error(e)) => return Err(fail(e)),
        }
        let cache = Self { root: root.to_owned(), _lock: lock };
        cache.remove_leftovers()?;
        Ok(cache)
    }

    /// The finished folder called `name`, whether or not it is there.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn remove_leftovers(&self) -> Outcome<()> {
        let fail = |e| Failure::io(format!("cannot read {}", self.root.display()), &e);
        for entry in fs::read_dir(&self.root).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_name().to_string_lossy().starts_with(STAGING) {
                eprintln!("removing what an interrupted run left: {}", entry.path().display());
                // A download whose parent was killed may still be writing for a moment. Its folder is not reused, so
                // what stays now goes at the next start.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(())
    }

    /// Makes the folder `name`: `fill` works in a staging folder on the same file system, which is renamed at the end.
    /// When `fill` fails or the process dies, `name` does not exist.
    pub fn install(&self, name: &str, fill: impl FnOnce(&Path) -> Outcome<()>) -> Outcome<PathBuf> {
        let staging = self.staging(name);
        let target = self.folder(name);
        let fail = |e| Failure::io(format!("cannot write {}", staging.display()), &e);
        fs::create_dir(&staging).map_err(fail)?;
        if let Err(failure) = fill(&staging) {
            let _ = fs::remove_dir_all(&staging);
            return Err(failure);
        }
        // The contents must be on the disk before the name: otherwise a power cut could leave a folder that looks
        // finished and holds empty files. Where there is no `sync` command nothing is lost but that guarantee.
        let _ = Command::new("sync").status();
        self.discard(name)?;
        fs::rename(&staging, &target).map_err(fail)?;
        Ok(target)
    }

    /// Removes the folder `name`, if it is there, in one step as seen by others.
    pub fn discard(&self, name: &str) -> Outcome<()> {
        let target = self.folder(name);
        if target.symlink_metadata().is_err() {
            return Ok(());
        }
        let old = self.staging(&format!("old-{name}"));
        fs::rename(&target, &old)
            .and_then(|()| fs::remove_dir_all(&old))
            .map_err(|e| Failure::io(format!("cannot remove {}", target.display()), &e))
    }

    fn staging(&self, name: &str) -> PathBuf {
        self.root.join(format!("{STAGING}{name}-{}", std::process::id()))
    }

    /// An error when fewer than `bytes` are free on the cache's file system. Says nothing where `df` cannot tell.
    pub fn require_free(&self, bytes: u64) -> Outcome<()> {
        let output = Command::new("df").arg("-Pk").arg(&self.root).output();
        let free = output.ok().and_then(|o| parse_df(&String::from_utf8_lossy(&o.stdout)));
        match free {
            Some(free) if free < bytes => Err(Failure::new(format!(
                "{} has {:.1} GB free, {:.1} GB are needed",
                self.root.display(),
                free as f64 / 1e9,
                bytes as f64 / 1e9
            ))
            .help("free some space, or set ISOTROPY_CACHE to a folder on a file system with more room")),
            _ => Ok(()),
        }
    }
}

/// The free bytes in the output of `df -Pk PATH` (POSIX: the fourth column of the second line, in KiB).
fn parse_df(text: &str) -> Option<u64> {
    let kib: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(os: &str, vars: &[(&str, &str)]) -> Option<PathBuf> {
        location(os, |name| {
            let found = vars.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        })
        .ok()
    }

    #[test]
    fn own_cache_wins_over_xdg_and_xdg_over_home() {
        let all = [("ISOTROPY_CACHE", "/c"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(at("linux", &all), Some("/c".into()));
        assert_eq!(at("linux", &all[1..]), Some("/x/isotropy".into()));
        assert_eq!(at("linux", &all[2..]), Some("/h/.cache/isotropy".into()));
        assert_eq!(at("macos", &all[1..]), Some("/h/Library/Caches/isotropy".into()));
        assert_eq!(at("linux", &[]), None);
    }

    #[test]
    fn empty_and_relative_values_do_not_put_the_cache_into_the_checkout() {
        let vars = [("ISOTROPY_CACHE", ""), ("XDG_CACHE_HOME", "rel"), ("HOME", "/h")];
        assert_eq!(at("linux", &vars), Some("/h/.cache/isotropy".into()));
        let own = at("linux", &[("ISOTROPY_CACHE", "rel")]).expect("absolute");
        assert!(own.is_absolute());
    }

    #[test]
    fn interrupted_staging_is_removed_and_finished_folders_stay() {
        let scratch = tempfile::tempdir().unwrap();
        let left = scratch.path().join("staging-libtorch-1");
        fs::create_dir_all(left.join("torch/lib")).expect("folder");
        fs::create_dir(scratch.path().join("libtorch")).expect("folder");
        let cache = Cache::open_at(scratch.path()).expect("opens");
        assert!(!left.exists());
        assert!(cache.folder("libtorch").is_dir());
    }

    #[test]
    fn failed_installation_leaves_nothing_and_keeps_the_old_one() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::open_at(scratch.path()).expect("opens");
        let fill = |text: &'static str| {
            move |dir: &Path| {
                fs::write(dir.join("file"), text).map_err(|e| Failure::io("write", &e))
            }
        };
        cache.install("a", fill("one")).expect("installs");
        let failed = cache.install("a", |dir| {
            fill("half")(dir)?;
            Err(Failure::new("cut off"))
        });
        assert!(failed.is_err());
        let read = || fs::read_to_string(cache.folder("a").join("file")).expect("readable");
        assert_eq!(read(), "one");
        cache.install("a", fill("two")).expect("replaces");
        assert_eq!(read(), "two");
        let names: Vec<_> = fs::read_dir(scratch.path())
            .expect("readable")
            .map(|e| e.expect("entry").file_name())
            .collect();
        assert_eq!(names.len(), 2, "only the lock and the folder: {names:?}");
    }

    #[test]
    fn second_process_waits_for_the_lock() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::open_at(scratch.path()).expect("opens");
        let other = File::open(scratch.path().join("lock")).expect("is there");
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(cache);
        other.try_lock().expect("free again");
    }

    #[test]
    fn free_space_is_read_from_df() {
        let text =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a 100 40 60 40% /\n";
        assert_eq!(parse_df(text), Some(60 * 1024));
        assert_eq!(parse_df(""), None);
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::open_at(scratch.path()).expect("opens");
        cache.require_free(1).expect("one byte is free");
        assert!(cache.require_free(u64::MAX).is_err());
    }
}
