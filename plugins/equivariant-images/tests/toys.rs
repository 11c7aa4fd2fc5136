//! Pictures that are drawn by rule.

#![allow(clippy::unwrap_used)]

use isotropy_core::{DatasetConfig, LoadContext, Split, State, Streams, dataset};
use isotropy_equivariant_images as _;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

fn load(json: Value) -> State {
    let config: Box<dyn DatasetConfig> = serde_json::from_value(json).unwrap();
    let context = LoadContext {
        data_dir: std::path::PathBuf::new(),
        kind: Kind::Float,
        device: Device::Cpu,
        streams: Streams::new(5),
    };
    let loaded = config.load(&context).unwrap();
    dataset::first(loaded.as_ref(), Split::Test, i64::MAX, &Streams::new(0)).unwrap()
}

#[test]
fn toys_are_drawn_by_their_rules() {
    let white = |x: &Tensor| x.gt(0.0).sum(Kind::Float).double_value(&[]);
    let upright = load(json!({"type": "toy-images", "count": 5}));
    // 7 x 14 and 7 x 7 pixels.
    assert_eq!(white(upright.x()), 5.0 * 147.0);
    assert_eq!(upright.x().double_value(&[0, 0, 0, 0]), 1.0);
    assert_eq!(upright.x().double_value(&[0, 0, 0, 7]), -1.0);
    let turned = load(json!({"type": "toy-images", "count": 5, "quarter_turns": 1}));
    assert_eq!(*turned.x(), upright.x().rot90(1, [-2, -1]));
    let grey = load(json!({"type": "toy-images", "image": "checkerboard", "count": 300}));
    let bytes = (grey.x().flatten(1, -1).amax(1, false) + 1.0) * 127.5;
    let (low, high) = (bytes.min().double_value(&[]), bytes.max().double_value(&[]));
    assert!((177.9..185.0).contains(&low) && (248.0..254.1).contains(&high), "{low} {high}");
    assert_eq!(white(grey.x()), 300.0 * 392.0);
    let random = load(json!({"type": "toy-images", "count": 64, "quarter_turns": null}));
    let kinds = (0..4).filter(|&k| {
        let one = upright.x().get(0).rot90(k, [-2, -1]);
        (0..64).any(|row| random.x().get(row) == one)
    });
    assert_eq!(kinds.count(), 4);
}
