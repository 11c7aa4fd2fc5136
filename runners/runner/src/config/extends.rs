//! Reads a configuration file together with the files that it extends, and joins them.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnose::{Diagnostic, Label};
use super::parse;
use super::source::{Source, Span};
use super::suggest;
use super::tree::{Member, Node, Value};

/// Larger files are refused before they are read, in bytes.
pub const MAX_BYTES: u64 = 1_000_000;

/// A chain of files that extend each other may be this long.
const LONGEST_CHAIN: usize = 32;

/// The path that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// The name of the field that names the extended file.
const EXTENDS: &str = "extends";

/// A configuration joined with everything that it extends.
pub(crate) struct Chain {
    /// The joined tree without `extends`; `None` if a file of the chain cannot be read.
    pub root: Option<Node>,
    /// The files that were read, the configuration first.
    pub files: Vec<PathBuf>,
    /// What was wrong with any of them.
    pub problems: Vec<Diagnostic>,
}

/// Reads `path` and the chain of files above it; `first_order` sorts these files among all sources.
pub(crate) fn read_chain(path: &Path, first_order: usize) -> Chain {
    chain_from(path, read_file(path, first_order), first_order)
}

/// The chain of files above one that has been read: a pipe gives its text once.
pub(crate) fn chain_above(path: &Path, source: Arc<Source>, first_order: usize) -> Chain {
    chain_from(path, Ok(source), first_order)
}

fn chain_from(path: &Path, first: Result<Arc<Source>, Unread>, first_order: usize) -> Chain {
    let mut first = Some(first);
    let mut chain = Chain { root: None, files: Vec::new(), problems: Vec::new() };
    let mut trees: Vec<Node> = Vec::new();
    let mut identities: Vec<PathBuf> = Vec::new();
    let mut links: Vec<Span> = Vec::new();
    let mut next = Some(path.to_path_buf());
    let mut complete = true;
    while let Some(path) = next.take() {
        let order = first_order + chain.files.len();
        let from = links.last();
        identities.push(path.canonicalize().unwrap_or_else(|_| path.clone()));
        let read = first.take().unwrap_or_else(|| read_file(&path, order));
        let source = match read {
            Ok(source) => source,
            Err((unread, message, help)) => {
                chain.problems.push(unreadable(&path, &unread, &message, help, from));
                complete = false;
                break;
            }
        };
        chain.files.push(path.clone());
        let parsed = parse::parse(&source);
        for mut problem in parsed.problems {
            if let Some(from) = from {
                problem
                    .add_help(&format!("this file is read because {} extends it", from.location()));
            }
            chain.problems.push(problem);
        }
        let Some(mut tree) = parsed.root else {
            complete = false;
            break;
        };
        if !matches!(tree.value, Value::Object(_)) {
            let message =
                format!("a configuration must be an object in braces, found {}", tree.describe());
            chain.problems.push(Diagnostic::new(tree.mark(), message));
            complete = false;
            break;
        }
        match take_extends(&mut tree, &path) {
            Ok(None) => {}
            Ok(Some((parent, link))) => {
                let identity = parent.canonicalize().unwrap_or_else(|_| parent.clone());
                if let Some(at) = identities.iter().position(|known| *known == identity) {
                    chain.problems.push(cycle(&chain.files[at..], &parent, &link, &links[at..]));
                    complete = false;
                } else if chain.files.len() >= LONGEST_CHAIN {
                    let message = format!("more than {LONGEST_CHAIN} files extend each other");
                    chain.problems.push(Diagnostic::new(link, message));
                    complete = false;
                } else {
                    next = Some(parent);
                    links.push(link);
                }
            }
            Err(problem) => {
                chain.problems.push(problem);
                complete = false;
            }
        }
        trees.push(tree);
    }
    if complete {
        chain.root = trees.into_iter().rev().reduce(merge);
    }
    chain
}

/// Removes the field `extends`; the file it names, relative to the folder of `path`, and where it is named.
fn take_extends(tree: &mut Node, path: &Path) -> Result<Option<(PathBuf, Span)>, Diagnostic> {
    let Value::Object(members) = &mut tree.value else { return Ok(None) };
    let Some(at) = members.iter().position(|member| member.key == EXTENDS) else { return Ok(None) };
    let node = members.remove(at).node;
    match &node.value {
        Value::Invalid => Ok(None),
        Value::String(name) if !name.is_empty() && !name.contains('\0') => {
            Ok(Some((folder_of(path).join(name), node.origin)))
        }
        _ => {
            let message =
                format!("`extends` must be the path of a file, found {}", node.describe());
            let help = "write \"extends\": \"other.json\", relative to the folder of this file";
            Err(Diagnostic::new(node.mark(), message).with_help(help))
        }
    }
}

fn cycle(files: &[PathBuf], parent: &Path, link: &Span, links: &[Span]) -> Diagnostic {
    let names: Vec<String> = files
        .iter()
        .map(PathBuf::as_path)
        .chain([parent])
        .map(|file| file.display().to_string())
        .collect();
    let message = match names.as_slice() {
        [_, _] => format!("{} extends itself", link.source.name()),
        _ => format!("these files extend each other in a circle: {}", names.join(" -> ")),
    };
    let mut diagnostic = Diagnostic::new(link.clone(), message).with_help("remove one `extends`");
    diagnostic.labels =
        links.iter().map(|l| Label { span: l.clone(), text: "extended here".into() }).collect();
    diagnostic
}

