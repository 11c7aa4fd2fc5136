//! The E(n)-equivariant graph network: equivariance in several dimensions, masks, what it can say.

use super::{F64, assert_close, disturb, network, normal};
use isotropy_networks::egnn::{Egnn, EgnnSize, EgnnValues};
use isotropy_networks::neighbours::Neighbours;
use tch::{Kind, Tensor};

const SMALL: EgnnSize = EgnnSize {
    layers: 2,
    width: 8,
    neighbours: Neighbours { count: None, cutoff: None },
    fade: true,
    displacements: true,
};

fn centred(x: &Tensor) -> Tensor {
    x - x.mean_dim(1, true, None)
}

#[test]
fn vectors_turn_with_the_points_in_any_dimension() {
    for p in [2, 3, 5] {
        for displacements in [true, false] {
            let size = EgnnSize { displacements, ..SMALL };
            let (store, net) = network(1, |path| Egnn::new(path, EgnnValues::Vector, size));
            disturb(&store, 0.4);
            let (x, y, t) =
                (normal("x", &[4, 6, p]), normal("y", &[4, 6, p]), normal("t", &[4]).abs());
            let (q, _) = Tensor::linalg_qr(&normal("q", &[4, p, p]), "reduced");
            let turn = |v: &Tensor| v.matmul(&q.transpose(1, 2));
            let here = net.forward(&centred(&x), &y, &t, None);
            let there = net.forward(&centred(&(turn(&x) + 1.7)), &turn(&y), &t, None);
            assert_close("O(n)", &there, &turn(&here), 1e-10);
            assert!(here.abs().max().double_value(&[]) > 1e-4);
            let order = Tensor::from_slice(&[3i64, 0, 5, 4, 1, 2]);
            let pick = |a: &Tensor| a.index_select(1, &order);
            let exchanged = net.forward(&centred(&pick(&x)), &pick(&y), &t, None);
            assert_close("exchanged", &exchanged, &pick(&here), 1e-10);
        }
    }
}

#[test]
fn on_a_grid_fading_keeps_the_symmetry_that_a_sharp_choice_of_neighbours_breaks() {
    // 25 points of a square grid: of four neighbours at one distance, two or three are taken.
    let single = Kind::Float;
    let steps = Tensor::arange(5, (single, tch::Device::Cpu)) - 2.0;
    let x = Tensor::cartesian_prod(&[&steps, &steps]).unsqueeze(0);
    let (y, t) = (normal("y", &[1, 25, 2]).to_kind(single), Tensor::from_slice(&[0.4_f32]));
    let (sin, cos) = 0.7_f32.sin_cos();
    let turn = |v: &Tensor| v.matmul(&Tensor::from_slice(&[cos, -sin, sin, cos]).view([2, 2]).tr());
    let gap = |fade: bool, count: Option<i64>| {
        let neighbours = Neighbours { count, cutoff: None };
        let size = EgnnSize { fade, neighbours, ..SMALL };
        let (mut store, net) = network(1, |path| Egnn::new(path, EgnnValues::Vector, size));
        disturb(&store, 0.4);
        store.float();
        let here = turn(&net.forward(&x, &y, &t, None));
        let there = net.forward(&turn(&x), &turn(&y), &t, None);
        ((there - &here).norm() / here.norm()).double_value(&[])
    };
    for neighbours in [3, 6, 10] {
        let (faded, sharp) = (gap(true, Some(neighbours)), gap(false, Some(neighbours)));
        assert!(faded < 1e-5, "{neighbours} neighbours: {faded:e}");
        assert!(sharp > 1e-3, "{neighbours} neighbours: {sharp:e}");
    }
    // Where all points send, there is nothing to fade to, and the network is the published one.
    assert_eq!(gap(true, None), gap(false, None));
}

#[test]
fn the_default_network_has_192260_parameters() {
    let size = EgnnSize { layers: 4, width: 64, ..SMALL };
    let (store, _) = network(1, |path| Egnn::new(path, EgnnValues::Vector, size));
    assert_eq!(super::parameters(&store), 192_260);
}

#[test]
fn scalars_stay() {
    let (store, net) = network(1, |path| Egnn::new(path, EgnnValues::Scalars(2), SMALL));
    disturb(&store, 0.4);
    let (x, y, t) = (normal("x", &[4, 6, 3]), normal("y", &[4, 6, 2]), normal("t", &[4]).abs());
    let (q, _) = Tensor::linalg_qr(&normal("q", &[4, 3, 3]), "reduced");
    let here = net.forward(&centred(&x), &y, &t, None);
    let there = net.forward(&centred(&x.matmul(&q)), &y, &t, None);
    assert_close("turned", &there, &here, 1e-10);
    assert!((&here - here.mean(None)).abs().max().double_value(&[]) > 1e-4);
}

#[test]
fn without_displacements_a_constant_field_says_nothing() {
    for displacements in [true, false] {
        let size = EgnnSize { displacements, ..SMALL };
        let (store, net) = network(1, |path| Egnn::new(path, EgnnValues::Vector, size));
        disturb(&store, 0.4);
        let y = Tensor::ones([2, 6, 2], F64);
        let out = net.forward(&centred(&normal("x", &[2, 6, 2])), &y, &normal("t", &[2]), None);
        assert_eq!(out.abs().max().double_value(&[]) > 1e-9, displacements);
    }
}

#[test]
fn hidden_points_influence_no_other() {
    let (store, net) = network(1, |path| Egnn::new(path, EgnnValues::Vector, SMALL));
    disturb(&store, 0.4);
    let (x, y, t) = (normal("x", &[3, 6, 2]), normal("y", &[3, 6, 2]), normal("t", &[3]).abs());
    let mask = Tensor::ones([3, 6], F64);
    let _ = mask.get(1).narrow(0, 4, 2).zero_();
    let _ = mask.get(2).zero_();
    let masked = net.forward(&x, &y, &t, Some(&mask));
    let part = |a: &Tensor| a.narrow(0, 1, 1).narrow(1, 0, 4);
    let short = net.forward(&part(&x), &part(&y), &t.narrow(0, 1, 1), None);
    assert_close("shortened", &part(&masked), &short, 1e-10);
    assert_eq!(masked.isfinite().all().int64_value(&[]), 1);
}

#[test]
fn it_starts_at_zero_and_gradients_reach_every_weight() {
    for values in [EgnnValues::Vector, EgnnValues::Scalars(2)] {
        let (store, net) = network(1, |path| Egnn::new(path, values, SMALL));
        let (x, y, t) = (normal("x", &[3, 6, 2]), normal("y", &[3, 6, 2]), normal("t", &[3]).abs());
        assert_eq!(net.forward(&x, &y, &t, None).abs().max().double_value(&[]), 0.0);
        disturb(&store, 0.4);
        net.forward(&x, &y, &t, None).square().sum(Kind::Double).backward();
        let mut silent = Vec::new();
        for (name, variable) in store.variables() {
            let gradient = variable.grad();
            if !gradient.defined() || gradient.abs().max().double_value(&[]) == 0.0 {
                silent.push(name);
            }
        }
        // The scalars of the last layer go nowhere when the output is the vectors.
        let last = |name: &String| {
            values == EgnnValues::Vector
                && (name.starts_with("layer_1.node") || name.starts_with("layer_1.importance"))
        };
        silent.retain(|name| !last(name));
        assert!(silent.is_empty(), "no gradient reaches {silent:?}");
    }
}
