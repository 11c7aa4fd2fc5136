//! Tied and lifted kernels commute with their groups, and those that should not do not.

use isotropy_core::{Element, Representation, Streams};
use isotropy_images::action::{ImagePermutation, PixelGroup};
use isotropy_networks::symmetric::{
    Channels, Conv, ConvShape, InitialScale, Norm, Symmetry, SymmetryBy,
};
use isotropy_networks::symmetric_kernel::Tying;
use tch::{Device, Kind, Tensor, nn::VarStore};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);
pub const GROUPS: [PixelGroup; 5] = [
    PixelGroup::HorizontalFlip,
    PixelGroup::VerticalFlip,
    PixelGroup::Flips,
    PixelGroup::QuarterTurns,
    PixelGroup::Square,
];

/// `g` on images of fields: pixels move, and so do orientations, `(g f)_s = g f_(g^-1 s)`.
fn act(group: PixelGroup, k: i64, x: &Tensor, channels: Channels) -> Tensor {
    let action = ImagePermutation::new(group);
    let moved = action.moved(k, x);
    if channels.orientations == 1 {
        return moved;
    }
    let order = group.order();
    let all = Tensor::arange(order, (Kind::Int64, Device::Cpu));
    let g = Element::from(Tensor::full([order], k, (Kind::Int64, Device::Cpu)));
    let group = action.group();
    let from = group.compose(&group.inverse(&g), &Element::from(all));
    let size = moved.size();
    let split = moved.reshape([size[0], channels.fields, order, size[2], size[3]]);
    split.index_select(2, from.single()).reshape(&size)
}

/// Standard normal numbers, always the same for one shape.
fn normal(shape: &[i64]) -> Tensor {
    Streams::new(7).stream("normal", shape.len() as u64).normal(shape, F64)
}

fn error(a: &Tensor, b: &Tensor) -> f64 {
    ((a - b).abs().max() / b.abs().max()).double_value(&[])
}

fn conv(by: SymmetryBy, group: PixelGroup, shape: ConvShape) -> (VarStore, Conv) {
    tch::set_num_threads(1);
    let mut store = VarStore::new(Device::Cpu);
    let symmetry = Symmetry::new(by, Some(group), InitialScale::Matched).unwrap();
    let conv = Streams::new(3).scope("conv", 0, || Conv::new(&store.root(), &symmetry, shape));
    store.double();
    (store, conv)
}

/// The largest relative error of `conv(g x) = g conv(x)` over a group.
fn violation(conv: &Conv, group: PixelGroup, from: Channels, to: Channels) -> f64 {
    let _no_grad = tch::no_grad_guard();
    let x = normal(&[2, from.total(), 8, 8]);
    let y = conv.forward(&x);
    (0..group.order())
        .map(|k| error(&conv.forward(&act(group, k, &x, from)), &act(group, k, &y, to)))
        .fold(0.0, f64::max)
}

#[test]
fn tied_convolutions_commute_with_their_group_and_no_more() {
    let (from, to) = (Channels::scalar(3), Channels::scalar(4));
    for by in [SymmetryBy::TiedS, SymmetryBy::TiedK] {
        for group in GROUPS {
            for side in [1, 3, 5, 7] {
                let (_store, conv) = conv(by, group, ConvShape { from, to, side, zero: false });
                let found = violation(&conv, group, from, to);
                assert!(found < 1e-13, "{by:?} {group:?} {side}: {found}");
                let symmetry = Symmetry::new(by, Some(group), InitialScale::Matched).unwrap();
                let more = symmetry.commutes(side).unwrap();
                assert!(violation(&conv, more, from, to) < 1e-13, "{by:?} {group:?} {side}");
                // Where a kernel can tell the difference, it does.
                if side >= 5 && group != PixelGroup::Square {
                    let found = violation(&conv, PixelGroup::Square, from, to);
                    assert!(found > 0.05, "{by:?} {group:?} {side} commutes too much: {found}");
                }
            }
        }
    }
}

