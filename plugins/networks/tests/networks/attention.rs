//! Attention against sums written out, parameter counts, symmetries and masks.

use super::{F64, assert_close, disturb, network, normal, parameters};
use isotropy_networks::attention::{
    AttentionNetwork, AttentionSize, MultiHeadAttention, Windows, hidden_keys,
};
use tch::{Kind, Tensor};

/// `softmax(Q K^T / sqrt(depth)) V` head by head, in the words of the definition.
fn written_out(store: &tch::nn::VarStore, x: &Tensor, width: i64, heads: i64) -> Tensor {
    let variables = store.variables();
    let all = x.matmul(&variables["input.weight"].tr()) + &variables["input.bias"];
    let depth = width / heads;
    let mut columns = Vec::new();
    for head in 0..heads {
        let part = |k: i64| all.narrow(-1, k * width + head * depth, depth);
        let logits = part(0).matmul(&part(1).transpose(1, 2)) / (depth as f64).sqrt();
        columns.push(logits.softmax(-1, Kind::Double).matmul(&part(2)));
    }
    Tensor::cat(&columns, -1).matmul(&variables["output.weight"].tr()) + &variables["output.bias"]
}

#[test]
fn attention_is_the_softmax_of_the_definition() {
    let (store, attention) = network(1, |path| MultiHeadAttention::new(path, 6, 8, 4));
    disturb(&store, 0.7);
    let x = normal("x", &[3, 5, 6]);
    let expected = written_out(&store, &x, 8, 4);
    assert_close("attention", &attention.forward(&x, None), &expected, 1e-12);
}

#[test]
fn hidden_keys_are_as_good_as_absent() {
    let (store, attention) = network(1, |path| MultiHeadAttention::new(path, 6, 8, 2));
    disturb(&store, 0.7);
    let x = normal("x", &[3, 5, 6]);
    let mask = Tensor::ones([3, 5], F64);
    let _ = mask.narrow(1, 3, 2).zero_();
    let masked = attention.forward(&x, Some(&hidden_keys(&mask)));
    let short = attention.forward(&x.narrow(1, 0, 3), None);
    assert_close("hidden keys", &masked.narrow(1, 0, 3), &short, 1e-13);
    // Nothing is there at all: finite numbers.
    let none = attention.forward(&x, Some(&hidden_keys(&mask.zeros_like())));
    assert_eq!(none.isfinite().all().int64_value(&[]), 1);
}

#[test]
fn windows_multiply_the_weights_of_their_heads_by_a_gaussian_of_the_distance() {
    let (store, attention) = network(1, |path| MultiHeadAttention::new(path, 6, 8, 2));
    disturb(&store, 0.7);
    let (x, places) = (normal("x", &[3, 5, 6]), normal("places", &[3, 5, 2]));
    let logits = Windows::new(&[0.8], 2).logits(&places).unwrap();
    let windowed = attention.forward(&x, Some(&logits));
    // Point by point: weights e^(q k / sqrt 4) e^(-r^2 / (2 w^2)), over their sum; the second head has no window.
    let variables = store.variables();
    let all = x.matmul(&variables["input.weight"].tr()) + &variables["input.bias"];
    let mixed = Tensor::zeros([3, 5, 8], F64);
    for (s, i, head) in (0..3).flat_map(|s| (0..5).flat_map(move |i| [(s, i, 0), (s, i, 1)])) {
        let part = |k: i64, point: i64| all.get(s).get(point).narrow(0, k * 8 + head * 4, 4);
        let weight = |j: i64| {
            let logit = part(0, i).dot(&part(1, j)).double_value(&[]) / 2.0;
            let step = places.get(s).get(i) - places.get(s).get(j);
            let square = step.dot(&step).double_value(&[]);
            let window = if head == 0 { (-square / (2.0 * 0.64)).exp() } else { 1.0 };
            logit.exp() * window
        };
        let total: f64 = (0..5).map(weight).sum();
        for j in 0..5 {
            let mut row = mixed.get(s).get(i).narrow(0, head * 4, 4);
            let _ = row.g_add_(&(part(2, j) * (weight(j) / total)));
        }
    }
    let expected = mixed.matmul(&variables["output.weight"].tr()) + &variables["output.bias"];
    assert_close("windows", &windowed, &expected, 1e-12);
    assert_close("kept", &attention.forward_kept(&x, Some(&logits)).0, &expected, 1e-12);
    assert!(Windows::new(&[], 2).logits(&places).is_none());
    let single = Windows::new(&[1.0], 2).logits(&places.to_kind(Kind::Float)).unwrap();
    assert_eq!(single.kind(), Kind::Float);
}

