//! Groups and their representations
