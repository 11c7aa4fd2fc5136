//! Pictures of samples.
