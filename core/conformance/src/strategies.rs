//! What to test a group or a representation on: elements, coefficients and states, those at the
//! hard places among them.
//!
//! The conformance suite draws from here, and so can the tests of a plugin: everything is a pure
//! function of the [`Streams`] and a name, so a failure repeats.
//!
//! ```no_run
//! # fn test(group: &dyn isotropy_core::Group) -> isotropy_core::Result<()> {
//! use isotropy_conformance::strategies::GroupSamples;
//! use isotropy_core::Streams;
//! let streams = Streams::new(0);
//! let samples = GroupSamples::new(group, &[8], tch::Kind::Double, &streams)?;
//! for (place, g) in samples.hard_elements("g") {
//!     let e = group.compose(&group.inverse(&g), &g);
//!     let error = group.distance(&e, &samples.identity()).max().double_value(&[]);
//!     assert!(error < 1e-11, "{place}: {error}");
//! }
//! # Ok(())
//! # }
//! ```

use isotropy_core::{
    Drive, Element, Error, Group, Representation, Result, State, Stream, Streams, Xi,
};
use tch::{Device, Kind, Tensor};

/// `1e-12, 1e-11, .., 1e-3`: where series take over from closed formulas.
pub fn small_norms() -> Vec<f64> {
    (3..=12).rev().map(|k| 10f64.powi(-k)).collect()
}

/// Norms away from zero and up to the injectivity radius: a tenth and half of it, then `radius -
/// 1e-k` for `k = 1 ..= 6` (3 in f32, where the next would round to the radius). Where exp is a
/// bijection, 0.1, 1 and 4.
pub fn large_norms(radius: f64, kind: Kind) -> Vec<f64> {
    if radius.is_infinite() {
        return vec![0.1, 1.0, 4.0];
    }
    let deepest = if kind == Kind::Double { 6 } else { 3 };
    let near = (1..=deepest).map(|k| radius - 10f64.powi(-k));
    [0.1 * radius, 0.5 * radius].into_iter().chain(near).collect()
}

/// Elements and coefficients of a group, on the CPU.
///
/// Each method takes a name; one name gives the same draw each time.
#[derive(Debug)]
pub struct GroupSamples<'a> {
    group: &'a dyn Group,
    shapes: Vec<Vec<i64>>,
    streams: &'a Streams,
    kind: Kind,
}

impl<'a> GroupSamples<'a> {
    /// Elements with the leading axes `lead`; a group that takes its size from the state gets its
    /// own [`Group::example_shape`] for as many points.
    ///
    /// # Errors
    /// `Unsupported` when the group names no shape to test it with.
    pub fn new(
        group: &'a dyn Group,
        lead: &[i64],
        kind: Kind,
        streams: &'a Streams,
    ) -> Result<Self> {
        let shapes = group.xi_shape(lead).or_else(|| group.example_shape(lead.iter().product()));
        let shapes = shapes.ok_or_else(|| {
            Error::Unsupported(format!(
                "{} takes its size from the state and names none to test it with",
                group.name()
            ))
        })?;
        Ok(Self { group, shapes, streams, kind })
    }

    /// Shapes of the coefficients.
    pub fn shapes(&self) -> &[Vec<i64>] {
        &self.shapes
    }

    /// The kind of the numbers.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A stream of its own for further draws.
    pub fn stream(&self, name: &str) -> Stream {
        self.streams.stream(&format!("conformance/{name}"), 0)
    }

    /// Elements, drawn from the group's own law.
    pub fn elements(&self, name: &str) -> Element {
        self.group.sample(&self.shapes, (self.kind, Device::Cpu), &mut self.stream(name))
    }

    /// The identity.
    pub fn identity(&self) -> Element {
        self.group.identity(&self.shapes, (self.kind, Device::Cpu))
    }

    /// Coefficients, standard normal.
    pub fn tangents(&self, name: &str) -> Xi {
        let mut stream = self.streams.stream(&format!("conformance/{name}"), 1);
        let options = (self.kind, Device::Cpu);
        Xi(self.shapes.iter().map(|shape| stream.normal(shape, options)).collect())
    }

    /// Coefficients in random directions whose last axis has the norm `norm` in every factor.
    pub fn tangents_of_norm(&self, name: &str, norm: f64) -> Xi {
        // Directions are normalised in f64, so that the norm is right up to one rounding.
        self.tangents(name).map(|a| {
            let a = a.to_kind(Kind::Double);
            let direction = &a / a.norm_scalaropt_dim(2, [-1], true);
            (direction * norm).to_kind(self.kind)
        })
    }

    /// Coefficients `norm` and `-norm` along one axis, another for every point: pure rotations of
    /// SE(3), one plane of SO(n).
    pub fn tangents_along_axes(&self, norm: f64) -> Xi {
        let along = |shape: &Vec<i64>| {
            let count: i64 = shape.iter().product();
            let dimension = shape.last().copied().unwrap_or(1).max(1);
            let points = count / dimension;
            let index = Tensor::arange(points, (Kind::Int64, Device::Cpu));
            let sign: Tensor = 1 - index.divide_scalar_mode(dimension, "floor").remainder(2) * 2;
            let axes = index.remainder(dimension).one_hot(dimension) * sign.unsqueeze(-1);
            (axes.to_kind(Kind::Double) * norm).to_kind(self.kind).reshape(shape)
        };
        Xi(self.shapes.iter().map(along).collect())
    }

