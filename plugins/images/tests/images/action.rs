//! Interpolated turns and shifts, the pose of an image, and noise that is coupled to it.

use crate::process;
use isotropy_conformance::{Status, representation::check_representation};
use isotropy_core::{
    Element, Field, FieldSpec, FreshNoise, Moves, Noise, Representation, State, StateSpec, Streams,
    Xi,
};
use isotropy_diffusion::coupled_noise::CoupledNoise;
use isotropy_diffusion::coupled_noise::canonical;
use isotropy_images::action::{
    ImageInterpolation, ImageInterpolationConfig, Interpolation, Mask, PlaneGroup, pose,
};
use isotropy_images::action::{ImagePermutation, ImageShift, PixelGroup};
use serde_json::json;
use std::f64::consts::PI;
use tch::{Device, Kind, Tensor};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

fn action(group: PlaneGroup, interpolation: Interpolation) -> ImageInterpolation {
    ImageInterpolation::new(&ImageInterpolationConfig {
        group,
        interpolation,
        ..ImageInterpolationConfig::default()
    })
}

/// An image of blobs (standard deviation 2 pixels), each at a place in pixels to the right and upwards, with a height.
fn blobs(places: &[(f64, f64, f64)], background: f64) -> Tensor {
    let axis = Tensor::arange(28, F64) - 13.5;
    let (x, y) = (axis.unsqueeze(0), axis.neg().unsqueeze(1));
    let blob = |&(px, py, height): &(f64, f64, f64)| {
        (((&x - px).square() + (&y - py).square()) / -8.0).exp() * height
    };
    (places.iter().map(blob).reduce(|a, b| a + b).unwrap() + background).reshape([1, 1, 28, 28])
}

const L: [(f64, f64, f64); 3] = [(-3.0, 4.0, 1.0), (-3.0, -3.0, 1.0), (2.0, -3.0, 0.7)];

fn moved(places: &[(f64, f64, f64)], angle: f64, shift: (f64, f64)) -> Vec<(f64, f64, f64)> {
    let (c, s) = (angle.cos(), angle.sin());
    let turn = |&(x, y, h): &(f64, f64, f64)| (c * x - s * y + shift.0, s * x + c * y + shift.1, h);
    places.iter().map(turn).collect()
}

/// An angle brought into [-pi, pi].
fn wrapped(angle: f64) -> f64 {
    angle.sin().atan2(angle.cos())
}

fn image(tensor: Tensor) -> State {
    State::new(Field::new(tensor, Moves::Image))
}

#[test]
fn interpolated_actions_conform() {
    for group in [PlaneGroup::Rotations, PlaneGroup::Motions] {
        for interpolation in
            [Interpolation::Nearest, Interpolation::Bilinear, Interpolation::Bicubic]
        {
            let results = check_representation(&action(group, interpolation), &Streams::new(1));
            let failed = results.iter().filter(|r| r.status == Status::Fail);
            // Brackets take second derivatives of the picture; bicubic interpolation is smooth enough for first ones
            // (the other rules have kinks, where the check is left out).
            let allowed = |check: &str| {
                interpolation == Interpolation::Bicubic && check == "brackets of the action"
            };
            let failed: Vec<_> = failed.filter(|r| !allowed(&r.check)).collect();
            assert!(failed.is_empty(), "{group:?} {interpolation:?}: {failed:?}");
            assert!(results.iter().filter(|r| r.status == Status::Pass).count() > 10);
        }
    }
}

/// The interpolated picture is the picture of what was moved, whose pixels are known.
#[test]
fn pictures_move_as_their_blobs_do() {
    let motions = action(PlaneGroup::Motions, Interpolation::Bicubic);
    let (angle, shift) = (0.7_f64, (1.3, -2.1));
    let (c, s) = (angle.cos(), angle.sin());
    let matrix = [c, -s, shift.0, s, c, shift.1, 0.0, 0.0, 1.0];
    let g = Element::from(Tensor::from_slice(&matrix).reshape([1, 3, 3]));
    let found = motions.act(&g, &image(blobs(&L, -1.0))).unwrap();
    let expected = blobs(&moved(&L, angle, shift), -1.0);
    let error = (found.x() - expected).abs().max().double_value(&[]);
    assert!(error < 0.02, "{error}");
}

