//! The points that a metric compares.

use isotropy_core::{Error, Evaluation, Result, State};
use tch::Tensor;

/// Samples and data as rows, without the rows that are not finite.
pub(super) struct Pair {
    /// Samples that are finite, `[n, d]`.
    pub samples: Tensor,
    /// Data that are finite, `[m, d]`.
    pub reference: Tensor,
    /// How many rows of the two together are missing.
    pub left_out: i64,
}

/// The values of a state as rows, `[B, d]`.
pub(super) fn rows(state: &State) -> Tensor {
    state.x().flatten(1, -1)
}

/// 1 for rows without NaN or infinity, `[B]`.
pub(super) fn finite_rows(rows: &Tensor) -> Tensor {
    rows.isfinite().all_dim(1, false)
}

/// What can be compared of an evaluation.
///
/// # Errors
/// When samples and data have different shapes.
pub(super) fn pair(evaluation: &Evaluation) -> Result<Pair> {
    let (samples, reference) = (rows(evaluation.samples), rows(evaluation.reference));
    if samples.size()[1] != reference.size()[1] {
        return Err(Error::Unsupported(format!(
            "samples have {} coordinates and data {}: they cannot be compared",
            samples.size()[1],
            reference.size()[1]
        )));
    }
    let keep = |rows: &Tensor| {
        let kept = finite_rows(rows).nonzero().squeeze_dim(1);
        rows.index_select(0, &kept)
    };
    let before = samples.size()[0] + reference.size()[0];
    let (samples, reference) = (keep(&samples), keep(&reference));
    let left_out = before - samples.size()[0] - reference.size()[0];
    Ok(Pair { samples, reference, left_out })
}

#[cfg(test)]
pub(crate) mod testing {
    //! Evaluations of bare points, for tests of metrics and plots.

    use isotropy_core::{
        Evaluation, Field, LoadContext, Measured, Moves, Prediction, PredictionKind, Result,
        ScoreModel, Services, State, Streams,
    };
    use tch::{Device, Kind, Tensor};

    struct Nothing;

    impl ScoreModel for Nothing {
        fn predicts(&self) -> PredictionKind {
            PredictionKind::Noise
        }

        fn predict(&self, _: &State, _: &Tensor, _: bool) -> Result<Prediction> {
            unreachable!("metrics of points do not evaluate the model")
        }
    }

    impl Services for Nothing {
        fn trained_model(&self, _: &str) -> Result<Box<dyn ScoreModel>> {
            unreachable!("metrics of points train nothing")
        }
    }

    /// Calls `f` with an evaluation of these samples and data.
    pub fn evaluate<T>(
        samples: &Tensor,
        reference: &Tensor,
        f: impl FnOnce(&Evaluation) -> T,
    ) -> T {
        let state = |x: &Tensor| State::new(Field::new(x.shallow_clone(), Moves::Point));
        let (samples, reference) = (state(samples), state(reference));
        let streams = Streams::new(1);
        let load = LoadContext {
            data_dir: std::path::PathBuf::new(),
            kind: Kind::Double,
            device: Device::Cpu,
            streams: streams.clone(),
        };
        f(&Evaluation {
            samples: &samples,
            start: &samples,
            trajectory: &[],
            reference: &reference,
            process: None,
            model: &Nothing,
            streams: &streams,
            load: &load,
            services: &Nothing,
        })
    }

    /// The value of that name.
    pub fn value(measured: &[Measured], name: &str) -> f64 {
        measured.iter().find(|m| m.name == name).expect("the metric reports it").value
    }

    /// A scalar tensor as a number.
    pub fn number(scalar: &Tensor) -> f64 {
        scalar.to_kind(Kind::Double).double_value(&[])
    }

    /// Standard normal points.
    pub fn normal(shape: &[i64], seed: u64) -> Tensor {
        Streams::new(seed).stream("test", 0).normal(shape, (Kind::Double, Device::Cpu))
    }
}
