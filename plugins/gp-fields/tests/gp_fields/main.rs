//! Tests of the plugin for fields, one module a subject.

#![allow(clippy::unwrap_used)]

mod data;
mod evaluation;
mod files;
mod globe;
mod grids;
mod kernels;
mod likelihood;
mod networks;
mod oracle;
mod plots;
mod process;
mod products;
mod regression;
mod sampling;
mod score_gap;
mod support;
