//! A check of the book: what its pages point at is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file below a folder that ends like this.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The pages: the book, and what stands beside it.
fn pages() -> Vec<PathBuf> {
    let root = root();
    let mut pages = files(&root.join("docs/src"), ".md");
    pages.extend(["README.md", "CHANGELOG.md", "plugins/README.md"].map(|name| root.join(name)));
    pages
}

/// The lines outside of blocks of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// The targets of the links of a line; what is quoted in it is none.
fn links(line: &str) -> Vec<String> {
    let words: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
    let ends =
        words.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
    ends.collect()
}

/// The anchors of a page, as mdbook and GitHub name them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let mut names = BTreeSet::new();
    for heading in headings {
        let title = heading.trim_start_matches('#').trim();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let name: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let name = name.to_lowercase();
        let again = (1..).map(|k| format!("{name}-{k}"));
        let free = std::iter::once(name.clone()).chain(again).find(|n| !names.contains(n));
        names.extend(free);
    }
    names
}

#[test]
fn every_link_leads_somewhere() {
    let (mut broken, mut count) = (Vec::new(), 0);
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        let folder = page.parent().expect("a folder");
        let included = text.split("{{#include ").skip(1).filter_map(|rest| rest.split_once("}}"));
        let included: Vec<String> = included.map(|(file, _)| file.to_owned()).collect();
        for link in prose(&text).flat_map(links).chain(included) {
            if link.contains("://") {
                continue;
            }
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.clone() } else { folder.join(file) };
            let there = if anchor.is_empty() {
                target.exists()
            } else {
                fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor))
            };
            if !there && !link.is_empty() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(count > 150, "only {count} links were found");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_configuration_that_a_page_names_is_there() {
    let (mut missing, mut count) = (Vec::new(), 0);
    // What has changed is told by old names.
    for page in pages().into_iter().filter(|page| !page.ends_with("CHANGELOG.md")) {
        let text = fs::read_to_string(&page).expect("a page");
        for rest in text.split("configs/").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"-_./".contains(c));
            let name = &rest[..end.unwrap_or(rest.len())];
            // Patterns (`fields-*.json`) and examples (`SET.json`) are no names.
            if !name.ends_with(".json") || name.chars().any(|c| c.is_ascii_uppercase()) {
                continue;
            }
            count += 1;
            let in_tests = text.contains(&format!("tests/configs/{name}"));
            let folder = if in_tests { "tests/configs" } else { "configs" };
            if !root().join(folder).join(name).is_file() {
                missing.push(format!("{}: configs/{name}", page.display()));
            }
        }
    }
    assert!(count > 30, "only {count} configurations were found");
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_page_is_in_the_summary_and_every_picture_on_a_page() {
    let source = root().join("docs/src");
    let summary = fs::read_to_string(source.join("SUMMARY.md")).expect("a page");
    let all: String = pages().iter().map(|p| fs::read_to_string(p).expect("a page")).collect();
    for page in files(&source, ".md") {
        let name = page.strip_prefix(&source).expect("it was found there").to_string_lossy();
        let part = name.ends_with("-table.md") || name == "SUMMARY.md";
        assert!(part || summary.contains(&format!("({name})")), "{name} is not in SUMMARY.md");
    }
    for picture in files(&source.join("images"), "g") {
        let name = picture.file_name().expect("a file").to_string_lossy().into_owned();
        assert!(all.contains(&format!("images/{name}")), "no page shows {name}");
    }
}

#[test]
fn what_is_no_link_is_not_followed() {
    assert_eq!(links("see [a](b.md#c) and `[x](y)` and ![p](q.png)"), ["b.md#c", "q.png"]);
    let found = anchors("# A `b`: c, d\n```\n# no\n```\n## Two\n## Two\n");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a-b-c-d", "two", "two-1"]);
}
