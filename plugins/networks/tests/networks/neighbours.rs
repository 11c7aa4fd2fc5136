//! Edges against a search point by point, and the functions of their lengths.

use super::{F64, assert_close, normal};
use isotropy_networks::neighbours::{Edges, Neighbours};
use isotropy_networks::radial::{cutoff_weight, smooth_bumps, smooth_step};
use tch::{Kind, Tensor};

/// The edges by three loops: `(sender, receiver)` as rows, sorted.
fn searched(index: &Tensor, mask: Option<&Tensor>, wanted: &Neighbours) -> Vec<(i64, i64)> {
    let size = index.size();
    let there = |b: i64, n: i64| mask.is_none_or(|mask| mask.double_value(&[b, n]) > 0.5);
    let mut edges = Vec::new();
    for b in 0..size[0] {
        for n in 0..size[1] {
            let mut near: Vec<(f64, i64)> = (0..size[1])
                .filter(|&m| m != n && there(b, n) && there(b, m))
                .map(|m| {
                    let apart = index.get(b).get(n) - index.get(b).get(m);
                    (apart.square().sum(Kind::Double).double_value(&[]).sqrt(), m)
                })
                .filter(|(r, _)| wanted.cutoff.is_none_or(|cutoff| *r < cutoff))
                .collect();
            near.sort_by(|a, b| a.0.total_cmp(&b.0));
            near.truncate(wanted.count.map_or(usize::MAX, |count| count as usize));
            edges.extend(near.into_iter().map(|(_, m)| (b * size[1] + m, b * size[1] + n)));
        }
    }
    edges.sort_unstable();
    edges
}

fn found(edges: &Edges) -> Vec<(i64, i64)> {
    let senders = Vec::<i64>::try_from(&edges.senders).unwrap();
    let receivers = Vec::<i64>::try_from(&edges.receivers).unwrap();
    assert!(receivers.is_sorted(), "receivers ascend");
    let mut pairs: Vec<(i64, i64)> = senders.into_iter().zip(receivers).collect();
    pairs.sort_unstable();
    pairs
}

#[test]
fn edges_are_those_of_a_search() {
    tch::set_num_threads(1);
    for p in [1, 2, 3] {
        let index = normal("points", &[4, 9, p]);
        let mask = Tensor::ones([4, 9], F64);
        let _ = mask.get(1).narrow(0, 3, 6).zero_();
        let _ = mask.get(2).narrow(0, 1, 8).zero_();
        let _ = mask.get(3).zero_();
        for count in [None, Some(1), Some(3), Some(8), Some(50)] {
            for cutoff in [None, Some(0.9), Some(1e-9)] {
                for mask in [None, Some(&mask)] {
                    let wanted = Neighbours { count, cutoff };
                    let edges = Edges::find(&index, mask, &wanted);
                    assert_eq!(
                        found(&edges),
                        searched(&index, mask, &wanted),
                        "{wanted:?} in {p}-D"
                    );
                    assert_eq!(edges.is_empty(), searched(&index, mask, &wanted).is_empty());
                    let rows = index.reshape([36, p]);
                    let back = rows.index_select(0, &edges.senders) + &edges.vectors;
                    let ends = rows.index_select(0, &edges.receivers);
                    assert!(back.allclose(&ends, 0.0, 1e-12, false), "vectors lead to receivers");
                }
            }
        }
    }
}

#[test]
fn a_point_alone_has_no_neighbour_and_twins_have_one_another() {
    let all = Neighbours { count: None, cutoff: Some(1.0) };
    assert!(Edges::find(&normal("one", &[3, 1, 2]), None, &all).is_empty());
    let twins = Edges::find(&Tensor::zeros([1, 2, 2], F64), None, &all);
    assert_eq!(found(&twins), [(0, 1), (1, 0)]);
    assert_eq!(twins.lengths().abs().max().double_value(&[]), 0.0);
    let sum = twins.sum(&Tensor::from_slice(&[2.0, 5.0]).unsqueeze(1));
    assert_eq!(Vec::<f64>::try_from(sum.squeeze_dim(1)).unwrap(), [2.0, 5.0]);
}

