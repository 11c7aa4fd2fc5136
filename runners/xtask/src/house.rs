//! The plan of the house: which crates there are, which layer each belongs to, and what it imports, read from the
//! Cargo.toml files and from `plugins/README.md`, which says what is a block and what a family.

#[cfg(test)]
mod dependencies;
mod drawing;

use std::fs;
use std::path::Path;

use crate::failure::{Failure, Outcome};

/// From below: a crate imports its own layer or a lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Core,
    Block,
    Family,
    Runner,
}

impl Layer {
    const ALL: [Self; 4] = [Self::Core, Self::Block, Self::Family, Self::Runner];

    fn title(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Block => "blocks",
            Self::Family => "families",
            Self::Runner => "runners",
        }
    }
}

/// A dependency on another crate of the workspace.
struct Import {
    /// Its place in [`House::crates`].
    of: usize,
    /// Whether the library needs it, not only its tests.
    normal: bool,
}

struct Crate {
    /// Without the `isotropy-` that all have in front.
    name: String,
    layer: Layer,
    imports: Vec<Import>,
}

/// The crates of the workspace that import one another, without the cross-crate tests, which import all.
pub struct House {
    crates: Vec<Crate>,
}

const PREFIX: &str = "isotropy-";
const PLAN: &str = "plugins/README.md";

impl House {
    /// Reads every Cargo.toml below `core`, `plugins` and `runners`.
    pub fn read(root: &Path) -> Outcome<Self> {
        let plan = read(&root.join(PLAN))?;
        let (blocks, families) = (listed(&plan, "Blocks"), listed(&plan, "Families"));
        let mut found = Vec::new();
        for (folder, own) in [("core", true), ("plugins", false), ("runners", false)] {
            let path = root.join(folder);
            let mut names = folders(&path)?;
            names.sort();
            let mut places: Vec<(String, _)> =
                names.into_iter().map(|name| (name.clone(), path.join(name))).collect();
            if own {
                places.insert(0, (folder.to_owned(), path));
            }
            for (name, place) in places {
                let manifest = place.join("Cargo.toml");
                if manifest.is_file() {
                    let layer = match folder {
                        "core" => Layer::Core,
                        "runners" => Layer::Runner,
                        _ if blocks.contains(&name) => Layer::Block,
                        _ if families.contains(&name) => Layer::Family,
                        _ => {
                            let message = format!("{PLAN} has no line for plugins/{name}");
                            return Err(Failure::new(message)
                                .help("add it to the table of blocks or to that of families"));
                        }
                    };
                    found.push((layer, Manifest::parsed(&read(&manifest)?)));
                }
            }
        }
        for name in blocks.iter().chain(&families) {
            if !root.join("plugins").join(name).join("Cargo.toml").is_file() {
                return Err(Failure::new(format!("{PLAN} names `{name}`, which is no plugin")));
            }
        }
        let place = |name: &str| found.iter().position(|(_, manifest)| manifest.name == name);
        let crates = found.iter().map(|(layer, manifest)| {
            let imports = manifest
                .imports
                .iter()
                .filter_map(|(name, normal)| Some(Import { of: place(name)?, normal: *normal }));
            Crate { name: manifest.name.clone(), layer: *layer, imports: imports.collect() }
        });
        let mut house = Self { crates: crates.collect() };
        house.drop_loners();
        Ok(house)
    }

    /// Leaves out what imports nothing and is imported by nothing (this tool).
    fn drop_loners(&mut self) {
        let lonely = |k: usize| {
            let imported = self.crates.iter().any(|c| c.imports.iter().any(|i| i.of == k));
            self.crates[k].imports.is_empty() && !imported
        };
        let kept: Vec<usize> = (0..self.crates.len()).filter(|k| !lonely(*k)).collect();
        let crates = std::mem::take(&mut self.crates).into_iter().enumerate();
        self.crates = crates.filter(|(k, _)| kept.contains(k)).map(|(_, c)| c).collect();
        for import in self.crates.iter_mut().flat_map(|c| &mut c.imports) {
            import.of = kept.iter().position(|k| *k == import.of).expect("imported crates stay");
        }
    }

