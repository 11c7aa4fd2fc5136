//! Linear representations, their sums, products and duals, permutations and defining actions.

#![allow(clippy::unwrap_used)]

use isotropy_conformance::representation::check_representation;
use isotropy_conformance::{CheckResult, Status};
use isotropy_core::{
    Drive, Element, Error, Field, FiniteGroup, Group, Moves, Representation, RepresentationConfig,
    State, Stream, Streams, Xi,
};
use isotropy_groups::group::{Cyclic, Dihedral, Se3, So3, SoN};
use isotropy_groups::representation::{
    Defining, Hyperspherical, HypersphericalChart, Linear, LinearRepresentation, Translation,
    as_linear,
};
use isotropy_images::action::{
    ImagePermutation, ImageShift, PixelGroup, image_rotation::ImageRotation,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

const DOUBLE: (Kind, Device) = (Kind::Double, Device::Cpu);

fn stream() -> Stream {
    Streams::new(7).stream("representations", 0)
}

fn worst(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}

fn build(json: &str) -> isotropy_core::Result<Arc<dyn Representation>> {
    serde_json::from_str::<Box<dyn RepresentationConfig>>(json).unwrap().build()
}

fn refusal(json: &str) -> (String, String) {
    match build(json).unwrap_err() {
        isotropy_core::Error::Config { message, pointer, .. } => (pointer, message),
        other => panic!("{other:?}"),
    }
}

fn linear(json: &str) -> Arc<dyn Linear> {
    as_linear(build(json).unwrap().as_ref()).unwrap()
}

/// Configurations of every kind; the examples of the catalogue are checked in `conformance.rs`.
const SHOWN: [&str; 24] = [
    r#"{"type": "irrep", "degree": 0}"#,
    r#"{"type": "irrep", "degree": 1}"#,
    r#"{"type": "irrep", "degree": 3}"#,
    r#"{"type": "irrep", "degree": 4}"#,
    r#"{"type": "irreps", "features": "3x0o + 2x2e + 1"}"#,
    r#"{"type": "regular", "group": {"type": "cyclic", "order": 6}}"#,
    r#"{"type": "regular", "group": {"type": "product", "factors": [{"type": "cyclic", "order": 2}, {"type": "dihedral", "rotations": 3}]}}"#,
    r#"{"type": "permutation", "group": {"type": "cyclic", "order": 5}, "on": "points"}"#,
    r#"{"type": "permutation", "group": {"type": "dihedral", "rotations": 4}, "stabiliser": [4], "on": "points"}"#,
    r#"{"type": "permutation", "group": {"type": "dihedral", "rotations": 4}, "stabiliser": [2, 5]}"#,
    r#"{"type": "defining", "group": {"type": "so2"}}"#,
    r#"{"type": "defining", "group": {"type": "so3"}}"#,
    r#"{"type": "defining", "group": {"type": "so-n", "dimension": 5}}"#,
    r#"{"type": "defining", "group": {"type": "su2"}}"#,
    r#"{"type": "defining", "group": {"type": "se2"}}"#,
    r#"{"type": "defining", "group": {"type": "gl-n", "dimension": 3}}"#,
    r#"{"type": "defining", "group": {"type": "translations", "dimension": 3}}"#,
    r#"{"type": "defining", "group": {"type": "heisenberg"}}"#,
    r#"{"type": "defining", "group": {"type": "dilations"}}"#,
    r#"{"type": "defining", "group": {"type": "cyclic", "order": 7}}"#,
    r#"{"type": "defining", "group": {"type": "dihedral", "rotations": 5}}"#,
    r#"{"type": "dual", "of": {"type": "defining", "group": {"type": "gl-n", "dimension": 2}}}"#,
    r#"{"type": "direct-sum", "parts": [
        {"type": "rotation", "dimension": 3},
        {"type": "tensor-product", "parts": [{"type": "irrep", "degree": 1}, {"type": "irrep", "degree": 2}]},
        {"type": "dual", "of": {"type": "irreps", "features": "2x0 + 1x3"}}]}"#,
    r#"{"type": "tensor-product", "parts": [
        {"type": "defining", "group": {"type": "dihedral", "rotations": 4}},
        {"type": "regular", "group": {"type": "dihedral", "rotations": 4}}]}"#,
];

