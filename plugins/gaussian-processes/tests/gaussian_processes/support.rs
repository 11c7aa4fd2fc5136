//! Fields and processes on them, for the tests of this crate and of the fields built on it.

use isotropy_core::{
    Field, Moves, NoisingProcess, ProcessConfig, RepresentationConfig, State, Streams,
};
use isotropy_groups as _;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// Double precision on the CPU.
pub const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

/// The streams of all tests.
pub fn streams() -> Streams {
    Streams::new(5)
}

/// Standard normal numbers.
pub fn random(name: &str, shape: &[i64]) -> Tensor {
    streams().stream(name, 0).normal(shape, F64)
}

/// The number of a tensor with one.
pub fn number(tensor: &Tensor) -> f64 {
    tensor.to_kind(Kind::Double).double_value(&[])
}

/// Functions with random values of `d` components at random points of `p` coordinates.
pub fn fields(name: &str, batch: i64, points: i64, d: i64, p: i64) -> State {
    let moves = if d == p && d > 1 { Moves::Vector } else { Moves::Scalar };
    let index = random(&format!("{name} index"), &[batch, points, p]) * 1.5;
    State::new(Field::new(random(name, &[batch, points, d]), moves).indexed(1))
        .with_context(State::INDEX, Field::new(index, Moves::Point).indexed(1))
}

/// The drive of fields.
pub fn drive() -> std::sync::Arc<dyn isotropy_core::Representation> {
    let config: Box<dyn RepresentationConfig> =
        serde_json::from_value(json!({"type": "translations"})).unwrap();
    config.build().unwrap()
}

/// A process on fields.
pub fn process_on(config: Value) -> Box<dyn NoisingProcess> {
    let config: Box<dyn ProcessConfig> = serde_json::from_value(config).unwrap();
    config.build(drive()).unwrap()
}
