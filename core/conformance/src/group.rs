//! Checks of groups: the axioms, exp and log at the hard places, bracket and adjoint against the
//! product, and, for finite groups, the table of products.

use super::CheckResult;
use super::measure::{
    Found, KINDS, Table, broken, cpu, dot, exact, largest, relative, relative_xi, repeat_first,
    worse,
};
use crate::strategies::{GroupSamples, large_norms, small_norms};
use isotropy_core::{Element, Error, FiniteGroup, Group, LieGroup, Result, Streams, Xi};
use tch::{Kind, Tensor};

/// Leading axes of the elements that a group is tested on.
const LEAD: [i64; 2] = [8, 2];

/// All checks of a group.
pub fn check_group(group: &dyn Group, streams: &Streams) -> Vec<CheckResult> {
    let mut table = Table::default();
    let kinds = if group.finite().is_some() { &KINDS[..1] } else { &KINDS[..] };
    for &(kind, label) in kinds {
        let samples = match GroupSamples::new(group, &LEAD, kind, streams) {
            Ok(samples) => samples,
            Err(error) => {
                table.results.push(CheckResult::skip("group axioms", error.to_string()));
                return table.results;
            }
        };
        axioms(&mut table, group, &samples, label);
        if let Some(lie) = group.lie() {
            exponential(&mut table, lie, &samples, label);
            algebra(&mut table, lie, &samples, label);
            gradients(&mut table, lie, &samples, label);
        }
    }
    table.check("invariance of the law", || law(group, streams));
    if let Some(finite) = group.finite() {
        table.check("table of products", || products(finite, streams));
    }
    table.results
}

fn furthest(group: &dyn Group, a: &Element, b: &Element) -> f64 {
    largest(&group.distance(a, b))
}

fn axioms(table: &mut Table, group: &dyn Group, samples: &GroupSamples, label: &str) {
    let tolerance = exact(samples.kind());
    let elements = || {
        let [a, b, c] = ["a", "b", "c"].map(|name| samples.elements(name));
        (a, b, c)
    };
    table.check_in("associativity", label, || {
        let (a, b, c) = elements();
        let left = group.compose(&group.compose(&a, &b), &c);
        let right = group.compose(&a, &group.compose(&b, &c));
        Ok(Found::Error(furthest(group, &left, &right), tolerance))
    });
    table.check_in("identity", label, || {
        let (a, e) = (samples.elements("a"), samples.identity());
        let left = furthest(group, &group.compose(&e, &a), &a);
        let right = furthest(group, &group.compose(&a, &e), &a);
        Ok(Found::Error(worse(left, right), tolerance))
    });
    table.check_in("left inverse", label, || {
        let a = samples.elements("a");
        let e = group.compose(&group.inverse(&a), &a);
        Ok(Found::Error(furthest(group, &e, &samples.identity()), tolerance))
    });
    table.check_in("right inverse", label, || {
        let a = samples.elements("a");
        let e = group.compose(&a, &group.inverse(&a));
        Ok(Found::Error(furthest(group, &e, &samples.identity()), tolerance))
    });
    table.check_in("membership", label, || {
        let (a, b, _) = elements();
        let all = [samples.identity(), group.compose(&a, &b), group.inverse(&a), a, b];
        let error = all.iter().map(|g| largest(&group.violation(g))).fold(0.0, worse);
        Ok(Found::Error(error, tolerance))
    });
    table.check_in("distance", label, || {
        let (a, b, _) = elements();
        let trivial = group.finite().is_some_and(|g| g.order() == 1);
        let furthest_pair = furthest(group, &a, &b);
        if !trivial && (furthest_pair.is_nan() || furthest_pair <= 0.0) {
            return broken("it does not tell independent elements apart");
        }
        let asymmetry = relative(&group.distance(&a, &b), &group.distance(&b, &a));
        Ok(Found::Error(worse(asymmetry, furthest(group, &a, &a)), tolerance))
    });
    table.check_in("leading axes are carried along", label, || leading_axes(group, samples));
    table.check_in("NaN is no member", label, || {
        let mut a = samples.elements("a");
        if a.0.iter().any(|t| !t.is_floating_point()) {
            return Ok(Found::Skip("elements are integers".into()));
        }
        a.0 = a.0.iter().map(|t| t.full_like(f64::NAN)).collect();
        let violation = largest(&group.violation(&a));
        if violation <= 1.0 {
            return broken(format!("the violation of an element of NaN is {violation}"));
        }
        Ok(Found::Error(0.0, 0.0))
    });
    table.check_in("shapes and kinds", label, || {
        let (a, b, _) = elements();
        for other in [samples.identity(), group.compose(&a, &b), group.inverse(&a)] {
            for (x, y) in a.0.iter().zip(&other.0) {
                if x.size() != y.size() || x.kind() != y.kind() {
                    return broken(format!("{x:?} becomes {y:?}"));
                }
            }
        }
        if a.0.len() != group.factors() || samples.shapes().len() != group.factors() {
            return broken("the number of tensors is not the number of factors");
        }
        Ok(Found::Error(0.0, 0.0))
    });
    table.check_in("check takes members and refuses the rest", label, || {
        let (a, b, _) = elements();
        for member in [&samples.identity(), &a, &group.compose(&a, &b)] {
            group.check(member)?;
        }
        let fewer = Element(a.0.iter().skip(1).map(Tensor::shallow_clone).collect());
        if group.check(&fewer).is_ok() {
            return broken("an element without its first factor passes");
        }
        let outside = perturbed(samples, &a);
        if largest(&group.violation(&outside)) < 0.05 {
            return Ok(Found::Skip("nearby numbers are elements too".into()));
        }
        match group.check(&outside) {
            Err(Error::Numbers(_)) => Ok(Found::Error(0.0, 0.0)),
            Err(error) => broken(format!("the refusal is not of the kind `Numbers`: {error:?}")),
            Ok(()) => broken("a violation of the defining equations passes"),
        }
    });
    table.check_in("sampling repeats", label, || {
        let error = furthest(group, &samples.elements("a"), &samples.elements("a"));
        Ok(Found::Error(error, 0.0))
    });
}

