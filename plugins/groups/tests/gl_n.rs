//! GL(n)+: the principal logarithm, and the errors outside it.

#![allow(clippy::unwrap_used)]

use isotropy_conformance::strategies::GroupSamples;
use isotropy_conformance::{Status, group::check_group};
use isotropy_core::{Element, Error, Group, GroupConfig, LieGroup, Streams};
use isotropy_groups::group::GlN;
use tch::{Device, Kind, Tensor};

fn matrix(rows: &[f64]) -> Element {
    let n = (rows.len() as f64).sqrt() as i64;
    Tensor::from_slice(rows).reshape([n, n]).into()
}

fn largest(a: &Tensor) -> f64 {
    a.to_kind(Kind::Double).abs().max().double_value(&[])
}

#[test]
fn known_logarithms() {
    let group = GlN { dimension: 2 };
    let log = |rows: &[f64]| group.log(&matrix(rows)).unwrap();
    let close = |rows: &[f64], expected: &[f64]| {
        let error = largest(&(log(rows).single() - Tensor::from_slice(expected)));
        assert!(error < 1e-13, "{rows:?}: {error:e}");
    };
    close(&[1.0, 0.0, 0.0, 1.0], &[0.0; 4]);
    // A Jordan block: no basis of eigenvectors.
    close(&[2.0, 1.0, 0.0, 2.0], &[2f64.ln(), 0.5, 0.0, 2f64.ln()]);
    let (c, s) = (3f64.cos(), 3f64.sin());
    close(&[c, -s, s, c], &[0.0, -3.0, 3.0, 0.0]);
    close(&[1e3, 0.0, 0.0, 1e-3], &[1e3f64.ln(), 0.0, 0.0, -1e3f64.ln()]);
}

/// diag(-1, -2) has no real logarithm at all; -1 has many, of which none is the principal one.
#[test]
fn negative_eigenvalues_are_a_typed_error_that_names_them() {
    let group = GlN { dimension: 2 };
    for (rows, named) in [
        ([-1.0, 0.0, 0.0, -2.0], "-2.0"),
        ([-1.0, 0.0, 0.0, -1.0], "-1.0"),
        ([-3.0, 1.0, 0.0, -3.0], "-3.0"),
    ] {
        let error = group.log(&matrix(&rows)).unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
    let near = std::f64::consts::PI - 1e-5;
    let error = group.log(&matrix(&[near.cos(), -near.sin(), near.sin(), near.cos()])).unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)) && error.to_string().contains("3.1415"));
}

#[test]
fn a_determinant_that_is_not_positive_is_refused_with_its_value() {
    let group = GlN { dimension: 2 };
    let text = group.check(&matrix(&[1.0, 0.0, 0.0, -0.5])).unwrap_err().to_string();
    assert!(text.contains("-5.000e-1"), "{text}");
    let singular = group.log(&matrix(&[1.0, 2.0, 2.0, 4.0]));
    assert!(matches!(singular, Err(Error::Numbers(_))));
    assert!(group.check(&matrix(&[f64::NAN, 0.0, 0.0, 1.0])).is_err());
    assert!(group.check(&Element::from(Tensor::eye(3, (Kind::Double, Device::Cpu)))).is_err());
}

/// Every matrix of the law has a logarithm, or an eigenvalue that refuses one.
#[test]
fn logarithms_of_random_matrices_are_right_or_refused() {
    tch::set_num_threads(1);
    let streams = Streams::new(2);
    let mut refused = 0;
    for n in 1..=8 {
        let group = GlN { dimension: n };
        let samples = GroupSamples::new(&group, &[24], Kind::Double, &streams).unwrap();
        let g = samples.elements("g");
        for k in 0..24 {
            let one = Element::from(g.single().select(0, k));
            match group.log(&one) {
                Ok(xi) => {
                    let error = group.distance(&group.exp(&xi), &one).double_value(&[]);
                    assert!(error < 1e-11, "GL({n})+: {error:e}");
                }
                Err(Error::Unsupported(_)) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!((10..150).contains(&refused), "{refused} of 192 refused");
}

#[test]
fn further_sizes_satisfy_the_suite() {
    tch::set_num_threads(1);
    for n in [1, 3, 5, 8] {
        let json = format!(r#"{{"type": "gl-n", "dimension": {n}}}"#);
        let config: Box<dyn GroupConfig> = serde_json::from_str(&json).unwrap();
        for result in check_group(config.build().unwrap().as_ref(), &Streams::new(0)) {
            assert!(result.status != Status::Fail, "GL({n})+: {result:?}");
        }
    }
}
