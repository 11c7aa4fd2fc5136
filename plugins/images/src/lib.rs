//! Images: every action on them, data sets and their sources, readers of pictures and containers,
//! the classifier that judges, and the metrics of pictures.

pub mod action;
pub mod classifier;
pub mod dataset;
pub mod metric;
pub mod plot;
pub mod reader;
pub mod source;

isotropy_core::plugin!("images: actions, data sets, readers, the classifier that judges, metrics");
