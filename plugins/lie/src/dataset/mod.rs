//! Toy densities.
