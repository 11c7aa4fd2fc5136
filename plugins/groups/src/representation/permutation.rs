//! Finite groups that permute: functions on the group (the regular representation), on its cosets
//! (corners and edges of a polygon), components of vectors or points of a set.

use super::linear;
use super::linear::Linear;
use super::matrices::LinearRepresentation;
use isotropy_core::Constant;
use isotropy_core::{
    Element, Error, Field, Group, GroupConfig, Moves, Representation, RepresentationConfig, Result,
    State, StateSpec, Stream, component, config,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Largest order that a permutation table is made for.
const MAX_ORDER: i64 = 512;

/// A finite group that permutes the cosets `k H` of a subgroup: `g . kH = (g k) H`. For the trivial
/// subgroup these are the elements themselves, and the matrices are those of the regular
/// representation, `(g f)(h) = f(g^-1 h)` on functions `f` on the group.
///
/// Cosets are numbered by their first element in the group's list.
#[derive(Debug)]
pub struct Permutation {
    group: Arc<dyn Group>,
    /// `[order, cosets]`: where element `g` takes each coset.
    table: Constant,
    cosets: i64,
    regular: bool,
}

/// The places of elements `[..]` in the group's list.
fn places(group: &dyn Group, g: &Element) -> Option<Tensor> {
    let listed = group.finite()?.elements(g.0[0].device());
    let equal = g.0.iter().zip(&listed.0).map(|(a, e)| a.unsqueeze(-1).eq_tensor(e));
    let equal = equal.reduce(|a, b| a.logical_and(&b))?;
    Some(equal.to_kind(Kind::Int64).argmax(-1, false))
}

impl Permutation {
    /// The action on the cosets of the subgroup that the elements at the given places of the
    /// group's list generate.
    ///
    /// # Errors
    /// When the group is not finite, has more than 512 elements, or a place is not in the list.
    pub fn new(group: Arc<dyn Group>, stabiliser: &[i64]) -> Result<Self> {
        let infinite = || Error::config("/group", format!("{} is not finite", group.name()));
        let finite = group.finite().ok_or_else(infinite)?;
        let n = finite.order();
        if n > MAX_ORDER {
            let why = format!("{} has {n} elements; up to {MAX_ORDER} are tabulated", group.name());
            return Err(Error::config("/group", why));
        }
        if let Some(k) = stabiliser.iter().find(|&&k| !(0..n).contains(&k)) {
            let why = format!("{} has the elements 0 to {}, not {k}", group.name(), n - 1);
            return Err(Error::config("/stabiliser", why));
        }
        let list = finite.elements(Device::Cpu);
        let pick =
            |rows: Tensor| Element(list.0.iter().map(|t| t.index_select(0, &rows)).collect());
        let all = Tensor::arange(n, (Kind::Int64, Device::Cpu));
        let (left, right) =
            (pick(all.repeat_interleave_self_int(n, None, None)), pick(all.repeat([n])));
        let products =
            places(group.as_ref(), &group.compose(&left, &right)).ok_or_else(infinite)?;
        let products: Vec<i64> = Vec::try_from(products)?;
        let product = |a: i64, b: i64| products[(a * n + b) as usize];
        let one = group.xi_shape(&[]).ok_or_else(infinite)?;
        let identity = group.identity(&one, (Kind::Double, Device::Cpu));
        let identity = places(group.as_ref(), &identity).ok_or_else(infinite)?.int64_value(&[]);
        // The subgroup: products with the generators until nothing new appears.
        let mut subgroup = vec![identity];
        let mut next = 0;
        while next < subgroup.len() {
            for &s in stabiliser {
                let new = product(subgroup[next], s);
                if !subgroup.contains(&new) {
                    subgroup.push(new);
                }
            }
            next += 1;
        }
        let (mut coset_of, mut firsts) = (vec![-1; n as usize], Vec::new());
        for k in 0..n {
            if coset_of[k as usize] < 0 {
                for &h in &subgroup {
                    coset_of[product(k, h) as usize] = firsts.len() as i64;
                }
                firsts.push(k);
            }
        }
        let table = (0..n).flat_map(|g| firsts.iter().map(move |&k| (g, k)));
        let table = table.map(|(g, k)| coset_of[product(g, k) as usize] as f64).collect();
        let cosets = firsts.len() as i64;
        let table = Constant::new(table, &[n, cosets]);
        Ok(Self { group, table, cosets, regular: subgroup.len() == 1 })
    }

    /// The number of things that are permuted.
    pub fn size(&self) -> i64 {
        self.cosets
    }

    /// Where elements `[..]` take each coset, `[.., cosets]`.
    fn images(&self, g: &Element) -> Tensor {
        let places = places(self.group.as_ref(), g).expect("the group is finite");
        let table = self.table.tensor((Kind::Int64, places.device()));
        let shape = [places.size().as_slice(), &[self.cosets]].concat();
        table.index_select(0, &places.reshape([-1])).reshape(shape)
    }
}

impl Linear for Permutation {
    fn name(&self) -> String {
        let (group, n) = (self.group.name(), self.cosets);
        if self.regular {
            format!("regular representation of {group}")
        } else {
            format!("{group} permuting {n}")
        }
    }

    fn group(&self) -> &Arc<dyn Group> {
        &self.group
    }

    fn dimension(&self) -> i64 {
        self.cosets
    }

    /// `rho(g) e_k = e_(g k)`: column `k` has its 1 in row `g k`.
    fn matrix(&self, g: &Element, kind: Kind) -> Tensor {
        self.images(g).one_hot(self.cosets).transpose(-1, -2).to_kind(kind)
    }
}

/// A permutation of the points of a set: every field with an index axis is reordered along it, one
/// element for each point of the batch; the numbers of a point stay as they are.
#[derive(Debug)]
pub struct PointPermutation {
    permutation: Permutation,
}

impl PointPermutation {
    /// The action on the points.
    pub fn new(permutation: Permutation) -> Self {
        Self { permutation }
    }

    /// A tensor `[B, .., N, ..]` reordered along an axis.
    fn reorder(&self, g: &Element, a: &Tensor, axis: i64) -> Tensor {
        // Place k of the result comes from place g^-1 k.
        let from = self.permutation.images(&self.permutation.group.inverse(g));
        let mut shape = vec![1; a.dim()];
        (shape[0], shape[axis as usize]) = (a.size()[0], self.permutation.cosets);
        a.gather(axis, &from.reshape(shape).expand_as(a), false)
    }
}

impl Representation for PointPermutation {
    fn name(&self) -> String {
        format!("{} points", Linear::name(&self.permutation))
    }

    fn group(&self) -> &dyn Group {
        self.permutation.group.as_ref()
    }

    fn accepts(&self, spec: &StateSpec) -> Result<()> {
        let n = self.permutation.cosets;
        let sizes = |f: &isotropy_core::FieldSpec| {
            f.index_axis.map(|axis| f.shape[axis - usize::from(f.batched)])
        };
        let others = spec.lift.iter().chain(&spec.context).filter_map(|(_, f)| sizes(f));
        if sizes(&spec.value) == Some(n) && others.into_iter().all(|size| size == n) {
            return Ok(());
        }
        Err(Error::Unsupported(format!(
            "{} needs an index axis of size {n} in the value (and in no field another); the value has the shape {:?}",
            Representation::name(self),
            spec.value.shape
        )))
    }

    fn act(&self, g: &Element, state: &State) -> Result<State> {
        self.accepts(&state.spec())?;
        state.try_map(|_, field| {
            if field.index_axis.is_none() {
                return Ok(field.clone());
            }
            let field = linear::batched(field, state.batch_size());
            let axis = field.index_axis.map_or(0, |axis| axis as i64);
            Ok(field.with(self.reorder(g, &field.tensor, axis)))
        })
    }

    fn act_tangent(&self, g: &Element, state: &State, v: &Tensor) -> Result<Tensor> {
        let axis = state.value.index_axis.map_or(1, |axis| axis as i64);
        Ok(self.reorder(g, v, axis))
    }

    /// Points of the plane with a scalar each, and a label of the whole set.
    fn sample_state(
        &self,
        batch: i64,
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Option<State> {
        let n = self.permutation.cosets;
        let points = Field::new(stream.normal(&[batch, n, 2], options), Moves::Point).indexed(1);
        let mass = Field::new(stream.normal(&[batch, n], options), Moves::Scalar).indexed(1);
        let label = Field::new(stream.normal(&[batch, 1], options), Moves::Fixed);
        Some(State::new(points).with_context("mass", mass).with_context("label", label))
    }
}

/// Functions on a finite group, `(g f)(h) = f(g^-1 h)`: vectors with one component for each element.
#[config]
pub struct RegularConfig {
    /// The group; finite, with up to 512 elements.
    pub group: Box<dyn GroupConfig>,
}

#[component(
    "regular",
    "functions on a finite group",
    r#"{"type": "regular", "group": {"type": "dihedral", "rotations": 4}}"#
)]
impl RepresentationConfig for RegularConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        let group = self.group.build().map_err(|e| e.under("/group"))?;
        Ok(Arc::new(LinearRepresentation::new(Arc::new(Permutation::new(group, &[])?))))
    }
}

