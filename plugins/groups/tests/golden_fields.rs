//! Fields and coordinates against literal numbers of the golden vectors, and the hard places of
//! rotations.

#![allow(clippy::unwrap_used)]

use isotropy_core::{
    Drive, Element, Error, Field, Group, LieGroup, Moves, Representation, State, Stream, Streams,
    Xi,
};
use isotropy_groups::group::{So2, So3, Su2};
use isotropy_groups::representation::{
    Hyperspherical, HypersphericalChart, Polar, PolarChart, Rotation, Spherical, SphericalChart,
    TAU, Translation,
};
use isotropy_images::action::{ImagePermutation, PixelGroup};
use std::f64::consts::PI;
use tch::{Device, Kind, Tensor};

fn stream() -> Stream {
    Streams::new(5).stream("test", 0)
}

fn state(x: &[f64]) -> State {
    State::new(Field::new(Tensor::from_slice(x).unsqueeze(0), Moves::Point))
}

fn close(a: &Tensor, b: &[f64]) {
    let a = Vec::<f64>::try_from(a.flatten(0, -1)).unwrap();
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-12 + 1e-9 * b.abs(), "{a} is not {b}");
    }
}

fn field(drive: &dyn Drive, x: &State, i: usize) -> Tensor {
    let n = x.x().numel();
    let mut xi = vec![0.0; n];
    xi[i] = 1.0;
    drive.push(x, &Tensor::from_slice(&xi).unsqueeze(0).into())
}

#[test]
fn golden_polar_coordinates_and_fields() {
    let polar = Polar::new(PolarChart);
    let chart = polar.coordinates().unwrap();
    let x = state(&[-1.5, 0.5]);
    let tau = chart.tau(&x);
    close(tau.single(), &[0.4581453659370776, 2.819842099193151]);
    close(chart.point(&x, &tau).x(), &[-1.5, 0.5]);
    close(&field(&polar, &x, 0), &[-1.5, 0.5]);
    close(&field(&polar, &x, 1), &[-0.5, -1.5]);
    close(polar.divergences(&x).single(), &[2.0, 0.0]);
    close(&polar.ito(&x, &[1.0]), &[0.0, 0.0]);
    close(&chart.log_abs_det(&x).exp(), &[2.5]);
    close(chart.tau(&state(&[0.001, 0.001])).single(), &[-6.561181688702164, PI / 4.0]);
    // so2_pf_ode_step_beta0.25: tau + beta/2 (tau + s).
    let s = Tensor::from_slice(&[1.0, 0.0]).unsqueeze(0);
    let step = Xi::from((tau.single() + s) * 0.125);
    close(polar.flow(&x, &step).x(), &[-1.8963695683849415, -0.05829323331386641]);
}

#[test]
fn golden_spherical_coordinates_and_fields() {
    let spherical = Spherical::new(SphericalChart);
    let chart = spherical.coordinates().unwrap();
    let x = state(&[1.0, 0.5, -0.2]);
    close(chart.tau(&x).single(), &[0.1273211091867903, 1.7478094723139002, 0.4636476090008061]);
    close(
        &field(&spherical, &x, 1),
        &[-0.17888543819998318, -0.08944271909999159, -1.118033988749895],
    );
    close(&field(&spherical, &x, 2), &[-0.5, 1.0, 0.0]);
    close(&spherical.ito(&x, &[1.0]), &[-1.0, -0.5, 0.0]);
    close(spherical.divergences(&x).single(), &[3.0, -0.17888543819998318, 0.0]);
    close(&chart.log_abs_det(&x).exp(), &[1.4422638454873642]);
}

#[test]
fn golden_hyperspherical_coordinates_and_fields() {
    let drive = Hyperspherical::new(HypersphericalChart::new(4).unwrap());
    let chart = drive.coordinates().unwrap();
    let x = state(&[-0.3, 1.2, 0.4, -0.9]);
    let tau = [0.45814536593707744, 1.7616902539066415, 0.6872588618153099, -1.1525719972156676];
    close(chart.tau(&x).single(), &tau);
    close(
        &field(&drive, &x, 1),
        &[-1.5524174696260022, -0.2318963855042991, -0.0772987951680997, 0.17392228912822436],
    );
    close(
        &field(&drive, &x, 2),
        &[0.0, -0.9848857801796105, 0.4873661592641371, -1.0965738583443085],
    );
    close(&field(&drive, &x, 3), &[0.0, 0.0, 0.9, 0.4]);
    close(&drive.ito(&x, &[1.0]), &[0.0, -1.2, -0.8, 1.8]);
    close(drive.divergences(&x).single(), &[4.0, -0.38649397584049855, 1.2184153981603427, 0.0]);
    close(&chart.log_abs_det(&x).exp(), &[3.822384726842655]);
}

