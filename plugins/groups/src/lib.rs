//! Groups and their representations.
//!
//! [`group`] holds the groups, one file each; [`representation`] how they act on states, and the
//! frames of fields of those that can drive points. [`irreps`] is what equivariant networks are
//! built from: spherical harmonics, Wigner matrices, Clebsch-Gordan products.

pub mod group;
pub mod irreps;
pub mod representation;

isotropy_core::plugin!(
    "Groups and how they act: rotations, dilations, translations, finite groups"
);
