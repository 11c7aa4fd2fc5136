//! What samplers of fields are tried on: white values at three points of the plane, with the exact
//! score.

use crate::kernel::{Repeats, White};
use crate::oracle::Oracle;
use crate::posterior::GaussianProcess;
use crate::process::{Beta, FieldProcess};
use isotropy_conformance::sampler::{SAMPLER_TRIALS, SamplerSubject, SamplerTrial};
use isotropy_core::{
    Field, ModelContext, Moves, NoisingProcess, PredictionKind, Result, State, Streams,
};
use isotropy_groups::representation::{Rotation, Translation};
use std::sync::Arc;
use tch::{Device, Kind};

fn white(variance: f64) -> Result<GaussianProcess> {
    Ok(GaussianProcess::new(Arc::new(White::new(variance, Repeats::default())?)))
}

fn field(mean: f64, std: f64, batch: i64) -> Result<SamplerSubject> {
    let mut stream = Streams::new(0).stream("check sampler", 0);
    let normal = |stream: &mut isotropy_core::Stream| {
        stream.normal(&[batch, 3, 2], (Kind::Double, Device::Cpu))
    };
    let value = Field::new(normal(&mut stream), Moves::Vector).indexed(1);
    let index = Field::new(normal(&mut stream), Moves::Point).indexed(1);
    let template = State::new(value).with_context(State::INDEX, index);
    let (beta, drive) = (Beta::linear((5e-4, 1.0), 0.0, 20.0), Arc::new(Translation::new(false)));
    let process: Box<dyn NoisingProcess> =
        Box::new(FieldProcess::new(drive, white(1.0)?, beta, 1e-3)?);
    let spec = template.spec();
    let context = ModelContext { spec: &spec, process: Some(process.as_ref()), symmetry: None };
    let data = white(std * std)?.with_mean(vec![mean]);
    let model = Box::new(Oracle::new(data, PredictionKind::Score, false, &context)?);
    let symmetry = Arc::new(Rotation::plane());
    Ok(SamplerSubject { process, model, template, symmetry, mean, std })
}

#[isotropy_core::linkme::distributed_slice(SAMPLER_TRIALS)]
#[linkme(crate = isotropy_core::linkme)]
static FIELD: SamplerTrial = SamplerTrial { order: 3, build: field };
