//! Device code without a GPU: runs on the stand-in for CUDA (`tests/cuda_stand_in`), which `cargo
//! xtask stand-in` compiles, give what they give on the CPU, and wait no more often than
//! `counts.json` says. On a machine with a GPU `cargo xtask test --gpu` runs the same on the real
//! library. docs/src/gpu.md says what this can show and what not.

#![allow(clippy::unwrap_used)]

mod cases;
mod components;
#[path = "../data_files/mod.rs"]
mod data_files;
mod every;
mod machine;
mod operations;
mod table;
mod timings;