    /// Imports that the plan forbids, for tests as well as for libraries: of a layer above, or of one family by another.
    fn forbidden(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for one in &self.crates {
            for other in one.imports.iter().map(|import| &self.crates[import.of]) {
                let sisters = one.layer == Layer::Family && other.layer == Layer::Family;
                if other.layer > one.layer || sisters {
                    let (a, b) = (one.layer.title(), other.layer.title());
                    mistakes.push(format!("{} ({a}) imports {} ({b})", one.name, other.name));
                }
            }
        }
        mistakes
    }

    /// What the library of each crate imports, without what follows from its other imports.
    fn reduced(&self) -> Vec<Vec<usize>> {
        let direct = |k: usize| {
            self.crates[k].imports.iter().filter(|i| i.normal).map(|i| i.of).collect::<Vec<_>>()
        };
        let reaches = |from: usize, to: usize| {
            let (mut seen, mut open) = (vec![false; self.crates.len()], direct(from));
            while let Some(next) = open.pop() {
                if !std::mem::replace(&mut seen[next], true) {
                    open.extend(direct(next));
                }
            }
            seen[to]
        };
        (0..self.crates.len())
            .map(|k| {
                let all = direct(k);
                let follows =
                    |of: usize| all.iter().any(|other| *other != of && reaches(*other, of));
                all.iter().copied().filter(|of| !follows(*of)).collect()
            })
            .collect()
    }

    /// The drawing, as the text of an SVG file.
    pub fn drawing(&self) -> Outcome<String> {
        let forbidden = self.forbidden();
        if !forbidden.is_empty() {
            return Err(Failure::new(forbidden.join("\n"))
                .help("what two families need belongs into a block"));
        }
        Ok(drawing::svg(self))
    }
}

/// What is needed of a Cargo.toml.
struct Manifest {
    name: String,
    imports: Vec<(String, bool)>,
}

impl Manifest {
    /// Our manifests have one dependency a line.
    fn parsed(text: &str) -> Self {
        let short = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
        let (mut section, mut name, mut imports) = ("", String::new(), Vec::new());
        for line in text.lines().map(str::trim) {
            let key = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if line.starts_with('[') {
                section = line;
            } else if section == "[package]" && key == "name" {
                name = short(line.split('"').nth(1).unwrap_or_default());
            } else if section.ends_with("dependencies]") && key.starts_with(PREFIX) {
                imports.push((short(key), section == "[dependencies]"));
            }
        }
        Self { name, imports }
    }
}

/// The plugins of a table of [`PLAN`]: each line of it begins with the plugin's name.
fn listed(plan: &str, heading: &str) -> Vec<String> {
    let mark = format!("## {heading}");
    let rows = plan.lines().skip_while(|line| line.trim() != mark).skip(1);
    rows.take_while(|line| !line.starts_with("## "))
        .filter_map(|line| Some(line.strip_prefix("| [`")?.split_once('`')?.0.to_owned()))
        .collect()
}

fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|e| Failure::io(format!("cannot read {}", path.display()), &e))
}

