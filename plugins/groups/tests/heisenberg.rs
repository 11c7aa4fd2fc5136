//! The Heisenberg group against its matrices.

#![allow(clippy::unwrap_used)]

use isotropy_conformance::strategies::GroupSamples;
use isotropy_core::{Group, LieGroup, Streams};
use isotropy_groups::group::Heisenberg;
use tch::{Kind, Tensor};

fn largest(a: &Tensor) -> f64 {
    a.abs().max().double_value(&[])
}

/// The strictly triangular matrices of coefficients.
fn hat(xi: &Tensor) -> Tensor {
    Heisenberg::matrix(xi) - Tensor::eye(3, (xi.kind(), xi.device()))
}

#[test]
fn everything_agrees_with_the_matrices() {
    let streams = Streams::new(0);
    let samples = GroupSamples::new(&Heisenberg, &[32], Kind::Double, &streams).unwrap();
    let (g, h) = (samples.elements("g"), samples.elements("h"));
    let (a, b) = (samples.tangents("a"), samples.tangents("b"));
    let m = |e: &isotropy_core::Element| Heisenberg::matrix(e.single());
    assert!(largest(&(m(&g).matmul(&m(&h)) - m(&Heisenberg.compose(&g, &h)))) < 1e-14);
    assert!(largest(&(Tensor::linalg_inv(&m(&g)) - m(&Heisenberg.inverse(&g)))) < 1e-14);
    assert!(largest(&(hat(a.single()).matrix_exp() - m(&Heisenberg.exp(&a)))) < 1e-14);
    let (x, y) = (hat(a.single()), hat(b.single()));
    let commutator = x.matmul(&y) - y.matmul(&x);
    assert!(largest(&(commutator - hat(Heisenberg.bracket(&a, &b).single()))) < 1e-14);
    let conjugate = m(&g).matmul(&x).matmul(&m(&Heisenberg.inverse(&g)));
    assert!(largest(&(conjugate - hat(Heisenberg.adjoint(&g, &a).single()))) < 1e-13);
    let back = Heisenberg.log(&Heisenberg.exp(&a)).unwrap();
    assert!(largest(&(back.single() - a.single())) < 1e-15);
}

/// The commutator of two elements lies in the centre, and the group is not Abelian.
#[test]
fn commutators_are_central() {
    let streams = Streams::new(1);
    let samples = GroupSamples::new(&Heisenberg, &[8], Kind::Double, &streams).unwrap();
    let (g, h) = (samples.elements("g"), samples.elements("h"));
    let forward = Heisenberg.compose(&g, &h);
    let back = Heisenberg.compose(&h, &g);
    let commutator = Heisenberg.compose(&forward, &Heisenberg.inverse(&back));
    assert!(largest(&commutator.single().narrow(-1, 0, 2)) < 1e-15);
    assert!(largest(&commutator.single().select(-1, 2)) > 0.1);
}
