//! The checkout: its folders, and the environment in which cargo and the runner are started from here.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Outcome};

/// The variable in which the platform's loader looks for libraries.
pub const LIBRARY_PATH: &str =
    if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };

/// The checkout that this tool belongs to.
pub struct Project {
    /// The folder of the root Cargo.toml.
    pub root: PathBuf,
    /// Cargo's target folder.
    target: PathBuf,
}

impl Project {
    /// Finds the checkout: cargo says where this package lies; started by hand, the place of compilation counts.
    pub fn find() -> Outcome<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.ancestors().nth(2).map(Path::to_owned);
        let root = root.filter(|root| root.join("runners/xtask/Cargo.toml").is_file()).ok_or_else(
            || {
                Failure::new(format!("{} is not in the checkout", package.display()))
                    .help("start this tool as `cargo xtask`, inside the checkout")
            },
        )?;
        let target = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"]
            .iter()
            .find_map(env::var_os)
            .map_or_else(|| Ok(root.join("target")), std::path::absolute)
            .map_err(|e| Failure::io("cannot read the current folder", &e))?;
        Ok(Self { root, target })
    }

    /// The link to libtorch.
    pub fn libtorch(&self) -> PathBuf {
        self.root.join(".libtorch")
    }

    /// The built runner.
    pub fn runner(&self) -> PathBuf {
        self.target.join("release/runner")
    }

    /// Cargo's target folder.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// A folder below the target folder for files that nobody keeps.
    pub fn scratch(&self, name: &str) -> Outcome<PathBuf> {
        let folder = self.target.join("xtask").join(name);
        std::fs::create_dir_all(&folder)
            .map_err(|e| Failure::io(format!("cannot make {}", folder.display()), &e))?;
        Ok(folder)
    }

    /// Whether `path` is what `.cargo/config.toml` sets LIBTORCH to, so not a choice of the user's.
    pub fn is_own_libtorch(&self, path: &Path) -> bool {
        path == self.libtorch().join("torch")
    }

    /// `cargo` as the user would start it.
    pub fn cargo(&self) -> Command {
        self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// A command with the user's own environment: without what `cargo run` has added for this process. Variables that
    /// stayed would make build scripts run again, because they differ between `cargo build` and `cargo xtask`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, value) in env::vars_os() {
            let text = name.to_string_lossy();
            let added = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
                .iter()
                .any(|prefix| text.starts_with(prefix));
            if added || (text == "LIBTORCH" && self.is_own_libtorch(Path::new(&value))) {
                command.env_remove(&name);
            }
        }
        match self.library_path() {
            Some(path) => command.env(LIBRARY_PATH, path),
            None => command.env_remove(LIBRARY_PATH),
        };
        command
    }

    /// The user's library path. Libtorch is added to it where the run path set in `.cargo/config.toml` does not hold.
    fn library_path(&self) -> Option<OsString> {
        let current = env::var_os(LIBRARY_PATH).unwrap_or_default();
        let elsewhere = self.target != self.root.join("target")
            || ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"]
                .iter()
                .any(|name| env::var_os(name).is_some());
        let libtorch = elsewhere.then(|| self.libtorch().join("torch/lib"));
        let own = own_entries(&current, &self.target);
        let parts: Vec<PathBuf> = libtorch.into_iter().chain(own).collect();
        (!parts.is_empty()).then(|| env::join_paths(parts).ok()).flatten()
    }
}

/// The entries of a library path that cargo did not put there: it adds its target folder and the toolchain.
fn own_entries(path: &OsStr, target: &Path) -> Vec<PathBuf> {
    env::split_paths(path)
        .filter(|entry| !entry.as_os_str().is_empty() && !entry.starts_with(target))
        .filter(|entry| !entry.to_string_lossy().contains("/rustlib/"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn library_path_of_the_user_survives_and_what_cargo_added_does_not() {
        let path = "/w/target/release/deps:/w/target/release:/r/lib/rustlib/x86_64-unknown-linux-gnu/lib:/opt/lib:";
        let own = own_entries(OsStr::new(path), Path::new("/w/target"));
        assert_eq!(own, [PathBuf::from("/opt/lib")]);
    }

    #[test]
    fn value_from_the_cargo_configuration_is_not_a_choice_of_the_user() {
        let project = Project { root: "/w".into(), target: "/w/target".into() };
        assert!(project.is_own_libtorch(Path::new("/w/.libtorch/torch")));
        assert!(!project.is_own_libtorch(Path::new("/opt/libtorch")));
    }
}
