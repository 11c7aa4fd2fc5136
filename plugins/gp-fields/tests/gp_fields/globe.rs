//! The geometry of the globe, and what brings winds.

use isotropy_data::known_file::complete;
use isotropy_data::source::FetchRequest;
use isotropy_gp_fields::dataset::globe::{Frame, chart, transport};
use isotropy_gp_fields::source::{FILE, fetch as bring};
use std::f64::consts::PI;
use std::path::Path;
use tch::Tensor;

fn dot(a: &Tensor, b: &Tensor) -> Tensor {
    (a * b).sum_dim_intlist(-1, false, a.kind())
}

fn frame(latitude: f64, longitude: f64) -> Frame {
    let scalar = |degrees: f64| Tensor::from_slice(&[degrees * PI / 180.0]);
    Frame::at(&scalar(latitude), &scalar(longitude))
}

fn close(a: &Tensor, b: &[f64], tolerance: f64) {
    let off = (a.view(-1) - Tensor::from_slice(b)).abs().max().double_value(&[]);
    assert!(off < tolerance, "{a} is not {b:?}");
}

#[test]
fn frames_are_orthonormal_and_right_handed() {
    for (latitude, longitude) in [(0.0, 0.0), (35.0, -91.0), (-62.0, 200.0), (90.0, 10.0)] {
        let f = frame(latitude, longitude);
        close(&f.point.cross(&f.east, 1), &Vec::<f64>::try_from(f.north.view(-1)).unwrap(), 1e-14);
        close(&dot(&f.point, &f.point), &[1.0], 1e-14);
        close(&dot(&f.east, &f.east), &[1.0], 1e-14);
        close(&dot(&f.point, &f.east), &[0.0], 1e-14);
    }
    close(&frame(0.0, 0.0).point, &[1.0, 0.0, 0.0], 1e-15);
    close(&frame(0.0, 90.0).point, &[0.0, 1.0, 0.0], 1e-15);
    close(&frame(90.0, 0.0).point, &[0.0, 0.0, 1.0], 1e-15);
    // The directions are the derivatives of the point by the angles.
    let h = 1e-6;
    let step = (frame(35.0, -91.0 + h).point - frame(35.0, -91.0 - h).point) * (90.0 / (h * PI));
    let f = frame(35.0, -91.0);
    close(&(step / (35.0 * PI / 180.0).cos() - &f.east), &[0.0; 3], 1e-8);
    let step = (frame(35.0 + h, -91.0).point - frame(35.0 - h, -91.0).point) * (90.0 / (h * PI));
    close(&(step - &f.north), &[0.0; 3], 1e-8);
}

#[test]
fn the_chart_keeps_distances_and_directions_from_the_centre() {
    let centre = frame(20.0, 50.0);
    close(&chart(&centre, &frame(27.0, 50.0).point), &[0.0, 7.0 * PI / 180.0], 1e-14);
    close(&chart(&centre, &centre.point), &[0.0, 0.0], 1e-15);
    let near = chart(&centre, &frame(20.0, 50.0 + 1e-7).point);
    close(&(near / (1e-7 * PI / 180.0)), &[(20.0 * PI / 180.0).cos(), 0.0], 1e-6);
    let equator = chart(&frame(0.0, 10.0), &frame(0.0, 130.0).point);
    close(&equator, &[120.0 * PI / 180.0, 0.0], 1e-14);
    // A haversine for the distance of a point that lies anywhere.
    let far = chart(&centre, &frame(-33.0, 91.0).point);
    let haversine = ((53.0_f64 / 2.0).to_radians().sin().powi(2)
        + 20_f64.to_radians().cos()
            * 33_f64.to_radians().cos()
            * (41.0_f64 / 2.0).to_radians().sin().powi(2))
    .sqrt()
    .asin()
        * 2.0;
    close(&dot(&far, &far).sqrt(), &[haversine], 1e-13);
}

#[test]
fn transported_winds_keep_length_and_angle_with_the_great_circle() {
    let (centre, here) = (frame(20.0, 50.0), frame(41.0, 72.0));
    let wind = here.tangent(&Tensor::from_slice(&[3.0, -4.0]).view([1, 2]));
    let moved = transport(&centre, &here.point, &wind);
    close(&dot(&moved, &moved), &[25.0], 1e-12);
    // The great circle's own direction at the point is minus that of the chart as seen from there.
    let (there, back) = (chart(&centre, &here.point), chart(&here, &centre.point));
    let angle = |a: &Tensor, b: &Tensor| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    let before = angle(&Tensor::from_slice(&[3.0, -4.0]).view([1, 2]), &-back);
    close(&(angle(&moved, &there) - before), &[0.0], 1e-13);
    // At the centre nothing changes.
    let same = transport(
        &centre,
        &centre.point,
        &centre.tangent(&Tensor::from_slice(&[1.0, 2.0]).view([1, 2])),
    );
    close(&same, &[1.0, 2.0], 1e-14);
}

#[test]
fn another_file_is_refused_and_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    std::fs::create_dir_all(&from).unwrap();
    std::fs::create_dir_all(&to).unwrap();
    let fetch = |from: &Path| {
        bring(&FetchRequest { folder: to.clone(), from: Some(from.to_path_buf()) }).unwrap_err()
    };
    let error = fetch(&from);
    assert!(error.to_string().contains(FILE.name), "{error}");
    std::fs::write(from.join(FILE.name), vec![0; 11_104_376]).unwrap();
    let error = fetch(&from);
    assert!(error.to_string().contains("SHA-256") && error.exit_code() == 3, "{error}");
    std::fs::write(from.join("x.deb"), "no package").unwrap();
    let error = fetch(&from.join("x.deb"));
    assert!(error.to_string().contains("dpkg-deb"), "{error}");
    assert!(!complete(&to, &[FILE]) && std::fs::read_dir(&to).unwrap().count() == 0);
}

#[test]
#[ignore = "needs Debian's package lists and the network"]
fn the_package_manager_brings_the_file_and_a_second_fetch_takes_it_from_a_folder() {
    let scratch = tempfile::tempdir().unwrap();
    let (first, second) = (scratch.path().join("first"), scratch.path().join("second"));
    for (to, from) in [(&first, None), (&second, Some(first.clone()))] {
        std::fs::create_dir_all(to).unwrap();
        bring(&FetchRequest { folder: to.clone(), from }).unwrap();
        assert!(complete(to, &[FILE]));
        assert_eq!(std::fs::read_dir(to).unwrap().count(), 1);
    }
}
