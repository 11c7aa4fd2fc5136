//! Traits, state, registries and streams of random numbers
