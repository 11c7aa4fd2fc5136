//! The strategies that property tests draw from reach the places that they name.

#![allow(clippy::unwrap_used)]

use isotropy_conformance::strategies::{self, GroupSamples};
use isotropy_core::{Group, LieGroup, Streams};
use isotropy_groups::group::{Cyclic, Power, Se3, So2, So3, SoN, Translations};
use isotropy_groups::representation::{Polar, PolarChart};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

fn norms(xi: &Tensor) -> Vec<f64> {
    Vec::try_from(xi.norm_scalaropt_dim(2, [-1], false).to_kind(Kind::Double).flatten(0, -1))
        .unwrap()
}

#[test]
fn tangents_have_the_norm_that_was_asked_for_in_every_factor() {
    let streams = Streams::new(0);
    for group in [&So3 as &dyn Group, &Se3, &SoN { dimension: 5 }] {
        let samples = GroupSamples::new(group, &[4, 8], Kind::Double, &streams).unwrap();
        for norm in strategies::small_norms().into_iter().chain([1.0, 3.0]) {
            for xi in [samples.tangents_of_norm("a", norm), samples.tangents_along_axes(norm)] {
                assert!(norms(xi.single()).iter().all(|n| (n / norm - 1.0).abs() < 1e-14));
            }
        }
    }
}

/// Each axis of the algebra, and both its directions, come up.
#[test]
fn tangents_along_axes_cover_all_axes() {
    let streams = Streams::new(0);
    let samples = GroupSamples::new(&Se3, &[16], Kind::Double, &streams).unwrap();
    let xi = samples.tangents_along_axes(2.0);
    let (most, least) = (xi.single().amax([0], false), xi.single().amin([0], false));
    assert_eq!(Vec::<f64>::try_from(most).unwrap(), [2.0; 6]);
    assert_eq!(Vec::<f64>::try_from(least.neg()).unwrap(), [2.0; 6]);
}

#[test]
fn hard_elements_lie_where_their_names_say() {
    let streams = Streams::new(0);
    let samples = GroupSamples::new(&So3, &[8], Kind::Double, &streams).unwrap();
    let places = samples.hard_elements("g");
    assert_eq!(places.len(), 2 + 10 + 3);
    let angle = |g| So3.distance(g, &samples.identity()).max().double_value(&[]);
    let at = |name: &str| &places.iter().find(|(place, _)| place == name).unwrap().1;
    assert_eq!(angle(at("the identity")), 0.0);
    assert!((angle(at("1e-9 from the identity")) - 1e-9).abs() < 1e-20);
    // Half turns are furthest away: |R - 1| / sqrt 2 = 2.
    assert!((angle(at("0e0 from the cut locus")) - 2.0).abs() < 1e-14);
    for (place, g) in &places {
        assert!(So3.check(g).is_ok(), "{place}");
    }
    // The same name gives the same draw, another name another.
    assert_eq!(angle(&samples.elements("a")), angle(&samples.elements("a")));
    assert!(
        So3.distance(&samples.elements("a"), &samples.elements("b")).min().double_value(&[]) > 0.0
    );
}

#[test]
fn groups_without_cut_locus_or_algebra_leave_those_places_out() {
    let streams = Streams::new(0);
    let group = Translations { dimension: None };
    let samples = GroupSamples::new(&group, &[8], Kind::Double, &streams).unwrap();
    assert_eq!(samples.shapes(), [vec![8, 3]]);
    assert!(
        samples.near_cut_locus("a", 0.1).is_none() && samples.near_identity("a", 0.1).is_some()
    );
    let cyclic = Cyclic { order: 5 };
    let samples = GroupSamples::new(&cyclic, &[8], Kind::Double, &streams).unwrap();
    assert!(samples.hard_tangents("a").is_empty());
    assert_eq!(samples.hard_elements("a").len(), 2);
    let power = Power::new(Arc::new(So3), None).unwrap();
    let samples = GroupSamples::new(&power, &[8], Kind::Double, &streams).unwrap();
    assert_eq!(samples.shapes(), [vec![8, 3, 3]]);
}

#[test]
fn norms_near_the_injectivity_radius_stay_below_it_in_their_kind() {
    let radius = So2.injectivity_radius();
    for kind in [Kind::Double, Kind::Float] {
        for norm in strategies::large_norms(radius, kind) {
            let rounded = Tensor::from(norm).to_kind(kind).double_value(&[]);
            assert!(rounded < radius, "{norm}");
        }
    }
}

#[test]
fn states_of_a_drive_are_plain_lifted_and_far() {
    let options = (Kind::Double, Device::Cpu);
    let polar = Polar::new(PolarChart);
    let states = strategies::states(&polar, 5, options, &Streams::new(0)).unwrap();
    let names: Vec<&str> = states.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["plain", "lifted", "far"]);
    assert!(states[0].1.lift.is_empty() && !states[1].1.lift.is_empty());
    assert_eq!(states[0].1.x(), states[1].1.x());
    assert_ne!(states[1].1.x(), states[2].1.x());
}
