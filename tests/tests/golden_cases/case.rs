//! The files of golden vectors, and one case: its numbers, and the comparison with its own
//! tolerance.

use isotropy_core::{Field, Moves, State};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tch::Tensor;

/// The folder that `ISOTROPY_GOLDEN` names, else the repository's.
pub fn folder() -> PathBuf {
    std::env::var_os("ISOTROPY_GOLDEN").map_or_else(own_folder, PathBuf::from)
}

/// The repository's folder.
pub fn own_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// All cases of a folder, with the name of their file.
pub fn cases(folder: &Path) -> Vec<(String, Value)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
        let mut json: Value =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        match json["cases"].take() {
            Value::Array(cases) => all.extend(cases.into_iter().map(|case| (file.clone(), case))),
            _ => panic!("{}: no list `cases`", path.display()),
        }
    }
    assert!(!all.is_empty(), "no golden cases in {}", folder.display());
    all
}

/// One case: inputs, outputs and a tolerance.
pub struct Case<'a>(pub &'a Value);

impl<'a> Case<'a> {
    /// The kind of case.
    pub fn kind(&self) -> &'a str {
        self.0["kind"].as_str().expect("a case has a kind")
    }

    /// A text of the case; empty where it has none of that name.
    pub fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    /// Everything that the case says of itself in words.
    pub fn words(&self) -> String {
        ["schedule", "name", "description", "notes", "note", "setup", "args"]
            .map(|key| self.text(key))
            .join("; ")
    }

    /// Whether the case has that key.
    pub fn has(&self, key: &str) -> bool {
        !self.0[key].is_null()
    }

    /// A number.
    pub fn number(&self, key: &str) -> f64 {
        self.0[key].as_f64().unwrap_or_else(|| panic!("{key} is no number"))
    }

    /// Nested lists of numbers.
    pub fn tensor(&self, key: &str) -> Tensor {
        assert!(self.has(key), "the case has no {key}");
        tensor(&self.0[key])
    }

    /// `expected` as a case of its own, under the same tolerance.
    pub fn expected(&self) -> Value {
        let mut inner = self.0["expected"].clone();
        inner["tolerance"] = self.0["tolerance"].clone();
        inner
    }

    /// Compares with the case's own tolerance.
    #[track_caller]
    pub fn assert_close(&self, key: &str, found: &Tensor) {
        let (rtol, atol) = self.tolerance();
        self.assert_within(key, found, rtol, atol);
    }

    /// The case's own tolerance, relative and absolute.
    pub fn tolerance(&self) -> (f64, f64) {
        let of = |name: &str| self.0["tolerance"][name].as_f64().unwrap_or(0.0);
        (of("rtol"), of("atol"))
    }

    /// Compares with a given tolerance.
    #[track_caller]
    pub fn assert_within(&self, key: &str, found: &Tensor, rtol: f64, atol: f64) {
        let expected = self.tensor(key).broadcast_to(found.size());
        let worst = excess(found, &expected, rtol, atol);
        assert!(
            worst <= 0.0,
            "{key}: off by {worst:e} too much\nfound {found:?}\n{found}\nexpected\n{expected}"
        );
    }

    /// Points as a state.
    pub fn state(&self, key: &str) -> State {
        State::new(Field::new(self.tensor(key), Moves::Point))
    }

    /// Those of `candidates` that the case names in its words, else all: a case that doesn't say
    /// which it is of has to agree with one of them.
    pub fn named<'n>(&self, candidates: &[(&'n str, &'n str)]) -> Vec<&'n str> {
        let words = self.words();
        let says = |word: &str| super::words::says(&words, word);
        // The longest word wins: `linear-time` is not `linear`.
        let longest =
            candidates.iter().filter(|(word, _)| says(word)).max_by_key(|(word, _)| word.len());
        match longest {
            Some((_, meaning)) => vec![meaning],
            None => candidates.iter().map(|(_, meaning)| *meaning).collect(),
        }
    }
}

/// By how much the worst number is further off than allowed; NaN where one is NaN.
pub fn excess(found: &Tensor, expected: &Tensor, rtol: f64, atol: f64) -> f64 {
    ((found - expected).abs() - expected.abs() * rtol - atol).max().double_value(&[])
}

/// Nested lists as a tensor in double precision, or `{shape, data}`.
pub fn tensor(value: &Value) -> Tensor {
    if let (Some(shape), Some(data)) = (value.get("shape"), value.get("data")) {
        let shape: Vec<i64> = serde_json::from_value(shape.clone()).unwrap();
        let data: Vec<f64> = serde_json::from_value(data.clone()).unwrap();
        return Tensor::from_slice(&data).view(shape.as_slice());
    }
    let (mut shape, mut inner) = (Vec::new(), value);
    while let Some(list) = inner.as_array() {
        shape.push(list.len() as i64);
        let Some(first) = list.first() else { break };
        inner = first;
    }
    pub fn numbers(value: &Value, into: &mut Vec<f64>) {
        match value.as_array() {
            Some(list) => list.iter().for_each(|value| numbers(value, into)),
            None => into.push(value.as_f64().expect("a list of numbers")),
        }
    }
    let mut flat = Vec::new();
    numbers(value, &mut flat);
    Tensor::from_slice(&flat).view(shape.as_slice())
}
