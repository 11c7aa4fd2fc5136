//! One mock for each family that has no plugin yet: do the contracts of the core hold it? Real
//! tensors, real mathematics, as little code as it takes. `harness` holds the sampler, written once
//! and blind to geometry, and what every row must satisfy.
//! `docs/src/concepts/contracts.md` says in words what is shown here.

#![allow(clippy::unwrap_used)]

mod conformers;
mod docking;
mod groups;
mod harness;
mod kinetic;
mod ou;
mod quotient;
mod sphere;
mod spherical;
mod torsions;
mod torus;
mod tracks;
mod translations;
mod velocity;
