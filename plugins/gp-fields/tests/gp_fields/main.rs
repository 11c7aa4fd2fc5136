//! Tests of the plugin for fields, one module a subject.

#![allow(clippy::unwrap_used)]

mod data;
mod evaluation;
mod files;
mod globe;
mod grids;
mod likelihood;
mod networks;
mod plots;
mod products;
mod sampling;
mod score_gap;
mod support;
