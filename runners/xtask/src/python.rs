//! python3 and pip: they download libtorch and read results back in tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Cache;
use crate::failure::{Failure, Outcome};

const TEST_REQUIREMENTS: &str = include_str!("../requirements/python-tests.txt");

/// The name of the file that is written last into a finished environment.
const COMPLETE: &str = "isotropy-complete";

/// Unpacks wheels: argument 1 is the folder, the rest are the wheels, each deleted when it is unpacked so that the
/// disk never holds everything twice. `zipfile` compares the CRC of every file.
const UNPACK: &str = "
import os, sys, zipfile
for wheel in sys.argv[2:]:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(sys.argv[1])
    os.remove(wheel)
";

/// Fails with a remedy when python3 or its pip is missing.
pub fn require_pip() -> Outcome<()> {
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|o| o.status.success()) {
        return Err(Failure::new("python3 was not found; it downloads libtorch").help(
            "install Python 3 with pip, or bring libtorch yourself and set LIBTORCH to its folder",
        ));
    }
    let pip = Command::new("python3").args(["-m", "pip", "--version"]).output();
    if !pip.is_ok_and(|o| o.status.success()) {
        return Err(Failure::new("python3 has no pip")
            .help("install it: `python3 -m ensurepip --user`, or your system's package (Debian: python3-pip)"));
    }
    Ok(())
}

/// Downloads the wheels of a requirements file with digests into `dest`, for `tags` and Python 3.12 whatever the
/// Python of this machine is (libtorch does not depend on it).
pub fn download(requirements: &Path, tags: &[String], dest: &Path) -> Outcome<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]);
    pip.args(["--implementation", "cp", "--python-version", "3.12"]);
    for tag in tags {
        pip.args(["--platform", tag]);
    }
    // No second copy in pip's own cache; nothing is installed, so a rule that asks for an environment is off.
    pip.args(["--no-cache-dir", "--no-input", "--disable-pip-version-check"]);
    pip.env("PIP_REQUIRE_VIRTUALENV", "false");
    pip.arg("--requirement").arg(requirements).arg("--dest").arg(dest);
    run(pip, "pip could not download libtorch (its message is above)").map_err(|f| {
        f.help(
            "check the network and run the same command again; behind a mirror set PIP_INDEX_URL",
        )
    })
}

/// Unpacks all wheels in `wheels` into `dest` and deletes them.
pub fn unpack(wheels: &Path, dest: &Path) -> Outcome<()> {
    let entries = std::fs::read_dir(wheels)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| Failure::io(format!("cannot read {}", wheels.display()), &e))?;
    let mut python = Command::new("python3");
    python.args(["-c", UNPACK]).arg(dest);
    python.args(entries.iter().map(std::fs::DirEntry::path));
    run(python, "the wheels could not be unpacked (the message is above)").map_err(|f| {
        f.help("if the disk is full, free some space; then run the same command again")
    })
}

/// The version and the folder of the torch that python imports, as torch-sys asks for them.
pub fn installed_torch() -> Outcome<(String, PathBuf)> {
    // The same choice as torch-sys makes.
    let name = if std::env::var_os("VIRTUAL_ENV").is_some() { "python" } else { "python3" };
    let code = "import torch, os; print(torch.__version__); print(os.path.dirname(os.path.abspath(torch.__file__)))";
    let output = Command::new(name).args(["-c", code]).output().map_err(|e| {
        Failure::io(format!("LIBTORCH_USE_PYTORCH is set, but {name} does not start"), &e)
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    match (output.status.success(), lines.next(), lines.next()) {
        (true, Some(version), Some(folder)) => Ok((version.to_owned(), folder.into())),
        _ => {
            let errors = String::from_utf8_lossy(&output.stderr);
            let last = errors.lines().last().unwrap_or("no message").to_owned();
            Err(Failure::new(format!(
                "LIBTORCH_USE_PYTORCH is set, but `{name} -c 'import torch'` fails: {last}"
            ))
            .help("unset LIBTORCH_USE_PYTORCH, or install torch 2.13.0 into that Python"))
        }
    }
}

/// The python with the packages that the tests need: `ISOTROPY_PYTHON`, or an environment in the cache, made once for
/// each Python and each list of packages.
pub fn for_tests() -> Outcome<PathBuf> {
    if let Some(own) = std::env::var_os("ISOTROPY_PYTHON") {
        return Ok(own.into());
    }
    require_pip()?;
    let code = "import sys; print(sys.version.split()[0]); print(sys.base_prefix)";
    let output = Command::new("python3")
        .args(["-c", code])
        .output()
        .map_err(|e| Failure::io("python3 does not start", &e))?;
    let identity = String::from_utf8_lossy(&output.stdout);
    let name = environment_name(&identity, TEST_REQUIREMENTS);
    let cache = Cache::open()?;
    let folder = cache.folder(&name);
    let python = folder.join("bin/python");
    if folder.join(COMPLETE).is_file() && starts(&python) {
        return Ok(python);
    }
    eprintln!("making a Python environment for the tests in {}", folder.display());
    cache.discard(&name)?;
    cache.require_free(1_000_000_000)?;
    // An environment knows its own path, so it is made in place; the last file says that it is whole.
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(&folder);
    run(venv, "python3 cannot make an environment")
        .map_err(|f| f.help("install the venv module (Debian: python3-venv)"))?;
    let list = folder.join("requirements.txt");
    write(&list, TEST_REQUIREMENTS)?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    pip.arg("--requirement").arg(&list);
    run(pip, "pip could not install the packages that the tests need (its message is above)")
        .map_err(|f| {
            f.help(
                "check the network and run again, or set ISOTROPY_PYTHON to a Python that has them",
            )
        })?;
    write(&folder.join(COMPLETE), "")?;
    Ok(python)
}

/// The folder name of the environment for a Python (its version, then whatever tells it apart) and a list of packages.
fn environment_name(identity: &str, requirements: &str) -> String {
    // FNV-1a: the digest only has to tell apart what lies in one cache.
    let digest = identity
        .bytes()
        .chain(requirements.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let version = identity.lines().next().unwrap_or("3");
    format!("python-{version}-{digest:016x}")
}

/// Whether the environment's python still starts: the Python that it came from may be gone.
fn starts(python: &Path) -> bool {
    let output = Command::new(python).args(["-c", "pass"]).output();
    output.is_ok_and(|o| o.status.success())
}

fn write(path: &Path, text: &str) -> Outcome<()> {
    std::fs::write(path, text)
        .map_err(|e| Failure::io(format!("cannot write {}", path.display()), &e))
}

fn run(mut command: Command, message: &str) -> Outcome<()> {
    // pip's progress belongs to standard error: standard output is the runner's.
    command.stdout(std::io::stderr());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(format!("{message} ({status})"))),
        Err(e) => Err(Failure::io(message, &e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_is_made_anew_for_another_python_or_another_list() {
        let name = environment_name("3.12.1\n/usr\n", "numpy\n");
        assert!(name.starts_with("python-3.12.1-"), "{name}");
        assert_eq!(name, environment_name("3.12.1\n/usr\n", "numpy\n"));
        assert_ne!(name, environment_name("3.12.1\n/opt\n", "numpy\n"));
        assert_ne!(name, environment_name("3.12.1\n/usr\n", "numpy\nscipy\n"));
    }
}
