//! Brings libtorch into the cache and links it into the checkout as `.libtorch`.
//!
//! `.libtorch/torch/lib` is where everything looks (`.cargo/config.toml`). `.libtorch` is a link to a folder of the
//! cache, or, when the user brings libtorch, a small folder in which `torch` is a link to the user's.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cache::Cache;
use crate::failure::{Failure, Outcome};
use crate::platform::{Platform, Set};
use crate::project::Project;
use crate::python;
use crate::version::{self, Version, WANTED};

/// A libtorch that the user brings.
struct Own {
    /// Holds `lib/`.
    folder: PathBuf,
    version: Option<Version>,
    /// The variable that it came from.
    variable: &'static str,
}

/// Makes sure that `.libtorch` works: keeps what is there and fits, follows the user's LIBTORCH, else installs the CPU
/// set. Costs nothing when there is nothing to do.
pub fn ensure(project: &Project) -> Outcome<()> {
    match own(project)? {
        Some(own) => use_own(project, &own),
        None if is_usable(&project.libtorch()) => Ok(()),
        None => install(project, Set::Cpu),
    }
}

/// As `ensure`, with what CUDA needs: the user's own libtorch is taken as it is.
pub fn ensure_cuda(project: &Project) -> Outcome<()> {
    match own(project)? {
        Some(own) => use_own(project, &own),
        None => install(project, Set::Cuda),
    }
}

/// `cargo xtask libtorch`: as `ensure`, but sets the link anew and says what it points to.
pub fn set_up(project: &Project, set: Set) -> Outcome<()> {
    match own(project)? {
        Some(own) if set == Set::Cuda => {
            let what = format!("{}={}", own.variable, own.folder.display());
            Err(Failure::new(format!("--cuda was given, but {what} wins over it"))
                .help(format!("unset {} to get the CUDA set", own.variable)))
        }
        Some(own) => use_own(project, &own),
        None => install(project, set),
    }?;
    let link = project.libtorch();
    let torch = link.join("torch");
    let shown = fs::canonicalize(&torch).unwrap_or(torch);
    println!("libtorch: {}", shown.display());
    Ok(())
}

fn own(project: &Project) -> Outcome<Option<Own>> {
    // The order in which torch-sys looks. It takes LIBTORCH_USE_PYTORCH with any value as set.
    if env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        let (text, folder) = python::installed_torch()?;
        let version = Version::parse(&text);
        if version.is_none() {
            return Err(wrong_version("LIBTORCH_USE_PYTORCH", &folder, &text));
        }
        return Ok(Some(Own { folder, version, variable: "LIBTORCH_USE_PYTORCH" }));
    }
    let Some(value) = env::var_os("LIBTORCH").filter(|v| !v.is_empty()) else {
        return Ok(None);
    };
    let folder = PathBuf::from(value);
    if project.is_own_libtorch(&folder) {
        return Ok(None);
    }
    let folder = fs::canonicalize(&folder)
        .map_err(|e| Failure::io(format!("LIBTORCH={}", folder.display()), &e))
        .map_err(|f| {
            f.help("set LIBTORCH to a folder that holds lib/ and include/, or unset it")
        })?;
    let version = version::of_folder(&folder);
    Ok(Some(Own { folder, version, variable: "LIBTORCH" }))
}

fn use_own(project: &Project, own: &Own) -> Outcome<()> {
    if !has_library(&own.folder) {
        return Err(Failure::new(format!(
            "{}: there is no lib/libtorch_cpu in {}",
            own.variable,
            own.folder.display()
        ))
        .help(format!(
            "set {} to a folder that holds lib/ and include/, or unset it",
            own.variable
        )));
    }
    // The same switch as torch-sys has.
    let bypass = env::var_os("LIBTORCH_BYPASS_VERSION_CHECK").is_some();
    match own.version {
        Some(version) if version == WANTED || bypass => {}
        Some(version) if version.is_compatible() => eprintln!(
            "note: libtorch {version} in {}; tested with {WANTED}. If torch-sys refuses it, set \
             LIBTORCH_BYPASS_VERSION_CHECK=1",
            own.folder.display()
        ),
        Some(version) => {
            return Err(wrong_version(own.variable, &own.folder, &version.to_string()));
        }
        None if bypass => {}
        None => return Err(wrong_version(own.variable, &own.folder, "of unknown version")),
    }
    link_own(&project.libtorch(), &own.folder)
}