/// Point `index` of tensors with the leading axes `LEAD`, without any leading axis.
fn point(tensors: &[Tensor], index: [i64; 2]) -> Vec<Tensor> {
    tensors.iter().map(|t| t.select(0, index[0]).select(0, index[1])).collect()
}

/// Elements with other leading axes, or none, or no elements at all, are treated alike.
fn leading_axes(group: &dyn Group, samples: &GroupSamples) -> Result<Found> {
    if group.xi_shape(&[]).is_none() {
        return Ok(Found::Skip("the size comes from the state".into()));
    }
    let options = cpu(samples.kind());
    let (a, b) = (samples.elements("a"), samples.elements("b"));
    let index = [5, 1];
    let one = |g: &Element| Element(point(&g.0, index));
    let mut error =
        furthest(group, &one(&group.compose(&a, &b)), &group.compose(&one(&a), &one(&b)));
    error = worse(error, furthest(group, &one(&group.inverse(&a)), &group.inverse(&one(&a))));
    if group.distance(&one(&a), &one(&b)).dim() != 0 || group.violation(&one(&a)).dim() != 0 {
        return broken("distance or violation of one element is not one number");
    }
    let empty = group.xi_shape(&[0]).unwrap_or_default();
    let nobody = group.sample(&empty, options, &mut samples.stream("nobody"));
    let nobody = group.inverse(&group.compose(&nobody, &group.identity(&empty, options)));
    group.check(&nobody)?;
    let Some(lie) = group.lie() else { return Ok(Found::Error(error, exact(samples.kind()))) };
    let xi = samples.tangents("a").scale(0.3);
    let one_xi = |xi: &Xi| Xi(point(&xi.0, index));
    let g = lie.exp(&xi);
    error = worse(error, furthest(group, &one(&g), &lie.exp(&one_xi(&xi))));
    error = worse(error, relative_xi(&one_xi(&lie.log(&g)?), &lie.log(&one(&g))?));
    let moved = lie.adjoint(&g, &lie.bracket(&xi, &samples.tangents("b")));
    let alone = lie.bracket(&one_xi(&xi), &one_xi(&samples.tangents("b")));
    error = worse(error, relative_xi(&one_xi(&moved), &lie.adjoint(&one(&g), &alone)));
    let none = lie.log(&nobody)?;
    let none = lie.adjoint(&lie.exp(&none), &lie.bracket(&none, &none));
    if none.shapes() != empty {
        return broken(format!("coefficients of no elements have the shapes {:?}", none.shapes()));
    }
    Ok(Found::Error(error, exact(samples.kind())))
}