fn folders(path: &Path) -> Outcome<Vec<String>> {
    let fail = |e| Failure::io(format!("cannot read {}", path.display()), &e);
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    /// A house of one core, a block and two families; `extra` are more lines of the first family's manifest.
    fn house(scratch: &tempfile::TempDir, extra: &str) -> Outcome<House> {
        let root = scratch.path();
        write(
            &root.join(PLAN),
            "## Blocks\n\n| plugin | what |\n|---|---|\n| [`a`](a) | block |\n\n## Families\n\n| [`b`](b) | x |\n| [`c`](c) | y |\n",
        );
        let manifest = |place: &str, name: &str, lines: &str| {
            let text = format!("[package]\nname = \"isotropy-{name}\"\n\n[dependencies]\n{lines}");
            write(&root.join(place).join("Cargo.toml"), &text);
        };
        let core = "isotropy-core.workspace = true\n";
        manifest("core", "core", "serde.workspace = true\n");
        manifest("plugins/a", "a", core);
        manifest("plugins/b", "b", &format!("isotropy-a.workspace = true\n{core}{extra}"));
        manifest("plugins/c", "c", &format!("{core}isotropy-a = {{ path = \"../a\" }}\n"));
        let all = "isotropy-b.workspace = true\nisotropy-c.workspace = true\n";
        manifest("runners/runner", "runner", all);
        House::read(root)
    }

    #[test]
    fn families_import_blocks_and_never_one_another() {
        let house = House::read(&root()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(house.forbidden(), Vec::<String>::new());
        let count = |layer| house.crates.iter().filter(|c| c.layer == layer).count();
        assert!(count(Layer::Block) >= 6 && count(Layer::Family) >= 5);
    }

    #[test]
    fn an_import_against_the_plan_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(house(&scratch, "").expect("a house").forbidden().is_empty());
        let sister = house(&scratch, "isotropy-c.workspace = true\n").expect("a house");
        assert_eq!(sister.forbidden(), ["b (families) imports c (families)"]);
        assert!(sister.drawing().is_err());
        let tests = "\n[dev-dependencies]\nisotropy-c.workspace = true\n";
        assert_eq!(house(&scratch, tests).expect("a house").forbidden().len(), 1);
        let up = "isotropy-b.workspace = true\n";
        let manifest = scratch.path().join("plugins/a/Cargo.toml");
        house(&scratch, "").expect("a house");
        write(&manifest, &format!("[package]\nname = \"isotropy-a\"\n[dependencies]\n{up}"));
        let house = House::read(scratch.path()).expect("a house");
        assert_eq!(house.forbidden(), ["a (blocks) imports b (families)"]);
    }

    #[test]
    fn plugins_and_the_lines_about_them_are_the_same() {
        let scratch = tempfile::tempdir().unwrap();
        house(&scratch, "").expect("a house");
        let manifest = "[package]\nname = \"isotropy-d\"\n";
        write(&scratch.path().join("plugins/d/Cargo.toml"), manifest);
        let missing = House::read(scratch.path()).err().expect("no line").to_string();
        assert!(missing.contains("no line for plugins/d"), "{missing}");
        fs::remove_dir_all(scratch.path().join("plugins/d")).expect("a folder");
        fs::remove_dir_all(scratch.path().join("plugins/c")).expect("a folder");
        let gone = House::read(scratch.path()).err().expect("no folder").to_string();
        assert!(gone.contains("`c`, which is no plugin"), "{gone}");
    }

    #[test]
    fn imports_that_follow_from_others_and_those_of_tests_are_not_drawn() {
        let scratch = tempfile::tempdir().unwrap();
        let house = house(&scratch, "[dev-dependencies]\nisotropy-runner.workspace = true\n");
        let house = house.expect("a house");
        let names = |of: &[usize]| {
            of.iter().map(|k| house.crates[*k].name.as_str()).collect::<Vec<_>>().join(" ")
        };
        let reduced = house.reduced();
        let of = |name: &str| {
            let k = house.crates.iter().position(|c| c.name == name).expect("a crate");
            names(&reduced[k])
        };
        assert_eq!((of("a").as_str(), of("b").as_str(), of("c").as_str()), ("core", "a", "a"));
        assert_eq!(of("runner"), "b c");
    }

    #[test]
    fn every_plugin_has_configurations_and_a_page_under_its_name() {
        let root = root();
        let plan = read(&root.join(PLAN)).expect("the plan");
        let families = listed(&plan, "Families");
        for name in listed(&plan, "Blocks").iter().chain(&families) {
            let page = root.join(format!("docs/src/plugins/{name}.md"));
            assert!(page.is_file(), "{}", page.display());
        }
        for name in &families {
            assert!(root.join("configs").join(name).is_dir(), "configs/{name}");
        }
        let readme = read(&root.join("README.md")).expect("a page");
        for name in folders(&root.join("plugins")).expect("a folder") {
            assert!(readme.contains(&format!("`plugins/{name}`")), "README.md: plugins/{name}");
        }
    }
}
