//! Files that the project writes about itself, checked in so that they can be read without building anything.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::failure::{Failure, Outcome};
use crate::house::House;
use crate::project::Project;
use crate::steps::{Cargo, Steps};

/// One generated file.
struct Generated {
    /// Relative to the root of the checkout.
    file: &'static str,
    from: Source,
}

enum Source {
    /// Arguments of the runner. `{out}` stands for the file to write; without it, standard output is the content.
    Runner(&'static [&'static str]),
    /// The drawing of the crates, from their Cargo.toml files.
    House,
}

const OUT: &str = "{out}";

/// The generated files: a new one is one more line.
const FILES: &[Generated] = &[
    Generated { file: "docs/schema.json", from: Source::Runner(&["schema", "--out", OUT]) },
    Generated {
        file: "docs/src/reference/components.md",
        from: Source::Runner(&["describe", "--all"]),
    },
    Generated { file: DRAWING, from: Source::House },
];

const DRAWING: &str = "docs/src/images/crates.svg";

/// Builds the runner and writes every file, or with `check` compares every file.
pub fn generate(project: &Project, check: bool) -> Outcome<()> {
    let mut steps = Steps::default();
    steps.cargo(project, "build the runner", &build());
    for generated in FILES {
        let name = if check { "compare" } else { "write" };
        let name = format!("{name} {}", generated.file);
        let repeat = match generated.from {
            Source::Runner(args) => {
                format!("target/release/runner {}", args.join(" ")).replace(OUT, generated.file)
            }
            Source::House => "cargo xtask generate".to_owned(),
        };
        steps.step(&name, &repeat, || generated.update(project, check));
    }
    steps.finish()
}

/// How the runner is built; `run` uses the same.
pub fn build() -> Cargo {
    Cargo::new("build --release --package isotropy-runner --bin runner")
}

impl Generated {
    fn update(&self, project: &Project, check: bool) -> Outcome<()> {
        let fresh = self.produce(project)?;
        let path = project.root.join(self.file);
        if check {
            return compare(self.file, fs::read(&path).ok().as_deref(), &fresh);
        }
        if fs::read(&path).is_ok_and(|old| old == fresh) {
            return Ok(());
        }
        let fail = |e| Failure::io(format!("cannot write {}", path.display()), &e);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(fail)?;
        }
        fs::write(&path, fresh).map_err(fail)
    }

    /// What the file should hold now.
    fn produce(&self, project: &Project) -> Outcome<Vec<u8>> {
        match self.from {
            Source::Runner(args) => self.told(project, args),
            Source::House => Ok(House::read(&project.root)?.drawing()?.into_bytes()),
        }
    }

    /// What the runner says. One that writes nothing is an error, not an empty file.
    fn told(&self, project: &Project, args: &[&str]) -> Outcome<Vec<u8>> {
        let scratch = project.scratch("generated")?;
        // The real name: the runner may choose a format by it.
        let out = scratch.join(Path::new(self.file).file_name().unwrap_or(OsStr::new("out")));
        let _ = fs::remove_file(&out);
        let words = args.iter().map(|arg| match *arg {
            OUT => out.as_os_str(),
            other => OsStr::new(other),
        });
        let output = project
            .command(project.runner())
            .args(words)
            .current_dir(&project.root)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| Failure::io(format!("cannot start {}", project.runner().display()), &e))?;
        if !output.status.success() {
            return Err(Failure::new(format!("the runner ended with {}", output.status)));
        }
        let content = if args.contains(&OUT) {
            fs::read(&out).map_err(|e| {
                Failure::io(format!("the runner did not write {}", out.display()), &e)
            })?
        } else {
            output.stdout
        };
        if content.is_empty() {
            return Err(Failure::new(format!("the runner printed nothing for {}", self.file)));
        }
        Ok(content)
    }
}

/// An error that names the first line in which the checked-in file differs.
fn compare(file: &str, old: Option<&[u8]>, fresh: &[u8]) -> Outcome<()> {
    let stale = |what: String| {
        Err(Failure::new(what).help("run `cargo xtask generate` and commit the result"))
    };
    let Some(old) = old else {
        return stale(format!("{file} is missing"));
    };
    if old == fresh {
        return Ok(());
    }
    let (old, fresh) = (String::from_utf8_lossy(old), String::from_utf8_lossy(fresh));
    let same = old.lines().zip(fresh.lines()).take_while(|(a, b)| a == b).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(end of file)").to_owned();
    stale(format!(
        "{file} is stale, first in line {}:\n  there is:  {}\n  should be: {}",
        same + 1,
        line(&old),
        line(&fresh)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_file_names_its_first_differing_line() {
        assert!(compare("f", Some(b"a\nb\n"), b"a\nb\n").is_ok());
        let text = compare("f", Some(b"a\nb\nc\n"), b"a\nx\nc\n").expect_err("differs").to_string();
        assert!(
            text.contains("line 2")
                && text.contains("there is:  b")
                && text.contains("should be: x"),
            "{text}"
        );
        let text = compare("f", Some(b"a\n"), b"a\nb\n").expect_err("shorter").to_string();
        assert!(text.contains("(end of file)"), "{text}");
        assert!(compare("f", Some(b"a"), b"a\n").is_err(), "a missing newline counts");
        assert!(compare("f", None, b"a").expect_err("missing").to_string().contains("missing"));
    }

    #[test]
    fn the_drawing_of_the_crates_is_that_of_their_manifests() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let fresh = House::read(&root).and_then(|house| house.drawing());
        let fresh = fresh.unwrap_or_else(|e| panic!("{e}"));
        let old = fs::read(root.join(DRAWING)).ok();
        compare(DRAWING, old.as_deref(), fresh.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    }

    #[test]
    fn generated_files_are_listed_once_and_lie_in_docs() {
        for (i, generated) in FILES.iter().enumerate() {
            assert!(generated.file.starts_with("docs/"), "{}", generated.file);
            assert!(FILES[..i].iter().all(|other| other.file != generated.file));
        }
    }
}