#[test]
fn a_free_kernel_and_the_published_mistakes_do_not_commute() {
    let (from, to) = (Channels::scalar(2), Channels::scalar(2));
    let shape = |side, zero| ConvShape { from, to, side, zero };
    let (_store, free) = conv(SymmetryBy::None, PixelGroup::Square, shape(3, false));
    assert!(violation(&free, PixelGroup::HorizontalFlip, from, to) > 0.1);
    // The doubled rotations are harmless at 3x3 and break reflections from 5x5 on.
    let square = PixelGroup::Square;
    let (_store, three) = conv(SymmetryBy::PublishedTiedK, square, shape(3, false));
    assert!(violation(&three, square, from, to) < 1e-13);
    let (_store, five) = conv(SymmetryBy::PublishedTiedK, square, shape(5, false));
    assert!(violation(&five, PixelGroup::QuarterTurns, from, to) < 1e-13);
    assert!(violation(&five, square, from, to) > 0.05);
    // A layer that lost its mask is free once its weights have moved away from zero.
    let mirror = PixelGroup::HorizontalFlip;
    let (store, lost) = conv(SymmetryBy::PublishedTiedS, mirror, shape(3, true));
    tch::no_grad(|| {
        let mut weight = store.variables().remove("weight").unwrap();
        weight.copy_(&normal(&weight.size()));
    });
    assert!(violation(&lost, mirror, from, to) > 0.1);
    let wrong = Symmetry::new(SymmetryBy::PublishedTiedK, Some(mirror), InitialScale::Matched);
    assert!(wrong.is_err());
    assert!(Symmetry::new(SymmetryBy::TiedS, None, InitialScale::Matched).is_err());
}

/// Free numbers of tied kernels are the orbits of the cells, by Burnside's count of fixed cells.
#[test]
fn tied_kernels_have_one_free_number_for_each_orbit() {
    for group in GROUPS {
        for side in [1, 2, 3, 4, 5, 6, 7] {
            let numbers = Tensor::arange(side * side, F64).reshape([side, side]);
            let action = ImagePermutation::new(group);
            let fixed: i64 = (0..group.order())
                .map(|k| action.moved(k, &numbers).eq_tensor(&numbers).sum(Kind::Int64))
                .map(|count| count.int64_value(&[]))
                .sum();
            for tying in [Tying::Orbits, Tying::Sum] {
                let matrix = tying.matrix(group, side, side);
                let rank = Tensor::linalg_matrix_rank(&matrix, 1e-9, false).int64_value(&[]);
                assert_eq!(rank, fixed / group.order(), "{tying:?} {group:?} {side}");
            }
        }
    }
}

#[test]
fn lifted_convolutions_are_intertwiners() {
    for group in GROUPS {
        let order = group.order();
        let fields = |n: i64| Channels { fields: n, orientations: order };
        let scalar = Channels::scalar;
        for (from, to) in [(scalar(3), fields(2)), (fields(2), fields(3)), (fields(2), scalar(3))] {
            for side in [1, 3, 5] {
                let shape = ConvShape { from, to, side, zero: false };
                let (store, conv) = conv(SymmetryBy::Lifted, group, shape);
                let found = violation(&conv, group, from, to);
                assert!(found < 1e-13, "{group:?} {from:?} {to:?} {side}: {found}");
                // An orientation more than the group allows would show here.
                if group != PixelGroup::Square && side > 1 && from.orientations == 1 {
                    let rest = [PixelGroup::HorizontalFlip, PixelGroup::QuarterTurns];
                    let other = rest.into_iter().find(|other| !group.contains(*other)).unwrap();
                    let y = tch::no_grad(|| {
                        let x = normal(&[1, 3, 8, 8]);
                        let action = ImagePermutation::new(other);
                        // Behind a nonlinearity: the sum of the kernels alone has more symmetry.
                        let sum = |y: Tensor| {
                            y.relu().reshape([1, 2, order, 8, 8]).sum_dim_intlist(2, false, None)
                        };
                        let there = sum(conv.forward(&action.moved(1, &x)));
                        error(&there, &action.moved(1, &sum(conv.forward(&x))))
                    });
                    assert!(y > 0.01, "{group:?} commutes with {other:?}: {y}");
                }
                // The free numbers of the weights.
                let count = store.variables()["weight"].numel() as i64;
                let free = if from.orientations == 1 || to.orientations == 1 { 1 } else { order };
                assert_eq!(count, to.fields * from.fields * free * side * side);
            }
        }
    }
}

/// A kernel of quarter turns that is not that of the square: what 3x3 tied kernels cannot have.
#[test]
fn a_lifted_layer_of_quarter_turns_sees_reflections_at_three_by_three() {
    let group = PixelGroup::QuarterTurns;
    let fields = Channels { fields: 2, orientations: 4 };
    let pixels = Channels::scalar(1);
    let shape = |from, to| ConvShape { from, to, side: 3, zero: false };
    let (_a, first) = conv(SymmetryBy::Lifted, group, shape(pixels, fields));
    let (_b, last) = conv(SymmetryBy::Lifted, group, shape(fields, pixels));
    tch::no_grad(|| {
        let net = |x: &Tensor| last.forward(&first.forward(x).relu());
        let x = normal(&[1, 1, 9, 9]);
        assert!(error(&net(&x.rot90(1, [-2, -1])), &net(&x).rot90(1, [-2, -1])) < 1e-13);
        assert!(error(&net(&x.flip([-1])), &net(&x).flip([-1])) > 0.01);
    });
}