#[test]
fn a_quarter_turn_is_that_of_the_pixels() {
    let x = Streams::new(2).stream("pixels", 0).normal(&[3, 1, 28, 28], F64);
    let exact = ImagePermutation::new(PixelGroup::QuarterTurns);
    for interpolation in [Interpolation::Nearest, Interpolation::Bilinear, Interpolation::Bicubic] {
        let rotations = action(PlaneGroup::Rotations, interpolation);
        let g = Element::from(Tensor::full([3, 1], PI / 2.0, F64));
        let found = rotations.act(&g, &image(x.shallow_clone())).unwrap();
        let error = (found.x() - exact.moved(1, &x)).abs().max().double_value(&[]);
        assert!(error < 1e-9, "{interpolation:?}: {error}");
    }
}

#[test]
fn a_masked_action_shows_the_disk_and_what_was_in_it() {
    let config = ImageInterpolationConfig {
        interpolation: Interpolation::Bicubic,
        mask: Mask::Disk,
        ..ImageInterpolationConfig::default()
    };
    let masked = ImageInterpolation::new(&config);
    let plain = action(PlaneGroup::Rotations, Interpolation::Bicubic);
    let turned = |action: &dyn Representation, angle: f64, x: &Tensor| {
        let g = Element::from(Tensor::full([1, 1], angle, F64));
        action.act(&g, &image(x.shallow_clone())).unwrap().x().shallow_clone()
    };
    let largest = |x: &Tensor| x.abs().max().double_value(&[]);
    let x = blobs(&L, -1.0);
    let corner = x.copy();
    let _ = corner.narrow(2, 0, 1).narrow(3, 0, 1).fill_(1.0);
    // 0.8 radians bring the corner upon the upper edge, outside of the disk: a pixel there is seen without a mask only.
    let difference = |action: &dyn Representation| {
        largest(&(turned(action, 0.8, &x) - turned(action, 0.8, &corner)))
    };
    assert_eq!(difference(&masked), 0.0);
    let quarter = |action: &dyn Representation| {
        largest(&(turned(action, PI / 2.0, &x) - turned(action, PI / 2.0, &corner)))
    };
    assert!(quarter(&masked) == 0.0 && quarter(&plain) > 1.9);
    // 28 x 28 pixels: the disk has radius 14. Inside of it the mask changes nothing.
    let inside: Vec<bool> = (0..28 * 28)
        .map(|k| (f64::from(k % 28) - 13.5).hypot(f64::from(k / 28) - 13.5) <= 14.0)
        .collect();
    let values = |x: Tensor| Vec::<f64>::try_from(x.flatten(0, -1)).unwrap();
    let (shown, all) =
        (values(turned(&masked, 0.8, &corner)), values(turned(&plain, 0.8, &corner)));
    for ((shown, all), inside) in shown.into_iter().zip(all).zip(inside) {
        assert_eq!(shown, if inside { all } else { -1.0 });
    }
}

/// Shifts of a picture without symmetry: its canonical element moves with it, and so does noise.
#[test]
fn noise_is_coupled_to_periodic_shifts() {
    let shifts = ImageShift::new(28, 28, 4).unwrap();
    let state = image(Streams::new(6).stream("x", 0).normal(&[3, 1, 28, 28], F64));
    let index = |values: [i64; 3]| Tensor::from_slice(&values);
    let g = Element(vec![index([1, 0, 6]), index([0, 5, 3])]);
    let moved = shifts.act(&g, &state).unwrap();
    let (here, there) = (canonical(&shifts, &state).unwrap(), canonical(&shifts, &moved).unwrap());
    let group = shifts.group();
    let expected = group.compose(&g, &here.element);
    assert_eq!(group.distance(&there.element, &expected).max().double_value(&[]), 0.0);
    assert_eq!(here.ties.max().int64_value(&[]), 1);
    let translations = process(json!({"type": "cosine"}));
    let drawn = |state: &State| {
        let mut noise =
            CoupledNoise::new(FreshNoise::new(&Streams::new(4), "shifts"), &shifts, state).unwrap();
        let like = Xi::from(state.x().shallow_clone());
        noise.unit(0, state, &like, translations.as_ref()).unwrap()
    };
    let expected = shifts.shift(&g, drawn(&state).single()).unwrap();
    assert_eq!((drawn(&moved).single() - expected).abs().max().double_value(&[]), 0.0);
}