#[test]
fn a_sequence_of_one_needs_no_softmax() {
    let (store, attention) = network(1, |path| MultiHeadAttention::new(path, 6, 8, 2));
    disturb(&store, 0.7);
    let x = normal("x", &[7, 1, 6]);
    let expected = attention.forward(&x, None);
    assert_close("alone", &attention.forward_alone(&x), &expected, 1e-12);
}

#[test]
fn networks_have_the_published_numbers_of_parameters() {
    let size = |layers, width, heads| AttentionSize { layers, width, heads };
    // geomndp.md 2.1: bi-dimensional attention for functions; 2.2: point attention for vector fields.
    for (inputs, outputs, size, dimensions, count) in [
        (2, 1, size(2, 128, 8), true, 709_505),
        (2, 1, size(5, 64, 8), true, 439_937),
        (4, 2, size(5, 128, 4), false, 924_290),
    ] {
        let (store, _) =
            network(1, |path| AttentionNetwork::new(path, inputs, outputs, size, dimensions));
        assert_eq!(parameters(&store), count);
    }
}

const SMALL: AttentionSize = AttentionSize { layers: 2, width: 8, heads: 2 };

#[test]
fn the_network_starts_at_zero_and_the_gradient_reaches_every_weight_once_it_left() {
    let (store, net) = network(1, |path| AttentionNetwork::new(path, 2, 1, SMALL, true));
    let (tokens, time) = (normal("tokens", &[3, 5, 2, 2]), normal("t", &[3]).abs());
    let zero = net.forward(&tokens, &time, None, None);
    assert_eq!(zero.size(), [3, 5, 1]);
    assert_eq!(zero.abs().max().double_value(&[]), 0.0);
    disturb(&store, 0.5);
    net.forward(&tokens, &time, None, None).square().sum(Kind::Double).backward();
    for (name, variable) in store.variables() {
        // The softmax does not change when all keys shift: half of the input bias has no gradient, the rest has.
        let largest = variable.grad().abs().max().double_value(&[]);
        assert!(largest > 0.0, "no gradient reaches {name}");
    }
}

#[test]
fn points_and_dimensions_can_be_exchanged() {
    let (store, net) = network(1, |path| AttentionNetwork::new(path, 3, 2, SMALL, true));
    disturb(&store, 0.5);
    let (tokens, time) = (normal("tokens", &[3, 5, 2, 3]), normal("t", &[3]).abs());
    let here = net.forward(&tokens, &time, None, None);
    let order = Tensor::from_slice(&[3i64, 0, 4, 1, 2]);
    let there = net.forward(&tokens.index_select(1, &order), &time, None, None);
    assert_close("points", &there, &here.index_select(1, &order), 1e-12);
    let turned = net.forward(&tokens.flip([2]), &time, None, None);
    assert_close("dimensions", &turned, &here, 1e-12);
    // It does see points, dimensions and time.
    let other = tokens.copy();
    let _ = other.select(1, 4).fill_(2.0);
    let moved = net.forward(&other, &time, None, None);
    assert!((moved - &here).narrow(1, 0, 4).abs().max().double_value(&[]) > 1e-3);
    let later = net.forward(&tokens, &(time + 0.5), None, None);
    assert!((later - &here).abs().max().double_value(&[]) > 1e-3);
}

#[test]
fn hidden_points_influence_no_other() {
    for (dimensions, width) in [(true, 2), (false, 1)] {
        let (store, net) = network(1, |path| AttentionNetwork::new(path, 3, 2, SMALL, dimensions));
        disturb(&store, 0.5);
        let (tokens, time) = (normal("tokens", &[3, 6, width, 3]), normal("t", &[3]).abs());
        let mask = Tensor::ones([3, 6], F64);
        let _ = mask.select(0, 1).narrow(0, 4, 2).zero_();
        let masked = net.forward(&tokens, &time, Some(&mask), None);
        let short =
            net.forward(&tokens.narrow(0, 1, 1).narrow(1, 0, 4), &time.narrow(0, 1, 1), None, None);
        assert_close("shortened", &masked.narrow(0, 1, 1).narrow(1, 0, 4), &short, 1e-12);
        let whole = net.forward(&tokens.narrow(0, 0, 1), &time.narrow(0, 0, 1), None, None);
        assert_close("whole", &masked.narrow(0, 0, 1), &whole, 1e-12);
    }
}