fn exponential(table: &mut Table, group: &dyn LieGroup, samples: &GroupSamples, label: &str) {
    let tolerance = exact(samples.kind());
    let radius = group.injectivity_radius();
    table.check_in("exp of zero", label, || {
        let e = group.exp(&samples.tangents("a").zeros_like());
        Ok(Found::Error(furthest(group, &e, &samples.identity()), tolerance))
    });
    table.check_in("exp lands in the group", label, || {
        let g = group.exp(&samples.tangents("a"));
        Ok(Found::Error(largest(&group.violation(&g)), tolerance))
    });
    table.check_in("log(exp) near zero, relative", label, || {
        let zero = samples.tangents("a").zeros_like();
        let forgotten = group.storage_error(samples.kind());
        let mut error = relative_xi(&group.log(&group.exp(&zero))?, &zero);
        for r in small_norms() {
            for xi in [samples.tangents_of_norm("a", r), samples.tangents_along_axes(r)] {
                let back = group.log(&group.exp(&xi))?;
                let off = largest_xi(&back.sub(&xi));
                error = worse(error, if off <= forgotten { 0.0 } else { off / r });
            }
        }
        Ok(Found::Error(error, tolerance))
    });
    table.check_in("log(exp) up to the injectivity radius", label, || {
        let mut error = 0.0;
        for r in large_norms(radius, samples.kind()) {
            for xi in [samples.tangents_of_norm("a", r), samples.tangents_along_axes(r)] {
                error = worse(error, relative_xi(&group.log(&group.exp(&xi))?, &xi));
            }
        }
        Ok(Found::Error(error, tolerance))
    });
    table.check_in("exp(log) at the cut locus", label, || {
        if !radius.is_finite() {
            return Ok(Found::Skip("exp is a bijection".into()));
        }
        let mut error = 0.0;
        for xi in [samples.tangents_of_norm("a", radius), samples.tangents_along_axes(radius)] {
            let g = group.exp(&xi);
            error = worse(error, furthest(group, &group.exp(&group.log(&g)?), &g));
        }
        Ok(Found::Error(error, tolerance))
    });
    table.check_in("exp(log) of samples", label, || {
        let g = samples.elements("a");
        match group.log(&g) {
            Ok(xi) => Ok(Found::Error(furthest(group, &group.exp(&xi), &g), tolerance)),
            // Some of them may lie outside of the image of exp; the others are still to be right.
            Err(Error::Unsupported(why)) if group.xi_shape(&[]).is_some() => {
                one_by_one(group, &g, why, tolerance)
            }
            Err(Error::Unsupported(why)) => Ok(Found::Skip(why)),
            Err(error) => Err(error),
        }
    });
    table.check_in("one-parameter subgroups", label, || {
        let xi = samples.tangents("a");
        let product = group.compose(&group.exp(&xi.scale(0.7)), &group.exp(&xi.scale(-1.9)));
        Ok(Found::Error(furthest(group, &product, &group.exp(&xi.scale(-1.2))), tolerance))
    });
    table.check_in("log of a product", label, || {
        let unit = samples.tangents_of_norm("a", radius.min(1.0));
        let product = group.compose(&group.exp(&unit.scale(0.3)), &group.exp(&unit.scale(0.5)));
        Ok(Found::Error(relative_xi(&group.log(&product)?, &unit.scale(0.8)), tolerance))
    });
    table.check_in("log refuses what is not in the group", label, || {
        let g = perturbed(samples, &samples.elements("a"));
        if largest(&group.violation(&g)) < 0.05 {
            return Ok(Found::Skip("nearby numbers are elements too".into()));
        }
        match group.log(&g) {
            Err(_) => Ok(Found::Error(0.0, 0.0)),
            Ok(_) => broken("it returned a logarithm"),
        }
    });
}