#[test]
fn norms_leave_orientations_alone() {
    let group = PixelGroup::Square;
    let channels = Channels { fields: 6, orientations: 8 };
    let mut store = VarStore::new(Device::Cpu);
    let norm = Norm::new(&store.root(), channels);
    store.double();
    tch::no_grad(|| {
        for mut variable in store.trainable_variables() {
            let size = variable.size();
            variable.copy_(&(normal(&size) + 0.5));
        }
        let x = normal(&[2, 48, 4, 4]);
        let (scale, shift) = (normal(&[2, 6]), normal(&[2, 6]));
        for k in 0..8 {
            let there = act(group, k, &x, channels);
            assert!(
                error(&norm.forward(&there), &act(group, k, &norm.forward(&x), channels)) < 1e-12
            );
            let moved = norm.modulated(&there, &scale, &shift);
            assert!(
                error(&moved, &act(group, k, &norm.modulated(&x, &scale, &shift), channels))
                    < 1e-12
            );
        }
        // Scale and shift in one pass are those in three.
        let wide = |a: &Tensor| a.repeat_interleave_self_int(8, -1, None).reshape([2, 48, 1, 1]);
        let expected = norm.forward(&x) * (wide(&scale) + 1.0) + wide(&shift);
        assert!(error(&norm.modulated(&x, &scale, &shift), &expected) < 1e-12);
        // libtorch's own: two groups of three fields.
        let of = |name: &str| {
            let variables = store.variables();
            variables[name].repeat_interleave_self_int(8, -1, None)
        };
        let own = |x: &Tensor| x.group_norm(2, Some(of("weight")), Some(of("bias")), 1e-5, false);
        assert!(error(&norm.forward(&x), &own(&x)) < 1e-12);
        // Far from zero, where a difference of squares would have lost all digits.
        let far = &x * 1e-3 + 100.0;
        assert!(error(&norm.forward(&far), &own(&far)) < 1e-8);
    });
}

#[test]
fn the_first_kernels_are_as_large_as_free_ones() {
    let (from, to) = (Channels::scalar(64), Channels::scalar(64));
    let size = |by, group, scale, side| {
        let store = VarStore::new(Device::Cpu);
        let symmetry = Symmetry::new(by, Some(group), scale).unwrap();
        let shape = ConvShape { from, to, side, zero: false };
        let conv = Streams::new(1).scope("conv", 0, || Conv::new(&store.root(), &symmetry, shape));
        tch::no_grad(|| conv.kernel().square().mean(Kind::Double).sqrt().double_value(&[]))
    };
    for group in GROUPS {
        for side in [1, 3, 5] {
            let free = size(SymmetryBy::None, group, InitialScale::Matched, side);
            for by in [SymmetryBy::TiedS, SymmetryBy::TiedK] {
                let tied = size(by, group, InitialScale::Matched, side);
                assert!((tied / free - 1.0).abs() < 0.05, "{by:?} {group:?} {side}: {tied} {free}");
            }
        }
    }
    // The published sums: at 1x1 four and eight times as large.
    let free = size(SymmetryBy::None, PixelGroup::Square, InitialScale::Published, 1);
    let sum = |group| size(SymmetryBy::TiedK, group, InitialScale::Published, 1) / free;
    assert!((sum(PixelGroup::QuarterTurns) - 4.0).abs() < 1e-3);
    assert!((sum(PixelGroup::Square) - 8.0).abs() < 1e-3);
}

#[test]
fn held_kernels_are_made_once_and_gradients_still_flow() {
    let (from, to) = (Channels::scalar(2), Channels::scalar(2));
    let shape = ConvShape { from, to, side: 3, zero: false };
    let (store, conv) = conv(SymmetryBy::TiedS, PixelGroup::Square, shape);
    let x = normal(&[1, 2, 4, 4]);
    let evaluate = || tch::no_grad(|| conv.forward(&x));
    let first = evaluate();
    let double = || {
        tch::no_grad(|| {
            let mut weight = store.variables().remove("weight").unwrap();
            let _ = weight.f_mul_scalar_(2.0).unwrap();
        });
    };
    double();
    assert!(error(&evaluate(), &first) > 0.1, "kernels are kept without a promise");
    conv.hold(true);
    let held = evaluate();
    double();
    assert_eq!(error(&evaluate(), &held), 0.0, "the kernel is made again in spite of the promise");
    let loss = conv.forward(&x).sum(Kind::Double);
    loss.backward();
    assert!(store.variables()["weight"].grad().abs().max().double_value(&[]) > 0.0);
    conv.hold(false);
    assert!(error(&evaluate(), &held) > 0.1, "a kernel outlives the promise");
}
