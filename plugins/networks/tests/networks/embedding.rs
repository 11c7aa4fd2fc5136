//! Sinusoidal embeddings; the law of first weights.

use isotropy_networks::embedding::{Layout, sinusoidal};
use isotropy_networks::layers::{Linear, Start, truncated_normal};
use tch::{Device, Kind, Tensor, nn::VarStore};

#[test]
fn an_odd_width_ends_with_zero_and_the_kind_follows_the_times() {
    let t = Tensor::from_slice(&[0.3f32, 0.9]);
    let odd = sinusoidal(&t, 7, 1e4, Layout::SinCos);
    assert_eq!(odd.size(), [2, 7]);
    assert_eq!(odd.kind(), Kind::Float);
    assert_eq!(odd.select(1, 6).abs().max().double_value(&[]), 0.0);
    let whole = sinusoidal(&Tensor::from_slice(&[3i64]), 6, 1e4, Layout::CosSin);
    assert!((whole.double_value(&[0, 0]) - 3f64.cos()).abs() < 1e-6);
}

#[test]
fn truncated_normal_weights_have_the_law_of_the_name() {
    let store = VarStore::new(Device::Cpu);
    let w = isotropy_core::Streams::new(1)
        .scope("weights", 0, || truncated_normal(&store.root(), "w", &[400, 1000], 0.1));
    // Within two standard deviations, and reaching them; variance of the cut law: 1 - 2 * 2 phi(2) / P(|z| < 2).
    let density = (-2f64).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let variance = 1.0 - 4.0 * density / 0.954_499_736_1;
    let largest = w.abs().max().double_value(&[]);
    assert!(largest <= 0.2000001 && largest > 0.1999, "{largest}");
    let std = w.to_kind(Kind::Double).std(true).double_value(&[]) / 0.1;
    assert!((std - variance.sqrt()).abs() < 5e-3, "{std} against {}", variance.sqrt());
    // P(|z| < 1) under the cut law.
    let inside = w.abs().lt(0.1).to_kind(Kind::Double).mean(None).double_value(&[]);
    assert!((inside - 0.682_689_492 / 0.954_499_736).abs() < 5e-3, "{inside}");
}

#[test]
fn layers_start_as_their_law_says() {
    let store = VarStore::new(Device::Cpu);
    let root = store.root();
    let zero = Linear::starting(&(&root / "zero"), 3, 2, Start::Zero);
    let normal = Linear::starting(&(&root / "normal"), 16, 64, Start::TruncatedNormal);
    assert_eq!(zero.variables()[0].abs().max().double_value(&[]), 0.0);
    assert_eq!(normal.variables()[1].abs().max().double_value(&[]), 0.0);
    let largest = normal.variables()[0].abs().max().double_value(&[]);
    assert!(largest <= 0.5 && largest > 0.4, "{largest}: two deviations of 1/sqrt(16)");
    assert!(store.trainable_variables().iter().all(Tensor::requires_grad));
}