#[test]
fn tau_stays_unwrapped_along_a_lifted_flow() {
    let polar = Polar::new(PolarChart);
    let mut x = polar.lift(state(&[1.0, 0.0])).unwrap();
    let step = Xi::from(Tensor::from_slice(&[0.1, 2.0]).unsqueeze(0));
    for _ in 0..5 {
        x = polar.flow(&x, &step);
    }
    close(&x.lifted(TAU).unwrap().tensor, &[0.5, 10.0]);
    close(x.x(), &[0.5f64.exp() * 10f64.cos(), 0.5f64.exp() * 10f64.sin()]);
    // A state without lift moves to the same points.
    let free = polar.flow(&state(&[1.0, 0.0]), &step.scale(5.0));
    close(free.x(), &[0.5f64.exp() * 10f64.cos(), 0.5f64.exp() * 10f64.sin()]);
    assert!(free.lift.is_empty());
}

#[test]
fn atoms_of_a_point_set_each_have_their_coordinates() {
    let spherical = Spherical::new(SphericalChart);
    let atoms = stream().normal(&[3, 5, 3], (Kind::Double, Device::Cpu));
    let set = State::new(Field::new(atoms, Moves::Point).indexed(1));
    let lifted = spherical.lift(set.clone()).unwrap();
    assert_eq!(lifted.lifted(TAU).unwrap().index_axis, Some(1));
    assert_eq!(spherical.xi_shape(&set.spec()), vec![vec![5, 3]]);
    let chart = spherical.coordinates().unwrap();
    assert_eq!(chart.log_abs_det(&set).size(), [3]);
    assert_eq!(chart.regularity(&set).size(), [3]);
    let xi: Xi = stream().normal(&[3, 5, 3], (Kind::Double, Device::Cpu)).into();
    let moved = spherical.flow(&lifted, &xi);
    let (_, last) = moved.split_index(4);
    let (_, before) = lifted.split_index(4);
    let alone = spherical.flow(&before, &xi.map(|a| a.narrow(1, 4, 1)));
    assert_eq!(last.x(), alone.x());
}

#[test]
fn points_in_the_singular_set_are_refused() {
    let message = |result: isotropy_core::Result<State>| result.unwrap_err().to_string();
    let polar = Polar::new(PolarChart);
    assert!(message(polar.lift(state(&[0.0, 0.0]))).contains("singular"));
    assert!(message(polar.lift(state(&[f64::NAN, 0.0]))).contains("singular"));
    let spherical = Spherical::new(SphericalChart);
    assert!(message(spherical.lift(state(&[0.0, 0.0, 1.0]))).contains("singular"));
}

#[test]
fn wrong_shapes_are_refused_before_data_are_read() {
    let image =
        State::new(Field::new(Tensor::zeros([1, 3, 4], (Kind::Float, Device::Cpu)), Moves::Image));
    for representation in [
        Box::new(Polar::new(PolarChart)) as Box<dyn Representation>,
        Box::new(Rotation::space()),
        Box::new(Translation::new(true)),
        Box::new(ImagePermutation::new(PixelGroup::Square)),
    ] {
        assert!(representation.accepts(&image.spec()).is_err(), "{}", representation.name());
    }
    assert!(ImagePermutation::new(PixelGroup::Flips).accepts(&image.spec()).is_ok());
}

