//! What checks share, and what the tests of a plugin may use: kinds, tolerances, error measures, and
//! the table of results.

use super::CheckResult;
use crate::panics::first_line;
use isotropy_core::{Element, Error, Result, State, Streams, Xi};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tch::{Device, Kind, Tensor};

/// The kinds that everything is checked in, with the name that the table shows.
pub const KINDS: [(Kind, &str); 2] = [(Kind::Double, "f64"), (Kind::Float, "f32")];

/// What rounding may do to a quantity of size 1 in a few operations.
pub fn exact(kind: Kind) -> f64 {
    if kind == Kind::Double { 1e-11 } else { 5e-5 }
}

/// Options on the CPU.
pub fn cpu(kind: Kind) -> (Kind, Device) {
    (kind, Device::Cpu)
}

/// What a check found.
pub enum Found {
    /// An error and what is allowed.
    Error(f64, f64),
    /// The same, and which part of the question it does not answer.
    Partly(f64, f64, String),
    /// It does not apply.
    Skip(String),
}

/// The results so far.
#[derive(Default)]
pub struct Table {
    /// What came out, in order.
    pub results: Vec<CheckResult>,
    /// Run only checks whose names start like this.
    pub only: Option<String>,
}

impl Table {
    /// Runs one check. Errors and panics (libtorch's among them) are failures of that check alone.
    pub fn check(&mut self, name: &str, f: impl FnOnce() -> Result<Found>) {
        if self.only.as_ref().is_some_and(|only| !name.starts_with(only.as_str())) {
            return;
        }
        self.results.push(match catch_unwind(AssertUnwindSafe(f)) {
            Ok(Ok(Found::Error(error, tolerance))) => CheckResult::compare(name, error, tolerance),
            Ok(Ok(Found::Partly(error, tolerance, left_out))) => {
                CheckResult::compare(name, error, tolerance).with_note(&left_out)
            }
            Ok(Ok(Found::Skip(why))) => CheckResult::skip(name, why),
            Ok(Err(error)) => CheckResult::fail(name, error.to_string()),
            Err(panic) => {
                CheckResult::fail(name, format!("it panicked: {}", first_line(panic.as_ref())))
            }
        });
    }

    /// As [`Table::check`], with the name of the kind behind the check's.
    pub fn check_in(&mut self, name: &str, label: &str, f: impl FnOnce() -> Result<Found>) {
        self.check(&format!("{name} ({label})"), f);
    }
}

/// A failure of the component, without a number.
pub fn broken<T>(why: impl Into<String>) -> Result<T> {
    Err(Error::Other(why.into()))
}

/// The largest modulus, as NaN where there is one; 0 for no numbers.
pub fn largest(a: &Tensor) -> f64 {
    if a.numel() == 0 { 0.0 } else { a.to_kind(Kind::Double).abs().max().double_value(&[]) }
}

/// `max |a - b| / (1 + max |b|)`; infinite when the shapes differ.
pub fn relative(a: &Tensor, b: &Tensor) -> f64 {
    if a.size() != b.size() {
        return f64::INFINITY;
    }
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    largest(&(a - &b)) / (1.0 + largest(&b))
}

/// The larger of two errors; NaN wins.
pub fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// [`relative`] over all factors.
pub fn relative_xi(a: &Xi, b: &Xi) -> f64 {
    if a.0.len() != b.0.len() {
        return f64::INFINITY;
    }
    a.0.iter().zip(&b.0).map(|(a, b)| relative(a, b)).fold(0.0, worse)
}

/// [`relative`] over value, lift and context; fields for which `skip` holds are left out. Fields
/// that only one of the states has make the error infinite.
pub fn relative_state(a: &State, b: &State, skip: impl Fn(&isotropy_core::Field) -> bool) -> f64 {
    let mut error = relative(a.x(), b.x());
    for (left, right) in [(&a.lift, &b.lift), (&a.context, &b.context)] {
        if left.len() != right.len() {
            return f64::INFINITY;
        }
        for ((name_a, field_a), (name_b, field_b)) in left.iter().zip(right) {
            if name_a != name_b {
                return f64::INFINITY;
            }
            if !skip(field_a) {
                error = worse(error, relative(&field_a.tensor, &field_b.tensor));
            }
        }
    }
    error
}

/// The same row `0` for every element of the first axis.
pub fn repeat_first(a: &Element) -> Element {
    let rows = |t: &Tensor| Tensor::zeros([t.size()[0]], (Kind::Int64, t.device()));
    Element(a.0.iter().map(|t| t.index_select(0, &rows(t))).collect())
}

/// `sum(a b)` over everything, for tensors of one shape.
pub fn dot(a: &Tensor, b: &Tensor) -> Tensor {
    (a * b).sum(a.kind())
}

/// What single precision may cost a quantity of size 1 that is computed with care.
pub const PRECISION: f64 = 1e-4;

/// A state in single precision and back.
pub fn rounded(state: &State) -> State {
    state.to(Kind::Float, state.options().1)
}

/// A normal tensor of the shape of another.
pub fn normal_like(like: &Tensor, streams: &Streams, name: &str) -> Tensor {
    let mut stream = streams.stream(&format!("conformance/{name}"), 3);
    stream.normal(&like.size(), (like.kind(), like.device()))
}