fn wrong_version(variable: &str, folder: &Path, found: &str) -> Failure {
    Failure::new(format!(
        "{variable}: the libtorch in {} is {found}, but {}.{}.x is needed",
        folder.display(),
        WANTED.major,
        WANTED.minor
    ))
    .help(format!("unset {variable} to have libtorch {WANTED} downloaded, or install that version"))
}

/// Whether `link` leads to a libtorch that can be linked with.
fn is_usable(link: &Path) -> bool {
    let torch = link.join("torch");
    has_library(&torch) && version::of_folder(&torch).is_some_and(Version::is_compatible)
}

fn has_library(folder: &Path) -> bool {
    ["libtorch_cpu.so", "libtorch_cpu.dylib"]
        .iter()
        .any(|name| folder.join("lib").join(name).is_file())
}

fn install(project: &Project, set: Set) -> Outcome<()> {
    let platform = Platform::current()?;
    let requirements = platform.requirements(set)?;
    let name = platform.folder_name(set);
    let cache = Cache::open()?;
    let folder = cache.folder(&name);
    if let Err(why) = verify(&folder, platform) {
        if folder.exists() {
            eprintln!("replacing {}: {why}", folder.display());
        }
        python::require_pip()?;
        cache.require_free(platform.bytes_needed(set))?;
        eprintln!("bringing libtorch {WANTED} ({}) to {}", set.name(), folder.display());
        if !platform.tested {
            eprintln!("note: {} is written for, but was never tested", platform.name);
        }
        let start = Instant::now();
        cache.install(&name, |staging| fill(staging, platform, requirements))?;
        eprintln!("libtorch is in place after {:.0} s", start.elapsed().as_secs_f64());
    }
    link_cache(&project.libtorch(), &folder)
}

/// Downloads and unpacks into `staging`, and checks the result.
fn fill(staging: &Path, platform: &Platform, requirements: &str) -> Outcome<()> {
    let fail = |e: io::Error| Failure::io(format!("cannot write {}", staging.display()), &e);
    let wheels = staging.join("wheels");
    let list = staging.join("requirements.txt");
    fs::create_dir(&wheels).map_err(fail)?;
    fs::write(&list, requirements).map_err(fail)?;
    python::download(&list, &platform.tags(), &wheels)?;
    python::unpack(&wheels, staging)?;
    fs::remove_dir(&wheels).map_err(fail)?;
    verify(staging, platform).map_err(|why| {
        Failure::new(format!("the downloaded libtorch is not usable: {why}"))
            .help("run `cargo xtask libtorch` again; if it stays so, bring libtorch yourself and set LIBTORCH")
    })
}

/// What is wrong with an unpacked set, if anything.
fn verify(folder: &Path, platform: &Platform) -> Result<(), String> {
    for name in platform.needed {
        match fs::metadata(folder.join(name)) {
            Ok(file) if file.len() > 0 => {}
            Ok(_) => return Err(format!("{name} is empty")),
            Err(e) => return Err(format!("{name}: {e}")),
        }
    }
    match version::of_folder(&folder.join("torch")) {
        Some(version) if version == WANTED => Ok(()),
        Some(version) => Err(format!("it is {version}")),
        None => Err("it does not tell its version".to_owned()),
    }
}

/// Points `link` to a folder of the cache.
fn link_cache(link: &Path, folder: &Path) -> Outcome<()> {
    if fs::read_link(link).is_ok_and(|old| old == folder) {
        return Ok(());
    }
    clear_own(link)?;
    replace_link(link, folder)
}

/// Makes `link` a folder in which `torch` is a link to the user's libtorch. The libraries beside the user's folder are
/// found as well: the system follows `..` from where the link leads.
fn link_own(link: &Path, folder: &Path) -> Outcome<()> {
    let torch = link.join("torch");
    let is_link = link.symlink_metadata().is_ok_and(|m| m.is_symlink());
    if !is_link && fs::read_link(&torch).is_ok_and(|old| old == folder) {
        return Ok(());
    }
    let fail = |e| Failure::io(format!("cannot write {}", link.display()), &e);
    if is_link {
        fs::remove_file(link).map_err(fail)?;
    } else {
        clear_own(link)?;
    }
    fs::create_dir(link).map_err(fail)?;
    replace_link(&torch, folder)
}