#[test]
fn edges_reach_to_the_first_point_that_does_not_send_or_to_the_cutoff() {
    let line = Tensor::from_slice(&[0.0, 1.0, 3.0, 7.0]).view([1, 4, 1]);
    let reaches = |count, cutoff| {
        let edges = Edges::find(&line, None, &Neighbours { count, cutoff });
        let of = |r: &Tensor| Vec::<f64>::try_from(r.shallow_clone()).unwrap();
        let receivers = Vec::<i64>::try_from(&edges.receivers).unwrap();
        receivers.into_iter().zip(of(&edges.reaches)).collect::<Vec<_>>()
    };
    // The second nearest of each is 3, 2, 3 and 6 away.
    assert_eq!(reaches(Some(1), None), [(0, 3.0), (1, 2.0), (2, 3.0), (3, 6.0)]);
    assert_eq!(reaches(Some(1), Some(2.5)), [(0, 2.5), (1, 2.0), (2, 2.5)]);
    assert_eq!(reaches(None, Some(1.5)), [(0, 1.5), (1, 1.5)]);
    assert_eq!(reaches(Some(3), None)[0], (0, f64::INFINITY));
}

#[test]
fn sums_and_lengths_have_the_gradients_of_finite_differences() {
    tch::set_num_threads(1);
    let index = normal("points", &[2, 5, 3]).set_requires_grad(true);
    let wanted = Neighbours { count: Some(2), cutoff: None };
    let loss = |index: &Tensor| {
        let edges = Edges::find(index, None, &wanted);
        let message = edges.lengths().unsqueeze(1) * edges.from_senders(&index.reshape([10, 3]));
        edges.sum(&message).square().sum(Kind::Double)
    };
    loss(&index).backward();
    let step = 1e-6;
    let (up, down) = (index.detach().copy(), index.detach().copy());
    let _ = up.get(1).get(2).select(0, 1).g_add_scalar_(step);
    let _ = down.get(1).get(2).select(0, 1).g_add_scalar_(-step);
    let expected = (loss(&up) - loss(&down)).double_value(&[]) / (2.0 * step);
    let gradient = index.grad().double_value(&[1, 2, 1]);
    assert!((gradient - expected).abs() < 1e-6 * expected.abs().max(1.0), "{gradient} {expected}");
}

#[test]
fn bumps_follow_their_formula_and_share_one() {
    let r = Tensor::from_slice(&[0.0, 0.013, 0.4, 1.234, 1.99, 2.0, 2.5]);
    let bumps = smooth_bumps(&r, 2.0, 50);
    let step = |x: f64| if x > 0.0 { (-1.0 / x).exp() } else { 0.0 };
    let h = 2.0 / 49.0;
    let expected = Tensor::from_slice(
        &Vec::<f64>::try_from(&r)
            .unwrap()
            .iter()
            .flat_map(|r| {
                (0..50).map(move |i| {
                    let u = (r - f64::from(i) * h) / h;
                    1.14136 * 2f64.exp() * step(1.0 + u) * step(1.0 - u)
                })
            })
            .collect::<Vec<f64>>(),
    );
    assert_close("bumps", &bumps.flatten(0, -1), &expected, 1e-13);
    // Squares add up to 1 on average; each is exactly zero away from its centre.
    let line = Tensor::arange_start_step(0.0, 2.0, 0.001, F64);
    let sum = smooth_bumps(&line, 2.0, 50).square().sum_dim_intlist(-1, false, None);
    let mean = sum.mean(None).double_value(&[]);
    assert!((mean - 1.0).abs() < 0.05, "{mean}");
    assert_eq!(bumps.ne(0.0).sum_dim_intlist(-1, false, Kind::Int64).max().int64_value(&[]), 2);
}

#[test]
fn the_cutoff_weight_ends_smoothly() {
    let r = Tensor::from_slice(&[0.0, 1.0, 1.9, 1.999, 2.0, 7.0]).set_requires_grad(true);
    let weight = cutoff_weight(&r, 2.0);
    for (k, expected) in
        [(0, 1.4 * (-0.1f64).exp()), (1, 1.4 * (-0.2f64).exp()), (2, 1.4 * (-2f64).exp())]
    {
        assert!((weight.double_value(&[k]) - expected).abs() < 1e-12);
    }
    assert_eq!(weight.narrow(0, 4, 2).abs().max().double_value(&[]), 0.0);
    weight.sum(Kind::Double).backward();
    assert_eq!(r.grad().isfinite().all().int64_value(&[]), 1);
    assert_eq!(smooth_step(&Tensor::from_slice(&[-1.0, 0.0])).abs().max().double_value(&[]), 0.0);
}

#[test]
fn impossible_neighbourhoods_are_refused() {
    for (count, cutoff, pointer) in [
        (Some(0), None, "/neighbours"),
        (None, Some(0.0), "/cutoff"),
        (None, Some(f64::NAN), "/cutoff"),
    ] {
        match (Neighbours { count, cutoff }).check().unwrap_err() {
            isotropy_core::Error::Config { pointer: found, .. } => assert_eq!(found, pointer),
            other => panic!("{other}"),
        }
    }
}