/// `exp(log)` of those samples that have a logarithm; says how many have none.
fn one_by_one(group: &dyn LieGroup, all: &Element, why: String, tolerance: f64) -> Result<Found> {
    let (mut error, mut left_out) = (0.0, 0);
    let places = || (0..LEAD[0]).flat_map(|i| (0..LEAD[1]).map(move |j| [i, j]));
    for place in places() {
        let g = Element(point(&all.0, place));
        match group.log(&g) {
            Ok(xi) => error = worse(error, furthest(group, &group.exp(&xi), &g)),
            Err(Error::Unsupported(_)) => left_out += 1,
            Err(error) => return Err(error),
        }
    }
    let count = places().count();
    if left_out == count {
        return Ok(Found::Skip(why));
    }
    Ok(Found::Partly(error, tolerance, format!("{left_out} of {count} left out: {why}")))
}

/// Numbers that are an element no longer, where the group has equations at all.
fn perturbed(samples: &GroupSamples, g: &Element) -> Element {
    let mut stream = samples.stream("outside");
    let shift = |t: &Tensor| {
        let noise = stream.normal(&t.size(), cpu(Kind::Double)) * 0.3;
        if t.is_floating_point() { t + noise.to_kind(t.kind()) } else { t - 1000 }
    };
    Element(g.0.iter().map(shift).collect())
}

fn largest_xi(xi: &Xi) -> f64 {
    xi.0.iter().map(largest).fold(0.0, worse)
}

fn algebra(table: &mut Table, group: &dyn LieGroup, samples: &GroupSamples, label: &str) {
    let tolerance = exact(samples.kind());
    let [a, b, c] = ["a", "b", "c"].map(|name| samples.tangents(name));
    let (a, b, c) = (&a, &b, &c);
    table.check_in("dimension is that of the coefficients", label, || {
        let points: i64 = match group.xi_shape(&LEAD) {
            Some(_) => LEAD.iter().product(),
            None => samples.shapes()[0][0],
        };
        let count: i64 = samples.shapes().iter().map(|s| s.iter().product::<i64>()).sum();
        let dimension = group.dimension(samples.shapes());
        Ok(Found::Error((dimension * points - count).abs() as f64, 0.0))
    });
    table.check_in("antisymmetry", label, || {
        let sum = group.bracket(a, b).add(&group.bracket(b, a));
        Ok(Found::Error(worse(largest_xi(&sum), largest_xi(&group.bracket(a, a))), tolerance))
    });
    table.check_in("bilinearity", label, || {
        let left = group.bracket(&a.add_scaled(c, 2.0), b);
        let right = group.bracket(a, b).add_scaled(&group.bracket(c, b), 2.0);
        Ok(Found::Error(relative_xi(&left, &right), tolerance))
    });
    table.check_in("Jacobi identity", label, || {
        let cycle = |a: &Xi, b: &Xi, c: &Xi| group.bracket(a, &group.bracket(b, c));
        let sum = cycle(a, b, c).add(&cycle(b, c, a)).add(&cycle(c, a, b));
        Ok(Found::Error(largest_xi(&sum), 10.0 * tolerance))
    });
    table.check_in("bracket against the adjoint", label, || {
        // [a, b] = d/de Ad_exp(e a) b at 0, by a central difference.
        let (e, allowed) = if samples.kind() == Kind::Double { (1e-4, 1e-6) } else { (1e-2, 1e-2) };
        let along = |e: f64| group.adjoint(&group.exp(&a.scale(e)), b);
        let difference = along(e).sub(&along(-e)).scale(0.5 / e);
        Ok(Found::Error(relative_xi(&difference, &group.bracket(a, b)), allowed))
    });
    table.check_in("bracket against the commutator", label, || {
        // log(x y x^-1 y^-1) = e^2 [a, b] + O(e^3); the odd orders cancel over the signs of e.
        let (e, allowed) = if samples.kind() == Kind::Double { (1e-3, 1e-4) } else { (3e-2, 5e-2) };
        let commutator = |e: f64| -> Result<Xi> {
            let (x, y) = (group.exp(&a.scale(e)), group.exp(&b.scale(e)));
            let back = group.compose(&group.inverse(&x), &group.inverse(&y));
            group.log(&group.compose(&group.compose(&x, &y), &back))
        };
        let mean = commutator(e)?.add(&commutator(-e)?).scale(0.5 / (e * e));
        Ok(Found::Error(relative_xi(&mean, &group.bracket(a, b)), allowed))
    });
    table.check_in("adjoint of a product", label, || {
        let (g, h) = (samples.elements("a"), samples.elements("b"));
        let left = group.adjoint(&group.compose(&g, &h), c);
        let right = group.adjoint(&g, &group.adjoint(&h, c));
        Ok(Found::Error(relative_xi(&left, &right), tolerance))
    });
    table.check_in("adjoint of a bracket", label, || {
        let g = samples.elements("a");
        let left = group.adjoint(&g, &group.bracket(a, b));
        let right = group.bracket(&group.adjoint(&g, a), &group.adjoint(&g, b));
        Ok(Found::Error(relative_xi(&left, &right), 10.0 * tolerance))
    });
    table.check_in("adjoint against conjugation", label, || {
        let g = samples.elements("a");
        let left = group.exp(&group.adjoint(&g, c));
        let right = group.compose(&group.compose(&g, &group.exp(c)), &group.inverse(&g));
        Ok(Found::Error(furthest(group, &left, &right), 10.0 * tolerance))
    });
}

