//! Irreducible representations of SO(3) and features that are made of them, as representations on
//! states. The mathematics is in [`crate::irreps`].

use super::linear::Linear;
use super::matrices::LinearRepresentation;
use crate::group::So3;
use crate::irreps::{Irrep, Irreps, Wigner};
use isotropy_core::{
    Element, Error, Group, Representation, RepresentationConfig, Result, component, config,
};
use std::sync::Arc;
use tch::{Kind, Tensor};

/// SO(3) on rows of [`Irreps`]. Elements are rotation matrices; parities have no effect.
#[derive(Debug)]
pub struct Rotated {
    irreps: Irreps,
    wigner: Wigner,
    group: Arc<dyn Group>,
}

impl Rotated {
    /// The action on such rows.
    pub fn new(irreps: Irreps) -> Self {
        let wigner = Wigner::new(irreps.l_max());
        Self { irreps, wigner, group: Arc::new(So3) }
    }

    /// What the rows hold.
    pub fn irreps(&self) -> &Irreps {
        &self.irreps
    }
}

impl Linear for Rotated {
    fn name(&self) -> String {
        format!("SO(3) on {}", self.irreps)
    }

    fn group(&self) -> &Arc<dyn Group> {
        &self.group
    }

    fn dimension(&self) -> i64 {
        self.irreps.width()
    }

    fn matrix(&self, g: &Element, kind: Kind) -> Tensor {
        self.irreps.matrix(&self.wigner, &g.single().to_kind(kind))
    }
}

/// The irreducible representation of SO(3) of one degree, on vectors of `2 degree + 1` components
/// in the order of the real spherical harmonics, `m = -degree .. degree`.
#[config]
#[derive(Clone)]
pub struct IrrepConfig {
    /// The degree l, 0 to 10: 0 scalars, 1 vectors in the order (y, z, x), 2 traceless symmetric
    /// matrices, ...
    #[schemars(range(min = 0, max = 10))]
    pub degree: i64,
}

#[component(
    "irrep",
    "the irreducible representation of SO(3) of a degree",
    r#"{"type": "irrep", "degree": 2}"#
)]
impl RepresentationConfig for IrrepConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        if !(0..=10).contains(&self.degree) {
            return Err(Error::config("/degree", "degrees from 0 to 10 are supported"));
        }
        let irreps = Irreps::new([(1, Irrep::natural(self.degree))]);
        Ok(Arc::new(LinearRepresentation::new(Arc::new(Rotated::new(irreps)))))
    }
}

/// Rows of features that are irreps of SO(3).
#[config]
#[derive(Clone)]
pub struct IrrepsConfig {
    /// What a row holds, as in `16x0 + 8x1 + 4x2`: multiplicity, `x`, degree (up to 10) and, if
    /// wanted, the parity `e` or `o`, which rotations do not see.
    pub features: String,
}

#[component(
    "irreps",
    "SO(3) on rows of features that are irreps",
    r#"{"type": "irreps", "features": "4x0 + 2x1 + 1x2"}"#
)]
impl RepresentationConfig for IrrepsConfig {
    fn build(&self) -> Result<Arc<dyn Representation>> {
        let irreps: Irreps = self.features.parse().map_err(|e: Error| e.under("/features"))?;
        Ok(Arc::new(LinearRepresentation::new(Arc::new(Rotated::new(irreps)))))
    }
}
