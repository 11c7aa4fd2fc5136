//! What samplers of bridges are tried on: Gaussian data of the plane, pinned at another end.

use crate::model::GaussianBridgeConfig;
use crate::process::VeBridgeConfig;
use isotropy_conformance::sampler::{SAMPLER_TRIALS, SamplerSubject, SamplerTrial, plane};
use isotropy_core::{ModelConfig, ModelContext, NoisingProcess, Result};
use isotropy_groups::representation::{Rotation, Translation};
use std::sync::Arc;
use tch::{Device, nn::VarStore};

fn pinned(mean: f64, std: f64, batch: i64) -> Result<SamplerSubject> {
    let template = plane(batch);
    let bridge = VeBridgeConfig::default().bridge(Arc::new(Translation::new(false)))?;
    let process: Box<dyn NoisingProcess> = Box::new(bridge);
    let spec = template.spec();
    let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
    let oracle = GaussianBridgeConfig { mean: vec![mean], slope: 0.0, std: vec![std] };
    let model = oracle.build(&VarStore::new(Device::Cpu).root(), &context)?;
    let symmetry = Arc::new(Rotation::plane());
    Ok(SamplerSubject { process, model, template, symmetry, mean, std })
}

#[isotropy_core::linkme::distributed_slice(SAMPLER_TRIALS)]
#[linkme(crate = isotropy_core::linkme)]
static PINNED: SamplerTrial = SamplerTrial { order: 2, build: pinned };