/// The gradient of `sum_k w_k f(xi)_k`.
fn gradient(at: &Xi, f: impl Fn(&Xi) -> Result<Vec<Tensor>>, weights: &[Tensor]) -> Result<Xi> {
    let leaves = at.map(|t| t.detach().set_requires_grad(true));
    let values = f(&leaves)?;
    let sum = values
        .iter()
        .zip(weights)
        .map(|(v, w)| dot(v, w))
        .reduce(|a, b| a + b)
        .ok_or_else(|| Error::Other("no tensors".into()))?;
    if !sum.requires_grad() {
        return broken("the result does not depend on the coefficients");
    }
    Ok(Xi(Tensor::f_run_backward(&[sum], &leaves.0, false, false)?))
}

fn gradients(table: &mut Table, group: &dyn LieGroup, samples: &GroupSamples, label: &str) {
    let zero = samples.tangents("a").zeros_like();
    table.check_in("gradient of exp at zero", label, || {
        let mut stream = samples.stream("weights");
        let e = samples.identity();
        let weights: Vec<Tensor> =
            e.0.iter().map(|t| stream.normal(&t.size(), cpu(t.kind()))).collect();
        let slope = gradient(&zero, |xi| Ok(group.exp(xi).0), &weights)?;
        // Along a direction it must be the central difference of exp.
        let (h, allowed) = if samples.kind() == Kind::Double { (1e-5, 1e-7) } else { (1e-2, 1e-2) };
        let direction = samples.tangents("b");
        let along = |h: f64| group.exp(&direction.scale(h));
        let (plus, minus) = (along(h), along(-h));
        let mut error = 0.0;
        let mut expected = 0.0;
        for ((p, m), w) in plus.0.iter().zip(&minus.0).zip(&weights) {
            expected += dot(&(p - m), w).double_value(&[]) / (2.0 * h);
        }
        for (g, d) in slope.0.iter().zip(&direction.0) {
            error += dot(g, d).double_value(&[]);
        }
        Ok(Found::Error((error - expected).abs() / (1.0 + expected.abs()), allowed))
    });
    table.check_in("gradient of log at the identity", label, || {
        // log(exp(xi)) = xi, so the gradient of w . log(exp(xi)) is w.
        let weights = samples.tangents("c");
        let slope = gradient(&zero, |xi| Ok(group.log(&group.exp(xi))?.0), &weights.0)?;
        Ok(Found::Error(relative_xi(&slope, &weights), exact(samples.kind())))
    });
    table.check_in("gradient of log(exp) at the hard places", label, || {
        // It is the identity map everywhere below the injectivity radius. Close to the radius the
        // derivatives of exp and log may be nearly singular, so the tolerance is wide: this finds
        // NaN, infinity, zero and a wrong branch.
        let allowed = if samples.kind() == Kind::Double { 1e-5 } else { 5e-2 };
        // All places in one batch: the gradient of a sum over it is that of each place.
        let places: Vec<Xi> = samples.hard_tangents("a").into_iter().map(|(_, xi)| xi).collect();
        let joined = |k: usize, all: &[Xi]| {
            Tensor::cat(&all.iter().map(|xi| xi.0[k].shallow_clone()).collect::<Vec<_>>(), 0)
        };
        let all = Xi((0..group.factors()).map(|k| joined(k, &places)).collect());
        let weights = vec![samples.tangents("c"); places.len()];
        let weights = Xi((0..group.factors()).map(|k| joined(k, &weights)).collect());
        let value = |xi: &Xi| Ok(group.log(&group.exp(xi))?.0);
        let error = relative_xi(&gradient(&all, value, &weights.0)?, &weights);
        Ok(Found::Error(error, allowed))
    });
}