#[test]
fn the_pose_moves_with_the_picture() {
    let here = pose(&blobs(&L, 0.0), true);
    let turned_only = pose(&blobs(&L, 0.0), false);
    for (angle, shift) in [(0.4, (0.0, 0.0)), (-2.0, (1.6, -0.7)), (3.0, (-2.0, 2.0))] {
        let there = pose(&blobs(&moved(&L, angle, shift), 0.0), true);
        let difference = there.angle.double_value(&[0]) - here.angle.double_value(&[0]) - angle;
        assert!(wrapped(difference).abs() < 2e-3, "{angle} {shift:?}: {difference}");
        let centre = (here.shift.double_value(&[0, 0]), here.shift.double_value(&[0, 1]), 1.0);
        let expected = moved(&[centre], angle, shift)[0];
        let found = (there.shift.double_value(&[0, 0]), there.shift.double_value(&[0, 1]));
        let error = (found.0 - expected.0).hypot(found.1 - expected.1);
        assert!(error < 2e-3, "{angle} {shift:?}: {found:?} {expected:?}");
        let there = pose(&blobs(&moved(&L, angle, (0.0, 0.0)), 0.0), false);
        let difference = there.angle.double_value(&[0]) - turned_only.angle.double_value(&[0]);
        assert!(wrapped(difference - angle).abs() < 2e-3, "{angle}: {difference}");
    }
}

/// Digits of MNIST have their centre of mass in the middle: the plain first moment says nothing about them.
#[test]
fn a_centred_picture_has_a_pose_and_a_round_one_has_none() {
    let centred = [(4.0, 0.0, 1.0), (-8.0, 0.0, 0.5)];
    assert!(pose(&blobs(&centred, 0.0), false).defined.int64_value(&[0]) == 1);
    let rotations = action(PlaneGroup::Rotations, Interpolation::Bilinear);
    let round = canonical(&rotations, &image(blobs(&[(0.0, 0.0, 1.0)], -1.0))).unwrap();
    assert_eq!(round.ties.int64_value(&[0]), 0);
    assert_eq!(round.element.single().double_value(&[0, 0]), 0.0);
    let blank = canonical(&rotations, &image(Tensor::full([2, 1, 28, 28], -1.0, F64))).unwrap();
    assert_eq!(blank.ties.sum(Kind::Int64).int64_value(&[]), 0);
}

/// The pose of the context that moves decides, not that of the value.
#[test]
fn noise_is_that_of_the_pose_moved_along() {
    let rotations = action(PlaneGroup::Rotations, Interpolation::Bilinear);
    let translations = process(json!({"type": "cosine"}));
    let drive = translations.fields();
    let drawn = |places: &[(f64, f64, f64)]| {
        let state = image(Tensor::zeros([1, 1, 28, 28], F64))
            .with_context("end", Field::new(blobs(places, -1.0), Moves::Image));
        let fresh = FreshNoise::new(&Streams::new(4), "coupled");
        let mut noise = CoupledNoise::new(fresh, &rotations, &state).unwrap();
        let like = Xi::from(state.x().shallow_clone());
        let xi = noise.unit(0, &state, &like, translations.as_ref()).unwrap();
        (xi, canonical(&rotations, &state).unwrap().element, state)
    };
    let (here, c, state) = drawn(&L);
    let (there, d, _) = drawn(&moved(&L, 1.1, (0.0, 0.0)));
    let turn = d.single().double_value(&[0, 0]) - c.single().double_value(&[0, 0]);
    assert!(wrapped(turn - 1.1).abs() < 2e-3, "{turn}");
    // The noise at home, moved by both poses.
    let noise_action = rotations.noise_action().unwrap();
    let home = FreshNoise::new(&Streams::new(4), "coupled")
        .unit(0, &state, &Xi::from(state.x().shallow_clone()), translations.as_ref())
        .unwrap();
    for (found, pose) in [(&here, &c), (&there, &d)] {
        let expected = drive.transport(noise_action, pose, &state, &home).unwrap();
        assert_eq!((found.single() - expected.single()).abs().max().double_value(&[]), 0.0);
    }
    assert!((here.single() - there.single()).abs().max().double_value(&[]) > 0.5);
}

