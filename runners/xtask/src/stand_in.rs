//! Builds the stand-in for `libtorch_cuda.so` (`tests/cuda_stand_in`), with which tests run device
//! code without a GPU.
//!
//! `target/cuda-stand-in` looks like the folder of libtorch: the same files, by hard links, because
//! the runner opens CUDA beside the place where libtorch_cpu really lies; only libtorch_cuda.so is
//! another one.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Outcome};
use crate::project::Project;
use crate::steps::succeed;

const SOURCE: &str = "tests/cuda_stand_in/stand_in.cpp";
const LIBRARY: &str = "libtorch_cuda.so";
const FLAGS: [&str; 6] = ["-std=c++20", "-O1", "-fPIC", "-shared", "-w", "-o"];
/// What the real library calls the methods that refuse tensors of two devices.
const REFUSING: &[u8] = b"wrapper_CUDA_";

/// What was found or made.
#[derive(Debug, PartialEq, Eq)]
pub enum StandIn {
    Here(PathBuf),
    /// Why there can be none on this machine.
    Impossible(String),
}

/// Makes sure that the stand-in is there and fits its source, the compiler and libtorch.
pub fn ensure(project: &Project) -> Outcome<StandIn> {
    if !cfg!(target_os = "linux") {
        return Ok(StandIn::Impossible("CUDA exists on Linux only".into()));
    }
    let Some(compiler) = Compiler::find() else {
        return Ok(StandIn::Impossible(
            "there is no C++ compiler (CXX, c++, g++ or clang++)".into(),
        ));
    };
    let link = project.libtorch();
    let libtorch = fs::canonicalize(link.join("torch"))
        .map_err(|e| Failure::io(format!("cannot read {}", link.display()), &e))?;
    if !libtorch.join("lib").join(LIBRARY).is_file() {
        return Ok(StandIn::Impossible(format!("{} has no lib/{LIBRARY}", libtorch.display())));
    }
    let source = project.root.join(SOURCE);
    let folder = project.target().join("cuda-stand-in");
    let digest = digest(&source, &compiler, &libtorch)?;
    if fs::read_to_string(folder.join("digest")).is_ok_and(|old| old == digest) {
        return Ok(StandIn::Here(folder));
    }
    let staging = project.target().join(format!("cuda-stand-in-{}", std::process::id()));
    let made = make(&staging, &source, &compiler, &libtorch, &digest)
        .and_then(|()| replace(&folder, &staging));
    if made.is_err() {
        let _ = fs::remove_dir_all(&staging);
    }
    made.map(|()| StandIn::Here(folder))
}

struct Compiler {
    program: String,
    version: String,
}

impl Compiler {
    fn find() -> Option<Self> {
        let own = env::var("CXX").ok().filter(|name| !name.is_empty());
        let names = own
            .map_or_else(|| ["c++", "g++", "clang++"].map(String::from).to_vec(), |own| vec![own]);
        names.into_iter().find_map(|program| {
            let output = Command::new(&program).arg("--version").output().ok()?;
            let version = String::from_utf8_lossy(&output.stdout).into_owned();
            output.status.success().then_some(Self { program, version })
        })
    }
}

/// Changes whenever what would be built changes.
fn digest(source: &Path, compiler: &Compiler, libtorch: &Path) -> Outcome<String> {
    let fail = |e: io::Error| Failure::io(format!("cannot read {}", source.display()), &e);
    let mut hasher = DefaultHasher::new();
    fs::read(source).map_err(fail)?.hash(&mut hasher);
    (&compiler.program, &compiler.version, FLAGS, libtorch).hash(&mut hasher);
    for name in ["libtorch_cpu.so", LIBRARY] {
        let data = fs::metadata(libtorch.join("lib").join(name)).map_err(fail)?;
        (data.len(), data.modified().map_err(fail)?).hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn make(
    folder: &Path,
    source: &Path,
    compiler: &Compiler,
    libtorch: &Path,
    digest: &str,
) -> Outcome<()> {
    let fail = |e: io::Error| Failure::io(format!("cannot write {}", folder.display()), &e);
    eprintln!("compiling the stand-in for CUDA ({SOURCE}) ...");
    let library = folder.join("torch/lib");
    fs::create_dir_all(&library).map_err(fail)?;
    mirror(libtorch, folder).map_err(fail)?;
    let tables = tables(libtorch)
        .map_err(|e| Failure::io(format!("cannot read {}", libtorch.display()), &e))?;
    fs::write(folder.join("kernels.inc"), tables).map_err(fail)?;
    // Beside the library lies what it was made of: a test that finds another source does without.
    fs::copy(source, folder.join("stand_in.cpp")).map_err(fail)?;
    let include = libtorch.join("include");
    let mut command = Command::new(&compiler.program);
    command.args(FLAGS).arg(library.join(LIBRARY)).arg(source).arg("-I").arg(folder);
    command.arg("-I").arg(&include).arg("-I").arg(include.join("torch/csrc/api/include"));
    command.arg("-L").arg(libtorch.join("lib")).args(["-ltorch_cpu", "-lc10"]);
    succeed(&mut command, &compiler.program)?;
    fs::write(folder.join("digest"), digest).map_err(fail)
}

/// The folder around libtorch once more: links to everything, hard links to its libraries. Those of
/// CUDA stay away.
fn mirror(libtorch: &Path, folder: &Path) -> io::Result<()> {
    let torch = folder.join("torch");
    let around = libtorch.parent().unwrap_or(Path::new("/"));
    for (from, to, left_out) in
        [(around, folder, libtorch.file_name()), (libtorch, &torch, Some("lib".as_ref()))]
    {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            if Some(entry.file_name().as_os_str()) != left_out
                && !to.join(entry.file_name()).exists()
            {
                symlink(entry.path(), to.join(entry.file_name()))?;
            }
        }
    }
    for entry in fs::read_dir(libtorch.join("lib"))? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if !entry.path().is_file() || text.contains("cuda") || text.contains("python") {
            continue;
        }
        let (from, to) = (fs::canonicalize(entry.path())?, torch.join("lib").join(&name));
        // Another file system takes no hard links.
        fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(|_| ()))?;
    }
    Ok(())
}