/// Spherical coordinates have a preferred axis; the pair with rotations is refused, polar is not.
#[test]
fn transports_that_do_not_exist_are_refused() {
    let h = So3.sample(&[vec![1, 3]], (Kind::Double, Device::Cpu), &mut stream());
    let x = state(&[1.0, 0.5, -0.2]);
    let xi = Xi::from(x.x() * 0.0);
    let spherical = Spherical::new(SphericalChart);
    let refused = spherical.transport(&Rotation::space(), &h, &x, &xi);
    assert!(matches!(refused, Err(Error::Unsupported(_))));
    let h = Element::from(Tensor::from_slice(&[0.3]).unsqueeze(0));
    let x = state(&[1.0, 0.5]);
    let xi = Xi::from(x.x() * 0.2);
    let polar = Polar::new(PolarChart);
    assert!(polar.transport(&Rotation::plane(), &h, &x, &xi).is_ok());
}

#[test]
fn padding_does_not_count_in_the_mean() {
    let x = Tensor::from_slice(&[1.0, 3.0, 100.0]).reshape([1, 3, 1]);
    let mask = Tensor::from_slice(&[1.0, 1.0, 0.0]).unsqueeze(0);
    let set = State::new(Field::new(x, Moves::Point).indexed(1))
        .with_context("mask", Field::new(mask, Moves::Fixed).indexed(1));
    close(Translation::new(true).lift(set).unwrap().x(), &[-1.0, 1.0, 0.0]);
}

#[test]
fn a_quarter_turn_of_pixels_is_counter_clockwise() {
    let image = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0]).reshape([1, 1, 2, 2]);
    let state = State::new(Field::new(image, Moves::Image));
    let act = |pixels, k: i64| {
        let g = Element::from(Tensor::from_slice(&[k]));
        ImagePermutation::new(pixels).act(&g, &state).unwrap().value.tensor
    };
    close(&act(PixelGroup::QuarterTurns, 1), &[2.0, 4.0, 1.0, 3.0]);
    close(&act(PixelGroup::HorizontalFlip, 1), &[2.0, 1.0, 4.0, 3.0]);
    close(&act(PixelGroup::VerticalFlip, 1), &[3.0, 4.0, 1.0, 2.0]);
    close(&act(PixelGroup::Flips, 1), &[4.0, 3.0, 2.0, 1.0]);
    close(&act(PixelGroup::Flips, 3), &[3.0, 4.0, 1.0, 2.0]);
}

#[test]
fn the_half_turn_has_a_documented_logarithm() {
    for (kind, tolerance) in [(Kind::Double, 1e-14), (Kind::Float, 2e-6)] {
        for axis in [[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [-0.6, 0.8, 0.0]] {
            let xi = Tensor::from_slice(&axis).to_kind(kind).unsqueeze(0) * PI;
            let back = So3.log(&So3.exp(&xi.shallow_clone().into())).unwrap();
            let biggest = axis
                .iter()
                .copied()
                .fold(0.0, |a: f64, b: f64| if b.abs() > a.abs() { b } else { a });
            let expected = xi * biggest.signum();
            let error = (back.single() - expected).abs().max().double_value(&[]);
            assert!(error < tolerance, "{kind:?} {axis:?}: {back:?}");
        }
    }
    // -1 in SU(2): every axis is right, 2 pi e_z is returned.
    let minus_one = Element::from(Tensor::from_slice(&[-1.0, 0.0, 0.0, 0.0]).unsqueeze(0));
    close(Su2.log(&minus_one).unwrap().single(), &[0.0, 0.0, 2.0 * PI]);
}

#[test]
fn what_is_not_a_rotation_is_refused_with_the_size_of_the_violation() {
    let stretched = Element::from(Tensor::eye(3, (Kind::Double, Device::Cpu)).unsqueeze(0) * 1.1);
    let error = So3.log(&stretched).unwrap_err();
    assert!(matches!(error, Error::Numbers(_)));
    assert!(error.to_string().contains("5.41"), "{error}");
    let mirror = Tensor::from_slice(&[1.0, 1.0, -1.0]).diag(0).unsqueeze(0);
    assert!(So3.log(&mirror.into()).is_err());
}

#[test]
fn tiny_angles_survive_a_product() {
    let a = Element::from(Tensor::from_slice(&[1e-12]).unsqueeze(0));
    let b = Element::from(Tensor::from_slice(&[3e-12]).unsqueeze(0));
    close(So2.compose(&a, &b).single(), &[4e-12]);
    assert_eq!(So2.compose(&a, &b).single().double_value(&[0, 0]), 1e-12 + 3e-12);
}
