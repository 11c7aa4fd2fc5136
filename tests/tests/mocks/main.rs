//! One mock for each row of the table in the design (section 1): do the contracts of the core hold
//! every family? Real tensors, real mathematics, as little code as it takes. `harness` holds the
//! sampler, written once and blind to geometry, and what every row must satisfy.
//! `docs/src/concepts/contracts.md` says in words what is shown here.

#![allow(clippy::unwrap_used)]

mod conformers;
mod docking;
mod groups;
mod harness;
mod ou;
mod sphere;
mod toy;
mod translations;