/// The message for a file that could not be read, shown at the `extends` that names it, if one does.
fn unreadable(
    path: &Path,
    unread: &Arc<Source>,
    message: &str,
    help: Option<String>,
    from: Option<&Span>,
) -> Diagnostic {
    // Where the text is at hand (bytes that are not UTF-8) its own position says more than the parent's.
    let mut diagnostic = match from {
        Some(link) if unread.text().is_empty() => {
            Diagnostic::new(link.clone(), format!("cannot extend {}: {message}", path.display()))
        }
        _ => Diagnostic::new(
            Span::beginning(unread),
            format!("cannot read {}: {message}", path.display()),
        ),
    };
    if !unread.text().is_empty() {
        let at = unread.text().find(char::REPLACEMENT_CHARACTER).unwrap_or(0);
        diagnostic.origin = Span::new(unread, at, at + char::REPLACEMENT_CHARACTER.len_utf8());
    }
    diagnostic.help = help;
    diagnostic
}

/// The folder that relative paths in a configuration start from. What comes through standard input
/// or a pipe of the shell has none of its own, so there they start at the shell's folder.
pub(crate) fn folder_of(path: &Path) -> &Path {
    let piped = path == Path::new(STANDARD_INPUT)
        || ["/dev", "/proc"].iter().any(|folder| path.starts_with(folder));
    match path.parent() {
        Some(parent) if !piped => parent,
        _ => Path::new(""),
    }
}

/// Reads one file without what it extends; `order` sorts it among all sources.
///
/// # Errors
/// The diagnostic of a file that cannot be read.
pub(crate) fn read_source(path: &Path, order: usize) -> Result<Arc<Source>, Diagnostic> {
    read_file(path, order)
        .map_err(|(unread, message, help)| unreadable(path, &unread, &message, help, None))
}

type Unread = (Arc<Source>, String, Option<String>);

/// The text of a file, or a source for its name, why it cannot be read, and what may help.
fn read_file(path: &Path, order: usize) -> Result<Arc<Source>, Unread> {
    let name = path.display().to_string();
    let fail = |message: String, help: Option<String>| {
        (Source::file(name.clone(), "", order), message, help)
    };
    let too_large = |size: String| {
        let help = "give the path of the JSON file that describes the experiment; data belong into files of their own";
        fail(
            format!("{size}, and a configuration may have {MAX_BYTES} bytes at most"),
            Some(help.into()),
        )
    };
    let of_io = |error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => fail("there is no such file".into(), neighbour(path)),
        std::io::ErrorKind::PermissionDenied => fail("permission denied".into(), None),
        _ => fail(error.to_string(), None),
    };
    let mut bytes = Vec::new();
    // Pipes and devices have no length to ask for, so the limit is kept while reading too.
    if path == Path::new(STANDARD_INPUT) {
        let input = std::io::stdin().lock();
        input.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| of_io(&error))?;
    } else {
        let metadata = std::fs::metadata(path).map_err(|error| of_io(&error))?;
        if metadata.is_dir() {
            return Err(fail("it is a folder, not a file".into(), None));
        }
        if metadata.len() > MAX_BYTES {
            return Err(too_large(format!("the file has {} bytes", metadata.len())));
        }
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| of_io(&error))?;
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(too_large("the file is too large".into()));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source::file(name, text, order)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            let wide = bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]);
            let help =
                if wide { "it looks like UTF-16: save it as UTF-8" } else { "save it as UTF-8" };
            let message = format!("byte {} is not UTF-8 text", at + 1);
            // The first replacement character marks the place, so earlier ones (valid U+FFFD) must not be there.
            let valid =
                String::from_utf8_lossy(&bytes[..at]).replace(char::REPLACEMENT_CHARACTER, "?");
            let text = valid + &String::from_utf8_lossy(&bytes[at..]);
            Err((Source::file(name, text, order), message, Some(help.into())))
        }
    }
}

/// The file in the same folder whose name is nearest to that of a file that does not exist.
fn neighbour(path: &Path) -> Option<String> {
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Some(format!("the folder {} cannot be read", folder.display()));
    };
    let names: Vec<String> = entries
        .take(1000)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "json"))
        .collect();
    let near = suggest::nearest(path.file_name()?.to_str()?, names.iter().map(String::as_str))?;
    Some(format!("did you mean {}?", path.with_file_name(near).display()))
}

/// The parent with everything that the child says put over it.
///
/// Objects are joined field by field, everything else is replaced. An object whose `"type"` differs from the parent's
/// is another component, so it replaces the parent's whole.
fn merge(parent: Node, child: Node) -> Node {
    let (mut members, ours) = match (parent.value, child.value) {
        (Value::Object(theirs), Value::Object(ours)) if !other_type(&theirs, &ours) => {
            (theirs, ours)
        }
        (_, value) => return Node { value, origin: child.origin },
    };
    let mut places: HashMap<String, usize> =
        members.iter().enumerate().map(|(i, member)| (member.key.clone(), i)).collect();
    for member in ours {
        match places.get(&member.key) {
            Some(&i) => {
                let null = Node { value: Value::Null, origin: member.node.origin.clone() };
                let old = std::mem::replace(&mut members[i].node, null);
                members[i].node = merge(old, member.node);
                members[i].key_origin = member.key_origin;
            }
            None => {
                places.insert(member.key.clone(), members.len());
                members.push(member);
            }
        }
    }
    Node { value: Value::Object(members), origin: child.origin }
}

/// Whether both have a `"type"` and the two differ.
fn other_type(parent: &[Member], child: &[Member]) -> bool {
    let tag = |members: &[Member]| {
        members.iter().find(|m| m.key == "type").and_then(|m| m.node.as_str().map(str::to_owned))
    };
    matches!((tag(parent), tag(child)), (Some(a), Some(b)) if a != b)
}
