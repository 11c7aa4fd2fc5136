//! Random mutations of configurations, and damage to files.

use serde_json::{Map, Number, Value};
use std::path::{Path, PathBuf};

/// A small generator (splitmix64; Steele, Lea and Flood 2014), so that a failure can be repeated
/// from its number.
pub struct Random(pub u64);

impl Random {
    /// 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// One to four edits of the bytes.
pub fn mutate_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    let pieces: [&[u8]; 10] =
        [b"{", b"}", b"[", b"]", b",", b":", b"\"", b"1e999", b"null", b"\xff"];
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] = random.next() as u8,
            1 => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            3 => drop(bytes.splice(at..at, pieces[random.below(pieces.len())].iter().copied())),
            _ => {
                let end = (at + random.below(60)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                drop(bytes.splice(to..to, copy));
            }
        }
    }
}

/// Pointers of all values, the root first.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_string());
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(member, &format!("{at}/{name}"), all);
            }
        }
        Value::Array(items) => {
            for (k, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{k}"), all);
            }
        }
        _ => {}
    }
}

fn any_pointer(value: &Value, random: &mut Random) -> String {
    let mut all = Vec::new();
    pointers(value, "", &mut all);
    all.swap_remove(random.below(all.len()))
}

/// One to three edits of the values, some of them with parts of another configuration.
pub fn mutate_value(value: &mut Value, other: &Value, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let pointer = any_pointer(value, random);
        let new = match random.below(12) {
            0 => Value::Null,
            1 => Value::Bool(random.below(2) == 0),
            2 => Value::Array(Vec::new()),
            3 => Value::Object(Map::new()),
            4 => Value::String(word(random)),
            5..=7 => number(random),
            // The same place in another configuration, or any of its parts.
            8 => other.pointer(&pointer).cloned().unwrap_or(Value::Null),
            9 => other.pointer(&any_pointer(other, random)).cloned().unwrap_or(Value::Null),
            10 => value.pointer(&any_pointer(value, random)).cloned().unwrap_or(Value::Null),
            _ => {
                remove(value, &pointer);
                continue;
            }
        };
        if let Some(place) = value.pointer_mut(&pointer) {
            *place = match (random.below(4), place.clone()) {
                (0, Value::Array(mut items)) => {
                    items.push(new);
                    Value::Array(items)
                }
                _ => new,
            };
        }
    }
}

/// Puts components of another configuration in the place of its own, and changes a number or two a
/// little: what a schema lets through.
pub fn recombine(value: &mut Value, other: &Value, random: &mut Random) {
    let places = [
        "/sampler",
        "/process",
        "/drive",
        "/symmetry",
        "/model",
        "/objective",
        "/dataset",
        "/process/schedule",
        "/model/inner",
        "/evaluate/metrics",
        "/evaluate/plots",
        "/train",
        "/sampling",
        "/kind",
        "/process/kernel",
    ];
    for _ in 0..random.below(3) {
        let place = places[random.below(places.len())];
        if let (Some(own), Some(new)) = (value.pointer_mut(place), other.pointer(place)) {
            *own = new.clone();
        }
    }
    let mut all = Vec::new();
    pointers(value, "", &mut all);
    all.retain(|pointer| value.pointer(pointer).is_some_and(Value::is_number));
    for _ in 0..=random.below(2) {
        let Some(place) = value.pointer_mut(&all[random.below(all.len())]) else { return };
        let whole = place.as_i64();
        let real = place.as_f64().unwrap_or(1.0);
        *place = match (random.below(4), whole) {
            (0, Some(n)) => Value::from(n.saturating_add(1)),
            (1, Some(n)) => Value::from(n / 2),
            (2, Some(n)) => Value::from((n * 3).min(1000)),
            (_, Some(_)) => Value::from(random.below(4)),
            (0, None) => Value::from(real * 0.5),
            (1, None) => Value::from(real * 3.0),
            (_, None) => Value::from(real + 0.125),
        };
    }
}

fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    match value.pointer_mut(parent) {
        Some(Value::Object(members)) => drop(members.remove(name)),
        Some(Value::Array(items)) => {
            if let Ok(k) = name.parse::<usize>() {
                items.remove(k);
            }
        }
        _ => {}
    }
}

fn word(random: &mut Random) -> String {
    let words = ["", " ", "x", "nan", "../x", "/", "\0", "auto", "translations", "vp", "\u{feff}"];
    match random.below(words.len() + 1) {
        k if k < words.len() => words[k].to_string(),
        _ => "x".repeat(5000),
    }
}

fn number(random: &mut Random) -> Value {
    let whole = [0, -1, 1, 2, 3, 7, 100, 65_537, 1 << 31, 1 << 53, i64::MAX, i64::MIN];
    let real = [0.5, -0.0, 1e-300, 1e300, -1.5, 0.999_999_999, 1e-9, 3.7];
    match random.below(2) {
        0 => Value::from(whole[random.below(whole.len())]),
        _ => Number::from_f64(real[random.below(real.len())]).map_or(Value::Null, Value::Number),
    }
}

/// Damages a file in one of the ways that disks, copies and people do, and says which.
pub fn damage(path: &Path, random: &mut Random) -> &'static str {
    let mut bytes = std::fs::read(path).unwrap();
    let how = match random.below(7) {
        0 => {
            std::fs::remove_file(path).unwrap();
            return "is missing";
        }
        1 => {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
            return "is a folder";
        }
        2 => {
            bytes.clear();
            "is empty"
        }
        3 => {
            bytes.truncate(random.below(bytes.len()));
            "is cut short"
        }
        4 => {
            bytes.extend_from_slice(b"\0\0garbage");
            "has a tail"
        }
        5 => {
            let at = random.below(bytes.len());
            let end = (at + 1 + random.below(32)).min(bytes.len());
            bytes[at..end].fill(0);
            "has zeros"
        }
        _ => {
            mutate_bytes(&mut bytes, random);
            "has other bytes"
        }
    };
    std::fs::write(path, bytes).unwrap();
    how
}

/// All files below a folder, by their names in it.
pub fn files_of(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(inner) = folders.pop() {
        for entry in std::fs::read_dir(folder.join(&inner)).unwrap().map(Result::unwrap) {
            let name = inner.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() { folders.push(name) } else { files.push(name) }
        }
    }
    files.sort();
    files
}

/// Copies a folder with everything in it.
pub fn copy(from: &Path, to: &Path) {
    for name in files_of(from) {
        let target = to.join(&name);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(from.join(&name), target).unwrap();
    }
}

/// Memory that this process may take: what asks for more fails in place of taking the machine.
pub fn limit_memory(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: `limit` outlives the call, which only reads it.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
}
