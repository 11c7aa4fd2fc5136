//! Tests of the plugin for fields, one module a subject.

#![allow(clippy::unwrap_used)]

mod data;
mod grids;
