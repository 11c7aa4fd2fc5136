//! What the tests of this crate share.

#![allow(dead_code, clippy::unwrap_used)]

use isotropy_conformance::{CheckResult, Status};
use isotropy_core::{NoisingProcess, ProcessConfig, Representation, RepresentationConfig};
use isotropy_groups as _;
use serde_json::Value;
use std::sync::Arc;
use tch::{Device, Kind};

pub const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

pub fn drive(json: Value) -> Arc<dyn Representation> {
    let config: Box<dyn RepresentationConfig> = serde_json::from_value(json).unwrap();
    config.build().unwrap()
}

/// `brownian` with these settings.
pub fn process(drive: Arc<dyn Representation>, mut json: Value) -> Box<dyn NoisingProcess> {
    json["type"] = "brownian".into();
    let config: Box<dyn ProcessConfig> = serde_json::from_value(json).unwrap();
    config.build(drive).unwrap()
}

pub fn failures(results: &[CheckResult]) -> Vec<String> {
    results
        .iter()
        .filter(|r| r.status == Status::Fail)
        .map(|r| format!("{}: {} ({:?})", r.check, r.why, r.error))
        .collect()
}
