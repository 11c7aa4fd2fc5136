//! Images: actions, data sets, readers and metrics.

#![allow(clippy::unwrap_used)]

mod action;
mod data;
mod files;
mod metrics;

use isotropy_core::{NoisingProcess, ProcessConfig, RepresentationConfig};
use isotropy_diffusion as _;
use isotropy_groups as _;
use serde_json::{Value, json};

/// The variance-preserving process of images in continuous time.
fn process(schedule: Value) -> Box<dyn NoisingProcess> {
    tch::set_num_threads(1);
    let drive: Box<dyn RepresentationConfig> =
        serde_json::from_value(json!({"type": "translations"})).unwrap();
    let config = json!({"type": "vp", "schedule": schedule, "steps": Value::Null});
    let process: Box<dyn ProcessConfig> = serde_json::from_value(config).unwrap();
    process.build(drive.build().unwrap()).unwrap()
}
