//! E(2) and E(3): all isometries, rigid motions and reflections.
//!
//! Elements are homogeneous matrices like those of [`Se2`] and [`Se3`], with a determinant of either sign. The algebra is
//! theirs, exp reaches the rigid motions, and a reflection has no logarithm.

use super::{Se2, Se3, lead, rotation_math as math, with_axis};
use isotropy_core::{
    Element, Error, Group, GroupConfig, LieGroup, Result, Stream, Xi, component, config,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The group E(n) for `n` 2 or 3. Elements are homogeneous matrices `[.., n + 1, n + 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Euclidean {
    space: Space,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    Plane,
    Space,
}

impl Euclidean {
    /// Isometries of the plane.
    pub fn plane() -> Self {
        Self { space: Space::Plane }
    }

    /// Isometries of space.
    pub fn space() -> Self {
        Self { space: Space::Space }
    }

    /// 2 or 3.
    pub fn dimension(&self) -> i64 {
        match self.space {
            Space::Plane => 2,
            Space::Space => 3,
        }
    }

    /// The rigid motions among them.
    fn motions(&self) -> &'static dyn LieGroup {
        match self.space {
            Space::Plane => &Se2,
            Space::Space => &Se3,
        }
    }

    /// Coefficients of a rotation.
    fn angles(&self) -> i64 {
        self.dimension() * (self.dimension() - 1) / 2
    }

    /// The matrices with their first column multiplied by `sign` `[..]`.
    fn flipped(&self, g: &Tensor, sign: &Tensor) -> Tensor {
        let others = self.dimension();
        let sign = sign.unsqueeze(-1);
        let mut shape = sign.size();
        shape[sign.dim() - 1] = others;
        let columns = Tensor::cat(&[&sign, &Tensor::ones(&shape, (g.kind(), g.device()))], -1);
        g * columns.unsqueeze(-2)
    }
}

/// 1 for rigid motions, -1 for reflections, `[..]`.
fn orientation(g: &Tensor) -> Tensor {
    math::split_homogeneous(g).0.det().sign()
}

impl Group for Euclidean {
    fn name(&self) -> String {
        format!("E({})", self.dimension())
    }

    fn xi_shape(&self, lead: &[i64]) -> Option<Vec<Vec<i64>>> {
        Some(with_axis(lead, self.angles() + self.dimension()))
    }

    fn identity(&self, xi_shape: &[Vec<i64>], options: (Kind, Device)) -> Element {
        self.motions().identity(xi_shape, options)
    }

    fn compose(&self, a: &Element, b: &Element) -> Element {
        self.motions().compose(a, b)
    }

    fn inverse(&self, a: &Element) -> Element {
        self.motions().inverse(a)
    }

    /// A rigid motion, and with probability 1/2 the reflection of the first axis before it.
    fn sample(
        &self,
        xi_shape: &[Vec<i64>],
        options: (Kind, Device),
        stream: &mut Stream,
    ) -> Element {
        let motion = self.motions().sample(xi_shape, options, stream);
        let coin = stream.uniform(lead(xi_shape), options).lt(0.5);
        let sign = coin.to_kind(options.0) * 2.0 - 1.0;
        self.flipped(motion.single(), &sign).into()
    }

    fn law(&self) -> &'static str {
        "Haar for rotation and reflection, standard normal for the translation"
    }

    fn distance(&self, a: &Element, b: &Element) -> Tensor {
        math::frobenius(a.single(), b.single())
    }

    /// That of the rigid motion that is left without the reflection.
    fn violation(&self, a: &Element) -> Tensor {
        math::rigid_violation(&self.flipped(a.single(), &orientation(a.single())))
    }

    fn lie(&self) -> Option<&dyn LieGroup> {
        Some(self)
    }

    /// Rotation or reflection, and translation, of points.
    fn affine(&self, g: &Element, kind: Kind) -> Option<(Tensor, Option<Tensor>)> {
        let (matrix, shift) = math::split_homogeneous(&g.single().to_kind(kind));
        Some((matrix, Some(shift)))
    }
}

impl LieGroup for Euclidean {
    fn exp(&self, xi: &Xi) -> Element {
        self.motions().exp(xi)
    }

    /// # Errors
    /// `Numbers` for a matrix that is no isometry, `Unsupported` for a reflection.
    fn log(&self, g: &Element) -> Result<Xi> {
        self.check(g)?;
        let orientation = orientation(g.single());
        if orientation.numel() > 0 && orientation.min().double_value(&[]) < 0.0 {
            let message = "a reflection is not connected with the identity: it has no logarithm";
            return Err(Error::Unsupported(message.into()));
        }
        self.motions().log(g)
    }

    fn injectivity_radius(&self) -> f64 {
        self.motions().injectivity_radius()
    }

    fn bracket(&self, a: &Xi, b: &Xi) -> Xi {
        self.motions().bracket(a, b)
    }

    /// Angular velocities are axial: a reflection turns them round.
    fn adjoint(&self, g: &Element, xi: &Xi) -> Xi {
        let (angles, n) = (self.angles(), self.dimension());
        let omega = xi.single().narrow(-1, 0, angles) * orientation(g.single()).unsqueeze(-1);
        let axial = Tensor::cat(&[omega, xi.single().narrow(-1, angles, n)], -1);
        self.motions().adjoint(g, &axial.into())
    }
}

/// All isometries of the plane or of space; an element is a homogeneous matrix.
#[config]
#[derive(Clone)]
pub struct EuclideanConfig {
    /// Dimension of the space, 2 or 3.
    #[schemars(range(min = 2, max = 3))]
    pub dimension: i64,
}

#[component(
    "euclidean",
    "E(2) or E(3): rigid motions and reflections",
    r#"{"type": "euclidean", "dimension": 3}"#
)]
impl GroupConfig for EuclideanConfig {
    fn build(&self) -> Result<Arc<dyn Group>> {
        match self.dimension {
            2 => Ok(Arc::new(Euclidean::plane())),
            3 => Ok(Arc::new(Euclidean::space())),
            n => {
                let message = format!("isometries of the plane or of space: 2 or 3, not {n}");
                Err(Error::config("/dimension", message))
            }
        }
    }
}
