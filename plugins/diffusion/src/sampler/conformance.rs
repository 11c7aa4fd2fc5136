//! What samplers are tried on: Gaussian data of the plane under VP in discrete time and under VE in
//! continuous time, with the exact score.

use crate::oracle::GaussianTauConfig;
use crate::process::{MeanFactor, Prior, VeConfig, VpConfig};
use crate::schedule::{CosineConfig, GeometricConfig};
use isotropy_conformance::sampler::{SAMPLER_TRIALS, SamplerSubject, SamplerTrial, plane};
use isotropy_core::{ModelConfig, ModelContext, PredictionKind, ProcessConfig, Result};
use isotropy_groups::representation::{Rotation, Translation};
use std::sync::Arc;
use tch::{Device, nn::VarStore};

fn subject(
    process: &dyn ProcessConfig,
    (mean, std, batch): (f64, f64, i64),
) -> Result<SamplerSubject> {
    let template = plane(batch);
    let process = process.build(Arc::new(Translation::new(false)))?;
    let spec = template.spec();
    let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
    let predicts = PredictionKind::Score;
    let oracle = GaussianTauConfig { mean: vec![mean], std: vec![std], predicts };
    let model = oracle.build(&VarStore::new(Device::Cpu).root(), &context)?;
    let symmetry = Arc::new(Rotation::plane());
    Ok(SamplerSubject { process, model, template, symmetry, mean, std })
}

fn preserving(mean: f64, std: f64, batch: i64) -> Result<SamplerSubject> {
    let schedule = Box::new(CosineConfig { offset: 0.008 });
    let mean_factor = MeanFactor::SqrtAlphaBar;
    let process = VpConfig { schedule, steps: Some(100), start: 1e-3, mean: mean_factor };
    subject(&process, (mean, std, batch))
}

fn exploding(mean: f64, std: f64, batch: i64) -> Result<SamplerSubject> {
    let schedule = Box::new(GeometricConfig { sigma_min: 0.01, sigma_max: 10.0 });
    let process = VeConfig { schedule, steps: None, start: 1e-3, prior: Prior::Origin };
    subject(&process, (mean, std, batch))
}

#[isotropy_core::linkme::distributed_slice(SAMPLER_TRIALS)]
#[linkme(crate = isotropy_core::linkme)]
static PRESERVING: SamplerTrial = SamplerTrial { order: 0, build: preserving };

#[isotropy_core::linkme::distributed_slice(SAMPLER_TRIALS)]
#[linkme(crate = isotropy_core::linkme)]
static EXPLODING: SamplerTrial = SamplerTrial { order: 1, build: exploding };