/// A Haar law does not change when all elements are multiplied by one of them, from either side:
/// the mean distance to a fixed element stays the same (within six standard errors).
fn law(group: &dyn Group, streams: &Streams) -> Result<Found> {
    if group.law() != "Haar" {
        return Ok(Found::Skip(format!("its law is {}", group.law())));
    }
    const COUNT: i64 = 8192;
    let samples = GroupSamples::new(group, &[COUNT], Kind::Double, streams)?;
    let g = samples.elements("law");
    let mut error = 0.0;
    for trial in 0..4 {
        let h = repeat_first(&samples.elements(&format!("law/h{trial}")));
        let k = repeat_first(&samples.elements(&format!("law/k{trial}")));
        let distances = |g: &Element| group.distance(g, &k).to_kind(Kind::Double).reshape([COUNT]);
        let base = distances(&g);
        for moved in [group.compose(&h, &g), group.compose(&g, &h), group.inverse(&g)] {
            let moved = distances(&moved);
            let spread = (base.var(true) + moved.var(true)).double_value(&[]) / COUNT as f64;
            let gap = (base.mean(Kind::Double) - moved.mean(Kind::Double)).double_value(&[]).abs();
            error = worse(error, if gap == 0.0 { 0.0 } else { gap / spread.sqrt() });
        }
    }
    Ok(Found::Error(error, 6.0))
}

/// Largest order whose table of products is written out.
const LARGEST_TABLE: i64 = 64;

/// Every product of two listed elements is exactly one listed element, every row and column of the
/// table holds every element once, and the first element is the identity.
fn products(group: &dyn FiniteGroup, streams: &Streams) -> Result<Found> {
    let n = group.order();
    if n > LARGEST_TABLE {
        return Ok(Found::Skip(format!("{n} elements; tables are written up to {LARGEST_TABLE}")));
    }
    let elements = group.elements(tch::Device::Cpu);
    let select =
        |rows: &Tensor| Element(elements.0.iter().map(|t| t.index_select(0, rows)).collect());
    let index = Tensor::arange(n, (Kind::Int64, tch::Device::Cpu));
    let first = index.repeat_interleave_self_int(n, None, None);
    let second = index.repeat([n]);
    let products = group.compose(&select(&first), &select(&second));
    let columns: Vec<Tensor> = (0..n)
        .map(|k| {
            let k = select(&Tensor::full([n * n], k, (Kind::Int64, tch::Device::Cpu)));
            group.distance(&products, &k).le(0.5).to_kind(Kind::Int64)
        })
        .collect();
    // hits[i, j, k] = 1 when a_i a_j = a_k.
    let hits = Tensor::stack(&columns, -1).reshape([n, n, n]);
    let mut error: f64 = 0.0;
    for axis in 0..3 {
        let count = hits.sum_dim_intlist(axis, false, None);
        error = worse(error, largest(&(count - 1)));
    }
    let samples = GroupSamples::new(group, &[n], Kind::Double, streams)?;
    let head = repeat_first(&elements);
    let error = worse(error, largest(&group.distance(&head, &samples.identity())));
    Ok(Found::Error(error, 0.0))
}
