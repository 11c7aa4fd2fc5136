//! Ablation sweeps: one file, many runs, one answer.
//!
//! 1. [`mod@file`] is what a sweep file says, [`read`] turns it into axes whose every value knows its
//!    place in the file;
//! 2. [`variants`] resolves, checks and builds every combination before anything runs;
//! 3. [`plan`] names the cells by what they compute, [`cell`] is the folder of one;
//! 4. [`local`] and [`slurm`] run cells, each in a process of its own; [`rungs`] says which;
//! 5. [`sessions`] writes them for TensorBoard, [`report`] for people.

pub mod cell;
pub mod estimate;
pub mod file;
pub mod interests;
mod labels;
pub mod local;
mod overview;
pub mod plan;
pub mod read;
pub mod report;
pub mod rungs;
pub mod sessions;
pub mod slurm;
pub mod variants;