fn replace(folder: &Path, by: &Path) -> Outcome<()> {
    let fail = |e: io::Error| Failure::io(format!("cannot replace {}", folder.display()), &e);
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(fail)?;
    }
    fs::rename(by, folder).map_err(fail)
}

/// The tables that `stand_in.cpp` includes: which functions `at::cuda` has, and which methods
/// refuse tensors of the CPU.
fn tables(libtorch: &Path) -> io::Result<String> {
    let mut kernels = BTreeSet::new();
    for entry in fs::read_dir(libtorch.join("include/ATen/ops"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with("_cuda_dispatch.h") {
            kernels.extend(functions(&fs::read_to_string(entry.path())?));
        }
    }
    let refusing = names(File::open(libtorch.join("lib").join(LIBRARY))?, REFUSING)?;
    Ok(array("HAS_CUDA_KERNEL", &kernels) + &array("REFUSES_CPU_TENSORS", &refusing))
}

fn array(name: &str, values: &BTreeSet<String>) -> String {
    let rows: String = values.iter().map(|value| format!("\"{value}\",\n")).collect();
    format!("const char* const {name}[] = {{\n{rows}}};\n")
}

/// The functions that a header of libtorch declares: `TORCH_API RESULT NAME(ARGUMENTS);`.
fn functions(header: &str) -> Vec<String> {
    let declared = header.lines().filter_map(|line| line.strip_prefix("TORCH_API "));
    // The result may hold parentheses no more than names do; the first one opens the arguments.
    let names = declared.filter_map(|line| line.split_once('(')?.0.rsplit([' ', '&', '>']).next());
    names.map(str::to_owned).collect()
}

/// Every distinct C string in a file that starts with `prefix`; names of symbols only contain it.
fn names(mut file: impl Read, prefix: &[u8]) -> io::Result<BTreeSet<String>> {
    const LONGEST: usize = 256;
    let mut found = BTreeSet::new();
    // A string begins after a zero byte, or with the file.
    let mut buffer = vec![0];
    let mut chunk = vec![0; 8 << 20];
    loop {
        let count = file.read(&mut chunk)?;
        buffer.extend_from_slice(&chunk[..count]);
        // What may go on in the next chunk is looked at then.
        let end = if count == 0 { buffer.len() } else { buffer.len().saturating_sub(LONGEST) };
        for string in strings(&buffer, end, prefix) {
            found.insert(String::from_utf8_lossy(string).into_owned());
        }
        if count == 0 {
            return Ok(found);
        }
        buffer.drain(..end);
    }
}

/// The C strings that begin with `prefix` after one of the first `end` bytes.
fn strings<'a>(
    bytes: &'a [u8],
    end: usize,
    prefix: &'a [u8],
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(step) = bytes[at..end].iter().position(|byte| *byte == 0) {
            at += step + 1;
            let string = &bytes[at..];
            if string.starts_with(prefix) {
                let length = string.iter().position(|byte| *byte == 0).unwrap_or(string.len());
                return Some(&string[..length]);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_read_from_headers() {
        let header = "namespace cuda {\n\
            TORCH_API at::Tensor & add_out(at::Tensor & out, const at::Tensor & self);\n\
            TORCH_API ::std::tuple<at::Tensor,at::Tensor> _aminmax(const at::Tensor & self);\n\
            TORCH_API void _foreach_add_(at::TensorList self, const at::Scalar & scalar);\n\
            } // namespace cuda\n";
        assert_eq!(functions(header), ["add_out", "_aminmax", "_foreach_add_"]);
    }

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(3).min(into.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn names_are_found_across_chunks() {
        let mut text = vec![b'w'; 1000];
        text.extend(b"\0wrapper_CUDA_mm\0_ZNwrapper_CUDA_cat\0wrapper_CUDA\0wrapper_CUDA__nonzero");
        let found = names(Slow(&text), REFUSING).expect("a slice can be read");
        assert_eq!(Vec::from_iter(found), ["wrapper_CUDA__nonzero", "wrapper_CUDA_mm"]);
    }

    #[test]
    fn the_folder_holds_the_libraries_themselves_and_none_of_cuda() {
        let scratch = tempfile::tempdir().expect("the temporary folder is writable");
        let torch = scratch.path().join("libtorch/torch");
        fs::create_dir_all(torch.join("lib")).expect("folder");
        fs::create_dir_all(torch.join("include")).expect("folder");
        fs::create_dir(scratch.path().join("libtorch/nvidia")).expect("folder");
        for name in ["libtorch_cpu.so", "libc10.so", LIBRARY, "libc10_cuda.so"] {
            fs::write(torch.join("lib").join(name), name).expect("write");
        }
        let folder = scratch.path().join("made");
        fs::create_dir_all(folder.join("torch/lib")).expect("folder");
        mirror(&torch, &folder).expect("is mirrored");
        let real = fs::canonicalize(folder.join("torch/lib/libtorch_cpu.so")).expect("is there");
        assert!(real.starts_with(&folder), "{}", real.display());
        assert!(!folder.join("torch/lib").join(LIBRARY).exists());
        assert!(!folder.join("torch/lib/libc10_cuda.so").exists());
        assert!(folder.join("torch/include").is_dir() && folder.join("nvidia").is_dir());
    }
}