/// Removes the small folder that `link_own` makes. Anything else in that place is the user's and stays.
fn clear_own(link: &Path) -> Outcome<()> {
    let is_folder = link.symlink_metadata().is_ok_and(|m| m.is_dir());
    if !is_folder {
        return Ok(());
    }
    let torch = link.join("torch");
    if torch.symlink_metadata().is_ok_and(|m| m.is_symlink()) {
        fs::remove_file(&torch)
            .map_err(|e| Failure::io(format!("cannot remove {}", torch.display()), &e))?;
    }
    fs::remove_dir(link).map_err(|_| {
        Failure::new(format!("{} is a folder that this tool did not make", link.display()))
            .help("move it away, or set LIBTORCH to the folder in it that holds lib/")
    })
}

/// Makes the link `at` to `to` in one step, whether or not one is there.
fn replace_link(at: &Path, to: &Path) -> Outcome<()> {
    let fail = |e| Failure::io(format!("cannot link {} to {}", at.display(), to.display()), &e);
    let mut temporary = at.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let _ = fs::remove_file(&temporary);
    symlink(to, &temporary).map_err(fail)?;
    fs::rename(&temporary, at).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(folder: &Path, version: &str) {
        fs::create_dir_all(folder.join("lib")).expect("folder");
        fs::write(folder.join("lib/libtorch_cpu.so"), "x").expect("write");
        fs::write(folder.join("build-version"), version).expect("write");
    }

    #[test]
    fn link_changes_between_cache_and_own_and_back() {
        let scratch = tempfile::tempdir().unwrap();
        let (cache, mine) = (scratch.path().join("cache"), scratch.path().join("mine"));
        fake(&cache.join("torch"), "2.13.0");
        fake(&mine, "2.13.0");
        let link = scratch.path().join(".libtorch");
        for _ in 0..2 {
            link_cache(&link, &cache).expect("links");
            assert_eq!(fs::canonicalize(link.join("torch")).expect("leads"), cache.join("torch"));
            link_own(&link, &mine).expect("links");
            link_own(&link, &mine).expect("again");
            assert_eq!(fs::canonicalize(link.join("torch")).expect("leads"), mine);
            assert!(is_usable(&link));
        }
    }

    #[test]
    fn dangling_missing_and_outdated_links_are_not_usable() {
        let scratch = tempfile::tempdir().unwrap();
        let link = scratch.path().join(".libtorch");
        assert!(!is_usable(&link));
        link_cache(&link, &scratch.path().join("gone")).expect("links");
        assert!(!is_usable(&link));
        let old = scratch.path().join("old");
        fake(&old.join("torch"), "2.12.0");
        link_cache(&link, &old).expect("links over a dangling link");
        assert!(!is_usable(&link));
    }

    #[test]
    fn folder_of_the_user_is_never_deleted() {
        let scratch = tempfile::tempdir().unwrap();
        let link = scratch.path().join(".libtorch");
        fake(&link.join("torch"), "2.12.0");
        assert!(link_cache(&link, Path::new("/nowhere")).is_err());
        assert!(link.join("torch/lib/libtorch_cpu.so").is_file());
    }

    #[test]
    fn damaged_set_is_noticed() {
        let scratch = tempfile::tempdir().unwrap();
        let platform = Platform::find("linux", "x86_64").expect("known");
        let folder = scratch.path();
        for name in platform.needed {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("has one")).expect("folder");
            fs::write(path, "x").expect("write");
        }
        assert!(verify(folder, platform).is_err());
        fs::write(folder.join("torch/version.py"), "__version__ = '2.13.0+cu130'\n")
            .expect("write");
        assert_eq!(verify(folder, platform), Ok(()));
        fs::write(folder.join("torch/lib/libc10.so"), "").expect("write");
        assert!(verify(folder, platform).expect_err("empty").contains("libc10.so"));
    }
}
