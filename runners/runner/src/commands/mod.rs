//! The commands of the runner, one file each.

pub mod catalogue;
pub mod chart;
pub mod check;
pub mod data;
pub mod doctor;
pub mod reproduce;
pub mod rerun;
pub mod run;
pub mod sweep;
pub mod validate;
