//! What the general suite cannot try on the first states that fit: the symmetries that the networks of fields claim, and
//! padding. `runner check model tensor-field` runs it.

use isotropy_conformance::{CheckResult, ExtraCheck, Status, model::check_model};
use isotropy_core::{
    Error, Field, ModelConfig, ModelContext, Moves, ProcessConfig, Representation, Result, State,
    Streams,
};
use isotropy_groups::group::{Euclidean, Translations};
use isotropy_groups::representation::{Defining, Translation};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// A small network of each kind, and whether it knows isometries or only translations.
const NETWORKS: [(&str, bool); 4] = [
    (r#"{"type": "bi-dimensional-attention", "layers": 1, "width": 8, "heads": 2}"#, false),
    (r#"{"type": "point-attention", "layers": 1, "width": 8, "heads": 2, "centred": true}"#, false),
    (
        r#"{"type": "tensor-field", "layers": 2, "scalars": 3, "vectors": 2, "width": 8, "radial": 6, "cutoff": 3.0}"#,
        true,
    ),
    (r#"{"type": "egnn", "layers": 2, "width": 8}"#, true),
];

/// Six fields with a mask that hides nothing, of scalars or vectors at five points.
fn fields(dimension: i64, vectors: bool) -> State {
    let options = (Kind::Double, Device::Cpu);
    let mut stream = Streams::new(0).stream("fields", 0);
    let (d, moves) = if vectors { (dimension, Moves::Vector) } else { (1, Moves::Scalar) };
    let field = |tensor, moves| Field::new(tensor, moves).indexed(1);
    State::new(field(stream.normal(&[6, 5, d], options), moves))
        .with_context(State::INDEX, field(stream.normal(&[6, 5, dimension], options), Moves::Point))
        .with_context(State::MASK, field(Tensor::ones([6, 5], options), Moves::Fixed))
}

/// All checks of a network in the plane and in space; each has to run, since each network claims the symmetry.
fn checks(network: &str, isometries: bool) -> Result<Vec<CheckResult>> {
    let wrong = |error: serde_json::Error| Error::Other(error.to_string());
    let config: Box<dyn ModelConfig> = serde_json::from_str(network).map_err(wrong)?;
    let process: Box<dyn ProcessConfig> =
        serde_json::from_str(r#"{"type": "gaussian-process", "kernel": {"type": "white"}}"#)
            .map_err(wrong)?;
    let process = process.build(Arc::new(Translation::new(false)))?;
    let mut all = Vec::new();
    for dimension in [2, 3] {
        let symmetry: Arc<dyn Representation> = match (isometries, dimension) {
            (false, n) => Arc::new(Defining::new(Arc::new(Translations { dimension: Some(n) }))?),
            (true, 2) => Arc::new(Defining::new(Arc::new(Euclidean::plane()))?),
            (true, _) => Arc::new(Defining::new(Arc::new(Euclidean::space()))?),
        };
        for vectors in [false, true] {
            let spec = fields(dimension, vectors).spec();
            let context = ModelContext {
                spec: &spec,
                process: Some(process.as_ref()),
                symmetry: Some(&symmetry),
            };
            let what = if vectors { "vectors" } else { "scalars" };
            let label = format!("{what} of {dimension} dimensions, {}", symmetry.name());
            let results = check_model(config.as_ref(), &context, &Streams::new(1));
            all.extend(results.into_iter().map(|mut result| {
                result.check = format!("{} [{label}]", result.check);
                if result.status == Status::Skip {
                    result = CheckResult::fail(&result.check, format!("skipped: {}", result.why));
                }
                result
            }));
        }
    }
    Ok(all)
}

/// The first check that fails, or the largest error.
fn registered(network: usize) -> CheckResult {
    let (json, isometries) = NETWORKS[network];
    let name = if isometries {
        "fields in the plane and in space: E(n), padding"
    } else {
        "fields in the plane and in space: translations, padding"
    };
    match checks(json, isometries) {
        Err(error) => CheckResult::fail(name, error.to_string()),
        Ok(all) => match all.iter().find(|result| result.status == Status::Fail) {
            Some(failed) => {
                let error = failed.error.map_or(String::new(), |error| format!(" {error:.1e}"));
                CheckResult::fail(name, format!("{}:{error} {}", failed.check, failed.why))
            }
            None => {
                let equivariance = all.iter().filter(|r| r.check.starts_with("equivariance"));
                let error = equivariance.filter_map(|r| r.error).fold(0.0, f64::max);
                CheckResult::compare(name, error, 1e-8)
            }
        },
    }
}

macro_rules! enrol {
    ($($constant:ident $name:literal $place:literal;)*) => { $(
        #[isotropy_core::linkme::distributed_slice(isotropy_conformance::CHECKS)]
        #[linkme(crate = isotropy_core::linkme)]
        static $constant: ExtraCheck =
            ExtraCheck { kind: "model", name: Some($name), run: |_| vec![registered($place)] };
    )* };
}

enrol! {
    BI_DIMENSIONAL "bi-dimensional-attention" 0;
    POINT "point-attention" 1;
    TENSOR_FIELD "tensor-field" 2;
    EGNN "egnn" 3;
}
