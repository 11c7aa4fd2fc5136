//! One case of a golden file: its numbers, and the comparison with its own tolerance.

use isotropy_core::{Field, Moves, State};
use serde_json::Value;
use tch::Tensor;

/// One case: inputs, outputs and a tolerance.
pub struct Case<'a>(pub &'a Value);

impl Case<'_> {
    /// The kind of case.
    pub fn kind(&self) -> &str {
        self.0["kind"].as_str().expect("a case has a kind")
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
        tensor(&self.0[key])
    }

    /// Compares with the case's own tolerance.
    #[track_caller]
    pub fn assert_close(&self, key: &str, found: &Tensor) {
        let tolerance = &self.0["tolerance"];
        let of = |name: &str| tolerance[name].as_f64().unwrap_or(0.0);
        self.assert_within(key, found, of("rtol"), of("atol"));
    }

    /// Compares with a given tolerance.
    #[track_caller]
    pub fn assert_within(&self, key: &str, found: &Tensor, rtol: f64, atol: f64) {
        let expected = self.tensor(key).broadcast_to(found.size());
        let excess = (found - &expected).abs() - expected.abs() * rtol - atol;
        let worst = excess.max().double_value(&[]);
        assert!(
            worst <= 0.0,
            "{key}: off by {worst:e} too much\nfound {found:?}\n{found}\nexpected\n{expected}"
        );
    }

    /// Points as a state.
    pub fn state(&self, key: &str) -> State {
        State::new(Field::new(self.tensor(key), Moves::Point))
    }
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
        inner = &list[0];
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