    /// Coefficients at the hard places, each with its norm: 0, [`small_norms`] and [`large_norms`],
    /// in random directions and along the axes. For groups with an algebra, else empty.
    pub fn hard_tangents(&self, name: &str) -> Vec<(f64, Xi)> {
        let Some(lie) = self.group.lie() else { return Vec::new() };
        let norms = [vec![0.0], small_norms(), large_norms(lie.injectivity_radius(), self.kind)];
        let both = |norm| [self.tangents_of_norm(name, norm), self.tangents_along_axes(norm)];
        norms.concat().into_iter().flat_map(|n| both(n).map(|xi| (n, xi))).collect()
    }

    /// Elements `exp(xi)` with `|xi| = distance`; `None` without an algebra.
    pub fn near_identity(&self, name: &str, distance: f64) -> Option<Element> {
        Some(self.group.lie()?.exp(&self.tangents_of_norm(name, distance)))
    }

    /// Elements `exp(xi)` with `|xi|` short of the injectivity radius by `gap` (0: on the cut
    /// locus); `None` without an algebra or where exp is a bijection.
    pub fn near_cut_locus(&self, name: &str, gap: f64) -> Option<Element> {
        let lie = self.group.lie()?;
        let radius = lie.injectivity_radius();
        radius.is_finite().then(|| lie.exp(&self.tangents_of_norm(name, radius - gap)))
    }

    /// The identity, elements of the law, near the identity and near the cut locus, each with the
    /// name of the place.
    pub fn hard_elements(&self, name: &str) -> Vec<(String, Element)> {
        let mut all = vec![
            ("the identity".to_string(), self.identity()),
            ("the law".to_string(), self.elements(name)),
        ];
        for distance in small_norms() {
            let near = self.near_identity(name, distance);
            all.extend(near.map(|g| (format!("{distance:.0e} from the identity"), g)));
        }
        for gap in [0.0, 1e-6, 1e-3] {
            let near = self.near_cut_locus(name, gap);
            all.extend(near.map(|g| (format!("{gap:.0e} from the cut locus"), g)));
        }
        all
    }
}

/// States that an action is tested on ([`Representation::sample_state`]), each with the name of the
/// place: as a dataset gives them, and, for drives, lifted, and far from there on the unwrapped
/// branch. Empty when the representation offers none.
///
/// # Errors
/// When a state cannot be lifted.
pub fn states(
    representation: &dyn Representation,
    batch: i64,
    options: (Kind, Device),
    streams: &Streams,
) -> Result<Vec<(&'static str, State)>> {
    let mut stream = streams.stream("conformance/state", 0);
    let Some(plain) = representation.sample_state(batch, options, &mut stream) else {
        return Ok(Vec::new());
    };
    let Some(drive) = representation.drive() else { return Ok(vec![("plain", plain)]) };
    let [plain, lifted, far] = driven_states(drive, &plain, streams)?;
    Ok(vec![("plain", plain), ("lifted", lifted), ("far", far)])
}

/// A state as it is, lifted, and far from there on the unwrapped branch.
///
/// # Errors
/// When the state cannot be lifted.
pub fn driven_states(drive: &dyn Drive, state: &State, streams: &Streams) -> Result<[State; 3]> {
    let lifted = drive.lift(state.clone())?;
    let far = drive.flow(&lifted, &coefficients(drive, &lifted, streams, "far").scale(1.5));
    Ok([state.clone(), lifted, far])
}

/// One element for each point of the state, from the group's own law.
///
/// # Errors
/// When the group takes its size from the state and the representation does not say it.
pub fn element(
    representation: &dyn Representation,
    state: &State,
    streams: &Streams,
    name: &str,
) -> Result<Element> {
    let mut stream = streams.stream(&format!("conformance/{name}"), 2);
    let shape = representation.element_shape(state)?;
    Ok(representation.group().sample(&shape, state.options(), &mut stream))
}

/// Shapes of a drive's coefficients at a state, batch first.
pub fn coefficient_shapes(drive: &dyn Drive, state: &State) -> Vec<Vec<i64>> {
    let own = drive.xi_shape(&state.spec());
    own.into_iter().map(|shape| [vec![state.batch_size()], shape].concat()).collect()
}

/// Standard normal coefficients of a drive at a state.
pub fn coefficients(drive: &dyn Drive, state: &State, streams: &Streams, name: &str) -> Xi {
    let mut stream = streams.stream(&format!("conformance/{name}"), 4);
    let shapes = coefficient_shapes(drive, state);
    Xi(shapes.iter().map(|shape| stream.normal(shape, state.options())).collect())
}