fn failures(results: &[CheckResult]) -> Vec<String> {
    let failed = results.iter().filter(|r| r.status == Status::Fail);
    failed.map(|r| format!("{}: {} ({:?})", r.check, r.why, r.error)).collect()
}

#[test]
fn shown_configurations_satisfy_the_suite() {
    tch::set_num_threads(1);
    for json in SHOWN {
        let representation = build(json).unwrap_or_else(|e| panic!("{json}: {e}"));
        let results = check_representation(representation.as_ref(), &Streams::new(3));
        assert!(results.iter().filter(|r| r.status == Status::Pass).count() > 12, "{json}");
        assert!(failures(&results).is_empty(), "{json}: {:#?}", failures(&results));
    }
}

#[test]
fn every_configuration_in_the_book_builds() {
    let sections = [
        (include_str!("../../../docs/src/plugins/groups.md"), "How groups act\n"),
        (include_str!("../../../docs/src/plugins/images.md"), "How groups act on images\n"),
    ];
    let shown = sections.map(|(page, heading)| {
        page.split("\n## ").find(|text| text.starts_with(heading)).expect("the section is there")
    });
    let quoted = shown.iter().flat_map(|text| text.split('`'));
    let quoted = quoted.filter(|text| text.starts_with(r#"{"type""#));
    let built: Vec<_> =
        quoted.map(|json| build(json).unwrap_or_else(|e| panic!("{json}: {e}"))).collect();
    let built = built.len();
    assert!(built >= 18, "only {built} configurations were found");
}

/// `rho(g h) = rho(g) rho(h)` to 1e-12, matrix by matrix.
#[test]
fn matrices_multiply_as_the_group_does() {
    for json in SHOWN {
        let Ok(rho) = as_linear(build(json).unwrap().as_ref()) else { continue };
        let group = rho.group();
        let shape = group.xi_shape(&[9]).unwrap();
        let (g, h) = {
            let mut stream = stream();
            (group.sample(&shape, DOUBLE, &mut stream), group.sample(&shape, DOUBLE, &mut stream))
        };
        let of = |g: &Element| rho.matrix(g, Kind::Double);
        let product = of(&group.compose(&g, &h));
        assert_eq!(product.size(), [9, rho.dimension(), rho.dimension()], "{json}");
        assert!(worst(&of(&g).matmul(&of(&h)), &product) < 1e-12, "{json}");
    }
}

#[test]
fn parts_of_different_groups_are_refused_with_the_reason() {
    let (pointer, message) = refusal(
        r#"{"type": "direct-sum", "parts": [{"type": "irrep", "degree": 1}, {"type": "rotation", "dimension": 2}]}"#,
    );
    assert_eq!(pointer, "/parts/1");
    assert!(message.contains("SO(3)") && message.contains("SO(2)"), "{message}");
    let (pointer, message) = refusal(
        r#"{"type": "tensor-product", "parts": [
            {"type": "regular", "group": {"type": "cyclic", "order": 4}},
            {"type": "direct-sum", "parts": [{"type": "regular", "group": {"type": "cyclic", "order": 5}}]}]}"#,
    );
    assert_eq!(pointer, "/parts/1");
    assert!(message.contains("C_4") && message.contains("C_5"), "{message}");
    let (pointer, message) = refusal(
        r#"{"type": "direct-sum", "parts": [{"type": "direct-sum", "parts": [{"type": "image-rotation"}]}]}"#,
    );
    assert_eq!(pointer, "/parts/0/parts/0");
    assert!(message.contains("matrices"), "{message}");
    let (pointer, message) =
        refusal(r#"{"type": "dual", "of": {"type": "defining", "group": {"type": "se3"}}}"#);
    assert_eq!(pointer, "/of");
    assert!(message.contains("affine"), "{message}");
    assert_eq!(refusal(r#"{"type": "direct-sum", "parts": []}"#).0, "/parts");
    assert_eq!(refusal(r#"{"type": "irrep", "degree": 11}"#).0, "/degree");
    assert_eq!(refusal(r#"{"type": "irreps", "features": "2y1"}"#).0, "/features");
    assert_eq!(refusal(r#"{"type": "regular", "group": {"type": "so2"}}"#).0, "/group");
    let wrong =
        r#"{"type": "permutation", "group": {"type": "cyclic", "order": 4}, "stabiliser": [4]}"#;
    assert_eq!(refusal(wrong).0, "/stabiliser");
    let no_action =
        r#"{"type": "defining", "group": {"type": "product", "factors": [{"type": "so2"}]}}"#;
    assert_eq!(refusal(no_action).0, "/group");
}

/// `(g f)(h) = f(g^-1 h)`, counted out over the whole table of D_4.
#[test]
fn the_regular_representation_acts_from_the_left() {
    let group = Dihedral { rotations: 4 };
    let rho = linear(r#"{"type": "regular", "group": {"type": "dihedral", "rotations": 4}}"#);
    let f = stream().normal(&[8], DOUBLE);
    let all = group.elements(Device::Cpu);
    for g in 0..8i64 {
        let g = Element::from(Tensor::from_slice(&[g]));
        let moved = rho.matrix(&g, Kind::Double).matmul(&f.unsqueeze(-1)).squeeze();
        let from =
            group.compose(&group.inverse(&Element::from(g.single().expand([8], false))), &all);
        assert_eq!(moved, f.index_select(0, from.single()));
    }
    // The character: the order at the identity, zero elsewhere.
    let traces =
        rho.matrix(&all, Kind::Double).diagonal(0, -2, -1).sum_dim_intlist(-1, false, None);
    assert_eq!(traces, Tensor::from_slice(&[8., 0., 0., 0., 0., 0., 0., 0.]));
}

/// The permuted corners are where the plane's symmetry takes them.
#[test]
fn corners_move_with_the_polygon() {
    for n in [3i64, 4, 5] {
        let json = format!(
            r#"{{"type": "permutation", "group": {{"type": "dihedral", "rotations": {n}}}, "stabiliser": [{n}]}}"#
        );
        let corners = linear(&json);
        assert_eq!(corners.dimension(), n);
        let group = Dihedral { rotations: n };
        let all = group.elements(Device::Cpu);
        let angles = Tensor::arange(n, DOUBLE) * (std::f64::consts::TAU / n as f64);
        let polygon = Tensor::stack(&[angles.cos(), angles.sin()], -1);
        let (plane, _) = group.affine(&all, Kind::Double).unwrap();
        let turned = polygon.matmul(&plane.transpose(1, 2));
        // Corner k goes to the place of corner g k: the columns of the matrix.
        let expected = corners.matrix(&all, Kind::Double).transpose(1, 2).matmul(&polygon);
        assert!(worst(&turned, &expected) < 1e-14);
    }
    let edges = linear(
        r#"{"type": "permutation", "group": {"type": "dihedral", "rotations": 4}, "stabiliser": [2, 4]}"#,
    );
    assert_eq!(edges.dimension(), 2);
}

/// `kron(a, b)`, literal numbers.
#[test]
fn tensor_products_run_fastest_in_the_last_factor() {
    let quarter = r#"{"type": "defining", "group": {"type": "cyclic", "order": 4}}"#;
    let regular = r#"{"type": "regular", "group": {"type": "cyclic", "order": 4}}"#;
    let product =
        linear(&format!(r#"{{"type": "tensor-product", "parts": [{quarter}, {regular}]}}"#));
    let g = Element::from(Tensor::from_slice(&[1i64]));
    let matrix = product.matrix(&g, Kind::Double).get(0);
    let (a, b) =
        (linear(quarter).matrix(&g, Kind::Double), linear(regular).matrix(&g, Kind::Double));
    assert!(worst(&matrix, &a.get(0).kron(&b.get(0).contiguous())) < 1e-15);
    let sum = linear(&format!(r#"{{"type": "direct-sum", "parts": [{quarter}, {regular}]}}"#));
    assert!(
        worst(&sum.matrix(&g, Kind::Double).get(0), &Tensor::block_diag(&[a.get(0), b.get(0)]))
            < 1e-15
    );
}

/// The pairing of the dual with the representation is invariant, for a group that is not orthogonal.
#[test]
fn a_covector_of_a_vector_is_invariant() {
    let of = r#"{"type": "defining", "group": {"type": "gl-n", "dimension": 3}}"#;
    let rho = linear(of);
    let dual = linear(&format!(r#"{{"type": "dual", "of": {of}}}"#));
    let shape = rho.group().xi_shape(&[5]).unwrap();
    let g = rho.group().sample(&shape, DOUBLE, &mut stream());
    let paired =
        dual.matrix(&g, Kind::Double).transpose(1, 2).matmul(&rho.matrix(&g, Kind::Double));
    assert!(worst(&paired, &Tensor::eye(3, DOUBLE).expand([5, 3, 3], false)) < 1e-10);
    let gap = worst(&dual.matrix(&g, Kind::Double), &rho.matrix(&g, Kind::Double));
    assert!(gap > 0.1, "this group would not tell the dual from the representation");
}

/// Degree 1 is the defining representation with the components in the order (y, z, x); degrees 1
/// and 1 contain 0, 1 and 2: the characters agree.
#[test]
fn irreps_of_rotations_agree_with_vectors() {
    let g = So3.sample(&[vec![6, 3]], DOUBLE, &mut stream());
    let one = linear(r#"{"type": "irrep", "degree": 1}"#).matrix(&g, Kind::Double);
    assert!(worst(&one.roll([1, 1], [-2, -1]), g.single()) < 1e-15);
    let square = linear(
        r#"{"type": "tensor-product", "parts": [{"type": "rotation", "dimension": 3}, {"type": "rotation", "dimension": 3}]}"#,
    );
    let sum = linear(r#"{"type": "irreps", "features": "0e + 1e + 2e"}"#);
    let trace = |m: Tensor| m.diagonal(0, -2, -1).sum_dim_intlist(-1, false, None);
    assert!(
        worst(&trace(square.matrix(&g, Kind::Double)), &trace(sum.matrix(&g, Kind::Double)))
            < 1e-13
    );
}

/// One rigid motion moves a whole cloud: points are shifted, vectors only turned.
#[test]
fn a_point_cloud_moves_as_one() {
    let action = Defining::new(Arc::new(Se3)).unwrap();
    let mut stream = stream();
    let g = Se3.sample(&[vec![2, 6]], DOUBLE, &mut stream);
    let cloud = stream.normal(&[2, 7, 3], DOUBLE);
    let force = stream.normal(&[2, 7, 3], DOUBLE);
    let state = State::new(Field::new(cloud.shallow_clone(), Moves::Point).indexed(1))
        .with_context("force", Field::new(force.shallow_clone(), Moves::Vector).indexed(1))
        .with_context("landmark", Field::new(cloud.get(0), Moves::Point).shared().indexed(0));
    let moved = action.act(&g, &state).unwrap();
    let (r, t) =
        (g.single().narrow(1, 0, 3).narrow(2, 0, 3), g.single().narrow(1, 0, 3).select(2, 3));
    let turned = cloud.matmul(&r.transpose(1, 2));
    assert!(worst(moved.x(), &(&turned + t.unsqueeze(1))) < 1e-14);
    let forces = &moved.given("force").unwrap().tensor;
    assert!(worst(forces, &force.matmul(&r.transpose(1, 2))) < 1e-14);
    // The shared landmarks become one set for each point of the batch.
    assert_eq!(moved.given("landmark").unwrap().tensor.size(), [2, 7, 3]);
    let image = State::new(Field::new(cloud, Moves::Image));
    assert!(action.act(&g, &image).is_err());
    // Matrices that are not orthogonal do not move frames.
    let frames = State::new(Field::new(stream.normal(&[2, 3, 3], DOUBLE), Moves::Frame));
    assert!(Defining::new(Arc::new(SoN { dimension: 3 })).unwrap().accepts(&frames.spec()).is_ok());
    let stretched =
        build(r#"{"type": "defining", "group": {"type": "gl-n", "dimension": 3}}"#).unwrap();
    assert!(stretched.accepts(&frames.spec()).is_err());
}

/// Features that are irreps carry the positions they belong to.
#[test]
fn positions_turn_with_the_features() {
    let action = build(r#"{"type": "irreps", "features": "2x0 + 1x2"}"#).unwrap();
    let mut stream = stream();
    let features = stream.normal(&[3, 4, 7], DOUBLE);
    let positions = stream.normal(&[3, 4, 3], DOUBLE);
    let state = State::new(Field::new(features.shallow_clone(), Moves::Vector).indexed(1))
        .with_context("position", Field::new(positions.shallow_clone(), Moves::Point).indexed(1));
    let g = So3.sample(&[vec![3, 3]], DOUBLE, &mut stream);
    let moved = action.act(&g, &state).unwrap();
    let turned = positions.matmul(&g.single().transpose(1, 2));
    assert!(worst(&moved.given("position").unwrap().tensor, &turned) < 1e-14);
    assert_eq!(moved.x().narrow(2, 0, 2), features.narrow(2, 0, 2));
    let points = State::new(Field::new(positions, Moves::Point).indexed(1));
    let why = action.accepts(&points.spec()).unwrap_err().to_string();
    assert!(why.contains("7 components"), "{why}");
}

/// T(n) takes any symmetry that is affine on the value: its noise moves as tangents do.
#[test]
fn translations_are_driven_under_every_linear_symmetry() {
    let drive = Translation::new(false);
    for json in SHOWN.iter().chain(&[r#"{"type": "defining", "group": {"type": "se3"}}"#]) {
        let symmetry = build(json).unwrap();
        let mut stream = stream();
        let state = symmetry.sample_state(4, DOUBLE, &mut stream).unwrap();
        let shape = symmetry.element_shape(&state).unwrap();
        let h = symmetry.group().sample(&shape, DOUBLE, &mut stream);
        let xi = Xi::from(stream.normal(&state.x().size(), DOUBLE));
        let moved = drive.transport(symmetry.as_ref(), &h, &state, &xi).unwrap();
        let left = symmetry.act(&h, &drive.flow(&state, &xi)).unwrap();
        let right = drive.flow(&symmetry.act(&h, &state).unwrap(), &moved);
        assert!(worst(left.x(), right.x()) < 1e-11, "{json}");
    }
}

/// Coordinates in every dimension that the issue names.
#[test]
fn hyperspherical_coordinates_hold_up_to_dimension_eight() {
    tch::set_num_threads(1);
    for n in 3..=8 {
        let drive = Hyperspherical::new(HypersphericalChart::new(n).unwrap());
        let results = check_representation(&drive, &Streams::new(n as u64));
        assert!(failures(&results).is_empty(), "{n}: {:#?}", failures(&results));
        // sism.md 2.3, derived there for any N; here in numbers for x = (1, .., 1):
        // R_k = sqrt(n - k), div Pi_k = (n-1-k) / R_k, log |det| = 2 log r + sum log R_k.
        let x = State::new(Field::new(Tensor::ones([1, n], DOUBLE), Moves::Point));
        let radius = |k: i64| ((n - k) as f64).sqrt();
        let mut divergences = vec![n as f64];
        divergences.extend((1..=n - 2).map(|k| (n - 1 - k) as f64 / radius(k)));
        divergences.push(0.0);
        let expected = Tensor::from_slice(&divergences).unsqueeze(0);
        assert!(worst(drive.divergences(&x).single(), &expected) < 1e-14);
        let chart = drive.coordinates().unwrap();
        let logs: f64 = (1..=n - 2).map(|k| radius(k).ln()).sum::<f64>() + 2.0 * radius(0).ln();
        assert!((chart.log_abs_det(&x).double_value(&[0]) - logs).abs() < 1e-14);
        let omega: Vec<f64> = (0..n).map(|j| -(j.min(n - 2) as f64)).collect();
        assert!(worst(&drive.ito(&x, &[1.0]), &Tensor::from_slice(&omega).unsqueeze(0)) < 1e-14);
    }
}

#[test]
fn shifts_go_round_to_the_right_and_upwards() {
    let shifts = ImageShift::new(3, 4, 1).unwrap();
    let image = Tensor::arange(12, DOUBLE).reshape([1, 1, 3, 4]);
    let index = |k: i64| Tensor::from_slice(&[k]);
    let moved = |right: i64, up: i64| {
        let g = Element(vec![index(right), index(up)]);
        Vec::<f64>::try_from(shifts.shift(&g, &image).unwrap().flatten(0, -1)).unwrap()
    };
    assert_eq!(moved(1, 0), [3., 0., 1., 2., 7., 4., 5., 6., 11., 8., 9., 10.]);
    assert_eq!(moved(0, 1), [4., 5., 6., 7., 8., 9., 10., 11., 0., 1., 2., 3.]);
    assert_eq!(shifts.group().finite().unwrap().order(), 12);
    let even = ImageShift::new(6, 4, 2).unwrap();
    assert_eq!(even.group().finite().unwrap().order(), 6);
    for (rows, columns, step, place) in [(0, 4, 1, "/rows"), (6, 4, 4, "/step"), (6, 4, 0, "/step")]
    {
        let refused = ImageShift::new(rows, columns, step).unwrap_err();
        assert!(matches!(&refused, Error::Config { pointer, .. } if pointer == place), "{refused}");
    }
    let other = State::new(Field::new(Tensor::zeros([1, 1, 4, 4], DOUBLE), Moves::Image));
    assert!(shifts.accepts(&other.spec()).unwrap_err().to_string().contains("3x4"));
}

/// The plane's quarter turns on pixels, on the plane and by interpolation are one and the same.
#[test]
fn induced_actions_on_images_agree() {
    let image = stream().normal(&[4, 1, 6, 6], DOUBLE);
    let state = State::new(Field::new(image, Moves::Image));
    let quarters = Tensor::from_slice(&[0i64, 1, 2, 3]);
    let exact = ImagePermutation::new(PixelGroup::QuarterTurns)
        .act(&Element::from(quarters.shallow_clone()), &state)
        .unwrap();
    let angles = quarters.to_kind(Kind::Double).unsqueeze(-1) * std::f64::consts::FRAC_PI_2;
    let turned = ImageRotation.act(&Element::from(angles), &state).unwrap();
    assert!(worst(exact.x(), turned.x()) < 1e-12);
    // (g f)(p) = f(g^-1 p): the bright pixel goes where the plane's rotation takes its place.
    let group = Cyclic { order: 4 };
    let one = Element::from(Tensor::from_slice(&[1i64]));
    let (plane, _) = group.affine(&one, Kind::Double).unwrap();
    let place = plane.get(0).matmul(&Tensor::from_slice(&[2.5, 1.5]).unsqueeze(-1));
    let pixel = |x: f64, y: f64| [(2.5 - y) as i64, (x + 2.5) as i64];
    let dot = Tensor::zeros([1, 1, 6, 6], DOUBLE);
    let [row, column] = pixel(2.5, 1.5);
    let _ = dot.get(0).get(0).get(row).get(column).fill_(1.0);
    let moved = ImagePermutation::new(PixelGroup::QuarterTurns)
        .act(&one, &State::new(Field::new(dot, Moves::Image)))
        .unwrap();
    let [row, column] = pixel(place.double_value(&[0, 0]), place.double_value(&[1, 0]));
    assert_eq!(moved.x().double_value(&[0, 0, row, column]), 1.0);
}

#[test]
fn a_plugins_own_matrices_act_on_states() {
    /// The determinant of the defining representation: a sign.
    #[derive(Debug)]
    struct Sign(Arc<dyn Group>);
    impl Linear for Sign {
        fn name(&self) -> String {
            "sign".into()
        }
        fn group(&self) -> &Arc<dyn Group> {
            &self.0
        }
        fn dimension(&self) -> i64 {
            1
        }
        fn matrix(&self, g: &Element, kind: Kind) -> Tensor {
            let reflected = g.single().ge(4).to_kind(kind);
            (reflected * -2.0 + 1.0).unsqueeze(-1).unsqueeze(-1)
        }
    }
    let sign = LinearRepresentation::new(Arc::new(Sign(Arc::new(Dihedral { rotations: 4 }))));
    let results = check_representation(&sign, &Streams::new(1));
    assert!(failures(&results).is_empty(), "{:#?}", failures(&results));
    assert_eq!(as_linear(&sign).unwrap().dimension(), 1);
}

/// Without a lift the flow is computed by multiplication: it leads to the same points as the
/// coordinates do, beyond the poles and close to them, in either kind.
#[test]
fn flows_by_multiplication_are_shifts_of_the_coordinates() {
    tch::set_num_threads(1);
    for (json, n) in [
        (r#"{"type": "polar"}"#, 2),
        (r#"{"type": "spherical"}"#, 3),
        (r#"{"type": "hyperspherical", "dimension": 3}"#, 3),
        (r#"{"type": "hyperspherical", "dimension": 4}"#, 4),
        (r#"{"type": "hyperspherical", "dimension": 6}"#, 6),
    ] {
        let (representation, mut stream) = (build(json).unwrap(), stream());
        let drive = representation.drive().unwrap();
        let chart = drive.coordinates().unwrap();
        for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 2e-5)] {
            for near in [1.0, 1e-2, 1e-4] {
                let x = stream.normal(&[200, n], (Kind::Double, Device::Cpu));
                // All but one component small: close to a pole.
                let rest = &x * near;
                let axis = if json.contains("hyper") { 0 } else { n - 1 };
                rest.select(1, axis).copy_(&x.select(1, axis));
                let state = State::new(Field::new(rest.to_kind(kind), Moves::Point));
                let xi = stream.normal(&[200, n], (kind, Device::Cpu)) * 2.0;
                let xi = Xi::from(xi);
                let moved = drive.flow(&state, &xi);
                let expected = chart.point(&state, &chart.tau(&state).add(&xi));
                let size = expected.x().norm_scalaropt_dim(2, [-1], true);
                let error = ((moved.x() - expected.x()) / size).abs().max().double_value(&[]);
                assert!(error < tolerance, "{json} {kind:?} {near}: {error:e}");
            }
        }
    }
}

#[test]
fn an_unwrapped_drive_gives_its_points_their_coordinates() {
    let state = State::new(Field::new(stream().normal(&[50, 3], DOUBLE), Moves::Point));
    let of = |json: &str| build(json).unwrap();
    let (plain, carrying) =
        (of(r#"{"type": "spherical"}"#), of(r#"{"type": "spherical", "unwrapped": true}"#));
    let xi = Xi::from(stream().normal(&[50, 3], DOUBLE) * 3.0);
    let chart = carrying.drive().unwrap().coordinates().unwrap();
    let expected = chart.tau(&state).add(&xi);
    let moved = carrying.drive().unwrap().flow(&state, &xi);
    assert!(worst(chart.unwrapped(&moved).single(), expected.single()) < 1e-14);
    assert!(worst(chart.tau(&moved).single(), expected.single()) > 1.0, "nothing has wrapped");
    let again = carrying.drive().unwrap().flow(&moved, &xi);
    assert!(worst(chart.unwrapped(&again).single(), expected.add(&xi).single()) < 1e-14);
    let log_r = chart.log_radius(&again).unwrap();
    let r = again.x().norm_scalaropt_dim(2, [-1], true);
    assert!(worst(&log_r, &r.log()) < 1e-12);
    let point = chart.point(&state, &expected);
    assert!(worst(point.x(), moved.x()) < 1e-12);
    assert!(worst(chart.unwrapped(&point).single(), expected.single()) < 1e-14);
    let other = plain.drive().unwrap().flow(&state, &xi);
    assert!(other.lift.is_empty() && worst(other.x(), moved.x()) < 1e-10);
}