/// Variance and correlation to the right of white noise after a turn, inside of the disk and in the whole picture.
fn law(by: Interpolation, angle: f64) -> [f64; 3] {
    let config = ImageInterpolationConfig { noise: by, ..ImageInterpolationConfig::default() };
    let built = ImageInterpolation::new(&config);
    let noise = built.noise_action().unwrap();
    let count = 4000;
    let z = Streams::new(5).stream("law", 0).normal(&[count, 1, 28, 28], F64);
    let state = image(z.shallow_clone());
    let g = Element::from(Tensor::full([count, 1], angle, F64));
    let moved = noise.act_tangent(&g, &state, &z).unwrap();
    let all = moved.square().mean(Kind::Double).double_value(&[]);
    let inside = moved.narrow(2, 7, 14).narrow(3, 7, 14);
    let variance = inside.square().mean(Kind::Double).double_value(&[]);
    let beside = inside.narrow(3, 0, 13) * inside.narrow(3, 1, 13);
    [all, variance, beside.mean(Kind::Double).double_value(&[]) / variance]
}

/// The figures of the documentation.
#[test]
fn white_noise_after_a_turn() {
    tch::set_num_threads(1);
    for (by, expected) in
        [(Interpolation::Nearest, [1.0, 1.0]), (Interpolation::Bilinear, [4.0 / 9.0, 4.0 / 9.0])]
    {
        // Many angles, so that all offsets between the grids come up.
        let angles = [0.1, 0.3, 0.5, 0.7, 1.0, 1.2];
        let laws: Vec<_> = angles.iter().map(|a| law(by, *a)).collect();
        let mean = |k: usize| laws.iter().map(|l| l[k]).sum::<f64>() / laws.len() as f64;
        assert!((mean(1) - expected[1]).abs() < 0.02, "{by:?}: {laws:?}");
        println!(
            "{by:?}: variance {:.3} ({:.3} inside), correlation {:.3}",
            mean(0),
            mean(1),
            mean(2)
        );
    }
    let nearest = law(Interpolation::Nearest, 0.5);
    assert!((nearest[0] - 1.0).abs() < 0.005, "{nearest:?}");
    let [_, variance, correlation] = law(Interpolation::Bicubic, 0.5);
    println!("Bicubic at 0.5: variance {variance:.3}, correlation {correlation:.3}");
}

/// As a symmetry it is refused: noise that has been interpolated is not white.
#[test]
fn it_is_no_symmetry_of_a_process_and_moves_images_only() {
    let rotations = action(PlaneGroup::Rotations, Interpolation::Bilinear);
    let spec = StateSpec::new(FieldSpec::new(&[1, 28, 28], Moves::Image));
    let refused = process(json!({"type": "cosine"})).symmetric_under(&rotations, &spec);
    assert!(refused.is_err());
    let points = StateSpec::new(FieldSpec::new(&[2], Moves::Point));
    assert!(rotations.accepts(&points).unwrap_err().to_string().contains("image"));
    let lifted = image(blobs(&L, -1.0))
        .with_lift("angle", Field::new(Tensor::zeros([1, 1], F64), Moves::Coordinates));
    let turn = Element::from(Tensor::zeros([1, 1], F64));
    assert!(rotations.act(&turn, &lifted).unwrap_err().to_string().contains("lift"));
}