/// What a permutation reorders.
#[config]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Permuted {
    /// The components of vectors, on the last axis of the value: permutation matrices.
    #[default]
    Components,
    /// The points of a set, on the index axis of all fields.
    Points,
}

/// A finite group permuting the cosets of a subgroup: corners, edges, diagonals of a polygon.
///
/// In `dihedral`, element `n` is the reflection that fixes corner 0, so `"stabiliser": [n]` permutes
/// the n corners; in `cyclic`, no stabiliser does.
#[config]
pub struct PermutationConfig {
    /// The group; finite, with up to 512 elements.
    pub group: Box<dyn GroupConfig>,
    /// Places, in the group's list of elements, of generators of the subgroup that leaves the first
    /// of the permuted things where it is. Empty: the elements of the group itself are permuted.
    #[serde(default)]
    pub stabiliser: Vec<i64>,
    /// What is reordered: components (of vectors, on the last axis) or points (of a set, on the
    /// index axis).
    #[serde(default)]
    pub on: Permuted,
}

#[component(
    "permutation",
    "a finite group permuting components of vectors or points of a set",
    r#"{"type": "permutation", "group": {"type": "dihedral", "rotations": 5}, "stabiliser": [5]}"#
)]
impl RepresentationConfig for PermutationConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        let group = self.group.build().map_err(|e| e.under("/group"))?;
        let permutation = Permutation::new(group, &self.stabiliser)?;
        Ok(match self.on {
            Permuted::Components => Arc::new(LinearRepresentation::new(Arc::new(permutation))),
            Permuted::Points => Arc::new(PointPermutation::new(permutation)),
        })
    }
}
