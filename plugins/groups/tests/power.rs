//! Powers and tori: sizes from the configuration and from the state, finite powers, wrong shapes.

#![allow(clippy::unwrap_used)]

use isotropy_conformance::{Status, group::check_group};
use isotropy_core::{Element, Error, Group, GroupConfig, Streams};
use isotropy_groups as _;
use tch::{Device, Kind, Tensor};

fn build(json: &str) -> isotropy_core::Result<std::sync::Arc<dyn Group>> {
    serde_json::from_str::<Box<dyn GroupConfig>>(json).unwrap().build()
}

#[test]
fn powers_products_and_finite_groups_satisfy_the_suite() {
    tch::set_num_threads(1);
    for json in [
        r#"{"type": "power", "group": {"type": "so3"}}"#,
        r#"{"type": "power", "group": {"type": "se3"}, "count": 1}"#,
        r#"{"type": "power", "group": {"type": "tori", "dimension": 3}, "count": 2}"#,
        r#"{"type": "power", "group": {"type": "cyclic", "order": 3}, "count": 3}"#,
        r#"{"type": "power", "group": {"type": "dihedral", "rotations": 3}, "count": 2}"#,
        r#"{"type": "power", "count": 3, "group": {"type": "product", "factors":
            [{"type": "so3"}, {"type": "translations", "dimension": 3}]}}"#,
        r#"{"type": "power", "count": 2, "group":
            {"type": "power", "group": {"type": "heisenberg"}, "count": 3}}"#,
        r#"{"type": "product", "factors": [{"type": "gl-n", "dimension": 2}, {"type": "so2"}]}"#,
        r#"{"type": "product", "factors": [{"type": "cyclic", "order": 2}, {"type": "su2"}]}"#,
        r#"{"type": "product", "factors": [{"type": "so3"}, {"type": "translations"}]}"#,
        r#"{"type": "translations"}"#,
        r#"{"type": "tori", "dimension": 1}"#,
        r#"{"type": "tori", "dimension": 7}"#,
        r#"{"type": "cyclic", "order": 1}"#,
        r#"{"type": "dihedral", "rotations": 1}"#,
        r#"{"type": "dihedral", "rotations": 2}"#,
        r#"{"type": "dihedral", "rotations": 7}"#,
    ] {
        let group = build(json).unwrap();
        let results = check_group(group.as_ref(), &Streams::new(0));
        assert!(results.len() > 5, "{json}: {results:?}");
        for result in results {
            assert!(result.status != Status::Fail, "{}: {result:?}", group.name());
        }
    }
}

#[test]
fn an_element_has_one_rotation_for_each_point() {
    let group = build(r#"{"type": "power", "group": {"type": "so3"}, "count": 4}"#).unwrap();
    assert_eq!(group.xi_shape(&[7]), Some(vec![vec![7, 4, 3]]));
    let options = (Kind::Double, Device::Cpu);
    let e = group.identity(&group.xi_shape(&[7]).unwrap(), options);
    assert_eq!(e.single().size(), [7, 4, 3, 3]);
    assert_eq!(group.violation(&e).size(), [7]);
    assert_eq!(group.lie().unwrap().dimension(&[vec![7, 4, 3]]), 12);
    let few = group.check(&Element::from(e.single().narrow(1, 0, 3)));
    assert!(few.unwrap_err().to_string().contains("[4, 3, 3]"));
    // Any number of points is an element where the state says how many.
    let group = build(r#"{"type": "power", "group": {"type": "so3"}}"#).unwrap();
    assert!(group.xi_shape(&[7]).is_none());
    group.check(&e).unwrap();
    assert_eq!(group.lie().unwrap().dimension(&[vec![7, 4, 3]]), 12);
    // One wrong point of one element is enough.
    let wrong = e.single().copy();
    let _ = wrong.narrow(0, 3, 1).narrow(1, 2, 1).fill_(0.3);
    assert!(matches!(group.check(&wrong.into()), Err(Error::Numbers(_))));
}

#[test]
fn finite_powers_are_listed_while_they_are_small() {
    let group = build(r#"{"type": "power", "group": {"type": "cyclic", "order": 2}, "count": 3}"#);
    let group = group.unwrap();
    let all = group.finite().unwrap().elements(Device::Cpu);
    assert_eq!(all.single().size(), [8, 3]);
    assert_eq!(Vec::<i64>::try_from(all.single().select(0, 5)).unwrap(), [1, 0, 1]);
    let large = build(r#"{"type": "power", "group": {"type": "cyclic", "order": 2}, "count": 64}"#);
    assert!(large.unwrap().finite().is_none());
}

#[test]
fn powers_without_sense_are_refused_at_their_place() {
    for (json, place) in [
        (r#"{"type": "power", "group": {"type": "so3"}, "count": 0}"#, "/count"),
        (r#"{"type": "power", "group": {"type": "translations"}}"#, "/group"),
        (r#"{"type": "power", "group": {"type": "tori", "dimension": 0}}"#, "/group/dimension"),
    ] {
        match build(json) {
            Err(Error::Config { pointer, .. }) => assert_eq!(pointer, place),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn tori_wrap_each_angle_by_itself_and_keep_tiny_ones() {
    let group = build(r#"{"type": "tori", "dimension": 3}"#).unwrap();
    let a = Element::from(Tensor::from_slice(&[3.0, 1e-300, -3.0]));
    let b = group.compose(&a, &a);
    let expected = [6.0 - std::f64::consts::TAU, 2e-300, std::f64::consts::TAU - 6.0];
    assert_eq!(Vec::<f64>::try_from(b.single()).unwrap(), expected);
    assert!(group.check(&Element::from(Tensor::from_slice(&[0.0, 4.0, 0.0]))).is_err());
}
